//! `hayward approve`: what a server changed or added, shown, and approved exactly as it was shown.

use std::io::{self, BufRead, IsTerminal};

use anyhow::anyhow;
use hayward_api::Code;
use hayward_client::{Client, ServerTool, ToolState};

use crate::failure::Failure;
use crate::output::{data, plain, tell, written};
use crate::server::{ServerArgs, block_on};
use crate::words::usage;

/// Shows what waits of the tools of a server, and approves it.
///
/// What a server changes of a tool, or adds later, is shown to nobody until it is approved. Without a tool and without --all,
/// all that waits is shown and nothing approved. What is approved is what was shown: if the server says something else by then,
/// it waits on.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Server
    name: String,

    /// Tool, as the server calls it
    tool: Option<String>,

    /// Everything that waits
    #[arg(long, conflicts_with = "tool")]
    all: bool,

    /// Only shows what would be approved
    #[arg(long)]
    dry_run: bool,

    /// Doesn't ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    block_on(async {
        let known = client.tools(&args.name).await?;
        let waiting = meant(&known, args)?;
        if waiting.is_empty() {
            tell(&plain(&format!("nothing of server `{}` waits\n", args.name)));
            return Ok(());
        }
        let shown: String = waiting.iter().map(|tool| described(&args.name, tool)).collect();
        written(data(&plain(&shown)))?;
        if args.tool.is_none() && !args.all {
            tell(&plain(&format!(
                "approve one with `hayward approve {0} TOOL`, or all with `--all`\n",
                args.name
            )));
            return Ok(());
        }
        if args.dry_run {
            return Ok(());
        }
        if !args.yes {
            confirm(waiting.len())?;
        }
        for tool in waiting {
            approve(&client, &args.name, tool).await?;
        }
        Ok(())
    })
}

/// What waits, of what is meant.
fn meant<'a>(known: &'a [ServerTool], args: &Args) -> Result<Vec<&'a ServerTool>, Failure> {
    let Some(name) = &args.tool else {
        return Ok(known.iter().filter(|tool| tool.state == ToolState::Waits).collect());
    };
    let failed = |told: String, code: Code| Failure {
        error: anyhow!(plain(&told)),
        hint: None,
        exit_code: code.exit_code(),
    };
    let Some(tool) = known.iter().find(|tool| tool.name == *name) else {
        let failure = failed(format!("no tool `{name}` is known of server `{}`", args.name), Code::NotFound);
        return Err(failure.hint("`hayward approve SERVER` shows what waits"));
    };
    match tool.state {
        ToolState::Waits => Ok(vec![tool]),
        ToolState::Shown => Ok(Vec::new()),
        ToolState::KeptBack => {
            let why = tool.why.as_deref().unwrap_or("nobody says why");
            let failure = failed(format!("tool `{name}` is kept back: {why}"), Code::Conflict);
            Err(failure.hint("to approve it changes nothing of that"))
        }
    }
}

/// A tool that waits, with what is another in it.
fn described(server: &str, tool: &ServerTool) -> String {
    let how = if tool.approved.is_some() { "changed" } else { "new" };
    let mut text = format!("tool `{}` of server `{server}`: {how}\n", tool.name);
    for change in &tool.changes {
        let path = if change.path.is_empty() { "all of it" } else { &change.path };
        text += &format!("  {path}:\n");
        for (mark, value) in [('-', &change.before), ('+', &change.after)] {
            if let Some(value) = value {
                text += &format!("  {mark} {value}\n");
            }
        }
    }
    text
}

fn confirm(count: usize) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(
            usage("there is no terminal to ask on whether it is approved".to_owned()).hint("say `--yes`")
        );
    }
    let what = if count == 1 { "it".to_owned() } else { format!("all {count} of them") };
    tell(&format!("approve {what}? Type yes: "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(anyhow::Error::from)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(usage("nothing was approved".to_owned())) }
}

async fn approve(client: &Client, server: &str, tool: &ServerTool) -> Result<(), Failure> {
    let Some(pending) = &tool.pending else { return Ok(()) };
    client.approve(server, &tool.name, &pending.digest).await?;
    written(data(&plain(&format!("tool `{}` of server `{server}` approved\n", tool.name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_shown_with_what_is_another_in_it() {
        let tool: ServerTool = serde_json::from_value(serde_json::json!({
            "name": "t", "state": "waits", "approved": {"digest": "a"}, "pending": {"digest": "b"},
            "changes": [{"path": "description", "before": "\"a\"", "after": "\"b\\u200b\""}, {"path": "", "after": "1"}]}))
        .unwrap();
        let expect = "tool `t` of server `s`: changed\n  description:\n  - \"a\"\n  + \"b\\u200b\"\n  all of it:\n  + 1\n";
        assert_eq!(described("s", &tool), expect);
    }
}
