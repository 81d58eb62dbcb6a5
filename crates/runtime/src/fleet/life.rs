//! What an instance goes through, from its start to its end.
//!
//! ```text
//!  start ──► greet ──► run ──► stop, or it ended: over
//!              ▲  │     │
//!              │  └─────┴── out of reach over HTTP: after a while, again
//!  start ◄─────┴── a process that ended because it was asked for its era: once, and then in the old way
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hayward_api::error::with_sources;
use hayward_mcp::abilities::Abilities;
use hayward_mcp::upstream::{BoxFuture, EraChoice, Upstream, UpstreamError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::RecordsProbes;
use super::ground::{Greeted, Ground};
use super::hearing::hear;
use super::instance::Instance;
use crate::backoff::{Backoff, chance};
use crate::limits::{
    CONNECTION_STEADY, DOUBT_TIMEOUT, END_PATIENCE, RECONNECT_MAX, RECONNECT_MIN, TROUBLE_BYTES_MAX,
};
use crate::placement::{Access, End, Placement, PlacementError, Running};
use crate::probes::{Outcome, Probe, ping};

const RECONNECT: Backoff = Backoff { first: RECONNECT_MIN, longest: RECONNECT_MAX };

/// The life of one instance.
pub(super) struct Life {
    pub(super) ground: Arc<Ground>,
    pub(super) instance: Arc<Instance>,
    pub(super) placement: Arc<dyn Placement>,
    /// Whether something of ours is started, or it runs elsewhere anyway.
    pub(super) is_ours: bool,
    /// What our side can do when it is asked.
    pub(super) abilities: Abilities,
    /// After how long without a call it stops.
    pub(super) idle: Option<Duration>,
}

/// Why there is nothing more to be said with what was started.
enum Over {
    /// It ended by itself.
    Ended(End),
    /// It is to end.
    Stop,
    /// It ended its stream when it was asked for its era.
    Mute,
    /// It ended when it was asked for its era.
    Dead,
    /// It is no use.
    Failed(String),
}

/// How an instance ends, while it is waited for.
type Ended = BoxFuture<'static, End>;

impl Life {
    /// Lives it.
    pub(super) async fn run(self) {
        let era = self.ground.eras.choice(self.instance.wanted());
        let mut over = self.once(era).await;
        if matches!(over, Over::Mute | Over::Dead) {
            over = self.once(EraChoice::Legacy).await;
        }
        let end = match over {
            Over::Ended(end) => end,
            Over::Stop => End::Stopped,
            Over::Mute | Over::Dead => End::Failed { why: UpstreamError::Ended.to_string() },
            Over::Failed(why) => End::Failed { why },
        };
        tracing::info!(instance = self.instance.name(), ?end, "an instance has ended");
        self.instance.has_ended(end);
    }

    /// Starts it, and sees it to its end.
    async fn once(&self, era: EraChoice) -> Over {
        let cut = CancellationToken::new();
        let _cuts_when_dropped = cut.clone().drop_guard();
        let Running { access, log, mut ended } = match self.start(&cut).await {
            Ok(running) => running,
            Err(why) => return why,
        };
        let access = match &self.ground.grants {
            Some(grants) if !self.is_ours => grants.authorize(self.instance.server(), access),
            _ => access,
        };
        let access = Arc::new(access);
        self.instance.has_started(&access, log);
        let over = self.speak(&access, era, (&mut ended, &cut)).await;
        match &over {
            // Nobody waits twice for an end.
            Over::Ended(_) | Over::Dead => return over,
            Over::Failed(why) => self.instance.is_out_of_reach(why.clone()),
            Over::Stop | Over::Mute => {}
        }
        cut.cancel();
        match (over, ended.await) {
            (Over::Stop, end) => Over::Ended(end),
            (over, _) => over,
        }
    }

    /// What was begun is never left halfway: whoever starts it hears that it is to stop.
    async fn start(&self, cut: &CancellationToken) -> Result<Running, Over> {
        let stop = self.instance.stopping();
        if stop.is_cancelled() {
            return Err(Over::Stop);
        }
        let wanted = self.instance.wanted();
        let mut starting: BoxFuture<'_, Result<Running, PlacementError>> = if wanted.is_left {
            let adopting = self.placement.adopt(wanted.order.clone(), cut.clone());
            Box::pin(async move { adopting.await?.ok_or(PlacementError::Stopped) })
        } else {
            self.placement.start(wanted.order.clone(), cut.clone())
        };
        let started = tokio::select! {
            biased;
            started = &mut starting => started,
            () = stop.cancelled() => {
                cut.cancel();
                starting.await
            }
        };
        let failed = |error| match error {
            // There was nothing to go on with, and another one is to take its place.
            PlacementError::Stopped if wanted.is_left => Over::Stop,
            _ if stop.is_cancelled() => Over::Stop,
            error => Over::Failed(trouble_of(&error)),
        };
        started.map_err(failed)
    }

    /// Speaks to it for as long as there is any use.
    async fn speak(
        &self,
        access: &Arc<Access>,
        era: EraChoice,
        (ended, cut): (&mut Ended, &CancellationToken),
    ) -> Over {
        let (started_at, mut era, mut failures, mut has_run) = (Instant::now(), era, 0_u32, false);
        let is_lines = matches!(**access, Access::Lines(_));
        let stop = self.instance.stopping().clone();
        loop {
            let wanted = self.instance.wanted();
            let connection = cut.child_token();
            let _ends_when_dropped = connection.clone().drop_guard();
            let greeted = tokio::select! {
                biased;
                () = stop.cancelled() => return Over::Stop,
                greeted = self.ground.greet(wanted, access, (era, self.abilities), &connection) => greeted,
                end = &mut *ended => return of_end(end, is_lines && era == EraChoice::Auto),
            };
            let why = match greeted {
                Ok(greeted) => {
                    let began_at = Instant::now();
                    let why = match self.talk(access, greeted, (ended, &connection)).await {
                        Err(over) => return over,
                        Ok(why) => why,
                    };
                    has_run = true;
                    failures = if began_at.elapsed() >= CONNECTION_STEADY { 0 } else { failures };
                    why
                }
                Err(error) => {
                    // What was found out may not hold any more.
                    self.ground.eras.forget(&wanted.server);
                    if is_lines {
                        return not_greeted(&error, era, ended).await;
                    }
                    era = self.ground.eras.choice(wanted);
                    if !has_run && !self.may_still_start(&error, started_at) {
                        return Over::Failed(trouble_of(&error));
                    }
                    trouble_of(&error)
                }
            };
            if is_lines {
                return self.stream_ended(why, ended).await;
            }
            failures = failures.saturating_add(1);
            tracing::info!(instance = self.instance.name(), why, "an instance is out of reach");
            self.instance.is_out_of_reach(why);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Over::Stop,
                end = &mut *ended => return Over::Ended(end),
                () = sleep(RECONNECT.after(failures, chance())) => {}
            }
        }
    }

    /// Whether what we started may not listen yet.
    fn may_still_start(&self, error: &UpstreamError, started_at: Instant) -> bool {
        let patience = Duration::from_millis(self.ground.limits.start_timeout_ms);
        let is_silent = matches!(
            error,
            UpstreamError::Connection(_)
                | UpstreamError::Ended
                | UpstreamError::Status { .. }
                | UpstreamError::Timeout { .. }
        );
        self.is_ours && is_silent && started_at.elapsed() < patience
    }

    /// Serves a connection until it is lost, and says why; or why it is over.
    async fn talk(
        &self,
        access: &Arc<Access>,
        greeted: Greeted,
        (ended, connection): (&mut Ended, &CancellationToken),
    ) -> Result<String, Over> {
        let Greeted { upstream, events, mut driver } = greeted;
        let instance = Arc::clone(&self.instance);
        self.ground.eras.learn(instance.wanted(), upstream.declared().revision.era());
        let hearing =
            hear(Arc::clone(&instance), Arc::clone(&upstream), events, self.ground.hears.get().cloned());
        let until = connection.clone();
        self.ground.tasks.spawn(async move { until.run_until_cancelled(hearing).await });
        instance.runs(&upstream);
        tracing::info!(instance = instance.name(), "an instance runs");
        let placement = Arc::clone(&self.placement);
        let (idle, is_ours) = (self.idle, self.is_ours);
        let idle = async {
            match idle {
                Some(idle) => instance.is_idle(idle).await,
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! {
            biased;
            () = instance.stopping().cancelled() => None,
            end = &mut *ended => return Err(Over::Ended(end)),
            _ = &mut driver => Some("its connection ended".to_owned()),
            why = is_unwell(&instance, (&placement, self.ground.probes.get()), (access, &upstream)) => {
                if is_ours {
                    return Err(Over::Failed(why));
                }
                Some(why)
            }
            why = is_lost(&instance, &upstream) => Some(why),
            () = idle => {
                instance.stop();
                None
            }
        };
        match why {
            Some(why) => Ok(why),
            None => Err(self.drain(&upstream, ended).await),
        }
    }

    /// Lets calls in flight come to their end.
    async fn drain(&self, upstream: &Upstream, ended: &mut Ended) -> Over {
        let patience = Duration::from_millis(self.ground.limits.drain_timeout_ms);
        let drained = async {
            drop(timeout(patience, self.instance.is_drained()).await);
            upstream.close().await;
        };
        tokio::select! {
            biased;
            end = &mut *ended => Over::Ended(end),
            () = drained => Over::Stop,
        }
    }

    /// A process whose stream ended is no use, whether or not it ends as well.
    async fn stream_ended(&self, why: String, ended: &mut Ended) -> Over {
        self.instance.is_out_of_reach(why.clone());
        match timeout(END_PATIENCE, ended).await {
            Ok(end) => Over::Ended(end),
            Err(_) => Over::Failed(why),
        }
    }
}

/// What becomes of a process that wasn't agreed with on how to speak.
async fn not_greeted(error: &UpstreamError, era: EraChoice, ended: &mut Ended) -> Over {
    let is_over = matches!(error, UpstreamError::Ended | UpstreamError::Connection(_));
    if is_over && era == EraChoice::Auto {
        return Over::Mute;
    }
    if is_over && let Ok(end) = timeout(END_PATIENCE, ended).await {
        return Over::Ended(end);
    }
    Over::Failed(trouble_of(error))
}

/// What the end of a process means that was asked for its era, or was not.
fn of_end(end: End, was_asked: bool) -> Over {
    match end {
        End::Exited { .. } | End::Signaled { .. } if was_asked => Over::Dead,
        end => Over::Ended(end),
    }
}

/// Asks again and again how it is, and returns when there is no hope left, with the reason.
async fn is_unwell(
    instance: &Instance,
    (placement, records): (&Arc<dyn Placement>, Option<&Arc<dyn RecordsProbes>>),
    (access, upstream): (&Access, &Upstream),
) -> String {
    let Some(check) = &instance.wanted().order.spec.health_check else { return std::future::pending().await };
    let probe = Probe { check, name: instance.name(), placement, access, upstream };
    let threshold = check.failure_threshold();
    let mut unrecorded = records.filter(|_| check.tool.is_some());
    loop {
        let asked_at = Instant::now();
        let recorded = match unrecorded {
            Some(records) => records.begin(instance.server(), instance.name(), check).await,
            None => Ok(()),
        };
        let outcome = match recorded {
            Ok(()) => {
                unrecorded = None;
                probe.ask().await
            }
            Err(why) => Outcome::Unasked(format!("the call can't be recorded: {why}")),
        };
        let health = instance.health().after(outcome, threshold);
        let is_hopeless = health.is_hopeless(threshold);
        let why = health.why.clone().unwrap_or_default();
        instance.is_thus(health);
        if is_hopeless {
            return format!("it is unwell: {why}");
        }
        let interval = Duration::from_secs(check.interval_seconds().into());
        tokio::time::sleep_until(asked_at + interval).await;
    }
}

/// Returns once somebody doubts that it is reached and it gives no sign of life.
async fn is_lost(instance: &Instance, upstream: &Upstream) -> String {
    loop {
        instance.is_doubted().await;
        match timeout(DOUBT_TIMEOUT, ping(upstream)).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return why,
            Err(_) => return format!("there was no answer within {} s", DOUBT_TIMEOUT.as_secs()),
        }
    }
}

/// An error with all that led to it. Some of it may be what a server says, and it is shown to others.
pub(crate) fn trouble_of(error: &dyn Error) -> String {
    let mut text = with_sources(error);
    text.truncate(text.floor_char_boundary(TROUBLE_BYTES_MAX));
    text
}
