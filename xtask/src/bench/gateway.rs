//! Hayward as a gateway: daemons with servers declared, what stands behind them, and other gateways before the same.
//!
//! ```text
//!  load ──► Hayward ────┬──► mcp-echo over HTTP          direct: load ──► mcp-echo
//!     └───► another one ┴──► mcp-echo over lines
//! ```
//!
//! Each kind of case has a daemon of its own, whose memory is what that kind takes.

mod cases;
mod lasting;
mod proxies;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::http;
use super::rig::Rig;
use super::server::{Endpoint, Server};
use crate::output;
use proxies::Proxies;

pub(crate) use cases::{Gateway, is_wanted};
pub(crate) use lasting::{CALLS, Lasting, measure};

/// Servers × tools of the long list.
const LISTED: (usize, usize) = (20, 50);
/// How long a declared server may take until its tools are shown.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Everything that runs.
pub(crate) struct Gateways {
    /// What is behind all of them, over HTTP; and a program that speaks lines.
    echo: Server,
    /// The same with as many tools as each server of the long list has.
    _listed: Server,
    /// Before servers over HTTP, of either era.
    http: Server,
    /// Before a process.
    lines: Server,
    /// Before servers over HTTP that answer much; nothing is looked for in results.
    much: Server,
    /// The same, which holds secrets that no result may show.
    redacting: Server,
    /// Before all servers of the long list.
    project: Server,
    /// Serves the bytes of that list as they are.
    bytes: Server,
    /// Before servers over HTTP, for as many calls as it takes.
    lasting: Server,
    /// Other gateways.
    proxies: Proxies,
    _scratch: tempfile::TempDir,
}

/// What a daemon holds that no result may show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Nothing: somebody administers it, so that it hands out no tokens of its own.
    Nothing,
    /// The tokens that it hands out.
    Tokens,
    /// Those, and a secret that was given to it.
    Secrets,
}

/// Where daemons are made.
struct Yard<'a> {
    rig: &'a Rig,
    scratch: &'a Path,
}

impl Gateways {
    /// Installs and starts all of them.
    pub(crate) fn start(rig: &Rig) -> Result<Self> {
        output::step("gateways");
        // Jailed programs have a `/tmp` of their own and don't see ours.
        let scratch = tempfile::Builder::new().prefix("hayward-bench").tempdir_in("/var/tmp");
        let scratch = scratch.context("failed to make a scratch folder")?;
        let yard = Yard { rig, scratch: scratch.path() };
        let echo = rig.peer("mcp-echo", "mcp-echo", &[])?;
        let tools = LISTED.1.to_string();
        let listed = rig.peer("mcp-echo", "mcp-echo-listed", &["--tools".as_ref(), tools.as_ref()])?;
        let project = yard.project(&listed.endpoint)?;
        let bytes = scratch.path().join("list.json");
        std::fs::write(&bytes, project.endpoint.at("/projects/all/mcp").list_tools()?)
            .context("failed to keep the list")?;
        Ok(Self {
            http: yard.http("http", &echo.endpoint, Holds::Tokens)?,
            lines: yard.lines(&echo.endpoint)?,
            much: yard.http("much", &echo.endpoint, Holds::Nothing)?,
            redacting: yard.http("redacting", &echo.endpoint, Holds::Secrets)?,
            lasting: yard.http("lasting", &echo.endpoint, Holds::Tokens)?,
            bytes: rig.peer("axum-echo", "axum-list", &["--bytes".as_ref(), bytes.as_ref()])?,
            proxies: Proxies::start(rig, &echo.endpoint)?,
            echo,
            _listed: listed,
            project,
            _scratch: scratch,
        })
    }
}

impl Yard<'_> {
    /// Before one server over HTTP that is spoken to in either era.
    fn http(&self, name: &str, echo: &Endpoint, holds: Holds) -> Result<Server> {
        let server = |era: &str| json!({"name": era, "externalUrl": echo.url, "era": era, "trust": "follow"});
        let mut documents = json!({"servers": [server("legacy"), server("modern")]});
        if holds == Holds::Secrets {
            documents["secrets"] =
                json!([{"name": "kept", "data": {"TOKEN": "correct-horse-battery-staple"}}]);
        }
        let started = match holds {
            Holds::Nothing => self.rig.administered_hayward(&self.data(name), &self.ready(name))?,
            Holds::Tokens | Holds::Secrets => self.start(name)?,
        };
        let daemon = declare(started, &documents, &json!({"servers": ["legacy", "modern"]}))?;
        for era in ["legacy", "modern"] {
            shown(&daemon.endpoint.at(&format!("/servers/{era}/mcp")), 2)?;
        }
        Ok(daemon)
    }

    /// Before a process, which is jailed: it fetches its program into its home, as nothing of ours is in its view.
    fn lines(&self, echo: &Endpoint) -> Result<Server> {
        let program = echo.at("/program").url;
        let start = format!("curl -fsS -o mcp-echo {program} && chmod u+x mcp-echo && exec ./mcp-echo");
        let server = json!({
            "name": "lines", "command": ["/bin/sh", "-c", start], "era": "legacy", "trust": "follow",
            "placement": "process", "network": "shared", "resources": {"cpus": 2},
        });
        let daemon =
            declare(self.start("lines")?, &json!({"servers": [server]}), &json!({"servers": ["lines"]}))?;
        shown(&daemon.endpoint.at("/servers/lines/mcp"), 2)?;
        Ok(daemon)
    }

    /// Before all servers of the long list.
    fn project(&self, listed: &Endpoint) -> Result<Server> {
        let names: Vec<_> = (0..LISTED.0).map(|index| format!("s{index}")).collect();
        let server = |name: &String| json!({"name": name, "externalUrl": listed.url, "trust": "follow"});
        let servers: Vec<_> = names.iter().map(server).collect();
        let documents = json!({"servers": servers, "projects": [{"name": "all", "servers": names}]});
        let daemon = declare(self.start("project")?, &documents, &json!({"projects": ["all"]}))?;
        shown(&daemon.endpoint.at("/projects/all/mcp"), LISTED.0 * LISTED.1)?;
        Ok(daemon)
    }

    fn start(&self, name: &str) -> Result<Server> {
        self.rig.hayward(&self.data(name), &self.ready(name))
    }

    fn data(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn ready(&self, name: &str) -> PathBuf {
        self.scratch.join(format!("{name}.ready"))
    }
}

/// A daemon where this is declared; its token reaches what is named.
fn declare(mut daemon: Server, documents: &Value, reach: &Value) -> Result<Server> {
    let admin = daemon.endpoint.admin_token.clone();
    let apply = daemon.endpoint.at("/api/v1/apply").url;
    http::post(&apply, &admin, "", &documents.to_string()).context("failed to declare servers")?;
    let wanted = json!({"name": "bench", "role": "rw", "reach": reach}).to_string();
    let made = http::post(&daemon.endpoint.at("/admin/tokens").url, &admin, "", &wanted)?;
    let made: Value = serde_json::from_str(&made).context("no JSON")?;
    made["token"].as_str().context("no token")?.clone_into(&mut daemon.endpoint.token);
    Ok(daemon)
}

/// Waits until an endpoint shows this many tools.
fn shown(endpoint: &Endpoint, tools: usize) -> Result<()> {
    let (start, mut last) = (Instant::now(), String::new());
    while start.elapsed() < SHOWN_WITHIN {
        last = endpoint.list_tools().unwrap_or_else(|error| error.to_string());
        if tools_in(&last) == Some(tools) {
            return Ok(());
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    last.truncate(last.floor_char_boundary(200));
    bail!("`{}` doesn't show {tools} tools: {last}", endpoint.url)
}

fn tools_in(listed: &str) -> Option<usize> {
    let listed: Value = serde_json::from_str(listed).ok()?;
    Some(listed["result"]["tools"].as_array()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_counted_in_an_answer_and_nowhere_else() {
        assert_eq!(tools_in(r#"{"result":{"tools":[{},{}]}}"#), Some(2));
        assert_eq!(tools_in(r#"{"error":{"code":1}}"#), None);
        assert_eq!(tools_in("status 503"), None);
    }
}
