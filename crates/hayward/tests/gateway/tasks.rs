//! Calls with which a server goes on by itself: asked for where they are, for as long as somebody wants them.

use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use hayward_testkit::modern::Modern;
use serde_json::{Value, json};

use crate::forgetful::{answer, read};
use crate::rig::{PATIENCE, Rig, python};

/// How often the servers here want to be asked, in milliseconds.
const POLL_MS: u64 = 400;

/// A modern server whose calls are tasks, which only the process that began them knows.
const BEGINNER: &str = r#"
import uuid
ME, KNOWN = uuid.uuid4().hex, {}
CAPABILITIES = {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}
TOOLS = [tool("go")]
TIMES = {"createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttlMs": None, "pollIntervalMs": 100}
def complete(**more):
    return {"resultType": "complete", **more}
def call(name, arguments, params):
    id = uuid.uuid4().hex
    KNOWN[id] = 0
    return {"resultType": "task", "taskId": id, "status": "working", **TIMES}
def get(params):
    id = params["taskId"]
    KNOWN[id] = KNOWN.get(id, 9) + 1
    if KNOWN[id] < 2:
        return complete(taskId=id, status="working", **TIMES)
    said = ME if KNOWN[id] < 9 else "another process has begun this"
    return complete(taskId=id, status="completed", result=complete(**text(said)), **TIMES)
METHODS = {
    "server/discover": lambda _: complete(supportedVersions=["2026-07-28"], capabilities=CAPABILITIES, ttlMs=0,
                                          cacheScope="private", serverInfo={"name": "t", "version": "1"}),
    "tasks/get": get,
}
"#;

/// The task, as soon as it has this status.
async fn reached(client: &Modern, task: &Value, status: &str) -> Value {
    let started = Instant::now();
    loop {
        let got = client.result("tasks/get", json!({ "taskId": task })).await.unwrap();
        if got["status"] == status {
            return got;
        }
        assert!(started.elapsed() < PATIENCE, "it is never {status}: {got}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_task_is_asked_for_at_the_instance_that_has_it() {
    let (rig, path) = (Rig::start(), "/servers/b/mcp");
    let mut spec = python(BEGINNER);
    spec["replicas"] = json!(3);
    spec["era"] = json!("modern");
    rig.declare("servers", "b", spec).await;
    let run = |list: &Value| {
        list.as_array().into_iter().flatten().filter(|it| it["status"]["phase"] == "RUNNING").count()
    };
    rig.until("instances", |list| run(list) == 3).await;
    let token = rig.token("rw", &["b"], &[]).await;
    rig.shows(path, &token, &["go"]).await;
    let client = Modern::new(rig.daemon.address, &token).at(path);
    let mut instances = BTreeSet::new();
    for _ in 0..9 {
        let begun = client.call("go", json!({})).await.unwrap();
        assert_eq!(begun["resultType"], "task", "{begun}");
        let ended = reached(&client, &begun["taskId"], "completed").await;
        instances.insert(ended["result"]["content"][0]["text"].as_str().unwrap().to_owned());
    }
    let patient = client.able_to(json!({}));
    for _ in 0..9 {
        let told = patient.call("go", json!({})).await.unwrap();
        instances.insert(told["content"][0]["text"].as_str().unwrap().to_owned());
    }
    assert!(instances.iter().all(|instance| instance.len() == 32), "{instances:?}");
    assert!(instances.len() > 1, "one instance has had all of them");
}

/// A server elsewhere with one task, which is as far as it is told to be.
#[derive(Clone, Default)]
struct Tasking(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    /// How far the task is.
    far: Value,
    heard: Vec<Value>,
    is_down: bool,
    streams: Vec<TcpStream>,
}

impl Tasking {
    fn start() -> (Self, SocketAddr) {
        let server = Self::default();
        server.is(json!({"status": "working"}));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        server.take(listener);
        (server, address)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// From now on the task is as far as this.
    fn is(&self, far: Value) {
        self.lock().far = far;
    }

    /// Waits until it has heard this method so often, and says what it was asked the last time.
    fn hears(&self, method: &str, times: usize) -> Value {
        let of = |state: &State| {
            state.heard.iter().filter(|it| it["method"] == method).cloned().collect::<Vec<_>>()
        };
        let waited =
            self.0.1.wait_timeout_while(self.lock(), PATIENCE, |state| of(state).len() < times).unwrap();
        assert!(!waited.1.timed_out(), "{method}: {:?}", waited.0.heard);
        of(&waited.0).pop().unwrap()
    }

    /// How often it has heard this method.
    fn times(&self, method: &str) -> usize {
        self.lock().heard.iter().filter(|it| it["method"] == method).count()
    }

    fn take(&self, listener: TcpListener) -> thread::JoinHandle<()> {
        let server = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = server.lock();
                if state.is_down {
                    return;
                }
                state.streams.push(stream.try_clone().unwrap());
                let server = server.clone();
                thread::spawn(move || server.serve(stream));
            }
        })
    }

    /// Nobody is there any more.
    fn go_away(&self, address: SocketAddr) {
        self.lock().is_down = true;
        // Wakes whoever accepts.
        drop(TcpStream::connect(address));
        for stream in self.lock().streams.drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
        let gone = |_| TcpStream::connect(address).is_err();
        assert!((0..10_000).any(gone), "it still listens");
    }

    fn come_back(&self, address: SocketAddr) {
        self.lock().is_down = false;
        self.take(TcpListener::bind(address).unwrap());
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((_, _, body)) = read(&mut reader) {
            let message: Value = serde_json::from_slice(&body).unwrap_or_default();
            let result = self.result(&message);
            if reader.get_mut().write_all(answer(&message, &result, "").as_bytes()).is_err() {
                return;
            }
        }
    }

    fn result(&self, message: &Value) -> Value {
        let mut state = self.lock();
        state.heard.push(message.clone());
        self.0.1.notify_all();
        let capabilities = json!({"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
        let mut task = json!({"resultType": "task", "taskId": "theirs", "status": "working", "ttlMs": null,
            "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "pollIntervalMs": POLL_MS});
        match message["method"].as_str().unwrap_or_default() {
            "server/discover" => {
                json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": 0,
                "capabilities": capabilities, "cacheScope": "private", "serverInfo": {"name": "t", "version": "1"}})
            }
            "tools/list" => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "tools": [{"name": "go", "inputSchema": {"type": "object"}}]}),
            "tools/call" => task,
            "tasks/get" => {
                task["resultType"] = json!("complete");
                task.as_object_mut().unwrap().extend(state.far.as_object().unwrap().clone());
                task
            }
            _ => json!({"resultType": "complete"}),
        }
    }
}

const PATH: &str = "/servers/t/mcp";

async fn tasking() -> (Rig, Tasking, SocketAddr, Modern) {
    let (rig, (server, address)) = (Rig::start(), Tasking::start());
    let spec = json!({"externalUrl": format!("http://{address}/mcp"), "era": "modern"});
    rig.declare("servers", "t", spec).await;
    let token = rig.token("rw", &["t"], &[]).await;
    rig.shows(PATH, &token, &["go"]).await;
    let client = Modern::new(rig.daemon.address, &token).at(PATH);
    (rig, server, address, client)
}

fn completed() -> Value {
    json!({"status": "completed", "result": {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}})
}

/// A form that somebody is to fill in.
fn asking() -> Value {
    let form = json!({"mode": "form", "message": "Really?", "requestedSchema": {"type": "object", "properties": {}}});
    json!({"status": "input_required", "inputRequests": {"q": {"method": "elicitation/create", "params": form}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_asked_for_again_when_its_server_was_away_for_a_moment() {
    let (_rig, server, address, client) = tasking().await;
    let begun = client.call("go", json!({})).await.unwrap();
    server.hears("tasks/get", 1);
    server.go_away(address);
    // Long enough for one question to find nobody.
    tokio::time::sleep(Duration::from_millis(POLL_MS * 3 / 2)).await;
    server.is(completed());
    server.come_back(address);
    let ended = reached(&client, &begun["taskId"], "completed").await;
    assert_eq!(ended["result"]["content"][0]["text"], "done", "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_server_stays_away_ends_and_nobody_is_told_that_nothing_was_done() {
    let (_rig, server, address, client) = tasking().await;
    let begun = client.call("go", json!({})).await.unwrap();
    server.hears("tasks/get", 1);
    server.go_away(address);
    let ended = reached(&client, &begun["taskId"], "completed").await;
    let told = ended["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(ended["result"]["isError"], true, "{ended}");
    assert!(told.contains("may have") && !told.contains("nothing was done"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_hears_that_nobody_wants_its_task_any_more() {
    let (_rig, server, _address, client) = tasking().await;
    // By a client that knows of tasks, while the task waits for its answer.
    server.is(asking());
    let begun = client.call("go", json!({})).await.unwrap();
    reached(&client, &begun["taskId"], "input_required").await;
    client.result("tasks/cancel", json!({"taskId": begun["taskId"]})).await.unwrap();
    assert_eq!(server.hears("tasks/cancel", 1)["params"]["taskId"], "theirs");
    // While it works. Whoever asks for a task has heard that it is one.
    server.is(json!({"status": "working"}));
    let asked = server.times("tasks/get");
    let begun = client.call("go", json!({})).await.unwrap();
    server.hears("tasks/get", asked + 1);
    client.result("tasks/cancel", json!({"taskId": begun["taskId"]})).await.unwrap();
    server.hears("tasks/cancel", 2);
    // By one that doesn't, and hangs up.
    let patient = client.clone().able_to(json!({}));
    let params = json!({"name": "go", "arguments": {}});
    let asked = server.times("tasks/get");
    let events = patient.open(json!(7), "tools/call", params).await.unwrap();
    server.hears("tasks/get", asked + 1);
    drop(events);
    server.hears("tasks/cancel", 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_nothing_of_tasks_is_asked_what_a_task_asks() {
    let (_rig, server, _address, client) = tasking().await;
    let client = client.able_to(json!({"elicitation": {"form": {}}}));
    server.is(asking());
    let asked = client.call("go", json!({})).await.unwrap();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    server.is(completed());
    let responses: serde_json::Map<_, _> = asked["inputRequests"]
        .as_object()
        .unwrap()
        .keys()
        .map(|key| (key.clone(), json!({"action": "accept", "content": {}})))
        .collect();
    let params = json!({"name": "go", "arguments": {}, "requestState": asked["requestState"], "inputResponses": responses});
    let told = client.result("tools/call", params).await.unwrap();
    assert_eq!(told["content"][0]["text"], "done", "{told}");
    let updated = server.hears("tasks/update", 1);
    assert_eq!(updated["params"]["inputResponses"]["q"]["action"], "accept", "{updated}");
    // Its server was begun once.
    assert_eq!(server.times("tools/call"), 1);
}
