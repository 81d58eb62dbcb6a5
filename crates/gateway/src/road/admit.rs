//! Step 3, admit: spends from the caller's share, and keeps the string by which its calls can be pulled. Steps 3 to 6 are called
//! one after the other here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayward_api::{Code, Principal, Tier};
use hayward_auth::{Decision, decide};
use hayward_tool::{Ability, ToolError};
use tokio_util::sync::CancellationToken;

use super::approve::approve;
use super::once::Keyed;
use super::refuse::{Refusal, incapable};
use super::route::Route;
use super::router::Router;
use super::{Arrival, Road, redact};
use crate::budget::Reserved;

/// Who has how many calls running, or streams open.
#[derive(Debug)]
pub(crate) struct Admit {
    /// What is counted, e.g. `calls running`.
    what: &'static str,
    calls_max: usize,
    per_principal_max: usize,
    hall: Arc<Hall>,
}

/// Those who are in, whatever the bounds are that they came in under.
#[derive(Debug, Default)]
struct Hall {
    /// The parent of all strings: pulling it cancels every call.
    all: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: usize,
    seats: HashMap<String, Seat>,
}

/// The calls of one credential.
#[derive(Debug)]
struct Seat {
    calls: usize,
    pulled: CancellationToken,
}

/// The right to run one call; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    hall: Arc<Hall>,
    principal: Arc<Principal>,
    /// Fires when the credential is revoked, or all calls have to end.
    pub(crate) pulled: CancellationToken,
    /// What the result holds in memory until it has left.
    pub(crate) held: Option<Reserved>,
}

impl Permit {
    /// Whose it is.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }
}

impl Admit {
    pub(crate) fn new(what: &'static str, calls_max: u64, per_principal_max: u64) -> Self {
        let [calls_max, per_principal_max] = [calls_max, per_principal_max].map(super::count);
        Self { what, calls_max, per_principal_max, hall: Arc::default() }
    }

    /// The same with other bounds: who is in stays in, and counts for both.
    pub(crate) fn with_max(&self, calls_max: u64, per_principal_max: u64) -> Self {
        Self { hall: Arc::clone(&self.hall), ..Self::new(self.what, calls_max, per_principal_max) }
    }

    /// Lets a call in, or says how it may come in.
    ///
    /// `is_current` is asked under the lock that [`Admit::revoke`] takes: whoever revokes takes the
    /// credential away first, so a call either finds it gone here or has a seat that is pulled there.
    pub(crate) fn enter(
        &self,
        principal: &Arc<Principal>,
        is_current: impl FnOnce() -> bool,
    ) -> Result<Permit, ToolError> {
        let mut state = self.hall.lock();
        if !is_current() {
            return Err(revoked());
        }
        if state.calls >= self.calls_max {
            return Err(self.busy("the server", self.calls_max));
        }
        if !state.seats.contains_key(&principal.credential) {
            let seat = Seat { calls: 0, pulled: self.hall.all.child_token() };
            state.seats.insert(principal.credential.clone(), seat);
        }
        let pulled = match state.seats.get_mut(&principal.credential) {
            Some(seat) if seat.calls < self.per_principal_max => {
                seat.calls += 1;
                seat.pulled.clone()
            }
            _ => return Err(self.busy("this credential", self.per_principal_max)),
        };
        state.calls += 1;
        Ok(Permit { hall: Arc::clone(&self.hall), principal: Arc::clone(principal), pulled, held: None })
    }

    fn busy(&self, who: &str, max: usize) -> ToolError {
        let message = format!("{who} has {max} {} already; this one was not begun", self.what);
        ToolError::new("RateLimited", Code::RateLimited, message).suggest("wait for one to end, then retry")
    }

    /// Cancels every call.
    pub(crate) fn cancel_all(&self) {
        self.hall.all.cancel();
    }

    /// Cancels every call of a credential, which gets no further ones: it can't be identified any more.
    pub(crate) fn revoke(&self, credential: &str) {
        if let Some(seat) = self.hall.lock().seats.remove(credential) {
            seat.pulled.cancel();
        }
    }
}

impl Hall {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a caller is told whose credential was taken away.
pub(super) fn revoked() -> ToolError {
    ToolError::new("PermissionDenied", Code::Forbidden, "the credential was revoked")
        .suggest("ask the administrator for a new token")
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.hall.lock();
        state.calls -= 1;
        // A seat stays for the next call; there are as many as credentials, and revoking one takes it away.
        if let Some(seat) = state.seats.get_mut(&self.principal.credential) {
            seat.calls = seat.calls.saturating_sub(1);
        }
    }
}

/// A call that nothing speaks against.
pub(super) struct Admitted<'a> {
    pub(super) route: &'a Route,
    pub(super) permit: Permit,
    /// Its caller, with the fence that holds for this call.
    pub(super) principal: Arc<Principal>,
    /// Its key, if it is made once.
    pub(super) keyed: Option<Keyed>,
}

impl Road {
    /// Steps 3 to 6: everything that can speak against a call before it has an effect.
    pub(super) fn admit<'a>(
        &self,
        arrival: &Arrival,
        router: &'a Router,
    ) -> Result<Admitted<'a>, Refusal<'a>> {
        // 3 admit: spend from the caller's share, so that no caller can starve the others.
        let permit = self
            .places
            .calls
            .enter(&arrival.principal, || self.is_current(&arrival.principal))
            .map_err(|error| Refusal { route: None, error })?;
        // 4 route: a name that the caller may not see is unknown (but for the host's own tools).
        let route =
            router.find(arrival.form(), &arrival.name).ok_or_else(|| self.unknown(arrival, router))?;
        // 5 decide: the same function that lists.
        if let Decision::Deny { reason } = decide(&self.policy(), &arrival.principal, &route.action()) {
            return Err(self.denied(arrival, (router, route), reason));
        }
        if route.tier() > Tier::Read {
            redact::check(&arrival.arguments).map_err(|error| Refusal { route: Some(route), error })?;
        }
        // 6 approve: what needs more than a permission.
        approve(route.tier()).map_err(|error| Refusal { route: Some(route), error })?;
        if route.needs_task() && !arrival.abilities.has(Ability::Tasks) {
            return Err(Refusal { route: Some(route), error: incapable(Ability::Tasks.into()) });
        }
        // What the tool takes away, so that nothing after this asks what its caller may elsewhere.
        let refused = |error| Refusal { route: Some(route), error };
        let principal = self.fencing.caller(arrival, route).map_err(refused)?;
        let keyed = Keyed::of(arrival, &principal.fence, route).map_err(refused)?;
        Ok(Admitted { route, permit, principal, keyed })
    }
}

#[cfg(test)]
mod tests {
    use hayward_api::Tier;

    use super::*;

    fn named(credential: &str) -> Arc<Principal> {
        Arc::new(Principal { credential: credential.into(), ..Principal::local("x", Tier::Read) })
    }

    #[test]
    fn one_caller_can_use_up_its_own_share_only() {
        let admit = Admit::new("calls running", 3, 2);
        let held: Vec<_> = (0..2).map(|_| admit.enter(&named("a"), || true).unwrap()).collect();
        assert_eq!(admit.enter(&named("a"), || true).unwrap_err().code, "RateLimited");
        let other = admit.enter(&named("b"), || true).unwrap();
        assert!(admit.enter(&named("c"), || true).is_err(), "the server is full");
        drop(held);
        assert!(admit.enter(&named("a"), || true).is_ok());
        drop(other);
        assert_eq!(admit.hall.lock().calls, 0);
    }

    #[test]
    fn who_is_in_counts_under_new_bounds_and_stays_in() {
        let admit = Admit::new("calls running", 9, 9);
        let held: Vec<_> = (0..3).map(|_| admit.enter(&named("a"), || true).unwrap()).collect();
        let narrower = admit.with_max(2, 2);
        assert!(
            narrower.enter(&named("a"), || true).is_err() && narrower.enter(&named("b"), || true).is_err()
        );
        assert!(held.iter().all(|permit| !permit.pulled.is_cancelled()));
        assert!(narrower.with_max(4, 4).enter(&named("a"), || true).is_ok());
        drop(held);
        assert!(narrower.enter(&named("a"), || true).is_ok());
        assert_eq!(admit.hall.lock().calls, 0);
        let late = narrower.enter(&named("a"), || true).unwrap();
        admit.revoke("a");
        assert!(late.pulled.is_cancelled());
    }

    #[test]
    fn a_revocation_reaches_the_running_calls_of_that_credential_only() {
        let admit = Admit::new("calls running", 9, 9);
        let (a, b) = (admit.enter(&named("a"), || true).unwrap(), admit.enter(&named("b"), || true).unwrap());
        admit.revoke("a");
        assert!(a.pulled.is_cancelled());
        assert!(!b.pulled.is_cancelled());
    }

    #[test]
    fn a_credential_that_was_revoked_meanwhile_gets_no_seat() {
        let admit = Admit::new("calls running", 9, 9);
        assert_eq!(admit.enter(&named("a"), || false).unwrap_err().code, "PermissionDenied");
        assert!(admit.hall.lock().seats.is_empty());
    }
}
