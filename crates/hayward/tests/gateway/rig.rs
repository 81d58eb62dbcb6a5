//! A daemon with servers behind it, and clients of its endpoints.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hayward_testkit::client::{Answer, post};
use hayward_testkit::daemon::Daemon;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How many tokens were made: each has a name of its own.
static TOKENS: AtomicU32 = AtomicU32::new(0);

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A server on standard input and output, in a few lines of Python: what its tools answer is up to `call(name,
/// arguments, params)`, and what else it can do to `METHODS`.
const PYTHON: &str = r#"
import json, sys, os, time
def say(message):
    sys.stdout.write(json.dumps(message) + "\n"); sys.stdout.flush()
def tool(name, **more):
    return {"name": name, "description": "Does " + name + ".", "inputSchema": {"type": "object"}, **more}
def text(value):
    return {"content": [{"type": "text", "text": value}]}
TOOLS = [tool("echo")]
CAPABILITIES = {"tools": {"listChanged": True}}
METHODS = {}
INSTRUCTIONS = "Be careful."
def call(name, arguments, params):
    return text(json.dumps(arguments))
#MORE#
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    params = message.get("params") or {}
    if id is None or method is None:
        continue
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES,
                  "serverInfo": {"name": "t", "version": "1"}, "instructions": INSTRUCTIONS}
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call":
        result = call(params["name"], params.get("arguments") or {}, params)
    elif method in METHODS:
        result = METHODS[method](params)
    elif method == "ping":
        result = {}
    else:
        say({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no " + str(method)}})
        continue
    if result is not None:
        say({"jsonrpc": "2.0", "id": id, "result": result})
"#;

/// The command of such a server with more of Python in it.
pub(crate) fn python(more: &str) -> Value {
    json!({"command": ["python3", "-u", "-c", PYTHON.replace("#MORE#", more)]})
}

/// A daemon, and what is declared there.
pub(crate) struct Rig {
    pub(crate) daemon: Daemon,
    pub(crate) folder: TempDir,
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        // Not in /tmp, which jailed programs have one of their own of.
        let folder = tempfile::Builder::new().prefix("gateway").tempdir_in("/var/tmp").unwrap();
        let daemon =
            Daemon::start_with(env!("CARGO_BIN_EXE_hayward"), &folder.path().join("data"), variables)
                .unwrap();
        Self { daemon, folder }
    }

    /// Ends the daemon, and gives what starts it again on its port.
    pub(crate) fn stop(&mut self) -> impl FnOnce(&mut Self) + use<> {
        let port = self.daemon.address.port();
        self.daemon.signal(rustix::process::Signal::TERM).unwrap();
        self.daemon.wait().unwrap();
        move |rig| {
            let data = rig.folder.path().join("data");
            rig.daemon = Daemon::start_on(env!("CARGO_BIN_EXE_hayward"), &data, port).unwrap();
        }
    }

    /// Declares a document of this kind.
    pub(crate) async fn declare(&self, plural: &str, name: &str, mut spec: Value) {
        spec["name"] = json!(name);
        let body = json!({ plural: [spec] }).to_string();
        let answer = self.manage("POST", "apply", &body).await;
        assert!(answer.status < 300, "{name}: {} {}", answer.status, answer.body);
    }

    /// Asks the control plane as the administrator.
    pub(crate) async fn manage(&self, method: &str, path: &str, body: &str) -> Answer {
        let admin = self.daemon.token("admin").to_owned();
        self.daemon.send(method, &format!("/api/v1/{path}"), &admin, body).await.unwrap()
    }

    /// A token that reaches these servers and projects.
    pub(crate) async fn token(&self, role: &str, servers: &[&str], projects: &[&str]) -> String {
        let name = format!("t{}", TOKENS.fetch_add(1, Ordering::Relaxed));
        let body = json!({"name": name, "role": role, "reach": {"servers": servers, "projects": projects}});
        let admin = self.daemon.token("admin").to_owned();
        let answer = self.daemon.send("POST", "/admin/tokens", &admin, &body.to_string()).await.unwrap();
        answer.json()["token"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
    }

    /// Asks an endpoint as a legacy client without a session.
    pub(crate) async fn ask(&self, path: &str, token: &str, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let bearer = format!("Bearer {token}");
        let answer = post(self.daemon.address, path, &[("authorization", &bearer)], &body).await.unwrap();
        answer.json()
    }

    /// The names of the tools that are shown there.
    pub(crate) async fn tools(&self, path: &str, token: &str) -> Vec<String> {
        let answer = self.ask(path, token, "tools/list", json!({})).await;
        let tools = answer["result"]["tools"].as_array().cloned().unwrap_or_default();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until these tools are shown there, in any order.
    pub(crate) async fn shows(&self, path: &str, token: &str, names: &[&str]) {
        let (started, mut expected) = (Instant::now(), names.to_vec());
        expected.sort_unstable();
        loop {
            let mut shown = self.tools(path, token).await;
            shown.sort();
            if shown == expected {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{path} shows {shown:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Calls a tool there.
    pub(crate) async fn call(&self, path: &str, token: &str, tool: &str, arguments: Value) -> Value {
        self.ask(path, token, "tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Waits until this holds of an answer of the control plane.
    pub(crate) async fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.manage("GET", path, "").await.json();
            if holds(&answer) {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "{path}: {answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The text of a result.
pub(crate) fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}
