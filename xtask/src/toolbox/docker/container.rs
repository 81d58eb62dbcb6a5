//! A container of an engine: commands in it, files into it, its address.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Result, bail};

use super::client;
use crate::step;

/// A container, for as long as its engine.
#[derive(Clone)]
pub(crate) struct Container {
    /// The folder of its engine.
    pub(super) engine: PathBuf,
    pub(super) name: String,
}

/// How a command ended in a container.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote to stdout, without white space at its ends.
    pub(crate) stdout: String,
    /// The same of stderr.
    pub(crate) stderr: String,
}

impl Said {
    fn of(answer: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Self { code: answer.status.code(), stdout: text(&answer.stdout), stderr: text(&answer.stderr) }
    }

    /// Whether it ended well.
    pub(crate) fn is_good(&self) -> bool {
        self.code == Some(0)
    }
}

impl Container {
    /// Runs a script of the shell as root, whatever its end.
    pub(crate) fn run(&self, script: &str) -> Result<Said> {
        let mut exec = client(&self.engine, "docker");
        exec.args(["exec", &self.name, "sh", "-c", script]);
        Ok(Said::of(&step::output_of(&mut exec)?))
    }

    /// Runs a script that has to end well, and returns what it wrote to stdout.
    pub(crate) fn good(&self, script: &str) -> Result<String> {
        let said = self.run(script)?;
        if !said.is_good() {
            let Self { name, .. } = self;
            let Said { code, stdout, stderr } = said;
            bail!("in `{name}`: `{script}` ended with {code:?}: {stderr} {stdout}");
        }
        Ok(said.stdout)
    }

    /// Ends its first process with this signal and, when it is gone, starts it again: its file system stays.
    pub(crate) fn boot(&self, signal: &str) -> Result<()> {
        for words in [&["kill", "--signal", signal][..], &["wait"], &["start"]] {
            step::capture(client(&self.engine, "docker").args(words).arg(&self.name))?;
        }
        Ok(())
    }

    /// Copies a file or folder into it.
    pub(crate) fn put(&self, from: &Path, to: &str) -> Result<()> {
        let mut copy = client(&self.engine, "docker");
        copy.args(["cp", "--follow-link"]).arg(from).arg(format!("{}:{to}", self.name));
        step::capture(&mut copy).map(drop)
    }

    /// Its address in a network.
    pub(crate) fn address(&self, network: &str) -> Result<String> {
        let form = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        let mut inspect = client(&self.engine, "docker");
        let address = step::capture(inspect.args(["inspect", "--format", &form, &self.name]))?;
        Ok(address.trim().to_owned())
    }
}
