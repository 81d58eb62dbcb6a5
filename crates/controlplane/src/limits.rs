//! Limits of the control plane.

use std::time::Duration;

hayward_api::limits! {
    /// Limits of the REST API.
    pub struct Limits("controlplane") {
        /// Watches that are open at once, all callers together.
        watches_max: Count = 4_096 in 1..=1_000_000,
        /// Watches that are open at once for one credential.
        watches_per_principal_max: Count = 1_024 in 1..=1_000_000,
        /// Time between signs of life on a silent watch.
        watch_heartbeat_ms: Milliseconds = 15_000 in 100..=300_000,
        /// Time in which a request is answered, or its stream begins.
        answer_timeout_ms: Milliseconds = 60_000 in 100..=3_600_000,
        /// Objects of one `apply`.
        apply_objects_max: Count = 10_000 in 1..=1_000_000,
        /// Passwords in one `apply`.
        apply_passwords_max: Count = 100 in 1..=10_000,
        /// Passwords that are hashed at once: each takes 19 MiB for as long as it takes.
        password_hashes_max: Count = 2 in 1..=64,
        /// Time that a login is good for.
        login_lifetime_ms: Milliseconds = 2_592_000_000 in 60_000..=31_536_000_000,
        /// Claimed events of one report.
        audit_batch_max: Count = 1_000 in 1..=100_000,
    }
}

/// Objects of a list that is asked for in parts, unless the caller says how many.
pub(crate) const PAGE_MAX: usize = 10_000;

/// Events of the record that one look reads at most.
pub(crate) const AUDIT_EVENTS_MAX: usize = 1_000;

/// Time until an invite is of no use any more, unless its maker says otherwise.
pub(crate) const INVITE_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// Shortest password, in characters.
pub(crate) const PASSWORD_CHARS_MIN: usize = 8;

/// How long a login waits for others from the same address, which may turn out to be wrong.
pub(crate) const ROOM_PATIENCE: Duration = Duration::from_secs(10);

/// Largest body in bytes that is read at once; a larger one, and YAML, is read elsewhere.
pub(crate) const BODY_READ_AT_ONCE: usize = 16 * 1024;

/// Bodies that are read elsewhere at once.
pub(crate) const BODIES_READ_MAX: usize = 2;

/// Nodes that YAML may have beyond one for each of its bytes, those that aliases repeat included.
pub(crate) const YAML_NODES_FREE: usize = 1_000;

/// Longest time in seconds that an invite is good for.
pub(crate) const INVITE_LIFETIME_MAX: Duration = Duration::from_hours(30 * 24);

/// Longest password, in bytes.
pub(crate) const PASSWORD_BYTES_MAX: usize = 1_024;

/// How long to wait before the store is followed again, when it didn't answer.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_millis(500);
/// How soon rules are built again at the earliest when an account is over.
pub const SHORTEST_LOOK: Duration = Duration::from_millis(200);
/// How late they are built again at the latest while some account has an end: the clock may have been set.
pub const LONGEST_LOOK: Duration = Duration::from_mins(1);
/// How often is looked whether values of secrets that couldn't be opened can be.
pub(crate) const SECRETS_LOOK: Duration = Duration::from_secs(2);
/// Managers that apply one resource; each keeps what it applied with it.
pub(crate) const MANAGERS_MAX: usize = 16;

/// The pause after the first crash of an instance; it doubles with each.
pub(crate) const CRASH_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest of these pauses.
pub(crate) const CRASH_PAUSE_MAX: Duration = Duration::from_mins(5);

/// How long an instance has to run for its crash to be the first one again.
pub(crate) const STEADY: Duration = Duration::from_mins(10);

/// Crashes in a row that are told as a condition of the server.
pub(crate) const CRASH_LOOP: u32 = 3;

/// Bytes of the name of an instance.
pub(crate) const INSTANCE_NAME_BYTES: usize = 100;

/// Servers that aren't ready and are told of by name.
pub(crate) const NOT_READY_TOLD: usize = 100;

/// Letters and digits by which instances of one replica differ.
pub(crate) const INSTANCE_SUFFIX: usize = 5;

/// How long after a look the next one comes although nothing seems to have happened.
pub(crate) const LOOK_LATEST: Duration = Duration::from_mins(1);

/// How long instances have for their end beyond what is said, before the lease of their server is over.
pub(crate) const LEASE_SLACK: Duration = Duration::from_secs(13);

/// How long a lease may go unrenewed before instances end.
pub(crate) const LEASE_RENEWED: Duration = Duration::from_secs(35);

/// How often it is tried to keep a grant that was renewed.
pub(crate) const GRANT_TRIES: usize = 20;

/// How long after one try the next one comes.
pub(crate) const GRANT_PAUSE: Duration = Duration::from_millis(500);

/// How long changes are collected for one look.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_millis(50);
