//! Where this process is in the cgroup trees of the machine.
//!
//! | layout | v2 tree | v1 trees |
//! |---|---|---|
//! | unified | all controllers | |
//! | hybrid | mounted, few controllers or none | the controllers |
//! | legacy | | the controllers |
//! | none | | |

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Which cgroup trees a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One tree, version 2.
    Unified,
    /// A version 2 tree to hold processes together, version 1 trees to bound them.
    Hybrid,
    /// Version 1 trees only.
    Legacy,
    /// None that this process sees.
    None,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unified => "cgroup v2",
            Self::Hybrid => "cgroup v2 beside v1",
            Self::Legacy => "cgroup v1",
            Self::None => "no cgroups",
        })
    }
}

/// The `cgroup` and `mountinfo` files of this process.
pub(crate) struct Trees {
    cgroups: String,
    mounts: String,
}

impl Trees {
    /// Reads them; without them there are none.
    pub(crate) fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self { cgroups: read("/proc/self/cgroup"), mounts: read("/proc/self/mountinfo") }
    }

    /// Which there are.
    pub(crate) fn layout(&self) -> Layout {
        let has_v1 = ["memory", "pids", "cpu", "freezer"].iter().any(|name| self.v1(name).is_some());
        match (self.v2().is_some(), has_v1) {
            (true, false) => Layout::Unified,
            (true, true) => Layout::Hybrid,
            (false, true) => Layout::Legacy,
            (false, false) => Layout::None,
        }
    }

    /// The folder of this process in the v2 tree.
    pub(crate) fn v2(&self) -> Option<PathBuf> {
        let own = self.cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
        self.locate(Path::new(own), |kind, _| kind == "cgroup2")
    }

    /// The folder of this process in the v1 tree of a controller.
    pub(crate) fn v1(&self, controller: &str) -> Option<PathBuf> {
        let has = |list: &str| list.split(',').any(|name| name == controller);
        let own = self.cgroups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            has(controllers).then_some(path)
        })?;
        self.locate(Path::new(own), |kind, options| kind == "cgroup" && has(options))
    }

    /// Where a cgroup is, in a mount whose kind and options are these.
    fn locate(&self, own: &Path, is_it: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
        self.mounts.lines().find_map(|line| {
            let (mount, of) = line.split_once(" - ")?;
            let mut of = of.split(' ');
            let (kind, options) = (of.next()?, of.nth(1).unwrap_or_default());
            let mut fields = mount.split(' ').skip(3);
            let (root, point) = (fields.next()?, fields.next()?);
            // Where the mount shows a part of the tree only, our cgroup must be in that part.
            let below = own.strip_prefix(root).ok()?;
            is_it(kind, options).then(|| Path::new(point).join(below))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trees(cgroups: &str, mounts: &str) -> Trees {
        Trees { cgroups: cgroups.to_owned(), mounts: mounts.to_owned() }
    }

    fn check(cgroups: &str, mounts: &str, layout: Layout, v2: Option<&str>, memory: Option<&str>) {
        let trees = trees(cgroups, mounts);
        assert_eq!(trees.layout(), layout);
        assert_eq!(trees.v2().as_deref(), v2.map(Path::new));
        assert_eq!(trees.v1("memory").as_deref(), memory.map(Path::new));
    }

    const PURE: &str = "25 23 0:22 / /sys rw - sysfs sysfs rw\n\
        30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
        33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const LEGACY: &str = "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn the_pure_layout() {
        let at = Some("/sys/fs/cgroup/user.slice/a.scope");
        check("0::/user.slice/a.scope\n", PURE, Layout::Unified, at, None);
    }

    #[test]
    fn the_hybrid_layout() {
        let (v2, memory) = (Some("/sys/fs/cgroup/unified"), Some("/sys/fs/cgroup/memory/x"));
        check("4:memory:/x\n2:cpu,cpuacct:/\n0::/\n", HYBRID, Layout::Hybrid, v2, memory);
        assert_eq!(trees("2:cpu,cpuacct:/y\n", HYBRID).v1("cpu").unwrap(), Path::new("/sys/fs/cgroup/cpu/y"));
    }

    #[test]
    fn the_legacy_layout() {
        check("4:memory:/x\n", LEGACY, Layout::Legacy, None, Some("/sys/fs/cgroup/memory/x"));
    }

    #[test]
    fn a_mount_that_shows_a_part_of_the_tree() {
        let mounts = "41 31 0:38 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        check("0::/docker/abc/x\n", mounts, Layout::Unified, Some("/sys/fs/cgroup/x"), None);
        check("0::/elsewhere\n", mounts, Layout::None, None, None);
    }

    #[test]
    fn no_cgroups() {
        check("", "", Layout::None, None, None);
        check("4:memory:/x\n", PURE, Layout::None, None, None);
        check(
            "0::/\n",
            "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
            Layout::None,
            None,
            None,
        );
    }
}
