//! `hayward token`: makes, lists and revokes tokens in a data directory that no daemon has.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use hayward_api::bounds::{Bounds, Network};
use hayward_api::error::did_you_mean;
use hayward_api::fence::tools::ToolPattern;
use hayward_api::kinds::token::{Role, TokenSpec};
use hayward_api::principal::ProtocolRevision;
use hayward_api::{Code, Error, Principal, Tier, Time};
use hayward_gateway::tokens::TokenView;
use hayward_store::{Actor, Store};

use crate::config::{AllLimits, Common};
use crate::failure::Failure;
use crate::fences::FenceArgs;
use crate::fences::tools::{ToolFenceArg, checked_tools, together, tool_fence};
use crate::output::Form;
use crate::stack::{acquire, open_store};
use crate::tokens::view;
use crate::{output, runtime};

/// Makes, lists and revokes tokens.
///
/// Works on the data directory itself, so no daemon may be running on it; with a running daemon use
/// its /admin/tokens routes.
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
        /// Its id, or a unique beginning of it; or a file that holds the token, as @FILE
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
    /// Tool that it may call, of those of its role, e.g. `read_file` or `prepare_*`; all if left out; may be repeated
    #[arg(long = "allow-tool", value_name = "TOOL", value_parser = |text: &str| ToolPattern::parse(text).map_err(hinted), help_heading = "Bounds")]
    tools: Vec<ToolPattern>,
    /// Requests in a minute that are answered; a quarter of them may come at once
    #[arg(long, value_name = "N", help_heading = "Bounds")]
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

/// A moment to come, or how far away it is.
fn end(text: &str) -> Result<Time, String> {
    if let Ok(time) = Time::parse(text) {
        return Ok(time);
    }
    let wrong =
        || format!("`{text}` is no time such as 2027-01-31T00:00:00Z, and no duration such as 12h or 30d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let count: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let ahead = count.checked_mul(seconds).filter(|ahead| *ahead > 0).ok_or_else(wrong)?;
    let now = jiff::Timestamp::now().as_second();
    now.checked_add(ahead).and_then(Time::from_unix).ok_or_else(wrong)
}

/// Refuses what is no tool of ours: a token that is bound to a misspelt one could call nothing.
fn known(tools: Vec<ToolPattern>) -> Result<Vec<ToolPattern>, Failure> {
    let is_known = |pattern: &ToolPattern| hayward_host::TOOL_NAMES.iter().any(|name| pattern.matches(name));
    match tools.iter().find(|pattern| !is_known(pattern)) {
        None => Ok(tools),
        Some(unknown) => {
            let error = Error::new(Code::Invalid, format!("there is no tool `{unknown}`"));
            let meant = did_you_mean(unknown.as_str(), hayward_host::TOOL_NAMES);
            Err(match meant {
                Some(meant) => error.with_hint(format!("did you mean `{meant}`?")),
                None => error.with_hint(format!("the tools are {}", hayward_host::TOOL_NAMES.join(", "))),
            }
            .into())
        }
    }
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let _log = args.common.start_log()?;
    runtime::block_on(async move {
        let data = acquire(&args.common.data_dir()?)?;
        let store = open_store(data.path(), &AllLimits::read(&[])?).await?;
        let done = act(&store, data.path(), args.action).await;
        store.close().await;
        done
    })
}

async fn act(store: &Store, data_dir: &Path, action: Action) -> Result<(), Failure> {
    let written = match action {
        Action::Add(add) => {
            let Add {
                name,
                role,
                min_protocol,
                expires,
                sources,
                tools,
                requests_per_minute,
                fence,
                tool_fences,
                output,
            } = *add;
            let fence = fence.read(data_dir)?;
            let tool_fences = checked_tools(&together(&tool_fences)?, data_dir)?;
            let bounds = Bounds { sources, tools: known(tools)?, requests_per_minute };
            let spec = TokenSpec {
                min_protocol,
                fence,
                tool_fences,
                bounds,
                expires_at: expires,
                ..Role::from(role).into()
            };
            let (_, token) = store.create_token(&name, spec, &actor()).await.map_err(Error::from)?;
            match output {
                Output::Text => output::data(&format!("{}\n", token.reveal())),
                Output::Json => output::json(&serde_json::json!({
                    "id": token.id().to_string(), "name": name, "role": Role::from(role), "token": token.reveal(),
                })),
            }
        }
        Action::List { output } => return list(store, output).await,
        Action::Revoke { token } => {
            let revoked = store.revoke_token(&named(&token)?, &actor()).await.map_err(Error::from)?;
            output::data(&format!("revoked {} ({})\n", revoked.id, revoked.metadata.name))
        }
        Action::RotateAdmin => rotate(store, Role::Admin).await?,
        Action::RotateMetrics => rotate(store, Role::Metrics).await?,
        Action::DisableMetrics => {
            let revoked = store.revoke_role(Role::Metrics, &actor()).await.map_err(Error::from)?;
            output::data(&match revoked.len() {
                0 => "there is no metrics token: /metrics is off\n".to_owned(),
                count => format!("revoked {count} metrics token(s): /metrics is off\n"),
            })
        }
    };
    written.context("failed to write the answer")?;
    Ok(())
}

async fn rotate(store: &Store, role: Role) -> Result<std::io::Result<()>, Failure> {
    let token = store.rotate_role(role, &actor()).await.map_err(Error::from)?;
    Ok(output::data(&format!("{}\n", token.reveal())))
}

/// Who changes things from the command line: a process of this machine.
fn actor() -> Actor {
    Actor::from(&Principal::local("cli", Tier::Operate))
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

async fn list(store: &Store, form: Form) -> Result<(), Failure> {
    let tokens: Vec<_> = store.list_tokens().await.map_err(Error::from)?.into_iter().map(view).collect();
    output::show(form, &tokens, || {
        let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
        output::table(&["ID", "NAME", "ROLE", "ENABLED", "CREATED", "EXPIRES", "BOUNDS", "FENCE"], &rows)
    })
}

fn row(token: &TokenView) -> Vec<String> {
    let enabled = if token.enabled { "yes" } else { "no" };
    let (id, name, role) = (token.id.clone(), token.name.clone(), token.role.as_str().to_owned());
    let fence = if token.tool_fences.is_empty() {
        token.fence.to_string()
    } else {
        format!("{}; {}", token.fence, token.tool_fences)
    };
    let expires = token.expires_at.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let bounds = token.bounds.to_string();
    vec![id, name, role, enabled.to_owned(), token.created_at.clone(), expires, bounds, fence]
}
