//! What is asked of gateways, and what is wanted of ours.

use serde_json::json;

use super::proxies::Proxies;
use super::{Gateways, LISTED};
use crate::bench::cases::{CALLS, Case};
use crate::bench::figures::{Goal, Measure};
use crate::bench::rig::Rig;
use crate::bench::server::Endpoint;
use crate::bench::subject::Subject;

const HTTP: &str = "gateway, HTTP upstream, tools/call echo";
const LINES: &str = "gateway, stdio upstream, tools/call echo";
const MUCH: &str = "gateway, HTTP upstream, tools/call with a result of 1 MiB";
const LISTS: &str = "gateway, tools/list of a project";

/// An upstream called without a gateway, and through ours, in an era.
struct Era {
    word: &'static str,
    direct: &'static str,
    ours: &'static str,
}

const LEGACY: Era = Era { word: "legacy", direct: "direct, legacy", ours: "Hayward, legacy" };
const MODERN: Era = Era { word: "modern", direct: "direct, modern", ours: "Hayward, modern" };

const DIRECT: &str = "direct";
const DIRECT_LINES: &str = "direct, stdio";
const DIRECT_HTTP: &str = "direct, HTTP";
const OURS: &str = "Hayward";
const REDACTING: &str = "Hayward, redacting";
const AXUM: &str = "axum, the same bytes";

/// How long others may take to begin as many sessions as there are connections, before it counts.
const SLOW_START_MS: u32 = 1500;

/// What the tool is called with.
fn arguments() -> String {
    json!({"message": "The quick brown fox jumps over the lazy dog"}).to_string()
}

/// Whether a case that has this in its title, or what else gateways are measured for, is one of theirs.
pub(crate) fn is_wanted(only: &str) -> bool {
    [HTTP, LINES, MUCH, LISTS].iter().any(|title| title.contains(only) || only.starts_with(title))
}

/// Makes the cases.
pub(crate) struct Gateway<'a> {
    pub(crate) rig: &'a Rig,
    pub(crate) running: &'a Gateways,
}

impl Gateway<'_> {
    /// All cases.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let connections = [1, 16, 64];
        let http = connections.map(|connections| self.http_case(connections));
        let lines = connections.map(|connections| self.lines_case(connections));
        let much = [1, 8].map(|connections| self.much_case(connections));
        http.into_iter().chain(lines).chain(much).chain([self.list_case()]).collect()
    }

    fn load(&self, name: &str, endpoint: &Endpoint, words: &[&str]) -> Subject {
        Subject::load(self.rig.binary("load"), name, endpoint, words)
    }

    fn call(&self, name: &str, endpoint: &Endpoint, (era, tool): (&str, &str)) -> Subject {
        self.load(name, endpoint, &["--era", era, "--tool", tool, "--arguments", &arguments()])
    }

    /// A call through the crate, which speaks the newest revision of the legacy era.
    fn call_of_crate(&self, endpoint: &Endpoint) -> Subject {
        let (tool, revision) = (Proxies::CRATE_TOOL, Proxies::CRATE_REVISION);
        self.load(
            Proxies::CRATE,
            endpoint,
            &["--revision", revision, "--tool", tool, "--arguments", &arguments()],
        )
    }

    fn http_case(&self, connections: usize) -> Case {
        let Gateways { echo, http, proxies, .. } = self.running;
        let (mut subjects, mut goals) = (Vec::new(), Vec::new());
        for era in [LEGACY, MODERN] {
            let ours = http.endpoint.at(&format!("/servers/{}/mcp", era.word));
            subjects.push(self.call(era.direct, &echo.endpoint, (era.word, "echo")));
            subjects.push(self.call(era.ours, &ours, (era.word, "echo")));
            goals.push(share(connections, era.ours, era.direct));
            goals.push(Goal::bound(era.ours, Measure::CpuUs, 60.0));
            goals.push(Goal::bound(era.ours, Measure::RssMib, 30.0));
        }
        subjects.push(self.call_of_crate(&proxies.crate_http.endpoint));
        goals.push(beats(LEGACY.ours, Proxies::CRATE, 1.0));
        Case { title: format!("{HTTP}, c={connections}"), connections, subjects, goals, counts: CALLS }
    }

    fn lines_case(&self, connections: usize) -> Case {
        let Gateways { echo, lines, proxies, .. } = self.running;
        let program = Endpoint {
            url: format!("stdio:{}", self.rig.binary("mcp-echo").display()),
            ..Endpoint::default()
        };
        let ours = lines.endpoint.at("/servers/lines/mcp");
        let mut case = Case {
            title: format!("{LINES}, c={connections}"),
            connections,
            subjects: vec![
                self.call(DIRECT_LINES, &program, ("legacy", "echo")),
                self.call(DIRECT_HTTP, &echo.endpoint, ("legacy", "echo")),
                self.call(OURS, &ours, ("legacy", "echo")),
                self.call_of_crate(&proxies.crate_lines.endpoint),
                self.call(Proxies::NODE, &proxies.node.endpoint, ("legacy", "echo")).after(SLOW_START_MS),
                self.call(Proxies::PYTHON, &proxies.python.endpoint, ("legacy", "echo")).after(SLOW_START_MS),
            ],
            goals: vec![
                beats(OURS, DIRECT_LINES, 0.25),
                beats(OURS, DIRECT_HTTP, 0.25),
                beats(OURS, Proxies::CRATE, 1.0),
            ],
            counts: CALLS,
        };
        if connections > 1 {
            case.goals.extend([Proxies::NODE, Proxies::PYTHON].map(|theirs| beats(OURS, theirs, 10.0)));
        }
        case.goals.push(Goal::bound(OURS, Measure::RssMib, 40.0));
        case
    }

    fn much_case(&self, connections: usize) -> Case {
        let Gateways { echo, much, redacting, .. } = self.running;
        let through = |daemon: &Endpoint| daemon.at("/servers/legacy/mcp");
        Case {
            title: format!("{MUCH}, c={connections}"),
            connections,
            subjects: vec![
                self.call(DIRECT, &echo.endpoint, ("legacy", "much")),
                self.call(OURS, &through(&much.endpoint), ("legacy", "much")),
                self.call(REDACTING, &through(&redacting.endpoint), ("legacy", "much")),
            ],
            goals: vec![beats(OURS, DIRECT, 0.5)],
            counts: CALLS,
        }
    }

    fn list_case(&self) -> Case {
        let Gateways { project, bytes, .. } = self.running;
        let project = project.endpoint.at("/projects/all/mcp");
        let list = |name: &str, endpoint: &Endpoint, era: &str| {
            self.load(name, endpoint, &["--method", "tools/list", "--era", era])
        };
        let (servers, tools) = LISTED;
        Case {
            title: format!("{LISTS}, {servers} servers × {tools} tools, c=4"),
            connections: 4,
            subjects: vec![
                list(AXUM, &bytes.endpoint.at("/bytes"), "raw"),
                list(LEGACY.ours, &project, LEGACY.word),
                list(MODERN.ours, &project, MODERN.word),
            ],
            goals: [LEGACY.ours, MODERN.ours].map(|ours| beats(ours, AXUM, 0.5)).to_vec(),
            counts: CALLS,
        }
    }
}

/// What is wanted of an upstream over HTTP: a part of what it does alone, or, of one call after the other, little more time.
fn share(connections: usize, ours: &'static str, theirs: &'static str) -> Goal {
    match connections {
        1 => Goal { ours, theirs, measure: Measure::AddedP50Us, wanted: 100.0 },
        _ => beats(ours, theirs, 0.25),
    }
}

fn beats(ours: &'static str, theirs: &'static str, wanted: f64) -> Goal {
    Goal { ours, theirs, measure: Measure::Rps, wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_start_only_if_a_case_of_theirs_is_wanted() {
        assert!(is_wanted("") && is_wanted("gateway") && is_wanted("stdio upstream"));
        assert!(is_wanted("gateway, stdio upstream, tools/call echo, c=16"));
        assert!(!is_wanted("grep") && !is_wanted("sessions"));
    }
}
