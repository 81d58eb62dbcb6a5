//! Controllers of the v2 tree, handed from the server's cgroup down to its home.
//!
//! A cgroup that hands controllers on has no processes of its own. So where the server is alone in
//! a cgroup that was delegated to it (`Delegate=yes`, a container), it moves into its home, and back
//! at its end. Where it isn't, nothing is moved and there are no controllers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::getxattr;

/// Where the server goes to make room.
const SELF: &str = "self";

/// What a service manager marks a delegated cgroup with.
const DELEGATED: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// What was handed on, and what has to be undone.
#[derive(Debug, Default)]
pub(crate) struct Delegation {
    controllers: Vec<String>,
    /// Controllers that the parent handed on only because of us.
    enabled: Vec<String>,
    parent: PathBuf,
    /// Where the server is now, if it moved.
    moved_to: Option<PathBuf>,
}

impl Delegation {
    /// Takes as many of these controllers as there are.
    pub(crate) fn take(parent: &Path, home: &Path, wanted: &[&str]) -> Self {
        let mut delegation = Self { parent: parent.to_owned(), ..Self::default() };
        let there = words(&parent.join("cgroup.controllers"));
        let handed_on = words(&parent.join(CONTROL));
        let missing: Vec<&str> = wanted
            .iter()
            .copied()
            .filter(|name| contains(&there, name) && !contains(&handed_on, name))
            .collect();
        if !missing.is_empty() {
            delegation.enabled = enable(parent, &missing);
            if delegation.enabled.is_empty() && is_ours(parent) {
                delegation.make_room(home, &missing);
            }
        }
        let there = words(&home.join("cgroup.controllers"));
        let wanted: Vec<&str> = wanted.iter().copied().filter(|name| contains(&there, name)).collect();
        delegation.controllers = enable(home, &wanted);
        if delegation.controllers.is_empty() {
            delegation.give_back();
            delegation.enabled.clear();
            delegation.moved_to = None;
        }
        delegation
    }

    fn make_room(&mut self, home: &Path, missing: &[&str]) {
        let room = home.join(SELF);
        if fs::create_dir(&room).and_then(|()| enter(&room)).is_ok() {
            self.enabled = enable(&self.parent, missing);
        }
        self.moved_to = Some(room);
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        contains(&self.controllers, controller)
    }

    /// Hands all of them on from this cgroup; says whether there were some.
    pub(crate) fn hand_on(&self, path: &Path) -> io::Result<bool> {
        for name in &self.controllers {
            fs::write(path.join(CONTROL), format!("+{name}"))?;
        }
        Ok(!self.controllers.is_empty())
    }

    /// Undoes what was done above the leaves. What can't be undone stays: the cgroup ends with us.
    pub(crate) fn give_back(&self) {
        let home = self.moved_to.as_deref().and_then(Path::parent);
        for name in &self.controllers {
            home.map(|home| fs::write(home.join(CONTROL), format!("-{name}")).ok());
        }
        for name in &self.enabled {
            fs::write(self.parent.join(CONTROL), format!("-{name}")).ok();
        }
        if let Some(room) = &self.moved_to {
            enter(&self.parent).ok();
            fs::remove_dir(room).ok();
        }
    }
}

const CONTROL: &str = "cgroup.subtree_control";

/// One by one, because one that can't be handed on shouldn't keep the others.
fn enable(path: &Path, names: &[&str]) -> Vec<String> {
    let is_enabled = |name: &&&str| fs::write(path.join(CONTROL), format!("+{name}")).is_ok();
    names.iter().filter(is_enabled).map(|name| (*name).to_owned()).collect()
}

/// Whether this process may rearrange a cgroup: nobody else is in it, and it was given to us, or
/// is the root of all that we see.
fn is_ours(path: &Path) -> bool {
    let own = std::process::id().to_string();
    let is_alone = words(&path.join("cgroup.procs")) == [own];
    let is_root =
        fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| text.lines().any(|line| line == "0::/"));
    is_alone && (is_root || DELEGATED.iter().any(|mark| getxattr(path, *mark, &mut [0_u8; 8]).is_ok()))
}

fn enter(path: &Path) -> io::Result<()> {
    fs::write(path.join("cgroup.procs"), "0")
}

fn words(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

fn contains(words: &[String], word: &str) -> bool {
    words.iter().any(|known| known == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Trees;

    /// With whichever controller the v2 tree of this machine has.
    #[test]
    fn a_server_alone_in_its_cgroup_makes_room_and_comes_back() {
        let Some(root) = Trees::read().v2().filter(|root| words(&root.join("cgroup.controllers")).len() == 1)
        else {
            eprintln!("skipped: no v2 tree with a spare controller");
            return;
        };
        let controller = words(&root.join("cgroup.controllers")).remove(0);
        let before = words(&root.join(CONTROL));
        let parent = root.join(format!("delegation-test-{}", std::process::id()));
        let is_ready = fs::write(root.join(CONTROL), format!("+{controller}")).is_ok()
            && fs::create_dir(&parent).is_ok()
            && rustix::fs::setxattr(&parent, DELEGATED[1], b"1", rustix::fs::XattrFlags::empty()).is_ok();
        if !is_ready {
            eprintln!("skipped: cgroups can't be made here");
            return;
        }
        let home = parent.join("home");
        fs::create_dir(&home).unwrap();
        enter(&parent).unwrap();
        let delegation = Delegation::take(&parent, &home, &[&controller]);
        assert!(delegation.has(&controller), "{delegation:?}");
        assert_eq!(words(&home.join("self/cgroup.procs")), [std::process::id().to_string()]);
        fs::create_dir(home.join("leaf")).unwrap();
        assert!(delegation.hand_on(&home.join("leaf")).unwrap());
        fs::remove_dir(home.join("leaf")).unwrap();
        delegation.give_back();
        assert_eq!(words(&parent.join("cgroup.procs")), [std::process::id().to_string()]);
        fs::remove_dir(&home).unwrap();
        enter(&root).unwrap();
        fs::remove_dir(&parent).unwrap();
        if before.is_empty() {
            fs::write(root.join(CONTROL), format!("-{controller}")).ok();
        }
    }

    #[test]
    fn nothing_is_taken_where_there_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let delegation = Delegation::take(folder.path(), folder.path(), &["memory"]);
        assert!(!delegation.has("memory"));
        assert!(!delegation.hand_on(folder.path()).unwrap());
    }
}
