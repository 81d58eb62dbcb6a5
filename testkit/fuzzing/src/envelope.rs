//! Target `envelope`: a message is accepted if and only if `serde_json` reads it, nothing in it stands
//! twice and it is one of the three kinds; and nothing of what is accepted is lost.

use bytes::Bytes;
use hayward_mcp::envelope::{Frame, Message, Notification, Rejected, Request, RequestId};
use hayward_mcp::era::Era;
use hayward_mcp::error::{INVALID_REQUEST, PARSE_ERROR};
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::limits::{CLIENT_BYTES_MAX, ID_BYTES_MAX, ID_INTEGER_MAX, JSON, METHOD_BYTES_MAX};
use hayward_mcp::request::{Agreed, Ask, Context, Params, Verb, read_cancelled};

use crate::tree::Tree;

pub(crate) fn check(input: &[u8]) {
    let tree = read(input);
    let raw = Raw::parse(input.to_vec(), JSON);
    assert_eq!(raw.is_ok(), tree.is_ok(), "{raw:?}, {tree:?}");
    if let (Ok(raw), Ok(tree)) = (&raw, &tree) {
        check_members(raw, tree);
    }
    let tree = tree.ok();
    match Message::read(Bytes::copy_from_slice(input)) {
        Ok(message) => check_accepted(&message, &tree.expect("what is no JSON is no message")),
        Err(rejected) => check_rejected(&rejected, tree.as_ref(), input),
    }
}

fn read(json: &[u8]) -> serde_json::Result<Tree> {
    Tree::read(json, JSON.depth_max)
}

/// What our reader finds in objects is what stands there.
fn check_members(raw: &Raw, tree: &Tree) {
    assert_eq!(raw.text().as_deref(), tree.as_text());
    let (Some(object), Some(members)) = (Object::of(raw), tree.members()) else {
        assert_eq!(raw.is_object(), tree.members().is_some());
        return;
    };
    assert_eq!(object.iter().count(), members.len());
    for (member, (key, value)) in object.iter().zip(members) {
        assert_eq!(member.key(), key.as_str());
        assert!(member.is(key) && object.has(key));
        check_members(&member.value(), value);
    }
}

fn check_accepted(message: &Message, tree: &Tree) {
    assert!(is_message(tree), "{tree:?}");
    let again = read(&written(message)).expect("what is written is JSON");
    assert_eq!(again.sorted(), tree.clone().sorted());
    match message {
        Message::Request(request) => check_request(request, tree),
        Message::Notification(notification) => {
            read_cancelled(notification);
        }
        Message::Response(_) => {}
    }
}

fn check_rejected(rejected: &Rejected, tree: Option<&Tree>, input: &[u8]) {
    // An id with escapes may be too long as it is written, and only so.
    assert!(input.contains(&b'\\') || !tree.is_some_and(is_message), "{rejected:?}");
    let code = if tree.is_some() { INVALID_REQUEST } else { PARSE_ERROR };
    assert_eq!(rejected.error.code, code, "{rejected:?}");
    let answer = Frame::error(rejected.id.as_ref(), &rejected.error).to_vec();
    let answer = read(&answer).expect("a refusal is JSON");
    let id = tree.and_then(|tree| tree.get("id"));
    let answered = answer.get("id").expect("an answer has an id");
    assert!(*answered == Tree::Null || Some(answered) == id, "{answer:?}");
}

/// The message written from its parts.
fn written(message: &Message) -> Vec<u8> {
    let head = ObjectWriter::new(0).str("jsonrpc", "2.0");
    match message {
        Message::Request(Request { id, method, params }) => {
            let object = head.raw("id", id.as_raw()).str("method", method);
            with_params(object, params.as_ref()).into_bytes().into()
        }
        Message::Notification(Notification { method, params: Some(params) }) => {
            Frame::notification(method, params).to_vec()
        }
        Message::Notification(Notification { method, params: None }) => {
            head.str("method", method).end().into_bytes().into()
        }
        Message::Response(response) => match &response.result {
            Ok(result) => Frame::result(&response.id, result.clone()).to_vec(),
            Err(error) => head.raw("id", response.id.as_raw()).raw("error", error).end().into_bytes().into(),
        },
    }
}

fn with_params(object: ObjectWriter, params: Option<&Raw>) -> Raw {
    match params {
        Some(params) => object.raw("params", params).end(),
        None => object.end(),
    }
}

/// The model: JSON-RPC 2.0 without batches, `null` ids, fractions and members of one's own.
fn is_message(tree: &Tree) -> bool {
    let members = tree.members().unwrap_or_default();
    let has = |key| tree.get(key).is_some();
    let is_known = |key: &str| ["jsonrpc", "id", "method", "params", "result", "error"].contains(&key);
    let is_request = has("method") && !has("result") && !has("error");
    let is_response = !has("method") && !has("params") && has("id") && has("result") != has("error");
    members.iter().all(|(key, _)| is_known(key))
        && (is_request || is_response)
        && tree.get("jsonrpc").and_then(Tree::as_text) == Some("2.0")
        && tree.get("id").is_none_or(is_id)
        && tree.get("method").is_none_or(is_method)
        && tree.get("params").is_none_or(|params| params.members().is_some())
}

fn is_id(tree: &Tree) -> bool {
    match tree {
        Tree::Text(text) => text.len() <= ID_BYTES_MAX,
        Tree::Number(number) => {
            number.parse::<i64>().is_ok_and(|id| id.unsigned_abs() <= ID_INTEGER_MAX.unsigned_abs())
        }
        _ => false,
    }
}

fn is_method(tree: &Tree) -> bool {
    tree.as_text().is_some_and(|method| (1..=METHOD_BYTES_MAX).contains(&method.len()))
}

/// What is read of a request is what stands in it, in either era.
fn check_request(request: &Request, tree: &Tree) {
    let params = Params::of(request);
    let contexts = [Context::modern(&params).ok(), Some(Context::legacy(&params, Agreed::default()))];
    for context in contexts.into_iter().flatten() {
        assert!(context.client.len() <= CLIENT_BYTES_MAX && !context.client.contains(char::is_control));
        let token = context.progress_token.map(|token| read(token.as_bytes()).ok());
        assert!(token.is_none_or(|token| token.as_ref() == progress_token(tree)));
    }
    for era in [Era::Legacy, Era::Modern] {
        if let Ok(Ask::Walk(call)) = Ask::read(&request.method, &params, era)
            && call.verb == Verb::CallTool
        {
            check_call(&call, tree.get("params"));
        }
    }
    assert!(RequestId::read(request.id.as_raw()).is_ok());
}

fn progress_token(tree: &Tree) -> Option<&Tree> {
    tree.get("params")?.get("_meta")?.get("progressToken")
}

fn check_call(call: &hayward_mcp::request::Walk, params: Option<&Tree>) {
    let get = |key| params.and_then(|params| params.get(key));
    assert_eq!(get("name").and_then(Tree::as_text), Some(call.name.as_str()));
    let arguments = read(call.arguments.as_bytes()).expect("arguments are JSON");
    match get("arguments") {
        None | Some(Tree::Null) => assert_eq!(arguments, Tree::object([])),
        Some(given) => assert_eq!(&arguments, given),
    }
}
