//! What instances see of the machine beside their own: looked at anew whenever one starts.

use std::io;
use std::path::{Path, PathBuf};

use hayward_api::definition::Mount;
use hayward_exec::system::{KERNEL, SECRETS};

use crate::placement::PlacementError;

/// A file or folder that an instance sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its path, without links.
    pub(crate) path: PathBuf,
    pub(crate) is_writable: bool,
}

/// Where services listen: whoever may connect to a socket there may ask for whatever it does.
const RUN: &str = "/run";

/// Why something isn't shown.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("`mounts`: `{said}` can't be opened: {source}; hint: make it first")]
    Away { said: String, source: io::Error },
    #[error("`mounts`: `{said}` is a link, or lies behind one; hint: say `{}`", .real.display())]
    Link { said: String, real: PathBuf },
    #[error("`mounts`: `{said}` holds the daemon's own data or the socket of the engine, or is part of them")]
    Ours { said: String },
    #[error("`mounts`: `{said}` belongs to the kernel; hint: a program sees its own `/proc` and `/dev`")]
    Kernel { said: String },
    #[error(
        "`mounts`: `{said}` is where services of this machine listen, or holds its secrets, or is part of that"
    )]
    Services { said: String },
    #[error("`mounts`: `{said}` is neither a file nor a folder")]
    Kind { said: String },
}

/// What is to be seen, if it is there and nothing that is hidden is in it: the daemon's own data, with its keys, and the socket of
/// an engine that does whatever it is asked.
///
/// A path with links in it is refused: what it leads to later is up to whoever may change the folder that it lies in.
pub(crate) fn shown(
    placement: &'static str,
    mounts: &[Mount],
    hidden: &[PathBuf],
) -> Result<Vec<Shown>, PlacementError> {
    mounts
        .iter()
        .map(|mount| one(mount, hidden).map_err(|why| PlacementError::unfit(placement, why.to_string())))
        .collect()
}

fn one(mount: &Mount, hidden: &[PathBuf]) -> Result<Shown, Refused> {
    let said = mount.path.escape_debug().to_string();
    let (path, is_shown) =
        match Path::new(&mount.path).canonicalize().and_then(|path| Ok((path.metadata()?, path))) {
            Ok((metadata, path)) => (path, metadata.is_file() || metadata.is_dir()),
            Err(source) => return Err(Refused::Away { said, source }),
        };
    if path != Path::new(&mount.path) {
        return Err(Refused::Link { said, real: path });
    }
    if KERNEL.iter().any(|kernel| path.starts_with(kernel)) {
        return Err(Refused::Kernel { said });
    }
    let is_kept = |kept: &&str| Path::new(kept).starts_with(&path) || path.starts_with(kept);
    if [RUN].iter().chain(SECRETS).any(is_kept) {
        return Err(Refused::Services { said });
    }
    let mut hidden = hidden.iter().map(|own| own.canonicalize().unwrap_or_else(|_| own.clone()));
    if hidden.any(|own| own.starts_with(&path) || path.starts_with(own)) {
        return Err(Refused::Ours { said });
    }
    if !is_shown {
        return Err(Refused::Kind { said });
    }
    Ok(Shown { path, is_writable: mount.writable })
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
        let mount = Mount { path: notes.to_str().unwrap().to_owned(), writable: false };
        let expected = Shown { path: notes.clone(), is_writable: false };
        assert_eq!(shown("process", &[mount], &hidden).unwrap(), [expected]);
        assert!(refused(&root.join("nowhere"), &hidden).contains("make it first"));
        assert!(refused(&root.join("link"), &hidden).contains("link"));
        for holds in [&root, &root.join("own"), &data] {
            assert!(refused(holds, &hidden).contains("own data"), "{holds:?}");
        }
        let socket = root.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(refused(&socket, &hidden).contains("neither a file nor a folder"));
        assert!(refused(&socket, std::slice::from_ref(&socket)).contains("own data"));
        for kept in ["/run", "/etc/ssh", "/etc"] {
            assert!(refused(Path::new(kept), &hidden).contains("services of this machine"), "{kept}");
        }
        for kernel in ["/proc", "/proc/sys/kernel", "/sys", "/dev/null"] {
            assert!(refused(Path::new(kernel), &hidden).contains("kernel"), "{kernel}");
        }
        std::fs::create_dir(data.join("inside")).unwrap();
        assert!(refused(&data.join("inside"), &hidden).contains("own data"));
    }
}
