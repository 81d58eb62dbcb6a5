//! A modern server that is listened to, and breaks off, refuses or goes on as it is told; and what becomes of whoever listens.

use std::collections::VecDeque;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use crate::forgetful::{accept, answer, plain, read};
use crate::rig::{PATIENCE, Rig};

/// What whoever wants to listen gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// A stream that ends at once.
    Break,
    /// A status that says to come back later.
    Refuse,
    /// No head.
    Silence,
    /// A stream that goes on.
    GoOn,
}

#[derive(Clone, Default)]
struct Listened(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    /// What the next ones get; a stream that goes on when there is none.
    turns: VecDeque<Turn>,
    /// What was given.
    given: Vec<Turn>,
    /// Streams that go on.
    open: usize,
}

impl Listened {
    fn start(turns: &[Turn]) -> (Self, SocketAddr) {
        let server = Self::default();
        server.0.0.lock().unwrap().turns.extend(turns);
        let address = accept(server.clone(), Self::serve);
        (server, address)
    }

    fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let state = self.0.0.lock().unwrap();
        let (state, waited) = self.0.1.wait_timeout_while(state, PATIENCE, |state| !holds(state)).unwrap();
        assert!(!waited.timed_out(), "{what}: {:?}, {} open", state.given, state.open);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((_, _, body)) = read(&mut reader) {
            let message: Value = serde_json::from_slice(&body).unwrap_or_default();
            let result = match message["method"].as_str().unwrap_or_default() {
                "server/discover" => json!({"resultType": "complete", "supportedVersions": ["2026-07-28"],
                    "capabilities": {"tools": {"listChanged": true}}, "ttlMs": 0, "cacheScope": "private",
                    "serverInfo": {"name": "l", "version": "1"}}),
                "tools/list" => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                    "tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}),
                "subscriptions/listen" => return self.listen(&message, &mut reader),
                _ => json!({"resultType": "complete", "content": []}),
            };
            if reader.get_mut().write_all(answer(&message, &result, "").as_bytes()).is_err() {
                return;
            }
        }
    }

    fn listen(&self, message: &Value, reader: &mut BufReader<TcpStream>) {
        let mut turn = Turn::GoOn;
        self.change(|state| {
            turn = state.turns.pop_front().unwrap_or(Turn::GoOn);
            state.given.push(turn);
        });
        let begun = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {
            "_meta": {"io.modelcontextprotocol/subscriptionId": message["id"]}, "notifications": message["params"]["notifications"]}});
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let stream = format!("{head}event: message\ndata: {begun}\n\n");
        match turn {
            Turn::Break => drop(reader.get_mut().write_all(stream.as_bytes())),
            Turn::Refuse => {
                drop(reader.get_mut().write_all(plain(503, "connection: close\r\n", "").as_bytes()));
            }
            Turn::Silence => drop(reader.read(&mut [0])),
            Turn::GoOn => {
                drop(reader.get_mut().write_all(stream.as_bytes()));
                self.change(|state| state.open += 1);
                // Until the other side hangs up.
                drop(reader.read(&mut [0]));
                self.change(|state| state.open -= 1);
            }
        }
    }
}

#[tokio::test]
async fn a_server_is_listened_to_again_whatever_came_of_the_last_time() {
    let rig = Rig::start();
    let (server, address) = Listened::start(&[Turn::Break, Turn::Refuse, Turn::Silence]);
    let spec = json!({"externalUrl": format!("http://{address}/mcp"), "era": "modern"});
    rig.declare("servers", "l", spec).await;
    server.until("it is listened to", |state| state.open == 1 && state.given.len() == 4);
}

#[tokio::test]
async fn nobody_listens_to_a_server_that_is_deleted() {
    let rig = Rig::start();
    let (server, address) = Listened::start(&[]);
    let spec = json!({"externalUrl": format!("http://{address}/mcp"), "era": "modern"});
    rig.declare("servers", "l", spec).await;
    server.until("it is listened to", |state| state.open == 1);
    let deleted = rig.manage("DELETE", "servers/l", "").await;
    assert!(deleted.status < 300, "{} {}", deleted.status, deleted.body);
    server.until("nobody listens", |state| state.open == 0);
}
