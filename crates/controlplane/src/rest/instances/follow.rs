//! Following a log: lines of JSON as an instance says them, until it is over, or the client leaves or may no more. An empty
//! line now and then is a sign of life.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use hayward_api::{Caller, Code};
use hayward_auth::{Operation, Verb};
use hayward_runtime::fleet::{Instance, State};
use hayward_runtime::log::Line;
use hayward_store::Resource;
use http::{HeaderValue, header};
use tokio::sync::watch as signal;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::{elsewhere, here, told};
use crate::guarded::named;
use crate::plane::{Plane, Watching};
use crate::refusal::Refusal;
use crate::wire::asked::Asked;

/// Follows the log of an instance, from its last so many lines on.
pub(super) async fn follow(asked: Asked, resource: Resource, tail: usize) -> Result<Response, Refusal> {
    let (plane, caller) = (Arc::clone(&asked.plane), asked.caller.clone());
    let Some(place) = plane.watchers.open(&caller.principal.credential) else {
        let refusal = Refusal::new(Code::RateLimited, "there are as many watches as there may be");
        return Err(refusal.hint("close one, or ask again later"));
    };
    asked
        .look(async move {
            let instance = here(&plane, &resource).ok_or_else(|| elsewhere(&resource))?;
            let heartbeat = Duration::from_millis(plane.limits.watch_heartbeat_ms);
            let mut ticks = interval_at(tokio::time::Instant::now() + heartbeat, heartbeat);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
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

fn streamed(following: Following) -> Response {
    let lines = stream::unfold(Box::new(following), |mut following| async move {
        let line = following.next().await?;
        Some((Ok::<_, Infallible>(line), following))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx buffers answers unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Following {
    /// The next line; none at the end.
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
