//! Limits of the record.

use std::time::Duration;

hayward_api::limits! {
    /// Limits of the record that can be set.
    pub struct Limits("audit") {
        /// Size at which the file of the record is put aside and a new one begun.
        file_bytes_max: Bytes = 67_108_864 in 65_536..=1_073_741_824,
        /// Files put aside that are kept; the oldest beyond them are deleted.
        files_kept: Count = 16 in 1..=10_000,
    }
}

/// How long a record may be unsynced when syncing is in the background.
pub const SYNC_WITHIN: Duration = Duration::from_millis(50);
/// How long the background gathers records before it syncs: half of [`SYNC_WITHIN`], the other
/// half is for the disk.
pub const SYNC_DELAY: Duration = Duration::from_millis(25);
/// Bytes of records between two marks: what a start has to read after a crash.
pub const MARK_BYTES: u64 = 256 * 1024;
/// Characters of a name, id or word in a record.
pub const WORD_CHARS: usize = 256;
/// Characters of the message of an outcome.
pub const MESSAGE_CHARS: usize = 200;
/// Bytes that one string in the arguments keeps.
pub const ARGUMENT_STRING_BYTES: usize = 8 * 1024;
/// Bytes that all arguments of a call keep.
pub const ARGUMENTS_BYTES: usize = 64 * 1024;
/// Bytes of a line that the reader takes for a record.
pub const LINE_BYTES: u64 = 4 * 1024 * 1024;

/// How often a busy lock is tried before the thread goes to sleep: some microseconds.
pub(crate) const SPINS: u32 = 200;
