//! What a client that listens is told of what has changed.

use std::collections::HashSet;
use std::sync::Arc;

use hayward_api::Principal;
use hayward_mcp::envelope::{Frame, RequestId};
use hayward_mcp::error::{RESOURCE_NOT_FOUND, RpcError};
use hayward_mcp::input::missing;
use hayward_mcp::json::{ArrayWriter, ObjectWriter, Raw};
use hayward_mcp::request::{Filter, Verb};
use hayward_tool::{Abilities, Ability, Change, Hearing};
use tokio_util::sync::CancellationToken;

use crate::endpoint::Endpoint;
use crate::protocol::Protocol;
use crate::road::Road;
use crate::session::Subscribed;
use crate::upstreams::Interest;

const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// A client that listens.
pub(crate) struct Listening {
    hearing: Hearing,
    who: Who,
    /// Where it listens: what other endpoints show is not told.
    endpoint: Endpoint,
    principal: Arc<Principal>,
    road: Arc<Road>,
    /// Fires when nobody is told of anything any more.
    quiet: CancellationToken,
}

/// What a client wants to be told of.
enum Who {
    /// A legacy client hears of every list, and of the resources that it has subscribed to by now.
    Session(Subscribed),
    /// A modern client hears of what its one request names, under the id of that request.
    Modern {
        id: RequestId,
        filter: Filter,
        protocol: Arc<Protocol>,
        principal: Arc<Principal>,
        endpoint: Endpoint,
        /// Let servers tell of the resources that it names.
        _interests: Vec<Interest>,
    },
}

/// A modern client that begins to listen.
pub(crate) struct Subscription {
    /// The id of its request.
    pub(crate) id: RequestId,
    /// What it wants to be told of.
    pub(crate) filter: Filter,
    pub(crate) abilities: Abilities,
    pub(crate) principal: Arc<Principal>,
    /// Where it listens.
    pub(crate) endpoint: Endpoint,
}

/// What was heard.
pub(crate) enum Heard {
    /// These are to be told.
    Frames(Vec<Frame>),
    /// Nothing more will come.
    End,
}

impl Listening {
    /// What a session is told.
    pub(crate) fn of_session(
        protocol: &Protocol,
        (principal, endpoint): (&Arc<Principal>, Endpoint),
        subscribed: &Subscribed,
    ) -> Self {
        let principal = Arc::clone(principal);
        let (road, who) = (protocol.shared_road(), Who::Session(subscribed.clone()));
        Self { hearing: road.changes().listen(), who, endpoint, principal, quiet: road.quiet(), road }
    }

    /// What a modern client is told, and the messages that this begins with: the one that says what it will be told of
    /// (what is not offered, or may not be seen, is left out), and how far its tasks are.
    pub(crate) fn modern(
        protocol: &Arc<Protocol>,
        subscription: Subscription,
    ) -> Result<(Self, Vec<Frame>), RpcError> {
        let Subscription { id, mut filter, abilities, principal, endpoint } = subscription;
        let (road, offers) = (protocol.shared_road(), protocol.offers(&endpoint));
        if offers.tasks && !filter.tasks.is_empty() && !abilities.has(Ability::Tasks) {
            return Err(missing(Ability::Tasks.into()));
        }
        // From here on nothing is missed.
        let hearing = road.changes().listen();
        filter.prompts &= offers.prompts;
        filter.resources &= offers.resources;
        for names in [&mut filter.uris, &mut filter.tasks] {
            let mut seen = HashSet::new();
            names.retain(|name| seen.insert(name.clone()));
        }
        let mut interests = Vec::new();
        filter.uris.retain(|uri| {
            road.is_visible(&endpoint, Verb::ReadResource, uri, &principal)
                && road.interest(&endpoint, uri).map(|interest| interests.extend(interest)).is_ok()
        });
        filter.tasks.retain(|task| protocol.has_task(task, (&principal, &endpoint)));
        let notifications = granted(&filter);
        let tasks = filter.tasks.clone();
        let who = Who::Modern {
            id,
            filter,
            protocol: Arc::clone(protocol),
            principal: Arc::clone(&principal),
            endpoint: endpoint.clone(),
            _interests: interests,
        };
        let params = who.with_meta(ObjectWriter::new(256)).raw("notifications", &notifications).end();
        let acknowledged = Frame::notification("notifications/subscriptions/acknowledged", &params);
        // What they told before is not told again, and they may have ended.
        let tasks = tasks.into_iter().filter_map(|id| who.tell(&Change::Task(id.into())));
        let opening = std::iter::once(acknowledged).chain(tasks).collect();
        Ok((Self { hearing, who, endpoint, principal, quiet: road.quiet(), road }, opening))
    }

    /// What is to be told next. Cancellation-safe.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            let heard = tokio::select! {
                biased;
                () = self.quiet.cancelled() => return Heard::End,
                heard = self.hearing.next() => heard,
            };
            let frames = match heard {
                hayward_tool::Heard::Change { of, change }
                    if self.is_shown(&of) && self.may_hear(&change) =>
                {
                    self.who.tell(&change).into_iter().collect()
                }
                hayward_tool::Heard::Change { .. } => Vec::new(),
                hayward_tool::Heard::Missed => {
                    let all = self.who.everything().into_iter();
                    all.filter(|change| self.may_hear(change))
                        .filter_map(|change| self.who.tell(&change))
                        .collect()
                }
                hayward_tool::Heard::End => return Heard::End,
            };
            if !Vec::is_empty(&frames) {
                return Heard::Frames(frames);
            }
        }
    }

    /// Whether what changed at this server, or endpoint, shows here.
    fn is_shown(&self, of: &str) -> bool {
        of.is_empty() || *of == *self.endpoint.to_string() || self.road.at(&self.endpoint).has_server(of)
    }

    /// Whether this may be told still: what was granted when the listening began may be gone by now.
    fn may_hear(&self, change: &Change) -> bool {
        match change {
            Change::Resource(uri) if self.who.wants(change) => {
                self.road.is_visible(&self.endpoint, Verb::ReadResource, uri, &self.principal)
            }
            _ => true,
        }
    }

    /// The result that ends a modern subscription.
    pub(crate) fn completed(&self) -> Option<Frame> {
        let Who::Modern { id, .. } = &self.who else {
            return None;
        };
        let result = self.who.with_meta(ObjectWriter::new(128).str("resultType", "complete")).end();
        Some(Frame::result(id, result))
    }
}

impl Who {
    fn tell(&self, change: &Change) -> Option<Frame> {
        if self.wants(change) { self.frame(change) } else { None }
    }

    fn wants(&self, change: &Change) -> bool {
        match (self, change) {
            (Self::Session(subscribed), Change::Resource(uri)) => subscribed.has(uri),
            (Self::Session(_), Change::Task(_)) => false,
            (Self::Session(_), Change::Tools | Change::Prompts | Change::Resources) => true,
            (Self::Modern { filter, .. }, change) => match change {
                Change::Tools => filter.tools,
                Change::Prompts => filter.prompts,
                Change::Resources => filter.resources,
                Change::Resource(uri) => filter.uris.iter().any(|own| **own == **uri),
                Change::Task(id) => filter.tasks.iter().any(|own| **own == **id),
            },
        }
    }

    /// When some changes were missed, everything may have changed.
    fn everything(&self) -> Vec<Change> {
        let (uris, tasks) = match self {
            Self::Session(subscribed) => (subscribed.all(), Vec::new()),
            Self::Modern { filter, .. } => (filter.uris.clone(), filter.tasks.clone()),
        };
        let lists = [Change::Tools, Change::Prompts, Change::Resources];
        let resources = uris.into_iter().map(|uri| Change::Resource(uri.into()));
        let tasks = tasks.into_iter().map(|id| Change::Task(id.into()));
        lists.into_iter().chain(resources).chain(tasks).collect()
    }

    /// What is told of a change; none of a task that is forgotten meanwhile.
    fn frame(&self, change: &Change) -> Option<Frame> {
        let params = self.with_meta(ObjectWriter::new(128));
        let (method, params) = match change {
            Change::Tools => ("notifications/tools/list_changed", params),
            Change::Prompts => ("notifications/prompts/list_changed", params),
            Change::Resources => ("notifications/resources/list_changed", params),
            Change::Resource(uri) => ("notifications/resources/updated", params.str("uri", uri)),
            Change::Task(id) => return self.task_frame(id, params),
        };
        Some(Frame::notification(method, &params.end()))
    }

    /// Tells how far a task is now: what was missed of it on the way is of no weight any more.
    fn task_frame(&self, id: &str, params: ObjectWriter) -> Option<Frame> {
        let Self::Modern { protocol, principal, endpoint, .. } = self else {
            return None;
        };
        let detail = protocol.task_detail(id, (principal, endpoint), params)?;
        Some(detail.frame(|params| Frame::notification("notifications/tasks", &params)))
    }

    fn with_meta(&self, object: ObjectWriter) -> ObjectWriter {
        match self {
            Self::Session(_) => object,
            Self::Modern { id, .. } => {
                let meta = ObjectWriter::new(96).raw(SUBSCRIPTION_ID, id.as_raw()).end();
                object.raw("_meta", &meta)
            }
        }
    }
}

fn granted(filter: &Filter) -> Raw {
    let mut object = ObjectWriter::new(256);
    for (key, is_wanted) in [
        ("toolsListChanged", filter.tools),
        ("promptsListChanged", filter.prompts),
        ("resourcesListChanged", filter.resources),
    ] {
        if is_wanted {
            object = object.bool(key, true);
        }
    }
    for (key, names) in [("resourceSubscriptions", &filter.uris), ("taskIds", &filter.tasks)] {
        if !names.is_empty() {
            let mut array = ArrayWriter::new(128);
            for name in names {
                array.push_str(name);
            }
            object = object.raw(key, &array.end());
        }
    }
    object.end()
}

/// Legacy: wants to hear of a resource; refused if it is unknown or there are too many.
pub(crate) fn subscribe(
    protocol: &Arc<Protocol>,
    subscribed: &Subscribed,
    uri: &str,
    (principal, endpoint): (&Principal, &Endpoint),
) -> Result<(), RpcError> {
    let road = protocol.road();
    if !road.is_visible(endpoint, Verb::ReadResource, uri, principal) {
        let data = ObjectWriter::new(64).str("uri", uri).end();
        let message = format!("Resource not found: {uri}");
        return Err(RpcError::new(RESOURCE_NOT_FOUND, message).with_data(data));
    }
    let too_many = || RpcError::invalid_params("too many subscriptions: unsubscribe from some first");
    let interest = road.interest(endpoint, uri).map_err(|_| too_many())?;
    if !subscribed.add(uri.to_owned(), interest) {
        return Err(too_many());
    }
    Ok(())
}
