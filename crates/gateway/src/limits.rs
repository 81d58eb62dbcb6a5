//! Limits of the gateway.

use std::time::Duration;

hayward_api::limits! {
    /// Limits of the listeners and of the road.
    pub struct Limits("gateway") {
        /// Bytes of one request body, and of one line on standard input.
        body_bytes_max: Bytes = 33_554_432 in 65_536..=1_073_741_824,
        /// Bytes of requests and results that are held at once, for all clients; beyond them, 503 is answered.
        held_bytes_max: Bytes = 268_435_456 in 33_554_432..=17_179_869_184,
        /// Time in which the whole body of a request must have come.
        body_timeout_ms: Milliseconds = 30_000 in 100..=3_600_000,
        /// Time in which the head of a request must have come; also ends idle connections.
        head_timeout_ms: Milliseconds = 10_000 in 100..=600_000,
        /// Time in which the handshake of a TLS connection must be over.
        handshake_timeout_ms: Milliseconds = 10_000 in 100..=600_000,
        /// Bytes of the head of one request.
        head_bytes_max: Bytes = 65_536 in 8_192..=1_048_576,
        /// Connections at once, as far as files may be open; then whoever keeps the server waiting makes room.
        connections_max: Count = 8_192 in 1..=1_000_000,
        /// Connections of one address at once, the peer of the socket; further ones are closed at once; 0 for no bound.
        connections_per_address_max: Count = 0 in 0..=1_000_000,
        /// Requests of one address that are answered at once, event streams included; 0 for no bound.
        requests_per_address_max: Count = 0 in 0..=1_000_000,
        /// Calls that run at once, all callers together.
        calls_max: Count = 256 in 1..=100_000,
        /// Calls that run at once for one credential.
        calls_per_principal_max: Count = 64 in 1..=100_000,
        /// Time that a call waits for the record; then it is refused.
        record_ms_max: Milliseconds = 10_000 in 100..=600_000,
        /// Sessions of legacy clients; one that is at rest makes room for a new one.
        sessions_max: Count = 10_000 in 1..=1_000_000,
        /// Time after which a client that takes event streams gets the head of its answer, result or not.
        first_byte_ms: Milliseconds = 2_000 in 0..=60_000,
        /// Time between signs of life on a silent event stream.
        keep_alive_ms: Milliseconds = 15_000 in 100..=300_000,
        /// Time in which a client must read some of its answer; one that reads nothing is hung up on.
        stall_timeout_ms: Milliseconds = 30_000 in 100..=3_600_000,
        /// Requests of one address that are answered in a minute; 0 for no bound.
        address_requests_per_minute: Count = 0 in 0..=1_000_000_000,
        /// Requests under one credential that are answered in a minute, unless its token says otherwise; 0 for no bound.
        principal_requests_per_minute: Count = 0 in 0..=1_000_000_000,
        /// Longest wait of an address that fails again and again to say who it is; 0 for none.
        failure_delay_ms_max: Milliseconds = 250 in 0..=60_000,
        /// Event streams that are open at once, all callers together, beside those of running calls.
        streams_max: Count = 4_096 in 1..=1_000_000,
        /// Event streams that are open at once for one credential.
        streams_per_principal_max: Count = 1_024 in 1..=1_000_000,
        /// Event streams of calls that are kept for clients to come back to, all callers together.
        kept_streams_max: Count = 1_024 in 1..=1_000_000,
        /// Event streams of calls that are kept for one credential; further ones end with their connections.
        kept_streams_per_principal_max: Count = 256 in 1..=1_000_000,
        /// Time in which a legacy client may come back to an event stream whose connection broke.
        resume_ms: Milliseconds = 30_000 in 0..=600_000,
        /// Time in which a client, or the person in front of it, must answer what a call asks.
        answer_timeout_ms: Milliseconds = 600_000 in 1_000..=86_400_000,
        /// Time after which a modern client can no longer send the answers that a call asked for.
        state_lifetime_ms: Milliseconds = 600_000 in 1_000..=86_400_000,
        /// Tasks that are kept at once, all callers together.
        tasks_max: Count = 1_000 in 1..=100_000,
        /// Tasks that are kept at once for one credential.
        tasks_per_principal_max: Count = 100 in 1..=100_000,
        /// Bytes that tasks may hold together, those of one credential half of it; its oldest that have ended make room.
        task_bytes_max: Bytes = 268_435_456 in 65_536..=17_179_869_184,
        /// Time that a task is kept, from its beginning.
        task_ttl_ms: Milliseconds = 3_600_000 in 1_000..=604_800_000,
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

/// Time between two questions of the kernel whether a silent peer is still there.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Messages that may wait for a slow reader of an event stream.
pub(crate) const STREAM_QUEUE: usize = 32;

/// Requests that a client may have running whose messages all go one way.
pub(crate) const CLIENT_REQUESTS_MAX: usize = 64;

/// Ended sessions that are remembered, so that their clients are told to begin anew.
pub(crate) const ENDED_SESSIONS_MAX: usize = 10_000;

/// Bytes of a request id that a client may choose itself.
pub(crate) const REQUEST_ID_BYTES_MAX: usize = 128;

/// Events of one stream that are kept for a client that comes back.
pub(crate) const KEPT_EVENTS_MAX: usize = 256;

/// Bytes of them.
pub(crate) const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Streams of one session that can be come back to.
pub(crate) const SESSION_KEPT_STREAMS_MAX: usize = 16;

/// Bytes of a key under which a call is made once.
pub(crate) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// Bytes of a reply that is kept for whoever calls again under the same key.
pub(crate) const KEPT_REPLY_BYTES_MAX: usize = 256 * 1024;

/// Kinds of refusals that are counted apart.
pub(crate) const REFUSALS_MAX: usize = 1_024;

/// How often refusals of one kind are recorded.
pub(crate) const REFUSALS_WINDOW: Duration = Duration::from_secs(10);

/// Rounds of questions and answers that one call may take.
pub(crate) const ROUNDS_MAX: usize = 16;

/// How often a client is told to ask for a task.
pub(crate) const TASK_POLL_MS: u64 = 1_000;

/// Bytes of the body of an administrator's request.
pub(crate) const ADMIN_BODY_BYTES_MAX: u64 = 64 * 1024;

/// Bytes up to which nobody looks whose they are: the number of connections and calls bounds them.
pub(crate) const UNSHARED_BYTES: usize = 64 * 1024;

/// Bytes of a result up to which the number of calls alone bounds them.
pub(crate) const UNCOUNTED_RESULT_BYTES: usize = 16 * 1024;

/// A client may think for so long before its place can be taken.
pub(crate) const PLACE_PATIENCE: Duration = Duration::from_millis(250);

/// How often room is looked for while there is none.
pub(crate) const PLACE_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How often it is looked whether the credential behind a transfer is still accepted.
pub(crate) const CREDENTIAL_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often what is remembered of senders is looked through, when there is too much.
pub(crate) const PACED_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Chunks of a download that wait between its disk and its connection.
pub(crate) const SENT_CHUNKS: usize = 4;

/// Chunks of an upload that wait for its disk: they are as small as they came.
pub(crate) const RECEIVED_CHUNKS: usize = 16;

/// Addresses, and credentials, whose pace is remembered.
pub(crate) const PACED_MAX: usize = 10_000;

/// Failed attempts of an address that cost it no time.
pub(crate) const FAILURES_FREE: u32 = 20;

/// How long a failed attempt is remembered.
pub(crate) const FAILURES_WINDOW: Duration = Duration::from_mins(1);

/// The first wait of an address that failed too often; each further one is twice as long.
pub(crate) const FAILURE_DELAY_MIN: Duration = Duration::from_millis(50);

/// Bytes of a file with a certificate or a key.
pub(crate) const TLS_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of one object that a server lists.
pub(crate) const OFFERED_BYTES_MAX: usize = 256 * 1024;

/// Bytes of one string of it.
pub(crate) const OFFERED_STRING_BYTES_MAX: usize = 16 * 1024;

/// Characters of the name that a server calls a tool by.
pub(crate) const OFFERED_NAME_CHARS_MAX: usize = 128;

/// Characters of what a server says that an error of ours repeats.
pub(crate) const UPSTREAM_TOLD_CHARS_MAX: usize = 2_000;

/// Calls that one server has at once.
pub(crate) const SERVER_CALLS_MAX: usize = 128;

/// How long a server may say nothing while it is called, unless something else was declared.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_mins(2);

/// How long a call may take whose server says all the time how far it is.
pub(crate) const CALL_TIMEOUT_MAX: Duration = Duration::from_hours(1);

/// Failures in a row after which a server is left alone for a while.
pub(crate) const BREAKER_FAILURES: u32 = 5;

/// The first pause of a server that is left alone.
pub(crate) const BREAKER_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause of a server that is left alone.
pub(crate) const BREAKER_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Calls that are held because their server asked something, all callers together.
pub(crate) const HELD_CALLS_MAX: usize = 1_024;

/// Calls that are held for one credential.
pub(crate) const HELD_CALLS_PER_CREDENTIAL_MAX: usize = 64;

/// How long a call is held.
pub(crate) const HELD_FOR: Duration = Duration::from_mins(5);

/// How long changes of a list are gathered before a server is asked for it.
pub(crate) const REFRESH_PAUSE: Duration = Duration::from_millis(200);

/// The same for a server that says without end that they have changed.
pub(crate) const REFRESH_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long nobody asks a server for its lists that could not tell them.
pub(crate) const REFRESH_RETRY: Duration = Duration::from_secs(10);

/// How often a server that goes on with a call by itself is asked how far it is, if it doesn't say.
pub(crate) const UPSTREAM_TASK_POLL: Duration = Duration::from_secs(1);

/// The shortest time between two such questions, whatever it says.
pub(crate) const UPSTREAM_TASK_POLL_MIN: Duration = Duration::from_millis(100);

/// Requests of one server that one call takes at once.
pub(crate) const ASKED_AT_ONCE_MAX: usize = 8;

/// How long to wait before what is declared is read again that could not be.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// How many times as long as it took to read what is declared nothing is read again, at most for [`FOLLOW_PAUSE`].
pub(crate) const FOLLOW_REST: u32 = 4;

/// Lists that are kept of one endpoint, one for each set of grants that somebody has.
pub(crate) const KEPT_LISTS_MAX: usize = 256;

/// How long whoever asks for what a server offers waits for one that was just declared, or started with us.
pub(crate) const SETTLE_PATIENCE: Duration = Duration::from_secs(3);

/// How long one call alone tries a server that was left alone.
pub(crate) const BREAKER_TRY: Duration = Duration::from_secs(10);

/// How long asking a server for its lists may take.
pub(crate) const REFRESH_TIMEOUT: Duration = Duration::from_mins(1);

/// Things of one list of a server that are looked at; the rest of it is not shown.
pub(crate) const OFFERED_MAX: usize = 1_000;

/// How long a server may take to take an answer of ours, or to hear that nobody waits any more.
pub(crate) const TELL_TIMEOUT: Duration = Duration::from_secs(5);

/// How often in a row a server may not be there when it is asked how far a task is.
pub(crate) const TASK_MISSES_MAX: u32 = 5;

/// Refusals that are on their way to one server at once; what is asked beyond that gets no answer.
pub(crate) const REFUSALS_AT_ONCE_MAX: usize = 64;

/// Resources that one server is asked to tell of, all clients together.
pub(crate) const SUBSCRIBED_OF_SERVER_MAX: usize = 1_000;

/// Changes of resources that are told of one server in a second.
pub(crate) const UPDATES_PER_SECOND_MAX: u32 = 100;

/// Bytes of one line of a log that a server sends to a client.
pub(crate) const LOG_DATA_BYTES_MAX: usize = 64 * 1024;

/// How often whoever listens to a server looks whether the connection is still one that somebody has.
pub(crate) const LISTEN_LOOK: Duration = Duration::from_secs(5);

/// The first and the longest pause before a server is listened to again whose stream broke off.
pub(crate) const LISTEN_PAUSE_MIN: Duration = Duration::from_secs(1);
/// See there.
pub(crate) const LISTEN_PAUSE_MAX: Duration = Duration::from_mins(1);
