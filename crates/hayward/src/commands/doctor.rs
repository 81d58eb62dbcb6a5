//! `hayward doctor`: what this machine really holds of what is promised.
//!
//! With `--url`, what a running server answers. Only reads, needs no lock, and works beside a running daemon. What holds is found out by trying, see
//! [`Executor::assess`](hayward_exec::Executor::assess).

mod checks;
mod fences;
mod live;
mod machine;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::anyhow;
use hayward_gateway::Fencing;
use hayward_host::fence::ground;
use serde::Serialize;

use crate::config::{AllLimits, Common, Serving};
use crate::failure::Failure;
use crate::fences::misfenced;
use crate::fences::tools::{checked_tools, together};
use crate::output::{self, Form, show};
use crate::stack::{executor, in_detail};
use crate::{network, runtime};
use fences::Fenced;

/// Says what this machine holds of what is promised; exits with 1 if something can't be held.
///
/// Looks at what keeps commands together, tries the fence of every stored token, and looks at the data
/// directory, the database, the end of the record, the port, the clock, open files and disk space. Works beside a running daemon and without
/// one, and changes nothing; give it the options of `hayward serve` that the daemon has.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Form of the output
    #[arg(long, short, value_enum, default_value = "table")]
    output: Form,

    #[command(flatten)]
    live: live::Live,

    /// Address that the daemon listens on
    #[arg(long, env = "HAYWARD_HOST", value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_parser = network::address)]
    host: IpAddr,

    /// Port that the daemon listens on
    #[arg(long, env = "HAYWARD_PORT", default_value_t = 8765, value_parser = network::port)]
    port: u16,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    serving: Serving,
}

/// What was found.
#[derive(Serialize)]
struct Report {
    /// Whether everything that is promised is held.
    is_sound: bool,
    checks: Vec<Check>,
    fences: Vec<Fenced>,
}

impl Report {
    fn of(checks: Vec<Check>, fences: Vec<Fenced>) -> Self {
        let verdicts =
            checks.iter().map(|check| check.verdict).chain(fences.iter().map(|fence| fence.verdict));
        let is_sound = verdicts.max().is_none_or(|worst| worst < Verdict::Failed);
        Self { is_sound, checks, fences }
    }
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Ok,
    /// Weaker than it could be; nothing that is promised.
    Warning,
    /// Something that is promised isn't held.
    Failed,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { name, verdict, detail: detail.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let _log = args.common.start_log()?;
    let limits = args.serving.limits()?;
    let (form, is_remote) = (args.output, args.live.url.is_some());
    let report = runtime::block_on(async {
        match args.live.url.clone() {
            Some(url) => Ok(Report::of(args.live.checks(&url).await?, Vec::new())),
            None => examine(args, limits).await,
        }
    })?;
    show(form, &report, || told(&report))?;
    if report.is_sound {
        return Ok(());
    }
    let failed = if is_remote {
        "the server doesn't answer as it should"
    } else {
        "something that is promised can't be held here"
    };
    Err(Failure::from(anyhow!(failed)).hint("what is marked `failed` says what"))
}

async fn examine(args: Args, limits: AllLimits) -> Result<Report, Failure> {
    let data_dir = args.common.data_dir()?;
    let common = args.serving.fence.read(&data_dir).map_err(misfenced)?;
    let of_all = together(&args.serving.tool_fences)?;
    let of_all = checked_tools(&of_all, &data_dir).map_err(misfenced)?;
    let fencing = Fencing { of_all, ground: ground(&limits.host) };
    let url = args.common.database()?;
    let database = machine::database(&data_dir, url.as_ref()).await;
    let stored = match database.verdict {
        // What can't be read is told by its own check.
        Verdict::Failed => Vec::new(),
        _ => hayward_store::read_tokens(&data_dir, url.as_ref()).await.map_err(in_detail)?,
    };
    let protected: Vec<_> =
        std::iter::once(data_dir.clone()).chain(args.serving.protected_paths.iter().cloned()).collect();
    let executor = executor(&limits, args.serving.containment, protected.clone(), None);
    let mut checks = vec![
        checks::processes(executor.containment()),
        checks::data_directory(&data_dir),
        checks::daemon(&data_dir),
        checks::protected(&protected),
        checks::open_files(),
        checks::disk(&data_dir),
    ];
    checks.push(checks::record(&data_dir));
    checks.push(database);
    checks.push(machine::owners(&data_dir));
    checks.push(machine::configuration(crate::config::file().as_deref()));
    checks.push(machine::port(SocketAddr::new(args.host, args.port), &data_dir));
    checks.push(machine::clock(&data_dir));
    checks.extend(checks::tools(&stored));
    let mut fences = Vec::new();
    for had in fences::of(&common, &stored, &fencing) {
        fences.push(Fenced::try_out(&executor, had, &limits.host).await);
    }
    executor.shutdown(Duration::ZERO).await;
    Ok(Report::of(checks, fences))
}

/// A report for people.
fn told(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .checks
        .iter()
        .map(|check| {
            let hint = check.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
            vec![check.name.to_owned(), check.verdict.as_str().to_owned(), format!("{}{hint}", check.detail)]
        })
        .collect();
    let mut text = output::table(&["CHECK", "VERDICT", "DETAIL"], &rows);
    for fenced in &report.fences {
        text += &format!("\n{}", fenced.told());
    }
    text
}
