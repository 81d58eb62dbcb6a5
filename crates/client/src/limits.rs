//! What bounds a conversation with a server.

use std::time::Duration;

/// How long a connection may take to be there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nothing at all may come while an answer is awaited: longer than a server takes to say that it gives up
/// (`controlplane.answer_timeout_ms`), which knows what became of it. A watch hears from its server every 15 s.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(90);

/// Bytes of one answer.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Bytes of one line of a watch: a document with what stands around it.
pub const EVENT_BYTES_MAX: usize = 16 << 20;

/// Bytes of an answer of somebody else that are shown.
pub const STRANGER_BYTES_MAX: usize = 200;

/// Pages of one list.
pub const PAGES_MAX: usize = 100_000;
