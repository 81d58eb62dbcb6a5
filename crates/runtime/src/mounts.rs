//! What instances see of the machine beside their own: looked at anew whenever one starts.

use std::path::{Path, PathBuf};

use hayward_api::definition::Mount;

use crate::placement::PlacementError;

/// A file or folder that an instance sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its path, without links.
    pub(crate) path: PathBuf,
    pub(crate) is_writable: bool,
}

/// What is to be seen, if it is there and nothing of this is in it: the daemon's own data, with its keys.
///
/// A path with links in it is refused: what it leads to later is up to whoever may change the folder that it lies in.
pub(crate) fn shown(
    placement: &'static str,
    mounts: &[Mount],
    hidden: &[PathBuf],
) -> Result<Vec<Shown>, PlacementError> {
    mounts
        .iter()
        .map(|mount| one(mount, hidden).map_err(|what| PlacementError::unfit(placement, what)))
        .collect()
}

fn one(mount: &Mount, hidden: &[PathBuf]) -> Result<Shown, String> {
    let said = mount.path.escape_debug();
    let path = Path::new(&mount.path)
        .canonicalize()
        .map_err(|error| format!("`mounts`: `{said}` can't be opened: {error}; hint: make it first"))?;
    if path != Path::new(mount.path.trim_end_matches('/')) {
        let real = path.display();
        return Err(format!("`mounts`: `{said}` is a link, or lies behind one; hint: say `{real}`"));
    }
    let hidden = hidden.iter().map(|own| own.canonicalize().unwrap_or_else(|_| own.clone()));
    let mut holds = hidden.filter(|own| own.starts_with(&path) || path.starts_with(own));
    match holds.next() {
        Some(_) => Err(format!("`mounts`: `{said}` holds the daemon's own data, or is part of it")),
        None => Ok(Shown { path, is_writable: mount.writable }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path, hidden: &[PathBuf]) -> String {
        let mount = Mount { path: path.to_str().unwrap().to_owned(), writable: true };
        shown("process", &[mount], hidden).unwrap_err().to_string()
    }

    #[test]
    fn what_is_there_is_shown_and_nothing_of_ours_or_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (notes, data) = (root.join("notes"), root.join("own/data"));
        for path in [&notes, &data] {
            std::fs::create_dir_all(path).unwrap();
        }
        std::os::unix::fs::symlink(&notes, root.join("link")).unwrap();
        let hidden = [data.clone()];
        let mount = Mount { path: format!("{}/", notes.display()), writable: false };
        let expected = Shown { path: notes.clone(), is_writable: false };
        assert_eq!(shown("process", &[mount], &hidden).unwrap(), [expected]);
        assert!(refused(&root.join("nowhere"), &hidden).contains("make it first"));
        assert!(refused(&root.join("link"), &hidden).contains("link"));
        for holds in [&root, &root.join("own"), &data] {
            assert!(refused(holds, &hidden).contains("own data"), "{holds:?}");
        }
        std::fs::create_dir(data.join("inside")).unwrap();
        assert!(refused(&data.join("inside"), &hidden).contains("own data"));
    }
}
