//! What differs between database engines: opening, locking, migrations.
//!
//! All other SQL is the same text for each (`$1`, `RETURNING`, `ON CONFLICT`).

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::error::StoreError;
use crate::limits::{ACQUIRE, BUSY, CACHE_KIB, READER_IDLE, READERS, STATEMENTS};

pub(crate) type Engine = sqlx::Sqlite;
pub(crate) type Pool = sqlx::SqlitePool;
pub(crate) type Row = sqlx::sqlite::SqliteRow;

/// Begins a transaction that writes. A deferred one that reads first would be refused at its
/// first write if another had written meanwhile, whatever the busy timeout.
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// The one connection that writes, and the ones that read.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    pub(crate) writer: Pool,
    pub(crate) readers: Pool,
}

impl Pools {
    /// Opens the database, or makes it, and brings it up to this program.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .synchronous(SqliteSynchronous::Full)
            .statement_cache_capacity(STATEMENTS)
            .pragma("cache_size", format!("-{CACHE_KIB}"));
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            // A commit that fails (a full disk) may end its transaction by itself: the connection then waits for ever
            // for an end that can't come, and nothing could be changed until a restart.
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_with(options.clone().journal_mode(SqliteJournalMode::Wal))
            .await
            .map_err(StoreError::at("open the database"))?;
        migrate(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(READER_IDLE)
            .test_before_acquire(false)
            .connect_lazy_with(options.read_only(true));
        Ok(Self { writer, readers })
    }
}

/// Opens a database that is there as it is, to read it.
pub(crate) async fn open_to_read(path: &Path) -> Result<Pool, StoreError> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).connect_with(options);
    pool.await.map_err(StoreError::at("open the database to read"))
}

/// `SQLite` gives its other files the mode of the first, so that one decides for all.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.map(drop).map_err(|error| StoreError::at("create the database")(sqlx::Error::Io(error)))
}

async fn migrate(writer: &Pool) -> Result<(), StoreError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    MIGRATIONS.run(writer).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => StoreError::Newer { found, known },
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            StoreError::at("bring the database up to date")(source)
        }
        other => StoreError::Corrupt { detail: other.to_string() },
    })
}
