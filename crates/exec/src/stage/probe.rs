//! What a stage can still do once it is confined, found out by trying.
//!
//! Each attempt is one that does no harm where it succeeds: files are opened and not written,
//! modes are set to what they are.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Pid, test_kill_process};
use rustix::thread::{UnshareFlags, capabilities, no_new_privs};
use serde::{Deserialize, Serialize};

use crate::assess::{Fence, State};
use crate::limits::PROBE_CONNECT;

/// What is tried at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Subject {
    /// A file outside of all roots that the daemon reads and writes.
    pub(crate) file: OsString,
    /// A Unix socket beside it that listens.
    pub(crate) socket: OsString,
    /// The name of an abstract one.
    pub(crate) abstract_name: String,
    /// A port of this machine that listens.
    pub(crate) port: u16,
    /// Protected paths.
    pub(crate) protected: Vec<OsString>,
    /// The daemon: its id, and the start of it, by which it is told from another with this id.
    pub(crate) daemon: (i32, u64),
    /// A file through which a process would leave its cgroup.
    pub(crate) cgroup: Option<OsString>,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) fence: Fence,
    pub(crate) state: State,
    pub(crate) why: String,
}

/// Tries everything and writes the findings to standard output.
pub(super) fn run(subject: &Subject) -> io::Result<ExitCode> {
    let mut findings = vec![
        finding(Fence::Reads, &[("a file outside was read", File::open(&subject.file).is_ok())]),
        finding(Fence::Writes, &[("a file outside could be written", may_write(&subject.file))]),
        finding(
            Fence::Attributes,
            &[("the mode of a file outside could be set", may_set_mode(&subject.file))],
        ),
        finding(Fence::Network, &[("a port of this machine was reached", reaches_port(subject.port))]),
        sockets(subject),
        processes(subject.daemon),
        privileges()?,
    ];
    if !subject.protected.is_empty() {
        let is_open = subject.protected.iter().any(|path| may_look_into(Path::new(path)));
        findings.push(finding(Fence::Protected, &[("a protected path was read", is_open)]));
    }
    if let Some(cgroup) = &subject.cgroup {
        findings.push(finding(Fence::Cgroup, &[("the cgroup could be left", may_write(cgroup))]));
    }
    // Last, because where it succeeds it changes what is seen.
    findings.push(finding(Fence::SystemCalls, &[("a namespace could be made", may_unshare())]));
    File::from(rustix::io::dup(rustix::stdio::stdout())?).write_all(&serde_json::to_vec(&findings)?)?;
    Ok(ExitCode::SUCCESS)
}

fn finding(fence: Fence, attempts: &[(&str, bool)]) -> Finding {
    let done: Vec<&str> = attempts.iter().filter(|(_, is_done)| *is_done).map(|(what, _)| *what).collect();
    let state = match done.len() {
        0 => State::Held,
        some if some < attempts.len() => State::Weaker,
        _ => State::Absent,
    };
    Finding { fence, state, why: done.join(", ") }
}

fn may_write(path: impl AsRef<Path>) -> bool {
    File::options().append(true).open(path).is_ok()
}

fn may_set_mode(path: impl AsRef<Path>) -> bool {
    let mode = fs::symlink_metadata(&path).map(|metadata| metadata.permissions());
    mode.and_then(|mode| fs::set_permissions(path, mode)).is_ok()
}

fn may_look_into(path: &Path) -> bool {
    fs::read_dir(path).is_ok() || File::open(path).is_ok()
}

fn reaches_port(port: u16) -> bool {
    TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), PROBE_CONNECT).is_ok()
}

fn sockets(subject: &Subject) -> Finding {
    let abstract_name = SocketAddr::from_abstract_name(&subject.abstract_name);
    let is_named = UnixStream::connect(&subject.socket).is_ok();
    let is_abstract = abstract_name.and_then(|name| UnixStream::connect_addr(&name)).is_ok();
    finding(
        Fence::Sockets,
        &[
            ("a Unix socket outside was reached", is_named),
            ("an abstract Unix socket was reached", is_abstract),
        ],
    )
}

fn processes((pid, started): (i32, u64)) -> Finding {
    let is_seen = crate::processes::started(pid) == Some(started);
    let is_reached = is_seen && Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok());
    finding(
        Fence::Processes,
        &[("other processes are seen", is_seen), ("other processes can be signalled", is_reached)],
    )
}

fn privileges() -> io::Result<Finding> {
    let sets = capabilities(None)?;
    let has_some = !(sets.effective | sets.permitted | sets.inheritable).is_empty();
    let may_gain = !no_new_privs()?;
    Ok(finding(
        Fence::Privileges,
        &[("capabilities are held", has_some), ("privileges can be gained", may_gain)],
    ))
}

#[expect(deprecated, reason = "this process has one thread and is at its end")]
fn may_unshare() -> bool {
    rustix::thread::unshare(UnshareFlags::NEWUSER).is_ok()
        || rustix::thread::unshare(UnshareFlags::NEWNS).is_ok()
}
