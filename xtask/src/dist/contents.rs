//! What goes along with the binary, the same in each package: the binary says it, nobody copies it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::tree::Tree;
use crate::{step, workspace};

/// Texts at the top of the repository that go along where they are there.
const TEXTS: [&str; 3] = ["LICENSE", "README.md", "SECURITY.md"];

/// Where things are in a package.
pub(super) struct Places {
    /// What is before every path in the package: `usr/`, or nothing.
    pub(super) prefix: &'static str,
    /// Where the program is once it is installed.
    pub(super) program: &'static str,
    /// Where zsh looks, below `share/zsh`.
    pub(super) zsh: &'static str,
}

/// Puts the binary and everything that goes along into a tree.
pub(super) fn put(tree: &Tree, binary: &Path, places: &Places) -> Result<()> {
    let Places { prefix, program, zsh } = places;
    tree.copy(binary, &format!("{prefix}bin/hayward"), 0o755)?;
    let said = |words: &[&str]| step::capture(asked(binary).args(words));
    for (shell, path) in [
        ("bash", "share/bash-completion/completions/hayward".to_owned()),
        ("zsh", format!("share/zsh/{zsh}/_hayward")),
        ("fish", "share/fish/vendor_completions.d/hayward.fish".to_owned()),
    ] {
        tree.put(&format!("{prefix}{path}"), 0o644, said(&["completions", shell])?.as_bytes())?;
    }
    for (unit, folder) in [("unit", "system"), ("user-unit", "user")] {
        let text = said(&["install-service", "--program", program, "--print", unit])?;
        tree.put(&format!("{prefix}lib/systemd/{folder}/hayward.service"), 0o644, text.as_bytes())?;
    }
    put_pages(tree, binary, prefix)?;
    put_texts(tree, prefix)
}

/// The first configuration.
pub(super) fn config(binary: &Path) -> Result<String> {
    step::capture(asked(binary).args(["install-service", "--print", "config"]))
}

/// The binary, which nothing of this environment reaches.
fn asked(binary: &Path) -> Command {
    let mut command = step::command(binary);
    command.env_clear();
    command
}

fn put_pages(tree: &Tree, binary: &Path, prefix: &str) -> Result<()> {
    let folder = tempfile::tempdir().context("failed to make a scratch folder")?;
    step::run(asked(binary).args(["man", "--dir"]).arg(folder.path()))?;
    let mut pages: Vec<_> =
        std::fs::read_dir(folder.path()).context("there are no pages")?.flatten().collect();
    pages.sort_by_key(std::fs::DirEntry::file_name);
    for page in pages {
        let text = std::fs::read(page.path()).context("failed to read a page")?;
        let name = page.file_name();
        tree.put_compressed(&format!("{prefix}share/man/man1/{}", name.to_string_lossy()), &text)?;
    }
    Ok(())
}

fn put_texts(tree: &Tree, prefix: &str) -> Result<()> {
    let docs = format!("{prefix}share/doc/hayward");
    for name in TEXTS {
        let path = workspace::root().join(name);
        if path.is_file() {
            tree.copy(&path, &format!("{docs}/{name}"), 0o644)?;
        }
    }
    let changes = workspace::root().join("CHANGELOG.md");
    let changes = std::fs::read(&changes).context("failed to read the changelog")?;
    tree.put_compressed(&format!("{docs}/CHANGELOG.md"), &changes)
}
