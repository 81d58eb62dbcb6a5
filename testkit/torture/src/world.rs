//! The world: a folder in which calls leave something, and what is seen there afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What a file says before it is changed.
pub(crate) const BEFORE: &str = "as it was";
/// What it says afterwards.
pub(crate) const AFTER: &str = "as it is";
/// Lines of a file that is written: more than a page, so that half of it could be seen.
const LINES: usize = 600;

/// What a written file holds as a whole.
pub(crate) fn content(marker: &str) -> String {
    format!("{marker} is written\n").repeat(LINES)
}

/// Puts a file there that is to be changed or read.
pub(crate) fn prepare(path: &Path) -> Result<()> {
    fs::write(path, BEFORE).context("failed to prepare a file")
}

/// The folder.
#[derive(Clone, Debug)]
pub struct World {
    folder: PathBuf,
}

/// A file that calls write or change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// As before the call.
    Old,
    /// As after it.
    New,
    /// Neither.
    Torn,
}

/// What is seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often each marker was appended.
    pub lines: BTreeMap<String, usize>,
    /// The files, by the marker of the call that writes or changes them.
    pub files: BTreeMap<String, Content>,
}

impl World {
    /// An empty one in this folder, which is made.
    pub fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).context("failed to make a world")?;
        Ok(Self { folder })
    }

    pub(crate) fn lines(&self) -> PathBuf {
        self.folder.join("lines")
    }

    pub(crate) fn written(&self, marker: &str) -> PathBuf {
        self.folder.join(format!("written-{marker}"))
    }

    pub(crate) fn edited(&self, marker: &str) -> PathBuf {
        self.folder.join(format!("edited-{marker}"))
    }

    pub(crate) fn read(&self, marker: &str) -> PathBuf {
        self.folder.join(format!("read-{marker}"))
    }

    /// Looks.
    pub fn look(&self) -> Result<Seen> {
        let mut seen = Seen::default();
        match fs::read_to_string(self.lines()) {
            Ok(text) => text.lines().for_each(|line| *seen.lines.entry(line.to_owned()).or_default() += 1),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("failed to read the lines"),
        }
        for entry in fs::read_dir(&self.folder).context("failed to list the world")? {
            let path = entry.context("failed to list the world")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(marker) = name.strip_prefix("written-") {
                let is_whole = fs::read(&path).is_ok_and(|bytes| bytes == content(marker).as_bytes());
                let content = if is_whole { Content::New } else { Content::Torn };
                seen.files.insert(marker.to_owned(), content);
            } else if let Some(marker) = name.strip_prefix("edited-") {
                let content = match fs::read_to_string(&path).as_deref() {
                    Ok(BEFORE) => Content::Old,
                    Ok(AFTER) => Content::New,
                    Ok(_) | Err(_) => Content::Torn,
                };
                seen.files.insert(marker.to_owned(), content);
            }
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_half_a_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path().join("world")).unwrap();
        assert!(world.look().unwrap().lines.is_empty());
        fs::write(world.lines(), "a\nb\na\n").unwrap();
        fs::write(world.written("c"), content("c")).unwrap();
        fs::write(world.written("d"), &content("d")[..5000]).unwrap();
        prepare(&world.edited("e")).unwrap();
        fs::write(world.edited("f"), AFTER).unwrap();
        let seen = world.look().unwrap();
        assert_eq!(seen.lines, [("a".to_owned(), 2), ("b".to_owned(), 1)].into());
        let files: Vec<_> = seen.files.iter().map(|(marker, content)| (marker.as_str(), *content)).collect();
        assert_eq!(
            files,
            [("c", Content::New), ("d", Content::Torn), ("e", Content::Old), ("f", Content::New)]
        );
    }
}
