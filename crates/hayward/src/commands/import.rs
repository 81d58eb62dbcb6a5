//! `hayward import`: what other programs know of MCP servers, as resources.
//!
//! ```text
//!  a file ─► read (clients.rs, mcpctl.rs) ─► Plan ─► shown; with --apply sent
//!                     │ env values that look like secrets (suspicion.rs) become secrets;
//!                     │ other secrets are told (exposed.rs), and servers that are others (replaced.rs)
//! ```

mod clients;
mod comments;
mod docker;
mod exposed;
mod mcpctl;
mod plan;
mod replaced;
mod suspicion;

use clap::{Subcommand, ValueEnum};
use hayward_api::Code;
use hayward_client::{Applied, AppliedOne, Applying, Client};
use serde_json::Value;

use crate::failure::Failure;
use crate::manifest::{Node, read_nodes, sources};
use crate::output::documents::yaml;
use crate::output::{data, plain, tell, written};
use crate::server::{ServerArgs, block_on};
use crate::words::usage;
use crate::writing::title;
use plan::Plan;
use replaced::Replaced;

/// Who applies what is imported.
const MANAGER: &str = "hayward-import";

/// Takes over the MCP servers of another program.
///
/// It shows what it would do, and what that would change where a server can be asked; it does it with --apply. Values of the environment that look like secrets become secrets,
/// to which the servers refer; those in arguments and addresses, and all that isn't taken over, are told.
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

/// Takes over what a document says; what is wrong with it, otherwise.
type Reading = fn(&Value, &mut Plan) -> Result<(), String>;

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let (read, from): (Reading, From) = match args.source {
        Source::ClaudeDesktop(from) | Source::ClaudeCode(from) => (clients::claude, from),
        Source::Vscode(from) => (clients::vscode, from),
        Source::Mcpctl(from) => (mcpctl::read, from),
    };
    let plan = planned(&from.file, read)?;
    if let Some(form) = from.output {
        return file(&plan, form);
    }
    written(data(&plain(&plan.shown())))?;
    if !from.apply {
        return tried(&plan, &from.server);
    }
    let client = from.server.client()?;
    block_on(async {
        let (_, replaced) = trial(&client, &plan).await?;
        let applied = client.apply(&plan.lists(), &applying(false)).await?;
        results(&applied, &replaced, "")
    })
}

/// What would be made of a file, of which is told what isn't taken over.
fn planned(file: &str, read: Reading) -> Result<Plan, Failure> {
    let mut plan = Plan::default();
    let mut is_empty = true;
    for source in sources(&[file.to_owned()])? {
        let nodes = read_nodes(&comments::without_comments(&source.text));
        let nodes = nodes.map_err(|fault| usage(format!("{}:{fault}", source.name)))?;
        for node in nodes.iter().filter(|node| !node.is_null()) {
            is_empty = false;
            let value = Node::value(node);
            read(&value, &mut plan).map_err(|what| refused(&source.name, &what, &value))?;
        }
    }
    plan.check();
    for note in &plan.notes {
        tell(&plain(&format!("note: {note}\n")));
    }
    if is_empty {
        return Err(usage(format!("{file}: the file is empty")));
    }
    if plan.is_empty() {
        return Err(usage(format!("{file}: there is nothing in it that can be taken over")));
    }
    Ok(plan)
}

/// A file that a program doesn't write, with the one that does.
fn refused(file: &str, what: &str, value: &Value) -> Failure {
    let failure = usage(format!("{file}: {what}"));
    let program = clients::meant(value).or(mcpctl::is_one(value).then_some("mcpctl"));
    match program {
        Some(program) => failure.hint(format!("`hayward import {program}` takes over such a file")),
        None => failure,
    }
}

/// What the server would do; which servers it would replace is told.
async fn trial(client: &Client, plan: &Plan) -> Result<(Applied, Vec<Replaced>), hayward_client::Error> {
    let trial = client.apply(&plan.lists(), &applying(true)).await?;
    let replaced = replaced::find(&trial);
    for one in &replaced {
        tell(&plain(&format!("note: {}\n", one.note())));
    }
    Ok((trial, replaced))
}

/// Tells what came of each.
fn results(applied: &Applied, replaced: &[Replaced], how: &str) -> Result<(), Failure> {
    let line = |one: &AppliedOne| format!("{} {}{how}\n", title(one), replaced::word(one, replaced));
    written(data(&plain(&applied.results.iter().map(line).collect::<String>())))
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
        match trial(&client, plan).await {
            Err(error) if [Code::Unavailable, Code::Unauthenticated].contains(&error.code()) => unasked(),
            answer => {
                let (trial, replaced) = answer?;
                results(&trial, &replaced, " (tried, not done)")?;
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
