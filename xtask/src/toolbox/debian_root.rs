//! A clean Debian in a folder: what a package is installed in.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{ensure_debian, once_per_pins};
use crate::{output, step, workspace};

/// The release, and what is in it beside the least that there can be: a reader of manuals, and systemd.
const RELEASE: &str = "bookworm";
const PACKAGES: &str = "man-db,systemd-sysv";

/// Makes one, unless it is there. Nothing is ever run in it: copies are.
pub(crate) fn ensure() -> Result<PathBuf> {
    let folder = workspace::cache().join("debian");
    let root = folder.join("root");
    once_per_pins(&folder, &format!("{RELEASE} {PACKAGES}"), || {
        ensure_debian(&[("debootstrap", "debootstrap")])?;
        output::note("making a clean Debian (once, some minutes)");
        let mut make = step::command("debootstrap");
        make.args(["--variant=minbase", &format!("--include={PACKAGES}"), RELEASE]).arg(&root);
        // It says a line for each package.
        let log = std::fs::File::create(folder.join("log")).context("failed to make a log")?;
        step::run(make.stdout(log)).with_context(|| format!("see `{}/log`", folder.display()))?;
        // What was downloaded is installed.
        step::run(step::command("chroot").arg(&root).args(["apt-get", "clean"]))
    })?;
    Ok(root)
}
