//! Calls that go on when their request is answered (SEP-2663, modern era): how far they are, what they ask, how
//! they end.
//!
//! A task belongs to the credential that began it, and to the endpoint where it did; to everybody else it isn't there. It is kept for its time
//! to live, ended or not, in memory only: a restart ends all of them, and a revocation those of its credential.

mod kept;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use hayward_api::{Code, Principal};
use hayward_mcp::abilities::Ability;
use hayward_mcp::envelope::{Frame, RequestId};
use hayward_mcp::era::Era;
use hayward_mcp::error::{INTERNAL_ERROR, RpcError};
use hayward_mcp::input::{self, Answers, InputRequest};
use hayward_mcp::json::{ObjectWriter, Raw};
use hayward_mcp::request::{Context, TaskAsk};
use hayward_mcp::result;
use hayward_tool::{Reply, Round, ToolError};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Protocol;
use super::rounds::{Walking, era_error, lacking};
use crate::endpoint::Endpoint;
use crate::limits::ROUNDS_MAX;
use crate::road::incapable;
pub(crate) use kept::{Detail, Tasks};
use kept::{Status, Task, bytes_of};

impl Protocol {
    /// Lets a call go on as a task, and answers its request with it.
    pub(super) fn become_task(
        self: &Arc<Self>,
        mut walking: Walking,
        state: Option<Raw>,
    ) -> Result<Raw, RpcError> {
        if !walking.arrival.abilities.has(Ability::Tasks) {
            return match walking.era {
                Era::Legacy => self.failed(&walking, incapable(Ability::Tasks.into())),
                Era::Modern => Err(input::missing(Ability::Tasks.into())),
            };
        }
        // It is the task's from here on: the end of its request doesn't end it, and leaves nothing of it.
        walking.cancel = CancellationToken::new();
        walking.progress = None;
        walking.arrival.arguments = walking.arrival.arguments.detached();
        walking.arrival.params = walking.arrival.params.detached();
        walking.arrival.round = Round { state, answers: None, is_task: true };
        walking.arrival.spends = None;
        let begun = self.road.open_task(&walking.arrival.principal).map_err(no_room).and_then(|permit| {
            let too_much = || {
                let message = "the tasks of this credential hold too much already";
                no_room(ToolError::new("RateLimited", Code::RateLimited, message))
            };
            self.tasks.begin(permit, &walking).ok_or_else(too_much)
        });
        let task = match begun {
            Ok(task) => task,
            Err(error) => return self.failed(&walking, error),
        };
        let created = {
            let object = ObjectWriter::new(320).str("resultType", "task");
            task.envelope(object, &task.lock()).end()
        };
        let protocol = Arc::clone(self);
        self.calls.spawn(async move { protocol.live(task, walking).await }.in_current_span());
        Ok(created)
    }

    /// The life of a task, until it is forgotten.
    async fn live(&self, task: Arc<Task>, walking: Walking) {
        let (id, forget_at) = (Arc::clone(&task.id), task.forget_at);
        let (pulled, forgotten) = (task.permit.pulled.clone(), task.forgotten.clone());
        let ended = {
            let mut running = pin!(AssertUnwindSafe(self.run_task(&task, walking)).catch_unwind());
            tokio::select! {
                biased;
                ended = &mut running => ended,
                // Its credential was revoked, or we shut down.
                () = pulled.cancelled() => {
                    task.cancel.cancel();
                    running.await
                }
            }
        };
        if let Ok(status) = ended {
            self.tasks.set(&task, status);
        } else {
            let message = "the task was lost: look into the server's log";
            self.tasks.set(&task, Status::Failed(RpcError::new(INTERNAL_ERROR, message)));
        }
        // Whoever needs its room may forget it sooner.
        drop(task);
        let quiet = self.road.quiet();
        tokio::select! {
            () = sleep_until(forget_at.into()) => {}
            () = forgotten.cancelled() => {}
            () = pulled.cancelled() => {}
            () = quiet.cancelled() => {}
        }
        self.tasks.forget(&id);
    }

    async fn run_task(&self, task: &Task, mut walking: Walking) -> Status {
        let (status, waits) = self.walk_task(task, &mut walking).await;
        self.road.release(waits.as_ref(), &walking.arrival).await;
        status
    }

    /// How it ends, and what waits for its next round, of which there is none.
    async fn walk_task(&self, task: &Task, walking: &mut Walking) -> (Status, Option<Raw>) {
        for round in 0..ROUNDS_MAX {
            if walking.cancel.is_cancelled() {
                return (Status::Cancelled, walking.arrival.round.state.take());
            }
            // The place on the road is given up here: others get it while this waits for an answer.
            let (reply, _) = self.road.call(&walking.arrival, &walking.cancel, None).await;
            let (requests, state) = match reply {
                Reply::Result(_) | Reply::Error { .. } if walking.cancel.is_cancelled() => {
                    return (Status::Cancelled, None);
                }
                Reply::Result(raw) => return (self.completed(task, walking, raw), None),
                Reply::Error { code, message, data } => {
                    let error = RpcError { code, message, data };
                    return (Status::Failed(era_error(walking.era, error)), None);
                }
                Reply::GoOn { state } => (None, state),
                Reply::Ask { requests, state } => (Some(requests), state),
            };
            if walking.cancel.is_cancelled() {
                return (Status::Cancelled, state);
            }
            walking.arrival.round = Round { state, answers: None, is_task: true };
            match self.next_round(task, walking, (round, requests)).await {
                Ok(answers) => walking.arrival.round.answers = answers,
                Err(status) => return (status, walking.arrival.round.state.take()),
            }
        }
        let error = RpcError::new(INTERNAL_ERROR, "the task asked too many times");
        (Status::Failed(error), walking.arrival.round.state.take())
    }

    /// What the next round is answered with, where it asks something. How the task ends, if there is no next one.
    async fn next_round(
        &self,
        task: &Task,
        walking: &Walking,
        (round, requests): (usize, Option<Vec<InputRequest>>),
    ) -> Result<Option<Raw>, Status> {
        let Some(requests) = requests else {
            return self.begin_round(task, walking, BTreeMap::new()).map(|()| None);
        };
        let lacking = lacking(&requests, walking.arrival.abilities);
        if !lacking.is_empty() {
            return Err(Status::Failed(input::missing(lacking)));
        }
        self.ask_for(task, walking, round, requests).await.map(Some)
    }

    fn completed(&self, task: &Task, walking: &Walking, raw: Raw) -> Status {
        let status = Status::Completed(result::complete(walking.era, raw));
        if self.tasks.grow(task, status.bytes(), |state| state.status = status.clone()) {
            return status;
        }
        let message = "the result is more than the tasks of this credential may hold together";
        let error = ToolError::new("ResultTooLarge", Code::TooLarge, message)
            .suggest("the call has run: look at what it did before you call again, and ask for less at once");
        self.failed(walking, error).into()
    }

    /// Asks whoever looks at the task. How it ends, if it is cancelled or forgotten before everything is answered, or
    /// asks too much.
    async fn ask_for(
        &self,
        task: &Task,
        walking: &Walking,
        round: usize,
        requests: Vec<InputRequest>,
    ) -> Result<Raw, Status> {
        // A key is used once, so that a late answer is never taken for one of the next round.
        let prefix = format!("{round}-");
        let renamed = requests.into_iter().map(|request| {
            let key = format!("{prefix}{}", request.key);
            (key.clone(), InputRequest { key, ..request })
        });
        self.begin_round(task, walking, renamed.collect())?;
        let quiet = self.road.quiet();
        let answers = tokio::select! {
            biased;
            () = task.cancel.cancelled() => return Err(Status::Cancelled),
            () = quiet.cancelled() => return Err(Status::Cancelled),
            () = sleep_until(task.forget_at.into()) => return Err(Status::Cancelled),
            answers = task.answers() => answers,
        };
        let object = ObjectWriter::new(256);
        let answers = answers.iter().fold(object, |object, (key, answer)| {
            object.raw(key.strip_prefix(&prefix).unwrap_or(key), answer)
        });
        Ok(answers.end())
    }

    /// Keeps what a task goes on with, and what it asks first. How it ends, if that is too much.
    fn begin_round(
        &self,
        task: &Task,
        walking: &Walking,
        pending: BTreeMap<String, InputRequest>,
    ) -> Result<(), Status> {
        let call_bytes = walking.call_bytes();
        let asked: usize = pending.values().map(bytes_of).sum();
        let more = asked + call_bytes.saturating_sub(task.lock().call_bytes);
        let has_room = self.tasks.grow(task, more, |state| {
            state.status = if pending.is_empty() { Status::Working } else { Status::InputRequired };
            (state.pending, state.call_bytes) = (pending, call_bytes);
        });
        if has_room {
            return Ok(());
        }
        let message = "the task goes on with more than the tasks of this credential may hold together";
        let error = ToolError::new("ResultTooLarge", Code::TooLarge, message)
            .suggest("the call has run in part: look at what it did before you call again");
        Err(self.failed(walking, error).into())
    }

    /// Whether this is a task of the principal there.
    pub(crate) fn has_task(&self, id: &str, whose: (&Principal, &Endpoint)) -> bool {
        self.tasks.find(id, whose).is_some()
    }

    /// How far the task of this id is, if it is the principal's there: written into this object.
    pub(crate) fn task_detail(
        &self,
        id: &str,
        whose: (&Principal, &Endpoint),
        object: ObjectWriter,
    ) -> Option<Detail> {
        self.tasks.find(id, whose).map(|task| task.detail(object))
    }

    /// Answers what a client asks about a task of its own.
    pub(crate) fn task(
        &self,
        request: &RequestId,
        ask: &TaskAsk,
        context: &Context,
        (principal, endpoint): (&Principal, &Endpoint),
    ) -> Result<Frame, RpcError> {
        if !self.offers(endpoint).tasks {
            return Err(RpcError::method_not_found(ask.method()));
        }
        if !context.abilities.has(Ability::Tasks) {
            return Err(input::missing(Ability::Tasks.into()));
        }
        let (TaskAsk::Get(id) | TaskAsk::Update(id, _) | TaskAsk::Cancel(id)) = ask;
        let task = self.tasks.find(id, (principal, endpoint)).ok_or_else(|| {
            let data = ObjectWriter::new(64).str("taskId", id).end();
            RpcError::invalid_params("no such task: it was never yours, or its time is over").with_data(data)
        })?;
        let complete = |capacity: usize| ObjectWriter::new(capacity).str("resultType", "complete");
        let done = || Frame::result(request, complete(32).end());
        match ask {
            TaskAsk::Get(_) => Ok(task.detail(complete(512)).frame(|object| Frame::result(request, object))),
            TaskAsk::Update(_, Answers { responses, .. }) => {
                if responses.as_ref().is_none_or(|responses| self.tasks.take(&task, responses)) {
                    return Ok(done());
                }
                let message = "the answers are more than your tasks may hold together: send smaller ones";
                Err(RpcError::new(i64::from(Code::TooLarge.http_status()), message))
            }
            TaskAsk::Cancel(_) => {
                task.cancel.cancel();
                self.tasks.set(&task, Status::Cancelled);
                Ok(done())
            }
        }
    }
}

/// What to do if there is no further task for now.
fn no_room(error: ToolError) -> ToolError {
    match error.kind {
        Code::RateLimited => {
            error.suggest("wait until earlier tasks are forgotten, or call without the tasks extension")
        }
        _ => error,
    }
}
