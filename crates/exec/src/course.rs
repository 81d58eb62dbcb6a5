//! The course of one job, from its turn to its result.
//!
//! ```text
//!  turn ─► supervisor ─► start ─┬─ not started ───────────────────► error, supervisor kept
//!                               ├─ ended, alone ──► drain ────────► result, supervisor kept
//!                               ├─ ended, others ─► drain ► end ──► result, supervisor gone
//!                               └─ deadline, cancel ──► end all ──► result, supervisor gone
//! ```
//!
//! Output is read in every state. It runs in a task of its own, so that it comes to its end
//! also when its caller is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::assess::Order;
use crate::error::ExecError;
use crate::executor::Inner;
use crate::job::{Captured, Ending, Fate, Finished, Survivor, Survivors};
use crate::limits::{ANSWER, ANSWER_AT_STOP, ANSWER_BEFORE_KILL, FOREVER, KILL, SETTLE, SURVIVORS_NAMED_MAX};
use crate::output::{Ends, Streams};
use crate::quota::Exhausted;
use crate::spool::Place;
use crate::supervisor::{Quiet, Supervisor, Terms};
use crate::wire::{End, Report, Stage, Status, Step, Whom};

/// Runs a job.
pub(crate) async fn run(
    inner: &Arc<Inner>,
    order: &Order,
    cancel: CancellationToken,
    since: Instant,
) -> Result<Finished, ExecError> {
    let job = &order.job;
    let deadline = since.checked_add(job.timeout).unwrap_or(since + FOREVER);
    let stop = Stop { cancel, closing: inner.closing(), deadline };
    let _turn = match stop.unless(inner.turn()).await {
        Ok(turn) => turn,
        Err(ending) => return Ok(unstarted(ending, since)),
    };
    let place = inner.place(job);
    let opened = Streams::open(job.stdout_bytes_max, job.stderr_bytes_max, place.clone());
    let (streams, ends) = opened.map_err(|error| ExecError::supervisor("connect", error))?;
    go(inner, order, &stop, Line { streams, ends, place, is_conversation: false, since }).await
}

/// Runs a job that somebody talks to over the other ends of these.
pub(crate) async fn converse(
    inner: &Arc<Inner>,
    order: &Order,
    cancel: CancellationToken,
    ends: Ends,
) -> Result<Finished, ExecError> {
    let since = Instant::now();
    let stop = Stop { cancel, closing: inner.closing(), deadline: since + FOREVER };
    let line = Line { streams: Streams::none(), ends, place: None, is_conversation: true, since };
    go(inner, order, &stop, line).await
}

/// What a job is connected with.
struct Line {
    streams: Streams,
    ends: Ends,
    /// Its place in the spool, if it has one.
    place: Option<Place>,
    is_conversation: bool,
    since: Instant,
}

async fn go(inner: &Arc<Inner>, order: &Order, stop: &Stop<'_>, line: Line) -> Result<Finished, ExecError> {
    let Line { mut streams, ends, place, is_conversation, since } = line;
    let supervisor = inner.supervisor().await?;
    let leaf = supervisor.leaf().map(|leaf| leaf.path().to_owned());
    let group = match inner.bound(order.job.effective_quota(), leaf).await {
        Ok(group) => group,
        Err(error) => {
            inner.give_back(supervisor);
            return Err(error);
        }
    };
    let stage = Stage::of(order, &group, inner.containment().bounds());
    let course = Course { inner, order, supervisor, streams: &mut streams };
    let followed = course.follow(stop, Terms { stage, place, is_conversation }, ends).await;
    let exhausted = group.exhausted();
    inner.unbound(&group);
    let (ending, survivors) = followed?;
    let (stdout, stderr) = streams.into_captured();
    Ok(Finished { ending, stdout, stderr, survivors, duration: since.elapsed(), exhausted })
}

/// What stops a job before its own end.
struct Stop<'a> {
    cancel: CancellationToken,
    closing: &'a CancellationToken,
    deadline: Instant,
}

impl Stop<'_> {
    /// Waits for something, unless the job is to be stopped before.
    async fn unless<T>(&self, something: impl Future<Output = T>) -> Result<T, Ending> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Ending::Cancelled),
            () = self.closing.cancelled() => Err(Ending::Cancelled),
            done = something => Ok(done),
            () = sleep_until(self.deadline) => Err(Ending::TimedOut),
        }
    }
}

struct Course<'a> {
    inner: &'a Arc<Inner>,
    order: &'a Order,
    supervisor: Supervisor,
    streams: &'a mut Streams,
}

type Outcome = Result<(Ending, Vec<Survivor>), ExecError>;

impl Course<'_> {
    async fn follow(mut self, stop: &Stop<'_>, terms: Terms, ends: Ends) -> Outcome {
        let supervisor = &mut self.supervisor;
        let converse = async {
            supervisor.start(&self.order.job, terms, ends).await?;
            supervisor.receive().await
        };
        match self.streams.drain_during(stop.unless(converse)).await {
            Err(ending) => self.stop(ending).await,
            Ok(Ok(Report::Ended { status, is_alone })) => self.finish(status, is_alone).await,
            // It may have left a job behind that nobody knows of.
            Ok(Ok(Report::NotStarted(why))) if why.step == Step::Stage => {
                self.lose(ExecError::SupervisorLost).await
            }
            Ok(Ok(Report::NotStarted(why))) => {
                self.inner.give_back(self.supervisor);
                Err(ExecError::not_started(&self.order.job, why))
            }
            // Nothing of it was sent.
            Ok(Err(error @ ExecError::ArgumentsTooLong)) => {
                self.inner.give_back(self.supervisor);
                Err(error)
            }
            Ok(Ok(Report::Quiet { .. })) => self.lose(ExecError::SupervisorLost).await,
            Ok(Err(error)) => self.lose(error).await,
        }
    }

    /// The main process ended by itself.
    async fn finish(mut self, status: Status, is_alone: bool) -> Outcome {
        let ending = Ending::from(status);
        // Ends at once when nobody holds the pipes; else gives the holders time to end.
        self.streams.drain_within(self.inner.drain_time()).await;
        if is_alone {
            self.inner.give_back(self.supervisor);
            return Ok((ending, Vec::new()));
        }
        let whom = match self.order.job.survivors {
            Survivors::End => Whom::All,
            Survivors::Leave => Whom::PipeHolders,
        };
        let quiet = self.end(whom, SETTLE, KILL + ANSWER).await;
        let is_empty = quiet.as_ref().is_some_and(|q| q.is_alone && q.found.is_empty());
        if is_empty {
            self.inner.give_back(self.supervisor);
            return Ok((ending, Vec::new()));
        }
        let is_gone = self.part(whom, quiet.is_some()).await;
        Ok((ending, quiet.map(|quiet| name(quiet, whom, is_gone)).unwrap_or_default()))
    }

    /// The job is stopped.
    async fn stop(mut self, ending: Ending) -> Outcome {
        let answer = match self.supervisor.leaf() {
            Some(_) => ANSWER_BEFORE_KILL,
            None => KILL + ANSWER_AT_STOP,
        };
        let quiet = self.end(Whom::All, Duration::ZERO, answer).await;
        let is_gone = self.part(Whom::All, true).await;
        // Who was ended here isn't a survivor; who couldn't be ended is.
        let mut stuck = quiet.map(|quiet| name(quiet, Whom::All, is_gone)).unwrap_or_default();
        stuck.retain(|survivor| survivor.fate == Fate::Stuck);
        Ok((ending, stuck))
    }

    /// The supervisor failed.
    async fn lose(self, error: ExecError) -> Outcome {
        tracing::warn!(program = self.order.job.program, %error, "a supervisor is lost");
        self.part(Whom::All, false).await;
        Err(error)
    }

    async fn end(&mut self, whom: Whom, settle: Duration, answer: Duration) -> Option<Quiet> {
        let ms = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let end = End { whom, settle_ms: ms(settle), grace_ms: ms(self.inner.grace()) };
        self.streams.drain_during(self.supervisor.end(end, answer)).await
    }

    /// Parts with the supervisor, and says whether all who were to end are gone.
    async fn part(self, whom: Whom, has_answered: bool) -> bool {
        let is_gone = if whom == Whom::PipeHolders && has_answered {
            self.streams.drain_during(self.inner.release(self.supervisor)).await;
            true
        } else {
            self.streams.drain_during(self.inner.retire(self.supervisor)).await
        };
        self.streams.drain_within(self.inner.drain_time()).await;
        is_gone
    }
}

/// Says what became of those who were found.
fn name(quiet: Quiet, whom: Whom, is_gone: bool) -> Vec<Survivor> {
    let Quiet { found, stuck, .. } = quiet;
    let fate = |pid: i32, holds_pipe: bool| match whom {
        Whom::PipeHolders if !holds_pipe => Fate::Left,
        Whom::PipeHolders if stuck.contains(&pid) => Fate::Stuck,
        Whom::All if stuck.contains(&pid) && !is_gone => Fate::Stuck,
        _ => Fate::Ended,
    };
    let named = found.into_iter().take(SURVIVORS_NAMED_MAX);
    named.map(|n| Survivor { pid: n.pid, fate: fate(n.pid, n.holds_pipe), command: n.command }).collect()
}

fn unstarted(ending: Ending, since: Instant) -> Finished {
    let (stdout, stderr) = (Captured::default(), Captured::default());
    let duration: Duration = since.elapsed();
    Finished { ending, stdout, stderr, survivors: Vec::new(), duration, exhausted: Exhausted::default() }
}
