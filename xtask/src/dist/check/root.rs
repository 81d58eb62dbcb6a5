//! A root directory to run programs in, with nothing of this environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::scratch;
use crate::step;

/// The variables of whoever is logged in there.
const ENVIRONMENT: [&str; 4] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C",
    "DEBIAN_FRONTEND=noninteractive",
];

/// A root directory of its own.
pub(super) struct Root {
    folder: TempDir,
}

impl Root {
    /// One that holds nothing.
    pub(super) fn empty() -> Result<Self> {
        Ok(Self { folder: scratch()? })
    }

    /// One that holds what is in a tar.
    pub(super) fn of(tar: &Path) -> Result<Self> {
        let root = Self::empty()?;
        let mut unpack = step::command("tar");
        unpack.args(["--extract", "--preserve-permissions", "--numeric-owner", "--file"]).arg(tar);
        step::run(unpack.arg("--directory").arg(root.folder.path())).context("failed to unpack the root")?;
        Ok(root)
    }

    /// Where a path of it is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// A program in it. Its `/proc` is mounted where nobody else sees it, and so goes with the program.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = step::command("unshare");
        command.args(["--mount", "--mount-proc", "--root"]).arg(self.folder.path());
        command.args(["env", "-i"]).args(ENVIRONMENT).args(words);
        command
    }

    /// Runs one to its end; returns what it wrote to standard output.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        step::capture(&mut self.command(words))
    }
}
