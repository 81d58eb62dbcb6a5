//! How far a caller reaches: everywhere, or to the roots of its fence and what every program reads.
//!
//! A file is judged by where it really is, as the kernel tells it of the opened handle, like everything in
//! this room: by the root that is nearest above it. So that this can be believed, nobody with roots is led
//! through a magic link of `/proc`, behind which may be another tree of mounts with the same names. And
//! nobody with roots is told of a path outside of them whether anything is there.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hayward_api::Fence;
use hayward_exec::system::{SECRETS, private_setting, readable};
use rustix::fs::{AtFlags, FileType, ResolveFlags, statat};

use super::directory::kind_of;
use super::error::FsError;
use super::handle::Handle;
use crate::fence::network;

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// How far a caller reaches.
#[derive(Clone, Debug, Default)]
pub(super) enum Reach {
    /// As far as the daemon's user.
    #[default]
    Everywhere,
    /// To its roots.
    Within(Arc<Roots>),
}

/// The roots of one call, where they really are.
#[derive(Debug)]
pub(super) struct Roots {
    grants: Vec<(PathBuf, Access)>,
    /// What is beneath them, and not for the caller.
    hidden: Vec<PathBuf>,
    /// Whether the kernel keeps nothing of the settings from us, so that we have to.
    keeps_settings: bool,
    /// What the caller is told of them.
    shown: Arc<str>,
}

impl Reach {
    /// How far this fence lets its caller reach. Looks its roots up, so call it where that may block.
    pub(super) fn of(fence: &Fence) -> Result<Self, FsError> {
        if !fence.is_confined() {
            return Ok(Self::Everywhere);
        }
        if let Some(user) = fence.user {
            return Err(FsError::OtherUser { user });
        }
        // What isn't there can't be reached.
        let real = |path: &Path| path.canonicalize().ok();
        // Roots were real paths when they were granted. Should a link stand there now, it leads out of reach.
        let writes = fence.roots.iter().map(|path| (path.clone(), Access::Write));
        let reads = fence.read_only.iter().map(|path| (path.clone(), Access::Read));
        let system = readable(network(fence.network)).filter_map(|path| Some((real(path)?, Access::Read)));
        let roots = Roots {
            grants: writes.chain(reads).chain(system).collect(),
            hidden: SECRETS.iter().filter_map(|path| real(Path::new(path))).collect(),
            keeps_settings: rustix::process::geteuid().is_root(),
            shown: shown(fence).into(),
        };
        Ok(Self::Within(Arc::new(roots)))
    }

    /// Whether there are roots.
    pub(super) fn is_narrow(&self) -> bool {
        matches!(self, Self::Within(_))
    }

    /// What a path may not lead through.
    pub(super) fn resolve_flags(&self) -> ResolveFlags {
        if self.is_narrow() { ResolveFlags::NO_MAGICLINKS } else { ResolveFlags::empty() }
    }

    /// Refuses a handle that is out of reach; `path` is what its caller named it.
    pub(super) fn check(&self, handle: &Handle, path: &Path, access: Access) -> Result<(), FsError> {
        match self {
            Self::Everywhere => Ok(()),
            Self::Within(roots) => roots.check(handle.real(), path, access),
        }
    }

    /// Refuses what doesn't exist if it would be out of reach, `rest` below this handle.
    pub(super) fn check_missing(
        &self,
        (above, rest): (&Handle, &Path),
        path: &Path,
        access: Access,
    ) -> Result<(), FsError> {
        let Self::Within(roots) = self else {
            return Ok(());
        };
        // Where `..` or a link leads from what can't be looked up, nobody can tell.
        let is_link = |name| {
            let found = statat(above, name, AtFlags::SYMLINK_NOFOLLOW);
            found.is_ok_and(|stat| kind_of(&stat) == FileType::Symlink)
        };
        let leads_back = rest.components().any(|part| part == Component::ParentDir);
        if leads_back || rest.iter().next().is_some_and(is_link) {
            return Err(roots.outside(path));
        }
        roots.check(above.real(), path, access)?;
        roots.check(&above.real().join(rest), path, access)
    }

    /// The refusal of a path of which nothing can be told; none where everything is told.
    pub(super) fn outside(&self, path: &Path) -> Option<FsError> {
        match self {
            Self::Everywhere => None,
            Self::Within(roots) => Some(roots.outside(path)),
        }
    }
}

impl Roots {
    fn check(&self, real: &Path, path: &Path, access: Access) -> Result<(), FsError> {
        let granted = self.granted(real).ok_or_else(|| self.outside(path))?;
        if let Some(root) = self.hidden_above(real) {
            return Err(FsError::Protected { root });
        }
        if access == Access::Write && granted == Access::Read {
            return Err(FsError::ReadOnlyRoot { path: path.to_owned(), roots: Arc::clone(&self.shown) });
        }
        Ok(())
    }

    /// What may be done at a real path, by the root that is nearest above it; writing goes before reading
    /// where the same is named twice.
    fn granted(&self, real: &Path) -> Option<Access> {
        let above = self.grants.iter().filter(|(root, _)| real.starts_with(root));
        let nearest =
            |(root, access): &&(PathBuf, Access)| (root.components().count(), *access == Access::Write);
        above.max_by_key(nearest).map(|(_, access)| *access)
    }

    fn hidden_above(&self, real: &Path) -> Option<PathBuf> {
        let hidden = self.hidden.iter().find(|hidden| real.starts_with(hidden)).cloned();
        hidden.or_else(|| self.keeps_settings.then(|| private_setting(real)).flatten())
    }

    fn outside(&self, path: &Path) -> FsError {
        FsError::Outside { path: path.to_owned(), roots: Arc::clone(&self.shown) }
    }
}

/// The roots of a fence in a line.
fn shown(fence: &Fence) -> String {
    let list = |roots: &[PathBuf]| {
        let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
        roots.join(", ")
    };
    let mut parts = Vec::new();
    if !fence.roots.is_empty() {
        parts.push(format!("{} (read and write)", list(&fence.roots)));
    }
    if !fence.read_only.is_empty() {
        parts.push(format!("{} (read)", list(&fence.read_only)));
    }
    parts.push("the system's programs and settings (read)".to_owned());
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(grants: &[(&str, Access)], hidden: &[&str]) -> Roots {
        Roots {
            grants: grants.iter().map(|(root, access)| (PathBuf::from(root), *access)).collect(),
            hidden: hidden.iter().map(PathBuf::from).collect(),
            keeps_settings: false,
            shown: "/srv".into(),
        }
    }

    #[test]
    fn the_nearest_root_counts_and_writing_goes_before_reading() {
        let roots = roots(
            &[
                ("/srv", Access::Write),
                ("/srv/docs", Access::Read),
                ("/srv/docs/new", Access::Write),
                ("/usr", Access::Read),
                ("/usr", Access::Write),
            ],
            &[],
        );
        for (path, expect) in [
            ("/srv", Some(Access::Write)),
            ("/srv/a", Some(Access::Write)),
            ("/srv/docs/a", Some(Access::Read)),
            ("/srv/docs/new/a", Some(Access::Write)),
            ("/srv/docsx", Some(Access::Write)),
            ("/usr/a", Some(Access::Write)),
            ("/srvx", None),
            ("/", None),
            ("/etc", None),
        ] {
            assert_eq!(roots.granted(Path::new(path)), expect, "{path}");
        }
    }

    #[test]
    fn a_refusal_names_the_path_and_the_roots_and_what_is_hidden_is_hidden() {
        let roots = roots(&[("/srv", Access::Read)], &["/srv/key"]);
        let check = |real: &str, access| roots.check(Path::new(real), Path::new("/named"), access);
        assert!(check("/srv/a", Access::Read).is_ok());
        for (real, access, expect) in [
            ("/etc", Access::Read, "Permission denied: /named is outside of what this token may reach: /srv"),
            ("/srv/a", Access::Write, "Permission denied: /named may be read and not changed: /srv"),
            ("/srv/key/x", Access::Read, "Access denied: path is within protected directory /srv/key"),
        ] {
            assert_eq!(check(real, access).unwrap_err().to_string(), expect);
        }
    }

    #[test]
    fn a_fence_for_another_user_opens_no_file() {
        let user = "1000:1000".parse().ok();
        let fence = Fence { profile: hayward_api::fence::Profile::Confined, user, ..Fence::default() };
        assert!(matches!(Reach::of(&fence), Err(FsError::OtherUser { .. })));
        assert!(!Reach::of(&Fence::default()).unwrap().is_narrow());
    }
}
