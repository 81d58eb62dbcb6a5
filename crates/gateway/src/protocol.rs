//! From requests to the road, and from the road to answers: what both transports share.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use hayward_api::{Code, Error, Principal};
use hayward_mcp::envelope::{Frame, RequestId};
use hayward_mcp::era::Era;
use hayward_mcp::error::{INVALID_REQUEST, RpcError};
use hayward_mcp::json::{ObjectWriter, Raw};
use hayward_mcp::logging::LogLevel;
use hayward_mcp::request::{CallTool, Context, Question};
use hayward_mcp::result::{self, Identity};
use hayward_tool::{Listener, Progress, Reply};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::request_id::RequestIds;
use crate::road::{Arrival, Permit, Road};
use crate::session::Running;

/// The protocol in front of a road.
pub struct Protocol {
    road: Arc<Road>,
    identity: Identity,
    /// Every running call, so that a shutdown can wait for their outcomes.
    calls: TaskTracker,
    request_ids: RequestIds,
}

/// Who sent a request, and over which way.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) principal: Arc<Principal>,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) request_id: Arc<str>,
}

/// A call that is to begin.
pub(crate) struct Beginning {
    pub(crate) id: RequestId,
    pub(crate) call: CallTool,
    pub(crate) context: Context,
    pub(crate) sender: Sender,
    /// Where the client can cancel it by its id, if it can.
    pub(crate) running: Option<Running>,
}

/// A call that runs while it is waited for. Should nobody wait any more (its client is gone), it is
/// cancelled and runs to its end by itself, so that its outcome is recorded all the same.
pub(crate) struct RunningCall {
    id: RequestId,
    /// None once the answer is there.
    course: Option<Course>,
    /// The answer, until what was said before it has been heard.
    answer: Option<Answer>,
    notices: Listener,
    wishes: Wishes,
    cancel: CancellationToken,
    calls: TaskTracker,
    /// Makes a shutdown wait for it.
    _place: TaskTrackerToken,
}

/// The walk of one call down the road, up to its answer. None if something of ours panicked.
type Course = Pin<Box<dyn Future<Output = Option<Answer>> + Send>>;

/// The answer to a call.
pub(crate) struct Answer {
    pub(crate) frame: Frame,
    /// The call's place on the road, given up when the answer has left.
    pub(crate) hold: Option<Permit>,
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

/// What the client wants to hear while its call runs.
struct Wishes {
    progress_token: Option<Raw>,
    log_level: Option<LogLevel>,
}

/// What comes of a running call.
pub(crate) enum News {
    /// Something that the client wants to hear meanwhile.
    Meanwhile(Frame),
    /// The answer, after which nothing comes.
    Answer(Answer),
}

impl RunningCall {
    /// What comes next. Cancellation-safe.
    pub(crate) async fn next(&mut self) -> News {
        let Self { id, course, answer, notices, wishes, .. } = self;
        loop {
            let Some(running) = course else {
                // What was said before the answer is sent before it.
                let said = std::iter::from_fn(|| notices.try_next()).find_map(|it| wishes.notice(it));
                return said.map_or_else(
                    || News::Answer(answer.take().unwrap_or_else(|| lost(id))),
                    News::Meanwhile,
                );
            };
            tokio::select! {
                biased;
                progress = notices.next() => if let Some(frame) = wishes.notice(progress) {
                    return News::Meanwhile(frame);
                },
                ended = running => {
                    (*course, *answer) = (None, ended);
                }
            }
        }
    }

    /// Goes on by itself from here: whoever follows it may be held up by a slow client, and its
    /// deadline must hold all the same.
    pub(crate) fn go_on(&mut self) {
        if let Some(course) = self.course.take() {
            let going = self.calls.spawn(course);
            self.course = Some(Box::pin(async move { going.await.ok().flatten() }));
        }
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

impl Protocol {
    /// The protocol in front of this road.
    pub fn new(road: Arc<Road>, identity: Identity) -> Self {
        Self { road, identity, calls: TaskTracker::new(), request_ids: RequestIds::new() }
    }

    /// The road behind it.
    pub fn road(&self) -> &Road {
        &self.road
    }

    /// An id for a request that brought none.
    pub(crate) fn request_id(&self) -> Arc<str> {
        self.request_ids.next()
    }

    /// Waits until every running call has ended. New ones may still begin.
    pub async fn drain(&self) {
        self.calls.close();
        self.calls.wait().await;
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

    /// Answers what needs no walk: everything but calls.
    pub(crate) fn answer(&self, question: &Question, era: Era, principal: &Principal) -> Raw {
        match question {
            Question::Initialize { revision, .. } => result::initialize(&self.identity, *revision),
            Question::Discover => result::discover(&self.identity),
            Question::Ping | Question::SetLogLevel(_) => Raw::empty_object(),
            Question::ListTools => result::tools(era, &self.road.list(principal)),
        }
    }

    /// Starts a call.
    pub(crate) fn begin(&self, beginning: Beginning) -> Result<RunningCall, RpcError> {
        let Beginning { id, call, context, sender, running } = beginning;
        let cancel = CancellationToken::new();
        if let Some(running) = &running
            && !running.begin(&id, &cancel)
        {
            return Err(RpcError::new(INVALID_REQUEST, "a request of this `id` is running: use a new id"));
        }
        let notices = Listener::default();
        let era = context.era();
        let arrival = Arrival {
            principal: sender.principal,
            address: sender.address,
            request_id: sender.request_id,
            client: context.client,
            name: call.name,
            arguments: call.arguments,
        };
        let road = Arc::clone(&self.road);
        let stop = cancel.clone();
        let answered = id.clone();
        let wishes = Wishes { progress_token: context.progress_token, log_level: context.log_level };
        let listener = wishes.is_any().then(|| notices.clone());
        let walk = AssertUnwindSafe(async move { road.call(arrival, stop, listener).await }).catch_unwind();
        let course = Box::pin(async move {
            let walked = walk.await.ok();
            if let Some(running) = running {
                running.end(&id);
            }
            let (reply, hold) = walked?;
            Some(Answer { frame: reply_frame(&id, era, reply), hold })
        });
        let (calls, place) = (self.calls.clone(), self.calls.token());
        Ok(RunningCall {
            id: answered,
            course: Some(course),
            answer: None,
            notices,
            wishes,
            cancel,
            calls,
            _place: place,
        })
    }
}

fn reply_frame(id: &RequestId, era: Era, reply: Reply) -> Frame {
    match reply {
        Reply::Result(raw) => Frame::result(id, result::complete(era, raw)),
        Reply::Error { code, message, data } => Frame::error(Some(id), &RpcError { code, message, data }),
    }
}

/// The answer to a call that ended without one, which only a panic of ours can cause.
fn lost(id: &RequestId) -> Answer {
    let error =
        RpcError::new(hayward_mcp::error::INTERNAL_ERROR, "the call was lost: look into the server's log");
    Answer { frame: Frame::error(Some(id), &error), hold: None }
}

impl Wishes {
    fn is_any(&self) -> bool {
        self.progress_token.is_some() || self.log_level.is_some()
    }

    /// Progress as a notification, if the client wants to hear it.
    fn notice(&self, progress: Progress) -> Option<Frame> {
        match progress {
            Progress::Step { progress, total, message } => {
                let mut params = ObjectWriter::new(120)
                    .raw("progressToken", self.progress_token.as_ref()?)
                    .raw("progress", &Raw::of(&progress).ok()?);
                if let Some(total) = total {
                    params = params.raw("total", &Raw::of(&total).ok()?);
                }
                if let Some(message) = message {
                    params = params.str("message", &message);
                }
                Some(Frame::notification("notifications/progress", &params.end()))
            }
            Progress::Log { level, logger, data } => {
                let is_wanted = LogLevel::find(&level)? >= self.log_level?;
                let mut params = ObjectWriter::new(data.as_bytes().len() + 80).str("level", &level);
                if let Some(logger) = logger {
                    params = params.str("logger", &logger);
                }
                is_wanted
                    .then(|| Frame::notification("notifications/message", &params.raw("data", &data).end()))
            }
        }
    }
}
