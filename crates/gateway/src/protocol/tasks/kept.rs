//! The tasks that are kept: what is known of each, whose it is, and how much they hold.
//!
//! Nothing waits here but for answers, and nothing runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hayward_api::Principal;
use hayward_mcp::envelope::Frame;
use hayward_mcp::error::RpcError;
use hayward_mcp::input::{InputRequest, requests_to_raw};
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_tool::{Change, Changes};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::endpoint::Endpoint;
use crate::limits::{Limits, TASK_POLL_MS};
use crate::protocol::rounds::Walking;
use crate::road::Permit;

/// Every task that is kept.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// Bytes that they may hold together; those of one credential half of it.
    bytes_max: usize,
    ttl: Duration,
    changes: Changes,
    kept: Arc<Mutex<Kept>>,
}

type Kept = HashMap<Arc<str>, Arc<Task>>;

/// One task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) id: Arc<str>,
    /// The credential that it belongs to.
    credential: String,
    /// Where it was begun.
    endpoint: Endpoint,
    created: Timestamp,
    pub(super) forget_at: Instant,
    ttl_ms: u64,
    pub(super) cancel: CancellationToken,
    /// Fires when it is kept no longer.
    pub(super) forgotten: CancellationToken,
    /// Its place among the tasks that are kept.
    pub(super) permit: Permit,
    state: Mutex<State>,
    /// Fires when an answer has come.
    answered: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) status: Status,
    updated: Timestamp,
    /// Bytes of what the round that it is at was called with.
    pub(super) call_bytes: usize,
    /// What it asks and nobody has answered.
    pub(super) pending: BTreeMap<String, InputRequest>,
    answers: BTreeMap<String, Raw>,
}

#[derive(Clone, Debug)]
pub(super) enum Status {
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

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Working | Self::InputRequired | Self::Cancelled => 0,
            Self::Completed(raw) => raw.as_bytes().len(),
            Self::Failed(error) => {
                error.message.len() + error.data.as_ref().map_or(0, |data| data.as_bytes().len())
            }
        }
    }
}

impl From<Result<Raw, RpcError>> for Status {
    fn from(answered: Result<Raw, RpcError>) -> Self {
        match answered {
            Ok(result) => Self::Completed(result),
            Err(error) => Self::Failed(error),
        }
    }
}

impl State {
    /// Bytes of all that it holds.
    fn bytes(&self) -> usize {
        let asked: usize = self.pending.values().map(bytes_of).sum();
        let answered: usize = self.answers.iter().map(bytes_of_answer).sum();
        self.call_bytes + asked + answered + self.status.bytes()
    }

    /// Lets go of what nobody needs once it is over.
    fn let_go(&mut self) {
        self.call_bytes = 0;
        self.pending.clear();
        self.answers.clear();
    }
}

fn bytes_of_answer((key, raw): (&String, &Raw)) -> usize {
    key.len() + raw.as_bytes().len()
}

pub(super) fn bytes_of(request: &InputRequest) -> usize {
    request.key.len() + request.params.as_bytes().len()
}

impl Tasks {
    pub(crate) fn new(limits: &Limits, changes: Changes) -> Self {
        Self {
            bytes_max: usize::try_from(limits.task_bytes_max).unwrap_or(usize::MAX),
            ttl: Duration::from_millis(limits.task_ttl_ms),
            changes,
            kept: Arc::default(),
        }
    }

    /// The same tasks, and room for new ones under these limits.
    pub(crate) fn under(&self, limits: &Limits) -> Self {
        Self { kept: Arc::clone(&self.kept), ..Self::new(limits, self.changes.clone()) }
    }

    /// Begins a task for a call, if there is room for it.
    pub(super) fn begin(&self, permit: Permit, walking: &Walking) -> Option<Arc<Task>> {
        let (created, credential) = (Timestamp::now(), &walking.arrival.principal.credential);
        let state = State {
            status: Status::Working,
            updated: created,
            call_bytes: walking.call_bytes(),
            pending: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        let mut kept = self.lock();
        if !self.make_room(&mut kept, credential, state.call_bytes) {
            return None;
        }
        let task = Arc::new(Task {
            id: uuid::Uuid::new_v4().simple().to_string().into(),
            credential: credential.clone(),
            endpoint: walking.arrival.endpoint.clone(),
            created,
            forget_at: Instant::now() + self.ttl,
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            cancel: walking.cancel.clone(),
            forgotten: CancellationToken::new(),
            permit,
            state: Mutex::new(state),
            answered: Notify::new(),
        });
        kept.insert(Arc::clone(&task.id), Arc::clone(&task));
        Some(task)
    }

    /// Whether there is room for so many more bytes of a credential, once its oldest tasks that have ended
    /// are forgotten.
    fn make_room(&self, kept: &mut Kept, credential: &str, bytes: usize) -> bool {
        let (mut all, mut own, mut ended) = (0, 0, Vec::new());
        for task in kept.values() {
            let (bytes, is_over) = task.weigh();
            all += bytes;
            if task.credential == credential {
                own += bytes;
                if is_over {
                    ended.push((task.forget_at, Arc::clone(&task.id), bytes));
                }
            }
        }
        let mut excess = (own + bytes)
            .saturating_sub(self.bytes_max / 2)
            .max((all + bytes).saturating_sub(self.bytes_max));
        if excess > ended.iter().map(|(.., bytes)| bytes).sum() {
            return false;
        }
        ended.sort_unstable_by_key(|(forget_at, ..)| *forget_at);
        for (_, id, freed) in ended {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(freed);
            forget(kept, &id);
        }
        true
    }

    /// The task of this id, if it is the principal's.
    pub(super) fn find(&self, id: &str, (principal, endpoint): (&Principal, &Endpoint)) -> Option<Arc<Task>> {
        let is_theirs =
            |task: &&Arc<Task>| task.credential == principal.credential && task.endpoint == *endpoint;
        self.lock().get(id).filter(is_theirs).cloned()
    }

    pub(super) fn forget(&self, id: &str) {
        forget(&mut self.lock(), id);
    }

    pub(super) fn set(&self, task: &Task, status: Status) {
        self.change(task, |state| state.status = status);
    }

    /// Changes a task, if there is room for so many more bytes.
    pub(super) fn grow(&self, task: &Task, bytes: usize, change: impl FnOnce(&mut State)) -> bool {
        let mut kept = self.lock();
        let has_room = self.make_room(&mut kept, &task.credential, bytes);
        if has_room {
            self.change(task, change);
        }
        has_room
    }

    fn change(&self, task: &Task, change: impl FnOnce(&mut State)) {
        let mut state = task.lock();
        // What is over stays as it ended.
        if state.status.is_over() {
            return;
        }
        change(&mut state);
        state.updated = Timestamp::now();
        if state.status.is_over() {
            state.let_go();
        }
        drop(state);
        self.changes.tell(Change::Task(Arc::clone(&task.id)));
    }

    /// Takes the answers to what a task asks; others are of no effect. False if there is no room for them.
    pub(super) fn take(&self, task: &Task, responses: &Raw) -> bool {
        let responses = Object::of(responses).unwrap_or_else(Object::empty);
        let awaited: BTreeMap<String, Raw> = {
            let state = task.lock();
            let awaited = responses.iter().filter(|member| state.pending.contains_key(&*member.key()));
            // Kept in memory of its own: the message that it came in may be far larger.
            awaited.map(|member| (member.key().into_owned(), member.value().detached())).collect()
        };
        if awaited.is_empty() {
            return true;
        }
        let bytes = awaited.values().map(|raw| raw.as_bytes().len()).sum();
        let has_room = self.grow(task, bytes, |state| {
            for (key, answer) in awaited {
                if state.pending.remove(&key).is_some() {
                    state.answers.insert(key, answer);
                }
            }
            if state.pending.is_empty() {
                state.status = Status::Working;
            }
        });
        if has_room {
            task.answered.notify_one();
        }
        has_room
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(kept: &mut Kept, id: &str) {
    if let Some(task) = kept.remove(id) {
        task.forgotten.cancel();
    }
}

/// How far a task is, without a copy of what came of it.
pub(crate) struct Detail {
    /// Its last member is a `null` in the place of the result, if there is one.
    object: Raw,
    result: Option<Raw>,
}

impl Detail {
    /// A message whose innermost and last object this is: however many wait for slow readers, there is one result.
    pub(crate) fn frame(self, wrap: impl FnOnce(Raw) -> Frame) -> Frame {
        const PLACE: &[u8] = b"null}}";
        let frame = wrap(self.object);
        let Some(result) = self.result else {
            return frame;
        };
        let mut head = frame.to_vec();
        debug_assert!(head.ends_with(PLACE), "the object is the innermost and last one");
        head.truncate(head.len().saturating_sub(PLACE.len()));
        Frame { pieces: vec![head.into(), result.into_bytes(), Bytes::from_static(b"}}")] }
    }
}

impl Task {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of all that it holds, and whether it has ended.
    fn weigh(&self) -> (usize, bool) {
        let state = self.lock();
        (state.bytes(), state.status.is_over())
    }

    /// What a client is told of it.
    pub(super) fn envelope(&self, object: ObjectWriter, state: &State) -> ObjectWriter {
        object
            .str("taskId", &self.id)
            .str("status", state.status.as_str())
            .str("createdAt", &self.created.to_string())
            .str("lastUpdatedAt", &state.updated.to_string())
            .int("ttlMs", i64::try_from(self.ttl_ms).unwrap_or(i64::MAX))
            .int("pollIntervalMs", i64::try_from(TASK_POLL_MS).unwrap_or(i64::MAX))
    }

    /// The same with what it asks, or with what came of it.
    pub(super) fn detail(&self, object: ObjectWriter) -> Detail {
        let state = self.lock();
        let object = self.envelope(object, &state);
        let (object, result) = match &state.status {
            Status::Working | Status::Cancelled => (object, None),
            Status::InputRequired => {
                let pending: Vec<InputRequest> = state.pending.values().cloned().collect();
                (object.raw("inputRequests", &requests_to_raw(&pending)), None)
            }
            Status::Completed(raw) => (object.raw("result", &Raw::null()), Some(raw.clone())),
            Status::Failed(error) => {
                (object.str("statusMessage", &error.message).raw("error", &error.to_raw()), None)
            }
        };
        Detail { object: object.end(), result }
    }

    /// Waits until everything is answered.
    pub(super) async fn answers(&self) -> BTreeMap<String, Raw> {
        loop {
            let answered = self.answered.notified();
            {
                let mut state = self.lock();
                if state.pending.is_empty() {
                    let answers = std::mem::take(&mut state.answers);
                    // They are still held: the next round is called with them.
                    state.call_bytes += answers.iter().map(bytes_of_answer).sum::<usize>();
                    return answers;
                }
            }
            answered.await;
        }
    }
}
