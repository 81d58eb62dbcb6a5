//! Other gateways, before the same echo: installed in pinned versions, started as their manuals say.

use std::process::Command;

use anyhow::{Context, Result};

use crate::bench::http;
use crate::bench::rig::{Rig, free_port};
use crate::bench::server::{Endpoint, Server};
use crate::step;
use crate::toolbox::{self, Node, Python};

/// The package of Python that has the same name as the crate.
const PYTHON_PINS: (&str, &str) = ("mcp-proxy-python", "mcp-proxy==0.13.0\n");
const NODE_PACKAGE: (&str, &str) = ("supergateway", "4.0.0");
/// It starts a process per session; those of sessions that nobody ended go after so many milliseconds.
const NODE_SESSION_MS: &str = "5000";

/// Those that run.
pub(super) struct Proxies {
    /// The crate before an upstream over HTTP.
    pub(super) crate_http: Server,
    /// … and before a process.
    pub(super) crate_lines: Server,
    /// The package of npm before a process.
    pub(super) node: Server,
    /// The package of Python before a process.
    pub(super) python: Server,
}

impl Proxies {
    pub(super) const CRATE: &str = "mcp-proxy 0.4.3 (crate)";
    pub(super) const NODE: &str = "supergateway 4.0.0 (npm)";
    pub(super) const PYTHON: &str = "mcp-proxy 0.13.0 (PyPI)";

    /// The crate puts the name of the upstream before that of the tool.
    pub(super) const CRATE_TOOL: &str = "up/echo";
    /// Of the legacy era it speaks this revision, and one that is older than those of others.
    pub(super) const CRATE_REVISION: &str = "2025-11-25";

    /// Installs and starts them; what is called over HTTP is at `echo`.
    pub(super) fn start(rig: &Rig, echo: &Endpoint) -> Result<Self> {
        let program = rig.binary("mcp-echo").display().to_string();
        let over_http = format!("transport = \"http\"\nurl = \"{}\"\n", echo.url);
        let over_lines = format!("transport = \"stdio\"\ncommand = \"{program}\"\n");
        Ok(Self {
            crate_http: of_crate(rig, "crate-http", &over_http)?,
            crate_lines: of_crate(rig, "crate-lines", &over_lines)?,
            node: of_node(&program)?,
            python: of_python(&program)?,
        })
    }
}

fn of_crate(rig: &Rig, name: &str, backend: &str) -> Result<Server> {
    let port = free_port()?;
    let config = rig.scratch(&format!("{name}.toml"));
    let text = format!(
        "[proxy]\nname = \"bench\"\nseparator = \"/\"\n\n[proxy.listen]\nhost = \"127.0.0.1\"\nport = {port}\n\n\
         [observability]\nlog_level = \"error\"\n\n[[backends]]\nname = \"up\"\n{backend}"
    );
    std::fs::write(&config, text).context("failed to write a configuration")?;
    let mut command = step::command(toolbox::mcp_proxy()?);
    serve(command.arg("--config").arg(&config), port, "")
}

fn of_node(program: &str) -> Result<Server> {
    let port = free_port()?;
    let modules = Node::package(NODE_PACKAGE.0, NODE_PACKAGE.1)?;
    let mut command = step::command(Node::install()?.program);
    command.arg(modules.join("supergateway/dist/index.js")).args(["--stdio", program, "--stateful"]);
    command.args(["--outputTransport", "streamableHttp", "--sessionTimeout", NODE_SESSION_MS]);
    command.args(["--protocolVersion", "2025-06-18", "--logLevel", "none", "--port", &port.to_string()]);
    serve(&mut command, port, "mcp")
}

fn of_python(program: &str) -> Result<Server> {
    let port = free_port()?;
    let mut command = step::command(Python::install(PYTHON_PINS.0, PYTHON_PINS.1)?.bin.join("mcp-proxy"));
    command.args(["--port", &port.to_string(), "--log-level", "ERROR", "--", program]);
    serve(&mut command, port, "mcp")
}

/// Starts a server that answers at this path of this port as soon as it is up.
fn serve(command: &mut Command, port: u16, path: &str) -> Result<Server> {
    let endpoint = Endpoint { url: format!("http://127.0.0.1:{port}/{path}"), ..Endpoint::default() };
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
    let answers = |_: &String| endpoint.clone();
    Server::start_silent(command, || http::post(&endpoint.url, "", "", hello).as_ref().map(answers).ok())
}
