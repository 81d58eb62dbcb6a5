//! How the key that signs gives its place to another one.
//!
//! ```text
//!  1  audit-signing-next.key      made, synced; the old key signs on, and the next attempt makes another one
//!  2  checkpoints.jsonl           all up to now, with `next_key`, signed by both, the old key last, and synced
//!  ── from here on the next key signs: whoever opens the record ends the rotation ──
//!  3  audit-node.json             the home that the next key will be
//!  4  audit-signing-next.key      renamed to audit-signing.key
//! ```
//!
//! Cut off between any two of these, the record opens and proves itself. A key that has handed over signs nothing any
//! more: with such a one, from a backup for instance, no record is opened.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};

use super::{Identity, Keys, PublicKey, SIGNING, home, make_secret, secret, sync_names};
use crate::checkpoint::Checkpoint;
use crate::error::AuditError;
use crate::hex::Hex;

/// The key that is about to sign.
const NEXT_SIGNING: &str = "audit-signing-next.key";

/// What an acceptance is over begins with this, so that it can't be taken for a signature of something else.
const DOMAIN: &[u8] = b"hayward audit handover 1\n";

/// The key that will sign after a rotation.
pub(crate) struct NextKey(SigningKey);

impl NextKey {
    fn of(seed: &Hex<32>) -> Self {
        Self(SigningKey::from_bytes(&seed.0))
    }

    /// What will check the signatures.
    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::of(Hex(self.0.verifying_key().to_bytes()))
    }

    /// Takes over what this text hands over.
    pub(crate) fn accept(&self, text: &[u8]) -> Hex<64> {
        Hex(self.0.sign(&[DOMAIN, text].concat()).to_bytes())
    }
}

impl PublicKey {
    /// Whether the holder of the other half has taken over what this text hands over.
    pub(crate) fn has_accepted(&self, text: &[u8], acceptance: &Hex<64>) -> bool {
        self.fits(&[DOMAIN, text].concat(), acceptance)
    }
}

impl Keys {
    /// Makes the key that will sign after a rotation. One that is there already is thrown away: had a checkpoint named
    /// it, it would be in use, and so nothing hangs on it, and nobody knows who made it.
    pub(crate) fn make_next(&self) -> Result<NextKey, AuditError> {
        let path = self.next_path();
        match fs::remove_file(&path) {
            Ok(()) => tracing::warn!("threw away a next key to which the record was not handed over"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(AuditError::io("delete", &path)(error)),
        }
        Ok(NextKey::of(&make_secret(&self.dir, &path)?))
    }

    /// The key that was made for a rotation which was cut off, if there is one.
    fn open_next(&self) -> Result<Option<NextKey>, AuditError> {
        Ok(if self.next_path().exists() {
            Some(NextKey::of(&secret(&self.dir, NEXT_SIGNING)?))
        } else {
            None
        })
    }

    /// The keys to go on with behind this checkpoint, the newest, with its line: ours, or those to which ours has handed
    /// the record over.
    pub(crate) fn going_on(
        self: Arc<Self>,
        newest: &Checkpoint,
        line: &[u8],
    ) -> Result<Arc<Self>, AuditError> {
        let due = newest.signs_next();
        if due == self.public() {
            return Ok(self);
        }
        let is_ours = newest.signer() == self.public() && Checkpoint::check_handover(line).is_some();
        if is_ours && self.open_next()?.is_some_and(|next| next.public() == due) {
            tracing::warn!("a rotation of the key was cut off: it is ended now");
            return self.take_next().map(Arc::new);
        }
        if self.identity()?.0.node == newest.node {
            let path = self.dir.join(SIGNING);
            return Err(AuditError::Unfit { path, why: "another key signs this record by now" });
        }
        // Other keys altogether, or another node: a mark will say so.
        Ok(self)
    }

    /// Takes the next key into use, in the place of ours.
    pub(crate) fn take_next(&self) -> Result<Self, AuditError> {
        let (next, path) = (self.next_path(), self.dir.join(SIGNING));
        let (identity, is_elsewhere) = self.identity()?;
        if !is_elsewhere {
            // Before the key is there, so that nobody takes the folder for a copy.
            self.keep(Identity { home: home(&next)?, ..identity })?;
        }
        fs::rename(&next, &path).map_err(AuditError::io("rename", &next))?;
        sync_names(&self.dir)?;
        Self::open(&self.dir)
    }

    fn next_path(&self) -> PathBuf {
        self.dir.join(NEXT_SIGNING)
    }
}

#[cfg(test)]
mod tests;
