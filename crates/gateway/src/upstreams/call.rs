//! The end of the road at a server: one request to it, and all that comes of it until there is an answer.
//!
//! ```text
//!  begin ──► request ──► progress, log lines ──► response ──► complete: the result, to the letter
//!                │                                       ├──► input_required: questions, and its state
//!                │                                       └──► task: followed by us, or by a task of ours
//!                └──► a legacy server asks ──► the call is held ──► the client's answers ──► it goes on
//! ```

mod asked;
mod ended;
mod held;
mod said;
pub(super) mod task;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Instant;

use hayward_api::Code;
use hayward_api::definition::Sharing;
use hayward_mcp::error::RpcError;
use hayward_mcp::json::Raw;
use hayward_mcp::logging::LogLevel;
use hayward_mcp::upstream::{Asked, Exchange, Outgoing, Step, Upstream, UpstreamError};
use hayward_tool::{Abilities, Ability, Call, Caller, Cx, Outcome, Reply, ToolError, Verb};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::answer::{self, Answered};
use super::asks::{Asks, Taking};
use super::held::Held;
use super::interest::Interests;
use super::links::{Link, Links, Owner};
use super::offered::Offered;
use super::params;
use super::questions;
use super::server::Server;
use super::state::State;
use crate::limits::TELL_TIMEOUT;
use asked::asked;
use ended::Ended;

/// What calls of all servers share.
pub(crate) struct Shared {
    pub(crate) links: Arc<dyn Links>,
    pub(crate) held: Held,
    pub(crate) asks: Asks,
    pub(crate) tasks: TaskTracker,
    /// The resources that somebody wants to hear of.
    pub(crate) interests: Arc<Interests>,
}

impl Shared {
    /// Refuses what a server asks and nobody here can answer, beside whatever it is asked. A server that asks and takes no
    /// answers gets none after a while.
    pub(crate) fn refuse(&self, server: &Server, upstream: &Arc<Upstream>, mut asked: Asked) {
        let Ok(place) = Arc::clone(&server.refusals).try_acquire_owned() else { return };
        let answer = if asked.request.method == "ping" {
            Ok(Raw::empty_object())
        } else {
            Err(nobody(&asked.request.method))
        };
        // It may be long, and is of no use any more.
        asked.request.params = None;
        let upstream = Arc::clone(upstream);
        self.tasks.spawn(async move {
            drop(timeout(TELL_TIMEOUT, upstream.answer(&asked, answer)).await);
            drop(place);
        });
    }
}

/// One call of one thing of one server.
pub(crate) struct Calling<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) server: &'a Arc<Server>,
    pub(crate) offered: &'a Offered,
    pub(crate) cx: &'a Cx,
    pub(crate) call: &'a Call,
}

/// What a request comes to, as far as its server says.
enum Came {
    Response(Result<Raw, Raw>),
    /// It waits for something that only the client can answer.
    Question(Asked),
}

/// A call that the breaker of its server has let in, and that it is told of.
struct Trying<'a> {
    server: &'a Server,
    is_told: bool,
}

impl Trying<'_> {
    /// Tells how it went. What the server answered, if only with an error, is no failure of its; nor is what its caller may
    /// have caused: an answer that is too long, or one that takes too long.
    fn ended(mut self, outcome: &Result<Outcome, Ended>) {
        self.is_told = true;
        let mut breaker = self.server.breaker();
        match outcome {
            Ok(_) => breaker.worked(),
            Err(Ended::Wire(
                UpstreamError::Connection(_)
                | UpstreamError::Ended
                | UpstreamError::Status { status: 500.., .. },
            )) => breaker.failed(Instant::now(), super::jitter()),
            Err(Ended::Failed(error)) if error.kind == Code::Unavailable => {
                breaker.failed(Instant::now(), super::jitter());
            }
            Err(Ended::Wire(_) | Ended::Midway(_) | Ended::Silent | Ended::Failed(_) | Ended::Stopped(_)) => {
                breaker.left();
            }
        }
    }
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        // Dropped in the middle, it tells nothing.
        if !self.is_told {
            self.server.breaker().left();
        }
    }
}

/// A request in flight.
struct Going {
    link: Link,
    exchange: Exchange,
    /// What takes what the server asks beside the stream of the request, where somebody can be asked.
    taking: Option<Taking>,
}

impl Calling<'_> {
    /// Runs it. What comes of it is an outcome whatever the server does.
    pub(crate) async fn run(&self) -> Outcome {
        match self.answered().await {
            Ok(Outcome { reply: Reply::Ask { requests, state }, verdict, detail }) => {
                let shown = |request| questions::shown(&self.server.name, request);
                let requests = requests.into_iter().map(shown).collect();
                Outcome { reply: Reply::Ask { requests, state }, verdict, detail }
            }
            Ok(outcome) => outcome,
            Err(ended) => Outcome::failed(self.call.verb, self.error(ended)),
        }
    }

    async fn answered(&self) -> Result<Outcome, Ended> {
        match State::read(self.call.round.state.as_ref()) {
            // Boxed, as all that is rare: otherwise every call has room for it.
            State::Held(id) => Box::pin(self.follow_held(&id)).await,
            State::Task { id, instance, poll } => {
                let link = self.link_to(&instance).await?;
                Box::pin(self.follow_task(link, id, poll)).await
            }
            State::None | State::Theirs(_) => {
                self.wants_instances()?;
                let _place = self.place()?;
                let trying = self.enter()?;
                let outcome = self.begin().await;
                trying.ended(&outcome);
                outcome
            }
        }
    }

    /// One that is to have no instances is not waited for.
    fn wants_instances(&self) -> Result<(), Ended> {
        if self.server.spec.replicas > 0 {
            return Ok(());
        }
        let name = &self.server.name;
        let message = format!("server `{name}` is switched off: it is to have no instances (`replicas: 0`)");
        let way_out = format!(
            "retrying doesn't help; whoever administers this can say `hayward patch server {name} replicas=1`"
        );
        let error = ToolError::new("UpstreamUnavailable", Code::Unavailable, message);
        Err(Ended::Failed(error.suggest(way_out).unmade()))
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Ended> {
        let place = Arc::clone(&self.server.places).try_acquire_owned();
        place.map_err(|_| {
            let message = format!("server `{}` has as many calls as it may have at once", self.server.name);
            Ended::Failed(
                ToolError::new("RateLimited", Code::RateLimited, message)
                    .suggest("wait for one to end, then retry")
                    .unmade(),
            )
        })
    }

    fn enter(&self) -> Result<Trying<'_>, Ended> {
        let entered = self.server.breaker().enter(Instant::now());
        entered.map(|()| Trying { server: self.server, is_told: false }).map_err(|wait| {
            let message =
                format!("server `{}` has failed again and again; it is left alone for now", self.server.name);
            let retry = format!("retry in {:.0} s, or use something else", wait.as_secs_f64().ceil());
            let error = ToolError::new("UpstreamUnavailable", Code::Unavailable, message);
            Ended::Failed(error.suggest(retry).unmade())
        })
    }

    /// A connection of whoever may share one.
    async fn link(&self) -> Result<Link, Ended> {
        let (links, name) = (&self.shared.links, &*self.server.name);
        let waiting = async {
            match self.owner() {
                None => match links.shared(name) {
                    Some(link) => Ok(link),
                    None => links.wanted(name).await,
                },
                Some(owner) => links.own(name, &owner).await,
            }
        };
        let link = tokio::select! {
            biased;
            link = waiting => link.map_err(|away| Ended::Failed(self.away(&away)))?,
            stop = self.cx.stopped() => return Err(Ended::Stopped(stop)),
        };
        self.cx.reach(&link.instance, link.is_new);
        Ok(link)
    }

    /// A connection to the instance that has a task, if it is still there. Whatever comes of that, the task was begun.
    async fn link_to(&self, instance: &str) -> Result<Link, Ended> {
        let known = self.is_shared().then(|| self.shared.links.at(&self.server.name, instance)).flatten();
        let Some(link) = known else {
            return self.link().await.map_err(|ended| match ended {
                Ended::Failed(error) => Ended::Failed(ToolError { is_unmade: false, ..error }),
                ended => ended,
            });
        };
        self.cx.reach(&link.instance, false);
        Ok(link)
    }

    /// Whether everybody's calls go over one connection.
    fn is_shared(&self) -> bool {
        self.server.sharing() == Sharing::Shared
    }

    fn owner(&self) -> Option<Owner> {
        owner_of(self.server, &self.call.caller)
    }

    async fn begin(&self) -> Result<Outcome, Ended> {
        let link = self.link().await?;
        let mut silence = pin!(self.silence());
        let going = match self.open(link, silence.as_mut()).await {
            // Nothing was done: another instance may do it.
            Err(Ended::Wire(error)) if !error.may_have_arrived() && self.is_shared() => {
                let link = self.link().await?;
                Box::pin(self.open(link, silence.as_mut())).await
            }
            going => going,
        };
        self.follow(going?, silence).await
    }

    /// Fires when the server has said nothing for as long as it may.
    fn silence(&self) -> Sleep {
        sleep(self.offered.timeout)
    }

    /// Sends the request. Some servers answer only when they are done, so that this takes as long as they do.
    async fn open(&self, link: Link, mut silence: Pin<&mut Sleep>) -> Result<Going, Ended> {
        let params = params::of(self.offered, self.call);
        // A template stands for many resources: which one is meant, the client has said.
        let name = if self.call.verb == Verb::ReadResource { &self.call.name } else { &self.offered.own };
        let outgoing = self.outgoing(self.call.verb.method(), &params, name);
        let number = link.upstream.number();
        // From before the server hears of the request.
        let mut taking = self.take(&link);
        let opened = {
            let mut opening = pin!(link.upstream.request_as(number, &outgoing));
            loop {
                break tokio::select! {
                    biased;
                    opened = &mut opening => opened.map_err(Ended::Wire),
                    // There is no stream of the request yet on which the call could be held.
                    asked = asked(taking.as_mut()) => {
                        self.refuse(&link.upstream, asked);
                        continue;
                    }
                    () = &mut silence => Err(Ended::Silent),
                    stop = self.cx.stopped() => Err(Ended::Stopped(stop)),
                };
            }
        };
        match opened {
            Ok(exchange) => Ok(Going { link, exchange, taking }),
            Err(ended) => {
                self.leave(&link, taking);
                self.withdraw(&link.upstream, number, &ended);
                Err(ended)
            }
        }
    }

    fn outgoing<'o>(&'o self, method: &'o str, params: &'o Raw, name: &'o str) -> Outgoing<'o> {
        let mirrored = (self.call.verb == Verb::CallTool).then_some(&*self.offered.headers);
        let has_listener = self.cx.has_listener();
        Outgoing {
            has_progress: has_listener,
            log_level: has_listener.then_some(LogLevel::Debug),
            abilities: self.abilities(),
            mirrored,
            is_alone: has_listener && !self.is_shared(),
            ..Outgoing::new(method, Some(params)).on(name)
        }
    }

    /// What whoever is asked can do: what goes on by itself is followed here for clients that know nothing of tasks.
    fn abilities(&self) -> Abilities {
        let abilities = self.call.caller.abilities;
        if self.call.is_patient { abilities.with(Ability::Tasks) } else { abilities }
    }

    /// Reads what comes of a request until there is an answer, or a question to the client.
    async fn follow(&self, going: Going, silence: Pin<&mut Sleep>) -> Result<Outcome, Ended> {
        let Going { link, mut exchange, mut taking } = going;
        let number = exchange.id();
        let came = self.hear(&link, (&mut exchange, taking.as_mut()), silence).await;
        self.leave(&link, taking);
        match came {
            Ok(Came::Response(response)) => self.finish(link, response).await,
            Ok(Came::Question(asked)) => Box::pin(self.hold(link, exchange, asked)).await,
            Err(ended) => {
                drop(exchange);
                self.withdraw(&link.upstream, number, &ended);
                Err(ended)
            }
        }
    }

    /// Hears what the server says of a request, and answers what it asks of us.
    async fn hear(
        &self,
        link: &Link,
        (exchange, mut taking): (&mut Exchange, Option<&mut Taking>),
        mut silence: Pin<&mut Sleep>,
    ) -> Result<Came, Ended> {
        loop {
            match self.step((&mut *exchange, taking.as_deref_mut()), silence.as_mut()).await? {
                Step::Progress(params) => {
                    silence.as_mut().reset(tokio::time::Instant::now() + self.offered.timeout);
                    self.tell_progress(&params);
                }
                Step::Notification(notification) => {
                    if notification.method == super::LOGGED {
                        self.tell_log(notification.params.as_ref());
                    }
                }
                // One at a time: what is asked beside it waits for nobody.
                Step::Request(asked) => {
                    if let Some(asked) = Box::pin(self.ask(link, asked)).await {
                        return Ok(Came::Question(asked));
                    }
                }
                Step::Response(response) => return Ok(Came::Response(response)),
            }
        }
    }

    async fn step(
        &self,
        (exchange, taking): (&mut Exchange, Option<&mut Taking>),
        silence: Pin<&mut Sleep>,
    ) -> Result<Step, Ended> {
        tokio::select! {
            biased;
            // First, as a server may have ever more to say.
            stop = self.cx.stopped() => Err(Ended::Stopped(stop)),
            step = exchange.next() => step.map_err(Ended::Wire),
            asked = asked(taking) => Ok(Step::Request(asked)),
            () = silence => Err(Ended::Silent),
        }
    }

    async fn finish(&self, link: Link, response: Result<Raw, Raw>) -> Result<Outcome, Ended> {
        match answer::read(self.call.verb, response) {
            Answered::Outcome(outcome) => Ok(outcome),
            Answered::Broken(what) => Err(Ended::Wire(UpstreamError::Protocol(what))),
            Answered::Task { id, poll } => {
                if self.call.caller.abilities.has(Ability::Tasks) && self.call.verb == Verb::CallTool {
                    let instance = link.instance.as_ref().to_owned();
                    return Ok(Outcome::go_on(Some(State::Task { id, instance, poll }.write())));
                }
                Box::pin(self.follow_task(link, id, poll)).await
            }
        }
    }
}

/// Whose connection calls of this caller go over; nobody's where all share one.
pub(super) fn owner_of(server: &Server, caller: &Caller) -> Option<Owner> {
    let (credential, abilities) = (&caller.principal.credential, caller.abilities);
    let key = match server.sharing() {
        Sharing::Shared => return None,
        Sharing::Principal => credential.as_str().into(),
        // A client without a session has none to share it with but its own later calls.
        Sharing::Session => match &caller.session {
            Some(session) => format!("{credential}/{session}").into(),
            None => credential.as_str().into(),
        },
    };
    Some(Owner { key, abilities })
}

/// What a request to a legacy server is answered with that nobody here can answer.
pub(crate) fn nobody(method: &str) -> RpcError {
    RpcError::method_not_found(method)
}
