//! A daemon with servers that misbehave.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use hayward_testkit::chaos::{Elsewhere, Fault, Program};
use hayward_testkit::daemon::Daemon;
use serde_json::{Value, json};

use crate::rig::{PATIENCE, Rig};

/// Seconds that a server may say nothing.
pub(crate) const TIMEOUT_S: u64 = 1;

pub(crate) struct Yard {
    pub(crate) rig: Rig,
    pub(crate) program: Program,
    pub(crate) token: String,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) answer: Value,
    pub(crate) took: Duration,
}

impl Called {
    pub(crate) fn text(&self) -> &str {
        self.answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
    }

    /// Whether it is the answer of the call with this mark.
    pub(crate) fn is_answer(&self, mark: &str) -> bool {
        self.answer["result"]["isError"] != true && self.text() == mark
    }

    pub(crate) fn is_error(&self) -> bool {
        self.answer["result"]["isError"] == true
    }
}

impl Yard {
    /// With a token for these servers, which are declared later.
    pub(crate) async fn new(servers: &[&str]) -> Self {
        Self::with(servers, &[]).await
    }

    /// The same, with these limits.
    pub(crate) async fn with(servers: &[&str], limits: &[&str]) -> Self {
        let binary = env!("CARGO_BIN_EXE_hayward");
        let program = Program::install(&Path::new(binary).with_file_name("examples/chaos")).unwrap();
        let folder = tempfile::Builder::new().prefix("yard").tempdir_in("/var/tmp").unwrap();
        let limits: Vec<&str> = limits.iter().flat_map(|limit| ["--limit", limit]).collect();
        let daemon = Daemon::start(binary, &folder.path().join("data"), &limits).unwrap();
        let rig = Rig { daemon, folder };
        let token = rig.token("rw", servers, &[]).await;
        Self { rig, program, token }
    }

    /// A server on standard input and output.
    pub(crate) async fn stdio(&self, name: &str, args: &[&str]) {
        self.stdio_within(name, args, TIMEOUT_S).await;
    }

    /// The same, which may say nothing for so many seconds.
    pub(crate) async fn stdio_within(&self, name: &str, args: &[&str], timeout_s: u64) {
        let spec = json!({"command": [self.program.path()], "args": args, "timeoutSeconds": timeout_s,
            "resources": {"memoryMib": 512, "cpus": 2.0}});
        self.rig.declare("servers", name, spec).await;
    }

    /// A server that runs elsewhere.
    pub(crate) async fn http(&self, name: &str, args: &[&str]) -> Elsewhere {
        self.http_within(name, args, TIMEOUT_S).await
    }

    /// The same, which may say nothing for so many seconds.
    pub(crate) async fn http_within(&self, name: &str, args: &[&str], timeout_s: u64) -> Elsewhere {
        let elsewhere = Elsewhere::start(&self.program, self.rig.folder.path(), args).unwrap();
        self.at(name, &elsewhere.url(), timeout_s).await;
        elsewhere
    }

    /// A server at this address.
    pub(crate) async fn at(&self, name: &str, url: &str, timeout_s: u64) {
        let spec = json!({"externalUrl": url, "timeoutSeconds": timeout_s});
        self.rig.declare("servers", name, spec).await;
    }

    /// Calls a server that is to suffer this.
    pub(crate) async fn call(&self, server: &str, fault: Fault, mark: &str) -> Called {
        let (path, began) = (format!("/servers/{server}/mcp"), Instant::now());
        let arguments = json!({"fault": fault.name(), "mark": mark});
        let answer = self.rig.call(&path, &self.token, "act", arguments).await;
        Called { answer, took: began.elapsed() }
    }

    /// Waits until a server answers.
    pub(crate) async fn answers(&self, server: &str) {
        let started = Instant::now();
        loop {
            let called = self.call(server, Fault::None, "well").await;
            if called.is_answer("well") {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{server}: {called:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.rig.daemon.pid())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        value.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Memory of the daemon, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status("VmRSS")
    }

    /// The most that it had since this was last called, and begins anew.
    pub(crate) fn peak_kib(&self) -> u64 {
        let peak = self.status("VmHWM");
        std::fs::write(format!("/proc/{}/clear_refs", self.rig.daemon.pid()), "5").unwrap();
        peak
    }

    /// How the calls of each mark ended, by the record.
    pub(crate) fn endings(&self) -> HashMap<String, Vec<String>> {
        let file = self.rig.folder.path().join("data/audit/record.jsonl");
        let text = std::fs::read_to_string(file).unwrap();
        let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut endings: HashMap<String, Vec<String>> = HashMap::new();
        let mut marks: HashMap<u64, String> = HashMap::new();
        for record in records {
            if let Some(mark) = record["arguments"]["mark"].as_str().filter(|_| record["type"] == "intent") {
                marks.insert(record["seq"].as_u64().unwrap(), mark.to_owned());
                endings.entry(mark.to_owned()).or_default();
            }
            let intent = record["intent"].as_u64().filter(|_| record["type"] == "outcome");
            if let Some(mark) = intent.and_then(|intent| marks.get(&intent)) {
                let ending = record["ending"].as_str().unwrap().to_owned();
                endings.get_mut(mark).unwrap().push(ending);
            }
        }
        endings
    }
}
