//! What is looked at beside fences: containment, the data directory, the record, files, disk.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hayward_audit::{CHECKPOINTS, Evidence, Keys, Report, record_files, verify};
use hayward_exec::Containment;
use hayward_store::TokenEntry;
use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};

use super::{Check, Verdict};
use crate::fences::tools::is_known;
use crate::local::socket_path;

/// Files of the record that are checked, the newest ones.
const RECORD_FILES: usize = 2;
/// Open files with which a daemon serves some hundred clients.
const OPEN_FILES: u64 = 1_024;
/// Bytes that should be free where the record is kept.
const FREE_BYTES: u64 = 1 << 30;

/// What holds the processes of a command together.
pub(super) fn processes(containment: &Containment) -> Check {
    let verdict = match containment {
        Containment::Cgroup { .. } => Verdict::Ok,
        Containment::Subreaper { .. } => Verdict::Warning,
    };
    Check::new("processes", verdict, containment.to_string())
}

/// Whether only its owner reaches what is kept.
pub(super) fn data_directory(path: &Path) -> Check {
    let shown = path.display();
    let check = |verdict, detail: String| Check::new("data", verdict, detail);
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return check(Verdict::Ok, format!("`{shown}` is not there yet"));
        }
        Err(error) => return check(Verdict::Failed, format!("`{shown}` can't be read: {error}")),
    };
    let (mode, uid) = (found.mode() & 0o777, found.uid());
    let told = format!("`{shown}` of user {uid}, mode {mode:03o}");
    if mode & 0o022 != 0 {
        return check(Verdict::Failed, format!("{told}: others may change it"))
            .hint(format!("run `chmod 700 {shown}`"));
    }
    if mode & 0o055 != 0 {
        return check(Verdict::Warning, format!("{told}: others may look in"))
            .hint(format!("run `chmod 700 {shown}`"));
    }
    check(Verdict::Ok, told)
}

/// Enabled tokens with the fence of a tool that there is none of, and which so holds nothing: another version made them.
pub(super) fn tools(stored: &[TokenEntry]) -> Option<Check> {
    let enabled = stored.iter().filter(|token| token.spec.enabled);
    let unknown = enabled.flat_map(|token| {
        let tools = token.spec.tool_fences.iter().map(|(tool, _)| tool).filter(|tool| !is_known(tool));
        tools.map(|tool| {
            format!("token `{}` has a fence of tool `{tool}`, which is unknown", token.metadata.name)
        })
    });
    let unknown: Vec<String> = unknown.collect();
    let check = || Check::new("tools", Verdict::Failed, unknown.join(", "));
    (!unknown.is_empty())
        .then(|| check().hint("revoke the token, and make one with fences of tools that there are"))
}

/// Whether a daemon answers there.
pub(super) fn daemon(data_dir: &Path) -> Check {
    let runs = UnixStream::connect(socket_path(data_dir)).is_ok();
    Check::new("daemon", Verdict::Ok, if runs { "one runs on this data directory" } else { "none runs" })
}

/// What no file tool and no confined command reaches.
pub(super) fn protected(paths: &[PathBuf]) -> Check {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    Check::new("protected", Verdict::Ok, paths.join(", "))
}

/// How many files a daemon could open.
pub(super) fn open_files() -> Check {
    let most = getrlimit(Resource::Nofile).maximum;
    let told = most.map_or("no limit".to_owned(), |most| format!("up to {most} open at once"));
    if most.is_some_and(|most| most < OPEN_FILES) {
        return Check::new("files", Verdict::Warning, told)
            .hint("raise the hard limit of open files: each connection is one");
    }
    Check::new("files", Verdict::Ok, told)
}

/// Whether there is room where the record is kept: without any, calls are refused.
pub(super) fn disk(data_dir: &Path) -> Check {
    let there = data_dir.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    let space = match statvfs(there) {
        Ok(space) => space,
        Err(error) => return Check::new("disk", Verdict::Warning, format!("can't be asked: {error}")),
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let told = format!("{} MiB free at `{}`", free >> 20, there.display());
    // Some file systems count no inodes.
    let has_inodes = space.f_files == 0 || space.f_favail > 0;
    if free == 0 || !has_inodes {
        return Check::new("disk", Verdict::Failed, format!("{told}, {} inodes", space.f_favail))
            .hint("free some space: calls that can't be recorded are refused");
    }
    let verdict = if free < FREE_BYTES { Verdict::Warning } else { Verdict::Ok };
    Check::new("disk", verdict, told)
}

/// Whether the newest files of the record are as they were written. A daemon that begins or deletes a file
/// meanwhile makes it look once more.
pub(super) fn record(data_dir: &Path) -> Check {
    let folder = data_dir.join("audit");
    if !folder.exists() {
        return Check::new("record", Verdict::Ok, "there is none yet");
    }
    let report = newest(&folder, data_dir)
        .and_then(|report| if report.is_sound { Ok(report) } else { newest(&folder, data_dir) });
    match report {
        Ok(report) => judged(&report),
        Err(error) => {
            Check::new("record", Verdict::Failed, format!("can't be checked: {error}")).hint(error.hint())
        }
    }
}

fn newest(folder: &Path, data_dir: &Path) -> Result<Report, hayward_audit::AuditError> {
    let mut files = record_files(folder)?;
    let older = files.len().saturating_sub(RECORD_FILES);
    let files = files.split_off(older);
    let checkpoints = folder.join(CHECKPOINTS);
    verify(&Evidence {
        files,
        checkpoints: checkpoints.exists().then_some(checkpoints).into_iter().collect(),
        keys: Keys::public_of(&data_dir.join("keys"))?.into_iter().collect(),
        is_part: older > 0,
        ..Evidence::default()
    })
}

fn judged(report: &Report) -> Check {
    let signed = match (report.signed_to, &report.signed_at) {
        (Some(seq), Some(time)) => format!("signed to {seq} at {time}, {} behind it", report.unsigned),
        _ => "nothing is signed yet".to_owned(),
    };
    let told = format!("{} records in the newest {} files, {signed}", report.records, report.files);
    if report.is_sound {
        return Check::new("record", Verdict::Ok, told);
    }
    let first = report.findings.first().map(|finding| format!("{}: {}", finding.file, finding.what));
    Check::new("record", Verdict::Failed, format!("{told}; {}", first.unwrap_or_default()))
        .hint("run `hayward audit verify`, and keep a copy of the record as it is")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_that_others_may_change_fails_and_one_that_is_not_there_does_not() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, expect) in [(0o700, Verdict::Ok), (0o755, Verdict::Warning), (0o770, Verdict::Failed)] {
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(data_directory(dir.path()).verdict, expect, "{mode:o}");
        }
        assert_eq!(data_directory(&dir.path().join("none")).verdict, Verdict::Ok);
        assert_eq!(record(dir.path()).verdict, Verdict::Ok);
    }

    #[test]
    fn space_is_told_of_a_directory_that_is_not_there_yet() {
        let check = disk(Path::new("/no/such/directory"));
        assert!(check.detail.contains("MiB free at `/`"), "{}", check.detail);
        assert!(open_files().detail.contains("open") || open_files().detail == "no limit");
    }
}
