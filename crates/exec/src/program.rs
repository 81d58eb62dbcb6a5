//! The command line of a job as the system takes it: what is looked up, and what is handed over.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::wire::Start;

/// The job of this message, in a process group of its own, not started. It reads this, or nothing.
#[expect(clippy::disallowed_methods, reason = "this is the one place where jobs start")]
pub(crate) fn command(start: &Start, stdin: Option<OwnedFd>) -> io::Result<Command> {
    let search = start.env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    let mut command = Command::new(find(&start.program, search)?);
    std::os::unix::process::CommandExt::arg0(&mut command, &start.program);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
        .args(&start.args)
        .env_clear()
        .envs(start.env.iter().map(|(name, value)| (name, value)))
        .stdin(stdin.map_or_else(Stdio::null, Stdio::from));
    Ok(command)
}

/// Looks a program up ourselves: `std` would fork instead of `posix_spawn` to do so. Relative
/// entries of the search path are passed over: they would find what a job wrote.
fn find(program: &str, search: &str) -> io::Result<PathBuf> {
    if program.contains('/') {
        return Ok(program.into());
    }
    let mut error = Errno::NOENT;
    for folder in search.split(':').filter(|folder| folder.starts_with('/')) {
        let path = Path::new(folder).join(program);
        match access(&path, Access::EXEC_OK) {
            Ok(()) if path.is_file() => return Ok(path),
            Err(Errno::ACCESS) => error = Errno::ACCESS,
            _ => {}
        }
    }
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_absolute_entries_only() {
        assert_eq!(find("sh", "/nonexistent:/bin:/usr/bin").unwrap(), Path::new("/bin/sh"));
        assert_eq!(find("./x", "").unwrap(), Path::new("./x"));
        for search in ["", ".", "bin", "/nonexistent"] {
            let error = find("sh", search).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{search}");
        }
    }

    #[test]
    fn a_directory_or_a_plain_file_is_no_program() {
        assert_eq!(find("etc", "/").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(find("passwd", "/etc").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
