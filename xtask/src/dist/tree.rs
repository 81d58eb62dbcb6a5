//! A folder that becomes a package: the same names, modes and times whoever makes it, and whenever.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::step;

/// A folder that is filled, and then sealed.
pub(super) struct Tree {
    root: PathBuf,
    epoch: u64,
}

impl Tree {
    /// An empty folder in the place of whatever is there, for files with this time in seconds.
    pub(super) fn new(root: PathBuf, epoch: u64) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("failed to empty `{}`", root.display()))?;
        }
        let tree = Self { root, epoch };
        tree.folder("", 0o755)?;
        Ok(tree)
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file of it is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Makes a folder; those that lead to it are everybody's to read.
    pub(super) fn folder(&self, path: &str, mode: u32) -> Result<()> {
        let mut made = self.root.clone();
        for part in Path::new("").components().chain(Path::new(path).components()) {
            made.push(part);
            if !made.exists() {
                make_folder(&made, 0o755)?;
            }
        }
        make_folder(&made, mode)
    }

    /// Writes a file.
    pub(super) fn put(&self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder, 0o755)?;
        }
        let path = self.at(path);
        let failed = || format!("failed to write `{}`", path.display());
        fs::write(&path, bytes).with_context(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(mode)).with_context(failed)
    }

    /// Copies a file from elsewhere.
    pub(super) fn copy(&self, from: &Path, path: &str, mode: u32) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("failed to read `{}`", from.display()))?;
        self.put(path, mode, &bytes)
    }

    /// Writes a file, compressed as pages of manuals are; `.gz` is added to its name.
    pub(super) fn put_compressed(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put(path, 0o644, bytes)?;
        // Without name and time.
        step::run(step::command("gzip").args(["-9", "-n"]).arg(self.at(path)))
    }

    /// Every file of it, by name, relative to it.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let all = walk(&self.root)?.into_iter().filter(|path| path.is_file());
        let names = all.filter_map(|path| Some(path.strip_prefix(&self.root).ok()?.to_str()?.to_owned()));
        Ok(names.collect())
    }

    /// Gives everything its time. Nothing is written afterwards.
    pub(super) fn seal(&self) -> Result<()> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.epoch);
        for path in walk(&self.root)?.iter().chain([&self.root]) {
            let set = File::open(path).and_then(|file| file.set_modified(time));
            set.with_context(|| format!("failed to date `{}`", path.display()))?;
        }
        Ok(())
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    let failed = || format!("failed to make `{}`", path.display());
    fs::create_dir_all(path).with_context(failed)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).with_context(failed)
}

/// Everything below a folder, by name.
fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let failed = || format!("failed to list `{}`", folder.display());
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.is_dir() {
            found.extend(walk(&path)?);
        }
        found.push(path);
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_modes_and_times_are_what_was_said() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = Tree::new(scratch.path().join("tree"), 1_000).unwrap();
        tree.put("a/b/c", 0o600, b"x").unwrap();
        tree.put_compressed("a/page", b"page").unwrap();
        tree.folder("state", 0o700).unwrap();
        tree.seal().unwrap();
        assert_eq!(tree.files().unwrap(), ["a/b/c", "a/page.gz"]);
        for (path, mode) in [("", 0o755), ("a", 0o755), ("a/b", 0o755), ("a/b/c", 0o600), ("state", 0o700)] {
            let metadata = fs::metadata(tree.at(path)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
            let age = metadata.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(age.as_secs(), 1_000, "{path}");
        }
    }

    #[test]
    fn what_was_there_before_is_gone() {
        let scratch = tempfile::tempdir().unwrap();
        let make = || Tree::new(scratch.path().join("tree"), 0).unwrap();
        make().put("old", 0o644, b"").unwrap();
        assert!(make().files().unwrap().is_empty());
    }
}
