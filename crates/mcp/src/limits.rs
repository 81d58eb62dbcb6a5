//! Limits of the protocol's data path.
//!
//! This crate stands on the lowest floor beside `api`, so these are plain constants; who
//! listens (the gateway) offers the ones that an operator may want to change.

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
