//! When it is, though the wall clock may jump: by what it says, and by what it should say after the time that has passed.
//!
//! ```text
//!  what the node keeps for a while (receipts)   old when both say so: forgotten at once by no jump forward
//!  what expires at a time that was told (tokens) over when either says so: made to last longer by no jump back
//!  what we seal and open ourselves (states)      by the time that has passed alone: no jump touches it
//! ```
//!
//! What passes is counted by a clock that goes on while the machine sleeps.

use std::time::{SystemTime, UNIX_EPOCH};

use hayward_store::Moment;
use rustix::time::{ClockId, clock_gettime};

/// Counts from the wall clock at its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// What the wall clock said, in seconds since 1970.
    started_unix: i64,
    /// The same moment in seconds since the machine started.
    started: i64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started_unix: wall_unix(), started: since_boot() }
    }

    /// Between what the wall clock says and what it should say.
    pub(super) fn now(&self) -> Moment {
        self.at(wall_unix(), since_boot())
    }

    /// For what expires at a time by the wall clock: a clock that is set back makes nothing last longer.
    pub(super) fn expiry_unix(&self) -> i64 {
        self.now().latest_unix
    }

    /// For what this process itself gives a lifetime: the time that has passed, whatever the wall clock says.
    pub(super) fn counted_unix(&self) -> i64 {
        self.counted_at(since_boot())
    }

    fn at(&self, wall_unix: i64, since_boot: i64) -> Moment {
        let counted_unix = self.counted_at(since_boot);
        Moment { earliest_unix: wall_unix.min(counted_unix), latest_unix: wall_unix.max(counted_unix) }
    }

    fn counted_at(&self, since_boot: i64) -> i64 {
        self.started_unix.saturating_add(since_boot.saturating_sub(self.started))
    }
}

fn wall_unix() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

fn since_boot() -> i64 {
    clock_gettime(ClockId::Boottime).tv_sec
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hayward_api::kinds::token::Role;
    use hayward_api::principal::PrincipalKind;
    use hayward_api::{Principal, Tier};
    use hayward_auth::{CredentialRecord, Credentials, Token};

    use super::*;

    const START: i64 = 1_800_000_000;
    const CLOCK: Clock = Clock { started_unix: START, started: 50 };
    const YEAR: i64 = 365 * 86_400;

    #[test]
    fn a_jump_in_either_direction_makes_nothing_old_early() {
        for jump in [-YEAR, -3_600, 0, 3_600, YEAR] {
            let now = CLOCK.at(START + 10 + jump, 60);
            let expect =
                Moment { earliest_unix: START + 10 + jump.min(0), latest_unix: START + 10 + jump.max(0) };
            assert_eq!(now, expect);
        }
        let now = Clock::start().now();
        assert!(now.latest_unix - now.earliest_unix <= 1);
    }

    #[test]
    fn no_jump_back_makes_a_token_last_longer_and_one_forward_ends_it() {
        let (credentials, token) = (Credentials::new(), Token::mint(Role::Ro));
        let principal = Principal {
            kind: PrincipalKind::Token,
            credential: token.id().to_string(),
            ..Principal::local("ci", Tier::Read)
        };
        credentials.insert(CredentialRecord {
            id: token.id(),
            digest: token.digest(),
            principal: Arc::new(principal.clone()),
            enabled: true,
            expires_at_unix: Some(START + 100),
            made_with: None,
        });
        // Seconds that have passed, how far the clock is off then, and whether the token is good.
        for (passed, jump, is_live) in [
            (0, 0, true),
            (99, 0, true),
            (100, 0, false),
            (99, -YEAR, true),
            (100, -1, false),
            (100, -3_600, false),
            (100, -YEAR, false),
            (1, 3_600, false),
            (1, YEAR, false),
            // It was set ahead and is right again.
            (99, 0, true),
        ] {
            let now = CLOCK.at(START + passed + jump, CLOCK.started + passed).latest_unix;
            assert_eq!(credentials.identify(token.reveal(), now).is_ok(), is_live, "{passed} {jump}");
            assert_eq!(credentials.is_current(&principal, now), is_live, "{passed} {jump}");
        }
    }

    #[test]
    fn what_we_count_ourselves_is_touched_by_no_jump() {
        assert_eq!(CLOCK.counted_at(50 + 600), START + 600);
        let clock = Clock::start();
        assert!((0..=1).contains(&(clock.counted_unix() - clock.started_unix)));
    }
}
