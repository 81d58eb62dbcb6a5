//! A look at a database that somebody else may have open: nothing is changed and no lock is taken.

use std::path::Path;

use crate::dialect::{DatabaseUrl, open_to_read};
use crate::error::StoreError;
use crate::sql::{Pool, Row, query};
use crate::store::FILE;

/// What was found of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Bytes of it.
    pub bytes: u64,
    /// What is wrong with it, in the words of the engine, at most a hundred of them; nothing if it is sound.
    pub faults: Vec<String>,
}

/// Checks the database in this folder, or the one that is used instead of it; none if there is no database, or nothing in it.
///
/// Of a file the structure is checked. A server checks what it keeps by itself: of its database it is asked that it answers
/// and that this program knows the schema.
pub async fn examine(dir: &Path, database: Option<&DatabaseUrl>) -> Result<Option<Examined>, StoreError> {
    let path = dir.join(FILE);
    let Some(reader) = open_to_read(&path, database).await? else { return Ok(None) };
    let found = match reader {
        Pool::Sqlite(_) => of_file(&path, &reader).await,
        Pool::Postgres(_) => of_server(&reader).await,
    };
    reader.close().await;
    found.map(Some).map_err(StoreError::at("check the database"))
}

async fn of_file(path: &Path, reader: &Pool) -> Result<Examined, sqlx::Error> {
    let rows: Vec<Row> = query("PRAGMA quick_check(100)").fetch_all(reader).await?;
    let mut faults: Vec<String> = rows.iter().map(|row| row.at(0)).collect::<Result<_, _>>()?;
    faults.retain(|fault| fault != "ok");
    let bytes = std::fs::metadata(path).map_err(sqlx::Error::Io)?.len();
    Ok(Examined { bytes, faults })
}

async fn of_server(reader: &Pool) -> Result<Examined, sqlx::Error> {
    let bytes: i64 = query("SELECT pg_database_size(current_database())").fetch_one(reader).await?.at(0)?;
    Ok(Examined { bytes: bytes.cast_unsigned(), faults: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, StoreConfig};

    #[tokio::test]
    async fn a_sound_database_has_no_faults_and_a_damaged_one_has() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(examine(dir.path(), None).await.unwrap(), None);
        Store::open(dir.path(), StoreConfig::default()).await.unwrap().close().await;
        let sound = examine(dir.path(), None).await.unwrap().unwrap();
        assert!(sound.bytes > 0 && sound.faults.is_empty(), "{:?}", sound.faults);
        let path = dir.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        let page = 4_096;
        bytes[page..page * 3].fill(0x55);
        std::fs::write(&path, bytes).unwrap();
        let found = examine(dir.path(), None).await;
        assert!(is_damaged(&found), "{found:?}");
    }

    #[tokio::test]
    async fn what_is_no_database_is_damaged_and_what_cannot_be_opened_is_not_known_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, "no database, but long enough to be one. ".repeat(200)).unwrap();
        let found = examine(dir.path(), None).await;
        assert!(is_damaged(&found), "{found:?}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let found = examine(dir.path(), None).await;
        assert!(matches!(found, Err(StoreError::Unavailable { .. })), "{found:?}");
    }

    fn is_damaged(found: &Result<Option<Examined>, StoreError>) -> bool {
        match found {
            Ok(found) => found.as_ref().is_some_and(|found| !found.faults.is_empty()),
            Err(error) => matches!(error, StoreError::Corrupt { .. }),
        }
    }
}
