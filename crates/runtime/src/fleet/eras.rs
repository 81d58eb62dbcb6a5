//! Which era a server was found to speak, so that its next instance isn't asked for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayward_api::definition::SpokenEra;
use hayward_mcp::era::Era;
use hayward_mcp::upstream::EraChoice;

use super::Wanted;
use crate::limits::ERAS_MAX;

/// What was found out, of each server in one generation.
#[derive(Default)]
pub(super) struct Eras(Mutex<HashMap<Arc<str>, (u64, Era)>>);

impl Eras {
    /// Which eras to try: what the server says of itself, else what was found out, else all.
    pub(super) fn choice(&self, wanted: &Wanted) -> EraChoice {
        match wanted.order.spec.era.unwrap_or_default() {
            SpokenEra::Legacy => EraChoice::Legacy,
            SpokenEra::Modern => EraChoice::Modern,
            SpokenEra::Auto => match self.known().get(&wanted.server) {
                Some((generation, era)) if *generation == wanted.generation => choice_of(*era),
                _ => EraChoice::Auto,
            },
        }
    }

    pub(super) fn learn(&self, wanted: &Wanted, era: Era) {
        let mut known = self.known();
        if known.len() >= ERAS_MAX && !known.contains_key(&wanted.server) {
            // It is found out again.
            known.clear();
        }
        known.insert(Arc::clone(&wanted.server), (wanted.generation, era));
    }

    /// It didn't hold, or may not hold any more.
    pub(super) fn forget(&self, server: &str) {
        self.known().remove(server);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, (u64, Era)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn choice_of(era: Era) -> EraChoice {
    match era {
        Era::Legacy => EraChoice::Legacy,
        Era::Modern => EraChoice::Modern,
    }
}
