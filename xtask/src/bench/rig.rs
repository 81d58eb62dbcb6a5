//! What is measured: our binaries, the peers, and how each of them is started.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::corpus::Corpus;
use super::http;
use super::server::{Endpoint, Server};
use crate::toolbox::{self, Python};
use crate::{output, step, workspace};

/// How many tools the long list has, `echo` included.
pub(crate) const LONG_LIST: usize = 1000;

/// The compared versions; `mcp` 2 is newer than the second one knows.
const NATIVE: (&str, &str) = ("mymcp-native", "algony-mymcp==3.1.0\n");
const PYTHON: (&str, &str) = ("mymcp-python", "algony-mymcp==2.1.1\nmcp<2\n");

/// The token with which the compared servers are set up.
const ADMIN_TOKEN: &str = "admin-token-of-the-benchmark";

/// Everything that can be started.
pub(crate) struct Rig {
    release: PathBuf,
    native: PathBuf,
    python: PathBuf,
    /// The files.
    pub(crate) corpus: Corpus,
    scratch: tempfile::TempDir,
}

/// Everything that runs.
pub(crate) struct Running {
    /// Our binary with the host tools.
    pub(crate) hayward: Server,
    /// Our listener with an echo.
    pub(crate) echo: Server,
    /// … of which every call waits for the disk.
    pub(crate) strict_echo: Server,
    /// Our binary as it is by default: it syncs files, and what has an effect waits for the disk.
    pub(crate) strict: Server,
    /// Our binary behind TLS.
    pub(crate) tls: Server,
    /// Our binary, which tells of every call.
    pub(crate) told: Server,
    /// Our listener with a long list.
    pub(crate) list: Server,
    /// The Rust SDK with JSON answers.
    pub(crate) rmcp: Server,
    /// … as it is by default: answers are events, and the legacy era has sessions.
    pub(crate) rmcp_events: Server,
    /// The ceiling; serves the long list's bytes and keeps sessions, too.
    pub(crate) axum: Server,
    /// mymcp 3.1.0.
    pub(crate) native: Server,
    /// mymcp 2.1.1.
    pub(crate) python: Server,
    /// What started them.
    pub(crate) rig: Rig,
}

impl Rig {
    /// Builds and installs.
    pub(crate) fn build() -> Result<Self> {
        output::step("release build");
        let packages = ["hayward", "hayward-testkit", "hayward-peers"];
        let selected = packages.iter().flat_map(|name| ["--package", name]);
        step::run(step::cargo().args(["build", "--release", "--bins"]).args(selected))?;
        output::step("peers");
        toolbox::ensure_debian(&[
            ("rg", "ripgrep"),
            ("setsid", "util-linux"),
            ("openssl", "openssl"),
            ("curl", "curl"),
        ])?;
        Ok(Self {
            release: workspace::target().join("release"),
            native: Python::install(NATIVE.0, NATIVE.1)?.bin.join("mymcp"),
            python: Python::install(PYTHON.0, PYTHON.1)?.bin.join("mymcp"),
            corpus: Corpus::make()?,
            scratch: tempfile::tempdir().context("failed to make a scratch folder")?,
        })
    }

    /// A binary of ours or of the peers.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.release.join(name)
    }

    /// A path for something of this run.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Starts `hayward serve` on a data folder; `ready` must not exist. It waits for no disk.
    pub(crate) fn hayward(&self, data: &Path, ready: &Path) -> Result<Server> {
        Server::start(&mut self.unsynced(data, ready), ready)
    }

    /// The same where an admin token is stored, so that it hands out none.
    pub(crate) fn administered_hayward(&self, data: &Path, ready: &Path) -> Result<Server> {
        let mut add = step::command(self.binary("hayward"));
        add.args(["token", "add", "--name", "bench-admin", "--role", "admin", "--data-dir"]).arg(data);
        let token = step::capture(&mut add)?;
        let mut server = self.hayward(data, ready)?;
        token.trim().clone_into(&mut server.endpoint.admin_token);
        Ok(server)
    }

    /// The same behind TLS.
    pub(crate) fn tls_hayward(&self, data: &Path, ready: &Path) -> Result<Server> {
        let (certificate, key) = (self.scratch("certificate.pem"), self.scratch("key.pem"));
        if !certificate.exists() {
            make_certificate(&certificate, &key)?;
        }
        let mut serve = self.unsynced(data, ready);
        serve.arg("--tls-cert").arg(&certificate).arg("--tls-key").arg(&key);
        let mut server = Server::start(&mut serve, ready)?;
        server.endpoint.certificate = Some(certificate);
        Ok(server)
    }

    /// The same, telling of every call where telemetry is taken.
    fn told_hayward(&self, taker: &Endpoint) -> Result<Server> {
        let (data, ready) = (self.scratch("told-data"), self.scratch("told.ready"));
        let mut serve = self.unsynced(&data, &ready);
        serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", taker.at("").url);
        Server::start(&mut serve, &ready)
    }

    /// The same as it is by default: it syncs files and the record.
    pub(crate) fn synced_hayward(&self, data: &Path, ready: &Path) -> Result<Server> {
        Server::start(&mut self.serve(data, ready), ready)
    }

    fn unsynced(&self, data: &Path, ready: &Path) -> Command {
        let mut serve = self.serve(data, ready);
        // The compared servers sync no file that they write, and no log.
        serve.envs([("HAYWARD_SYNC_FILES", "false"), ("HAYWARD_AUDIT_STRICT_FROM", "never")]);
        serve
    }

    fn serve(&self, data: &Path, ready: &Path) -> Command {
        let mut serve = step::command(self.binary("hayward"));
        serve.args(["serve", "--host", "127.0.0.1", "--port", "0"]);
        serve.arg("--data-dir").arg(data).arg("--ready-file").arg(ready);
        serve
    }

    fn fixture(&self, name: &str, words: &[&str]) -> Result<Server> {
        let ready = self.scratch(name);
        let mut command = step::command(self.binary("fixture-server"));
        Server::start(command.arg(&ready).args(words), &ready)
    }

    /// A file on the disk of the records, for whoever measures that disk.
    pub(crate) fn synced_file(&self) -> PathBuf {
        self.scratch("synced")
    }

    /// Starts a peer of ours.
    pub(crate) fn peer(&self, program: &str, name: &str, more: &[&OsStr]) -> Result<Server> {
        let ready = self.scratch(&format!("{name}.ready"));
        let mut command = step::command(self.binary(program));
        Server::start(command.arg("--ready-file").arg(&ready).args(more), &ready)
    }

    /// Starts mymcp 3.1.0.
    pub(crate) fn mymcp_native(&self) -> Result<Server> {
        self.mymcp(&self.native, "native")
    }

    fn mymcp(&self, program: &Path, name: &str) -> Result<Server> {
        let (folder, port) = (self.scratch(name), free_port()?);
        std::fs::create_dir_all(&folder).context("failed to make a folder")?;
        let settings = folder.join("settings");
        let text = format!(
            "MYMCP_ADMIN_TOKEN={ADMIN_TOKEN}\nMYMCP_TOKEN_FILE={0}/tokens.json\nMYMCP_HOST=127.0.0.1\n\
             MYMCP_PORT={port}\nMYMCP_AUDIT_ENABLED=true\nMYMCP_AUDIT_LOG_DIR={0}/audit\n",
            folder.display()
        );
        std::fs::write(&settings, text).context("failed to write settings")?;
        let url = format!("http://127.0.0.1:{port}");
        let mut command: Command = step::command(program);
        command.arg("serve").arg("--env-file").arg(&settings);
        Server::start_silent(&mut command, || mymcp_token(&url).ok())
    }

    /// Starts all.
    pub(crate) fn start(self) -> Result<Running> {
        output::step("servers");
        let list = self.fixture("list", &[&(LONG_LIST - 1).to_string()])?;
        let bytes = self.scratch("list.json");
        std::fs::write(&bytes, list.endpoint.list_tools()?).context("failed to keep the list")?;
        let data =
            |name: &str| (self.scratch(&format!("{name}-data")), self.scratch(&format!("{name}.ready")));
        let ((plain, plain_ready), (tls, tls_ready)) = (data("plain"), data("tls"));
        let axum = self.peer("axum-echo", "axum", &["--bytes".as_ref(), bytes.as_ref()])?;
        Ok(Running {
            hayward: self.hayward(&plain, &plain_ready)?,
            tls: self.tls_hayward(&tls, &tls_ready)?,
            told: self.told_hayward(&axum.endpoint)?,
            echo: self.fixture("echo", &["0"])?,
            strict_echo: self.fixture("strict-echo", &["strict", "gateway.calls_per_principal_max=256"])?,
            strict: {
                let (data, ready) = data("strict");
                self.synced_hayward(&data, &ready)?
            },
            rmcp: self.peer("rmcp-echo", "rmcp", &[])?,
            rmcp_events: self.peer("rmcp-echo", "rmcp-events", &["--answers".as_ref(), "events".as_ref()])?,
            axum,
            native: self.mymcp_native()?,
            python: self.mymcp(&self.python, "python")?,
            list,
            rig: self,
        })
    }
}

/// Makes a certificate for this machine's own address, and its key, as most servers have one.
fn make_certificate(certificate: &Path, key: &Path) -> Result<()> {
    let mut openssl = step::command("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(key).arg("-out").arg(certificate);
    step::capture(openssl.stderr(std::process::Stdio::null())).map(drop)
}

/// Makes a token; succeeds as soon as the server is up.
fn mymcp_token(url: &str) -> Result<Endpoint> {
    let body = r#"{"name":"bench","role":"rw"}"#;
    let answer = http::post(&format!("{url}/admin/tokens"), ADMIN_TOKEN, "", body)?;
    let answer: serde_json::Value = serde_json::from_str(&answer).context("no JSON")?;
    let token = answer["token"].as_str().context("no token")?.to_owned();
    Ok(Endpoint { url: format!("{url}/mcp"), token, ..Endpoint::default() })
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to find a free port")?;
    Ok(listener.local_addr().context("a listener has no address")?.port())
}
