//! One data directory and all lives of daemons on it: each is tortured, and afterwards everything has to hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::check;
use crate::daemon::{Daemon, Started};
use crate::history::{Entry, Promise, Verdict};
use crate::http;
use crate::namespace::Namespace;
use crate::play::{Client, Credentials};
use crate::programs;
use crate::random::Random;
use crate::record::Account;
use crate::script::{self, Call, Deed};
use crate::tally::Tally;
use crate::world::World;

/// How soon a daemon must listen after whatever ended the one before it.
pub const READY_MAX: Duration = Duration::from_secs(2);

/// Small files of the record, so that they are put aside under torture as well.
const LIMITS: [&str; 2] = ["--limit", "audit.file_bytes_max=65536"];

/// What is tortured.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The binary.
    pub binary: PathBuf,
}

/// With which tokens a data directory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Stored ones, made before the first life: they outlive it.
    Stored,
    /// Those that each daemon makes for itself; the first life begins with nothing at all.
    Temporary,
}

/// A data directory, its world and its history.
#[derive(Debug)]
pub struct House {
    binary: PathBuf,
    dir: tempfile::TempDir,
    /// As a daemon names it.
    data: PathBuf,
    /// As we see it.
    seen: PathBuf,
    /// What stands before every command on the data directory.
    prefix: Vec<String>,
    /// Where calls leave something.
    pub world: World,
    /// Every call of all lives.
    pub entries: Vec<Entry>,
    stored: Option<Credentials>,
    life: usize,
    number: u64,
    unknown: usize,
    torn: usize,
}

impl House {
    /// A data directory in memory where that is possible, since the death of a process asks nothing of a disk.
    pub fn new(subject: &Subject, tokens: Tokens) -> Result<Self> {
        let dir = builder().tempdir_in("/dev/shm").or_else(|_| scratch())?;
        let data = dir.path().join("data");
        Self::furnish(subject, dir, (data.clone(), data), Vec::new(), tokens)
    }

    /// A data directory on what is mounted in a namespace, at the folder of this name.
    pub fn within(
        subject: &Subject,
        namespace: &Namespace,
        dir: tempfile::TempDir,
        mounted: &str,
    ) -> Result<Self> {
        let data = dir.path().join(mounted).join("data");
        let seen = namespace.seen(&data);
        Self::furnish(subject, dir, (data, seen), namespace.words(), Tokens::Stored)
    }

    fn furnish(
        subject: &Subject,
        dir: tempfile::TempDir,
        (data, seen): (PathBuf, PathBuf),
        prefix: Vec<String>,
        tokens: Tokens,
    ) -> Result<Self> {
        let world = World::new(dir.path().join("world"))?;
        let binary = subject.binary.clone();
        let (entries, stored, life, number, unknown, torn) = (Vec::new(), None, 0, 1, 0, 0);
        let mut house =
            Self { binary, dir, data, seen, prefix, world, entries, stored, life, number, unknown, torn };
        if tokens == Tokens::Stored {
            let make = |role: &str| house.token(role);
            house.stored = Some(Credentials { admin: make("admin")?, rw: make("rw")?, ro: make("ro")? });
        }
        Ok(house)
    }

    fn token(&self, role: &str) -> Result<String> {
        let words = ["token", "add", "--name", &format!("torture-{role}"), "--role", role];
        Ok(programs::finish(&mut self.command(&words)).context("failed to make a token")?.trim().to_owned())
    }

    /// A command of the binary on the data directory.
    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut all = self.prefix.clone();
        all.push(shown(&self.binary));
        all.extend(words.iter().map(ToString::to_string));
        let mut command = programs::command(&all);
        command.env("HAYWARD_DATA_DIR", &self.data);
        command
    }

    /// The data directory, as a daemon names it.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The data directory, as we see it.
    pub fn seen(&self) -> &Path {
        &self.seen
    }

    /// Where everything of it lies.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// A file beside the data directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Begins another life, with these words in front of the daemon's own.
    pub fn begin(&mut self, wrap: &[String]) -> Result<Started> {
        self.life += 1;
        let (ready, log) = (self.beside("ready"), self.beside("log"));
        let mut words = [&self.prefix, wrap].concat();
        words.extend([&shown(&self.binary), "serve", "--port", "0", "--data-dir"].map(ToOwned::to_owned));
        words.push(shown(&self.data));
        words.extend(LIMITS.map(ToOwned::to_owned));
        words.extend(["--ready-file".to_owned(), shown(&ready)]);
        Daemon::start(&words, &ready, &log)
    }

    /// A daemon that nothing is done to.
    pub fn begin_well(&mut self) -> Result<Daemon> {
        match self.begin(&[])? {
            Started::Ready(daemon) => Ok(daemon),
            Started::Ended(status) => anyhow::bail!("a daemon ended with {status}: {}", self.last_words()),
        }
    }

    /// A client of this daemon.
    pub fn client<'a>(&'a self, daemon: &'a Daemon) -> Client<'a> {
        let credentials = self.stored.as_ref().unwrap_or(&daemon.temporary);
        Client { address: daemon.address, credentials, world: &self.world, life: self.life }
    }

    /// The next so many calls for each of so many clients.
    pub fn script(&mut self, random: &mut Random, clients: u64, calls: u64) -> Vec<Vec<Call>> {
        let first = self.number;
        self.number += clients * calls;
        script::tracks(random, first, clients, calls)
    }

    /// Plays that many calls; how each ended stands in the entries.
    pub fn play(&mut self, daemon: &Daemon, random: &mut Random, clients: u64, calls: u64) -> Result<()> {
        let tracks = self.script(random, clients, calls);
        let played = self.client(daemon).play(&tracks)?;
        self.entries.extend(played);
        Ok(())
    }

    /// Sends one call of this kind; returns what came of it.
    pub fn send(&mut self, daemon: &Daemon, deed: Deed) -> Result<Verdict> {
        let call = Call::new(self.number, deed);
        self.number += 1;
        let client = self.client(daemon);
        client.prepare(&call)?;
        let entry = client.send(&call);
        let verdict = entry.verdict();
        self.entries.push(entry);
        Ok(verdict)
    }

    /// Says what is promised of the records of the life that has just ended.
    pub fn promise(&mut self, promise: impl Fn(&Entry) -> Promise) {
        let life = self.life;
        for entry in self.entries.iter_mut().filter(|entry| entry.life == life) {
            entry.promise = promise(entry);
        }
    }

    /// Starts a daemon that nothing is done to, and holds everything against everything.
    pub fn settle(&mut self, tally: &mut Tally, context: &str) -> Result<()> {
        let wrong = self.settled(tally)?;
        if !wrong.is_empty() {
            let place = self.keep();
            for what in wrong {
                tally.violation(format!("{context}: {what} (in {place})"));
            }
        }
        Ok(())
    }

    /// Leaves all of it behind, for whoever looks for a cause; returns where.
    pub fn keep(&mut self) -> String {
        self.dir.disable_cleanup(true);
        self.dir.path().display().to_string()
    }

    fn settled(&mut self, tally: &mut Tally) -> Result<Vec<String>> {
        let ended = self.life;
        let daemon = match self.begin(&[])? {
            Started::Ready(daemon) => daemon,
            Started::Ended(status) => {
                return Ok(vec![format!("no restart: {status}: {}", self.last_words())]);
            }
        };
        let mut wrong = Vec::new();
        tally.ready_in(daemon.ready_in);
        if daemon.ready_in > READY_MAX {
            wrong.push(format!("ready after {:?}", daemon.ready_in));
        }
        wrong.extend(self.probe_tokens(&daemon));
        wrong.extend(self.probe_servers(&daemon));
        if self.stored.is_some() {
            self.repeat_keyed(&daemon, ended);
        }
        match self.send(&daemon, Deed::Append)? {
            Verdict::Done => {}
            other => wrong.push(format!("a call after the restart: {other:?}")),
        }
        let status = daemon.stop()?;
        if !status.success() {
            wrong.push(format!("the end after the restart: {status}"));
        }
        wrong.extend(self.inspect(tally)?);
        Ok(wrong)
    }

    /// Holds everything against everything, offline.
    pub fn inspect(&mut self, tally: &mut Tally) -> Result<Vec<String>> {
        let mut wrong = self.verify()?;
        if let Some(panic) = self.log().lines().find(|line| line.contains("panicked at")) {
            wrong.push(panic.to_owned());
        }
        let account = Account::read(&self.seen.join("audit"))?;
        wrong.extend(check::violations(&self.entries, &account, &self.world.look()?));
        let (unknown, torn) = (account.unknown(), account.torn);
        tally.unknown += u64::try_from(unknown.saturating_sub(self.unknown)).unwrap_or(0);
        tally.torn += u64::try_from(torn.saturating_sub(self.torn)).unwrap_or(0);
        (self.unknown, self.torn) = (unknown, torn);
        Ok(wrong)
    }

    /// What the record says, read from its lines.
    pub fn account(&self) -> Result<Account> {
        Account::read(&self.seen.join("audit"))
    }

    /// Tokens that were made are there, those that were revoked are not.
    fn probe_tokens(&self, daemon: &Daemon) -> Vec<String> {
        let mut wrong = Vec::new();
        let of = |deed: Deed| self.entries.iter().filter(move |entry| entry.call.deed == deed);
        for made in of(Deed::Create) {
            let Some(token) = made.token() else { continue };
            let revoked: Vec<Verdict> = of(Deed::Revoke)
                .filter(|entry| entry.call.marker == made.call.marker && entry.was_sent())
                .map(Entry::verdict)
                .collect();
            let status = http::ask(daemon.address, &token, "ping", &json!({})).map(|answer| answer.status);
            let is_fine = if revoked.contains(&Verdict::Done) {
                status == Ok(401)
            } else if revoked.iter().all(|verdict| *verdict == Verdict::Refused) {
                status == Ok(200)
            } else {
                matches!(status, Ok(200 | 401))
            };
            if !is_fine {
                wrong.push(format!("token {}, revoked {revoked:?}: answered {status:?}", made.call.marker));
            }
        }
        wrong
    }

    /// Servers that were declared are there, both of a step or neither, and none that nobody has declared.
    fn probe_servers(&self, daemon: &Daemon) -> Vec<String> {
        let declared =
            || self.entries.iter().filter(|entry| entry.call.deed == Deed::Declare && entry.was_sent());
        if declared().next().is_none() {
            return Vec::new();
        }
        let admin = &self.client(daemon).credentials.admin;
        let answer = http::send(daemon.address, ("GET", "/api/v1/servers"), admin, "");
        let listed = answer.map(|answer| answer.json()).unwrap_or_default();
        let Some(listed) = listed.as_array() else { return vec![format!("no list of servers: {listed}")] };
        let names: BTreeSet<&str> = listed.iter().filter_map(|server| server["name"].as_str()).collect();
        let mut known = 0;
        let mut wrong = Vec::new();
        for entry in declared() {
            let there = Call::declared(&entry.call.marker).map(|name| names.contains(&*name));
            known += there.into_iter().filter(|is_there| *is_there).count();
            let is_fine = match entry.verdict() {
                Verdict::Done => there == [true; 2],
                Verdict::Refused => there == [false; 2],
                _ => there[0] == there[1],
            };
            if !is_fine {
                wrong.push(format!(
                    "servers of {}: {:?}, and there are {there:?}",
                    entry.call.marker,
                    entry.verdict()
                ));
            }
        }
        if known != names.len() {
            wrong.push(format!("{} servers, of which {known} were declared", names.len()));
        }
        wrong
    }

    /// Sends what was sent under a key in this life once more.
    fn repeat_keyed(&mut self, daemon: &Daemon, life: usize) {
        let keyed = self
            .entries
            .iter()
            .filter(|entry| entry.life == life && entry.call.deed == Deed::AppendOnce && entry.was_sent());
        let again: Vec<Call> =
            keyed.map(|entry| Call { marker: entry.call.marker.clone(), deed: Deed::Again }).collect();
        let client = self.client(daemon);
        let repeated: Vec<Entry> = again.iter().map(|call| client.send(call)).collect();
        self.entries.extend(repeated);
    }

    /// What `audit verify` finds.
    fn verify(&self) -> Result<Vec<String>> {
        let output = self.command(&["audit", "verify", "-o", "json"]).output().context("failed to verify")?;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if output.status.success() && said["is_sound"] == true {
            return Ok(Vec::new());
        }
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let findings = said["findings"].as_array().cloned().unwrap_or_default();
        let mut wrong: Vec<String> = findings.iter().map(|finding| format!("verify: {finding}")).collect();
        if wrong.is_empty() {
            wrong.push(format!("verify ended with {}: {told}", output.status));
        }
        Ok(wrong)
    }

    /// What all daemons have told.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.beside("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn last_words(&self) -> String {
        let log = self.log();
        log.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
    }
}

/// A folder for a house, on the disk of temporary files.
pub fn scratch() -> Result<tempfile::TempDir> {
    let dir = builder().tempdir().context("failed to make a scratch folder")?;
    ensure!(dir.path().is_absolute(), "the scratch folder has no absolute path");
    Ok(dir)
}

fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("hayward-torture-");
    builder
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
