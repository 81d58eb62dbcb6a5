//! A mount namespace: what is mounted in there nobody else sees, and it is gone with us.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::programs::{self, holds_within};

/// How long what is mounted may be in use by processes that were killed.
const UNMOUNT_WITHIN: Duration = Duration::from_secs(20);

/// The namespace, held open by a process that ends with us.
#[derive(Debug)]
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// A new one. Fails where that isn't allowed, or where a program is missing.
    pub fn new() -> Result<Self> {
        // It reads our end of a pipe: when we are gone, so is it, and with it everything that is mounted in there.
        let script = "echo ready; exec cat";
        let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script];
        let mut command = programs::command(&words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = command.spawn().context("failed to start `unshare`")?;
        let mut line = String::new();
        let output = holder.stdout.take().context("standard output is a pipe")?;
        BufReader::new(output).read_line(&mut line).context("failed to read what `unshare` says")?;
        let namespace = Self { holder };
        ensure!(line == "ready\n", "no mount namespace may be made here");
        Ok(namespace)
    }

    /// The words that run the command behind them in there.
    pub fn words(&self) -> Vec<String> {
        ["nsenter", "--target", &self.holder.id().to_string(), "--mount", "--"]
            .map(ToOwned::to_owned)
            .to_vec()
    }

    /// How we see a path of the namespace from outside.
    pub fn seen(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").unwrap_or(path);
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(path)
    }

    /// Runs a command in there.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let mut all = self.words();
        all.extend(words.iter().map(ToString::to_string));
        programs::run(&all)
    }

    /// Mounts; the options are those of `mount`.
    pub(crate) fn mount(&self, options: &[&str], what: &str, at: &Path) -> Result<()> {
        let at = at.display().to_string();
        let words = [&["mount"], options, &[what, &at]].concat();
        self.run(&words).map(drop)
    }

    /// Takes it away again, as soon as nobody uses it.
    pub(crate) fn unmount(&self, at: &Path) -> Result<()> {
        let at = at.display().to_string();
        let mut last = Ok(String::new());
        holds_within(UNMOUNT_WITHIN, || {
            last = self.run(&["umount", &at]);
            last.is_ok()
        });
        last.map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
