//! Limits of the protocol's data path.
//!
//! This crate stands on the lowest floor beside `api`, so these are plain constants; who
//! listens (the gateway) offers the ones that an operator may want to change.

use std::time::Duration;

use crate::json;

/// How deep a message may nest, and how many keys it may hold.
pub const JSON: json::Limits = json::Limits { depth_max: 128, keys_max: 100_000 };

/// Bytes of a method name.
pub const METHOD_BYTES_MAX: usize = 128;

/// Bytes of a request id that is a string.
pub const ID_BYTES_MAX: usize = 256;

/// The greatest integer id: beyond 2^53 - 1 JavaScript clients can't tell neighbours apart.
pub const ID_INTEGER_MAX: i64 = (1 << 53) - 1;

/// Bytes of the name of what a request is applied to.
pub const NAME_BYTES_MAX: usize = 256;

/// Bytes of a client's name and version that are kept.
pub const CLIENT_BYTES_MAX: usize = 200;

/// Bytes of what a sealed `requestState` holds.
pub const STATE_CONTENT_BYTES_MAX: usize = 64 * 1024;

/// How many spent states are remembered until they expire; while so many are, no other can be spent.
pub const STATES_SPENT_MAX: usize = 65_536;

/// How many of them may be one principal's.
pub const STATES_SPENT_PER_PRINCIPAL_MAX: usize = 8_192;

/// How many properties of one tool may be mirrored into headers. HTTP servers take about a hundred
/// headers in all.
pub const PARAM_HEADERS_MAX: usize = 64;

/// The greatest integer that may be mirrored into a header, and the least one is its negative.
pub const PARAM_INTEGER_MAX: i64 = ID_INTEGER_MAX;

/// Bytes of a URI template.
pub const TEMPLATE_BYTES_MAX: usize = 2048;

/// Variables of a URI template.
pub const TEMPLATE_VARIABLES_MAX: usize = 16;

/// Bytes of the URI of a resource.
pub const URI_BYTES_MAX: usize = 4096;

/// Answers that one request may bring along.
pub const ANSWERS_MAX: usize = 64;

/// Bytes of them.
pub const ANSWERS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of the state that a client carries between two rounds.
pub const STATE_BYTES_MAX: usize = 96 * 1024;

/// URIs that one subscription may name.
pub const SUBSCRIBED_URIS_MAX: usize = 1_000;

/// Messages that one batch may hold (2025-03-26 only).
pub const BATCH_MAX: usize = 64;

/// Bytes of the URIs that one subscription names, all of them together; ids of tasks alike.
pub const SUBSCRIBED_BYTES_MAX: usize = 64 * 1024;

/// Characters of a client's name for something that an error repeats.
pub const NAME_SHOWN_CHARS: usize = 60;

/// What an upstream said beside its answers and nobody heard yet; what comes on top is lost, and that is told.
pub const UPSTREAM_EVENTS_MAX: usize = 256;

/// What came for one request and nobody read yet: of progress and logs on top the newest is kept.
pub const UPSTREAM_STEPS_MAX: usize = 64;

/// Bytes of the parameters of progress, and of what is logged; what is longer is passed over.
pub const UPSTREAM_PROGRESS_BYTES_MAX: usize = 64 * 1024;

/// Messages to one upstream that wait until it reads.
pub const UPSTREAM_QUEUE_MAX: usize = 64;

/// Bytes of the answer that comes with a status that isn't a success.
pub const UPSTREAM_REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// How often in a row a broken stream is resumed without a word of news.
pub const UPSTREAM_RESUMES_MAX: u32 = 5;

/// How long an upstream may have us wait before a stream is resumed, in milliseconds.
pub const UPSTREAM_RETRY_MS_MAX: u64 = 30_000;

/// How long each message of a handshake may take, if nothing else is said.
pub const UPSTREAM_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a process may think about its era, its start included, if nothing else is said.
pub const UPSTREAM_PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before a stream is resumed, if the upstream doesn't say, in milliseconds.
pub const UPSTREAM_RETRY_MS: u64 = 1_000;

/// The shortest wait before a stream is resumed, whatever the upstream says, in milliseconds.
pub const UPSTREAM_RETRY_MS_MIN: u64 = 100;

/// How long the end of a session may take.
pub const UPSTREAM_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Revisions of one upstream that are looked at.
pub const UPSTREAM_REVISIONS_MAX: usize = 64;

/// Characters of what an upstream calls something that an error shows.
pub const UPSTREAM_SHOWN_CHARS: usize = 80;

/// Pages of one list.
pub const UPSTREAM_PAGES_MAX: usize = 200;

/// Elements of one list, over all of its pages.
pub const UPSTREAM_LISTED_MAX: usize = 10_000;

/// Bytes of the id of a session.
pub const UPSTREAM_SESSION_BYTES_MAX: usize = 1024;

/// Bytes of one list, over all of its pages.
pub const UPSTREAM_LIST_BYTES_MAX: usize = 32 * 1024 * 1024;
