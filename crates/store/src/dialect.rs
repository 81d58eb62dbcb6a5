//! What differs between database engines: opening, locking, migrations, notifications.
//!
//! All other SQL is the same text for each (`$1`, `RETURNING`, `ON CONFLICT`). On both, whoever changes resources is alone
//! from the beginning of the change: `SQLite` has one writer, and on `PostgreSQL` the row of the revision is locked first.
//! So revisions are given out in the order of commits, and what a change has looked at stays so until it is made.

mod look;
mod url;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::look::open_to_read;
pub use self::url::DatabaseUrl;
use crate::error::{BEGIN, StoreError};
use crate::limits::{
    ACQUIRE, BUSY, CACHE_KIB, CONNECT_PAUSE, IDLE_IN_CHANGE, READER_IDLE, READERS, ROWS, STATEMENT,
    STATEMENTS, WRITERS,
};
use crate::sql::{Pool, Tx, query};

/// Begins a transaction that writes. A deferred one that reads first would be refused at its
/// first write if another had written meanwhile, whatever the busy timeout.
const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
/// Where `PostgreSQL` tells of changes.
const CHANNEL: &str = "hayward";
/// What it tells there of a status; of all else it tells nothing.
pub(crate) const STATUS: &str = "status";

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// The connections that write, and the ones that read.
#[derive(Clone)]
pub(crate) struct Pools {
    pub(crate) writer: Pool,
    pub(crate) readers: Pool,
}

impl Pools {
    /// Opens the database in this file, or makes it, and brings it up to this program.
    pub(crate) async fn open_file(path: &Path) -> Result<Self, StoreError> {
        create_private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .synchronous(SqliteSynchronous::Full)
            .statement_cache_capacity(STATEMENTS)
            .row_buffer_size(ROWS)
            // What is gone is not to be read from the file: what an old key wraps, above all.
            .pragma("secure_delete", "ON")
            .pragma("cache_size", format!("-{CACHE_KIB}"));
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            // Who waits for longer is refused, which is told and counted elsewhere.
            .acquire_slow_threshold(ACQUIRE)
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
        migrated(&SQLITE, SQLITE.run(&writer).await)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .acquire_slow_threshold(ACQUIRE)
            .idle_timeout(READER_IDLE)
            .test_before_acquire(false)
            .connect_lazy_with(options.read_only(true));
        Ok(Self { writer: Pool::Sqlite(writer), readers: Pool::Sqlite(readers) })
    }

    /// Opens the database at this address, and brings it up to this program.
    pub(crate) async fn open_url(url: &DatabaseUrl) -> Result<Self, StoreError> {
        // Migrations take as long as they take, and wait for those of another node.
        let mut first = connected(&url.options().application_name("hayward")).await?;
        look::whose(&mut first).await?;
        migrated(&POSTGRES, POSTGRES.run(&mut first).await)?;
        first.close().await.map_err(StoreError::at("migrate the database"))?;
        let millis = |time: std::time::Duration| time.as_millis().to_string();
        let options =
            url.options().statement_cache_capacity(STATEMENTS).application_name("hayward").options([
                ("lock_timeout", millis(ACQUIRE)),
                ("statement_timeout", millis(STATEMENT)),
                ("idle_in_transaction_session_timeout", millis(IDLE_IN_CHANGE)),
                // Whatever the database's default is: what is acknowledged is on the disk.
                ("synchronous_commit", "on".to_owned()),
            ]);
        let pool = |options: PgConnectOptions, connections: u32| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE)
                .acquire_slow_threshold(ACQUIRE)
                .idle_timeout(READER_IDLE)
                .connect_lazy_with(options)
        };
        let writer = pool(options.clone(), WRITERS);
        // One more, on which changes are told.
        let readers = pool(options, READERS + 1);
        Ok(Self { writer: Pool::Postgres(writer), readers: Pool::Postgres(readers) })
    }

    /// Begins a change of what has no history; others may change resources meanwhile where that is possible.
    pub(crate) async fn begin_aside(&self) -> Result<Tx, sqlx::Error> {
        match &self.writer {
            Pool::Sqlite(pool) => Ok(Tx::Sqlite(pool.begin_with(BEGIN_WRITE).await?)),
            Pool::Postgres(pool) => Ok(Tx::Postgres(pool.begin().await?)),
        }
    }

    /// The name of the step: a file has one connection that changes it, and who waits for that in vain waits for a change.
    pub(crate) fn begins(&self) -> &'static str {
        match &self.writer {
            Pool::Sqlite(_) => BEGIN,
            Pool::Postgres(_) => "begin a change",
        }
    }

    /// Begins a change at the revision that is told; from here on nobody else changes resources.
    pub(crate) async fn begin(&self) -> Result<(Tx, i64), sqlx::Error> {
        let mut tx = self.begin_aside().await?;
        let locking = match tx {
            Tx::Sqlite(_) => "SELECT value FROM revision",
            Tx::Postgres(_) => "SELECT value FROM revision FOR UPDATE",
        };
        let revision = query(locking).fetch_one(&mut tx).await?.at(0)?;
        Ok((tx, revision))
    }
}

/// A connection of its own, with a true reason if there is none: a pool only says that it took too long. A database that
/// begins meanwhile is waited for.
async fn connected(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let until = Instant::now() + ACQUIRE;
    loop {
        let failure = match timeout_at(until, options.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(failure)) => failure,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        if !may_begin_soon(&failure) || Instant::now() + CONNECT_PAUSE > until {
            return Err(StoreError::at("connect to the database")(failure));
        }
        sleep(CONNECT_PAUSE).await;
    }
}

/// Whether nobody listens, or the server says that it is starting up.
fn may_begin_soon(failure: &sqlx::Error) -> bool {
    match failure {
        sqlx::Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.code().as_deref() == Some("57P03"),
        _ => false,
    }
}

/// The clock of the database at the moment of a statement, in milliseconds since 1970.
pub(crate) fn now_ms(pool: &Pool) -> &'static str {
    match pool {
        Pool::Sqlite(_) => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        Pool::Postgres(_) => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    }
}

/// Tells other processes that there are changes, once this one is made.
pub(crate) async fn tell(tx: &mut Tx) -> Result<(), sqlx::Error> {
    match tx {
        Tx::Sqlite(_) => Ok(()),
        Tx::Postgres(_) => query("SELECT pg_notify($1, '')").bind(CHANNEL).fetch_all(tx).await.map(drop),
    }
}

/// Tells other processes that a status is another one.
pub(crate) async fn tell_of_status(pool: &Pool) -> Result<(), sqlx::Error> {
    match pool {
        Pool::Sqlite(_) => Ok(()),
        Pool::Postgres(_) => {
            query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(STATUS).fetch_all(pool).await.map(drop)
        }
    }
}

/// What hears of the changes of other processes; none where there can be no other.
pub(crate) async fn listener(pool: &Pool) -> Result<Option<PgListener>, sqlx::Error> {
    let Pool::Postgres(pool) = pool else { return Ok(None) };
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(Some(listener))
}

/// `SQLite` gives its other files the mode of the first, so that one decides for all.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.map(drop).map_err(|error| StoreError::at("create the database")(sqlx::Error::Io(error)))
}

fn migrated(migrator: &Migrator, result: Result<(), MigrateError>) -> Result<(), StoreError> {
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    result.map_err(|error| match error {
        MigrateError::VersionMissing(found) => StoreError::Newer { found, known },
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            StoreError::at("bring the database up to date")(source)
        }
        other => StoreError::Corrupt { detail: other.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_for_a_connection_is_no_warning() {
        let dir = tempfile::tempdir().unwrap();
        let pools = Pools::open_file(&dir.path().join("db")).await.unwrap();
        for pool in [pools.writer, pools.readers] {
            let Pool::Sqlite(pool) = pool else { panic!("a file") };
            assert!(pool.options().get_acquire_slow_threshold() >= pool.options().get_acquire_timeout());
        }
    }
}
