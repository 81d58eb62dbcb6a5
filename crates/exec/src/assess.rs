//! What a profile really gets of this machine: found out by a job under it that tries to get out.
//!
//! Kernels, containers and policies differ in what they allow, and a version number says little
//! about it. So a stage confines itself like for a job, and then tries what it must not be able to.

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, Mode, OFlags};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::error::ExecError;
use crate::executor::Inner;
use crate::job::{Ending, Job, Survivors};
use crate::limits::{CAPTURE_BYTES_MIN, PROBE};
use crate::profile::Profile;
use crate::quota::Quota;
use crate::stage::{Finding, Subject};

/// Where an attempt may be made beside the directory of the environment for temporary files.
const PLACES: [&str; 4] = ["/var/tmp", "/tmp", "/dev/shm", "/run"];

/// What keeps a job in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// Files outside of its roots aren't read.
    Reads,
    /// They aren't changed.
    Writes,
    /// Neither are their modes, owners and times.
    Attributes,
    /// Protected paths aren't read.
    Protected,
    /// No port is reached.
    Network,
    /// No Unix socket of somebody else is reached.
    Sockets,
    /// No other process is signalled or seen.
    Processes,
    /// No privilege is held or gained.
    Privileges,
    /// The kernel is asked for nothing that a job has no use for.
    SystemCalls,
    /// The cgroup isn't left.
    Cgroup,
    /// Whatever the job starts ends with it.
    End,
    /// A bound on memory is one on the job, not on each process.
    Memory,
    /// A bound on processes is one on the job, not on the user.
    ProcessCount,
    /// A bound on processor time holds.
    Cpu,
}

/// How far a fence holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Every attempt failed.
    Held,
    /// Some attempts failed.
    Weaker,
    /// It isn't there.
    Absent,
}

/// One fence of an [`Assessment`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which one.
    pub fence: Fence,
    /// How far it holds.
    pub state: State,
    /// What makes it so, in a few words; empty where it holds.
    pub why: String,
}

/// What a profile gets of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Every fence that was tried.
    pub fences: Vec<Held>,
}

impl Assessment {
    /// How far a fence holds; none if it wasn't tried.
    pub fn state(&self, fence: Fence) -> Option<State> {
        self.fences.iter().find(|held| held.fence == fence).map(|held| held.state)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Weaker => "weaker",
            Self::Absent => "absent",
        })
    }
}

/// Finds out what a profile gets.
pub(crate) async fn assess(
    inner: &Arc<Inner>,
    profile: &Profile,
    protected: &Arc<[PathBuf]>,
) -> Result<Assessment, ExecError> {
    profile.check()?;
    let failed = |error| ExecError::supervisor("assess", error);
    let bait = Bait::lay(profile).map_err(failed)?;
    let order = Order {
        job: job(profile),
        probe: Some(bait.subject(protected, inner.escape()).map_err(failed)?),
        protected: Arc::clone(protected),
    };
    let finished = inner.run(order, CancellationToken::new()).await?;
    let is_done = finished.ending == Ending::Exited { code: 0 };
    let findings = serde_json::from_slice::<Vec<Finding>>(&finished.stdout.bytes).ok().filter(|_| is_done);
    let findings = findings.ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))?;
    let tried = findings.into_iter().map(|Finding { fence, state, why }| Held { fence, state, why });
    Ok(Assessment { fences: tried.chain(inner.containment().fences()).collect() })
}

/// A job, or an attempt to get out in its place.
pub(crate) struct Order {
    pub(crate) job: Job,
    pub(crate) probe: Option<Subject>,
    /// What it is kept from, if it is confined.
    pub(crate) protected: Arc<[PathBuf]>,
}

fn job(profile: &Profile) -> Job {
    Job {
        program: "/".to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: "/".into(),
        stdout_bytes_max: 4 * CAPTURE_BYTES_MIN,
        stderr_bytes_max: 0,
        timeout: PROBE,
        survivors: Survivors::End,
        profile: profile.clone(),
        label: None,
        quota: Quota::default(),
    }
}

/// What an attempt is made at. It goes when this does.
struct Bait {
    folder: PathBuf,
    port: u16,
    abstract_name: String,
    _listeners: (TcpListener, UnixListener, UnixListener),
}

impl Bait {
    fn lay(profile: &Profile) -> std::io::Result<Self> {
        let unique = format!("hayward-bait-{}-{:x}", std::process::id(), nanoseconds());
        let folder = outside(profile).ok_or(std::io::ErrorKind::NotFound)?.join(&unique);
        rustix::fs::mkdir(&folder, Mode::from_raw_mode(0o755))?;
        let bait = Self::lay_in(&folder, unique);
        bait.inspect_err(|_| remove(&folder))
    }

    fn lay_in(folder: &Path, abstract_name: String) -> std::io::Result<Self> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::open(folder.join("file"), flags, Mode::from_raw_mode(0o644))?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let named = UnixListener::bind(folder.join("socket"))?;
        let address = SocketAddr::from_abstract_name(&abstract_name)?;
        let hidden = UnixListener::bind_addr(&address)?;
        let port = tcp.local_addr()?.port();
        Ok(Self { folder: folder.to_owned(), port, abstract_name, _listeners: (tcp, named, hidden) })
    }

    fn subject(&self, protected: &[PathBuf], cgroup: Option<PathBuf>) -> std::io::Result<Subject> {
        let pid = rustix::process::getpid().as_raw_pid();
        let started = crate::processes::started(pid).ok_or(std::io::ErrorKind::NotFound)?;
        Ok(Subject {
            file: self.folder.join("file").into(),
            socket: self.folder.join("socket").into(),
            abstract_name: self.abstract_name.clone(),
            port: self.port,
            protected: protected.iter().map(|path| path.clone().into()).collect(),
            daemon: (pid, started),
            cgroup: cgroup.map(Into::into),
        })
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// A directory for temporary files that is beneath no root of this profile.
fn outside(profile: &Profile) -> Option<PathBuf> {
    let roots: Vec<PathBuf> = match profile {
        Profile::Full => Vec::new(),
        Profile::Confined(confined) => {
            let roots = confined.read_write.iter().chain(&confined.read_only);
            roots.filter_map(|root| root.canonicalize().ok()).collect()
        }
    };
    let places = std::iter::once(std::env::temp_dir()).chain(PLACES.map(PathBuf::from));
    places.filter_map(|place| place.canonicalize().ok()).find(|place| {
        rustix::fs::access(place, Access::WRITE_OK | Access::EXEC_OK).is_ok()
            && !roots.iter().any(|root| place.starts_with(root))
    })
}

/// What stays of it is an empty file in a directory for such.
fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).ok();
}

fn nanoseconds() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or(Duration::ZERO).as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Confined;

    #[test]
    fn what_is_tried_at_lies_beneath_no_root() {
        let read_write = vec![std::env::temp_dir()];
        let confined = Profile::Confined(Confined { read_write, ..Confined::default() });
        let temporary = std::env::temp_dir().canonicalize().unwrap();
        assert_eq!(outside(&Profile::Full), Some(temporary.clone()));
        assert!(outside(&confined).is_some_and(|place| !place.starts_with(temporary)));
    }
}
