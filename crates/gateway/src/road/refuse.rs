//! What a caller is told whose call goes no further, between steps 3 and 6.

use hayward_api::{Code, Tier};
use hayward_auth::{Action, Decision, Reason, decide};
use hayward_mcp::json::ObjectWriter;
use hayward_tool::{Abilities, ToolError, Verb};

use super::route::Route;
use super::router::Router;
use super::{Arrival, Road};
use crate::upstreams::WhyNot;

/// Why a call goes no further.
pub(super) struct Refusal<'a> {
    /// Where it would have gone, if it got so far.
    pub(super) route: Option<&'a Route>,
    pub(super) error: ToolError,
}

/// The client can't do what the call needs.
pub(crate) fn incapable(lacking: Abilities) -> ToolError {
    let capabilities = lacking.to_capabilities();
    let message =
        format!("the client does not declare the capabilities `{}`, which this needs", capabilities.as_str());
    ToolError::new("ClientCapabilityMissing", Code::Unsupported, message)
        .suggest("use a client that can do that, or another tool")
}

impl Road {
    pub(super) fn unknown<'a>(&self, arrival: &Arrival, router: &Router) -> Refusal<'a> {
        let (verb, name) = (arrival.form(), &arrival.name);
        if let Some(error) = self.not_shown(arrival) {
            return Refusal { route: None, error };
        }
        let error = match verb {
            Verb::CallTool => {
                ToolError::new("PermissionDenied", Code::NotFound, format!("Unknown tool: {name}"))
            }
            Verb::GetPrompt | Verb::CompletePrompt => {
                ToolError::new("NotFound", Code::NotFound, format!("Unknown prompt: {name}"))
            }
            Verb::ReadResource | Verb::CompleteTemplate => {
                let data = ObjectWriter::new(64).str("uri", name).end();
                let message = format!("Resource not found: {name}");
                ToolError::new("NotFound", Code::NotFound, message).with_data(data)
            }
        };
        let error = match router.suggest(verb, name, &self.policy(), &arrival.principal) {
            Some(meant) => error.suggest(format!("did you mean `{meant}`?")),
            None => error.suggest(match verb {
                Verb::CallTool => "call one of the tools that tools/list names",
                Verb::GetPrompt | Verb::CompletePrompt => "get one of the prompts that prompts/list names",
                Verb::ReadResource => "read one of the resources that resources/list names",
                Verb::CompleteTemplate => "name one of the templates that resources/templates/list names",
            }),
        };
        Refusal { route: None, error }
    }

    /// Why a tool is not shown that a server may have which the caller may use: that it is unknown would be a guess.
    fn not_shown(&self, arrival: &Arrival) -> Option<ToolError> {
        if arrival.form() != Verb::CallTool {
            return None;
        }
        let (server, own) = self.upstreams().meant(&arrival.endpoint, &arrival.name)?;
        let project = arrival.endpoint.project();
        let action = Action::Use { toolset: &server.name, project, name: own, tier: Tier::Read };
        if decide(&self.policy(), &arrival.principal, &action) != Decision::Allow {
            return None;
        }
        let name = &server.name;
        let error = match server.why_not(own)? {
            WhyNot::KeptBack(why) => {
                let message = format!("tool `{own}` of server `{name}` is kept back: {why}");
                let error = ToolError::new("NotApproved", Code::Forbidden, message);
                error.suggest(format!("ask an administrator to look at it: `hayward describe server {name}` shows it, `hayward approve` lets it pass"))
            }
            WhyNot::Starting => {
                let message = format!("server `{name}` has not said yet what it offers: it starts");
                let error = ToolError::new("ServerStarting", Code::Unavailable, message);
                error.suggest(
                    "retry in a few seconds; the first start fetches what it needs, which may take a minute",
                )
            }
            WhyNot::Unheard(why) => {
                let message = format!("server `{name}` has not said yet what it offers: {why}");
                let error = ToolError::new("UpstreamUnavailable", Code::Unavailable, message);
                error.suggest("retry later, or use something else")
            }
        };
        Some(error.unmade())
    }

    pub(super) fn denied<'a>(
        &self,
        arrival: &Arrival,
        (router, route): (&Router, &'a Route),
        reason: Reason,
    ) -> Refusal<'a> {
        match reason {
            // Beside tools, what may not be seen is unknown.
            Reason::AboveCeiling { .. } if arrival.form() != Verb::CallTool => self.unknown(arrival, router),
            Reason::AboveCeiling { needs } => {
                let name = &arrival.name;
                let message = format!("Permission denied: tool '{name}' requires {} role", needs.role());
                let way_out = match needs {
                    Tier::Read | Tier::Operate => "ask the administrator for a token with that role",
                    Tier::Danger => {
                        "no token reaches that tier: use another tool, or ask the administrator to do it"
                    }
                };
                let error = ToolError::new("PermissionDenied", Code::Forbidden, message).suggest(way_out);
                Refusal { route: Some(route), error }
            }
            // The tool is there and the role suffices: to say so tells nothing that the listing of another token wouldn't.
            Reason::NotBoundTo if arrival.form() == Verb::CallTool => {
                let name = &arrival.name;
                let message = format!("Permission denied: this token is bound to other tools than '{name}'");
                let error = ToolError::new("PermissionDenied", Code::Forbidden, message)
                    .suggest("call one of the tools that tools/list names");
                Refusal { route: Some(route), error }
            }
            Reason::NotBoundTo
            | Reason::NoCredential
            | Reason::NotAdmin
            | Reason::NotMetrics
            | Reason::ToolsetNotGranted
            | Reason::NotGranted => self.unknown(arrival, router),
        }
    }
}
