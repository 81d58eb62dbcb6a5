//! `hayward audit tail`, `query`, `show`: the calls in a record.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use hayward_api::{Code, Error};
use hayward_audit::{Call, Calls, Filter, Follow, Line};
use jiff::Timestamp;
use serde::Serialize;

use super::{Folders, Form, json, plain, show as show_as, written, yaml};
use crate::failure::Failure;
use crate::stack::unrecorded;
use crate::{moment, output, runtime};

/// How often a record that is followed is looked at.
const POLL: Duration = Duration::from_millis(200);
/// Calls that are asked for and kept in memory at most.
const CALLS_MAX: u32 = 100_000;
/// The method of requests that manage.
const MANAGE: &str = "manage";

#[derive(clap::Args)]
pub(super) struct TailArgs {
    /// Goes on as calls end, until it is interrupted
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    which: Which,
    /// Number of calls, the newest ones
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=i64::from(CALLS_MAX)))]
    limit: u32,
    /// Form of the output; JSON is one line for each call
    #[arg(long, short, value_enum, default_value = "table")]
    output: Form,
}

#[derive(clap::Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    which: Which,
    /// Number of calls, the newest ones
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(..=i64::from(CALLS_MAX)))]
    limit: u32,
    /// Form of the output
    #[arg(long, short, value_enum, default_value = "table")]
    output: Form,
}

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    /// Number of its record, or id of its request
    #[arg(value_name = "SEQ|REQUEST_ID")]
    name: String,
    /// Form of the output
    #[arg(long, short, value_enum, default_value = "yaml")]
    output: Form,
}

/// What `--result` takes: the endings of calls, and what stands in their place.
const ENDINGS: [&str; 8] = ["ok", "error", "denied", "cancelled", "timeout", "unknown", "open", "noted"];

#[derive(clap::Args)]
struct Which {
    /// Name, credential or kind of who asked
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Tool, or method, that was asked for; `*` stands for anything, as in `servers.*`
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Server, or toolset
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Project at whose endpoint it came in
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Session that it was of
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// What belongs together: the id of the request that began it
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    /// Tier of the tool
    #[arg(long, value_name = "TIER", value_parser = ["read", "operate", "danger"])]
    tier: Option<String>,
    /// How it ended; open if it has not, noted if it is no call
    #[arg(long, value_name = "ENDING", value_parser = ENDINGS)]
    result: Option<String>,
    /// Not before this: a time (2026-01-31T00:00:00Z), or so long ago (2h, 30m, 7d)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before this
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Text anywhere in it
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

impl Which {
    fn filter(&self) -> Filter {
        Filter {
            principal: self.principal.clone(),
            tool: self.tool.clone(),
            server: self.server.clone(),
            project: self.project.clone(),
            session: self.session.clone(),
            correlation_id: self.correlation.clone(),
            tier: self.tier.clone(),
            ending: self.result.clone(),
            since: self.since,
            until: self.until,
            text: self.text.clone(),
        }
    }
}

/// A time, or how long ago it is.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    moment::parse(text, moment::Side::Ago)
}

/// The calls that are asked for, the newest of them.
struct Newest {
    calls: VecDeque<Call>,
    limit: usize,
}

impl Newest {
    fn new(limit: u32) -> Self {
        Self { calls: VecDeque::new(), limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    fn push(&mut self, call: Call) {
        self.calls.push_back(call);
        if self.calls.len() > self.limit {
            self.calls.pop_front();
        }
    }
}

/// Reads a record to its end.
fn read(folders: &Folders, calls: &mut Calls, mut each: impl FnMut(Call)) -> Result<Follow, Failure> {
    let opened = Follow::open(&folders.audit(), |line| {
        if let Some(call) = whole(calls, line) {
            each(call);
        }
    });
    opened.map_err(unrecorded)
}

fn whole(calls: &mut Calls, line: Line) -> Option<Call> {
    match line {
        Line::Record(record) => calls.take(&record),
        Line::Torn { .. } => None,
    }
}

pub(super) fn query(args: &QueryArgs, folders: &Folders) -> Result<(), Failure> {
    let (filter, mut calls, mut newest) = (args.which.filter(), Calls::default(), Newest::new(args.limit));
    let mut keep = |call: Call| {
        if filter.takes(&call) {
            newest.push(call);
        }
    };
    read(folders, &mut calls, &mut keep)?;
    calls.rest().for_each(keep);
    let mut calls: Vec<Call> = newest.calls.into();
    calls.sort_by_key(Call::seq);
    show_as(args.output, &calls, || table(&calls))
}

/// A call, and where output of its command is that nobody was told.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    call: &'a Call,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<PathBuf>,
}

pub(super) fn show(args: &ShowArgs, folders: &Folders) -> Result<(), Failure> {
    let (mut calls, mut found) = (Calls::default(), Newest::new(CALLS_MAX));
    let mut keep = |call: Call| {
        if call.is_named(&args.name) {
            found.push(call);
        }
    };
    read(folders, &mut calls, &mut keep)?;
    calls.rest().for_each(keep);
    let found: Vec<Call> = found.calls.into();
    let shown: Vec<_> = found.iter().map(|call| Shown { call, outputs: folders.outputs(call) }).collect();
    match &shown[..] {
        [] => Err(Error::new(Code::NotFound, format!("no call is named `{}`", args.name))
            .with_hint("`hayward audit query` lists them")
            .into()),
        [call] => show_as(args.output, call, || table(&found)),
        several => show_as(args.output, &several, || table(&found)),
    }
}

pub(super) fn tail(args: &TailArgs, folders: &Folders) -> Result<(), Failure> {
    let (filter, mut calls, mut newest) = (args.which.filter(), Calls::default(), Newest::new(args.limit));
    let mut follow = read(folders, &mut calls, |call| {
        if filter.takes(&call) {
            newest.push(call);
        }
    })?;
    let shown: Vec<Call> = newest.calls.into();
    written(output::data(&lines(args.output, &shown, Heading::Shown)?))?;
    if !args.follow {
        return Ok(());
    }
    runtime::block_on(async {
        let end = runtime::shutdown_signal()?;
        while !end.is_cancelled() {
            let mut fresh = Vec::new();
            let read = follow.read(|line| fresh.extend(whole(&mut calls, line)));
            read.map_err(unrecorded)?;
            fresh.retain(|call| filter.takes(call));
            if !fresh.is_empty() {
                written(output::data(&lines(args.output, &fresh, Heading::Left)?))?;
            }
            tokio::select! {
                () = end.cancelled() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        Ok(())
    })
}

/// Whether a table says what its columns are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heading {
    Shown,
    Left,
}

/// Calls one after the other: what comes later can be written behind it.
fn lines(form: Form, calls: &[Call], heading: Heading) -> Result<String, Failure> {
    let rows = table(calls);
    let texts = match form {
        Form::Table if heading == Heading::Shown => Ok(plain(&rows)),
        Form::Table => Ok(plain(rows.split_once('\n').map_or("", |(_, rows)| rows))),
        Form::Json => calls.iter().map(|call| Ok(json(call, serde_json::to_string)? + "\n")).collect(),
        Form::Yaml => calls.iter().map(|call| Ok(format!("---\n{}", yaml(call)?))).collect(),
    };
    let texts: std::io::Result<String> = texts;
    Ok(texts.context("failed to write a call")?)
}

/// What a call that manages was about: what it names, or the first of what it applied and how many more.
fn object(call: &Call) -> String {
    if call.text("method") != MANAGE {
        return String::new();
    }
    let named = ["name", "id", "email", "as"].map(|member| call.text(&format!("arguments.{member}")));
    if let Some(named) = named.into_iter().find(|named| !named.is_empty()) {
        return named;
    }
    let list = |member: &str| {
        let text = call.text(&format!("arguments.{member}"));
        serde_json::from_str::<Vec<String>>(&text).unwrap_or_default()
    };
    let applied: Vec<String> =
        ["created", "updated", "deleted", "unchanged"].into_iter().flat_map(list).collect();
    match &applied[..] {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

fn table(calls: &[Call]) -> String {
    // A cell is one line.
    let cell =
        |call: &Call, path: &str| call.text(path).replace('\n', " ").chars().take(60).collect::<String>();
    let row = |call: &Call| {
        let tool = if call.text("tool").is_empty() { cell(call, "method") } else { cell(call, "tool") };
        let why = if call.text("reason").is_empty() { "outcome.message" } else { "reason" };
        vec![
            cell(call, "seq"),
            cell(call, "time").chars().take(19).collect::<String>() + "Z",
            cell(call, "principal.name"),
            tool,
            object(call).replace('\n', " ").chars().take(60).collect(),
            cell(call, "tier"),
            cell(call, "ending"),
            cell(call, "outcome.duration_ms"),
            cell(call, why),
        ]
    };
    let rows: Vec<Vec<String>> = calls.iter().map(row).collect();
    output::table(&["SEQ", "TIME", "PRINCIPAL", "TOOL", "OBJECT", "TIER", "RESULT", "MS", "WHY"], &rows)
}
