//! What an image is built of: the static binary, and an empty directory for what is kept.
//!
//! The recipe itself is `deploy/Containerfile`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::tree::Tree;
use crate::workspace;

/// Fills the folder that the recipe is built in; returns where it is.
pub(super) fn context(folder: &Path, binary: &Path, epoch: u64) -> Result<PathBuf> {
    let tree = Tree::new(folder.join("container"), epoch)?;
    tree.copy(binary, "bin/hayward", 0o755)?;
    // An image from nothing has no program that could make one.
    tree.folder("state/hayward", 0o700)?;
    put_recipe(&tree, ".")?;
    tree.seal()?;
    Ok(tree.root().to_owned())
}

/// Puts the recipe into a folder of a tree.
pub(super) fn put_recipe(tree: &Tree, folder: &str) -> Result<()> {
    let recipe = workspace::root().join("deploy/Containerfile");
    tree.copy(&recipe, &format!("{folder}/Containerfile"), 0o644)
}
