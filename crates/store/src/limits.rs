//! Limits of the store.

use std::time::Duration;

hayward_api::limits! {
    /// Limits of the store that can be set.
    pub struct Limits("store") {
        /// Changes that are kept for history and watches, and as many of logins; the oldest beyond them are forgotten.
        history_rows_max: Count = 10_000 in 100..=10_000_000,
        /// Calls of one credential that are remembered by the keys that they came with.
        receipts_per_credential_max: Count = 10_000 in 1..=10_000_000,
        /// Time that they are remembered.
        receipts_kept_ms: Milliseconds = 86_400_000 in 1_000..=2_592_000_000,
        /// Events that others reported and that are kept; the oldest beyond them are forgotten.
        claims_max: Count = 100_000 in 100..=10_000_000,
        /// Versions of the values of one secret that are kept, so that they can be brought back.
        secret_versions_max: Count = 10 in 1..=1_000,
        /// Logins of one user at the same time: the oldest beyond them end.
        user_logins_max: Count = 100 in 1..=100_000,
    }
}

/// Bytes of the spec of one resource.
pub const SPEC_BYTES: usize = 1024 * 1024;
/// Bytes of labels and annotations of one resource.
pub const NOTES_BYTES: usize = 256 * 1024;
/// How long is waited until a database that isn't there yet is asked again.
pub const CONNECT_PAUSE: Duration = Duration::from_millis(200);
/// Rows that are read ahead of whoever takes them: with few, the two threads wait for each other at each of them.
pub const ROWS: usize = 16 * 1024;
/// Connections that read at once; they are opened when needed.
pub const READERS: u32 = 4;
/// How long an unneeded reader stays open.
pub const READER_IDLE: Duration = Duration::from_secs(30);
/// Connections that write at once where there are many; they are opened when needed.
pub const WRITERS: u32 = 4;
/// How long a statement may take where the database is another process.
pub const STATEMENT: Duration = Duration::from_secs(30);
/// How long a change may stand open with nothing said; the database then ends it for the others' sake.
pub const IDLE_IN_CHANGE: Duration = Duration::from_secs(30);
/// How often it is looked for changes of other processes that nobody told of.
pub const POLL: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again to hear of changes.
pub const RETRY: Duration = Duration::from_secs(1);
/// How long a database may be silent until whoever follows it is told.
pub const SILENCE: Duration = Duration::from_secs(3);
/// Changes that all watches of a process share; slower ones read the database. They stay until as many others have come, and take
/// more memory than the bytes of their text.
pub const SHARED_CHANGES: usize = 1024;
/// Bytes of their text.
pub const SHARED_BYTES: usize = 4 * 1024 * 1024;
/// How long a statement waits for a lock that another process holds on the database.
pub const BUSY: Duration = Duration::from_secs(5);
/// How long a call waits for a connection.
pub const ACQUIRE: Duration = Duration::from_secs(10);
/// Page cache of each connection, in KiB.
pub const CACHE_KIB: u32 = 512;
/// Prepared statements that each connection keeps.
pub const STATEMENTS: usize = 64;
/// Changes that a watch reads at once.
pub const WATCH_BATCH: usize = 256;
/// Bytes of them.
pub const WATCH_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Changes of one resource that are told at once.
pub const HISTORY_ROWS: u64 = 1_000;
/// Bytes of them.
pub const HISTORY_BYTES: usize = 32 * 1024 * 1024;
/// Characters of a token id that a prefix must have to stand for it.
pub const ID_PREFIX_CHARS: usize = 4;
/// How long an invite that is over is still shown.
pub const INVITES_KEPT: Duration = Duration::from_hours(30 * 24);
/// How long a login that is made by impersonation lasts at most.
pub const IMPERSONATION: Duration = Duration::from_hours(1);
