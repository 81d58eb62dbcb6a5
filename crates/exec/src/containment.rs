//! What holds a job's processes together on this machine, in a word and in a sentence.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::assess::{Fence, Held, State};
use crate::cgroup::{Bounds, Controllers, Hold, Home, Layout, Trees};

/// Which containment is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The strongest that this machine allows.
    #[default]
    Detect,
    /// A v2 cgroup that is frozen and killed process by process, as before Linux 5.14: for tests.
    Freeze,
    /// A v1 freezer, as where there is no v2 tree: for tests.
    Freezer,
    /// Without cgroups, as on machines that have none: for tests, and where cgroups misbehave.
    Subreaper,
}

/// What holds a job's processes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Containment {
    /// Each supervisor has a cgroup of its own, which is ended as a whole.
    Cgroup {
        /// The cgroup that holds those of the supervisors.
        path: PathBuf,
        /// How one is ended.
        end: End,
        /// The trees of this machine.
        layout: Layout,
        /// Which quotas are held for a job as a whole.
        bounds: Bounds,
    },
    /// Orphans fall to their supervisor, which ends them one by one.
    Subreaper {
        /// Why there is no cgroup.
        reason: String,
        /// The trees of this machine.
        layout: Layout,
        /// Which quotas are held for a job as a whole.
        bounds: Bounds,
    },
}

/// How a cgroup is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All at once, by the kernel.
    Kill,
    /// Frozen, then killed one by one.
    Freeze,
}

impl Containment {
    /// The cgroup that holds those of the supervisors, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Cgroup { path, .. } => Some(path),
            Self::Subreaper { .. } => None,
        }
    }

    /// Which quotas are held for a job as a whole; the others are held for each process, or not.
    pub fn bounds(&self) -> Bounds {
        match self {
            Self::Cgroup { bounds, .. } | Self::Subreaper { bounds, .. } => *bounds,
        }
    }

    /// What it holds of itself, whatever the profile.
    pub(crate) fn fences(&self) -> Vec<Held> {
        let held = |fence, state, why: &str| Held { fence, state, why: why.to_owned() };
        let end = match self {
            Self::Cgroup { .. } => held(Fence::End, State::Held, ""),
            Self::Subreaper { reason, .. } => held(Fence::End, State::Weaker, reason),
        };
        let Bounds { memory, processes, cpu } = self.bounds();
        let bound = |fence, is_held, instead, why| {
            if is_held { held(fence, State::Held, "") } else { held(fence, instead, why) }
        };
        vec![
            end,
            bound(Fence::Memory, memory, State::Weaker, "no memory controller: each process by itself"),
            bound(
                Fence::ProcessCount,
                processes,
                State::Weaker,
                "no pids controller: all of the user together",
            ),
            bound(Fence::Cpu, cpu, State::Absent, "no cpu controller"),
        ]
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup { path, end, layout, bounds } => {
                let how = match end {
                    End::Kill => "ended as a whole",
                    End::Freeze => "frozen and ended process by process",
                };
                let path = path.display();
                write!(f, "commands are held by cgroups beneath `{path}` and {how} ({layout}); {bounds}")
            }
            Self::Subreaper { reason, layout, bounds } => write!(
                f,
                "commands are held by a subreaper and ended process by process, weaker than by \
                 cgroup: a process that leaves its session and kills its supervisor escapes \
                 ({layout}, {reason}); {bounds}"
            ),
        }
    }
}

/// Makes the containment of this choice.
pub(crate) fn establish(choice: Choice) -> (Containment, Option<Home>, Controllers) {
    let trees = Trees::read();
    let layout = trees.layout();
    let made = match choice {
        Choice::Detect => Home::create(&trees, None),
        Choice::Freeze => Home::create(&trees, Some(Hold::Freeze)),
        Choice::Freezer => Home::create(&trees, Some(Hold::Freezer)),
        Choice::Subreaper => Err("cgroups are switched off".to_owned()),
    };
    let controllers = match (&made, choice) {
        (_, Choice::Subreaper) => Controllers::default(),
        (Ok(home), _) => Controllers::find(&trees, home.controllers()),
        (Err(_), _) => Controllers::find(&trees, Vec::new()),
    };
    let bounds = controllers.bounds();
    match made {
        Ok(home) => {
            let end = if home.hold() == Hold::Kill { End::Kill } else { End::Freeze };
            let path = home.path().to_owned();
            (Containment::Cgroup { path, end, layout, bounds }, Some(home), controllers)
        }
        Err(reason) => (Containment::Subreaper { reason, layout, bounds }, None, controllers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Bounds = Bounds { memory: true, processes: true, cpu: true };

    #[test]
    fn a_cgroup_is_told_from_what_is_weaker() {
        let cgroup = |end| Containment::Cgroup {
            path: "/c/hayward".into(),
            end,
            layout: Layout::Unified,
            bounds: ALL,
        };
        for (end, how) in
            [(End::Kill, "ended as a whole"), (End::Freeze, "frozen and ended process by process")]
        {
            let said = cgroup(end).to_string();
            let start = format!("commands are held by cgroups beneath `/c/hayward` and {how} (cgroup v2); ");
            assert!(said.starts_with(&start), "{said}");
        }
        let reason = "no cgroup tree is mounted".to_owned();
        for (layout, name) in [
            (Layout::None, "no cgroups"),
            (Layout::Legacy, "cgroup v1"),
            (Layout::Hybrid, "cgroup v2 beside v1"),
        ] {
            let subreaper =
                Containment::Subreaper { reason: reason.clone(), layout, bounds: Bounds::default() };
            let said = subreaper.to_string();
            assert!(said.contains("weaker than by cgroup"), "{said}");
            assert!(said.contains(&format!("({name}, no cgroup tree is mounted); ")), "{said}");
        }
    }

    #[test]
    fn what_no_controller_holds_is_no_fence() {
        let reason = "none".to_owned();
        let (path, layout) = (PathBuf::from("/c"), Layout::Unified);
        let strong = Containment::Cgroup { path: path.clone(), end: End::Kill, layout, bounds: ALL };
        assert!(strong.fences().iter().all(|held| held.state == State::Held && held.why.is_empty()));
        assert_eq!(strong.path(), Some(&*path));
        let weak = Containment::Subreaper { reason, layout, bounds: Bounds::default() };
        let states: Vec<_> = weak.fences().iter().map(|held| (held.fence, held.state)).collect();
        let expected = [
            (Fence::End, State::Weaker),
            (Fence::Memory, State::Weaker),
            (Fence::ProcessCount, State::Weaker),
            (Fence::Cpu, State::Absent),
        ];
        assert_eq!(states, expected);
        assert!(weak.fences().iter().all(|held| !held.why.is_empty()));
        assert_eq!(weak.path(), None);
    }
}
