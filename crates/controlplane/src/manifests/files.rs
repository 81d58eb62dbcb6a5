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
    let looked = |(path, _)| {
        let metadata = fs::metadata(&path).or_else(|_| fs::symlink_metadata(&path)).ok()?;
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
    for (path, fault) in files {
        let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
        match fault.map_or_else(|| lists(&path, &name), Err) {
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
    if !lists.add_text(&text, Some(name))? {
        let error = Error::new(Code::Invalid, "it says nothing");
        return Err(
            error.with_hint("write e.g. `servers: []` where nothing is to be there, or take the file away")
        );
    }
    lists.check()?;
    Ok(lists)
}

/// What is in a directory, each with why it isn't read, if it isn't.
type Found = Vec<(PathBuf, Option<Error>)>;

/// The files that are manifests, sorted. Hidden ones are none: editors and git keep theirs so. A link is one if what it
/// leads to is a file of the same directory, as whoever mounts settings has it; links to directories are not followed. What
/// is passed over is told, lest it counts as gone.
fn files(dir: &Path) -> io::Result<Found> {
    let root = dir.canonicalize()?;
    let (mut found, mut waiting) = (Found::new(), vec![(dir.to_owned(), 0)]);
    while let Some((dir, depth)) = waiting.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_hidden {
                continue;
            }
            if kind.is_dir() && depth < DEPTH_MAX {
                waiting.push((path, depth + 1));
            } else if kind.is_dir() {
                found.push((path, Some(over(&format!("it is more than {DEPTH_MAX} directories deep")))));
            } else if is_manifest(&path) {
                found.push(manifest(path, &root, kind.is_symlink()));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    for (_, fault) in found.iter_mut().skip(FILES_MAX) {
        *fault = Some(over(&format!("there are more than {FILES_MAX} files")));
    }
    Ok(found)
}

/// A file that is called like a manifest.
fn manifest(path: PathBuf, root: &Path, is_link: bool) -> (PathBuf, Option<Error>) {
    let real = if is_link { path.canonicalize() } else { Ok(path.clone()) };
    let fault = match real {
        Ok(real) if is_link && !real.starts_with(root) => Some(over("it leads out of the directory")),
        Ok(real) if !real.is_file() => Some(over("it is no file")),
        Ok(_) => None,
        Err(error) => Some(over(&format!("it can't be followed: {error}"))),
    };
    (path, fault)
}

fn over(why: &str) -> Error {
    Error::new(Code::Invalid, format!("it is not read: {why}"))
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_of_the_directory_only_and_others_are_told() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
        fs::create_dir(dir.path().join("..data")).unwrap();
        fs::write(dir.path().join("..data/a.yaml"), "servers: []").unwrap();
        fs::write(other.path().join("b.yaml"), "servers: []").unwrap();
        link(Path::new("..data/a.yaml"), "a.yaml");
        link(&other.path().join("b.yaml"), "b.yaml");
        link(Path::new("/proc/kmsg"), "k.yaml");
        link(Path::new("."), "loop");
        link(Path::new("nowhere"), "n.yaml");
        let read = read(dir.path()).unwrap();
        assert_eq!(read.good.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a.yaml"]);
        let broken: Vec<_> = read.broken.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(broken, ["b.yaml", "k.yaml", "n.yaml"]);
    }

    #[test]
    fn what_is_too_deep_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("1/2/3/4/5/6/7/8");
        fs::create_dir_all(deep.join("9")).unwrap();
        fs::write(deep.join("a.yaml"), "servers: []").unwrap();
        fs::write(deep.join("9/b.yaml"), "servers: []").unwrap();
        let read = read(dir.path()).unwrap();
        assert_eq!(
            read.good.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["1/2/3/4/5/6/7/8/a.yaml"]
        );
        assert_eq!(read.broken[0].0, "1/2/3/4/5/6/7/8/9");
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
