//! What a caller's commands and file tools may reach, as its token says it.
//!
//! | profile | what it is |
//! |---|---|
//! | `full` | what the daemon's user may |
//! | `confined` | reads the system and its roots, writes its roots, holds no privilege |
//!
//! Values only: whether a root exists, and whether a kernel can hold a fence, is found out elsewhere.

pub mod narrow;
pub mod tools;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};

/// Bytes of memory with which a command can begin, and more than any machine has.
const MEMORY_BYTES: RangeInclusive<u64> = 4 << 20..=1 << 50;
/// A command and one that it starts, and as many as a kernel counts.
const PROCESSES: RangeInclusive<u64> = 2..=1 << 22;
/// Percent of one processor.
const CPU_PERCENT: RangeInclusive<u64> = 1..=1_000_000;
/// Bytes of one file.
const FILE_BYTES: RangeInclusive<u64> = 1..=1 << 62;

/// Roots of one fence, of both kinds together.
pub const ROOTS_MAX: usize = 64;

/// What a caller's commands and file tools may reach, and what one command may use up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fence {
    /// Everything that the daemon's user may, or only what is named here.
    pub profile: Profile,
    /// Directories and files that it reads and changes; absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<PathBuf>,
    /// Directories and files that it reads beside the system's; absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_only: Vec<PathBuf>,
    /// Whom its commands talk to.
    #[serde(default, skip_serializing_if = "Network::is_none")]
    pub network: Network,
    /// Whom its commands become; the daemon's user if nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<RunAs>,
    /// What one command may use up.
    #[serde(default, skip_serializing_if = "Quota::is_none")]
    pub quota: Quota,
}

/// The kinds of fences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// What the daemon's user may.
    #[default]
    Full,
    /// What is named, and nothing else.
    Confined,
}

/// Whom a confined command talks to over the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Nobody.
    #[default]
    None,
    /// Whom the machine talks to.
    Shared,
}

/// What one command may use up; what isn't said isn't bounded here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Quota {
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Time on processors, in percent of one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u64>,
    /// Bytes of one file that it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
}

/// A user and a group by number, written `1000:1000`. Never root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct RunAs {
    uid: u32,
    gid: u32,
}

impl Profile {
    /// The word that is used in files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Confined => "confined",
        }
    }
}

impl Network {
    /// Whether it is nobody.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl Quota {
    /// Whether nothing is bounded.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl RunAs {
    /// A user and a group; neither is root.
    pub fn new(uid: u32, gid: u32) -> Result<Self, Error> {
        if uid == 0 || gid == 0 {
            return Err(Error::new(Code::Invalid, "a confined command does not run as root")
                .with_hint("name a user and a group that are not 0"));
        }
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Error::new(Code::Invalid, "to the kernel this number means nobody in particular")
                .with_hint("name a user and a group that there can be"));
        }
        Ok(Self { uid, gid })
    }

    /// The user.
    pub const fn uid(self) -> u32 {
        self.uid
    }

    /// The group.
    pub const fn gid(self) -> u32 {
        self.gid
    }
}

impl FromStr for RunAs {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|_| !text.starts_with('+'));
        let numbers = text.split_once(':').and_then(|(uid, gid)| Some((number(uid)?, number(gid)?)));
        let (uid, gid) = numbers.ok_or_else(|| {
            Error::new(Code::Invalid, format!("invalid user `{}`", text.escape_debug()))
                .with_hint("write user and group as numbers, e.g. 1000:1000")
        })?;
        Self::new(uid, gid)
    }
}

impl TryFrom<String> for RunAs {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<RunAs> for String {
    fn from(user: RunAs) -> Self {
        user.to_string()
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl Fence {
    /// Whether it is the one of a caller that nothing was said about.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it keeps its caller to what it names.
    pub fn is_confined(&self) -> bool {
        self.profile == Profile::Confined
    }

    /// Refuses what can't be meant, or couldn't be held by any kernel.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |message: String, hint: &str| Err(Error::new(Code::Invalid, message).with_hint(hint));
        let roots = || self.roots.iter().chain(&self.read_only);
        let says_more = roots().next().is_some() || self.user.is_some() || !self.network.is_none();
        if !self.is_confined() && says_more {
            let message = "roots, network and user are those of the profile `confined`".to_owned();
            return invalid(message, "choose the profile `confined`, or leave them out");
        }
        if roots().count() > ROOTS_MAX {
            return invalid(
                format!("a fence has more than {ROOTS_MAX} roots"),
                "name a directory above them",
            );
        }
        if let Some(root) = roots().find(|root| !is_plain(root)) {
            let message = format!("invalid root `{}`", root.display().to_string().escape_debug());
            return invalid(message, "a root is an absolute path below `/`, without `..`");
        }
        if let Some(root) = self.roots.iter().find(|root| self.read_only.contains(root)) {
            let message = format!("root `{}` is both changed and read only", root.display());
            return invalid(message, "name it once");
        }
        let Quota { memory_bytes, processes, cpu_percent, file_bytes } = self.quota;
        let bounds = [
            ("memory", memory_bytes, MEMORY_BYTES),
            ("processes", processes, PROCESSES),
            ("cpu", cpu_percent, CPU_PERCENT),
            ("file size", file_bytes, FILE_BYTES),
        ];
        for (what, bound, within) in bounds {
            if bound.is_some_and(|bound| !within.contains(&bound)) {
                let message = format!("a bound of {what} is from {} to {}", within.start(), within.end());
                return invalid(message, "choose another, or leave it out for no bound");
            }
        }
        Ok(())
    }
}

/// What a fence says, in a line.
impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.profile.as_str())?;
        let lists = [("changes", &self.roots), ("reads", &self.read_only)];
        for (what, roots) in lists.into_iter().filter(|(_, roots)| !roots.is_empty()) {
            let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
            write!(f, ", {what} {}", roots.join(" "))?;
        }
        if !self.network.is_none() {
            f.write_str(", network")?;
        }
        if let Some(user) = self.user {
            write!(f, ", as {user}")?;
        }
        let Quota { memory_bytes, processes, cpu_percent, file_bytes } = self.quota;
        let bounds = [
            memory_bytes.map(|bytes| format!("memory {}", size(bytes))),
            processes.map(|count| format!("processes {count}")),
            cpu_percent.map(|percent| format!("cpu {percent} %")),
            file_bytes.map(|bytes| format!("files {}", size(bytes))),
        ];
        bounds.into_iter().flatten().try_for_each(|bound| write!(f, ", {bound}"))
    }
}

/// A size in the largest unit that it is a whole number of.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| format!("{bytes} B"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

/// The whole tree is no root: a caller with that isn't confined. Text, because it is stored as such.
fn is_plain(path: &Path) -> bool {
    let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let is_text = path.to_str().is_some_and(|text| !text.contains('\0'));
    is_plain && is_text && path.is_absolute() && path.parent().is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Fence, String> {
        let fence: Fence = serde_json::from_value(value).map_err(|error| error.to_string())?;
        fence.check().map_err(|error| error.to_string())?;
        Ok(fence)
    }

    #[test]
    fn nothing_said_is_full_and_stays_unsaid() {
        let fence = read(json!({"profile": "full"})).unwrap();
        assert!(fence.is_default() && !fence.is_confined());
        assert_eq!(json!(fence), json!({"profile": "full"}));
    }

    #[test]
    fn a_fence_is_written_as_it_was_read() {
        let all = json!({
            "profile": "confined", "roots": ["/srv/a"], "readOnly": ["/srv/b"], "network": "shared",
            "user": "1000:100",
            "quota": {"memoryBytes": 536_870_912, "processes": 2, "cpuPercent": 3, "fileBytes": 5},
        });
        let fence = read(all.clone()).unwrap();
        assert_eq!(json!(fence), all);
        assert_eq!(
            fence.to_string(),
            "confined, changes /srv/a, reads /srv/b, network, as 1000:100, memory 512 MiB, processes 2, cpu 3 %, \
             files 5 B"
        );
        let quota = json!({"profile": "full", "quota": {"processes": 2}});
        assert_eq!(json!(read(quota.clone()).unwrap()), quota);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for root in ["", "srv", "/", "//", "/srv/../etc", "../x", "/a\0b"] {
            for list in ["roots", "readOnly"] {
                assert!(read(json!({"profile": "confined", list: [root]})).is_err(), "{list} {root:?}");
            }
        }
        for bad in [
            json!({}),
            json!([]),
            json!({"profile": "half"}),
            json!({"profile": "full", "roots": ["/srv"]}),
            json!({"profile": "full", "user": "1:1"}),
            json!({"profile": "full", "network": "shared"}),
            json!({"profile": "confined", "network": "lan"}),
            json!({"profile": "confined", "x": 1}),
            json!({"profile": "confined", "roots": ["/srv"], "readOnly": ["/srv"]}),
            json!({"profile": "confined", "roots": vec!["/srv"; ROOTS_MAX + 1]}),
            json!({"profile": "full", "quota": {"processes": 1}}),
            json!({"profile": "full", "quota": {"memoryBytes": 1}}),
            json!({"profile": "full", "quota": {"memoryBytes": u64::MAX}}),
            json!({"profile": "full", "quota": {"processes": -1}}),
            json!({"profile": "full", "quota": {"time": 1}}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_is_two_numbers_and_never_root() {
        let user: RunAs = "1000:100".parse().unwrap();
        assert_eq!((user.uid(), user.gid(), user.to_string()), (1000, 100, "1000:100".to_owned()));
        for bad in [
            "",
            "nobody",
            "1",
            "1:",
            ":1",
            "0:1",
            "1:0",
            "-1:1",
            "+1:1",
            "1:1:1",
            "4294967296:1",
            "4294967295:1",
            "1:4294967295",
        ] {
            assert!(bad.parse::<RunAs>().is_err(), "{bad}");
        }
    }
}
