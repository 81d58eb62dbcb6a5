//! Requests as either era writes them, read into one form that nothing behind has to tell apart.

mod context;
mod read;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::abilities::Abilities;
use crate::envelope::Request;
use crate::era::{Era, Revision};
use crate::input::Answers;
use crate::json::{Object, Raw};
use crate::logging::LogLevel;
pub use context::{Agreed, Context, META_IDEMPOTENCY_KEY, unsupported_version};
pub(crate) use context::{META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_VERSION};
pub use read::read_cancelled;

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Something that is answered at once.
    Question(Question),
    /// Something at the end of the road.
    Walk(Walk),
    /// Modern: tell of changes until one of us hangs up.
    Listen(Filter),
    /// Modern: something about a task.
    Task(TaskAsk),
}

/// What is answered at once.
#[derive(Clone, Debug)]
pub enum Question {
    /// Legacy: begin a session.
    Initialize {
        /// The revision that will be spoken.
        revision: Revision,
        /// Who the client says it is.
        client: Arc<str>,
        /// What it can do when it is asked.
        abilities: Abilities,
    },
    /// Modern: who are you, what can you do.
    Discover,
    /// Legacy: are you there.
    Ping,
    /// Legacy: send log messages from this level on.
    SetLogLevel(LogLevel),
    /// What is there.
    List(List),
    /// Legacy: tell of changes of this resource.
    Subscribe(String),
    /// Legacy: tell of them no more.
    Unsubscribe(String),
}

/// The lists that a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// Tools.
    Tools,
    /// Resources with an URI of their own.
    Resources,
    /// Templates of further resources.
    Templates,
    /// Prompts.
    Prompts,
}

impl List {
    /// The method of the protocol.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
            Self::Prompts => "prompts/list",
        }
    }

    /// The member of the result that holds it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }
}

/// What can be done with what lies at the end of the road.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// Call a tool.
    CallTool,
    /// Read a resource.
    ReadResource,
    /// Get a prompt.
    GetPrompt,
    /// Complete an argument of a prompt.
    CompletePrompt,
    /// Complete a variable of a template.
    CompleteTemplate,
}

impl Verb {
    /// The method of the protocol.
    pub const fn method(self) -> &'static str {
        match self {
            Self::CallTool => "tools/call",
            Self::ReadResource => "resources/read",
            Self::GetPrompt => "prompts/get",
            Self::CompletePrompt | Self::CompleteTemplate => "completion/complete",
        }
    }
}

/// Something at the end of the road.
#[derive(Clone, Debug)]
pub struct Walk {
    /// What to do with it.
    pub verb: Verb,
    /// Its name, as the client knows it; the URI of a resource or of a template.
    pub name: String,
    /// The arguments: an object. Those of a completion hold `argument` and perhaps `context`.
    pub arguments: Raw,
    /// What the client sends along from the last round.
    pub answers: Answers,
    /// The key under which the client may repeat the call without doing it twice; unchecked.
    pub idempotency_key: Option<String>,
    /// The parameters as they came, for who passes them on: an object.
    pub params: Raw,
}

/// What a modern client wants to be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Changes of the list of tools.
    pub tools: bool,
    /// Changes of the list of prompts.
    pub prompts: bool,
    /// Changes of the lists of resources and of templates.
    pub resources: bool,
    /// Changes of these resources.
    pub uris: Vec<String>,
    /// What becomes of these tasks.
    pub tasks: Vec<String>,
}

/// Something about a task (SEP-2663).
#[derive(Clone, Debug)]
pub enum TaskAsk {
    /// How far it is.
    Get(String),
    /// Here is what it asked for.
    Update(String, Answers),
    /// End it.
    Cancel(String),
}

impl TaskAsk {
    /// The method of the protocol.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Get(_) => "tasks/get",
            Self::Update(..) => "tasks/update",
            Self::Cancel(_) => "tasks/cancel",
        }
    }
}
/// The parameters of a request, taken apart once.
#[derive(Clone, Debug)]
pub struct Params {
    raw: Raw,
    members: Object,
    meta: Object,
}

impl Params {
    /// The parameters of a request; none are an empty object.
    pub fn of(request: &Request) -> Self {
        let raw = request.params.clone().filter(Raw::is_object).unwrap_or_else(Raw::empty_object);
        let members = Object::of(&raw).unwrap_or_else(Object::empty);
        let meta = members.get_object("_meta").unwrap_or_else(Object::empty);
        Self { raw, members, meta }
    }

    /// Which era the request's own content says it is of.
    pub fn era(&self) -> Era {
        if self.meta.has(META_VERSION) { Era::Modern } else { Era::Legacy }
    }

    /// The parameter of this name, if it is a string.
    pub fn get_str(&self, name: &str) -> Option<Cow<'_, str>> {
        self.members.get_str(name)
    }

    /// The revision that the body names, if it names one.
    pub fn version(&self) -> Option<Cow<'_, str>> {
        self.meta.get_str(META_VERSION)
    }
}

#[cfg(test)]
impl Params {
    /// The parameters that this text is.
    fn for_test(text: &str) -> Self {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{text}}}"#);
        match crate::envelope::Message::read(text.into()).unwrap() {
            crate::envelope::Message::Request(request) => Self::of(&request),
            other => panic!("{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_a_request_tells_its_era() {
        for (params, era) in [
            (r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"x"}}"#, Era::Modern),
            (r#"{"_meta":{"progressToken":1}}"#, Era::Legacy),
            ("{}", Era::Legacy),
        ] {
            assert_eq!(Params::for_test(params).era(), era, "{params}");
        }
    }
}
