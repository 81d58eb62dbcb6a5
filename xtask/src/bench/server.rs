//! A server process of a benchmark: started in its own session, stopped when it is dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::http;
use crate::step;

/// How long a server may take to come up (a Python one, cold, takes seconds).
const UP_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to stop before it is killed.
const DOWN_WITHIN: Duration = Duration::from_secs(5);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// How to reach a server. The names are those of ready files.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Endpoint {
    /// Its MCP endpoint.
    pub(crate) url: String,
    /// A token that may do everything that is measured.
    #[serde(default, rename = "rw_token")]
    pub(crate) token: String,
    /// A token that may read.
    #[serde(default)]
    pub(crate) ro_token: String,
    /// A token that manages.
    #[serde(default)]
    pub(crate) admin_token: String,
    /// Its process.
    #[serde(default)]
    pub(crate) pid: u32,
    /// The certificate to trust, if it speaks TLS.
    #[serde(skip)]
    pub(crate) certificate: Option<PathBuf>,
}

impl Endpoint {
    /// The same server at another path.
    pub(crate) fn at(&self, path: &str) -> Self {
        let root = self.url.trim_end_matches("/mcp");
        Self { url: format!("{root}{path}"), ..self.clone() }
    }

    /// Lists the tools: the least that shows that a server serves.
    pub(crate) fn list_tools(&self) -> Result<String> {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
        http::post(&self.url, &self.token, "MCP-Protocol-Version: 2025-06-18\r\n", body)
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// How to reach it.
    pub(crate) endpoint: Endpoint,
}

impl Server {
    /// Starts a server that writes a ready file.
    pub(crate) fn start(command: &mut Command, ready: &Path) -> Result<Self> {
        let mut server = Self::spawn(command)?;
        server.endpoint = server.wait(|| read_ready(ready))?;
        Ok(server)
    }

    /// Starts a server that says nothing; `probe` returns how to reach it as soon as it can be.
    pub(crate) fn start_silent(
        command: &mut Command,
        probe: impl FnMut() -> Option<Endpoint>,
    ) -> Result<Self> {
        let mut server = Self::spawn(command)?;
        let pid = server.child.id();
        server.endpoint = Endpoint { pid, ..server.wait(probe)? };
        Ok(server)
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        // `setsid` execs in place: the process that we started becomes the server.
        let mut in_session = step::command("setsid");
        in_session.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => in_session.env(name, value),
                None => in_session.env_remove(name),
            };
        }
        in_session.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = in_session.spawn();
        let child = child.with_context(|| format!("failed to start {}", step::shown(command)))?;
        Ok(Self { child, endpoint: Endpoint::default() })
    }

    fn wait(&mut self, mut probe: impl FnMut() -> Option<Endpoint>) -> Result<Endpoint> {
        let start = Instant::now();
        while start.elapsed() < UP_WITHIN {
            if let Some(endpoint) = probe() {
                return Ok(endpoint);
            }
            if let Some(status) = self.child.try_wait().context("failed to look at a server")? {
                bail!("a server ended with {status} before it was ready");
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        bail!("a server was not ready within {} s", UP_WITHIN.as_secs())
    }

    /// Resident memory, in MiB.
    pub(crate) fn rss_mib(&self) -> Result<f64> {
        self.memory_mib("VmRSS:")
    }

    /// The most that it ever was.
    pub(crate) fn peak_mib(&self) -> Result<f64> {
        self.memory_mib("VmHWM:")
    }

    fn memory_mib(&self, what: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).context("failed to read a server's status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
        Ok(kib.context("a server has no resident memory")? / 1024.0)
    }
}

impl Drop for Server {
    /// Asks it to end, then makes it.
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let asked = step::command("kill").args(["-TERM", &pid]).status();
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

fn read_ready(file: &Path) -> Option<Endpoint> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_dies_is_reported_at_once() {
        let start = Instant::now();
        assert!(Server::start(&mut step::command("false"), Path::new("/nowhere")).is_err());
        assert!(start.elapsed() < UP_WITHIN);
    }

    #[test]
    fn a_server_is_gone_after_its_drop() {
        let mut sleep = step::command("sleep");
        let server = Server::start_silent(sleep.arg("60"), || Some(Endpoint::default())).unwrap();
        let process = format!("/proc/{}", server.endpoint.pid);
        assert!(Path::new(&process).exists());
        assert!(server.rss_mib().unwrap() > 0.0);
        drop(server);
        assert!(!Path::new(&process).exists());
    }

    #[test]
    fn another_path_is_on_the_same_server() {
        let endpoint = Endpoint { url: "http://a:1/mcp".into(), ..Endpoint::default() };
        assert_eq!(endpoint.at("/bytes").url, "http://a:1/bytes");
    }
}
