//! The limits of what is told about the daemon.

/// Tools that are counted by name; those beyond it are counted together.
pub const TOOLS_MAX: usize = 512;
/// Bytes of the prefix of metrics.
pub const PREFIX_BYTES_MAX: usize = 64;
/// Spans or log records that wait for a collector, however many are asked for.
pub const OTLP_QUEUE_MAX: u64 = 65_536;
/// Spans or log records that go to a collector together, however many are asked for.
pub const OTLP_BATCH_MAX: u64 = 8192;
/// Bytes of a text that a log record or a span holds; the rest is cut.
pub const OTLP_TEXT_BYTES_MAX: usize = 4096;
/// Fields of a log record; the rest is left out.
pub const OTLP_FIELDS_MAX: usize = 32;
/// How long the end of the daemon waits for a collector to take what is left.
pub const FLUSH_MAX: std::time::Duration = std::time::Duration::from_secs(3);
/// The longest wait before a push is tried again.
pub const RETRY_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// How often the log tells at most that a collector takes nothing.
pub const TELL_EVERY: std::time::Duration = std::time::Duration::from_mins(1);
