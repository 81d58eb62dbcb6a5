//! What a client that listens is told of what has changed.

use std::sync::Arc;

use hayward_api::Principal;
use hayward_mcp::envelope::{Frame, RequestId};
use hayward_mcp::json::{ArrayWriter, ObjectWriter, Raw};
use hayward_mcp::request::{Filter, Verb};
use hayward_tool::{Change, Hearing};

use crate::protocol::Protocol;
use crate::road::Road;
use crate::session::Subscribed;

const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// A client that listens.
pub(crate) struct Listening {
    hearing: Hearing,
    who: Who,
}

/// What a client wants to be told of.
enum Who {
    /// A legacy client hears of every list, and of the resources that it has subscribed to by now.
    Session(Subscribed),
    /// A modern client hears of what its one request names, under the id of that request.
    Modern { id: RequestId, filter: Filter },
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
    pub(crate) fn of_session(road: &Road, subscribed: &Subscribed) -> Self {
        Self { hearing: road.changes().listen(), who: Who::Session(subscribed.clone()) }
    }

    /// What a modern client is told, and the message that says what that will be: what is not offered, or may not be
    /// seen, is left out.
    pub(crate) fn modern(
        protocol: &Protocol,
        id: RequestId,
        mut filter: Filter,
        principal: &Principal,
    ) -> (Self, Frame) {
        let road = protocol.road();
        // From here on nothing is missed.
        let hearing = road.changes().listen();
        let offers = road.offers();
        filter.prompts &= offers.prompts;
        filter.resources &= offers.resources;
        filter.uris.retain(|uri| road.is_visible(Verb::ReadResource, uri, principal));
        filter.tasks.retain(|task| protocol.has_task(task, principal));
        let notifications = granted(&filter);
        let who = Who::Modern { id, filter };
        let params = who.with_meta(ObjectWriter::new(256)).raw("notifications", &notifications).end();
        let acknowledged = Frame::notification("notifications/subscriptions/acknowledged", &params);
        (Self { hearing, who }, acknowledged)
    }

    /// What is to be told next. Cancellation-safe.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            let frames = match self.hearing.next().await {
                hayward_tool::Heard::Change(change) => self.who.tell(&change).into_iter().collect(),
                hayward_tool::Heard::Missed => self.who.tell_everything(),
                hayward_tool::Heard::End => return Heard::End,
            };
            if !Vec::is_empty(&frames) {
                return Heard::Frames(frames);
            }
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
        self.wants(change).then(|| self.frame(change))
    }

    fn wants(&self, change: &Change) -> bool {
        match (self, change) {
            (Self::Session(subscribed), Change::Resource(uri)) => subscribed.has(uri),
            (Self::Session(_), Change::Task { .. }) => false,
            (Self::Session(_), Change::Tools | Change::Prompts | Change::Resources) => true,
            (Self::Modern { filter, .. }, change) => match change {
                Change::Tools => filter.tools,
                Change::Prompts => filter.prompts,
                Change::Resources => filter.resources,
                Change::Resource(uri) => filter.uris.iter().any(|own| **own == **uri),
                Change::Task { id, .. } => filter.tasks.iter().any(|own| **own == **id),
            },
        }
    }

    /// When some changes were missed, everything may have changed. What became of tasks is asked for anyway.
    fn tell_everything(&self) -> Vec<Frame> {
        let uris = match self {
            Self::Session(subscribed) => subscribed.all(),
            Self::Modern { filter, .. } => filter.uris.clone(),
        };
        let lists = [Change::Tools, Change::Prompts, Change::Resources];
        let resources = uris.into_iter().map(|uri| Change::Resource(uri.into()));
        lists.into_iter().chain(resources).filter_map(|change| self.tell(&change)).collect()
    }

    fn frame(&self, change: &Change) -> Frame {
        let params = self.with_meta(ObjectWriter::new(128));
        let (method, params) = match change {
            Change::Tools => ("notifications/tools/list_changed", params),
            Change::Prompts => ("notifications/prompts/list_changed", params),
            Change::Resources => ("notifications/resources/list_changed", params),
            Change::Resource(uri) => ("notifications/resources/updated", params.str("uri", uri)),
            Change::Task { task, .. } => ("notifications/tasks", params.splice(task)),
        };
        Frame::notification(method, &params.end())
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
    principal: &Principal,
) -> Result<(), hayward_mcp::error::RpcError> {
    use hayward_mcp::error::{RESOURCE_NOT_FOUND, RpcError};
    if !protocol.road().is_visible(Verb::ReadResource, uri, principal) {
        let data = ObjectWriter::new(64).str("uri", uri).end();
        let message = format!("Resource not found: {uri}");
        return Err(RpcError::new(RESOURCE_NOT_FOUND, message).with_data(data));
    }
    if !subscribed.add(uri.to_owned()) {
        return Err(RpcError::invalid_params("too many subscriptions: unsubscribe from some first"));
    }
    Ok(())
}
