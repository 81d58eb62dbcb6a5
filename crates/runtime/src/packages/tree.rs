//! What is in a folder, as one digest: names, links, which files are programs, and every byte of them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::limits::{PACKAGE_BYTES_MAX, PACKAGE_CHUNK_BYTES, PACKAGE_ENTRIES_MAX};

/// The digest of a folder, in hexadecimal digits. Blocks.
///
/// # Errors
/// If it can't be read, holds what is neither a folder, a file nor a link, or is larger than a package may be.
pub(crate) fn digest(folder: &Path) -> io::Result<String> {
    let mut reading = Reading { folder: folder.to_owned(), hash: Sha256::new(), entries: 0, bytes: 0 };
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        waiting.extend(reading.folder(&path)?);
    }
    Ok(hex(&reading.hash.finalize()))
}

/// In hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

struct Reading {
    folder: PathBuf,
    hash: Sha256,
    entries: usize,
    bytes: u64,
}

impl Reading {
    /// Reads one folder; says which are in it.
    fn folder(&mut self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        entries.sort();
        self.entries += entries.len();
        if self.entries > PACKAGE_ENTRIES_MAX {
            return Err(too_large());
        }
        let mut folders = Vec::new();
        for entry in entries {
            let data = fs::symlink_metadata(&entry)?;
            let kind = data.file_type();
            if kind.is_dir() {
                self.head(b'd', &entry);
                folders.push(entry);
            } else if kind.is_symlink() {
                self.head(b'l', &entry);
                let target = fs::read_link(&entry)?;
                self.word(target.as_os_str().as_bytes());
            } else if kind.is_file() {
                let is_program = data.permissions().mode() & 0o111 != 0;
                self.head(if is_program { b'x' } else { b'f' }, &entry);
                self.file(&entry)?;
            } else {
                let what = format!("`{}` is no file", entry.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        Ok(folders)
    }

    fn head(&mut self, kind: u8, path: &Path) {
        self.hash.update([kind]);
        let name = path.strip_prefix(&self.folder).unwrap_or(path).as_os_str().as_bytes().to_vec();
        self.word(&name);
    }

    /// Its length first, so that nothing can be said in two ways.
    fn word(&mut self, word: &[u8]) {
        self.hash.update((word.len() as u64).to_le_bytes());
        self.hash.update(word);
    }

    /// By a digest of its own, which says where it ends.
    fn file(&mut self, path: &Path) -> io::Result<()> {
        let (mut file, mut chunk, mut hash) =
            (File::open(path)?, vec![0; PACKAGE_CHUNK_BYTES], Sha256::new());
        loop {
            let count = file.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            hash.update(&chunk[..count]);
            self.bytes += count as u64;
            if self.bytes > PACKAGE_BYTES_MAX {
                return Err(too_large());
            }
        }
        self.hash.update(hash.finalize());
        Ok(())
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than a package may be")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn whatever_changes_in_a_folder_changes_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "one").unwrap();
        symlink("file", at("a/b/link")).unwrap();
        let mut seen = vec![digest(folder.path()).unwrap()];
        assert_eq!(digest(folder.path()).unwrap(), seen[0]);
        let changes: [&dyn Fn(); 6] = [
            &|| fs::write(at("a/b/file"), "onf").unwrap(),
            &|| fs::set_permissions(at("a/b/file"), fs::Permissions::from_mode(0o755)).unwrap(),
            &|| fs::rename(at("a/b/file"), at("a/b/elif")).unwrap(),
            &|| fs::write(at("a/more"), "").unwrap(),
            &|| fs::create_dir(at("empty")).unwrap(),
            &|| {
                fs::remove_file(at("a/b/link")).unwrap();
                symlink("elif", at("a/b/link")).unwrap();
            },
        ];
        for change in changes {
            change();
            let now = digest(folder.path()).unwrap();
            assert!(!seen.contains(&now));
            seen.push(now);
        }
    }
}
