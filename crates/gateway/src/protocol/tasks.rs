//! Calls that go on when their request is answered (SEP-2663, modern era): how far they are, what they ask, how
//! they end.
//!
//! A task belongs to the credential that began it; to everybody else it isn't there. It is kept for its time
//! to live, ended or not, in memory only: a restart ends all of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hayward_api::{Code, Principal};
use hayward_mcp::abilities::Ability;
use hayward_mcp::era::Era;
use hayward_mcp::error::RpcError;
use hayward_mcp::input::{self, Answers, InputRequest, requests_to_raw};
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::request::{Context, TaskAsk};
use hayward_mcp::result;
use hayward_tool::{Change, Changes, Reply, Round, ToolError};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Protocol;
use super::rounds::{Walking, era_error};
use crate::limits::{Limits, ROUNDS_MAX, TASK_POLL_MS};

/// Every task.
#[derive(Debug)]
pub(super) struct Tasks {
    max: usize,
    per_principal_max: usize,
    ttl: Duration,
    changes: Changes,
    kept: Mutex<HashMap<Arc<str>, Arc<Task>>>,
}

/// One task.
#[derive(Debug)]
struct Task {
    id: Arc<str>,
    /// The credential that it belongs to.
    credential: String,
    created: Timestamp,
    forget_at: Instant,
    ttl_ms: u64,
    cancel: CancellationToken,
    state: Mutex<State>,
    /// Fires when an answer has come.
    answered: Notify,
}

#[derive(Debug)]
struct State {
    status: Status,
    updated: Timestamp,
    /// What it asks and nobody has answered.
    pending: BTreeMap<String, InputRequest>,
    answers: BTreeMap<String, Raw>,
}

#[derive(Clone, Debug)]
enum Status {
    Working,
    InputRequired,
    Completed(Raw),
    Failed(RpcError),
    Cancelled,
}

impl Status {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed(_) => "completed",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn is_over(&self) -> bool {
        !matches!(self, Self::Working | Self::InputRequired)
    }
}

impl Tasks {
    pub(super) fn new(limits: &Limits, changes: Changes) -> Self {
        let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            max: count(limits.tasks_max),
            per_principal_max: count(limits.tasks_per_principal_max),
            ttl: Duration::from_millis(limits.task_ttl_ms),
            changes,
            kept: Mutex::default(),
        }
    }

    fn begin(&self, principal: &Principal, cancel: CancellationToken) -> Result<Arc<Task>, ToolError> {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, task| task.forget_at > now || !task.lock().status.is_over());
        let own = kept.values().filter(|task| task.credential == principal.credential).count();
        if kept.len() >= self.max || own >= self.per_principal_max {
            return Err(ToolError::new("RateLimited", Code::RateLimited, "too many tasks are kept already")
                .suggest("wait until earlier tasks are forgotten, or call without the tasks extension"));
        }
        let created = Timestamp::now();
        let state = State {
            status: Status::Working,
            updated: created,
            pending: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        let task = Arc::new(Task {
            id: uuid::Uuid::new_v4().simple().to_string().into(),
            credential: principal.credential.clone(),
            created,
            forget_at: now + self.ttl,
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            cancel,
            state: Mutex::new(state),
            answered: Notify::new(),
        });
        kept.insert(Arc::clone(&task.id), Arc::clone(&task));
        Ok(task)
    }

    /// The task of this id, if it is the principal's.
    fn find(&self, id: &str, principal: &Principal) -> Option<Arc<Task>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(id).filter(|task| task.credential == principal.credential).cloned()
    }

    /// Whether this is a task of the principal.
    pub(super) fn has(&self, id: &str, principal: &Principal) -> bool {
        self.find(id, principal).is_some()
    }

    fn set(&self, task: &Task, status: Status) {
        let mut state = task.lock();
        // What is over stays as it ended.
        if state.status.is_over() {
            return;
        }
        state.status = status;
        state.updated = Timestamp::now();
        drop(state);
        self.changes
            .tell(Change::Task { id: Arc::clone(&task.id), task: task.detail(ObjectWriter::new(512)) });
    }
}

impl Task {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a client is told of it.
    fn envelope(&self, object: ObjectWriter, state: &State) -> ObjectWriter {
        object
            .str("taskId", &self.id)
            .str("status", state.status.as_str())
            .str("createdAt", &self.created.to_string())
            .str("lastUpdatedAt", &state.updated.to_string())
            .int("ttlMs", i64::try_from(self.ttl_ms).unwrap_or(i64::MAX))
            .int("pollIntervalMs", i64::try_from(TASK_POLL_MS).unwrap_or(i64::MAX))
    }

    /// The same with what it asks, or with what came of it.
    fn detail(&self, object: ObjectWriter) -> Raw {
        let state = self.lock();
        let object = self.envelope(object, &state);
        match &state.status {
            Status::Working | Status::Cancelled => object.end(),
            Status::InputRequired => {
                let pending: Vec<InputRequest> = state.pending.values().cloned().collect();
                object.raw("inputRequests", &requests_to_raw(&pending)).end()
            }
            Status::Completed(raw) => object.raw("result", raw).end(),
            Status::Failed(error) => object.raw("error", &error.to_raw()).end(),
        }
    }

    /// Takes the answers to what it asks; others are of no effect.
    fn take(&self, responses: &Raw) {
        let Some(responses) = Object::of(responses) else {
            return;
        };
        let mut state = self.lock();
        for member in responses.iter() {
            if state.pending.remove(&*member.key()).is_some() {
                state.answers.insert(member.key().into_owned(), member.value());
            }
        }
        state.updated = Timestamp::now();
        drop(state);
        self.answered.notify_one();
    }

    /// Waits until everything is answered.
    async fn answers(&self) -> BTreeMap<String, Raw> {
        loop {
            let answered = self.answered.notified();
            {
                let mut state = self.lock();
                if state.pending.is_empty() {
                    return std::mem::take(&mut state.answers);
                }
            }
            answered.await;
        }
    }
}

impl Protocol {
    /// Lets a call go on as a task, and answers its request with it.
    pub(super) fn go_on(self: &Arc<Self>, mut walking: Walking, state: Option<Raw>) -> Result<Raw, RpcError> {
        if !walking.arrival.abilities.has(Ability::Tasks) || walking.era == Era::Legacy {
            return Err(input::missing(Ability::Tasks));
        }
        // It is the task's from here on: the end of its request doesn't end it.
        walking.cancel = CancellationToken::new();
        walking.listener = None;
        let begun = self.tasks.begin(&walking.arrival.principal, walking.cancel.clone());
        let task = match begun {
            Ok(task) => task,
            Err(error) => return self.failed(&walking, error),
        };
        walking.arrival.round = Round { state, answers: None, is_task: true };
        let created = {
            let object = ObjectWriter::new(320).str("resultType", "task");
            task.envelope(object, &task.lock()).end()
        };
        let protocol = Arc::clone(self);
        self.calls.spawn(async move {
            let status = protocol.run_task(&task, walking).await;
            protocol.tasks.set(&task, status);
        });
        Ok(created)
    }

    async fn run_task(&self, task: &Task, mut walking: Walking) -> Status {
        for round in 0..ROUNDS_MAX {
            let (reply, _hold) = self.road.call(&walking.arrival, &walking.cancel, None).await;
            if walking.cancel.is_cancelled() {
                return Status::Cancelled;
            }
            let (requests, state) = match reply {
                Reply::Result(raw) => return Status::Completed(result::complete(walking.era, raw)),
                Reply::Error { code, message, data } => {
                    return Status::Failed(era_error(walking.era, RpcError { code, message, data }));
                }
                Reply::GoOn { state } => {
                    walking.arrival.round = Round { state, answers: None, is_task: true };
                    continue;
                }
                Reply::Ask { requests, state } => (requests, state),
            };
            let ending = self.road.ending(&walking.arrival.principal);
            let Some(answers) = self.ask_for(task, round, requests, ending).await else {
                return Status::Cancelled;
            };
            walking.arrival.round = Round { answers: Some(answers), state, is_task: true };
        }
        Status::Failed(RpcError::new(hayward_mcp::error::INTERNAL_ERROR, "the task asked too many times"))
    }

    /// Asks whoever looks at the task; none if it was cancelled, or forgotten before everything was answered.
    async fn ask_for(
        &self,
        task: &Task,
        round: usize,
        requests: Vec<InputRequest>,
        ending: CancellationToken,
    ) -> Option<Raw> {
        // A key is used once, so that a late answer is never taken for one of the next round.
        let prefix = format!("{round}-");
        let renamed = requests.into_iter().map(|request| {
            let key = format!("{prefix}{}", request.key);
            (key.clone(), InputRequest { key, ..request })
        });
        task.lock().pending = renamed.collect();
        self.tasks.set(task, Status::InputRequired);
        let answers = tokio::select! {
            biased;
            () = task.cancel.cancelled() => return None,
            () = ending.cancelled() => return None,
            () = tokio::time::sleep_until(task.forget_at.into()) => return None,
            answers = task.answers() => answers,
        };
        self.tasks.set(task, Status::Working);
        let object = ObjectWriter::new(256);
        let answers = answers.iter().fold(object, |object, (key, answer)| {
            object.raw(key.strip_prefix(&prefix).unwrap_or(key), answer)
        });
        Some(answers.end())
    }

    /// Answers what a client asks about a task of its own.
    pub(crate) fn task(
        &self,
        ask: &TaskAsk,
        context: &Context,
        principal: &Principal,
    ) -> Result<Raw, RpcError> {
        if !context.abilities.has(Ability::Tasks) {
            return Err(input::missing(Ability::Tasks));
        }
        let (TaskAsk::Get(id) | TaskAsk::Update(id, _) | TaskAsk::Cancel(id)) = ask;
        let task = self.tasks.find(id, principal).ok_or_else(|| {
            let data = ObjectWriter::new(64).str("taskId", id).end();
            RpcError::invalid_params("no such task: it was never yours, or its time is over").with_data(data)
        })?;
        let done = || ObjectWriter::new(32).str("resultType", "complete").end();
        match ask {
            TaskAsk::Get(_) => Ok(task.detail(ObjectWriter::new(512).str("resultType", "complete"))),
            TaskAsk::Update(_, Answers { responses, .. }) => {
                if let Some(responses) = responses {
                    task.take(responses);
                }
                Ok(done())
            }
            TaskAsk::Cancel(_) => {
                task.cancel.cancel();
                self.tasks.set(&task, Status::Cancelled);
                Ok(done())
            }
        }
    }
}
