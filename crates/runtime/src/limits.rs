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

/// How long before its end a grant is renewed, if it lives for longer than four times this.
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

/// How long a person has to grant access.
pub(crate) const OAUTH_PENDING_TIME: Duration = Duration::from_mins(10);

/// People who are asked for access at once.
pub(crate) const OAUTH_PENDING_MAX: usize = 64;

/// How long whoever asks for access to a server waits until that is known here.
pub(crate) const OAUTH_DECLARED_PATIENCE: Duration = Duration::from_secs(5);

/// How long nobody tries to renew a grant that was not renewed.
pub(crate) const OAUTH_PAUSE: Duration = Duration::from_secs(30);

hayward_api::limits! {
    /// Limits of instances that can be set.
    pub struct Limits("runtime") {
        /// Time that each message of a handshake with an instance may take.
        handshake_timeout_ms: Milliseconds = 30_000 in 100..=600_000,
        /// Time that a process may think about its era before it is taken for a legacy one.
        probe_timeout_ms: Milliseconds = 10_000 in 100..=600_000,
        /// Time in which what was started here has to be reachable over HTTP.
        start_timeout_ms: Milliseconds = 60_000 in 100..=3_600_000,
        /// Time that calls in flight have once their instance is to stop.
        drain_timeout_ms: Milliseconds = 10_000 in 0..=3_600_000,
        /// Bytes of one message of an instance.
        message_bytes_max: Bytes = 16_777_216 in 65_536..=1_073_741_824,
        /// Processes that belong to one caller or session, all servers together.
        private_max: Count = 256 in 0..=100_000,
        /// The same of one server.
        private_per_server_max: Count = 64 in 0..=100_000,
        /// Time without a call after which such a process is stopped.
        private_idle_ms: Milliseconds = 600_000 in 1_000..=86_400_000,
        /// Time after which a package is removed that no server is any more.
        package_unused_ms: Milliseconds = 604_800_000 in 1_000..=31_536_000_000,
    }
}

/// Logs of instances that are gone, which are kept.
pub(crate) const PREVIOUS_LOGS_MAX: usize = 128;

/// Servers whose era is remembered.
pub(crate) const ERAS_MAX: usize = 4_096;

/// How long it is waited for how a process ended whose stream did.
pub(crate) const END_PATIENCE: Duration = Duration::from_secs(2);

/// How long a connection has to last for the next one not to be delayed by those before.
pub(crate) const CONNECTION_STEADY: Duration = Duration::from_mins(1);

/// The longest wait before an instance that can't be reached is tried again.
pub(crate) const RECONNECT_MAX: Duration = Duration::from_mins(1);

/// The first of these waits.
pub(crate) const RECONNECT_MIN: Duration = Duration::from_millis(250);

/// How long an upstream has to answer when somebody couldn't reach it.
pub(crate) const DOUBT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one package may take to be fetched, its dependencies included.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_mins(10);

/// Lines of what fetching a package said that its error shows.
pub(crate) const FETCH_LINES_SHOWN: usize = 8;

/// Characters of these lines together.
pub(crate) const FETCH_CHARS_SHOWN: usize = 1_000;

/// Bytes of a package with its dependencies.
pub(crate) const PACKAGE_BYTES_MAX: u64 = 4 << 30;

/// Files and folders of a package with its dependencies.
pub(crate) const PACKAGE_ENTRIES_MAX: usize = 500_000;

/// Bytes that are read of a file of a package at once.
pub(crate) const PACKAGE_CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of a document that describes a package, e.g. its `package.json`.
pub(crate) const PACKAGE_DOCUMENT_BYTES_MAX: u64 = 64 << 20;

/// How long a container engine may take for an answer.
pub(crate) const DOCKER_TIMEOUT: Duration = Duration::from_mins(1);

/// How long an image may take to be pulled.
pub(crate) const DOCKER_PULL_TIMEOUT: Duration = Duration::from_mins(15);

/// How long a program in a container may take.
pub(crate) const DOCKER_EXEC_TIMEOUT: Duration = Duration::from_mins(1);

/// Bytes of what such a program says that are kept.
pub(crate) const DOCKER_EXEC_BYTES_MAX: usize = 64 * 1024;

/// Seconds that a container has to tidy up.
pub(crate) const DOCKER_GRACE_S: i32 = 5;

/// How long an engine that broke off is left alone before it is asked again.
pub(crate) const DOCKER_PAUSE: Duration = Duration::from_millis(500);

/// Processes and threads of one container.
pub(crate) const DOCKER_PROCESSES_MAX: i64 = 512;

/// How the `/tmp` of a container is mounted.
pub(crate) const DOCKER_TMP: &str = "rw,nosuid,nodev,noexec,size=64m,mode=1777";

/// What an engine keeps of what a container says.
pub(crate) const DOCKER_LOG_FILE: &str = "1m";

/// Bytes of what a container says that wait for whoever reads them.
pub(crate) const DOCKER_LOG_STREAM_BYTES: usize = 64 * 1024;

/// Bytes of what is told of the trouble of an instance.
pub(crate) const TROUBLE_BYTES_MAX: usize = 2_000;
