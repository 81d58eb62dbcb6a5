//! A Docker engine of its own: socket, data, and a network that nobody else is in.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::scratch;
use crate::step;

/// How long it may take to come up, and to go.
const UP_WITHIN: Duration = Duration::from_mins(1);
const DOWN_WITHIN: Duration = Duration::from_secs(30);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A running engine.
pub(super) struct Engine {
    child: Child,
    /// What it keeps; images are large.
    data: TempDir,
    /// Its socket: the path of one must be short.
    run: TempDir,
}

impl Engine {
    /// Starts one.
    pub(super) fn start() -> Result<Self> {
        let (data, run) = (scratch()?, tempfile::tempdir().context("failed to make a scratch folder")?);
        let log = fs::File::create(data.path().join("log")).context("failed to make a log")?;
        let mut command = step::command("unshare");
        // Its bridge, its rules and the ports that it opens are in a network of its own, and its mounts are seen by it alone.
        command.args(["--net", "--mount", "sh", "-c", "ip link set lo up && exec dockerd \"$@\"", "dockerd"]);
        command.arg("--host").arg(format!("unix://{}", run.path().join("socket").display()));
        command.arg("--data-root").arg(data.path().join("data"));
        command.arg("--exec-root").arg(run.path().join("exec"));
        command.arg("--pidfile").arg(run.path().join("pid"));
        let errors = log.try_clone().context("failed to share a log")?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().context("failed to start dockerd")?;
        let mut engine = Self { child, data, run };
        engine.wait()?;
        Ok(engine)
    }

    fn wait(&mut self) -> Result<()> {
        let start = Instant::now();
        let said = |engine: &Self| {
            let log = fs::read_to_string(engine.data.path().join("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(5).map(str::to_owned).collect();
            last.join("; ")
        };
        while start.elapsed() < UP_WITHIN {
            let answer = step::output_of(self.docker(&["version"]).stdin(Stdio::null()))?;
            if answer.status.success() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().context("failed to look at dockerd")? {
                bail!("dockerd ended with {status}: {}", said(self));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        bail!("dockerd does not answer: {}", said(self))
    }

    /// The client, for this engine.
    pub(super) fn docker(&self, words: &[&str]) -> Command {
        let mut docker = self.client("docker");
        docker.args(words);
        docker
    }

    /// Compose, for this engine and the example in `deploy/`.
    pub(super) fn compose(&self, words: &[&str]) -> Command {
        let mut compose = self.client("docker-compose");
        compose.args(["--project-name", "example", "--file", "deploy/compose.yaml"]).args(words);
        compose
    }

    fn client(&self, program: &str) -> Command {
        let mut client = step::command(program);
        // Nobody's settings, and the builder that is always there.
        client.env("DOCKER_HOST", self.address()).env("DOCKER_CONFIG", self.run.path());
        client.env("DOCKER_BUILDKIT", "0").env_remove("DOCKER_CONTEXT");
        client
    }

    fn address(&self) -> String {
        format!("unix://{}", self.run.path().join("socket").display())
    }

    /// Runs the client to its end; returns what it wrote to standard output.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        Ok(step::capture(&mut self.docker(words))?.trim().to_owned())
    }

    /// A program of this machine in the engine's network, where its published ports are.
    pub(super) fn beside(&self, program: &str) -> Command {
        let mut command = step::command("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.child.id())).arg(program);
        command
    }
}

impl Drop for Engine {
    /// Asks it to end, then makes it.
    fn drop(&mut self) {
        let asked = step::command("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let start = Instant::now();
        while asked.is_ok() && start.elapsed() < DOWN_WITHIN {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
