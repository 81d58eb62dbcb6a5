//! The tarball: its binary needs nothing of the machine but a kernel.

use anyhow::{Context, Result, ensure};

use super::super::{Packages, VERSION, tarball};
use super::root::Root;
use crate::step;

/// What lies in it, below its folder.
const EXPECTED: [&str; 9] = [
    "bin/hayward",
    "lib/systemd/system/hayward.service",
    "lib/systemd/user/hayward.service",
    "share/bash-completion/completions/hayward",
    "share/doc/hayward/Containerfile",
    "share/doc/hayward/README.md",
    "share/fish/vendor_completions.d/hayward.fish",
    "share/man/man1/hayward-serve.1.gz",
    "share/zsh/site-functions/_hayward",
];

pub(super) fn check(packages: &Packages) -> Result<Vec<String>> {
    let root = Root::empty()?;
    let mut tar = step::command("tar");
    tar.args(["--extract", "--strip-components=1", "--file"]).arg(&packages.tarball);
    step::run(tar.arg("--directory").arg(root.at("")))?;
    for name in EXPECTED {
        ensure!(root.at(name).is_file(), "the tarball has no `{name}`");
    }
    // In that order: names come sorted.
    let names = step::capture(step::command("tar").arg("--list").arg("--file").arg(&packages.tarball))?;
    ensure!(names.lines().is_sorted(), "the names in the tarball are not sorted");
    ensure!(names.lines().all(|name| name.starts_with(&tarball::top())), "files lie beside its folder");

    let binary = root.at("bin/hayward");
    is_static(&step::capture(
        step::command("readelf").arg("--program-headers").arg("--dynamic").arg("--wide").arg(&binary),
    )?)?;
    let empty = Root::empty()?;
    std::fs::copy(&binary, empty.at("hayward")).context("failed to copy the binary")?;
    let mut alone = step::command("chroot");
    let said = step::capture(alone.arg(empty.at("")).args(["/hayward", "version"]))?;
    ensure!(said.trim() == VERSION, "it says that it is `{}`", said.trim());
    Ok(vec![
        format!("tarball: {} names, all below {}", names.lines().count(), tarball::top()),
        "its binary has no interpreter and no libraries, and runs in an empty directory".to_owned(),
    ])
}

/// Whether what `readelf` says is of a program that nothing has to load.
fn is_static(said: &str) -> Result<()> {
    ensure!(said.contains("LOAD"), "readelf shows no program: {said}");
    ensure!(!said.contains("INTERP") && !said.contains("(NEEDED)"), "the binary is not static: {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_linked_is_found() {
        assert!(is_static("  LOAD 0x0\n  DYNAMIC 0x1\n").is_ok());
        for linked in ["LOAD\n  INTERP 0x1\n", "LOAD\n 0x1 (NEEDED) Shared library: [libc.so.6]\n", ""] {
            assert!(is_static(linked).is_err(), "{linked}");
        }
    }
}
