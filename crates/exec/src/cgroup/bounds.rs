//! Quotas: a cgroup for each job that has one, with its files filled in, and what they tell afterwards.
//!
//! ```text
//!  v2   <home>/job-1/main           the supervisor: a cgroup that hands controllers on
//!       <home>/job-1/work-7         the job           has no processes of its own
//!  v1   <tree of a controller>/<server's cgroup>/hayward-<pid>-<n>/work-7
//! ```

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::hold::{folders, remove_tree};
use super::layout::Trees;
use super::{HOME_PREFIX, Leaf, lock, make_home};
use crate::limits::CPU_PERIOD_US;
use crate::quota::{Exhausted, Quota};

/// What a controller bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }

    /// What this controller is asked for.
    fn wanted(self, quota: &Quota) -> Option<u64> {
        match self {
            Self::Memory => quota.memory_bytes,
            Self::Pids => quota.processes,
            Self::Cpu => quota.cpu_percent,
        }
    }
}

/// Which bounds of a [`Quota`] are held for a job as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// By a memory controller.
    pub memory: bool,
    /// By a pids controller.
    pub processes: bool,
    /// By a cpu controller.
    pub cpu: bool,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.memory, "memory", "memory by process"),
            (self.processes, "processes", "processes by user, and not for root"),
            (self.cpu, "cpu", "cpu not at all"),
        ];
        let of = |is: bool| all.iter().filter(move |(held, ..)| *held == is);
        let held: Vec<&str> = of(true).map(|(_, name, _)| *name).collect();
        let other: Vec<&str> = of(false).map(|(_, _, instead)| *instead).collect();
        match (held.is_empty(), other.is_empty()) {
            (false, true) => write!(f, "{} are bounded for each command", held.join(", ")),
            (false, false) => {
                write!(f, "{} are bounded for each command; {}", held.join(", "), other.join(", "))
            }
            _ => write!(f, "no controller is delegated: {}", other.join(", ")),
        }
    }
}

/// The controllers that this process can bound jobs with.
#[derive(Debug, Default)]
pub(crate) struct Controllers {
    /// Those of the v2 home.
    v2: Vec<Controller>,
    /// Those of v1 trees, each with a home of its own there.
    v1: Vec<(Controller, V1Home)>,
    groups: AtomicU64,
}

#[derive(Debug)]
struct V1Home {
    path: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl Controllers {
    /// Those that a v2 home hands on, and of the others those that have a v1 tree where we may.
    pub(crate) fn find(trees: &Trees, v2: Vec<Controller>) -> Self {
        let others = Controller::ALL.into_iter().filter(|controller| !v2.contains(controller));
        let v1 = others.filter_map(|controller| {
            let (path, lock) = make_home(&trees.v1(controller.name())?).ok()?;
            Some((controller, V1Home { path, _lock: lock }))
        });
        let v1 = v1.collect();
        Self { v2, v1, groups: AtomicU64::new(0) }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let has = |wanted: Controller| {
            self.v2.contains(&wanted) || self.v1.iter().any(|(controller, _)| *controller == wanted)
        };
        Bounds {
            memory: has(Controller::Memory),
            processes: has(Controller::Pids),
            cpu: has(Controller::Cpu),
        }
    }

    /// Makes the cgroups of a job with this quota, in a leaf that hands controllers on.
    pub(crate) fn bound(&self, leaf: Option<&Path>, quota: &Quota) -> io::Result<Group> {
        let name = format!("work-{}", self.groups.fetch_add(1, Ordering::Relaxed));
        let mut group = Group::default();
        let made = self.fill(&mut group, leaf, &name, quota);
        if made.is_err() {
            group.remove();
        }
        made.map(|()| group)
    }

    fn fill(&self, group: &mut Group, leaf: Option<&Path>, name: &str, quota: &Quota) -> io::Result<()> {
        let has_one = |list: &[Controller]| list.iter().any(|controller| controller.wanted(quota).is_some());
        if let Some(leaf) = leaf.filter(|_| has_one(&self.v2)) {
            let path = group.make(leaf.join(name))?;
            for controller in &self.v2 {
                set_v2(&path, *controller, quota)?;
                group.parts.push((*controller, path.clone()));
            }
        }
        for (controller, home) in &self.v1 {
            if controller.wanted(quota).is_some() {
                let path = group.make(home.path.join(name))?;
                set_v1(&path, *controller, quota)?;
                group.parts.push((*controller, path));
            }
        }
        Ok(())
    }

    /// Removes the homes, if nobody is in them.
    pub(crate) fn remove(&self) {
        for (_, home) in &self.v1 {
            remove_tree(&home.path);
        }
    }

    /// Removes what dead servers left in v1 trees. They hold nobody together, so nobody is ended.
    pub(crate) fn clean_up_after_others(&self) {
        for home in self.v1.iter().filter_map(|(_, home)| home.path.parent()).flat_map(folders) {
            let is_home =
                home.file_name().and_then(|name| name.to_str()).is_some_and(|n| n.starts_with(HOME_PREFIX));
            if is_home && let Some(_lock) = lock(&home) {
                remove_tree(&home);
            }
        }
    }
}

/// The cgroups of one job.
#[derive(Debug, Default)]
pub(crate) struct Group {
    folders: Vec<PathBuf>,
    parts: Vec<(Controller, PathBuf)>,
}

impl Group {
    fn make(&mut self, path: PathBuf) -> io::Result<PathBuf> {
        fs::create_dir(&path)?;
        self.folders.push(path.clone());
        Ok(path)
    }

    /// What a job has to enter.
    pub(crate) fn entries(&self) -> Vec<OsString> {
        self.folders.iter().map(|path| path.clone().into()).collect()
    }

    /// What the job ran into so far.
    pub(crate) fn exhausted(&self) -> Exhausted {
        let mut exhausted = Exhausted::default();
        for (controller, path) in &self.parts {
            let counts = |file: &str, key: &str| count(&path.join(file), key) > 0;
            match controller {
                Controller::Memory => {
                    exhausted.memory |=
                        counts("memory.events", "oom_kill") || counts("memory.oom_control", "oom_kill");
                }
                Controller::Pids => exhausted.processes |= counts("pids.events", "max"),
                Controller::Cpu => {}
            }
        }
        exhausted
    }

    /// Removes them; gives those back that somebody is still in.
    pub(crate) fn remove(&self) -> Vec<Leaf> {
        self.folders.iter().filter(|path| !remove_tree(path)).map(|path| Leaf::of_group(path)).collect()
    }
}

/// The number after this word in a file of such lines.
fn count(path: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(name, _)| *name == key).and_then(|(_, count)| count.trim().parse().ok()).unwrap_or(0)
}

fn set_v2(path: &Path, controller: Controller, quota: &Quota) -> io::Result<()> {
    let Some(wanted) = controller.wanted(quota) else {
        return Ok(());
    };
    let write = |file: &str, value: String| fs::write(path.join(file), value);
    match controller {
        Controller::Memory => {
            write("memory.max", wanted.to_string())?;
            // Neither is there on every kernel: without swap accounting, without groups (before 4.19).
            write("memory.swap.max", "0".to_owned()).ok();
            write("memory.oom.group", "1".to_owned()).ok();
            Ok(())
        }
        Controller::Pids => write("pids.max", wanted.to_string()),
        Controller::Cpu => write("cpu.max", format!("{} {CPU_PERIOD_US}", cpu_quota_us(wanted))),
    }
}

fn set_v1(path: &Path, controller: Controller, quota: &Quota) -> io::Result<()> {
    let Some(wanted) = controller.wanted(quota) else {
        return Ok(());
    };
    let write = |file: &str, value: String| fs::write(path.join(file), value);
    match controller {
        Controller::Memory => {
            write("memory.limit_in_bytes", wanted.to_string())?;
            // Memory and swap together; not there without swap accounting.
            write("memory.memsw.limit_in_bytes", wanted.to_string()).ok();
            Ok(())
        }
        Controller::Pids => write("pids.max", wanted.to_string()),
        Controller::Cpu => {
            write("cpu.cfs_period_us", CPU_PERIOD_US.to_string())?;
            write("cpu.cfs_quota_us", cpu_quota_us(wanted).to_string())
        }
    }
}

fn cpu_quota_us(percent: u64) -> u64 {
    // The kernel takes no less.
    (CPU_PERIOD_US.saturating_mul(percent) / 100).clamp(1_000, u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_a_share_of_a_period() {
        assert_eq!([cpu_quota_us(50), cpu_quota_us(400), cpu_quota_us(0)], [50_000, 400_000, 1_000]);
    }

    #[test]
    fn bounds_are_told_in_words() {
        let all = Bounds { memory: true, processes: true, cpu: true };
        assert_eq!(all.to_string(), "memory, processes, cpu are bounded for each command");
        let some = Bounds { cpu: false, ..all };
        assert_eq!(some.to_string(), "memory, processes are bounded for each command; cpu not at all");
        let none = Bounds::default().to_string();
        assert!(none.starts_with("no controller is delegated: memory by process"), "{none}");
    }

    #[test]
    fn counts_are_found_by_their_word() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "oom 3\noom_kill 2\n").unwrap();
        assert_eq!(count(file.path(), "oom_kill"), 2);
        assert_eq!(count(file.path(), "kill"), 0);
        assert_eq!(count(Path::new("/nonexistent"), "oom_kill"), 0);
    }

    const QUOTA: Quota =
        Quota { memory_bytes: Some(1 << 20), processes: Some(7), cpu_percent: Some(50), file_bytes: None };

    /// In a plain directory, where files are made that a cgroup has already.
    fn check_files(controllers: &Controllers, leaf: &Path, at: &Path, expected: &[(&str, &str)]) {
        let group = controllers.bound(Some(leaf), &QUOTA).unwrap();
        for (file, value) in expected {
            assert_eq!(fs::read_to_string(at.join(file)).unwrap(), *value, "{file}");
        }
        assert_eq!(group.exhausted(), Exhausted::default());
        fs::write(at.join("memory.events"), "oom 1\noom_kill 1\n").unwrap();
        fs::write(at.join("pids.events"), "max 2\n").unwrap();
        assert_eq!(group.exhausted(), Exhausted { memory: true, processes: true });
    }

    #[test]
    fn a_quota_fills_the_files_of_a_v2_tree() {
        let folder = tempfile::tempdir().unwrap();
        let controllers = Controllers { v2: Controller::ALL.to_vec(), ..Controllers::default() };
        let files = [
            ("memory.max", "1048576"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("pids.max", "7"),
            ("cpu.max", "50000 100000"),
        ];
        check_files(&controllers, folder.path(), &folder.path().join("work-0"), &files);
        assert!(controllers.bounds().memory && controllers.bounds().processes && controllers.bounds().cpu);
    }

    #[test]
    fn a_quota_fills_the_files_of_v1_trees() {
        let folder = tempfile::tempdir().unwrap();
        let home = || V1Home { path: folder.path().to_owned(), _lock: File::open(folder.path()).unwrap() };
        for (controller, files) in [
            (Controller::Pids, [("pids.max", "7")]),
            (Controller::Cpu, [("cpu.cfs_quota_us", "50000")]),
            (Controller::Memory, [("memory.limit_in_bytes", "1048576")]),
        ] {
            let controllers = Controllers { v1: vec![(controller, home())], ..Controllers::default() };
            let group = controllers.bound(None, &QUOTA).unwrap();
            let at = folder.path().join("work-0");
            assert_eq!(group.entries(), [at.clone().into_os_string()]);
            for (file, value) in files {
                assert_eq!(fs::read_to_string(at.join(file)).unwrap(), value, "{file}");
            }
            fs::remove_dir_all(at).unwrap();
        }
    }

    #[test]
    fn what_is_not_asked_for_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let controllers = Controllers { v2: Controller::ALL.to_vec(), ..Controllers::default() };
        let only_files = Quota { file_bytes: Some(1), ..Quota::default() };
        assert!(controllers.bound(Some(folder.path()), &only_files).unwrap().entries().is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
