//! Which files of the record go, and their end: that they may be gone is signed before they are.

use crate::error::AuditError;
use crate::reader::Head;
use crate::record::MarkBody;
use crate::retention::{Aside, Doomed};

use super::Prune;
use super::shared::{Shared, lock, tell};
use super::state::{State, first_of};

/// Files that go.
#[derive(Debug, Default)]
pub(super) struct Deletion {
    pub(super) numbers: Vec<u64>,
    is_early: bool,
}

impl Shared {
    /// Which files go, by their numbers. From the next mark on the record says that we deleted them; it goes on if it
    /// can't.
    pub(super) fn plan_deletion(&self, state: &mut State, decide: impl Fn(&[Aside]) -> Doomed) -> Deletion {
        let planned = self.folder.soon_aside().and_then(|aside| {
            let doomed = decide(&aside);
            let behind = self.signed_start(&aside, doomed.count)?;
            let numbers = aside[..behind.as_ref().map_or(0, |(count, _)| *count)].iter();
            let numbers = numbers.map(|file| file.number).collect();
            Ok((Deletion { numbers, is_early: doomed.is_early }, behind.map(|(_, seq)| seq)))
        });
        match planned {
            Ok((deletion, kept_from)) => {
                self.keep_from(state, kept_from.unwrap_or(state.kept_from));
                deletion
            }
            Err(error) => {
                self.warn(state, |_| tell(&error, "failed to look for old files of the record"));
                Deletion::default()
            }
        }
    }

    /// The greatest number of files, up to this one, without which the rest begins at a signed place, and the first
    /// record of the rest.
    fn signed_start(&self, aside: &[Aside], count_max: usize) -> Result<Option<(usize, u64)>, AuditError> {
        for count in (1..=count_max.min(aside.len().saturating_sub(1))).rev() {
            let Some(head) = self.first_of(aside, count)? else { continue };
            let is_signed = match (&self.signer, head.prev) {
                // An older version chained nothing, and without keys nothing is signed.
                (None, _) | (_, None) => true,
                (Some(signer), Some(prev)) => lock(signer)
                    .has_signed(head.seq.saturating_sub(1), prev)
                    .map_err(AuditError::io("read the checkpoints in", &self.folder.path))?,
            };
            if is_signed {
                return Ok(Some((count, head.seq)));
            }
        }
        Ok(None)
    }

    /// The first record of one of these files, the last of which may still be in use.
    fn first_of(&self, aside: &[Aside], index: usize) -> Result<Option<Head>, AuditError> {
        let file = self.folder.open_aside(aside[index].number);
        let file = if index + 1 == aside.len() { file.or_else(|_| self.folder.open_current()) } else { file };
        Ok(first_of(&file?))
    }

    /// Deletes what was planned. The record goes on if it can't, unless the file in use can't be carried to the disk.
    pub(super) fn delete(&self, state: &mut State, deletion: &Deletion) -> Result<(), AuditError> {
        if deletion.numbers.is_empty() {
            return Ok(());
        }
        // That they may be gone is signed before they are.
        state.carry()?;
        let signed = self.signer.as_ref().map_or(Ok(()), |signer| lock(signer).sign(state.end()));
        let mut numbers = deletion.numbers.iter();
        let deleted = signed.and_then(|()| numbers.try_for_each(|number| self.folder.delete_aside(*number)));
        match deleted {
            Ok(()) if deletion.is_early => self.warn(state, |_| {
                tracing::warn!(
                    hint = "raise `audit.files_kept_bytes_max`, and find out who fills the record",
                    "the record is too large: files of it are deleted before their time"
                );
            }),
            Ok(()) => {}
            Err(error) => self.warn(state, |_| tell(&error, "failed to delete old files of the record")),
        }
        Ok(())
    }

    /// Deletes these files, or only says which they are; they are named by their numbers.
    pub(super) fn prune(
        &self,
        decide: impl Fn(&[Aside]) -> usize,
        mode: Prune,
    ) -> Result<Vec<u64>, AuditError> {
        let mut state = self.lock();
        let kept_from = state.kept_from;
        let deletion =
            self.plan_deletion(&mut state, |aside| Doomed { count: decide(aside), is_early: false });
        if mode == Prune::Try || deletion.numbers.is_empty() {
            self.keep_from(&mut state, kept_from);
            return Ok(deletion.numbers);
        }
        let open = self.open_intents();
        state.mark(MarkBody { open, ..MarkBody::default() })?;
        self.checkpoint(&mut state)?;
        deletion.numbers.iter().try_for_each(|number| self.folder.delete_aside(*number))?;
        Ok(deletion.numbers)
    }

    fn keep_from(&self, state: &mut State, kept_from: u64) {
        state.kept_from = kept_from;
        if let Some(signer) = &self.signer {
            lock(signer).kept_from = kept_from;
        }
    }
}
