//! From requests to the road, and from the road to answers: what all transports share.

mod binding;
mod carried;
mod rounds;
mod tasks;
mod wishes;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hayward_api::{Code, Error, Principal, Source};
use hayward_audit::Moved;
use hayward_mcp::envelope::{Frame, Request, RequestId};
use hayward_mcp::era::{Era, Revision};
use hayward_mcp::error::{INVALID_REQUEST, RpcError, UNSUPPORTED_PROTOCOL_VERSION};
use hayward_mcp::input;
use hayward_mcp::json::{ObjectWriter, Raw};
use hayward_mcp::request::{Ask, Context, Params, Question, Walk};
use hayward_mcp::result::{self, Identity, Offers};
use hayward_mcp::state::StateKeys;
use hayward_tool::{Ability, ProgressQueue, TransferError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::asking::{Asking, Outbox};
use crate::budget::Reserved;
use crate::endpoint::Endpoint;
use crate::limits::{CANCEL_GRACE, Limits};
use crate::request_id::RequestIds;
use crate::road::{Arrival, Beside, Permit, Refused, Road};
use crate::session::Running;
use rounds::{Opened, Walking};
use tasks::Tasks;
use wishes::{Notice, Wishes};

/// The protocol in front of a road.
pub struct Protocol {
    road: Arc<Road>,
    identity: Identity,
    limits: Limits,
    /// Seals what clients carry between rounds. Made anew with every start: no round outlives it.
    states: Arc<StateKeys>,
    tasks: Tasks,
    /// Every running call, so that a shutdown can wait for their outcomes.
    calls: TaskTracker,
    request_ids: Arc<RequestIds>,
}

/// Who sent a request, and over which way.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) principal: Arc<Principal>,
    pub(crate) source: Source,
    pub(crate) request_id: Arc<str>,
    /// Where it came in.
    pub(crate) endpoint: Endpoint,
    /// The session that it is of, where there is one.
    pub(crate) session: Option<Arc<str>>,
}

/// A call that is to begin.
pub(crate) struct Beginning {
    pub(crate) id: RequestId,
    pub(crate) walk: Walk,
    pub(crate) context: Context,
    pub(crate) sender: Sender,
    /// Where the client can cancel it by its id, if it can.
    pub(crate) running: Option<Running>,
    /// How a legacy client is asked something meanwhile, if it can be.
    pub(crate) asking: Option<Asking>,
    /// Whether the client can be sent away and come back.
    pub(crate) can_come_back: bool,
    /// What holds the request in memory.
    pub(crate) reserved: Option<Reserved>,
}

/// A call that runs while it is waited for. Should nobody wait any more (its client is gone), it is
/// cancelled and runs to its end by itself, so that its outcome is recorded all the same.
pub(crate) struct RunningCall {
    id: RequestId,
    /// None once the answer is there.
    course: Option<Course>,
    /// The answer, until what was said before it has been heard.
    answer: Option<Answer>,
    notices: ProgressQueue,
    wishes: Wishes,
    /// What the client is asked, if it can be.
    outbox: Option<Outbox>,
    cancel: CancellationToken,
    /// Fires when its client has cancelled it.
    withdrawn: CancellationToken,
    calls: TaskTracker,
    /// Makes a shutdown wait for it.
    _place: TaskTrackerToken,
}

/// The walk of one call down the road, up to its answer. None if something of ours panicked.
type Course = Pin<Box<dyn Future<Output = Option<Answer>> + Send>>;

/// The answer to a call.
pub(crate) struct Answer {
    pub(crate) frame: Frame,
    /// The code of the JSON-RPC error, if it is one.
    pub(crate) error_code: Option<i64>,
    /// The call's place on the road, given up when the answer has left.
    pub(crate) hold: Option<Permit>,
}

impl Answer {
    fn error(id: &RequestId, error: &RpcError) -> Self {
        Self { frame: Frame::error(Some(id), error), error_code: Some(error.code), hold: None }
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        // Nothing may be left half done, and a destructor can't wait: whoever drains calls does.
        if let Some(course) = self.course.take() {
            self.cancel.cancel();
            self.calls.spawn(course);
        }
    }
}

/// What comes of a running call.
pub(crate) enum News {
    /// Something that the client wants to hear meanwhile, or is asked.
    Meanwhile(Frame),
    /// Nothing for a while: the client is sent away, to come back after this time.
    Rest {
        /// In milliseconds.
        retry_ms: u64,
    },
    /// The answer, after which nothing comes.
    Answer(Answer),
}

impl RunningCall {
    /// What comes next. Cancellation-safe.
    pub(crate) async fn next(&mut self) -> News {
        let Self { id, course, answer, notices, wishes, outbox, .. } = self;
        loop {
            let Some(running) = course else {
                // What was said before the answer is sent before it.
                if let Some(frame) = outbox.as_ref().and_then(Outbox::try_next) {
                    return News::Meanwhile(frame);
                }
                let said = std::iter::from_fn(|| notices.try_next()).find_map(|it| wishes.notice(it));
                return said
                    .map_or_else(|| News::Answer(answer.take().unwrap_or_else(|| lost(id))), News::from);
            };
            tokio::select! {
                biased;
                progress = notices.next() => if let Some(notice) = wishes.notice(progress) {
                    return notice.into();
                },
                frame = asked(outbox.as_ref()) => return News::Meanwhile(frame),
                ended = running => {
                    (*course, *answer) = (None, ended);
                }
            }
        }
    }

    /// Goes on by itself from here: whoever follows it may be held up by a slow client, and its
    /// deadline must hold all the same.
    pub(crate) fn detach(&mut self) {
        if let Some(course) = self.course.take() {
            let going = self.calls.spawn(course);
            self.course = Some(Box::pin(async move { going.await.ok().flatten() }));
        }
    }

    /// Whether its client has cancelled it, and wants no answer.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.is_cancelled()
    }

    /// The answer, for a client that can't hear anything meanwhile.
    pub(crate) async fn answer(mut self) -> Answer {
        loop {
            if let News::Answer(answer) = self.next().await {
                return answer;
            }
        }
    }
}

impl From<Notice> for News {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Message(frame) => Self::Meanwhile(frame),
            Notice::Rest { retry_ms } => Self::Rest { retry_ms },
        }
    }
}

/// What a client is asked; nothing ever, if it can't be.
async fn asked(outbox: Option<&Outbox>) -> Frame {
    match outbox {
        Some(outbox) => outbox.next().await,
        None => std::future::pending().await,
    }
}

impl Protocol {
    /// The protocol in front of this road.
    pub fn new(road: Arc<Road>, identity: Identity, limits: &Limits) -> Self {
        Self {
            tasks: Tasks::new(limits, road.changes().clone()),
            road,
            identity,
            limits: limits.clone(),
            states: Arc::new(StateKeys::random()),
            calls: TaskTracker::new(),
            request_ids: Arc::new(RequestIds::new()),
        }
    }

    /// The same in front of another road, under these limits: rounds and tasks that have begun here go on there.
    #[must_use]
    pub fn under(&self, road: Arc<Road>, limits: &Limits) -> Self {
        Self {
            tasks: self.tasks.under(limits),
            road,
            identity: self.identity.clone(),
            limits: limits.clone(),
            states: Arc::clone(&self.states),
            calls: self.calls.clone(),
            request_ids: Arc::clone(&self.request_ids),
        }
    }

    /// The road behind it, for what outlives a request.
    pub(crate) fn shared_road(&self) -> Arc<Road> {
        Arc::clone(&self.road)
    }

    /// The road behind it.
    pub fn road(&self) -> &Road {
        &self.road
    }

    /// An id for a request that brought none.
    pub(crate) fn request_id(&self) -> Arc<str> {
        self.request_ids.next()
    }

    /// How much runs: calls, and streams that are open.
    pub fn running(&self) -> usize {
        self.calls.len()
    }

    /// Waits until every running call has ended, and nobody listens any more. New ones may still begin.
    pub async fn drain(&self) {
        self.road.hush();
        self.calls.close();
        self.calls.wait().await;
    }

    /// Lets running calls end, cancels those that don't, and waits no longer than they may take for that.
    pub async fn close(&self) {
        let limits = &self.limits;
        if timeout(Duration::from_millis(limits.drain_ms), self.drain()).await.is_err() {
            self.road.cancel_all();
            // A cancelled call is dropped at the latest when it has overrun.
            if timeout(CANCEL_GRACE + Duration::from_millis(limits.overrun_ms), self.drain()).await.is_err() {
                tracing::error!(running = self.running(), "what was cancelled did not end");
            }
        }
        self.road.note_refusals(Duration::ZERO).await;
    }

    /// Records that a request was refused before it came to the road.
    pub(crate) async fn refuse(&self, sender: Sender, request: &Request, error: &RpcError) {
        let params = Params::of(request);
        let name = params.get_str("name").or_else(|| params.get_str("uri")).unwrap_or_default().into_owned();
        let refused = Refused {
            principal: sender.principal,
            source: sender.source,
            request_id: sender.request_id,
            method: request.method.clone(),
            name,
            code: error.code,
            reason: error.message.clone(),
        };
        self.road.refuse(refused).await;
    }

    /// Runs something that belongs to a call, so that a shutdown waits for it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.calls.spawn(task);
    }

    /// Makes a change beside the tools: recorded like a call, and made as a whole even if nobody waits for
    /// it any more.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        arrival: Arrival,
        change: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let road = Arc::clone(&self.road);
        let made = self.calls.spawn(async move { road.change(&arrival, change).await });
        let lost = |_| Error::new(Code::Internal, "the change was lost: look into the server's log");
        made.await.map_err(lost)?
    }

    /// Moves bytes under a ticket, recorded like a call with what was moved, to its end even if nobody waits for it any more.
    pub(crate) async fn transfer<T, F>(
        &self,
        arrival: Arrival,
        bytes: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) -> Result<T, TransferError>
    where
        T: Send + 'static,
        F: Future<Output = Result<(T, Moved), TransferError>> + Send,
    {
        let road = Arc::clone(&self.road);
        let moved = self.calls.spawn(async move { road.transfer(&arrival, bytes).await });
        moved.await.unwrap_or(Err(TransferError::StreamAborted { bytes: 0 }))
    }

    /// Answers what needs no walk.
    pub(crate) fn answer(
        &self,
        question: &Question,
        era: Era,
        (principal, endpoint): (&Principal, &Endpoint),
    ) -> Raw {
        match question {
            Question::Initialize { revision, .. } => {
                result::initialize(&self.identity(principal, endpoint), self.offers(endpoint), *revision)
            }
            Question::Discover => {
                result::discover(&self.identity(principal, endpoint), self.offers(endpoint))
            }
            Question::List(list) => result::list(era, *list, &self.road.list_at(endpoint, *list, principal)),
            Question::Ping | Question::SetLogLevel(_) | Question::Subscribe(_) | Question::Unsubscribe(_) => {
                Raw::empty_object()
            }
        }
    }

    /// Waits until it is known what can be answered to this question, if that takes a moment.
    pub(crate) async fn settle(&self, question: &Question, endpoint: &Endpoint) {
        if matches!(question, Question::Initialize { .. } | Question::Discover | Question::List(_)) {
            self.road.upstreams().settled(endpoint).await;
        }
    }

    /// What is offered at an endpoint beside tools.
    pub(crate) fn offers(&self, endpoint: &Endpoint) -> Offers {
        self.road.at(endpoint).offers()
    }

    /// Who we are at an endpoint: what clients are told first differs.
    fn identity(&self, principal: &Principal, endpoint: &Endpoint) -> Identity {
        let more = self.road.at(endpoint).instructions(&self.road.policy(), principal);
        let own = Some(&*self.identity.instructions).filter(|_| *endpoint == Endpoint::Default);
        let told: Vec<&str> =
            own.into_iter().chain([more.as_str()]).filter(|text| !text.is_empty()).collect();
        Identity { instructions: told.join("\n\n"), ..self.identity.clone() }
    }

    /// Starts a call.
    pub(crate) fn begin(self: &Arc<Self>, beginning: Beginning) -> Result<RunningCall, RpcError> {
        let Beginning { id, walk, context, sender, running, asking, can_come_back, reserved } = beginning;
        let era = context.era();
        let lacks_tasks = era == Era::Modern && !context.abilities.has(Ability::Tasks);
        if lacks_tasks && self.road.needs_task(&sender.endpoint, walk.verb, &walk.name, &sender.principal) {
            return Err(input::missing(Ability::Tasks.into()));
        }
        let Opened { round, spends, correlation_id } = self.open_round(&walk, &sender, era)?;
        let (cancel, withdrawn) = (CancellationToken::new(), CancellationToken::new());
        if let Some(running) = &running
            && !running.begin(&id, &cancel, &withdrawn)
        {
            return Err(RpcError::new(INVALID_REQUEST, "a request of this `id` is running: use a new id"));
        }
        let notices = ProgressQueue::default();
        let arrival = Arrival {
            principal: sender.principal,
            source: sender.source,
            correlation_id: correlation_id.unwrap_or_else(|| Arc::clone(&sender.request_id)),
            request_id: sender.request_id,
            rpc_id: Some(id.clone()),
            client: context.client,
            trace_parent: context.trace_parent.clone(),
            revision: Some(context.revision),
            abilities: context.abilities,
            endpoint: sender.endpoint,
            session: sender.session,
            params: walk.params,
            verb: Some(walk.verb),
            name: walk.name,
            arguments: walk.arguments,
            round,
            idempotency_key: walk.idempotency_key,
            spends,
            beside: Beside::ADMIN,
        };
        let wishes = Wishes {
            progress_token: context.progress_token,
            log_level: context.log_level,
            can_come_back,
            redaction: self.road.redaction(),
        };
        let way_back = asking.map(|asking| (asking, Outbox::default()));
        let outbox = way_back.as_ref().map(|(_, outbox)| outbox.clone());
        let progress = wishes.is_any().then(|| notices.clone());
        let walking = Walking { arrival, era, cancel: cancel.clone(), progress, way_back };
        let course = self.course(id.clone(), walking, running, reserved);
        let course: Course = match context.trace_parent {
            Some(parent) => Box::pin(course.instrument(tracing::info_span!("call", traceparent = parent))),
            None => Box::pin(course),
        };
        let (calls, place) = (self.calls.clone(), self.calls.token());
        Ok(RunningCall {
            id,
            course: Some(course),
            answer: None,
            notices,
            wishes,
            outbox,
            cancel,
            withdrawn,
            calls,
            _place: place,
        })
    }

    fn course(
        self: &Arc<Self>,
        id: RequestId,
        walking: Walking,
        running: Option<Running>,
        reserved: Option<Reserved>,
    ) -> impl Future<Output = Option<Answer>> + Send + use<> {
        let protocol = Arc::clone(self);
        async move {
            let walked = AssertUnwindSafe(protocol.walk(walking)).catch_unwind().await.ok();
            drop(reserved);
            if let Some(running) = running {
                running.end(&id);
            }
            let (answered, hold) = walked?;
            Some(match answered {
                Ok(result) => Answer { frame: Frame::result(&id, result), error_code: None, hold },
                Err(error) => Answer { hold, ..Answer::error(&id, &error) },
            })
        }
    }
}

/// The answer to a call that ended without one, which only a panic of ours can cause.
fn lost(id: &RequestId) -> Answer {
    let error =
        RpcError::new(hayward_mcp::error::INTERNAL_ERROR, "the call was lost: look into the server's log");
    Answer::error(id, &error)
}

/// Refuses a revision that the principal may not speak: who insists on the newer era is not talked into the older
/// one.
pub(crate) fn check_revision(principal: &Principal, ask: &Ask, context: &Context) -> Result<(), RpcError> {
    let revision = match ask {
        Ask::Question(Question::Initialize { revision, .. }) => *revision,
        _ => context.revision,
    };
    if principal.may_speak(revision.as_str()) {
        return Ok(());
    }
    let message = format!("this credential may not speak {revision}: use a client of a newer revision");
    let supported = Revision::names(|revision| principal.may_speak(revision.as_str()));
    let data = ObjectWriter::new(120).raw("supported", &supported).str("requested", revision.as_str()).end();
    Err(RpcError::new(UNSUPPORTED_PROTOCOL_VERSION, message).with_data(data))
}
