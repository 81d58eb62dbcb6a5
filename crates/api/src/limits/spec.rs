//! How much fits into a document of any kind. They are part of the vocabulary: a document that one server accepts, another one does.

/// Bytes of a text that people read in a line: a description, a display name.
pub const LINE_BYTES: usize = 1024;
/// Bytes of a word: a name of something that has no rule of its own, a key.
pub const WORD_BYTES: usize = 256;
/// Bytes of a long text: the content of a prompt.
pub const TEXT_BYTES: usize = 256 * 1024;
/// Bytes of an address of the net.
pub const URL_BYTES: usize = 2048;
/// Bytes of one value of a secret.
pub const SECRET_BYTES: usize = 64 * 1024;
/// Keys of one secret.
pub const SECRET_KEYS: usize = 256;
/// Bytes of a password.
pub const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;
/// Bytes of what is kept as it was said: arguments of a probe, the configuration of a stage, a snapshot.
pub const FREE_BYTES: usize = 64 * 1024;
/// Entries of a list that a person writes: arguments, variables, bindings, stages, chapters.
pub const LIST: usize = 256;
/// Entries of a list of names: servers of a project, members of a group.
pub const NAMES: usize = 10_000;
/// Labels of a resource.
pub const LABELS: usize = 64;
/// Bytes of the value of a label.
pub const LABEL_BYTES: usize = 128;
/// Annotations of a resource.
pub const ANNOTATIONS: usize = 64;
/// Bytes of an annotation.
pub const ANNOTATION_BYTES: usize = 16 * 1024;
/// Scopes that are asked for access to a server.
pub const OAUTH_SCOPES: usize = 64;
/// Copies of a server that run.
pub const REPLICAS: u32 = 100;
/// Seconds of an interval or a timeout of a probe.
pub const PROBE_SECONDS: u32 = 86_400;
/// Bytes of a selector.
pub const SELECTOR_BYTES: usize = 4096;
/// Requirements of a selector.
pub const REQUIREMENTS: usize = 64;
/// Seconds that one call may take.
pub const CALL_SECONDS: u32 = 3600;
/// Seconds without a call after which instances are stopped.
pub const IDLE_SECONDS: u32 = 30 * 86_400;
