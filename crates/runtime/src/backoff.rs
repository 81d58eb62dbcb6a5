//! How long to wait before something that failed is tried again: ever longer, and never all at the same moment.

use std::time::Duration;

/// The waits between tries: the first, and the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// However many there were.
    pub longest: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row, of which the last part is left to chance (0 to 255): half of it at least,
    /// and all of it at most. None after none.
    pub fn after(&self, failures: u32, chance: u8) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let whole = self.first.saturating_mul(2_u32.saturating_pow(doublings)).min(self.longest);
        whole / 2 + whole / 2 * u32::from(chance) / u32::from(u8::MAX)
    }
}

/// A number by chance, for [`Backoff::after`]; without randomness of the system, the middle.
pub fn chance() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).map_or(u8::MAX / 2, |()| byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(5) };
        let seconds = |failures, chance| backoff.after(failures, chance).as_secs_f64();
        for (failures, whole) in
            [(0, 0.0), (1, 1.0), (2, 2.0), (4, 8.0), (9, 256.0), (10, 300.0), (400, 300.0)]
        {
            assert!((seconds(failures, u8::MAX) - whole).abs() < 0.01, "{failures}");
            assert!((seconds(failures, 0) - whole / 2.0).abs() < 0.01, "{failures}");
        }
    }
}
