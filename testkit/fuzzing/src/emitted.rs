//! Target `differential`: what we write, others read as it was meant: as JSON, as a line, as an event.
//!
//! One input makes one frame of every kind, with the input as text and, if it is JSON, as a value.

use bytes::Bytes;
use hayward_mcp::envelope::{Frame, RequestId};
use hayward_mcp::era::{Era, Revision};
use hayward_mcp::error::RpcError;
use hayward_mcp::json::{ArrayWriter, Raw};
use hayward_mcp::limits::JSON;
use hayward_mcp::request::List;
use hayward_mcp::result::{self as results, Identity, Offers};
use hayward_mcp::sse;
use hayward_mcp::stdio::{Line, write_line};

use crate::tree::Tree;
use crate::{UNLIMITED, events, lines};

/// A value of the greatest depth lies some levels deep in its frame.
const DEPTH_MAX: usize = JSON.depth_max + 8;

/// A frame and what it means.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// As our code makes it.
    pub frame: Frame,
    /// As it is to be read.
    pub meaning: Tree,
}

impl Emitted {
    /// The frame as a line of standard output.
    pub fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        let written = lines::at_once(write_line(&mut line, self.frame.clone()));
        assert!(matches!(written, Some(Ok(()))), "memory takes what is written");
        line
    }

    /// The frame as an event of a stream.
    pub fn event(&self) -> Vec<u8> {
        sse::event(self.frame.clone()).concat()
    }
}

pub(crate) fn check(input: &[u8]) {
    let emitted = frames(input);
    let flat: Vec<_> = emitted.iter().map(check_frame).collect();
    let lines: Vec<_> = emitted.iter().flat_map(Emitted::line).collect();
    let expect: Vec<_> = flat.iter().cloned().map(Line::Message).collect();
    assert_eq!(lines::read(vec![&lines], UNLIMITED), expect);
    let stream: Vec<_> = emitted.iter().flat_map(|it| [sse::KEEP_ALIVE, &it.event()].concat()).collect();
    let events = events::read(&[&stream], UNLIMITED).into_iter().map(events::whole);
    let events: Vec<_> = events.map(|event| (event.event, event.data)).collect();
    let expect: Vec<_> = flat.into_iter().map(|data| ("message".into(), data)).collect();
    assert_eq!(events, expect);
}

/// Compares a frame with what it means; returns its text as both framings carry it, without line breaks.
fn check_frame(Emitted { frame, meaning }: &Emitted) -> Bytes {
    let text = frame.to_vec();
    assert_eq!(frame.byte_len(), text.len());
    assert_eq!(&read(&text), meaning);
    let flat: Bytes = text.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }).collect();
    if text != flat {
        assert_eq!(&read(&flat), meaning);
    }
    flat
}

/// Frames of every kind, made of the input.
pub fn frames(input: &[u8]) -> Vec<Emitted> {
    let text = &*String::from_utf8_lossy(input);
    let raw = Raw::parse(input.to_vec(), JSON).unwrap_or_else(|_| Raw::of(text).expect("text is JSON"));
    let code = i64::try_from(input.len()).unwrap_or(i64::MAX) - 32_768;
    let id = &id_of(text, code);
    let mut frames = vec![
        result(id, raw.clone(), tree(&raw)),
        refusal(Some(id), RpcError::new(code, text)),
        refusal(None, RpcError::method_not_found(text).with_data(raw.clone())),
        notification(text, &raw),
    ];
    frames.extend([Era::Legacy, Era::Modern].map(|era| tools(id, era, &raw)));
    frames.extend(introductions(id, text));
    if raw.is_object() {
        frames.extend([Era::Legacy, Era::Modern].map(|era| completed(id, era, &raw)));
    }
    frames
}

/// The text as an id if it is short enough, else a number.
fn id_of(text: &str, number: i64) -> RequestId {
    let read = |raw: Raw| RequestId::read(&raw).ok();
    let id = Raw::of(text).ok().and_then(read).or_else(|| Raw::of(&number).ok().and_then(read));
    id.expect("a small number is an id")
}

fn answer(frame: Frame, id: Option<&RequestId>, (key, value): (&str, Tree)) -> Emitted {
    let id = id.map_or(Tree::Null, |id| tree(id.as_raw()));
    Emitted { frame, meaning: Tree::object([("jsonrpc", Tree::text("2.0")), ("id", id), (key, value)]) }
}

fn result(id: &RequestId, raw: Raw, meaning: Tree) -> Emitted {
    answer(Frame::result(id, raw), Some(id), ("result", meaning))
}

fn refusal(id: Option<&RequestId>, error: RpcError) -> Emitted {
    let frame = Frame::error(id, &error);
    let mut members =
        vec![("code".into(), Tree::number(error.code)), ("message".into(), Tree::text(error.message))];
    members.extend(error.data.map(|data| ("data".into(), tree(&data))));
    answer(frame, id, ("error", Tree::Object(members)))
}

fn notification(method: &str, params: &Raw) -> Emitted {
    let frame = Frame::notification(method, params);
    let [jsonrpc, method, params] = [Tree::text("2.0"), Tree::text(method), tree(params)];
    Emitted { frame, meaning: Tree::object([("jsonrpc", jsonrpc), ("method", method), ("params", params)]) }
}

/// The list of tools with the value as its only definition, twice.
fn tools(id: &RequestId, era: Era, raw: &Raw) -> Emitted {
    let mut list = ArrayWriter::new(0);
    list.push(raw);
    list.push(raw);
    let tools = ("tools", Tree::Array(vec![tree(raw), tree(raw)]));
    let meaning = match era {
        Era::Legacy => Tree::object([tools]),
        Era::Modern => {
            let [ttl, scope] = private();
            Tree::object([complete(), ttl, scope, tools])
        }
    };
    result(id, results::list(era, List::Tools, &list.end()), meaning)
}

fn completed(id: &RequestId, era: Era, raw: &Raw) -> Emitted {
    let value = tree(raw);
    let mut members = value.members().unwrap_or_default().to_vec();
    match era {
        Era::Legacy => members.retain(|(key, _)| key != "resultType"),
        Era::Modern if value.get("resultType").is_none() => {
            let (key, kind) = complete();
            members.insert(0, (key.to_owned(), kind));
        }
        Era::Modern => {}
    }
    result(id, results::complete(era, raw.clone()), Tree::Object(members))
}

/// What `initialize` and `server/discover` answer when every text of ours is this one.
fn introductions(id: &RequestId, text: &str) -> [Emitted; 2] {
    let identity = Identity { name: text.into(), version: text.into(), instructions: text.into() };
    let info = Tree::object([("name", Tree::text(text)), ("version", Tree::text(text))]);
    let tools = Tree::object([("listChanged", Tree::Bool(true))]);
    let abilities = Tree::object([("logging", Tree::object([])), ("tools", tools)]);
    let legacy = Tree::object([
        ("protocolVersion", Tree::text("2025-06-18")),
        ("capabilities", abilities.clone()),
        ("serverInfo", info.clone()),
        ("instructions", Tree::text(text)),
    ]);
    let [ttl, scope] = private();
    let modern = Tree::object([
        complete(),
        ("supportedVersions", Tree::Array(vec![Tree::text("2026-07-28")])),
        ("capabilities", abilities),
        ("instructions", Tree::text(text)),
        ttl,
        scope,
        ("_meta", Tree::object([("io.modelcontextprotocol/serverInfo", info)])),
    ]);
    let initialize = results::initialize(&identity, Offers::default(), Revision::V2025_06_18);
    let discover = results::discover(&identity, Offers::default());
    [result(id, initialize, legacy), result(id, discover, modern)]
}

fn complete() -> (&'static str, Tree) {
    ("resultType", Tree::text("complete"))
}

fn private() -> [(&'static str, Tree); 2] {
    [("ttlMs", Tree::number(0)), ("cacheScope", Tree::text("private"))]
}

fn tree(raw: &Raw) -> Tree {
    read(raw.as_bytes())
}

fn read(json: &[u8]) -> Tree {
    Tree::read(json, DEPTH_MAX).expect("what we write is JSON")
}
