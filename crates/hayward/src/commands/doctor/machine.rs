//! What is looked at of this machine: the database, owners, the port, the clock.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hayward_store::DatabaseUrl;

use super::{Check, Verdict};
use crate::local::socket_path;
use crate::stack::in_detail;

/// The clock can't be before this second (Unix time): there was no Hayward then.
const FIRST_UNIX: u64 = 1_790_000_000;
/// How far the clock may be behind the last record.
const BEHIND: Duration = Duration::from_secs(5);
/// Entries of the data directory that are named if they belong to somebody else.
const NAMED_MAX: usize = 3;

/// Whether the database can be read and is in order: the file in the data directory, or the one that is used instead of it.
pub(super) async fn database(data_dir: &Path, url: Option<&DatabaseUrl>) -> Check {
    let place = url.map(|url| format!(" at `{url}`")).unwrap_or_default();
    let (why, way_out) = match hayward_store::examine(data_dir, url).await {
        Ok(None) if url.is_some() => {
            return Check::new("database", Verdict::Ok, format!("there is nothing yet{place}"));
        }
        Ok(None) => return Check::new("database", Verdict::Ok, "there is none yet"),
        Ok(Some(found)) if found.faults.is_empty() => {
            let told = format!("{} KiB, in order{place}", found.bytes >> 10);
            return Check::new("database", Verdict::Ok, told);
        }
        Ok(Some(found)) => (found.faults.join("; "), None),
        Err(error) => {
            let error = in_detail(error);
            (error.message, error.hint)
        }
    };
    let hint = match way_out.filter(|_| url.is_some()) {
        Some(hint) => hint,
        None => "stop the daemon, and put back the last copy of the data directory".to_owned(),
    };
    let told = format!("{why}{place}; its tokens were not looked at");
    Check::new("database", Verdict::Failed, told).hint(hint)
}

/// Whether all that is kept belongs to whoever the directory belongs to: a command of root's leaves what a service of another
/// user can't open.
pub(super) fn owners(data_dir: &Path) -> Check {
    let Ok(folder) = std::fs::metadata(data_dir) else {
        return Check::new("owners", Verdict::Ok, "there is nothing yet");
    };
    let below =
        |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = below(data_dir)
        .flat_map(|path| std::iter::once(path.clone()).chain(below(&path)).collect::<Vec<_>>());
    let is_foreign = |path: &PathBuf| path.symlink_metadata().is_ok_and(|found| found.uid() != folder.uid());
    let foreign: Vec<String> = all.filter(is_foreign).map(|path| path.display().to_string()).collect();
    if foreign.is_empty() {
        return Check::new("owners", Verdict::Ok, format!("all belongs to user {}", folder.uid()));
    }
    let named = foreign.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    let told = format!("{} entries don't belong to user {}: {named}", foreign.len(), folder.uid());
    Check::new("owners", Verdict::Failed, told).hint(format!(
        "run `chown -R {}:{} {}` while no daemon runs",
        folder.uid(),
        folder.gid(),
        data_dir.display()
    ))
}

/// Whether only root and whoever runs this can change the file of the configuration: it decides what is protected.
pub(super) fn configuration(path: Option<&Path>) -> Check {
    let check = |verdict, detail: String| Check::new("configuration", verdict, detail);
    let found = path.and_then(|path| Some((path, std::fs::metadata(path).ok()?)));
    let Some((path, found)) = found else { return check(Verdict::Ok, "there is no file of it".to_owned()) };
    let (mode, uid) = (found.mode() & 0o777, found.uid());
    let told = format!("`{}` of user {uid}, mode {mode:03o}", path.display());
    let is_ours = uid == 0 || uid == rustix::process::geteuid().as_raw();
    if mode & 0o022 == 0 && is_ours {
        return check(Verdict::Ok, told);
    }
    let hint = format!("run `chmod go-w {0}`, and let root own it", path.display());
    check(Verdict::Failed, format!("{told}: others may change it")).hint(hint)
}

/// Whether a daemon can listen there, or does.
pub(super) fn port(address: SocketAddr, data_dir: &Path) -> Check {
    let check = |verdict, detail: String| Check::new("port", verdict, detail);
    match TcpListener::bind(address) {
        Ok(_) => check(Verdict::Ok, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if UnixStream::connect(socket_path(data_dir)).is_ok() {
                return check(
                    Verdict::Ok,
                    format!("{address} is in use, and a daemon runs on this data directory"),
                );
            }
            check(Verdict::Failed, format!("{address} is in use, and not by a daemon of this data directory"))
                .hint("choose another port with --port, or stop what listens there")
        }
        Err(error) => check(Verdict::Failed, format!("{address} can't be had: {error}"))
            .hint("name an address of this machine with --host; ports below 1024 are root's"),
    }
}

/// Whether the clock is where it can be: not before the first release, and not before the last record.
pub(super) fn clock(data_dir: &Path) -> Check {
    let newest = std::fs::read_dir(data_dir.join("audit")).into_iter().flatten().flatten();
    let newest = newest.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max();
    judged(SystemTime::now(), newest)
}

fn judged(now: SystemTime, newest: Option<SystemTime>) -> Check {
    let unix = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let shown = jiff::Timestamp::try_from(now).map_or_else(|_| unix.to_string(), |now| format!("{now:.0}"));
    let hint = "set the clock, and keep it with NTP: tokens expire, and records are dated, by it";
    if unix < FIRST_UNIX {
        return Check::new("clock", Verdict::Failed, format!("{shown} is before the first release"))
            .hint(hint);
    }
    let behind = newest.and_then(|newest| newest.duration_since(now).ok()).filter(|behind| *behind > BEHIND);
    match behind {
        Some(behind) => {
            let told = format!("{shown}, {} s before the last record", behind.as_secs());
            Check::new("clock", Verdict::Warning, told).hint(hint)
        }
        None => Check::new("clock", Verdict::Ok, shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_told() {
        let at = |unix| SystemTime::UNIX_EPOCH + Duration::from_secs(unix);
        assert_eq!(judged(at(1_800_000_000), None).verdict, Verdict::Ok);
        assert_eq!(judged(at(1_800_000_000), Some(at(1_799_999_999))).verdict, Verdict::Ok);
        assert_eq!(judged(at(1_800_000_000), Some(at(1_800_000_100))).verdict, Verdict::Warning);
        assert_eq!(judged(at(1_000), None).verdict, Verdict::Failed);
    }

    #[test]
    fn a_port_is_free_or_somebody_else_s_or_a_daemon_s() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(port(address, dir.path()).verdict, Verdict::Failed);
        let _socket = std::os::unix::net::UnixListener::bind(socket_path(dir.path())).unwrap();
        assert_eq!(port(address, dir.path()).verdict, Verdict::Ok);
        drop(taken);
        assert_eq!(port(address, dir.path()).verdict, Verdict::Ok);
        assert_eq!(port("192.0.2.1:1".parse().unwrap(), dir.path()).verdict, Verdict::Failed);
    }

    #[test]
    fn a_configuration_that_others_may_change_fails() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, expect) in [(0o644, Verdict::Ok), (0o664, Verdict::Failed), (0o602, Verdict::Failed)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(configuration(Some(file.path())).verdict, expect, "{mode:o}");
        }
        assert_eq!(configuration(None).verdict, Verdict::Ok);
    }

    #[tokio::test]
    async fn a_database_that_does_not_answer_fails_and_its_password_is_not_told() {
        let dir = tempfile::tempdir().unwrap();
        let url = "postgres://a:s3cretPw@127.0.0.1:1/d".parse().unwrap();
        let check = database(dir.path(), Some(&url)).await;
        assert_eq!((check.verdict, check.hint.is_some()), (Verdict::Failed, true));
        assert!(
            check.detail.contains("a:***@127.0.0.1:1/d`; its tokens were not looked at"),
            "{}",
            check.detail
        );
        assert!(check.detail.contains("refused") && !check.detail.contains("s3cretPw"), "{}", check.detail);
        assert_eq!(database(dir.path(), None).await.verdict, Verdict::Ok);
    }

    #[test]
    fn what_belongs_to_somebody_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("audit")).unwrap();
        std::fs::write(dir.path().join("audit/x"), "").unwrap();
        assert_eq!(owners(dir.path()).verdict, Verdict::Ok);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path().join("audit/x"), Some(12_345), None).unwrap();
            let check = owners(dir.path());
            assert!(check.verdict == Verdict::Failed && check.detail.contains("audit/x"), "{}", check.detail);
        }
        assert_eq!(owners(&dir.path().join("none")).verdict, Verdict::Ok);
    }
}
