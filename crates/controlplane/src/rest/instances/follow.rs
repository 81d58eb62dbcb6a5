//! Following a log: lines of JSON as an instance says them, until it is over, or the client leaves or may no more. An empty
//! line now and then is a sign of life.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use hayward_api::Caller;
use hayward_auth::{Operation, Verb};
use hayward_runtime::fleet::{Instance, State};
use hayward_runtime::log::Line;
use hayward_store::Resource;
use tokio::sync::watch as signal;
use tokio::time::Interval;

use super::{elsewhere, here, told};
use crate::guarded::named;
use crate::plane::{Plane, Watching};
use crate::refusal::Refusal;
use crate::wire::asked::Asked;
use crate::wire::lines::{Lines, heartbeat, place, streamed};

/// Follows the log of an instance, from its last so many lines on.
pub(super) async fn follow(asked: Asked, resource: Resource, tail: usize) -> Result<Response, Refusal> {
    let (plane, caller) = (Arc::clone(&asked.plane), asked.caller.clone());
    let place = place(&asked)?;
    asked
        .look(async move {
            let instance = here(&plane, &resource).ok_or_else(|| elsewhere(&resource))?;
            let ticks = heartbeat(&plane);
            let mut following = Following {
                rules: plane.snapshots.changed(),
                states: instance.states(),
                plane,
                caller,
                resource,
                instance,
                next: 0,
                waiting: VecDeque::new(),
                is_over: false,
                ticks,
                _place: place,
            };
            let first = following.instance.log().tail(tail);
            following.take(&first);
            Ok(streamed(following))
        })
        .await
}

/// A log that is followed.
struct Following {
    plane: Arc<Plane>,
    caller: Caller,
    resource: Resource,
    instance: Arc<Instance>,
    /// Says that the instance is something else, and may have another log.
    states: signal::Receiver<State>,
    /// The number of the line that comes next.
    next: u64,
    /// Lines that nobody has taken yet.
    waiting: VecDeque<Bytes>,
    /// Whether no more lines come.
    is_over: bool,
    ticks: Interval,
    /// Says that there are other rules, or other credentials.
    rules: signal::Receiver<u64>,
    _place: Watching,
}

impl Lines for Following {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some(line);
            }
            if self.is_over {
                return None;
            }
            let (shutdown, log) = (self.plane.shutdown.clone(), self.instance.log());
            if self.instance.is_ended() {
                // Its last lines are heard before it has ended.
                self.is_over = true;
                self.take(&log.tail(usize::MAX));
                continue;
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                changed = self.rules.changed() => {
                    changed.ok()?;
                    self.may_still().then_some(())?;
                }
                // What it is now, or which log it has, the next round looks at.
                changed = self.states.changed() => changed.ok()?,
                lines = log.from(self.next) => {
                    self.is_over = lines.is_empty();
                    self.take(&lines);
                }
                _ = self.ticks.tick() => {
                    self.may_still().then_some(())?;
                    self.waiting.push_back(Bytes::from_static(b"\n"));
                }
            }
        }
    }
}

impl Following {
    /// Whether its caller would get it now.
    fn may_still(&self) -> bool {
        let guarded = &self.plane.guarded;
        self.plane.snapshots.is_current(&self.caller)
            && guarded.operation(&self.caller, Operation::Logs).is_ok()
            && self.resource.descriptor().is_ok_and(|kind| {
                guarded.named(&self.caller, Verb::View, kind, named(&self.resource)).is_ok()
            })
    }

    /// Notes lines that weren't told yet.
    fn take(&mut self, lines: &[Line]) {
        for line in lines.iter().filter(|line| line.number >= self.next) {
            let mut text = told(&*self.plane.record, line).to_string();
            text.push('\n');
            self.waiting.push_back(text.into());
        }
        if let Some(last) = lines.last() {
            self.next = self.next.max(last.number + 1);
        }
    }
}
