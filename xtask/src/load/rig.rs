//! What is on trial, and what plays the trial: both built and started here.

use std::path::PathBuf;

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
        let packages = ["--package", "hayward-testkit", "--package", "hayward-peers"];
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
}
