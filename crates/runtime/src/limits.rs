//! Every wait and size of this crate, by name.

use std::time::Duration;

/// How long one request of OAuth may take.
pub(crate) const OAUTH_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of one document of OAuth.
pub(crate) const OAUTH_BODY_BYTES_MAX: usize = 1 << 20;

/// Bytes of one parameter of a challenge.
pub(crate) const OAUTH_WORD_BYTES_MAX: usize = 4 * 1024;

/// Scopes that are asked for.
pub(crate) const OAUTH_SCOPES_MAX: usize = 64;

/// Characters of what a stranger says that an error shows.
pub(crate) const OAUTH_TOLD_CHARS_MAX: usize = 200;

/// How long before its end a grant is renewed.
pub(crate) const OAUTH_RENEW_BEFORE: Duration = Duration::from_secs(30);

/// Bytes of the lines that are kept of what an instance says beside its protocol.
pub(crate) const LOG_BYTES_MAX: usize = 256 * 1024;

/// Bytes of one of these lines; the rest of it is cut.
pub(crate) const LOG_LINE_BYTES_MAX: usize = 8 * 1024;

/// Bytes that are read of them at once.
pub(crate) const LOG_CHUNK_BYTES: usize = 8 * 1024;

/// Processes and threads of one instance.
pub(crate) const PROCESS_PROCESSES_MAX: u64 = 512;

/// How long the last words of an instance are waited for once it is gone.
pub(crate) const LOG_REST: Duration = Duration::from_secs(1);

/// How long the folder of an instance may take to be gone.
pub(crate) const REMOVE_TIMEOUT: Duration = Duration::from_mins(10);

/// How long nobody tries to renew a grant that was not renewed.
pub(crate) const OAUTH_PAUSE: Duration = Duration::from_secs(30);
