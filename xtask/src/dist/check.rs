//! `cargo xtask dist --check`: the packages, used as somebody would who has nothing else.
//!
//! Each part says what it did; a part that can't run is a failure. Nothing is left behind: daemons end, roots are
//! copies, and what is mounted is mounted where only they see it.

mod alone;
mod ask;
mod container;
mod installed;
mod root;
mod service;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{Packages, epoch, folder, packed};
use crate::{output, step, toolbox};

/// What the check takes beside what packing does.
const PROGRAMS: [(&str, &str); 5] = [
    ("chroot", "coreutils"),
    ("curl", "curl"),
    ("docker-compose", "docker-compose"),
    ("setsid", "util-linux"),
    ("unshare", "util-linux"),
];

/// What can be lacking, found before anything is built.
pub(super) fn prepare() -> Result<()> {
    let user = step::capture(step::command("id").arg("-u"))?;
    ensure!(
        user.trim() == "0",
        "packages are installed by root alone; hint: run `cargo xtask dist --check` as root"
    );
    toolbox::ensure_debian(&PROGRAMS)
}

/// Tries the packages; returns a line for each part.
pub(super) fn of(packages: &Packages) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut part = |name: &str, check: &dyn Fn(&Packages) -> Result<Vec<String>>| -> Result<()> {
        output::step(name);
        let said = check(packages).with_context(|| format!("check of packages: {name}"))?;
        said.iter().for_each(output::note);
        let shown = |line: String| if line.starts_with("size") { line } else { format!("ok    {line}") };
        lines.extend(said.into_iter().map(shown));
        Ok(())
    };
    part("the same packages again", &again)?;
    part("the tarball, alone", &alone::check)?;
    part("the Debian package, in a clean Debian", &installed::check)?;
    part("the Debian package, under a running systemd", &service::check)?;
    part("the image, in a container", &container::check)?;
    Ok(lines)
}

/// Whoever packs the same binaries again gets the same bytes.
fn again(packages: &Packages) -> Result<Vec<String>> {
    let second = scratch()?;
    let other = packed(second.path(), &packages.binaries, epoch()?)?;
    for (one, another) in [(&packages.tarball, &other.tarball), (&packages.deb, &other.deb)] {
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("failed to read `{}`", path.display()));
        ensure!(read(one)? == read(another)?, "`{}` is not the same when it is made again", one.display());
    }
    let mut sums = step::command("sha256sum");
    step::capture(sums.args(["--check", "--strict", "SHA256SUMS"]).current_dir(folder()))?;
    Ok(vec!["packed twice: the same bytes; SHA256SUMS agrees".to_owned()])
}

/// A clean Debian, as a tar: beside the least that there can be, a reader of manuals and systemd.
fn debian() -> Result<PathBuf> {
    toolbox::rootfs::ensure("debian-12-clean", &["man-db", "systemd-sysv"])
}

/// A folder on the disk that packages are on, gone at the end.
fn scratch() -> Result<tempfile::TempDir> {
    super::scratch(&folder())
}
