//! Limits of the gateway.

use std::time::Duration;

hayward_api::limits! {
    /// Limits of the listeners and of the road.
    pub struct Limits("gateway") {
        /// Bytes of one request body, and of one line on standard input.
        body_bytes_max: Bytes = 33_554_432 in 65_536..=1_073_741_824,
        /// Time in which the whole body of a request must have come.
        body_timeout_ms: Milliseconds = 30_000 in 100..=3_600_000,
        /// Time in which the head of a request must have come; also ends idle connections.
        head_timeout_ms: Milliseconds = 10_000 in 100..=600_000,
        /// Bytes of the head of one request.
        head_bytes_max: Bytes = 65_536 in 8_192..=1_048_576,
        /// Connections at once; further ones wait to be accepted.
        connections_max: Count = 4_096 in 1..=1_000_000,
        /// Calls that run at once, all callers together.
        calls_max: Count = 256 in 1..=100_000,
        /// Calls that run at once for one credential.
        calls_per_principal_max: Count = 64 in 1..=100_000,
        /// Sessions of legacy clients; the one that was idle longest makes room for a new one.
        sessions_max: Count = 10_000 in 1..=1_000_000,
        /// Time after which a client that takes event streams gets the head of its answer, result or not.
        first_byte_ms: Milliseconds = 2_000 in 0..=60_000,
        /// Time between signs of life on a silent event stream.
        keep_alive_ms: Milliseconds = 15_000 in 100..=300_000,
        /// Time in which a client must read some of its answer; one that reads nothing is hung up on.
        stall_timeout_ms: Milliseconds = 30_000 in 100..=3_600_000,
        /// Time beyond its deadline that a call gets to end by itself before it is dropped.
        overrun_ms: Milliseconds = 5_000 in 0..=60_000,
        /// Time that running calls get to end at a shutdown before they are cancelled.
        drain_ms: Milliseconds = 5_000 in 0..=600_000,
    }
}

/// Time that the calls of a stdio client may still take once its input has ended.
pub(crate) const END_OF_INPUT_GRACE: Duration = Duration::from_millis(500);

/// Time that cancelled calls, and answers on their way to a slow client, get at an end.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Messages that may wait for a slow reader of an event stream.
pub(crate) const STREAM_QUEUE: usize = 32;

/// Requests that one stdio client may have running.
pub(crate) const STDIO_REQUESTS_MAX: usize = 64;

/// Ended sessions that are remembered, so that their clients are told to begin anew.
pub(crate) const ENDED_SESSIONS_MAX: usize = 10_000;

/// Bytes of a request id that a client may choose itself.
pub(crate) const REQUEST_ID_BYTES_MAX: usize = 128;
