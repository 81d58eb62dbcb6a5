//! `hayward token`: makes, lists and revokes tokens, through the daemon that has the data directory or without one.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use hayward_api::bounds::{Bounds, Network};
use hayward_api::fence::tools::ToolPattern;
use hayward_api::kinds::token::{Role, TokenSpec};
use hayward_api::principal::ProtocolRevision;
use hayward_api::{Code, Error, Reach, Time};
use hayward_gateway::tokens::TokenView;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use crate::config::Common;
use crate::failure::Failure;
use crate::fences::FenceArgs;
use crate::fences::tools::{ToolFenceArg, checked_tools, together, tool_fence};
use crate::output::Form;
use crate::tokens::{Ask, Told};
use crate::{local, moment, output, runtime};

/// Makes, lists and revokes tokens.
///
/// Asks the daemon that has the data directory, if one has, and a change is in force at once; else works on the directory
/// itself. Either way a change is recorded. A daemon listens to its own user and to root alone.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Action {
    /// Makes a token and prints it, once
    Add(Box<Add>),
    /// Lists tokens; the tokens themselves are kept nowhere
    List {
        /// Form of the output
        #[arg(long, short, value_enum, default_value = "table")]
        output: Form,
    },
    /// Revokes a token
    Revoke {
        /// Its name, its id, or a unique beginning of its id; or a file that holds the token, as @FILE
        token: String,
    },
    /// Puts a new admin token in the place of every stored one, and prints it, once
    RotateAdmin,
    /// Puts a new token for /metrics in the place of every stored one, and prints it, once
    RotateMetrics,
    /// Revokes every stored token for /metrics: nobody reads it any more
    DisableMetrics,
}

#[derive(clap::Args)]
struct Add {
    /// Name that the record and lists show
    #[arg(long)]
    name: String,
    /// What it may do
    #[arg(long, value_enum, default_value = "ro")]
    role: TokenRole,
    /// Oldest revision of the protocol that it may speak, e.g. 2026-07-28; any if left out
    #[arg(long, value_name = "DATE", value_parser = |text: &str| ProtocolRevision::parse(text).map_err(hinted))]
    min_protocol: Option<ProtocolRevision>,
    /// When it ends: a time (2027-01-31T00:00:00Z), or in how long (30d, 12h); never if left out
    #[arg(long, value_name = "TIME", value_parser = end)]
    expires: Option<Time>,
    /// Address or network from which it is accepted, e.g. 192.168.1.0/24; all if left out; may be repeated
    #[arg(long = "source", value_name = "NETWORK", value_parser = |text: &str| Network::parse(text).map_err(hinted), help_heading = "Bounds")]
    sources: Vec<Network>,
    /// Tool that it may call, of those of its role, e.g. `read_file` or `prepare_*`, of another server
    /// `time/now` or `time/*`; all if left out; may be repeated
    #[arg(long = "allow-tool", value_name = "TOOL", value_parser = |text: &str| ToolPattern::parse(text).map_err(hinted), help_heading = "Bounds")]
    tools: Vec<ToolPattern>,
    /// Server that it reaches, as far as its role goes; `host` is this machine, which only a token without `--server` and `--project` reaches by itself; may be repeated
    #[arg(long = "server", value_name = "NAME", help_heading = "Reach")]
    servers: Vec<String>,
    /// Project whose servers it reaches, as far as its role goes; may be repeated
    #[arg(long = "project", value_name = "NAME", help_heading = "Reach")]
    projects: Vec<String>,
    /// Requests in a minute that are answered; a quarter of them may come at once
    #[arg(long, value_name = "N", value_parser = pace, help_heading = "Bounds")]
    requests_per_minute: Option<NonZeroU32>,
    #[command(flatten)]
    fence: FenceArgs,
    /// Keeps a tool to a fence of its own beside the token's, e.g. `bash_execute:profile=confined,root=/srv/app`; may be repeated
    ///
    /// The words are those of the other options for fences, without `--` and with a comma between them; `read_*` means all
    /// tools whose names begin so. A call gets what both fences allow: a tool's fence takes away, and never gives.
    #[arg(long = "tool-fence", value_name = "TOOL:WORDS", value_parser = tool_fence, help_heading = "Fence")]
    tool_fences: Vec<ToolFenceArg>,
    /// Form of the output
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
}

#[derive(ValueEnum, Clone, Copy)]
enum TokenRole {
    Ro,
    Rw,
    Admin,
    Metrics,
}

#[derive(ValueEnum, Clone, Copy)]
enum Output {
    Text,
    Json,
}

impl From<TokenRole> for Role {
    fn from(role: TokenRole) -> Self {
        match role {
            TokenRole::Ro => Self::Ro,
            TokenRole::Rw => Self::Rw,
            TokenRole::Admin => Self::Admin,
            TokenRole::Metrics => Self::Metrics,
        }
    }
}

/// What is wrong with the value of an option, and what would be right.
fn hinted(error: Error) -> String {
    match error.hint {
        Some(hint) => format!("{}: {hint}", error.message),
        None => error.message,
    }
}

/// A number of requests.
fn pace(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| "use a whole number from 1; leave it out for no bound".to_owned())
}

/// A moment to come, or how far away it is: the whole second that isn't before it, so that `1s` lasts a second at least, and `0h` none.
fn end(text: &str) -> Result<Time, String> {
    let moment = moment::parse(text, moment::Side::Ahead)?;
    let mode = if moment > Timestamp::now() { RoundMode::Ceil } else { RoundMode::Floor };
    let to = TimestampRound::new().smallest(Unit::Second).mode(mode);
    let whole = moment.round(to).ok().and_then(|whole| Time::from_unix(whole.as_second()));
    whole.ok_or_else(|| format!("`{text}` is too far away"))
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let _log = args.common.start_log()?;
    let data_dir = args.common.data_dir()?;
    let (ask, shown) = read(args.action, &data_dir)?;
    let is_new = !data_dir.exists();
    let told = runtime::block_on(local::ask(&data_dir, args.common.database()?, ask)).map_err(found)?;
    if is_new {
        output::tell(&output::plain(&format!(
            "note: there was nothing in `{}`: a daemon with another data directory knows nothing of this; `--data-dir` or HAYWARD_DATA_DIR \
             says which one is meant\n",
            data_dir.display()
        )));
    }
    show(shown, told)
}

/// A token that isn't there is looked for in the list.
fn found(failure: Failure) -> Failure {
    if failure.exit_code == Code::NotFound.exit_code() && failure.hint.is_none() {
        return failure.hint("`hayward token list` shows all that are stored");
    }
    failure
}

/// What is shown of the answer.
enum Shown {
    Token(Output, String, Role),
    Bare,
    List(Form),
    Revoked,
    Metrics,
}

/// What is asked for, and how the answer is to be shown.
fn read(action: Action, data_dir: &Path) -> Result<(Ask, Shown), Failure> {
    Ok(match action {
        Action::Add(add) => {
            let Add { name, role, output, .. } = &*add;
            let shown = Shown::Token(*output, name.clone(), Role::from(*role));
            (Ask::Create { name: name.clone(), spec: Box::new(spec(*add, data_dir)?) }, shown)
        }
        Action::List { output } => (Ask::List, Shown::List(output)),
        Action::Revoke { token } => (Ask::Revoke { token: named(&token)? }, Shown::Revoked),
        Action::RotateAdmin => (Ask::Rotate { role: Role::Admin }, Shown::Bare),
        Action::RotateMetrics => (Ask::Rotate { role: Role::Metrics }, Shown::Bare),
        Action::DisableMetrics => (Ask::RevokeRole { role: Role::Metrics }, Shown::Metrics),
    })
}

fn spec(add: Add, data_dir: &Path) -> Result<TokenSpec, Failure> {
    let Add { role, min_protocol, expires, sources, tools, requests_per_minute, .. } = add;
    let Add { fence, tool_fences, servers, projects, .. } = add;
    Ok(TokenSpec {
        min_protocol,
        fence: fence.read(data_dir)?,
        tool_fences: checked_tools(&together(&tool_fences)?, data_dir)?,
        bounds: Bounds { sources, tools, requests_per_minute },
        reach: Reach { servers, projects },
        expires_at: expires,
        ..Role::from(role).into()
    })
}

/// What a daemon says is its user's, and a terminal may be root's: nothing of it steers the terminal.
fn show(shown: Shown, told: Told) -> Result<(), Failure> {
    let text = |text: &str| output::data(&output::plain(text));
    let told = match told {
        Told::Created { token, missing } => {
            for missing in missing {
                output::tell(&output::plain(&format!(
                    "note: there is no {missing} yet; what it reaches of it comes with it\n"
                )));
            }
            Told::Made(token)
        }
        told => told,
    };
    let written = match (shown, told) {
        (Shown::List(form), Told::Listed(tokens)) => return list(form, &tokens),
        (Shown::Token(Output::Json, name, role), Told::Made(token)) => {
            let id = crate::tokens::named(&token);
            output::json(&serde_json::json!({ "id": id, "name": name, "role": role, "token": token }))
        }
        (Shown::Token(Output::Text, ..) | Shown::Bare, Told::Made(token)) => text(&format!("{token}\n")),
        (Shown::Revoked, Told::Revoked(tokens)) => {
            let lines = tokens.iter().map(|token| format!("revoked {} ({})\n", token.id, token.name));
            text(&lines.collect::<String>())
        }
        (Shown::Metrics, Told::Revoked(tokens)) => output::data(&match tokens.len() {
            0 => "there is no metrics token: /metrics is off\n".to_owned(),
            count => format!("revoked {count} metrics token(s): /metrics is off\n"),
        }),
        _ => return Err(anyhow::anyhow!("the daemon answered something else than it was asked").into()),
    };
    written.context("failed to write the answer")?;
    Ok(())
}

/// A secret never stands in an argument: `@FILE` names the file that holds it.
fn named(token: &str) -> Result<String, Failure> {
    let Some(path) = token.strip_prefix('@').map(PathBuf::from) else {
        return Ok(token.to_owned());
    };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("failed to read token file `{}`", path.display()))?;
    Ok(crate::tokens::named(text.trim()))
}

fn list(form: Form, tokens: &Vec<TokenView>) -> Result<(), Failure> {
    output::show(form, tokens, || {
        let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
        output::table(
            &["ID", "NAME", "ROLE", "ENABLED", "CREATED", "EXPIRES", "REACH", "BOUNDS", "FENCE"],
            &rows,
        )
    })
}

fn row(token: &TokenView) -> Vec<String> {
    let is_over = token.expires_at.is_some_and(|end| end.unix() <= Timestamp::now().as_second());
    let enabled = match token.enabled {
        true if is_over => "expired",
        true => "yes",
        false => "no",
    };
    let (id, name, role) = (token.id.clone(), token.name.clone(), token.role.as_str().to_owned());
    let fence = if token.tool_fences.is_empty() {
        token.fence.to_string()
    } else {
        format!("{}; {}", token.fence, token.tool_fences)
    };
    let expires = token.expires_at.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let bounds = token.bounds.to_string();
    let calls = matches!(token.role, Role::Ro | Role::Rw);
    let reach = if calls { token.reach.to_string() } else { "-".to_owned() };
    vec![id, name, role, enabled.to_owned(), token.created_at.clone(), expires, reach, bounds, fence]
}

#[cfg(test)]
mod tests {
    use super::end;

    #[test]
    fn an_end_is_never_before_what_was_asked_for() {
        let read = |text| end(text).unwrap().to_string();
        assert_eq!(read("2999-01-01T00:00:00.2Z"), "2999-01-01T00:00:01Z");
        assert_eq!(read("2999-01-01T00:00:00Z"), "2999-01-01T00:00:00Z");
        assert!(end("yesterday").is_err());
    }
}
