//! Step 4, route: where a name leads, and how it is used there.

use std::sync::Arc;
use std::time::Duration;

use hayward_api::Tier;
use hayward_auth::Action;
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::param_headers::ParamHeaders;
use hayward_mcp::result::CacheHint;
use hayward_telemetry::metrics::CallMeter;
use hayward_tool::{BoxFuture, Call, Cx, Outcome, Prompt, Resource, ResourceUri, Tool, Verb};

use crate::limits::CALL_TIMEOUT_MAX;
use crate::upstreams::{Offered, Server, Upstreams};

/// Where a name leads.
#[derive(Clone)]
pub(crate) struct Route {
    /// The server that it is of.
    pub(crate) toolset: Arc<str>,
    /// The project in which it is met.
    pub(super) project: Option<Arc<str>>,
    /// Its place among the servers of its endpoint.
    pub(super) attached: usize,
    /// The name that clients know it by.
    pub(crate) exposed: Arc<str>,
    /// Its element of a list.
    pub(super) definition: Raw,
    /// Where calls of it are counted, if it is a tool.
    pub(super) meter: Option<Arc<CallMeter>>,
    pub(super) item: Item,
}

#[derive(Clone)]
pub(super) enum Item {
    Tool(Arc<dyn Tool>, Arc<ParamHeaders>),
    Resource(Arc<dyn Resource>),
    Prompt(Arc<dyn Prompt>),
    Offered(Arc<Server>, Arc<Offered>),
    /// Every resource of the one server of an endpoint, whether it lists it or not.
    Anything(Arc<Server>, Arc<Offered>),
}

impl Item {
    /// Its own name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Tool(tool, _) => tool.descriptor().name.as_str(),
            Self::Prompt(prompt) => &prompt.descriptor().name,
            Self::Resource(resource) => match &resource.descriptor().uri {
                ResourceUri::One(uri) => uri,
                ResourceUri::Template(template) => template.as_str(),
            },
            Self::Offered(_, offered) | Self::Anything(_, offered) => &offered.own,
        }
    }

    /// Its element of a list under this name.
    pub(super) fn definition(&self, exposed: &str) -> Raw {
        match self {
            Self::Tool(tool, _) => named(&tool.descriptor().definition(), self.name(), exposed),
            Self::Resource(resource) => resource.descriptor().definition(),
            Self::Prompt(prompt) => named(&prompt.descriptor().definition(), self.name(), exposed),
            Self::Offered(_, offered) | Self::Anything(_, offered) => offered.definition_as(exposed),
        }
    }
}

/// A definition of ours under another name.
fn named(definition: &Raw, own: &str, exposed: &str) -> Raw {
    if own == exposed {
        return definition.clone();
    }
    let members = Object::of(definition).unwrap_or_else(Object::empty);
    let object = ObjectWriter::new(definition.as_bytes().len() + 32).str("name", exposed);
    let others = members.iter().filter(|member| !member.is("name"));
    others.fold(object, ObjectWriter::member).end()
}

impl Route {
    /// Its own name.
    pub(crate) fn name(&self) -> &str {
        self.item.name()
    }

    /// The server of others that it is of.
    pub(crate) fn server(&self) -> Option<&Arc<Server>> {
        match &self.item {
            Item::Offered(server, _) | Item::Anything(server, _) => Some(server),
            Item::Tool(..) | Item::Resource(_) | Item::Prompt(_) => None,
        }
    }

    /// How risky it is.
    pub(crate) fn tier(&self) -> Tier {
        match &self.item {
            Item::Tool(tool, _) => tool.descriptor().tier,
            Item::Resource(resource) => resource.descriptor().tier,
            Item::Prompt(prompt) => prompt.descriptor().tier,
            Item::Offered(_, offered) | Item::Anything(_, offered) => offered.tier,
        }
    }

    /// How long it may take at most.
    pub(crate) fn timeout(&self) -> Duration {
        match &self.item {
            Item::Tool(tool, _) => tool.descriptor().timeout,
            Item::Resource(resource) => resource.descriptor().timeout,
            Item::Prompt(prompt) => prompt.descriptor().timeout,
            // How long it may say nothing is seen to there.
            Item::Offered(..) | Item::Anything(..) => CALL_TIMEOUT_MAX,
        }
    }

    /// Whether it lies at a server that has instances.
    pub(crate) fn has_instances(&self) -> bool {
        matches!(self.item, Item::Offered(..) | Item::Anything(..))
    }

    /// The arguments that its server gets beside or in the place of these; none if it gets these alone.
    pub(crate) fn set(&self, said: &Raw) -> Option<Raw> {
        match &self.item {
            Item::Offered(_, offered) => offered.set(said),
            Item::Tool(..) | Item::Resource(_) | Item::Prompt(_) | Item::Anything(..) => None,
        }
    }

    /// Whether it names an argument of this name.
    pub(crate) fn declares(&self, argument: &str) -> bool {
        match &self.item {
            Item::Tool(tool, _) => Object::of(&tool.descriptor().input_schema)
                .and_then(|schema| schema.get_object("properties"))
                .is_some_and(|properties| properties.has(argument)),
            Item::Offered(_, offered) => offered.declares(argument),
            Item::Resource(_) | Item::Prompt(_) | Item::Anything(..) => true,
        }
    }

    /// Whether it runs as a task only.
    pub(crate) fn needs_task(&self) -> bool {
        // What goes on at a server of others is followed for clients that can't.
        matches!(&self.item, Item::Tool(tool, _) if tool.descriptor().needs_task)
    }

    /// Who may keep what it says, and for how long.
    pub(crate) fn cache(&self) -> CacheHint {
        match &self.item {
            Item::Resource(resource) => resource.descriptor().cache,
            // What a server of others says of that counts for nobody else.
            Item::Tool(..) | Item::Prompt(_) | Item::Offered(..) | Item::Anything(..) => CacheHint::PRIVATE,
        }
    }

    /// The headers that repeat its arguments.
    pub(crate) fn param_headers(&self) -> Option<Arc<ParamHeaders>> {
        match &self.item {
            Item::Tool(_, headers) => Some(Arc::clone(headers)),
            Item::Offered(_, offered) => Some(Arc::clone(&offered.headers)),
            Item::Resource(_) | Item::Prompt(_) | Item::Anything(..) => None,
        }
    }

    /// The action that using it is.
    pub(crate) fn action(&self) -> Action<'_> {
        let (name, tier) = (self.name(), self.tier());
        Action::Use { toolset: &self.toolset, project: self.project.as_deref(), name, tier }
    }

    /// Where calls of it are counted.
    pub(crate) fn meter(&self) -> Option<&CallMeter> {
        self.meter.as_deref()
    }

    /// Runs one call.
    pub(crate) fn run<'a>(
        &'a self,
        upstreams: &'a Upstreams,
        cx: &'a Cx,
        call: Call,
    ) -> BoxFuture<'a, Outcome> {
        match (&self.item, call.verb) {
            (Item::Tool(tool, _), _) => tool.call(cx, call),
            (Item::Resource(resource), Verb::CompleteTemplate) => resource.complete(cx, call),
            (Item::Resource(resource), _) => resource.read(cx, call),
            (Item::Prompt(prompt), Verb::CompletePrompt) => prompt.complete(cx, call),
            (Item::Prompt(prompt), verb) => match prompt.descriptor().check(&call.arguments) {
                Ok(()) => prompt.get(cx, call),
                Err(error) => Box::pin(async move { Outcome::failed(verb, error) }),
            },
            (Item::Offered(server, offered) | Item::Anything(server, offered), _) => {
                Box::pin(async move { upstreams.call(server, offered, cx, &call).await })
            }
        }
    }

    /// Whether a template begins with more than a scheme: with a place that is its own.
    pub(super) fn is_rooted(&self) -> bool {
        let literal = self.exposed.split('{').next().unwrap_or_default();
        literal.split_once(':').is_some_and(|(_, place)| !place.trim_start_matches('/').is_empty())
    }

    pub(super) fn matches(&self, uri: &str) -> bool {
        match &self.item {
            Item::Resource(resource) => resource.descriptor().matches(uri),
            Item::Offered(_, offered) => {
                offered.template.as_ref().is_some_and(|template| template.matches(uri).is_some())
            }
            Item::Anything(..) => true,
            Item::Tool(..) | Item::Prompt(_) => false,
        }
    }
}
