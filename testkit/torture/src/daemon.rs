//! A daemon: started with whatever stands between it and us, ended as it is wanted.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::play::Credentials;
use crate::programs::{self, holds_within};

/// How long it may take until it listens, before it is given up.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to end when it is told to.
const END_WITHIN: Duration = Duration::from_secs(30);

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its own process.
    pub pid: u32,
    /// The tokens that die with it; empty ones if it has made none.
    pub temporary: Credentials,
    /// How long it took until it listened.
    pub ready_in: Duration,
    /// The process that we have started: the daemon, or what it was started by.
    child: Child,
}

/// What came of a start.
#[derive(Debug)]
pub enum Started {
    /// It listens.
    Ready(Daemon),
    /// It ended before that.
    Ended(ExitStatus),
}

impl Daemon {
    /// Starts it by this command, whose last words name the ready file; what it tells goes to the end of `log`.
    pub(crate) fn start(words: &[String], ready: &Path, log: &Path) -> Result<Started> {
        fs::remove_file(ready).ok();
        let log = File::options().create(true).append(true).open(log).context("failed to open a log")?;
        let mut command = programs::command(words);
        let started = Instant::now();
        let mut child =
            command.stdout(Stdio::null()).stderr(log).spawn().context("failed to start a daemon")?;
        let mut ended = None;
        let is_settled = holds_within(READY_WITHIN, || {
            // A rename puts the ready file in place: it is there as a whole or not at all.
            ended = child.try_wait().ok().flatten();
            ended.is_some() || ready.exists()
        });
        if let Some(status) = ended {
            return Ok(Started::Ended(status));
        }
        if !is_settled {
            child.kill().ok();
            child.wait().ok();
            bail!("a daemon was not ready within {} s", READY_WITHIN.as_secs());
        }
        let ready_in = started.elapsed();
        let said: Value = serde_json::from_slice(&fs::read(ready).context("failed to read a ready file")?)?;
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        let url = text("url");
        let address = url.trim_start_matches("http://").trim_end_matches("/mcp").parse();
        Ok(Started::Ready(Self {
            address: address.context("a ready file has no address")?,
            pid: said["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("no pid")?,
            temporary: Credentials { admin: text("admin_token"), rw: text("rw_token"), ro: text("ro_token") },
            ready_in,
            child,
        }))
    }

    /// Sends it a signal; nothing if it is gone.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            kill_process(pid, signal).ok();
        }
    }

    /// Whether what was started still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Tells it to end, and waits.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        programs::reap(&mut self.child, END_WITHIN).context("a daemon doesn't end when it is told to")
    }

    /// Kills it, and waits.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL);
        programs::reap(&mut self.child, END_WITHIN).context("a daemon survives its death")
    }

    /// How many files it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_running() {
            self.signal(Signal::KILL);
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
