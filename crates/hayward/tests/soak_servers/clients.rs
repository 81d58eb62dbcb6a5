//! Two hundred clients: of both eras, at projects and at servers, each with one call after the other.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hayward_testkit::chaos::Random;
use hayward_testkit::client::{Answer, request, send_raw};
use hayward_testkit::modern::{everything, with_meta};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::rig::PATIENCE;
use crate::world::SERVERS;

/// The longest time that a client thinks between two calls, in milliseconds.
const THOUGHT_MS: u64 = 800;

/// What clients share.
pub(crate) struct Course {
    address: SocketAddr,
    tokens: Vec<String>,
    seed: u64,
    is_over: AtomicBool,
    outage: Mutex<Option<(Instant, Option<Instant>)>>,
}

/// What a client knows of a call.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) mark: String,
    pub(crate) server: &'static str,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) verdict: Verdict,
}

/// How a call ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// With its own answer.
    Done,
    /// With a question of its server, which this client leaves open.
    Asked,
    /// With an error of the tool.
    Failed(String),
    /// It was refused before it was a call.
    Refused(u16, String),
    /// There was no answer, or half of one.
    Cut,
    /// With what no call may end with.
    Wrong(String),
}

impl Entry {
    pub(crate) fn is_done(&self) -> bool {
        self.verdict == Verdict::Done
    }
}

impl Course {
    pub(crate) fn new(address: SocketAddr, tokens: Vec<String>, seed: u64) -> Self {
        Self { address, tokens, seed, is_over: AtomicBool::new(false), outage: Mutex::default() }
    }

    /// The daemon is about to be killed.
    pub(crate) fn down(&self) {
        *self.outage.lock().unwrap() = Some((Instant::now(), None));
    }

    /// It is there again.
    pub(crate) fn up(&self) {
        if let Some((_, until)) = &mut *self.outage.lock().unwrap() {
            *until = Some(Instant::now());
        }
    }

    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// From when until when there was no daemon.
    pub(crate) fn outage(&self) -> (Instant, Instant) {
        let (from, until) = self.outage.lock().unwrap().unwrap();
        (from, until.unwrap())
    }
}

struct Client {
    course: Arc<Course>,
    number: usize,
    session: Option<String>,
}

/// One client, and all that it asked for.
pub(crate) async fn run(course: Arc<Course>, number: usize) -> Vec<Entry> {
    let mut chance = Random::new(course.seed.wrapping_add(number as u64));
    let mut client = Client { course, number, session: None };
    let mut entries = Vec::new();
    while !client.course.is_over.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(chance.below(THOUGHT_MS))).await;
        let server = chance.pick(&SERVERS).unwrap().name;
        let mark = format!("mark{number}x{}", entries.len());
        let began = Instant::now();
        let verdict = client.call(server, &mark).await;
        entries.push(Entry { mark, server, began, ended: Instant::now(), verdict });
    }
    entries
}

impl Client {
    fn is_modern(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    /// Half of them see the servers as one.
    fn place(&self, server: &str) -> (String, String) {
        if self.number % 4 < 2 {
            ("/projects/all/mcp".to_owned(), format!("{server}_act"))
        } else {
            (format!("/servers/{server}/mcp"), "act".to_owned())
        }
    }

    async fn call(&mut self, server: &str, mark: &str) -> Verdict {
        let (path, tool) = self.place(server);
        // A session is one of an endpoint; at those of servers, half of the legacy clients do without.
        if !self.is_modern() && path.starts_with("/projects") && self.session.is_none() {
            self.greet(&path).await;
        }
        let params = json!({"name": tool, "arguments": {"mark": mark}});
        let answer = self.ask(&path, "tools/call", params).await;
        let Some(answer) = answer else { return Verdict::Cut };
        if answer.status == 404 || answer.status == 400 {
            self.session = None;
        }
        verdict(&answer, mark)
    }

    async fn greet(&mut self, path: &str) {
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "soak", "version": "1"}});
        let answer = self.ask(path, "initialize", hello).await;
        self.session = answer.and_then(|answer| answer.header("mcp-session-id").map(ToOwned::to_owned));
    }

    async fn ask(&self, path: &str, method: &str, mut params: Value) -> Option<Answer> {
        let course = &self.course;
        let bearer = format!("Bearer {}", course.tokens[self.number % course.tokens.len()]);
        let name = params["name"].as_str().unwrap_or_default().to_owned();
        let mut headers =
            vec![("authorization", &*bearer), ("accept", "application/json, text/event-stream")];
        if self.is_modern() {
            params = with_meta(params, &everything());
            headers.extend([
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", method),
                ("mcp-name", &name),
            ]);
        } else if let Some(session) = self.session.as_deref().filter(|_| path.starts_with("/projects")) {
            headers.extend([("mcp-protocol-version", "2025-11-25"), ("mcp-session-id", session)]);
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let request = request("POST", course.address, path, &headers, &body);
        timeout(PATIENCE, send_raw(course.address, &request)).await.ok()?.ok()
    }
}

/// What an answer says of the call with this mark.
fn verdict(answer: &Answer, mark: &str) -> Verdict {
    let is_stream = answer.header("content-type") == Some("text/event-stream");
    let bodies = if is_stream { answer.events() } else { vec![answer.body.clone()] };
    let messages = bodies.iter().filter_map(|body| serde_json::from_str::<Value>(body).ok());
    let own: Vec<Value> =
        messages.filter(|message| message["id"] == 1 && message.get("method").is_none()).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match &own[..] {
        [] if answer.status >= 400 => Verdict::Refused(answer.status, answer.body.clone()),
        [] => Verdict::Cut,
        [message] if message["error"].is_object() => {
            Verdict::Refused(answer.status, text(&message["error"]["message"]))
        }
        [message] if message["result"]["resultType"] == "input_required" => Verdict::Asked,
        [message] => {
            let (result, said) = (&message["result"], text(&message["result"]["content"][0]["text"]));
            match result["isError"] == true {
                true => Verdict::Failed(said),
                false if said == mark => Verdict::Done,
                false => Verdict::Wrong(message.to_string()),
            }
        }
        more => Verdict::Wrong(format!("{} answers: {more:?}", more.len())),
    }
}
