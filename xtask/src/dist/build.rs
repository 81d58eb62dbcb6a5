//! The static binary: the release, built for musl.
//!
//! Where it was built is not in it: paths of sources are cut to what is the same everywhere.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::{step, toolbox, workspace};

/// What it is built for.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds it; returns where it is.
pub(super) fn binary() -> Result<PathBuf> {
    toolbox::ensure_rust_target(TARGET)?;
    let mut cargo = step::cargo();
    cargo.args(["build", "--release", "--locked", "--package", "hayward", "--target", TARGET]);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags()?);
    step::run(&mut cargo)?;
    let binary = workspace::target().join(TARGET).join("release/hayward");
    ensure!(binary.is_file(), "Cargo built no `{}`", binary.display());
    Ok(binary)
}

/// Where sources lie here, and what is written in the place of that.
fn flags() -> Result<String> {
    let cargo_home = workspace::variable("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home
        .or_else(|| Some(PathBuf::from(workspace::variable("HOME")?).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let remap = |from: PathBuf, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    // Cargo splits them at this separator.
    Ok([remap(cargo_home, "/cargo"), remap(workspace::root(), "/hayward")].join("\x1f"))
}
