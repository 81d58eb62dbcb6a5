//! Every output, file, wait and search of this crate has a limit here. The defaults are the seed's.

use std::time::Duration;

hayward_api::limits! {
    /// Limits of the host toolset.
    pub struct Limits("host") {
        /// How long a command may run when the caller doesn't say.
        bash_timeout_ms: Milliseconds = 30_000 in 1_000..=86_400_000,
        /// How long a command may run at most, whatever the caller says.
        bash_timeout_ms_max: Milliseconds = 600_000 in 1_000..=86_400_000,
        /// Bytes of each output stream that are returned when the caller doesn't say.
        bash_output_bytes: Bytes = 102_400 in 1..=8_388_608,
        /// Bytes of each output stream that are returned at most.
        bash_output_bytes_max: Bytes = 1_048_576 in 1..=8_388_608,
        /// Bytes that one command may have.
        bash_command_bytes_max: Bytes = 131_000 in 1..=131_000,
        /// Bytes of memory of one command whose token says nothing about it; 0 for no bound.
        bash_memory_bytes_max: Bytes = 0 in 0..=1_125_899_906_842_624,
        /// Processes and threads of one command whose token says nothing about them; 0 for no bound.
        bash_processes_max: Count = 0 in 0..=4_194_304,
        /// Processor time of one command, in percent of one processor, whose token says nothing about it; 0 for no bound.
        bash_cpu_percent_max: Count = 0 in 0..=1_000_000,
        /// How long one call of a file tool may take.
        file_timeout_ms: Milliseconds = 60_000 in 100..=3_600_000,
        /// Threads that work on files at once; a thread that hangs in the kernel keeps its place.
        file_threads_max: Count = 32 in 1..=500,
        /// Lines that `read_file` returns when the caller doesn't say.
        read_lines: Count = 2_000 in 1..=1_000_000,
        /// Lines that `read_file` returns at most.
        read_lines_max: Count = 50_000 in 1..=1_000_000,
        /// Bytes of one line that `read_file` returns; the rest of the line is cut.
        read_line_bytes_max: Bytes = 32_768 in 16..=1_048_576,
        /// Bytes that one page of `read_file` holds; it ends before the line that would be too much.
        read_page_bytes_max: Bytes = 10_485_760 in 65_536..=67_108_864,
        /// Bytes that `write_file` writes at most.
        write_bytes_max: Bytes = 10_485_760 in 1..=67_108_864,
        /// Bytes of `old_string` and of `new_string` of `edit_file`.
        edit_string_bytes_max: Bytes = 1_048_576 in 1..=67_108_864,
        /// Bytes that a file may have to be edited, before and after.
        edit_file_bytes_max: Bytes = 67_108_864 in 1..=1_073_741_824,
        /// Bytes of a file that are held back while it is overwritten where it stands.
        in_place_bytes_max: Bytes = 67_108_864 in 1..=1_073_741_824,
        /// Paths that `glob` returns at most.
        glob_results_max: Count = 1_000 in 1..=100_000,
        /// Lines that `grep` returns when the caller doesn't say.
        grep_results: Count = 500 in 1..=100_000,
        /// Lines that `grep` returns at most.
        grep_results_max: Count = 5_000 in 1..=100_000,
        /// Lines of context on either side of a match.
        grep_context_lines_max: Count = 1_000 in 0..=100_000,
        /// Bytes of one line that `grep` returns; the rest of the line is cut.
        grep_line_bytes_max: Bytes = 32_768 in 16..=1_048_576,
        /// Bytes that `grep` returns at most.
        grep_bytes_max: Bytes = 10_485_760 in 65_536..=67_108_864,
        /// Bytes that one line and its context may take while a file is searched.
        grep_buffer_bytes_max: Bytes = 16_777_216 in 131_072..=268_435_456,
        /// Bytes that a compiled pattern may take.
        grep_regex_bytes_max: Bytes = 16_777_216 in 65_536..=1_073_741_824,
        /// Threads that one search uses.
        search_threads_max: Count = 4 in 1..=64,
        /// Bytes of all rule files (`.gitignore` and the like) that hold at one place of a search.
        search_rules_bytes_max: Bytes = 65_536 in 1_024..=16_777_216,
        /// Bytes that a compiled pattern may take to be kept for the next search.
        grep_kept_regex_bytes_max: Bytes = 1_048_576 in 0..=16_777_216,
        /// Bytes that an upload may have at most, and has when its maker doesn't say.
        transfer_bytes_max: Bytes = 2_147_483_648 in 1..=1_125_899_906_842_624,
        /// How long a ticket for a transfer is good when its maker doesn't say.
        transfer_ttl_ms: Milliseconds = 300_000 in 1_000..=86_400_000,
        /// How long a ticket for a transfer is good at most.
        transfer_ttl_ms_max: Milliseconds = 900_000 in 1_000..=86_400_000,
        /// How long one transfer may take.
        transfer_timeout_ms: Milliseconds = 3_600_000 in 1_000..=86_400_000,
        /// Transfers under way at once; more are asked to come back.
        transfers_max: Count = 16 in 1..=500,
        /// Tickets that are out at once, of which one token has half.
        transfer_tickets_max: Count = 1_000 in 1..=1_000_000,
        /// Files beneath our own data that are known one by one; beyond that, hard links are refused.
        protected_files_max: Count = 200_000 in 1_000..=10_000_000,
    }
}

/// How long the inventory of protected files serves for files that have one name only.
pub(crate) const CENSUS_AGE_MAX: Duration = Duration::from_secs(1);

/// How long an answer is waited for after a call was told to stop, before its thread is given up.
pub(crate) const STOP_GRACE: Duration = Duration::from_millis(250);

/// How often a path is looked up again because it changed under our hands.
pub(crate) const RACES_MAX: u32 = 8;

/// How often an edit is made again because the file changed meanwhile.
pub(crate) const EDIT_ATTEMPTS: u32 = 4;

/// Symbolic links that are followed to a file that doesn't exist yet; the kernel's own number.
pub(crate) const LINKS_MAX: u32 = 40;

/// Bytes of a path (`PATH_MAX` counts the NUL) and of one of its components.
pub(crate) const PATH_BYTES_MAX: usize = 4_095;
/// See [`PATH_BYTES_MAX`].
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// What is read from a file at once.
pub(crate) const CHUNK_BYTES: usize = 128 << 10;

/// Bytes of a file that are sent at once; four of these fit into a core's own cache.
pub(crate) const SENT_BYTES: usize = 256 << 10;

/// Pieces of an upload that are written before its sender is told that there is room again.
pub(crate) const PIECES_AT_ONCE: usize = 16;

/// Bytes of a file that is read without a thread of its own, if it is in memory.
pub(crate) const CACHED_BYTES_MAX: usize = 128 << 10;

/// What is read from a directory at once.
pub(crate) const ENTRIES_BYTES: usize = 32 << 10;

/// Parts of a glob pattern: as many as a set of them has bits.
pub(crate) const PATTERN_PARTS_MAX: usize = 60;

/// Directories that a search visits before it calls more threads.
pub(crate) const SERIAL_DIRECTORIES: usize = 32;

/// Files that a thread of a search takes at once; it calls more threads if there are more.
pub(crate) const FILES_AT_ONCE: usize = 16;

/// How many such batches wait for a thread before the one that finds files visits them itself.
pub(crate) const WAITING_BATCHES_MAX: usize = 16;

/// Compiled patterns that are kept for the next search.
pub(crate) const KEPT_PATTERNS_MAX: usize = 8;

/// Opening braces of one glob: compiling nested ones recurses, and each level takes some stack.
pub(crate) const GLOB_BRACES_MAX: usize = 100;

/// Whether a glob has more of them than that. Counted and not matched up, so that no escape misleads.
pub(crate) fn has_too_many_braces(glob: &str) -> bool {
    memchr::memchr_iter(b'{', glob.as_bytes()).count() > GLOB_BRACES_MAX
}

/// How often a running command is reported to whoever listens.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Random bytes of a ticket.
pub(crate) const TICKET_BYTES: usize = 24;

/// How long it is remembered that a ticket has expired.
pub(crate) const TICKET_REMEMBERED: Duration = Duration::from_mins(10);

/// Uploads that broke off and are kept to go on: each holds a file open.
pub(crate) const HALF_UPLOADS_MAX: usize = 64;

/// Those of one token.
pub(crate) const HALF_UPLOADS_EACH_MAX: usize = 16;

/// How often it is looked whether one of them is over.
pub(crate) const HALF_UPLOADS_LOOK: Duration = Duration::from_secs(10);

/// Bytes that one ticket may fetch of a small file, those that are fetched again counted.
pub(crate) const RESENT_BYTES_MIN: u64 = 1 << 20;

/// A limit as a size in memory.
pub(crate) fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
