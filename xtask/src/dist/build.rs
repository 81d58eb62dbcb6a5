//! The binaries: the release, built for musl and for glibc.
//!
//! Where they were built is not in them: paths of sources are cut to what is the same everywhere.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::{step, toolbox, workspace};

const MUSL: &str = "x86_64-unknown-linux-musl";
const GLIBC: &str = "x86_64-unknown-linux-gnu";

/// The binaries, as they were built.
#[derive(Clone)]
pub(super) struct Binaries {
    /// It needs nothing but a kernel: musl is in it.
    pub(super) alone: PathBuf,
    /// It needs the system's glibc, and takes less processor time.
    pub(super) linked: PathBuf,
}

/// Builds them.
pub(super) fn binaries() -> Result<Binaries> {
    let mut cargo = step::cargo();
    cargo.args(["build", "--release", "--locked", "--package", "hayward"]);
    for target in [MUSL, GLIBC] {
        toolbox::ensure_rust_target(target)?;
        cargo.args(["--target", target]);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags()?);
    step::run(&mut cargo)?;
    Ok(Binaries { alone: built(MUSL)?, linked: built(GLIBC)? })
}

fn built(target: &str) -> Result<PathBuf> {
    let binary = workspace::target().join(target).join("release/hayward");
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
