//! `rmcp-client`: plays the interoperability scenario through the official Rust SDK.
//!
//! Its interface is that of all clients in `testkit/interop/`: tokens come from the environment,
//! one line of JSON goes to stdout, and the exit code says whether all checks passed.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use hayward_peers::scenario::{Report, Role, Scenario, Step};
use rmcp::model::{CallToolRequestParams, CallToolResult, ProtocolVersion};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient};
use tokio::process::{Child, Command};

/// Plays a scenario against an MCP server.
#[derive(Parser)]
struct Arguments {
    /// The scenario.
    #[arg(long)]
    scenario: PathBuf,
    /// An empty folder that the server's tools may use.
    #[arg(long)]
    dir: PathBuf,
    /// How to start the conversation.
    #[arg(long, value_enum)]
    mode: Mode,
    /// The `rw` token, for HTTP.
    #[arg(long, env = "HAYWARD_RW_TOKEN", hide_env_values = true, default_value = "")]
    rw_token: String,
    /// The `ro` token, for HTTP.
    #[arg(long, env = "HAYWARD_RO_TOKEN", hide_env_values = true, default_value = "")]
    ro_token: String,
    #[command(subcommand)]
    server: Server,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// `initialize`.
    Legacy,
    /// `server/discover`, else `initialize`.
    Auto,
    /// `server/discover`.
    Modern,
}

#[derive(Subcommand)]
enum Server {
    /// Over Streamable HTTP.
    Http {
        /// The endpoint.
        url: String,
    },
    /// Over a process's stdin and stdout; `--role rw` or `--role ro` is put behind the command.
    Stdio {
        /// The command.
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
}

type Client = RunningService<RoleClient, ()>;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let scenario = Scenario::load(&arguments.scenario, &arguments.dir)?;
    let mut report = Report { client: format!("rmcp {:?}", arguments.mode), ..Report::default() };
    for role in [Role::Rw, Role::Ro] {
        // One conversation at a time: over stdio, a data folder has one owner.
        let (client, child) = connect(&arguments, role).await?;
        play(&client, &scenario, role, &mut report).await?;
        client.cancel().await.context("failed to end the conversation")?;
        if let Some(mut child) = child {
            child.wait().await.context("failed to wait for the server")?;
        }
    }
    hayward_peers::answer(&report)?;
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn play(client: &Client, scenario: &Scenario, role: Role, report: &mut Report) -> Result<()> {
    if let Some(info) = client.peer_info() {
        report.protocol_version = info.protocol_version.to_string();
    }
    let tools = client.list_all_tools().await.context("failed to list tools")?;
    let names: Vec<_> = tools.iter().map(|tool| tool.name.to_string()).collect();
    report.check_tools(scenario, role, &names);
    for step in scenario.steps_of(role) {
        let (is_error, text) = call(client, step).await;
        report.check_step(step, is_error, &text);
    }
    Ok(())
}

/// A protocol error counts as an error with its message as text: the scenario doesn't care which
/// of the two a server chose.
async fn call(client: &Client, step: &Step) -> (bool, String) {
    let params = CallToolRequestParams::new(step.tool.clone()).with_arguments(step.arguments.clone());
    match client.call_tool(params).await {
        Ok(result) => (result.is_error.unwrap_or(false), text_of(&result)),
        Err(error) => (true, error.to_string()),
    }
}

fn text_of(result: &CallToolResult) -> String {
    let parts = result.content.iter().filter_map(|part| part.as_text());
    parts.map(|part| part.text.as_str()).collect::<Vec<_>>().join("\n")
}

async fn connect(arguments: &Arguments, role: Role) -> Result<(Client, Option<Child>)> {
    let lifecycle = lifecycle(arguments.mode);
    match &arguments.server {
        Server::Http { url } => {
            let token = match role {
                Role::Rw => &arguments.rw_token,
                Role::Ro => &arguments.ro_token,
            };
            let config = StreamableHttpClientTransportConfig::with_uri(url.as_str()).auth_header(token);
            let transport = StreamableHttpClientTransport::from_config(config);
            let client = ().serve_with_lifecycle(transport, lifecycle).await;
            Ok((client.context("failed to start the conversation")?, None))
        }
        Server::Stdio { command } => {
            let mut child = spawn(command, role)?;
            let stdin = child.stdin.take().context("the server has no stdin")?;
            let stdout = child.stdout.take().context("the server has no stdout")?;
            let client = ().serve_with_lifecycle((stdout, stdin), lifecycle).await;
            Ok((client.context("failed to start the conversation")?, Some(child)))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a client of the stdio transport starts its server")]
fn spawn(command: &[String], role: Role) -> Result<Child> {
    let (program, arguments) = command.split_first().context("no command")?;
    let role = match role {
        Role::Rw => "rw",
        Role::Ro => "ro",
    };
    Command::new(program)
        .args(arguments)
        .args(["--role", role])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start `{program}`"))
}

fn lifecycle(mode: Mode) -> ClientLifecycleMode {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    match mode {
        Mode::Legacy => ClientLifecycleMode::Initialize,
        Mode::Auto => ClientLifecycleMode::Auto { preferred_versions, legacy_version: None },
        Mode::Modern => ClientLifecycleMode::Discover { preferred_versions },
    }
}
