//! The files that tools read and search: made here, the same on every machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What is in the folder of a run.
pub(crate) struct Corpus {
    folder: tempfile::TempDir,
}

/// Folders × files × lines of the source tree, and of the large one.
const SOURCE: (usize, usize, usize) = (20, 20, 200);
const LARGE: (usize, usize, usize) = (100, 80, 250);

impl Corpus {
    /// Writes the files.
    pub(crate) fn make() -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a scratch folder")?;
        let corpus = Self { folder };
        write(&corpus.small(), &"x".repeat(1024))?;
        write(&corpus.lines(), &lines(2000, 7))?;
        tree(&corpus.source(), SOURCE)?;
        tree(&corpus.large(), LARGE)?;
        Ok(corpus)
    }

    /// The folder of everything.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file of 1 KiB.
    pub(crate) fn small(&self) -> PathBuf {
        self.path().join("small.txt")
    }

    /// A file of 2,000 lines.
    pub(crate) fn lines(&self) -> PathBuf {
        self.path().join("lines.txt")
    }

    /// A tree of the size of a project.
    pub(crate) fn source(&self) -> PathBuf {
        self.path().join("source")
    }

    /// A tree in which searching takes a while.
    pub(crate) fn large(&self) -> PathBuf {
        self.path().join("large")
    }
}

fn tree(root: &Path, (folders, files, length): (usize, usize, usize)) -> Result<()> {
    for folder in 0..folders {
        let path = root.join(format!("module_{folder}"));
        std::fs::create_dir_all(&path).context("failed to make a folder")?;
        for file in 0..files {
            let kind = if file % 4 == 0 { "md" } else { "rs" };
            let name = path.join(format!("part_{file}.{kind}"));
            write(&name, &lines(length, folder * files + file))?;
        }
    }
    Ok(())
}

/// Lines as in a program; one file in fifty has the needle.
fn lines(count: usize, seed: usize) -> String {
    let line = |line: usize| {
        let value = (seed * 7919 + line * 104_729) % 65_521;
        format!("    let value_{line} = compute({value}, \"item {seed}\")?; // step\n")
    };
    let mut text = (0..count).map(line).collect::<Vec<_>>().concat();
    if seed.is_multiple_of(50) {
        text.push_str("fn needle_in_the_stack() {}\n");
    }
    text
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_lines() {
        assert_eq!(lines(20, 3), lines(20, 3));
        assert_ne!(lines(20, 3), lines(20, 4));
        assert_eq!(lines(2000, 7).lines().count(), 2000);
    }

    #[test]
    fn the_needle_is_rare() {
        let with = (0..100).filter(|seed| lines(1, *seed).contains("needle")).count();
        assert_eq!(with, 2);
    }
}
