//! Instances that are processes of this machine, jailed: a home of their own that is gone with them, no other user's files,
//! a bounded share of the machine, and nobody left behind.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hayward_api::definition::Transport;
use hayward_exec::{
    Confined, Conversation, Ending, ExecError, Executor, Exhausted, Finished, Job, Profile, Quota, Survivors,
};
use hayward_mcp::upstream::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{LOG_REST, PROCESS_PROCESSES_MAX, REMOVE_TIMEOUT};
use crate::log::Log;
use crate::placement::{Access, End, Order, Placement, PlacementError, Running};

/// Where programs are looked up.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Takes a folder away, whatever is in it and whatever it forbids: as a job, because what an instance made may be deeper
/// than a program survives that walks it.
const REMOVE: &str = "chmod -R u+rwX -- \"$1\" 2>/dev/null; exec rm -rf -- \"$1\"";

/// Instances that are processes of this machine.
#[derive(Clone)]
pub struct Process {
    executor: Executor,
    /// Where each has its home.
    folder: PathBuf,
    /// What they may do beside that.
    confined: Confined,
    tasks: TaskTracker,
    /// How many have been started: a home is never that of another one.
    started: Arc<AtomicU64>,
}

impl Process {
    /// Instances that this executor runs, whose homes lie in this folder, and which may do this beside.
    pub fn new(executor: Executor, folder: PathBuf, confined: Confined) -> Self {
        Self { executor, folder, confined, tasks: TaskTracker::new(), started: Arc::default() }
    }

    /// Takes away what a daemon that died has left in the folder of the homes. Before the first start.
    pub async fn clean_up(&self) {
        self.remove(self.folder.clone()).await;
    }

    /// Waits until all instances are gone, which were stopped before.
    pub async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn begin(&self, order: Order, stop: CancellationToken) -> Result<Running, PlacementError> {
        let home = self.home(&order.name)?;
        let job = self.job(&order, &home)?;
        let path = home.clone();
        let made = self.tasks.spawn_blocking(move || make(&path)).await.map_err(io::Error::other);
        made.flatten().map_err(PlacementError::Folder)?;
        let stop = stop.child_token();
        let conversation = match self.executor.converse(job, &stop) {
            Ok(conversation) => conversation,
            Err(error) => {
                self.remove(home).await;
                return Err(PlacementError::Process(error));
            }
        };
        let Conversation { input, output, stderr, finished } = conversation;
        let (log, this) = (Log::default(), self.clone());
        let filling = log.clone();
        let task = self.tasks.spawn(async move {
            // What an instance says last is why it ended; who holds its standard error beyond that isn't waited for.
            let (mut heard, mut finished) = (pin!(filling.fill(stderr)), pin!(finished));
            let mut is_heard = false;
            let finished = loop {
                tokio::select! {
                    finished = &mut finished => break finished,
                    () = &mut heard, if !is_heard => is_heard = true,
                }
            };
            if !is_heard {
                drop(tokio::time::timeout(LOG_REST, heard).await);
            }
            filling.close();
            this.remove(home).await;
            end(finished)
        });
        let stops_when_dropped = stop.drop_guard();
        let ended = Box::pin(async move {
            let _stops_when_dropped = stops_when_dropped;
            task.await.unwrap_or_else(|error| End::Failed { why: error.to_string() })
        });
        Ok(Running { access: Access::Lines(Some((output, input)).into()), log, ended })
    }

    /// A folder for an instance of this name that no other one has or had.
    fn home(&self, name: &str) -> Result<PathBuf, PlacementError> {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_plain || name.is_empty() || name.starts_with('.') {
            let what = format!("`{}` is no name of an instance", name.escape_debug());
            return Err(PlacementError::unfit("process", what));
        }
        let count = self.started.fetch_add(1, Ordering::Relaxed);
        Ok(self.folder.join(format!("{name}.{}.{count}", std::process::id())))
    }

    fn job(&self, order: &Order, home: &Path) -> Result<Job, PlacementError> {
        let unfit = |what: &str| PlacementError::unfit("process", what);
        let spec = &order.spec;
        if spec.transport.is_some_and(|transport| transport != Transport::Stdio) {
            return Err(unfit("it is spoken to over its standard input and output only"));
        }
        // With an image, the command is one of the image.
        if spec.docker_image.is_some() || spec.package_name.is_some() {
            return Err(unfit("it starts from an image or a package"));
        }
        let (program, first) = spec.command.split_first().ok_or_else(|| unfit("it has no `command`"))?;
        let resources = spec.resources.clone().unwrap_or_default();
        Ok(Job {
            program: program.clone(),
            args: first.iter().chain(&spec.args).cloned().collect(),
            env: environment(home, &order.env),
            cwd: home.to_owned(),
            stdout_bytes_max: 0,
            stderr_bytes_max: 0,
            timeout: Duration::MAX,
            survivors: Survivors::End,
            profile: Profile::Confined(self.confined_to(home)),
            quota: quota(resources.memory_mib(), resources.cpus()),
            label: None,
        })
    }

    fn confined_to(&self, home: &Path) -> Confined {
        let mut confined = self.confined.clone();
        confined.read_write.push(home.to_owned());
        confined
    }

    async fn remove(&self, path: PathBuf) {
        let shown = path.display().to_string();
        let job = Job {
            program: "sh".to_owned(),
            args: ["-c", REMOVE, "sh", &shown].map(ToOwned::to_owned).to_vec(),
            env: vec![("PATH".to_owned(), PATH.to_owned())],
            cwd: "/".into(),
            stdout_bytes_max: 0,
            stderr_bytes_max: 0,
            timeout: REMOVE_TIMEOUT,
            survivors: Survivors::End,
            profile: Profile::Full,
            quota: Quota::default(),
            label: None,
        };
        match self.executor.run(job, &CancellationToken::new()).await {
            Ok(Finished { ending: Ending::Exited { code: 0 }, .. }) => {}
            // The next start takes it away.
            told => tracing::warn!(?told, path = shown, "the folder of an instance is left"),
        }
    }
}

impl Placement for Process {
    fn start(&self, order: Order, stop: CancellationToken) -> BoxFuture<'_, Result<Running, PlacementError>> {
        Box::pin(self.begin(order, stop))
    }
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What is said for this instance, on top of what every program needs.
fn environment(home: &Path, said: &[(String, String)]) -> Vec<(String, String)> {
    let home = home.to_string_lossy().into_owned();
    let own = [("HOME", home), ("PATH", PATH.to_owned()), ("LANG", "C.UTF-8".to_owned())];
    let is_unsaid = |(name, _): &(&str, String)| said.iter().all(|(said, _)| said != name);
    let own = own.into_iter().filter(is_unsaid).map(|(name, value)| (name.to_owned(), value));
    own.chain(said.iter().cloned()).collect()
}

fn quota(memory_mib: u32, cpus: f64) -> Quota {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be 0.01 to 1024")]
    let percent = (cpus * 100.0).round() as u64;
    Quota {
        memory_bytes: Some(u64::from(memory_mib) << 20),
        processes: Some(PROCESS_PROCESSES_MAX),
        cpu_percent: Some(percent),
        ..Quota::default()
    }
}

fn end(finished: Result<Finished, ExecError>) -> End {
    let finished = match finished {
        Ok(finished) => finished,
        Err(error) => return End::Failed { why: error.to_string() },
    };
    match (finished.ending, finished.exhausted) {
        (Ending::Cancelled | Ending::TimedOut, _) => End::Stopped,
        (_, Exhausted { memory: true, .. }) => End::OutOfMemory,
        (Ending::Exited { code }, _) => End::Exited { code },
        (Ending::Signaled { signal }, _) => End::Signaled { signal },
    }
}
