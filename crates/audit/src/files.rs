//! Which files of a folder are a record, for whoever only reads.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::AuditError;
use crate::folder::{CURRENT, number};

/// The files of the record in this folder, oldest first.
pub fn record_files(dir: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let mut aside = Vec::new();
    for entry in fs::read_dir(dir).map_err(AuditError::io("list", dir))? {
        let name = entry.map_err(AuditError::io("list", dir))?.file_name();
        aside.extend(name.to_str().and_then(number));
    }
    aside.sort_unstable();
    let aside = aside.into_iter().map(|number| dir.join(crate::folder::aside_name(number)));
    let current = dir.join(CURRENT);
    Ok(aside.chain(current.exists().then_some(current)).collect())
}
