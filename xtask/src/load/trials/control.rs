//! The control plane: nodes that share a PostgreSQL, one that keeps its own SQLite, a crowd of watches, and the command line.

use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::super::page::Line;
use super::super::rig::{Rig, curl};
use super::{Size, count, words};
use crate::bench::server::Server;
use crate::step;
use crate::toolbox::{Disk, Postgres};

/// Writers at once.
const WRITERS: usize = 200;
/// Changes of each of them.
const CHANGES: usize = 20;
/// Times that a command is timed.
const TIMES: usize = 21;
/// How long a change of somebody else holds everybody up, and how often one comes.
const SLOW_MS: u64 = 150;

const APPLY_MS: f64 = 1_000.0;
const LIST_MS: f64 = 100.0;
const LIST_CLI_MS: f64 = 300.0;
const GET_CLI_MS: f64 = 15.0;
const WATCH_MS: f64 = 50.0;
const WATCHES_MIB: f64 = 50.0;

/// What a trial of nodes saw. The names are those that it prints.
#[derive(Deserialize)]
struct Seen {
    apply_p50: f64,
    list_p50: f64,
    list_longest: f64,
    watch_p50: f64,
    watch_longest: f64,
    writes: usize,
    conflicts: usize,
    per_second: f64,
    lost_updates: usize,
    torn_lists: usize,
    lists: usize,
    missed_events: usize,
    disordered_events: usize,
}

#[derive(Deserialize)]
struct Followed {
    all_p50: f64,
    all_longest: f64,
    memory_mib: f64,
}

/// Two nodes, one database, and changes of somebody else that take their time.
pub(super) fn two_nodes(rig: &Rig, size: &Size) -> Result<Vec<Line>> {
    let postgres = Postgres::start(Disk::Synced)?;
    postgres.execute("CREATE DATABASE nodes")?;
    let url = postgres.url_of("nodes");
    // Both know the tokens of the database, and none of the other's own.
    let admin = rig.stored_admin("first", &url)?;
    let first = rig.daemon("first", Some(&url))?;
    let second = rig.daemon("second", Some(&url))?;
    let slow = Slow::begin(&url)?;
    let mut words = nodes(size);
    words.extend(["--other".to_owned(), second.endpoint.url.clone()]);
    let seen: Seen = rig.manage(&first, &admin, &words)?;
    drop(slow);
    Ok(lines("two nodes on PostgreSQL", &seen, size))
}

/// One node with its own database.
pub(super) fn one_node(rig: &Rig, size: &Size) -> Result<Vec<Line>> {
    let server = rig.daemon("alone", None)?;
    let seen: Seen = rig.manage(&server, &server.endpoint.admin_token, &nodes(size))?;
    let mut told = lines("one node on SQLite", &seen, size);
    told.extend(commands(rig, &server, size)?);
    Ok(told)
}

/// A crowd of watches of one node.
pub(super) fn watches(rig: &Rig, size: &Size) -> Result<Vec<Line>> {
    let server = rig.daemon("followed", None)?;
    let (watches, pid) = (size.clients.to_string(), server.endpoint.pid.to_string());
    let words = words(["followers", "--watches", &watches, "--pid", &pid]);
    let Followed { all_p50, all_longest, memory_mib } =
        rig.manage(&server, &server.endpoint.admin_token, &words)?;
    let who = format!("{} watches", count(size.clients));
    Ok(vec![
        Line::goal(
            format!("{who}: all have heard of a change: p50 / longest"),
            format!("{all_p50:.1} / {all_longest:.1} ms"),
            &format!("p50 ≤ {WATCH_MS:.0} ms"),
            all_p50 <= WATCH_MS,
        ),
        Line::goal(
            format!("{who}: memory"),
            format!("{memory_mib:.1} MiB"),
            &format!("≤ {WATCHES_MIB:.0} MiB"),
            memory_mib <= WATCHES_MIB,
        ),
    ])
}

fn nodes(size: &Size) -> Vec<String> {
    let (servers, writers) = (size.sessions.to_string(), WRITERS.to_string());
    words(["nodes", "--servers", &servers, "--writers", &writers, "--changes", &CHANGES.to_string()])
}

fn lines(who: &str, seen: &Seen, size: &Size) -> Vec<Line> {
    let none = |what: &str, number: usize, of: String| {
        Line::goal(format!("{who}: {what}"), format!("{number}{of}"), "0", number == 0)
    };
    let servers = count(size.sessions);
    vec![
        Line::goal(
            format!("{who}: `apply` of 1,000 servers, p50"),
            format!("{:.0} ms", seen.apply_p50),
            &format!("≤ {APPLY_MS:.0} ms"),
            seen.apply_p50 <= APPLY_MS,
        ),
        Line::goal(
            format!("{who}: list of {servers} servers over REST: p50 / longest"),
            format!("{:.0} / {:.0} ms", seen.list_p50, seen.list_longest),
            &format!("p50 ≤ {LIST_MS:.0} ms"),
            seen.list_p50 <= LIST_MS,
        ),
        Line::goal(
            format!("{who}: a change is told by a watch: p50 / longest"),
            format!("{:.1} / {:.1} ms", seen.watch_p50, seen.watch_longest),
            &format!("p50 ≤ {WATCH_MS:.0} ms"),
            seen.watch_p50 <= WATCH_MS,
        ),
        Line::shown(
            format!("{who}: changes of {WRITERS} writers"),
            format!(
                "{}, {:.0} per second, {} tried again",
                count(seen.writes),
                seen.per_second,
                count(seen.conflicts)
            ),
        ),
        none("lost updates", seen.lost_updates, format!(" of {}", count(seen.writes))),
        none("torn lists", seen.torn_lists, format!(" of {}", seen.lists)),
        none("events that a watch missed", seen.missed_events, String::new()),
        none("events out of order", seen.disordered_events, String::new()),
    ]
}

/// The command line beside the bare request.
fn commands(rig: &Rig, server: &Server, size: &Size) -> Result<Vec<Line>> {
    let token = &server.endpoint.admin_token;
    let at = |path: &str| server.endpoint.at(path).url;
    let one = |name: &str| timed(|| curl(token, &at(&format!("/api/v1/servers/{name}"))));
    let curl = one("hot-00")?;
    let get = timed(|| rig.hayward(&server.endpoint.at("").url, token, &["get", "server", "hot-00"]))?;
    let list = timed(|| rig.hayward(&server.endpoint.at("").url, token, &["get", "servers"]))?;
    let over = get - curl;
    Ok(vec![
        Line::goal(
            "`hayward get` of one server / curl / what is over",
            format!("{get:.1} / {curl:.1} / {over:.1} ms"),
            &format!("over ≤ {GET_CLI_MS:.0} ms"),
            over <= GET_CLI_MS,
        ),
        Line::goal(
            format!("`hayward get servers` of {}", count(size.sessions)),
            format!("{list:.0} ms"),
            &format!("≤ {LIST_CLI_MS:.0} ms"),
            list <= LIST_CLI_MS,
        ),
    ])
}

/// The median of some runs, in milliseconds.
fn timed(run: impl Fn() -> Result<()>) -> Result<f64> {
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        run()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took[TIMES / 2].as_secs_f64() * 1e3)
}

/// Changes of somebody else, each of which holds what every change needs for a while, then lets go of it again.
struct Slow {
    child: Child,
    _script: NamedTempFile,
}

impl Slow {
    fn begin(url: &str) -> Result<Self> {
        let hold = format!(
            "BEGIN; UPDATE revision SET value = value; SELECT pg_sleep({}); ROLLBACK; SELECT pg_sleep(0.3);\n",
            Duration::from_millis(SLOW_MS).as_secs_f64()
        );
        let script = NamedTempFile::new().context("failed to make a script")?;
        std::fs::write(script.path(), hold.repeat(2_000)).context("failed to write a script")?;
        let mut psql = step::command("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f"]).arg(script.path()).arg(url);
        let child = psql.spawn().context("failed to start psql")?;
        Ok(Self { child, _script: script })
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
