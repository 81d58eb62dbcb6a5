//! One instance: what it was started as, what it is now, and how it is spoken to.
//!
//! ```text
//!  Starting ──handshake──► Running ──stop──► Stopping ──► Ended
//!     ▲  └──────────────────┐ │ └──it ended by itself──────▲
//!     └──the connection─────┼─┘                            │
//!        is lost (HTTP)     └──it failed───────────────────┘
//! ```

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hayward_mcp::abilities::Abilities;
use hayward_mcp::upstream::{EraChoice, Events, Upstream, UpstreamError};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ground::Ground;
use super::{PrivateKey, Wanted};
use crate::log::Log;
use crate::placement::{Access, End};
use crate::probes::{Health, Verdict};

/// What an instance is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was told to start, or isn't reached at the moment.
    Starting,
    /// It is spoken to.
    Running,
    /// It is to end, and its last calls do.
    Stopping,
    /// It is gone.
    Ended {
        /// How.
        end: End,
        /// When.
        at: SystemTime,
    },
}

/// One running copy of a server.
pub struct Instance {
    wanted: Wanted,
    /// Whose it alone is.
    private: Option<PrivateKey>,
    started_at: SystemTime,
    state: watch::Sender<State>,
    now: Mutex<Now>,
    calls: AtomicUsize,
    /// Told when the last call in flight is over.
    is_free: Notify,
    /// Fires when it is to end.
    stop: CancellationToken,
    /// Told when somebody couldn't reach it.
    is_doubted: Notify,
    ground: Arc<Ground>,
}

/// What changes as it runs.
struct Now {
    log: Log,
    access: Option<Arc<Access>>,
    upstream: Option<Arc<Upstream>>,
    health: Health,
    /// When it was last asked how it is.
    checked_at: Option<SystemTime>,
    /// Why it isn't reached.
    trouble: Option<String>,
    last_call: Instant,
}

/// A call in flight, until this is dropped.
pub struct InFlight(Arc<Instance>);

/// Why there is no further connection to an instance.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    /// It has one for everybody.
    #[error("instance `{name}` is spoken to over its standard input and output, which is one connection")]
    Single {
        /// The instance.
        name: String,
    },
    /// It doesn't run.
    #[error("instance `{name}` doesn't run")]
    NotRunning {
        /// The instance.
        name: String,
    },
    /// It didn't agree on how to speak.
    #[error("instance `{name}` can't be spoken to")]
    Handshake {
        /// The instance.
        name: String,
        /// Why.
        #[source]
        source: UpstreamError,
    },
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl InFlight {
    /// Where it goes.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.now().last_call = Instant::now();
        if self.0.calls.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.is_free.notify_waiters();
        }
    }
}

impl Instance {
    pub(super) fn new(ground: Arc<Ground>, wanted: Wanted, private: Option<PrivateKey>) -> Self {
        let now = Now {
            log: Log::default(),
            access: None,
            upstream: None,
            health: Health::default(),
            checked_at: None,
            trouble: None,
            last_call: Instant::now(),
        };
        Self {
            wanted,
            private,
            started_at: SystemTime::now(),
            state: watch::Sender::new(State::Starting),
            now: Mutex::new(now),
            calls: AtomicUsize::new(0),
            is_free: Notify::new(),
            stop: ground.closing.child_token(),
            is_doubted: Notify::new(),
            ground,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.wanted.name
    }

    /// The name of its server.
    pub fn server(&self) -> &Arc<str> {
        &self.wanted.server
    }

    /// The generation of its server.
    pub fn generation(&self) -> u64 {
        self.wanted.generation
    }

    /// Which of the copies it is.
    pub fn replica(&self) -> u32 {
        self.wanted.replica
    }

    /// What it was started as.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whose it alone is; none if it is everybody's.
    pub fn private(&self) -> Option<&PrivateKey> {
        self.private.as_ref()
    }

    /// When it was told to start.
    pub fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// What it is at this moment.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// What it is, and becomes.
    pub fn states(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Whether it is spoken to at this moment.
    pub fn is_running(&self) -> bool {
        *self.state.borrow() == State::Running
    }

    /// Whether it is gone.
    pub fn is_ended(&self) -> bool {
        matches!(*self.state.borrow(), State::Ended { .. })
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.now().health.clone()
    }

    /// When it was last asked how it is; none if nobody asked since it is spoken to.
    pub fn checked_at(&self) -> Option<SystemTime> {
        self.now().checked_at
    }

    /// Whether there are signs that it isn't well.
    pub fn is_unhealthy(&self) -> bool {
        self.now().health.verdict == Verdict::Unhealthy
    }

    /// Why it isn't reached, while it is not.
    pub fn trouble(&self) -> Option<String> {
        self.now().trouble.clone()
    }

    /// What it says beside.
    pub fn log(&self) -> Log {
        self.now().log.clone()
    }

    /// The connection that all share; none unless it runs.
    pub fn upstream(&self) -> Option<Arc<Upstream>> {
        self.now().upstream.clone()
    }

    /// Calls in flight.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Acquire)
    }

    /// When the last call was over, or when it began to run; now while there is one.
    pub fn last_call(&self) -> Instant {
        if self.calls() > 0 { Instant::now() } else { self.last_ended() }
    }

    /// When a call was over for the last time, or when it began to run.
    pub(super) fn last_ended(&self) -> Instant {
        self.now().last_call
    }

    /// Counts a call, until what this gives is dropped. An instance that is to stop waits for it.
    pub fn call(self: &Arc<Self>) -> InFlight {
        self.calls.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    /// The same, if it runs: it then goes on running until this call is over, or takes too long to be.
    pub fn try_call(self: &Arc<Self>) -> Option<InFlight> {
        // Counted first and looked at then: whoever stops it does the opposite, so that one of the two sees the other.
        Some(self.call()).filter(|_| self.is_running())
    }

    /// Waits until it runs, or never will: none then. Cancellation-safe.
    pub async fn running(&self) -> Option<Arc<Upstream>> {
        let mut states = self.state.subscribe();
        loop {
            let is_over = !matches!(*states.borrow_and_update(), State::Starting | State::Running);
            if let Some(upstream) = self.upstream() {
                return Some(upstream);
            }
            if is_over || states.changed().await.is_err() {
                return None;
            }
        }
    }

    /// A further connection to an instance that is spoken to over HTTP, for one caller or session, whose client can do this
    /// when it is asked. It ends with the instance at the latest.
    pub async fn connect(&self, abilities: Abilities) -> Result<(Arc<Upstream>, Events), ConnectFailure> {
        let name = || self.name().to_owned();
        let access = self.now().access.clone().filter(|_| self.is_running());
        let access = access.ok_or_else(|| ConnectFailure::NotRunning { name: name() })?;
        if matches!(*access, Access::Lines(_)) {
            return Err(ConnectFailure::Single { name: name() });
        }
        let known = self.upstream().map(|upstream| upstream.declared().revision.era());
        let era = known.map_or(EraChoice::Auto, super::eras::choice_of);
        let greeting = self.ground.greet(&self.wanted, &access, (era, abilities), &self.stop);
        let greeted = greeting.await.map_err(|source| ConnectFailure::Handshake { name: name(), source })?;
        Ok((greeted.upstream, greeted.events))
    }

    /// Somebody couldn't reach it over this connection. It is asked for a sign of life, and connected anew if it gives none.
    pub fn failed(&self, over: &Arc<Upstream>, error: &UpstreamError) {
        let is_shared = self.now().upstream.as_ref().is_some_and(|upstream| Arc::ptr_eq(upstream, over));
        if is_shared
            && matches!(
                error,
                UpstreamError::Connection(_) | UpstreamError::Ended | UpstreamError::Timeout { .. }
            )
        {
            self.is_doubted.notify_one();
        }
    }

    /// Waits until somebody couldn't reach it.
    pub(super) async fn is_doubted(&self) {
        self.is_doubted.notified().await;
    }

    /// It is to end, once its calls in flight are over.
    pub(super) fn stop(&self) {
        self.advance(State::Stopping);
        self.stop.cancel();
    }

    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// It has been started, and isn't spoken to yet.
    pub(super) fn has_started(&self, access: &Arc<Access>, log: Log) {
        let mut now = self.now();
        (now.access, now.log) = (Some(Arc::clone(access)), log);
        drop(now);
        // It is the same as before, and whoever follows it takes the log that it has now.
        self.state.send_modify(|_| ());
    }

    /// It is spoken to.
    pub(super) fn runs(&self, upstream: &Arc<Upstream>) {
        let mut now = self.now();
        now.upstream = Some(Arc::clone(upstream));
        now.trouble = None;
        (now.health, now.checked_at) = (Health::default(), None);
        now.last_call = Instant::now();
        drop(now);
        self.advance(State::Running);
    }

    /// It isn't reached any more, or still not.
    pub(super) fn is_out_of_reach(&self, why: String) {
        let mut now = self.now();
        (now.upstream, now.trouble) = (None, Some(self.ground.hidden(why)));
        drop(now);
        self.advance(State::Starting);
    }

    pub(super) fn is_thus(&self, mut health: Health) {
        health.why = health.why.map(|why| self.ground.hidden(why));
        let mut now = self.now();
        let is_news = now.health.verdict != health.verdict;
        (now.health, now.checked_at) = (health, Some(SystemTime::now()));
        drop(now);
        if is_news {
            self.ground.tick();
        }
    }

    /// It is gone.
    pub(super) fn has_ended(&self, mut end: End) {
        if let End::Failed { why } = &mut end {
            *why = self.ground.hidden(std::mem::take(why));
        }
        let mut now = self.now();
        (now.upstream, now.access) = (None, None);
        drop(now);
        self.advance(State::Ended { end, at: SystemTime::now() });
        self.stop.cancel();
    }

    /// Waits until no call is in flight.
    pub(super) async fn is_drained(&self) {
        loop {
            let told = self.is_free.notified();
            if self.calls() == 0 {
                return;
            }
            told.await;
        }
    }

    /// Waits until there has been no call for so long.
    pub(super) async fn is_idle(&self, idle: Duration) {
        loop {
            let left = (self.last_call() + idle).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// What is to end doesn't begin again, and what is gone stays so.
    fn advance(&self, to: State) {
        let is_change = self.state.send_if_modified(|state| {
            let may_be = match state {
                State::Starting | State::Running => *state != to,
                State::Stopping => matches!(to, State::Ended { .. }),
                State::Ended { .. } => false,
            };
            if may_be {
                *state = to;
            }
            may_be
        });
        if is_change {
            self.ground.tick();
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
