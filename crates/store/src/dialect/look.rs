//! A look at a database as it is: whose it is, and opening it to read. Nothing is made, nothing is brought up to date.

use std::path::Path;

use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Connection as _, Row as _};

use super::url::DatabaseUrl;
use super::{POSTGRES, connected};
use crate::error::StoreError;
use crate::limits::{ACQUIRE, BUSY};
use crate::sql::Pool;

/// Where the engine notes which migrations were made.
const MIGRATIONS: &str = "_sqlx_migrations";
/// A table that every schema of ours has.
const OURS: &str = "revision";
/// The tables that somebody made there; those of extensions are nobody's.
const TABLES: &str = "SELECT c.relname::text FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'f') AND NOT EXISTS \
     (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1";

/// What a database on a server is before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Nobody's: there is no table in it.
    Nobodys,
    /// Ours, of this release or another.
    Ours,
}

/// Says whose a database is; one that is somebody else's is an error, since ours would lie among theirs.
pub(super) async fn whose(connection: &mut PgConnection) -> Result<Whose, StoreError> {
    let rows = sqlx::query(TABLES).fetch_all(connection).await;
    let names: Result<Vec<String>, _> = rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect());
    decide(&names.map_err(StoreError::at("look at the tables of the database"))?)
}

fn decide(tables: &[String]) -> Result<Whose, StoreError> {
    let has = |name: &str| tables.iter().any(|table| table == name);
    if has(MIGRATIONS) && has(OURS) {
        return Ok(Whose::Ours);
    }
    // The list of migrations is made by itself, before the first of them.
    match tables.iter().find(|table| *table != MIGRATIONS) {
        Some(table) => Err(StoreError::Foreign { table: table.clone() }),
        None => Ok(Whose::Nobodys),
    }
}

/// Opens a database that is there as it is, to read it: that of a file, or the one at an address. None if there is none yet.
pub(crate) async fn open_to_read(
    file: &Path,
    database: Option<&DatabaseUrl>,
) -> Result<Option<Pool>, StoreError> {
    match database {
        Some(url) => open_url_to_read(url).await,
        None if file.exists() => open_file_to_read(file).await.map(Some),
        None => Ok(None),
    }
}

async fn open_file_to_read(path: &Path) -> Result<Pool, StoreError> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).connect_with(options);
    pool.await.map(Pool::Sqlite).map_err(StoreError::at("open the database to read"))
}

async fn open_url_to_read(url: &DatabaseUrl) -> Result<Option<Pool>, StoreError> {
    let options =
        url.options().application_name("hayward").options([("default_transaction_read_only", "on")]);
    let mut first = connected(&options).await?;
    let whose = match whose(&mut first).await? {
        Whose::Ours => refuse_newer(&mut first).await.map(|()| Whose::Ours)?,
        Whose::Nobodys => Whose::Nobodys,
    };
    first.close().await.map_err(StoreError::at("open the database to read"))?;
    let pool = || PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).connect_lazy_with(options);
    Ok((whose == Whose::Ours).then(|| Pool::Postgres(pool())))
}

/// Refuses a schema that a newer program made: this one doesn't know what it means.
async fn refuse_newer(connection: &mut PgConnection) -> Result<(), StoreError> {
    let row =
        sqlx::query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations").fetch_one(connection).await;
    let found: Result<i64, _> = row.and_then(|row| row.try_get(0));
    let found = found.map_err(StoreError::at("read the schema of the database"))?;
    let known = POSTGRES.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known { Err(StoreError::Newer { found, known }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_nobody_s_or_ours_and_somebody_else_s_is_refused() {
        let decided = |tables: &[&str]| decide(&tables.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(decided(&[]).unwrap(), Whose::Nobodys);
        assert_eq!(decided(&[MIGRATIONS]).unwrap(), Whose::Nobodys, "a first start that was cut off");
        assert_eq!(decided(&[MIGRATIONS, "resources", OURS]).unwrap(), Whose::Ours);
        assert_eq!(decided(&[MIGRATIONS, "foo", OURS]).unwrap(), Whose::Ours, "who has ours keeps it");
        for foreign in [&["foo"][..], &[MIGRATIONS, "foo"], &[OURS]] {
            assert!(matches!(decided(foreign), Err(StoreError::Foreign { .. })), "{foreign:?}");
        }
    }
}
