//! What the binary itself waits for and holds at most, where it runs servers, or is a client of one.

use std::time::Duration;

/// How long a connection to a server may take to be there.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing at all may come of a server that was asked something; how long a call may take, others say.
pub(crate) const SILENCE_TIMEOUT: Duration = Duration::from_hours(1);
/// Connections to one server that are kept between requests.
pub(crate) const IDLE_CONNECTIONS_MAX: usize = 256;

/// How long a call waits for an instance that is about to run.
pub(crate) const START_PATIENCE: Duration = Duration::from_mins(1);
/// How long it waits for one to be begun at all.
pub(crate) const BEGIN_PATIENCE: Duration = Duration::from_secs(5);

/// Connections of one owner each, all servers together.
pub(crate) const CONNECTIONS_MAX: usize = 4_096;
/// Those of one credential; a further one takes the place of its idlest.
pub(crate) const CONNECTIONS_PER_CREDENTIAL_MAX: usize = 32;
/// How long one is kept that nobody uses.
pub(crate) const CONNECTION_IDLE: Duration = Duration::from_mins(10);
/// How long a shutdown waits until servers know that their sessions are over.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked for those.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// Bytes of one message of a server, or of a client of the bridge.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Requests of the bridge's client that are on their way at once.
pub(crate) const IN_FLIGHT_MAX: usize = 256;
/// Other messages of it that are.
pub(crate) const TOLD_MAX: usize = 256;
/// How long one of those may take.
pub(crate) const TELL_PATIENCE: Duration = Duration::from_secs(10);
/// Lines that wait for the client to read them.
pub(crate) const LINES_QUEUE: usize = 64;
/// How long answers that are about to come are waited for at the end of the input.
pub(crate) const END_GRACE: Duration = Duration::from_secs(5);
/// How long the bridge tries again to reach a server.
pub(crate) const REACH_PATIENCE: Duration = Duration::from_mins(1);
/// The same of one that has never answered.
pub(crate) const FIRST_PATIENCE: Duration = Duration::from_secs(15);
/// The first and the longest pause between two tries.
pub(crate) const REACH_PAUSE_MIN: Duration = Duration::from_millis(100);
/// See [`REACH_PAUSE_MIN`].
pub(crate) const REACH_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Tools of a list whose headers the bridge looks for.
pub(crate) const LISTED_TOOLS_MAX: usize = 10_000;

/// Bytes at the end of the record that events are made of.
pub(crate) const EVENTS_TAIL_BYTES: u64 = 4 << 20;
