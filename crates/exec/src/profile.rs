//! What a job may do: everything that its user may, or only what is named.
//!
//! | profile | what it is |
//! |---|---|
//! | `full` | a shell of the daemon's user: `sudo` works, nothing is taken away |
//! | `confined` | reads the system and its roots, writes its roots, holds no privilege |
//!
//! A confined job is refused where the kernel can't hold what was asked; it never runs with less.
//! What can be held in more than one way (a mount namespace beside Landlock) is held in as many
//! as there are; [`Executor::assess`](crate::Executor::assess) says which those are.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::ExecError;
use crate::limits::ROOTS_MAX;

/// What a job may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// What its user may do.
    #[default]
    Full,
    /// What is named, and nothing else.
    Confined(Confined),
}

/// What a confined job may do.
///
/// Beside its roots it reads `/usr`, `/bin`, `/sbin`, `/lib*`, `/etc` without its secrets, and
/// its own `/proc`; it has `/dev/null` and its like, and a `/tmp` of its own where it has a mount
/// namespace. Its working directory has to be in one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confined {
    /// Files and directories that it changes; absolute, and there when it starts.
    pub read_write: Vec<PathBuf>,
    /// Files and directories that it reads beside the system's; absolute, and there when it starts.
    pub read_only: Vec<PathBuf>,
    /// Whom it talks to.
    pub network: Network,
    /// Whom it becomes; only a daemon that is root can name somebody.
    pub user: Option<User>,
}

/// Whom a confined job talks to over the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Nobody: it has no socket but Unix ones.
    #[default]
    None,
    /// Whom the machine talks to, over IP.
    Shared,
}

/// A user by number, with one group and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its user id; not 0.
    pub uid: u32,
    /// Its group id; not 0.
    pub gid: u32,
}

impl Profile {
    /// Refuses what can't be meant.
    pub(crate) fn check(&self) -> Result<(), ExecError> {
        match self {
            Self::Full => Ok(()),
            Self::Confined(confined) => confined.check(),
        }
    }
}

impl Confined {
    fn check(&self) -> Result<(), ExecError> {
        let roots = || self.read_write.iter().chain(&self.read_only);
        if roots().count() > ROOTS_MAX {
            return Err(ExecError::ProfileInvalid { what: format!("more than {ROOTS_MAX} roots") });
        }
        if let Some(root) = roots().find(|root| !is_plain(root)) {
            let what = format!("root `{}`: it must be absolute, without `..`, and below `/`", root.display());
            return Err(ExecError::ProfileInvalid { what });
        }
        if self.user.is_some_and(|user| user.uid == 0 || user.gid == 0) {
            return Err(ExecError::ProfileInvalid { what: "root as another user".to_owned() });
        }
        Ok(())
    }
}

/// The whole tree is no root: a job with that isn't confined.
fn is_plain(path: &Path) -> bool {
    use std::path::Component::{Normal, RootDir};
    let is_plain = path.components().all(|part| matches!(part, RootDir | Normal(_)));
    is_plain
        && path.is_absolute()
        && path.parent().is_some()
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(confined: Confined) -> bool {
        Profile::Confined(confined).check().is_ok()
    }

    fn with_root(root: &str) -> Confined {
        Confined { read_write: vec![root.into()], ..Confined::default() }
    }

    #[test]
    fn roots_are_absolute_and_plain() {
        for root in ["/srv/a", "/tmp"] {
            assert!(check(with_root(root)), "{root}");
        }
        for root in ["", "srv", "/", "//", "/srv/../etc", "/a\0b"] {
            assert!(!check(with_root(root)), "{root}");
            let read_only = Confined { read_only: vec![root.into()], ..Confined::default() };
            assert!(!check(read_only), "{root}");
        }
        let many = Confined { read_only: vec!["/srv".into(); ROOTS_MAX + 1], ..Confined::default() };
        assert!(!check(many));
    }

    #[test]
    fn nobody_becomes_root() {
        let turn = |uid, gid| check(Confined { user: Some(User { uid, gid }), ..Confined::default() });
        assert!(turn(1, 1));
        assert!(!turn(0, 1));
        assert!(!turn(1, 0));
    }
}
