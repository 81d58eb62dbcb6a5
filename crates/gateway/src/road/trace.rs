//! A call as a span, by the conventions of OpenTelemetry for MCP.
//!
//! Arguments, results and what a client calls things that there aren't are not told: they are the record's.

use std::time::Duration;

use hayward_api::Ending;
use hayward_mcp::era::Revision;
use hayward_mcp::error::{
    INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, RESOURCE_NOT_FOUND,
};
use hayward_telemetry::otlp::{Attribute, Ended, Spans, Started};
use hayward_tool::{Outcome, Reached, Reply, Verb};

use super::Arrival;

type Attributes<'a> = Vec<(&'static str, Attribute<'a>)>;

/// Attributes that a call has at most.
const ATTRIBUTES_MAX: usize = 15;

/// Tells a call at its end. `target` is the name of the tool, prompt or resource, if there is one.
pub(super) fn tell(
    (spans, started): (&Spans, Started),
    took: Duration,
    (arrival, target): (&Arrival, Option<&str>),
    (outcome, reached): (&Outcome, Option<&Reached>),
) {
    let verb = arrival.form();
    let method = verb.method();
    let named = match verb {
        Verb::CallTool => target.map(|tool| ("gen_ai.tool.name", tool)),
        Verb::GetPrompt => target.map(|prompt| ("gen_ai.prompt.name", prompt)),
        // An address of a resource is a client's word.
        Verb::ReadResource | Verb::CompletePrompt | Verb::CompleteTemplate => None,
    };
    let mut attributes: Attributes<'_> = Vec::with_capacity(ATTRIBUTES_MAX);
    attributes.push(("mcp.method.name", Attribute::Text(method)));
    attributes.extend(named.map(|(key, target)| (key, Attribute::Text(target))));
    if verb == Verb::CallTool {
        attributes.push(("gen_ai.operation.name", Attribute::Text("execute_tool")));
    }
    let revision = arrival.revision.map(Revision::as_str);
    attributes.extend(revision.map(|revision| ("mcp.protocol.version", Attribute::Text(revision))));
    let rpc_id = arrival.rpc_id.as_ref().map(|id| id.as_raw().as_str().trim_matches('"'));
    attributes.extend(rpc_id.map(|id| ("jsonrpc.request.id", Attribute::Text(id))));
    attributes.push(("hayward.request_id", Attribute::Text(&arrival.request_id)));
    if arrival.correlation_id != arrival.request_id {
        attributes.push(("hayward.correlation_id", Attribute::Text(&arrival.correlation_id)));
    }
    let session = arrival.session.as_deref();
    attributes.extend(session.map(|session| ("mcp.session.id", Attribute::Text(session))));
    attributes.extend(reached.map(|it| ("hayward.instance", Attribute::Text(&it.instance))));
    let address = arrival.source.address.map(|address| (address.ip().to_string(), address.port()));
    network(address.as_ref(), &mut attributes);
    let code = match outcome.reply {
        Reply::Error { code, .. } => Some((code, code.to_string())),
        Reply::Result(_) | Reply::Ask { .. } | Reply::GoOn { .. } => None,
    };
    let is_error = match &code {
        Some((code, text)) => {
            attributes.push(("rpc.response.status_code", Attribute::Text(text)));
            attributes.push(("error.type", Attribute::Text(text)));
            !is_of_client(*code)
        }
        None => outcome.verdict.ending != Ending::Ok,
    };
    if is_error && code.is_none() {
        attributes.push(("error.type", Attribute::Text("tool_error")));
    }
    let target = named.map(|(_, target)| target);
    spans.end(started, took, &Ended { method, target, attributes: &attributes, is_error });
}

fn network<'a>(address: Option<&'a (String, u16)>, attributes: &mut Attributes<'a>) {
    let Some((address, port)) = address else {
        return attributes.push(("network.transport", Attribute::Text("pipe")));
    };
    attributes.push(("network.transport", Attribute::Text("tcp")));
    attributes.push(("network.protocol.name", Attribute::Text("http")));
    attributes.push(("client.address", Attribute::Text(address)));
    attributes.push(("client.port", Attribute::Number((*port).into())));
}

/// Whether the client has asked wrongly: that is no error of a server.
fn is_of_client(code: i64) -> bool {
    [PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, RESOURCE_NOT_FOUND].contains(&code)
}
