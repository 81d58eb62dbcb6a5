//! The headers of a message: what its body says, said again where the transport wants it.

use hayward_mcp::envelope::Request;
use hayward_mcp::era::Era;
use hayward_mcp::http::{METHOD, NAME, PROTOCOL_VERSION, SESSION_ID};
use hayward_mcp::json::{Object, Raw};
use hayward_mcp::param_headers::ParamHeaders;
use hayward_mcp::request::Params;
use hayward_mcp::upstream::header_value;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::Shared;
use crate::limits::LISTED_TOOLS_MAX;

impl Shared {
    /// The headers of any message of this session.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = self.credential.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        for (name, value) in [(SESSION_ID, self.session.id()), (PROTOCOL_VERSION, self.session.revision())] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// The headers of a request: a modern one says its revision, its method and what that is applied to.
    pub(super) fn headers_of(&self, request: &Request) -> HeaderMap {
        let mut headers = self.headers();
        if request.method == "initialize" {
            headers.remove(SESSION_ID);
            headers.remove(PROTOCOL_VERSION);
        }
        if Self::era(request) == Era::Legacy {
            return headers;
        }
        headers.remove(SESSION_ID);
        let params = Params::of(request);
        if let Some(version) = params.version() {
            headers.insert(PROTOCOL_VERSION, header_value(&version));
        }
        headers.insert(METHOD, header_value(&request.method));
        let name = ["name", "uri", "taskId"].into_iter().find_map(|key| params.get_str(key));
        if let Some(name) = &name {
            headers.insert(NAME, header_value(name));
            self.mirror(name, request, &mut headers);
        }
        headers
    }

    fn mirror(&self, tool: &str, request: &Request, headers: &mut HeaderMap) {
        if request.method != "tools/call" {
            return;
        }
        let mirrored = self.mirrored.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(mirrored) = mirrored.get(tool) else { return };
        let arguments =
            request.params.as_ref().and_then(Object::of).and_then(|params| params.get("arguments"));
        for (name, text) in mirrored.of_call(&arguments.unwrap_or_else(Raw::empty_object)) {
            headers.insert(name, header_value(&text));
        }
    }

    /// Learns from a list of tools which arguments are repeated in headers.
    pub(super) fn learn(&self, result: &Raw) {
        let Some(tools) = Object::of(result).and_then(|result| result.get("tools")) else { return };
        let mut known = self.mirrored.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for tool in tools.elements(LISTED_TOOLS_MAX) {
            let Some(tool) = Object::of(&tool) else { continue };
            let (Some(name), Some(schema)) = (tool.get_str("name"), tool.get("inputSchema")) else {
                continue;
            };
            match ParamHeaders::of(&schema) {
                Ok(headers) if !headers.is_empty() => drop(known.insert(name.into_owned(), headers)),
                _ => drop(known.remove(&*name)),
            }
        }
    }
}
