//! What holds a job's processes together on this machine, in a word and in a sentence.

use std::fmt;
use std::path::PathBuf;

use crate::assess::{Fence, Held, State};
use crate::cgroup::Home;

/// Which containment is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The strongest that this machine allows.
    #[default]
    Detect,
    /// Without cgroups, as on machines that have none: for tests, and where cgroups misbehave.
    Subreaper,
}

/// What holds a job's processes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Containment {
    /// Each supervisor has a cgroup of its own, which is ended as a whole.
    CgroupV2 {
        /// The cgroup that holds those of the supervisors.
        path: PathBuf,
    },
    /// Orphans fall to their supervisor, which ends them one by one.
    Subreaper {
        /// Why there is no cgroup.
        reason: String,
    },
}

impl Containment {
    /// What it holds of itself, whatever the profile.
    pub(crate) fn fences(&self) -> Vec<Held> {
        let end = match self {
            Self::CgroupV2 { .. } => Held { fence: Fence::End, state: State::Held, why: String::new() },
            Self::Subreaper { reason } => {
                Held { fence: Fence::End, state: State::Weaker, why: reason.clone() }
            }
        };
        vec![end]
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CgroupV2 { path } => {
                write!(f, "commands are held by cgroups beneath `{}` and ended as a whole", path.display())
            }
            Self::Subreaper { reason } => write!(
                f,
                "commands are held by a subreaper and ended process by process, weaker than by \
                 cgroup: a process that leaves its session and kills its supervisor escapes \
                 ({reason})"
            ),
        }
    }
}

/// Makes the containment of this choice.
pub(crate) fn establish(choice: Choice) -> (Containment, Option<Home>) {
    let made = match choice {
        Choice::Detect => Home::create(),
        Choice::Subreaper => Err("cgroups are switched off".to_owned()),
    };
    match made {
        Ok(home) => (Containment::CgroupV2 { path: home.path().to_owned() }, Some(home)),
        Err(reason) => (Containment::Subreaper { reason }, None),
    }
}
