//! The files of a directory of manifests: how they look, and what they say.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hayward_api::{Code, Error};

use crate::rest::Lists;

/// Files at most.
const FILES_MAX: usize = 10_000;
/// Bytes of one of them.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Directories within each other.
const DEPTH_MAX: usize = 8;

/// How the files of a directory look.
pub(super) type Looked = BTreeMap<PathBuf, (u64, u64, Option<SystemTime>)>;

/// What they say.
pub(super) struct Read {
    /// What can be applied, by the file.
    pub(super) good: Vec<(String, Lists)>,
    /// What is wrong with the others.
    pub(super) broken: Vec<(String, Error)>,
}

/// How they look now; nothing where the directory can't be read.
pub(super) fn look(dir: &Path) -> Looked {
    let files = files(dir).unwrap_or_default();
    let looked = |path: PathBuf| {
        let metadata = fs::metadata(&path).ok()?;
        Some((path, (metadata.ino(), metadata.len(), metadata.modified().ok())))
    };
    files.into_iter().filter_map(looked).collect()
}

/// Reads all of them.
pub(super) fn read(dir: &Path) -> Result<Read, Error> {
    let files = files(dir).map_err(|error| {
        Error::new(Code::Unavailable, format!("failed to read the directory `{}`: {error}", dir.display()))
    })?;
    let mut read = Read { good: Vec::new(), broken: Vec::new() };
    for path in files {
        let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
        match lists(&path, &name) {
            Ok(lists) => read.good.push((name, lists)),
            Err(error) => read.broken.push((name, error)),
        }
    }
    Ok(read)
}

fn lists(path: &Path, name: &str) -> Result<Lists, Error> {
    let unreadable = |error: io::Error| Error::new(Code::Invalid, format!("it can't be read: {error}"));
    let mut text = String::new();
    // What grows, or has no size, is read so far and no farther.
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::new(Code::TooLarge, format!("it is too long: use up to {FILE_BYTES_MAX} bytes")));
    }
    let mut lists = Lists::default();
    lists.add_text(&text, Some(name))?;
    lists.check()?;
    Ok(lists)
}

/// The files that are manifests, sorted. Hidden ones are none: editors and git keep theirs so. A link is one if what it
/// leads to is a file of the same directory, as whoever mounts settings has it; links to directories are not followed.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let root = dir.canonicalize()?;
    let (mut found, mut waiting) = (Vec::new(), vec![(dir.to_owned(), 0)]);
    while let Some((dir, depth)) = waiting.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_hidden {
                continue;
            }
            let is_inside =
                || path.canonicalize().is_ok_and(|real| real.starts_with(&root) && real.is_file());
            let is_file = kind.is_file() || (kind.is_symlink() && is_inside());
            if kind.is_dir() && depth < DEPTH_MAX {
                waiting.push((path, depth + 1));
            } else if is_file && is_manifest(&path) && found.len() < FILES_MAX {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_of_the_directory_only() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
        fs::create_dir(dir.path().join("..data")).unwrap();
        fs::write(dir.path().join("..data/a.yaml"), "servers: []").unwrap();
        fs::write(other.path().join("b.yaml"), "servers: []").unwrap();
        link(Path::new("..data/a.yaml"), "a.yaml");
        link(&other.path().join("b.yaml"), "b.yaml");
        link(Path::new("/proc/kmsg"), "k.yaml");
        link(Path::new("."), "loop");
        assert_eq!(files(dir.path()).unwrap(), [dir.path().join("a.yaml")]);
    }

    #[test]
    fn a_broken_file_takes_nothing_from_the_others_and_hidden_ones_are_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        for (name, text) in [
            ("a.yaml", "servers:\n- name: a\n  command: [x]\n"),
            ("sub/b.json", r#"{"secrets": [{"name": "s", "data": {"K": "v"}}]}"#),
            ("c.yml", "servers: ["),
            ("d.yaml", "servers:\n- name: d\n  comand: [x]\n"),
            (".hidden.yaml", "x"),
            ("readme.md", "x"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let read = read(dir.path()).unwrap();
        let good: Vec<_> = read.good.iter().map(|(name, lists)| (name.as_str(), lists.len())).collect();
        assert_eq!(good, [("a.yaml", 1), ("sub/b.json", 1)]);
        let broken: Vec<_> =
            read.broken.iter().map(|(name, error)| (name.as_str(), error.field.as_deref())).collect();
        assert_eq!(broken, [("c.yml", None), ("d.yaml", Some("servers[0].comand"))]);
        assert_eq!(look(dir.path()).len(), 4);
    }
}
