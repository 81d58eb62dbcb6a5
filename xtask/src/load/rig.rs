//! What is on trial, and what plays the trial: both built and started here.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use crate::bench::server::Server;
use crate::{output, step, toolbox, workspace};

/// The binaries.
pub(super) struct Rig {
    release: PathBuf,
    scratch: tempfile::TempDir,
}

impl Rig {
    /// Builds them.
    pub(super) fn build() -> Result<Self> {
        output::step("release build");
        let packages = ["--package", "hayward", "--package", "hayward-testkit", "--package", "hayward-peers"];
        step::run(step::cargo().args(["build", "--release", "--bins"]).args(packages))?;
        toolbox::ensure_debian(&[("setsid", "util-linux")])?;
        Ok(Self {
            release: workspace::target().join("release"),
            scratch: tempfile::tempdir().context("failed to make a scratch folder")?,
        })
    }

    /// A new server with the tools of the load tests and these limits (`KEY=VALUE`).
    pub(super) fn server(&self, limits: &[String]) -> Result<Server> {
        let ready = self.scratch.path().join("ready");
        if ready.exists() {
            std::fs::remove_file(&ready).context("a ready file stays")?;
        }
        let mut command = step::command(self.release.join("fixture-server"));
        Server::start(command.arg(&ready).arg("load").args(limits), &ready)
    }

    /// Puts a server on this trial. Ordinary callers show the token that may read, the slow ones the other.
    pub(super) fn trial<T: DeserializeOwned>(&self, server: &Server, words: &[String]) -> Result<T> {
        let endpoint = &server.endpoint;
        // Its own session: the kernel shares processor time by session.
        let mut trial = step::command("setsid");
        trial.arg("--wait").arg(self.release.join("trial")).arg(&endpoint.url).args(words);
        trial.env("LOAD_TOKEN", &endpoint.ro_token).env("SLOW_TOKEN", &endpoint.token);
        serde_json::from_str(&step::capture(&mut trial)?).context("the trial printed no JSON")
    }

    /// The daemon itself, as it is by default, with a data directory of this name; the database is there too, or at this URL.
    pub(super) fn daemon(&self, name: &str, database: Option<&str>) -> Result<Server> {
        let ready = self.scratch.path().join(format!("{name}.ready"));
        let mut serve = self.program(name, database);
        serve.args(["serve", "--port", "0", "--ready-file"]).arg(&ready);
        Server::start(&mut serve, &ready)
    }

    /// A new token of an administrator, kept in the database at this URL.
    pub(super) fn stored_admin(&self, name: &str, database: &str) -> Result<String> {
        let mut create = self.program(name, Some(database));
        let told = step::capture(create.args(["token", "add", "--name", "admin", "--role", "admin"]))?;
        let token = told.split_whitespace().find(|word| word.starts_with("hwd_"));
        Ok(token.context("no token was told")?.to_owned())
    }

    fn program(&self, name: &str, database: Option<&str>) -> Command {
        let mut program = step::command(self.release.join("hayward"));
        program.env("HAYWARD_DATA_DIR", self.scratch.path().join(name));
        if let Some(url) = database {
            program.env("HAYWARD_DATABASE_URL", url);
        }
        program
    }

    /// Puts a server on a trial of management, with this token.
    pub(super) fn manage<T: DeserializeOwned>(
        &self,
        server: &Server,
        token: &str,
        words: &[String],
    ) -> Result<T> {
        let mut trial = step::command(self.release.join("trial"));
        trial.arg(&server.endpoint.url).args(words).env("LOAD_TOKEN", token);
        serde_json::from_str(&step::capture(&mut trial)?).context("the trial printed no JSON")
    }

    /// Runs a command of ours against this server.
    pub(super) fn hayward(&self, url: &str, token: &str, words: &[&str]) -> Result<()> {
        let mut command = step::command(self.release.join("hayward"));
        command.args(words).env("HAYWARD_URL", url).env("HAYWARD_TOKEN", token);
        step::capture(&mut command).map(drop)
    }
}

/// Asks for this once, without our code.
pub(super) fn curl(token: &str, url: &str) -> Result<()> {
    let head = format!("authorization: Bearer {token}");
    step::capture(step::command("curl").args(["-fsS", "-o", "/dev/null", "-H", &head, url])).map(drop)
}
