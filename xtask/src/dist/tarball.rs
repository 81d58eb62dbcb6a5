//! The tarball: laid out as `/usr/local` is, so that unpacking it there installs it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::contents::{self, Places};
use super::tree::Tree;
use super::{VERSION, container, scratch};
use crate::step;

const PLACES: Places = Places { prefix: "", program: "/usr/local/bin/hayward", zsh: "site-functions" };

/// The folder that everything in it lies in.
pub(super) fn top() -> String {
    format!("hayward-{VERSION}-x86_64-linux-musl")
}

/// Makes it in `folder`; returns where it is.
pub(super) fn make(folder: &Path, binary: &Path, epoch: u64) -> Result<PathBuf> {
    let top = top();
    let staged = scratch(folder)?;
    let tree = Tree::new(staged.path().join(&top), epoch)?;
    contents::put(&tree, binary, &PLACES)?;
    container::put_recipe(&tree, "share/doc/hayward")?;
    tree.seal()?;
    let tarball = folder.join(format!("{top}.tar.gz"));
    let mut tar = step::command("tar");
    tar.args(["--create", "--sort=name", "--format=gnu", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.arg(format!("--mtime=@{epoch}")).args(["--use-compress-program", "gzip -9 -n", "--file"]);
    step::run(tar.arg(&tarball).arg("--directory").arg(staged.path()).arg(&top))?;
    Ok(tarball)
}
