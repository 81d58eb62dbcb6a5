//! A server of Streamable HTTP that forgets its sessions when it is told to, answers some calls never, and notes what it hears.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::PATIENCE;

/// How long it takes to end a session.
const DELETE_TAKES: Duration = Duration::from_millis(300);

/// The server.
#[derive(Clone, Default)]
pub(crate) struct Forgetful(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The session that is known, if one is.
    session: Option<String>,
    begun: u64,
    /// Messages, with the session that they came in.
    heard: Vec<(String, Value)>,
    /// Whether `initialize` is answered.
    is_mute: bool,
}

impl Forgetful {
    pub(crate) fn start() -> (Self, SocketAddr) {
        let server = Self::default();
        let address = accept(server.clone(), Self::serve);
        (server, address)
    }

    /// Forgets its session; whoever listens is cut off.
    pub(crate) fn forget(&self) {
        self.0.state.lock().unwrap().session = None;
        self.0.changed.notify_all();
    }

    /// Answers `initialize` from now on, or doesn't.
    pub(crate) fn mute(&self, is_mute: bool) {
        self.0.state.lock().unwrap().is_mute = is_mute;
        self.0.changed.notify_all();
    }

    /// What was heard up to now, with the sessions.
    pub(crate) fn heard(&self) -> Vec<(String, Value)> {
        self.0.state.lock().unwrap().heard.clone()
    }

    /// Waits until this holds of what was heard, with the sessions.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&[(String, Value)]) -> bool) {
        let state = self.0.state.lock().unwrap();
        let waited = self.0.changed.wait_timeout_while(state, PATIENCE, |state| !holds(&state.heard));
        let (state, waited) = waited.unwrap();
        assert!(!waited.timed_out(), "{what}: {:?}", state.heard);
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((method, headers, body)) = read(&mut reader) {
            let session = headers.get("mcp-session-id").cloned().unwrap_or_default();
            let answer = match method.as_str() {
                "POST" => self.post(&session, &serde_json::from_slice(&body).unwrap()),
                "GET" => {
                    self.listen(&session, reader.get_mut());
                    return;
                }
                _ => {
                    // Whoever doesn't wait for that has gone before it is noted.
                    thread::park_timeout(DELETE_TAKES);
                    self.0.state.lock().unwrap().heard.push((session, json!({ "method": method })));
                    self.0.changed.notify_all();
                    Some(plain(200, "", ""))
                }
            };
            // What is never answered holds its connection.
            let Some(answer) = answer else { return drop(reader.read(&mut [0])) };
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn post(&self, session: &str, message: &Value) -> Option<String> {
        let method = message["method"].as_str().unwrap_or_default().to_owned();
        let mut state = self.0.state.lock().unwrap();
        let is_known = state.session.as_deref() == Some(session);
        state.heard.push((session.to_owned(), message.clone()));
        self.0.changed.notify_all();
        if method == "initialize" {
            let mut state = self.0.changed.wait_while(state, |state| state.is_mute).unwrap();
            state.begun += 1;
            let session = format!("s{}", state.begun);
            state.session = Some(session.clone());
            let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "resources": {"subscribe": true}}, "serverInfo": {"name": "f", "version": "1"}});
            return Some(answer(message, &result, &format!("mcp-session-id: {session}\r\n")));
        }
        if !is_known {
            return Some(plain(404, "", "no such session"));
        }
        match (&message["id"], method.as_str(), &message["params"]["name"]) {
            (Value::Null, ..) => Some(plain(202, "", "")),
            (_, "tools/call", name) if name == "never" => None,
            (_, "tools/call", name) if name == "ask" => Some(asks()),
            (_, "tools/list", _) => {
                let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
                Some(answer(message, &json!({"tools": [tool("ask"), tool("echo"), tool("never")]}), ""))
            }
            (_, "resources/templates/list", _) => {
                Some(answer(message, &json!({"resourceTemplates": []}), ""))
            }
            (_, "resources/list", _) => {
                Some(answer(message, &json!({"resources": [{"uri": "note:1", "name": "n"}]}), ""))
            }
            _ => Some(answer(message, &json!({"content": [], "session": session}), "")),
        }
    }

    /// A stream on which nothing comes, until the session is forgotten.
    fn listen(&self, session: &str, stream: &mut TcpStream) {
        let state = self.0.state.lock().unwrap();
        if state.session.as_deref() != Some(session) {
            stream.write_all(plain(404, "connection: close\r\n", "").as_bytes()).ok();
            return;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
            .ok();
        let is_its = |state: &mut State| state.session.as_deref() == Some(session);
        drop(self.0.changed.wait_while(state, is_its));
    }
}

/// A port of loopback, of which each connection is served on a thread of its own.
pub(crate) fn accept<S>(server: S, serve: fn(&S, TcpStream)) -> SocketAddr
where
    S: Clone + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let server = server.clone();
            thread::spawn(move || serve(&server, stream));
        }
    });
    address
}

pub(crate) fn read(reader: &mut BufReader<TcpStream>) -> Option<(String, HashMap<String, String>, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let method = line.split(' ').next()?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, headers, body))
}

pub(crate) fn answer(message: &Value, result: &Value, headers: &str) -> String {
    let body = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
    plain(200, &format!("content-type: application/json\r\n{headers}"), &body)
}

/// A stream on which a person is asked, which is not over.
fn asks() -> String {
    let asked = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {
        "message": "Really?", "requestedSchema": {"type": "object", "properties": {}}}});
    let event = format!("event: message\ndata: {asked}\n\n");
    let head = "HTTP/1.1 200 It\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    format!("{head}{:x}\r\n{event}\r\n", event.len())
}

pub(crate) fn plain(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} It\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}
