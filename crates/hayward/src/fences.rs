//! Fences as they are asked for on the command line, and checked against this machine before anybody
//! gets one.

pub(crate) mod tools;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use hayward_api::fence::{Fence, Network, Profile, Quota, RunAs};
use hayward_api::{Code, Error};
use hayward_exec::system::{KERNEL, SECRETS};

use crate::failure::Failure;

/// Where users have their numbers.
const PASSWD: &str = "/etc/passwd";

/// What a token's commands and file tools may reach.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FenceArgs {
    /// What commands and file tools may reach: all that the daemon's user may, or the roots and the system's programs
    #[arg(long, value_enum, default_value = "full", help_heading = "Fence")]
    profile: ProfileWord,

    /// Directory or file that is read and changed under the profile confined; may be repeated
    #[arg(long = "root", value_name = "PATH", help_heading = "Fence")]
    roots: Vec<PathBuf>,

    /// Directory or file that is only read under the profile confined; may be repeated
    #[arg(long, value_name = "PATH", help_heading = "Fence")]
    read_only: Vec<PathBuf>,

    /// Lets confined commands use the network
    #[arg(long, help_heading = "Fence")]
    allow_network: bool,

    /// User that confined commands become, as NAME or UID:GID; there are no file tools then
    #[arg(long, value_name = "USER", help_heading = "Fence")]
    run_as: Option<String>,

    /// Memory of one command, e.g. 512MiB
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = "Fence")]
    memory: Option<u64>,

    /// Processes and threads of one command
    #[arg(long, value_name = "N", help_heading = "Fence")]
    processes: Option<u64>,

    /// Processor time of one command, in percent of one processor
    #[arg(long, value_name = "PERCENT", help_heading = "Fence")]
    cpu: Option<u64>,

    /// Size of each file that a command writes, e.g. 1GiB
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = "Fence")]
    file_size: Option<u64>,
}

/// The profiles.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ProfileWord {
    #[default]
    Full,
    Confined,
}

impl FenceArgs {
    /// Whether nothing was said.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The fence that was asked for, checked against this machine; see [`checked`].
    pub(crate) fn read(&self, data_dir: &Path) -> Result<Fence, Error> {
        checked(&self.fence()?, data_dir)
    }

    fn fence(&self) -> Result<Fence, Error> {
        Ok(Fence {
            profile: match self.profile {
                ProfileWord::Full => Profile::Full,
                ProfileWord::Confined => Profile::Confined,
            },
            roots: self.roots.clone(),
            read_only: self.read_only.clone(),
            network: if self.allow_network { Network::Shared } else { Network::None },
            user: self.run_as.as_deref().map(user).transpose()?,
            quota: Quota {
                memory_bytes: self.memory,
                processes: self.processes,
                cpu_percent: self.cpu,
                file_bytes: self.file_size,
            },
        })
    }
}

/// This fence with the real paths of its roots, if they can be granted on this machine by a daemon of this
/// data directory.
pub(crate) fn checked(fence: &Fence, data_dir: &Path) -> Result<Fence, Error> {
    fence.check()?;
    if fence.user.is_some() && !rustix::process::geteuid().is_root() {
        return Err(invalid("only root can become another user").with_hint("leave the user out"));
    }
    let data_dir = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
    let real = |roots: &[PathBuf]| -> Result<Vec<PathBuf>, Error> {
        roots.iter().map(|root| real_root(root, &data_dir)).collect()
    };
    let (roots, read_only) = (real(&fence.roots)?, real(&fence.read_only)?);
    let fence = Fence { roots, read_only, ..fence.clone() };
    // Links may have led to what no root can be, or twice to one.
    fence.check()?;
    Ok(fence)
}

/// What a fence that the configuration asks for and that can't be granted ends a command with.
pub(crate) fn misfenced(error: Error) -> Failure {
    Failure { exit_code: Failure::CONFIGURATION, ..error.into() }
}

fn real_root(root: &Path, data_dir: &Path) -> Result<PathBuf, Error> {
    let shown = root.display();
    let real = root.canonicalize().map_err(|error| {
        invalid(format!("root `{shown}` can't be used: {error}"))
            .with_hint("name a directory or file that exists")
    })?;
    if !real.is_dir() && !real.is_file() {
        return Err(invalid(format!("root `{shown}` is neither a directory nor a file"))
            .with_hint("name a directory or a regular file"));
    }
    if real.starts_with(data_dir) {
        return Err(invalid(format!("root `{shown}` lies in the data directory `{}`", data_dir.display()))
            .with_hint("name a directory outside: nobody reaches what Hayward keeps"));
    }
    let is_in = |list: &[&str]| list.iter().any(|path| real.starts_with(path));
    if is_in(KERNEL) || is_in(SECRETS) {
        return Err(invalid(format!("root `{shown}` leads to `{}`, which is not granted", real.display()))
            .with_hint("name a directory of files that is neither the kernel's nor secret"));
    }
    Ok(real)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::Invalid, message)
}

/// The numbers of a user that is named or given by numbers.
fn user(text: &str) -> Result<RunAs, Error> {
    if text.contains(':') || text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse();
    }
    let passwd = std::fs::read_to_string(PASSWD).unwrap_or_default();
    numbers(&passwd, text).unwrap_or_else(|| {
        Err(invalid(format!("`{PASSWD}` has no user `{}`", text.escape_debug()))
            .with_hint("give the numbers of user and group, e.g. 1000:1000"))
    })
}

/// The numbers of a user of this machine, root among them: who runs a service, and not what a command becomes.
pub(crate) fn passwd(name: &str) -> Result<(u32, u32), Error> {
    let text = std::fs::read_to_string(PASSWD).unwrap_or_default();
    let found = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [found, _, uid, gid, ..] = fields[..] else { return None };
        (found == name).then_some((uid.parse().ok()?, gid.parse().ok()?))
    });
    found.ok_or_else(|| invalid(format!("`{PASSWD}` has no user `{}`", name.escape_debug())))
}

/// The numbers of a name in a file of users, see passwd(5).
fn numbers(passwd: &str, name: &str) -> Option<Result<RunAs, Error>> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [found, _, uid, gid, ..] = fields[..] else { return None };
        (found == name).then_some(())?;
        Some(RunAs::new(uid.parse().ok()?, gid.parse().ok()?))
    })
}

/// A size with or without a unit of 1,024.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "B" => Some(0),
        "KiB" | "K" => Some(10),
        "MiB" | "M" => Some(20),
        "GiB" | "G" => Some(30),
        "TiB" | "T" => Some(40),
        _ => None,
    };
    let size = shift.and_then(|shift| digits.parse::<u64>().ok()?.checked_mul(1 << shift));
    size.filter(|size| *size > 0).ok_or_else(|| format!("`{text}` is no size such as 512MiB or 2GiB"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn confined(root: &Path) -> Fence {
        Fence { profile: Profile::Confined, roots: vec![root.to_owned()], ..Fence::default() }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, expect) in [("1", 1), ("7B", 7), ("2KiB", 2048), ("512MiB", 512 << 20), ("1G", 1 << 30)] {
            assert_eq!(bytes(text), Ok(expect));
        }
        for bad in ["", "0", "MiB", "1MB", "-1", "1.5G", "99999999999TiB", "1 MiB", "1miB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_are_found_by_name_and_root_never_is() {
        let passwd = "root:x:0:0::/root:/bin/sh\nodd\nann:x:1000:100:Ann:/home/ann:/bin/sh\n";
        let ann = numbers(passwd, "ann").unwrap().unwrap();
        assert_eq!((ann.uid(), ann.gid()), (1000, 100));
        assert!(numbers(passwd, "root").unwrap().is_err());
        assert!(numbers(passwd, "an").is_none() && numbers(passwd, "odd").is_none());
        assert_eq!(user("7:8").unwrap(), RunAs::new(7, 8).unwrap());
        for bad in ["0:0", "1000", "", "no such user"] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn roots_are_stored_as_what_they_really_are() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().canonicalize().unwrap().join("real"), dir.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        let data = dir.path().join("data");
        assert_eq!(checked(&confined(&link), &data).unwrap().roots, std::slice::from_ref(&real));
        let twice = Fence { read_only: vec![real], ..confined(&link) };
        assert!(checked(&twice, &data).is_err());
    }

    #[test]
    fn roots_that_cannot_be_granted_are_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("audit")).unwrap();
        symlink("/", dir.path().join("all")).unwrap();
        symlink(&data, dir.path().join("ours")).unwrap();
        let none = dir.path().join("none");
        for root in [
            Path::new("srv"),
            Path::new("/"),
            &none,
            &data,
            &data.join("audit"),
            &dir.path().join("ours"),
            &dir.path().join("all"),
            Path::new("/proc"),
            Path::new("/dev/null"),
            Path::new("/sys/kernel"),
        ] {
            let error = checked(&confined(root), &data).unwrap_err();
            assert!(error.code == Code::Invalid && error.hint.is_some(), "{}", root.display());
        }
    }
}
