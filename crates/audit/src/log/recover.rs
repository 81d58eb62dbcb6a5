//! After a failure: the record is closed, and opened again once the cause is gone.

use std::time::Instant;

use crate::error::AuditError;
use crate::record::{Draft, MarkBody, NOT_WRITTEN, OutcomeBody, RecordKind};

use super::failure::{Failure, Footing};
use super::shared::{Shared, tell};
use super::state::State;

impl Shared {
    /// Closes the record: nothing is written until its cause is gone.
    pub(crate) fn fail(&self, state: &mut State, error: &AuditError) {
        tell(error, "the record is closed: every call is refused");
        self.note(state, error);
    }

    /// Remembers a failure, and takes a file that can't be trusted out of use, so that a restart
    /// doesn't go on in it either.
    fn note(&self, state: &mut State, error: &AuditError) {
        let earlier = state.failure;
        let failure = Failure::new(error, Instant::now()).after(earlier);
        let was_trusted = earlier.is_none_or(|earlier| earlier.footing == Footing::SameFile);
        state.failure = Some(failure);
        let mut intake = self.intake();
        intake.failed = Some(failure.step);
        if failure.footing == Footing::FreshFile {
            state.losses += 1;
            intake.losses = state.losses;
            std::mem::take(&mut intake.round).tell(Err(failure.step));
        }
        drop(intake);
        if failure.footing == Footing::FreshFile
            && was_trusted
            && let Err(error) = self.folder.put_aside()
        {
            tell(&error, "failed to put the file aside that failed");
        }
    }

    /// Opens the record again if a failure has closed it, some time has passed and its cause is gone.
    pub(crate) fn recover(&self, state: &mut State) -> Result<(), AuditError> {
        let Some(Failure { step, footing, retry_at }) = state.failure else {
            return Ok(());
        };
        if Instant::now() < retry_at {
            return Err(self.closed(step));
        }
        if let Err(error) = self.reopen(state, step, footing) {
            tracing::debug!(%error, "the record stays closed");
            self.note(state, &error);
            return Err(self.closed(step));
        }
        state.failure = None;
        self.intake().failed = None;
        tracing::warn!(step, "the record is open again after a failure");
        Ok(())
    }

    /// Writes the outcomes that could not be written when they came.
    fn settle_owed(&self, state: &mut State) -> Result<(), AuditError> {
        let owed = self.intake().account.owed.clone();
        for intent in owed {
            state.append(&Draft::new(RecordKind::Outcome, &OutcomeBody::new(intent, &NOT_WRITTEN)))?;
            self.intake().account.owed.remove(&intent);
        }
        Ok(())
    }

    fn reopen(&self, state: &mut State, step: &'static str, footing: Footing) -> Result<(), AuditError> {
        match footing {
            Footing::SameFile => {
                state.file.cut()?;
                state.file.reserve()?;
                let open = self.open_intents();
                state.mark(MarkBody { reopened_after: Some(step), open, ..MarkBody::default() })?;
            }
            Footing::FreshFile => {
                drop(self.begin_fresh(state, Some(step))?);
                self.warn_early(state);
                self.sync_names()?;
            }
        }
        self.settle_owed(state)?;
        self.carry(state)
    }
}
