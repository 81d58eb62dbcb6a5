//! Limits of the record.

use std::time::Duration;

use jiff::SignedDuration;

hayward_api::limits! {
    /// Limits of the record that can be set.
    pub struct Limits("audit") {
        /// Size at which the file of the record is put aside and a new one begun.
        file_bytes_max: Bytes = 67_108_864 in 65_536..=1_073_741_824,
        /// Files put aside that are kept however old they are; more are kept while they are young.
        files_kept: Count = 16 in 1..=10_000,
        /// Age up to which a file put aside is kept, however many there are.
        files_kept_ms_min: Milliseconds = 86_400_000 in 0..=31_536_000_000,
        /// Bytes of all files put aside, beyond which the oldest is deleted even if it is young.
        files_kept_bytes_max: Bytes = 4_294_967_296 in 67_108_864..=1_099_511_627_776,
        /// Time after which records that were synced are signed, if there are new ones.
        checkpoint_ms: Milliseconds = 60_000 in 100..=86_400_000,
        /// Size at which the copy at `--log-dir` is put aside (mymcp: `MYMCP_AUDIT_MAX_BYTES`).
        copy_bytes_max: Bytes = 10_485_760 in 1_024..=1_073_741_824,
        /// Files of that copy that are kept beside the one in use (mymcp: `MYMCP_AUDIT_BACKUP_COUNT`).
        copy_files_kept: Count = 5 in 0..=10_000,
    }
}

/// How long the background gathers records before it syncs: half of the 50 ms within which they should be
/// on the disk, the other half is for the disk.
pub const SYNC_DELAY: Duration = Duration::from_millis(25);
/// Bytes of records between two marks: what a start has to read after a crash.
pub const MARK_BYTES: u64 = 256 * 1024;
/// Bytes of records that are written in one go at most, but for the last of them.
pub const BATCH_BYTES: usize = 64 * 1024;
/// Characters of a name, id or word in a record.
pub const WORD_CHARS: usize = 256;
/// Characters of the message of an outcome.
pub const MESSAGE_CHARS: usize = 200;
/// Characters of the fence in a record: sixteen usual roots.
pub const FENCE_CHARS: usize = 1024;
/// Bytes that one string in the arguments keeps: less than all of them, so that the others stay.
pub const ARGUMENT_STRING_BYTES: usize = 6 * 1024;
/// Bytes that all arguments of a call keep.
pub const ARGUMENTS_BYTES: usize = 8 * 1024;
/// Bytes that all arguments of a refused call keep: whoever may do nothing may not write much.
pub const DENIED_ARGUMENTS_BYTES: usize = 1024;
/// How far the wall clock is set (ahead or back) at least for that to be recorded: more than slewing and scheduling do,
/// less than a leap second.
pub const CLOCK_STEP_MIN: SignedDuration = SignedDuration::from_millis(500);
/// Time between two attempts to open the record again, or to put a full file aside.
pub const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Room that a file must have before the record begins, or goes on after a failure, in it.
pub const RESERVE_BYTES: u64 = 64 * 1024;
/// Time between two warnings that files are deleted before their time.
pub const WARN_AFTER: Duration = Duration::from_mins(1);
/// Bytes of a line that the reader takes for a record.
pub const LINE_BYTES: u64 = 4 * 1024 * 1024;

/// Part of the room for files put aside (in percent) from which on it is told that it runs out.
pub const FILES_KEPT_WARN_PERCENT: u64 = 80;
/// Free part of the file system (in percent) below which it is told that it fills.
pub const DISK_FREE_WARN_PERCENT: u64 = 5;
/// Free bytes of the file system below which it is told that it fills.
pub const DISK_FREE_WARN_BYTES: u64 = 1_073_741_824;
/// Faults that a report lists; more are counted.
pub const FAULTS_LISTED: usize = 100;
/// Bytes of a line that is taken for a checkpoint.
pub const CHECKPOINT_BYTES: u64 = 4 * 1024;

/// How often the copy at `--log-dir` looks for new records.
pub(crate) const MIRROR_PAUSE: Duration = Duration::from_millis(200);
/// How long the end of such a copy is waited for when the daemon stops.
pub(crate) const MIRROR_END: Duration = Duration::from_secs(5);
/// Calls without an outcome that a reader keeps in mind.
pub(crate) const CALLS_OPEN: usize = 10_000;
/// How long the thread that syncs waits for records when nothing is to be signed.
pub(crate) const IDLE_WAIT: Duration = Duration::from_hours(1);
/// Gaps in a chain that may be waiting to be explained at once, one within the other.
pub(crate) const GAPS: usize = 4;
/// Faults that are remembered of each.
pub(crate) const GAP_FAULTS: usize = FAULTS_LISTED;
/// Writes after one that waited for company in vain for which nobody waits.
pub(crate) const ALONE_WRITES: u8 = 64;

/// Bytes of the shortest secret that is looked for: a shorter one stands in texts by chance, so it can't
/// be held, and whoever wants to hold it is told.
pub const SECRET_BYTES_MIN: usize = 8;
/// Different bytes that a secret must have, so that a ruler of dashes is none.
pub const SECRET_VARIETY_MIN: usize = 4;
/// Bytes of the longest secret.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Values that are held at once.
pub const SECRETS_HELD: usize = 10_000;
/// Bytes of all values together: the automaton takes up to three hundred times as many.
pub const SECRETS_BYTES: usize = 256 * 1024;
/// Bytes of the pieces in which a long secret is looked for, so that a part of it is found, too.
pub const SECRET_PIECE_BYTES: usize = 256;
/// Bytes of the shortest line of a secret that is looked for by itself.
pub const SECRET_LINE_BYTES_MIN: usize = 16;
/// Characters of the name of a secret, or of a rule, in a tag.
pub const TAG_NAME_CHARS: usize = 64;
/// Bytes that each thread keeps, twice, to look for secrets in the next text.
pub const SCRATCH_BYTES: usize = 512 * 1024;
/// Bytes that a stream holds back at most, where something may be a secret and isn't through.
pub const STREAM_HELD_BYTES: usize = 64 * 1024;
/// Bytes that a rule looks at, from its keyword on.
pub const RULE_BYTES: usize = 4 * 1024;
/// Bytes of the longest private key that is taken for a block.
pub const KEY_BLOCK_BYTES: usize = 16 * 1024;
/// Bytes of the longest control sequence of a terminal that is skipped as one.
pub const CONTROL_SEQUENCE_BYTES: usize = 4 * 1024;
