//! Brings what tests and benchmarks need, and says clearly what it can't bring.
//!
//! Everything is pinned, lands in `.cache/` and is installed once; a stamp beside it says for
//! which pins, so that a second run costs nothing. Debian packages are installed only as root and
//! only if their program is missing.

mod cargo_tools;
mod debian;
pub(crate) mod docker;
mod node;
mod postgres;
mod python;
pub(crate) mod rootfs;
mod rust_target;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{step, workspace};

pub(crate) use cargo_tools::{cargo_deny, mcp_proxy};
pub(crate) use debian::ensure as ensure_debian;
pub(crate) use node::Node;
pub(crate) use postgres::{Disk, Postgres};
pub(crate) use python::Python;
pub(crate) use rust_target::ensure as ensure_rust_target;

/// Cargo with `cargo-nextest` on its path.
pub(crate) fn cargo_with_nextest() -> Result<Command> {
    cargo_with(&cargo_tools::cargo_nextest()?)
}

/// Cargo with `cargo-fuzz` on its path.
pub(crate) fn cargo_with_fuzz() -> Result<Command> {
    cargo_with(&cargo_tools::cargo_fuzz()?)
}

/// Cargo with `cargo-llvm-cov` and `cargo-nextest` on its path, and the compiler's own tools for it.
pub(crate) fn cargo_with_coverage() -> Result<Command> {
    step::run(step::command("rustup").args(["component", "add", "llvm-tools"]))?;
    let tools = [cargo_tools::cargo_llvm_cov()?, cargo_tools::cargo_nextest()?];
    let folders: Vec<_> = tools.iter().filter_map(|tool| Some(tool.parent()?.to_path_buf())).collect();
    let mut cargo = step::cargo();
    cargo.env("PATH", workspace::path_with(&folders));
    Ok(cargo)
}

fn cargo_with(subcommand: &Path) -> Result<Command> {
    let folder = subcommand.parent().context("the program lies in a folder")?.to_path_buf();
    let mut cargo = step::cargo();
    cargo.env("PATH", workspace::path_with(&[folder]));
    Ok(cargo)
}

/// The folder of the scripts and pins of the real clients.
pub(crate) fn interop() -> PathBuf {
    workspace::root().join("testkit/interop")
}

/// Runs `install` unless `folder` was filled for exactly these `pins`.
fn once_per_pins(folder: &Path, pins: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder.join(".installed-for");
    if std::fs::read_to_string(&stamp).is_ok_and(|old| old == pins) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("failed to empty `{}`", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    install()?;
    std::fs::write(&stamp, pins).with_context(|| format!("failed to write `{}`", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installs_once_until_the_pins_change() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("tool");
        let mut runs = 0;
        for pins in ["a = 1", "a = 1", "a = 2"] {
            once_per_pins(&folder, pins, || {
                runs += 1;
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(runs, 2);
    }

    #[test]
    fn a_failed_installation_is_tried_again() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("tool");
        assert!(once_per_pins(&folder, "a", || anyhow::bail!("no network")).is_err());
        let mut ran = false;
        once_per_pins(&folder, "a", || {
            ran = true;
            Ok(())
        })
        .unwrap();
        assert!(ran);
    }
}
