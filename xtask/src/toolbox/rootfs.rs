//! Roots of Debian 12: made once by `debootstrap`, kept as a tar that an engine imports or a folder is filled from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{ensure_debian, once_per_pins};
use crate::{output, step, workspace};

/// The release: Debian 12.
const SUITE: &str = "bookworm";
/// What makes a root, and its Debian packages.
const PROGRAMS: [(&str, &str); 2] = [("debootstrap", "debootstrap"), ("tar", "tar")];

/// The tar of a root with these packages beside what every Debian has; `name` is its own among the roots.
pub(crate) fn ensure(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = workspace::cache().join("roots").join(name);
    let tar = folder.join("root.tar");
    let packages = packages.join(",");
    let pins = format!("{SUITE} {} {packages}", std::env::consts::ARCH);
    once_per_pins(&folder, &pins, || {
        output::note(format!("making the root `{name}` (once, some minutes)"));
        ensure_debian(&PROGRAMS)?;
        make(&packages, &tar).with_context(|| format!("failed to make the root `{name}`"))
    })?;
    Ok(tar)
}

fn make(packages: &str, tar: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().context("failed to make a scratch folder")?;
    let root = scratch.path().join("root");
    let mut debootstrap = step::command("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={packages}"), SUITE]);
    step::capture(debootstrap.arg(&root))?;
    let mut pack = step::command("tar");
    pack.arg("--create").arg("--file").arg(tar).arg("--directory").arg(&root);
    pack.args(["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*", "."]);
    step::run(&mut pack)
}
