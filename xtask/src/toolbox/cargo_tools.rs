//! Cargo subcommands: taken from `PATH`, else built once from the crate registry.
//!
//! They are built without optimisation: they run for seconds and would compile for minutes. What we are compared with is
//! optimised.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::once_per_pins;
use crate::{output, step, workspace};

struct Tool {
    name: &'static str,
    version: &'static str,
    features: &'static str,
}

/// The test runner.
pub(crate) fn cargo_nextest() -> Result<PathBuf> {
    find_or_build(&Tool { name: "cargo-nextest", version: "0.9.151", features: "default-no-update" })
}

/// The checker of licences, bans and sources.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    find_or_build(&Tool { name: "cargo-deny", version: "0.20.2", features: "" })
}

/// The runner of fuzz targets.
pub(crate) fn cargo_fuzz() -> Result<PathBuf> {
    find_or_build(&Tool { name: "cargo-fuzz", version: "0.13.2", features: "" })
}

/// The counter of lines that tests run.
pub(crate) fn cargo_llvm_cov() -> Result<PathBuf> {
    find_or_build(&Tool { name: "cargo-llvm-cov", version: "0.9.1", features: "" })
}

/// The gateway of this name, without its features for what isn't measured, and so no slower. Programs of that name on `PATH`
/// may be others.
pub(crate) fn mcp_proxy() -> Result<PathBuf> {
    const VERSION: &str = "0.4.3";
    let folder = workspace::cache().join("mcp-proxy");
    once_per_pins(&folder, VERSION, || {
        output::note(format!("building mcp-proxy {VERSION} (once, many minutes)"));
        let mut cargo = step::cargo();
        cargo.args(["install", "--quiet", "--locked", "--no-default-features", "--version", VERSION]);
        cargo.arg("--root").arg(&folder).arg("mcp-proxy");
        build(&mut cargo, &folder)
    })?;
    Ok(folder.join("bin/mcp-proxy"))
}

fn find_or_build(tool: &Tool) -> Result<PathBuf> {
    let folder = workspace::cache().join("cargo");
    let built = folder.join("bin").join(tool.name);
    if built.is_file() {
        return Ok(built);
    }
    if let Some(found) = workspace::find_program(tool.name) {
        return Ok(found);
    }
    output::note(format!("building {} {} (once, some minutes)", tool.name, tool.version));
    let mut cargo = step::cargo();
    cargo.args(["install", "--quiet", "--locked", "--debug", "--no-default-features"]);
    cargo.args(["--features", tool.features, "--version", tool.version]);
    cargo.arg("--root").arg(&folder).arg(tool.name);
    build(&mut cargo, &folder).with_context(|| format!("failed to install `{}`", tool.name))?;
    Ok(built)
}

fn build(cargo: &mut Command, folder: &Path) -> Result<()> {
    // Away from our own target folder: its lock is held while Cargo builds there.
    cargo.env("CARGO_TARGET_DIR", folder.join("target")).env("CARGO_PROFILE_DEV_DEBUG", "0");
    step::run(cargo)?;
    std::fs::remove_dir_all(folder.join("target")).context("failed to remove build leftovers")
}
