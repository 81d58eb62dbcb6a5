//! What is asked of whom, and what is wanted.

use std::path::Path;

use serde_json::{Value, json};

use super::figures::{Goal, Measure};
use super::rig::Running;
use super::server::Endpoint;
use super::subject::Subject;
use super::transfer::TLS;

/// One comparison.
pub(crate) struct Case {
    /// What the report calls it.
    pub(crate) title: String,
    /// Connections, each with one call in flight.
    pub(crate) connections: usize,
    /// Who takes part.
    pub(crate) subjects: Vec<Subject>,
    /// What is wanted.
    pub(crate) goals: Vec<Goal>,
    /// What the rate counts.
    pub(crate) counts: &'static str,
}

/// What most cases count.
pub(crate) const CALLS: &str = "calls";
const SESSIONS: &str = "sessions";

/// An era as the load generator calls it, and the names of the contenders in it. All of them get the
/// same bytes.
struct Era {
    word: &'static str,
    ours: &'static str,
    axum: &'static str,
    rmcp: &'static str,
}

const LEGACY: Era =
    Era { word: "legacy", ours: "Hayward, legacy", axum: "axum, legacy bytes", rmcp: "rmcp 3.9, legacy" };

const MODERN: Era =
    Era { word: "modern", ours: "Hayward, modern", axum: "axum, modern bytes", rmcp: "rmcp 3.9, modern" };

const AXUM: &str = "axum";
const BY_HAND: &str = "axum, a map of sessions";
const ECHO: &str = "Hayward, echo";
const SDK: &str = "rmcp 3.9";
const OURS: &str = "Hayward";
const STRICT: &str = "Hayward, strict";
const TOLD: &str = "Hayward, every call told (OTLP)";
const NATIVE: &str = "mymcp 3.1.0";
const PYTHON: &str = "mymcp 2.1.1";

impl Running {
    /// All cases.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let connections = [1, 16, 64];
        let echoes = connections.map(|connections| self.echo_case(connections));
        let streams = connections.map(|connections| self.events_case(connections));
        let sessions = [self.sessions_case(1), self.sessions_case(16), self.left_sessions_case(16)];
        let further = [self.list_case(), self.strict_case(16), self.strict_case(256)];
        let protocol = echoes.into_iter().chain(streams).chain(sessions).chain(further);
        protocol.chain(self.host_cases()).collect()
    }

    fn load(&self, name: &str, endpoint: &Endpoint, words: &[&str]) -> Subject {
        Subject::load(self.rig.binary("load"), name, endpoint, words)
    }

    fn echo_case(&self, connections: usize) -> Case {
        let (mut subjects, mut goals) = (Vec::new(), Vec::new());
        for era in [LEGACY, MODERN] {
            subjects.push(self.echo(era.axum, &self.axum.endpoint, &era, &[]));
            subjects.push(self.echo(era.ours, &self.echo.endpoint, &era, &[]));
            subjects.push(self.echo(era.rmcp, &self.rmcp.endpoint, &era, &[]));
            let goal = |theirs, wanted| Goal { ours: era.ours, theirs, measure: Measure::Rps, wanted };
            goals.extend([goal(era.axum, 0.6), goal(era.rmcp, 1.3)]);
        }
        let title = format!("tools/call echo, c={connections}");
        Case { title, connections, subjects, goals, counts: CALLS }
    }

    /// The SDK refuses clients that take nothing but events, so its clients take JSON as well.
    fn events_case(&self, connections: usize) -> Case {
        const EVENTS: [&str; 2] = ["--answers", "events"];
        let (mut subjects, mut goals) = (Vec::new(), Vec::new());
        for era in [LEGACY, MODERN] {
            let ours = [&EVENTS[..], &["--accept", "events"]].concat();
            subjects.push(self.echo(era.ours, &self.echo.endpoint, &era, &ours));
            subjects.push(self.echo(era.rmcp, &self.rmcp_events.endpoint, &era, &EVENTS));
            goals.push(Goal { ours: era.ours, theirs: era.rmcp, measure: Measure::Rps, wanted: 1.5 });
        }
        let title = format!("tools/call echo, SSE answers, c={connections}");
        Case { title, connections, subjects, goals, counts: CALLS }
    }

    fn echo(&self, name: &str, endpoint: &Endpoint, era: &Era, more: &[&str]) -> Subject {
        let arguments = json!({"message": "The quick brown fox jumps over the lazy dog"}).to_string();
        let words = ["--era", era.word, "--tool", "echo", "--arguments", &arguments];
        self.load(name, endpoint, &[&words[..], more].concat())
    }

    /// Each session is `initialize`, `notifications/initialized`, `tools/list` and DELETE.
    fn sessions_case(&self, connections: usize) -> Case {
        let title = format!("new legacy sessions, c={connections}");
        let mut case = self.sessions_by_hand(title, connections, &["--work", "sessions"]);
        let words = ["--work", "sessions", "--method", "tools/list"];
        case.subjects.push(self.load(SDK, &self.rmcp_events.endpoint, &words));
        case
    }

    /// The same without DELETE, once there are as many as we keep. The SDK keeps all of them for minutes,
    /// with a task each, so it has no part in this.
    fn left_sessions_case(&self, connections: usize) -> Case {
        let title = format!("new legacy sessions, none of them ended, c={connections}");
        self.sessions_by_hand(title, connections, &["--work", "left-sessions", "--warmup-ms", "1500"])
    }

    fn sessions_by_hand(&self, title: String, connections: usize, words: &[&str]) -> Case {
        let words = [words, &["--method", "tools/list"]].concat();
        let by_hand = self.load(BY_HAND, &self.axum.endpoint.at("/sessions"), &words);
        let subjects = vec![by_hand, self.load(ECHO, &self.echo.endpoint, &words)];
        let goals = vec![Goal { ours: ECHO, theirs: BY_HAND, measure: Measure::Rps, wanted: 0.5 }];
        Case { title, connections, subjects, goals, counts: SESSIONS }
    }

    fn list_case(&self) -> Case {
        let words = ["--method", "tools/list", "--era"];
        let list = |name: &str, endpoint: &Endpoint, era: &str| {
            self.load(name, endpoint, &[&words[..], &[era]].concat())
        };
        let goal = |ours| Goal { ours, theirs: AXUM, measure: Measure::Rps, wanted: 0.5 };
        Case {
            title: "tools/list of 1,000 tools, c=4".to_owned(),
            connections: 4,
            subjects: vec![
                list(AXUM, &self.axum.endpoint.at("/bytes"), "raw"),
                list(LEGACY.ours, &self.list.endpoint, LEGACY.word),
                list(MODERN.ours, &self.list.endpoint, MODERN.word),
            ],
            goals: vec![goal(LEGACY.ours), goal(MODERN.ours)],
            counts: CALLS,
        }
    }

    /// Every call waits twice for the disk, beside what one wait takes.
    fn strict_case(&self, connections: usize) -> Case {
        let file = format!("of={}", self.rig.synced_file().display());
        let dd = ["dd", "if=/dev/zero", &file, "bs=512", "count=1", "oflag=append", "conv=notrunc,fdatasync"];
        Case {
            title: format!("tools/call echo, every record on the disk, c={connections}"),
            connections,
            subjects: vec![
                self.echo(STRICT, &self.strict_echo.endpoint, &LEGACY, &[]),
                Subject::process("dd: 512 bytes, fdatasync", &[&dd[..], &["status=none"]].concat()),
            ],
            goals: Vec::new(),
            counts: CALLS,
        }
    }

    fn host_cases(&self) -> Vec<Case> {
        let corpus = &self.rig.corpus;
        let read = |path: &Path| json!({"file_path": path});
        let written = corpus.path().join("written.txt");
        let write = json!({"file_path": written, "content": "x".repeat(1024)});
        let glob = json!({"pattern": "**/*.rs", "path": corpus.source()});
        let grep = |path: &Path| json!({"pattern": "needle_in_\\w+", "path": path});
        let read_small = Ask::of("read_file 1 KB", "read_file", &read(&corpus.small()));
        let read_long = Ask::of("read_file 2,000 lines", "read_file", &read(&corpus.lines()));
        let write = Ask::of("write_file 1 KB", "write_file", &write);
        let run = Ask::of("bash_execute true", "bash_execute", &json!({"command": "true"}));
        let glob = Ask::of("glob **/*.rs", "glob", &glob);
        let search = Ask::of("grep in a source tree", "grep", &grep(&corpus.source()));
        let search_large = Ask::of("grep in a large tree", "grep", &grep(&corpus.large()));
        let folder = corpus.large().display().to_string();
        let rg = ["rg", "--line-number", "needle_in_\\w+", &folder];
        vec![
            self.host_case(&read_small, 1, 5.0),
            self.host_case(&read_small, 16, 6.0),
            self.dressed_case(&read_small, 16),
            self.host_case(&read_long, 1, 8.0),
            self.host_case(&write, 1, 2.0).beside(self.strict(&write)),
            self.host_case(&run, 1, 2.5).beside(self.strict(&run)).against(
                "sh -c true",
                &["sh", "-c", "true"],
                2.5,
            ),
            self.host_case(&glob, 1, 3.0),
            self.host_case(&search, 1, 3.0),
            // mymcp runs `rg` here: no slower than that is what can be wanted.
            self.host_case(&search_large, 1, 1.0).against("rg", &rg, 1.0),
        ]
    }

    /// What TLS and telemetry take.
    fn dressed_case(&self, ask: &Ask, connections: usize) -> Case {
        let words = ["--tool", ask.tool, "--arguments", &ask.arguments];
        let goal = |ours, wanted| Goal { ours, theirs: OURS, measure: Measure::Rps, wanted };
        Case {
            title: format!("{}, TLS and telemetry, c={connections}", ask.what),
            connections,
            subjects: vec![
                self.load(OURS, &self.hayward.endpoint, &words),
                self.load(TLS, &self.tls.endpoint, &words),
                self.load(TOLD, &self.told.endpoint, &words),
            ],
            goals: vec![goal(TLS, 0.7), goal(TOLD, 0.95)],
            counts: CALLS,
        }
    }

    /// The same as our binary is by default.
    fn strict(&self, ask: &Ask) -> Subject {
        self.load(STRICT, &self.strict.endpoint, &["--tool", ask.tool, "--arguments", &ask.arguments])
    }

    /// A host tool against both mymcp; `wanted` is the least ratio of calls per second.
    fn host_case(&self, ask: &Ask, connections: usize, wanted: f64) -> Case {
        let words = ["--tool", ask.tool, "--arguments", &ask.arguments];
        let goal = |theirs| Goal { ours: OURS, theirs, measure: Measure::Rps, wanted };
        Case {
            title: format!("{}, c={connections}", ask.what),
            connections,
            subjects: vec![
                self.load(OURS, &self.hayward.endpoint, &words),
                self.load(NATIVE, &self.native.endpoint, &words),
                self.load(PYTHON, &self.python.endpoint, &words),
            ],
            goals: vec![goal(NATIVE), goal(PYTHON)],
            counts: CALLS,
        }
    }
}

/// A call of a host tool.
struct Ask {
    what: &'static str,
    tool: &'static str,
    arguments: String,
}

impl Ask {
    fn of(what: &'static str, tool: &'static str, arguments: &Value) -> Self {
        Self { what, tool, arguments: arguments.to_string() }
    }
}

impl Case {
    /// Adds somebody who is measured, too.
    fn beside(mut self, subject: Subject) -> Self {
        self.subjects.push(subject);
        self
    }

    /// Adds a plain process to compare the latency with; `wanted` is the greatest ratio.
    fn against(mut self, name: &'static str, words: &[&str], wanted: f64) -> Self {
        self.subjects.push(Subject::process(name, words));
        self.goals.push(Goal { ours: OURS, theirs: name, measure: Measure::P50, wanted });
        self
    }
}
