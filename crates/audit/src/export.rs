//! A copy of a record that proves itself elsewhere: its files, its checkpoints, and the public key.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::checkpoint::CHECKPOINTS;
use crate::error::AuditError;
use crate::files::record_files;
use crate::keys::PublicKey;

/// The file of the public key in a copy.
pub const PUBLIC_KEY: &str = "public.key";
/// Attempts while the writer deletes or begins files.
const ATTEMPTS: u32 = 5;

/// Copies the record of this folder into a fresh one.
pub fn export(dir: &Path, key: &PublicKey, into: &Path) -> Result<(), AuditError> {
    DirBuilder::new().mode(0o700).create(into).map_err(AuditError::io("create", into))?;
    let public = into.join(PUBLIC_KEY);
    fs::write(&public, format!("{key}\n")).map_err(AuditError::io("write", &public))?;
    let checkpoints = dir.join(CHECKPOINTS);
    if checkpoints.exists() {
        // First, so that the files hold at least what they are held to.
        copy(&checkpoints, &into.join(CHECKPOINTS))?;
    }
    let mut attempt = 1;
    while let Err(error) = copy_files(dir, into) {
        if attempt == ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
    }
    Ok(())
}

fn copy_files(dir: &Path, into: &Path) -> Result<(), AuditError> {
    let files = record_files(dir)?;
    for path in files.iter().rev() {
        copy(path, &into.join(path.file_name().unwrap_or_default()))?;
    }
    // A file that was put aside meanwhile is there under its old name or not at all.
    if record_files(dir)? == files {
        return Ok(());
    }
    Err(AuditError::Unfit { path: dir.to_owned(), why: "its files changed while they were copied" })
}

fn copy(from: &Path, to: &Path) -> Result<(), AuditError> {
    fs::copy(from, to).map(drop).map_err(AuditError::io("copy", from))
}
