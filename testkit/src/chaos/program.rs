//! The program, where whoever is jailed may start it, and as a server that runs elsewhere.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::daemon::command;

/// How long it may take to listen on a busy machine.
const READY: Duration = Duration::from_secs(30);

/// A copy of it that jailed processes see, until this is dropped. Its path is nobody else's.
pub struct Program {
    folder: TempDir,
}

impl Program {
    /// Copies it.
    pub fn install(binary: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("chaos").tempdir_in("/usr/local/share")?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        std::fs::copy(binary, folder.path().join("chaos"))
            .with_context(|| format!("`{}` is built with the tests of its crate", binary.display()))?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("chaos")
    }

    /// All processes that run it, but not those that only watch over one.
    pub fn processes(&self) -> Vec<Pid> {
        let path = self.path();
        let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
        pids.filter(|pid| {
            let command = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            let command = command.unwrap_or_default();
            command.split(|byte| *byte == 0).next() == Some(path.as_os_str().as_encoded_bytes())
        })
        .collect()
    }
}

/// It over HTTP.
pub struct Elsewhere {
    /// Where it listens, also once it was started again.
    pub port: u16,
    program: PathBuf,
    args: Vec<String>,
    ready: PathBuf,
    child: Child,
}

impl Elsewhere {
    /// Starts it on a free port; where it listens is told in a file below this folder.
    pub fn start(program: &Program, folder: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let ready = folder.join(format!("chaos{}", args.join("")));
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (child, port) = begin(&program.path(), &args, &ready, 0)?;
        Ok(Self { port, program: program.path(), args, ready, child })
    }

    /// The URL of its endpoint.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Starts it where it was.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.kill();
        (self.child, self.port) = begin(&self.program, &self.args, &self.ready, self.port)?;
        Ok(())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.kill();
    }
}

fn begin(program: &Path, args: &[String], ready: &Path, port: u16) -> anyhow::Result<(Child, u16)> {
    std::fs::remove_file(ready).ok();
    let mut command = command(program.to_str().context("a path of text")?, args);
    command.arg("--http").arg(ready).args(["--port", &port.to_string()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let started = Instant::now();
    while !ready.exists() {
        let is_there = matches!(child.try_wait(), Ok(None)) && started.elapsed() < READY;
        if !is_there {
            child.kill().ok();
            child.wait().ok();
        }
        ensure!(is_there, "the server does not listen");
        std::thread::park_timeout(Duration::from_millis(2));
    }
    let port = std::fs::read_to_string(ready)?.parse()?;
    Ok((child, port))
}
