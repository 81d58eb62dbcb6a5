//! Every queue, buffer and wait of this crate, by name.
//!
//! [`Limits`] are settings; the constants are sizes and pauses that nobody needs to tune.

use std::time::Duration;

hayward_api::limits! {
    /// Limits of the executor.
    pub struct Limits("exec") {
        /// Jobs that run at once; more wait in order.
        jobs_max: Count = 64 in 1..=4_096,
        /// Jobs that are talked to at once, beside those; more are refused.
        conversations_max: Count = 128 in 0..=4_096,
        /// Jobs that wait for their turn; more are refused.
        waiting_max: Count = 1_024 in 0..=65_536,
        /// How long a job may tidy up between SIGTERM and SIGKILL.
        grace_ms: Milliseconds = 2_000 in 0..=60_000,
        /// How long output is read after the main process ended while others hold its pipes.
        drain_ms: Milliseconds = 250 in 0..=10_000,
        /// Supervisors that are kept for the next jobs.
        idle_max: Count = 16 in 0..=256,
        /// How long a supervisor is kept without a job.
        idle_ms: Milliseconds = 30_000 in 10..=3_600_000,
    }
}

/// One message between server and supervisor. The kernel takes at most 6 MiB of arguments and
/// environment (execve(2)), so what is longer couldn't start anyway.
pub(crate) const FRAME_BYTES_MAX: usize = 8 << 20;

/// What is read at once from a pipe or a control socket: the size of a pipe.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// What a captured stream grows by at first, so that the many short outputs stay small.
pub(crate) const CAPTURE_BYTES_MIN: usize = 4 << 10;

/// Survivors that a result names.
pub(crate) const SURVIVORS_NAMED_MAX: usize = 64;

/// How much of a survivor's command line a result shows, in characters.
pub(crate) const COMMAND_CHARS_MAX: usize = 200;

/// How long a supervisor kills before it says that something stays.
pub(crate) const KILL: Duration = Duration::from_millis(250);

/// What is just about to end when the main process ends isn't a survivor yet.
pub(crate) const SETTLE: Duration = Duration::from_millis(20);

/// How often a supervisor reaps orphans while its job runs.
pub(crate) const REAP: Duration = Duration::from_secs(1);

/// The first and the longest pause between two looks at something that is about to end.
pub(crate) const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// How long a supervisor may take for an answer, beyond the waits that it was asked for: as
/// long as a busy machine needs, because without it nobody knows who is to live on.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// The same where all are to end anyway, and can be ended without its help.
pub(crate) const ANSWER_AT_STOP: Duration = Duration::from_millis(500);

/// The same where they can be ended as a whole: what it does in that time is the gentler way.
pub(crate) const ANSWER_BEFORE_KILL: Duration = Duration::from_millis(75);

/// How long a supervisor may take to exit once it is alone.
pub(crate) const EXIT: Duration = Duration::from_millis(500);

/// How long killed processes may take to be gone before they are called stuck (in the kernel).
pub(crate) const GONE: Duration = Duration::from_secs(2);

/// The longest that a stopping server gives its jobs.
pub(crate) const SHUTDOWN_GRACE_MAX: Duration = Duration::from_mins(10);

/// The deadline of a job whose timeout is beyond the clock.
pub(crate) const FOREVER: Duration = Duration::from_hours(24 * 365);

/// Names tried for a cgroup of our own before the search is given up.
pub(crate) const HOME_NAMES_MAX: u32 = 1_000;

/// How long a job runs before its output is kept beside memory: short ones don't pay for it.
pub(crate) const SPOOL_AFTER: Duration = Duration::from_secs(1);

/// How long the output of a job whose server died is kept.
pub(crate) const SPOOL_KEPT: Duration = Duration::from_hours(7 * 24);

/// Streams of such jobs that are kept; the oldest go first.
pub(crate) const SPOOL_OUTPUTS_MAX: usize = 128;

/// Characters of a label, which becomes the name of a file.
pub(crate) const LABEL_CHARS_MAX: usize = 128;

/// What a supervisor says of a job at its end.
pub(crate) const LAST_WORD_BYTES_MAX: u64 = 4 << 10;

/// Roots that a confined job may have: each costs a mount.
pub(crate) const ROOTS_MAX: usize = 64;

/// Memory of a confined job that says nothing about it.
pub(crate) const CONFINED_MEMORY_BYTES: u64 = 2 << 30;

/// Processes and threads of a confined job that says nothing about them.
pub(crate) const CONFINED_PROCESSES: u64 = 512;

/// Processor time of a confined job that says nothing about it, in percent of one processor.
pub(crate) const CONFINED_CPU_PERCENT: u64 = 400;

/// Size of a file that a confined job writes and says nothing about.
pub(crate) const CONFINED_FILE_BYTES: u64 = 4 << 30;

/// Files that a process of a confined job may have open.
pub(crate) const CONFINED_OPEN_FILES: u64 = 1_024;

/// Size of the `/tmp` and of the `/dev/shm` of a confined job; both count as its memory.
pub(crate) const CONFINED_TMP: &str = "mode=1777,size=256m,nr_inodes=16k";

/// How much sooner than the server a job is ended when the machine is out of memory, of 1,000.
pub(crate) const OOM_SCORE_ABOVE: i32 = 300;

/// How long an assessment waits for a connection that isn't refused.
pub(crate) const PROBE_CONNECT: Duration = Duration::from_millis(500);

/// How long an assessment may take.
pub(crate) const PROBE: Duration = Duration::from_secs(10);

/// How often a v1 cgroup is frozen, killed and thawed before it is left to the next step.
pub(crate) const KILL_ROUNDS_MAX: u32 = 5;

/// The period over which processor time is shared out, in microseconds.
pub(crate) const CPU_PERIOD_US: u64 = 100_000;

/// Looks in a row at which a supervisor that was told to go on is still stopped before it is ended.
pub(crate) const STOPPED_LOOKS: u32 = 4;

/// Entries below `/etc` that are looked at for what isn't for everybody.
pub(crate) const SETTINGS_MAX: usize = 50_000;
