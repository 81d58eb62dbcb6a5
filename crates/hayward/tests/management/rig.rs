//! A daemon, and requests to it.

use hayward_testkit::client::{Answer, request, send_raw};
use hayward_testkit::daemon::Daemon;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_hayward");
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A daemon with a directory of its own.
pub(crate) struct Rig {
    pub(crate) daemon: Daemon,
    pub(crate) dir: TempDir,
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(BINARY, &dir.path().join("data"), args).unwrap();
        Self { daemon, dir }
    }

    /// The administrator's token.
    pub(crate) fn admin(&self) -> &str {
        self.daemon.token("admin")
    }

    /// A request to a path under `/api/v1`.
    pub(crate) async fn send(&self, method: &str, path: &str, token: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send_as((method, path), token, &[], &body).await
    }

    /// The same with these headers.
    pub(crate) async fn send_as(
        &self,
        (method, path): (&str, &str),
        token: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut all = headers.to_vec();
        if !token.is_empty() {
            all.push(("authorization", &bearer));
        }
        let path = format!("/api/v1{path}");
        let address = self.daemon.address;
        send_raw(address, &request(method, address, &path, &all, body)).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, token, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send("POST", path, token, &body).await
    }

    /// Makes the first user; its token.
    pub(crate) async fn bootstrap(&self) -> String {
        let body = json!({"email": "ann@example.org", "password": PASSWORD, "name": "Ann"});
        let answer = self.post("/auth/bootstrap", self.admin(), body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// A user with these bindings; its token.
    pub(crate) async fn user(&self, email: &str, bindings: Value) -> String {
        let made = self.post("/users", self.admin(), json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(made.status, 201, "{}", made.body);
        if bindings.as_array().is_some_and(|bindings| !bindings.is_empty()) {
            self.grant(email, bindings).await;
        }
        self.login(email).await
    }

    /// Grants a user this.
    pub(crate) async fn grant(&self, email: &str, bindings: Value) {
        let name = email.replace('@', "-");
        let rules =
            json!({"name": name, "subjects": [{"kind": "User", "name": email}], "roleBindings": bindings});
        let made = self.post("/rbac-definitions", self.admin(), rules).await;
        assert_eq!(made.status, 201, "{}", made.body);
    }

    pub(crate) async fn login(&self, email: &str) -> String {
        let answer = self.post("/auth/login", "", json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// What was recorded so far.
    pub(crate) fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("data/audit/record.jsonl")).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The records of this name and type.
    pub(crate) fn recorded(&self, kind: &str, name: &str) -> Vec<Value> {
        self.records().into_iter().filter(|it| it["type"] == kind && it["tool"] == name).collect()
    }
}

pub(crate) fn server(name: &str) -> Value {
    json!({"name": name, "command": ["serve"]})
}
