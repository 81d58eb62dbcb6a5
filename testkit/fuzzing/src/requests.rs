//! Target `requests`: what a request asks for, and what stands in schemas and templates. The input is a method, a
//! line break, and parameters; read as both eras read them.

use bytes::Bytes;
use hayward_mcp::abilities::Abilities;
use hayward_mcp::envelope::{Message, Request};
use hayward_mcp::era::Era;
use hayward_mcp::error::{INVALID_PARAMS, METHOD_NOT_FOUND, UNSUPPORTED_PROTOCOL_VERSION};
use hayward_mcp::json::Raw;
use hayward_mcp::limits::{NAME_BYTES_MAX, URI_BYTES_MAX};
use hayward_mcp::param_headers::ParamHeaders;
use hayward_mcp::request::{Agreed, Ask, Context, Params};
use hayward_mcp::uri_template::UriTemplate;
use http::HeaderMap;

pub(crate) fn check(input: &[u8]) {
    let (method, params) = match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &[][..]),
    };
    check_template(&String::from_utf8_lossy(method), &String::from_utf8_lossy(params));
    if let Some(request) = request(method, params) {
        check_request(&request);
    }
    if let Ok(schema) = Raw::parse(params.to_vec(), hayward_mcp::limits::JSON)
        && let Ok(headers) = ParamHeaders::of(&schema)
    {
        // Without headers only what mirrors nothing passes.
        let arguments = headers.check(&HeaderMap::new(), &Raw::empty_object());
        assert!(arguments.is_ok(), "nothing is there and nothing is repeated");
    }
}

fn request(method: &[u8], params: &[u8]) -> Option<Request> {
    let method = serde_json::to_string(&String::from_utf8_lossy(method)).ok()?;
    let head = format!(r#"{{"jsonrpc":"2.0","id":1,"method":{method},"params":"#);
    match Message::read(Bytes::from([head.as_bytes(), params, b"}"].concat())) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

fn check_request(request: &Request) {
    let params = Params::of(request);
    for era in [Era::Legacy, Era::Modern] {
        match Ask::read(&request.method, &params, era) {
            Ok(Ask::Walk(walk)) => {
                assert!(walk.arguments.is_object() && walk.name.len() <= NAME_BYTES_MAX.max(URI_BYTES_MAX));
            }
            Ok(_) => {}
            Err(error) => assert!(matches!(error.code, INVALID_PARAMS | METHOD_NOT_FOUND), "{error}"),
        }
    }
    let legacy = Context::legacy(&params, Agreed::default());
    assert_eq!((legacy.era(), legacy.abilities), (Era::Legacy, Abilities::default()));
    match Context::modern(&params) {
        Ok(context) => assert_eq!(context.era(), Era::Modern),
        Err(error) => assert!(matches!(error.code, INVALID_PARAMS | UNSUPPORTED_PROTOCOL_VERSION), "{error}"),
    }
}

/// A template that matches gives a value to each of its variables.
fn check_template(template: &str, uri: &str) {
    let Ok(template) = UriTemplate::parse(template) else {
        return;
    };
    if let Some(values) = template.matches(uri) {
        let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        assert!(template.variables().eq(names), "{template:?} {uri}");
        assert!(values.iter().all(|(_, value)| !value.is_empty()), "{template:?} {uri}");
    }
}
