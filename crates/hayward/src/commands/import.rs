//! `hayward import`: what other programs know of MCP servers, as resources.
//!
//! ```text
//!  a file ─► read (clients.rs, mcpctl.rs) ─► Plan ─► shown; with --apply sent
//!                     │ env values that look like secrets (suspicion.rs) become secrets
//! ```

mod clients;
mod comments;
mod mcpctl;
mod plan;
mod suspicion;

use clap::{Subcommand, ValueEnum};
use hayward_api::Code;
use hayward_client::Applying;
use serde_json::Value;

use crate::failure::Failure;
use crate::flags;
use crate::output::documents::yaml;
use crate::output::{data, plain, tell, written};
use crate::server::{ServerArgs, block_on};
use crate::words::usage;
use crate::writing::{ResultForm, results};
use plan::Plan;

/// Who applies what is imported.
const MANAGER: &str = "hayward-import";

/// Takes over the MCP servers of another program.
///
/// It shows what it would do, and what that would change where a server can be asked; it does it with --apply. Values of the environment that look like secrets become secrets,
/// to which the servers refer.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    source: Source,
}

#[derive(Subcommand)]
enum Source {
    /// Servers of Claude Desktop: `claude_desktop_config.json`
    ClaudeDesktop(From),
    /// Servers of Claude Code: `.mcp.json`, or `~/.claude.json`
    ClaudeCode(From),
    /// Servers of VS Code: `.vscode/mcp.json`, or `settings.json`
    Vscode(From),
    /// Everything of mcpctl: what `get all -o yaml` wrote, or a backup in JSON
    Mcpctl(From),
}

#[derive(clap::Args)]
struct From {
    /// File that is read; `-` is standard input
    file: String,

    /// Does it, after it was shown
    #[arg(long)]
    apply: bool,

    /// Shows what would be applied, as a file; values of secrets are in it
    #[arg(long, short, value_enum, value_name = "FORM", conflicts_with = "apply")]
    output: Option<FileForm>,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(ValueEnum, Clone, Copy)]
enum FileForm {
    Yaml,
    Json,
}

/// Takes over what a file says.
type Reading = fn(&Value, &mut Plan) -> Result<(), Failure>;

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let (read, from): (Reading, From) = match args.source {
        Source::ClaudeDesktop(from) | Source::ClaudeCode(from) => (clients::claude, from),
        Source::Vscode(from) => (clients::vscode, from),
        Source::Mcpctl(from) => (mcpctl::read, from),
    };
    let text = flags::contents(&from.file)?;
    let value = serde_saphyr::from_str::<Value>(&comments::without_comments(&text)).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        usage(format!("{}:{line}: it is neither JSON nor YAML", from.file))
    })?;
    let mut plan = Plan::default();
    read(&value, &mut plan)?;
    if plan.is_empty() {
        return Err(usage(format!("{}: there is nothing in it that can be taken over", from.file)));
    }
    plan.check();
    for note in &plan.notes {
        tell(&plain(&format!("note: {note}\n")));
    }
    if let Some(form) = from.output {
        return file(&plan, form);
    }
    written(data(&plain(&plan.shown())))?;
    if !from.apply {
        return tried(&plan, &from.server);
    }
    let applying = applying(false);
    let client = from.server.client()?;
    block_on(async { results(&client.apply(&plan.lists(), &applying).await?, ResultForm::Text, "") })
}

fn applying(is_trial: bool) -> Applying {
    Applying { is_trial, prune: None, manager: Some(MANAGER.to_owned()) }
}

/// Tells what the server would do, if there is one that can be asked.
fn tried(plan: &Plan, server: &ServerArgs) -> Result<(), Failure> {
    let unasked = || {
        tell("nothing was sent: `--apply` does it, `-o yaml` shows it as a file\n");
        Ok(())
    };
    let Some(token) = server.token()? else { return unasked() };
    let client = server.client_with(Some(token))?;
    block_on(async {
        match client.apply(&plan.lists(), &applying(true)).await {
            Err(error) if [Code::Unavailable, Code::Unauthenticated].contains(&error.code()) => unasked(),
            answer => {
                results(&answer?, ResultForm::Text, " (tried, not done)")?;
                tell("nothing was changed: `--apply` does it, `-o yaml` shows it as a file\n");
                Ok(())
            }
        }
    })
}

fn file(plan: &Plan, form: FileForm) -> Result<(), Failure> {
    let lists = plan.lists();
    written(match form {
        FileForm::Yaml => yaml(&lists).and_then(|text| data(&text)),
        FileForm::Json => crate::output::safe_json(&lists, serde_json::to_string_pretty)
            .and_then(|text| data(&(text + "\n"))),
    })
}
