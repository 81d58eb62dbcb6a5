//! The real binary as a child process, ended when the test is over.

use std::ffi::OsStr;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::client::{Answer, post, request, send_raw};

/// How long a daemon may take to listen on a busy machine.
const READY: Duration = Duration::from_secs(30);

/// A running `hayward serve`.
pub struct Daemon {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its ready file says.
    pub ready: Value,
    child: Child,
}

/// A command that runs the binary, with none of the environment's settings.
#[expect(clippy::disallowed_methods, reason = "tests start the binary")]
pub fn command<S: AsRef<OsStr>>(binary: &str, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary);
    command.args(args).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// Runs the binary to its end with this standard input.
pub fn run_with_input(binary: &str, args: &[&str], input: &str) -> anyhow::Result<Output> {
    let mut child =
        command(binary, args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("standard input is a pipe")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

impl Daemon {
    /// Starts `serve` on a free port with this data directory and further arguments.
    pub fn start(binary: &str, data_dir: &Path, args: &[&str]) -> anyhow::Result<Self> {
        Self::start_writing(binary, data_dir, args, [Stdio::null(), Stdio::null()])
    }

    /// The same on a port that is known before.
    pub fn start_on(binary: &str, data_dir: &Path, port: u16) -> anyhow::Result<Self> {
        let mut command = command(binary, ["serve", "--port", &port.to_string()]);
        command.stderr(Stdio::null()).stdout(Stdio::null());
        Self::start_command(command, data_dir)
    }

    /// The same with this standard output and error.
    pub fn start_writing(
        binary: &str,
        data_dir: &Path,
        args: &[&str],
        [stdout, stderr]: [Stdio; 2],
    ) -> anyhow::Result<Self> {
        let mut command = command(binary, ["serve", "--port", "0"]);
        command.args(args).stderr(stderr).stdout(stdout);
        Self::start_command(command, data_dir)
    }

    /// Starts `serve` on a free port with these variables in its environment.
    pub fn start_with(binary: &str, data_dir: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut command = command(binary, ["serve", "--port", "0"]);
        command.envs(variables.iter().copied()).stderr(Stdio::null()).stdout(Stdio::null());
        Self::start_command(command, data_dir)
    }

    fn start_command(mut command: Command, data_dir: &Path) -> anyhow::Result<Self> {
        let ready_file = PathBuf::from(format!("{}.ready", data_dir.display()));
        std::fs::remove_file(&ready_file).ok();
        command.arg("--data-dir").arg(data_dir).arg("--ready-file").arg(&ready_file);
        let mut child = command.spawn()?;
        let started = Instant::now();
        while !ready_file.exists() {
            if let Some(status) = child.try_wait()? {
                bail!("the daemon ended before it listened: {status}");
            }
            if started.elapsed() > READY {
                child.kill()?;
                bail!("the daemon does not listen");
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let ready: Value = serde_json::from_slice(&std::fs::read(&ready_file)?)?;
        let url = ready["url"].as_str().context("the ready file has a url")?;
        let address = url.trim_start_matches("http://").trim_start_matches("https://");
        let address = address.trim_end_matches("/mcp").parse()?;
        Ok(Self { address, ready, child })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The temporary token of this role.
    pub fn token(&self, role: &str) -> &str {
        self.ready[format!("{role}_token")].as_str().unwrap_or_default()
    }

    /// Calls a method as a legacy client with this token.
    pub async fn ask(&self, token: &str, method: &str, params: Value) -> anyhow::Result<Answer> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        post(self.address, "/mcp", &[("authorization", &format!("Bearer {token}"))], &body).await
    }

    /// Calls a tool; returns the result.
    pub async fn call(&self, role: &str, tool: &str, arguments: Value) -> anyhow::Result<Value> {
        let answer =
            self.ask(self.token(role), "tools/call", json!({"name": tool, "arguments": arguments})).await?;
        Ok(answer.json()["result"].clone())
    }

    /// Sends any other request with a token.
    pub async fn send(&self, method: &str, path: &str, token: &str, body: &str) -> anyhow::Result<Answer> {
        let bearer = format!("Bearer {token}");
        send_raw(self.address, &request(method, self.address, path, &[("authorization", &bearer)], body))
            .await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw).context("a pid")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // As a signal would end it, so that it tidies up; by force if it doesn't.
        self.signal(rustix::process::Signal::TERM).ok();
        let started = Instant::now();
        while started.elapsed() < READY {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Mounts a small file system in memory; false where that isn't allowed.
pub fn mount_tmpfs(path: &Path, size: &str) -> bool {
    let options = format!("size={size}");
    let path = path.display().to_string();
    succeeds("mount", &["-t", "tmpfs", "-o", &options, "hayward-test", &path])
}

/// Takes it away again.
pub fn unmount(path: &Path) {
    succeeds("umount", &["-l", &path.display().to_string()]);
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    command(program, args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .status()
        .is_ok_and(|status| status.success())
}

/// The text of a result's first block.
pub fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}
