//! A look at a database that somebody else may have open: nothing is changed and no lock is taken.

use std::path::Path;

use crate::dialect::open_to_read;
use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::store::FILE;

/// What was found of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Bytes of its file.
    pub bytes: u64,
    /// What is wrong with it, in the words of the engine, at most a hundred of them; nothing if it is sound.
    pub faults: Vec<String>,
}

/// Checks the structure of the database in this folder; none if there is no database.
pub async fn examine(dir: &Path) -> Result<Option<Examined>, StoreError> {
    let path = dir.join(FILE);
    let Ok(metadata) = std::fs::metadata(&path) else { return Ok(None) };
    let reader = open_to_read(&path).await?;
    let rows: Result<Vec<Row>, _> = query("PRAGMA quick_check(100)").fetch_all(&reader).await;
    reader.close().await;
    let rows = rows.map_err(StoreError::at("check the database"))?;
    let said = rows.iter().map(|row| row.at::<String>(0));
    let mut faults: Vec<String> =
        said.collect::<Result<_, _>>().map_err(StoreError::at("check the database"))?;
    faults.retain(|fault| fault != "ok");
    Ok(Some(Examined { bytes: metadata.len(), faults }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, StoreConfig};

    #[tokio::test]
    async fn a_sound_database_has_no_faults_and_a_damaged_one_has() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(examine(dir.path()).await.unwrap(), None);
        Store::open(dir.path(), StoreConfig::default()).await.unwrap().close().await;
        let sound = examine(dir.path()).await.unwrap().unwrap();
        assert!(sound.bytes > 0 && sound.faults.is_empty(), "{:?}", sound.faults);
        let path = dir.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        let page = 4_096;
        bytes[page..page * 3].fill(0x55);
        std::fs::write(&path, bytes).unwrap();
        let found = examine(dir.path()).await;
        assert!(is_damaged(&found), "{found:?}");
    }

    #[tokio::test]
    async fn what_is_no_database_is_damaged_and_what_cannot_be_opened_is_not_known_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, "no database, but long enough to be one. ".repeat(200)).unwrap();
        let found = examine(dir.path()).await;
        assert!(is_damaged(&found), "{found:?}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let found = examine(dir.path()).await;
        assert!(matches!(found, Err(StoreError::Unavailable { .. })), "{found:?}");
    }

    fn is_damaged(found: &Result<Option<Examined>, StoreError>) -> bool {
        match found {
            Ok(found) => found.as_ref().is_some_and(|found| !found.faults.is_empty()),
            Err(error) => matches!(error, StoreError::Corrupt { .. }),
        }
    }
}
