//! Instances that are processes of this machine, jailed: a home of their own that is gone with them, no other user's files,
//! a bounded share of the machine, and nobody left behind.

mod environment;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hayward_api::definition::{NetworkPolicy, Transport};
use hayward_api::kinds::server::ServerSpec;
use hayward_exec::{
    Confined, Conversation, Ending, ExecError, Executor, Exhausted, Finished, Job, Network, Profile, Quota,
    Survivors,
};
use hayward_mcp::upstream::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::folder;
use crate::limits::PROCESS_PROCESSES_MAX;
use crate::log::Log;
use crate::mounts::{self, Shown};
use crate::packages::{Package, Packages, Program, Store};
use crate::placement::{Access, End, Order, Placement, PlacementError, Running, Streams};

/// How long it may take to see whether a program is there: it may lie on a disk that doesn't answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// Instances that are processes of this machine.
#[derive(Clone)]
pub struct Process {
    executor: Executor,
    /// Where each has its home.
    folder: PathBuf,
    /// What they may do beside that.
    confined: Confined,
    packages: Option<Arc<Store>>,
    /// What none of them is shown.
    hidden: Arc<[PathBuf]>,
    tasks: TaskTracker,
    /// How many have been started: a home is never that of another one.
    started: Arc<AtomicU64>,
}

impl Process {
    /// Instances that this executor runs, whose homes lie in this folder, and which may do this beside. Whom they talk to
    /// over the network their servers say.
    pub fn new(executor: Executor, folder: PathBuf, confined: Confined) -> Self {
        Self {
            executor,
            folder,
            confined,
            packages: None,
            hidden: Arc::default(),
            tasks: TaskTracker::new(),
            started: Arc::default(),
        }
    }

    /// The same, which runs packages as well.
    #[must_use]
    pub fn with_packages(self, packages: Packages) -> Self {
        let store = Store::new(packages, self.executor.clone(), self.confined.user);
        Self { packages: Some(Arc::new(store)), ..self }
    }

    /// The same, which shows none of them what is below these paths, whatever their servers say.
    #[must_use]
    pub fn hiding(self, hidden: Vec<PathBuf>) -> Self {
        Self { hidden: hidden.into(), ..self }
    }

    /// Takes away what a daemon that died has left in the folder of the homes, and what it was fetching. Before the first
    /// start.
    pub async fn clean_up(&self) {
        folder::remove(&self.executor, self.folder.clone()).await;
        if let Some(store) = self.packages.clone() {
            self.remove_all(move || store.partial()).await;
        }
    }

    /// Takes away the packages that none of these servers is, that nothing running uses, and that nobody has used for so long.
    /// Their locks stay: what is fetched again is the same.
    pub async fn forget_packages(&self, keep: &[&ServerSpec], unused_for: Duration) {
        let Some(store) = self.packages.clone() else { return };
        let keep = store.folders(keep);
        let found = self.tasks.spawn_blocking(move || store.unused(&keep, unused_for)).await;
        for unused in found.unwrap_or_default() {
            tracing::info!(folder = %unused.folder.display(), "a package that no server is any more is removed");
            folder::remove(&self.executor, unused.folder.clone()).await;
        }
    }

    async fn remove_all(&self, find: impl FnOnce() -> Vec<PathBuf> + Send + 'static) {
        let found = self.tasks.spawn_blocking(find).await;
        for path in found.unwrap_or_default() {
            folder::remove(&self.executor, path).await;
        }
    }

    /// Waits until all instances are gone, which were stopped before.
    pub async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn begin(&self, order: Order, stop: CancellationToken) -> Result<Running, PlacementError> {
        let home = self.home(&order.name)?;
        let package = check(&order)?;
        let (mounts, hidden) = (order.spec.mounts.clone(), Arc::clone(&self.hidden));
        let shown = self.tasks.spawn_blocking(move || mounts::shown("process", &mounts, &hidden)).await;
        let shown = shown.map_err(|error| PlacementError::Folder(io::Error::other(error)))??;
        let stop = stop.child_token();
        let (log, stops_when_dropped) = (Log::default(), stop.clone().drop_guard());
        let program = match package {
            Some(package) => Some(self.fetched(package, &log, &stop).await?),
            None => None,
        };
        let held = program.as_ref().and_then(|program| program.hold.clone());
        let job = self.job(&order, (&home, &shown), program);
        let (path, user) = (home.clone(), self.confined.user);
        let made =
            self.tasks.spawn_blocking(move || folder::make(&path, user)).await.map_err(io::Error::other);
        made.flatten().map_err(PlacementError::Folder)?;
        let conversation = match self.executor.converse(job, &stop) {
            Ok(conversation) => conversation,
            Err(error) => {
                folder::remove(&self.executor, home).await;
                return Err(PlacementError::Process(error));
            }
        };
        let Conversation { input, output, stderr, finished } = conversation;
        let (this, filling) = (self.clone(), log.clone());
        let task = self.tasks.spawn(async move {
            // What an instance says last is why it ended; who holds its standard error beyond that isn't waited for.
            let finished = Log::until(finished, filling.fill(stderr)).await;
            filling.close();
            folder::remove(&this.executor, home).await;
            drop(held);
            end(finished).await
        });
        let ended = Box::pin(async move {
            let _stops_when_dropped = stops_when_dropped;
            task.await.unwrap_or_else(|error| End::Failed { why: error.to_string() })
        });
        let streams = Streams { output: Box::new(output), input: Box::new(input) };
        Ok(Running { access: Access::Lines(Some(streams).into()), log, ended })
    }

    /// The program of a package. What was begun is tidied up, also if nobody waits for it any more.
    async fn fetched(
        &self,
        package: Package,
        log: &Log,
        stop: &CancellationToken,
    ) -> Result<Program, PlacementError> {
        let no_store = || PlacementError::unfit("process", "no folder is set for packages");
        let store = self.packages.clone().ok_or_else(no_store)?;
        let (log, stop) = (log.clone(), stop.clone());
        let task = self.tasks.spawn(async move { store.program(package, &log, &stop).await });
        task.await.map_err(|error| PlacementError::Folder(io::Error::other(error)))?
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

    fn job(&self, order: &Order, (home, shown): (&Path, &[Shown]), program: Option<Program>) -> Job {
        let spec = &order.spec;
        let resources = spec.resources.clone().unwrap_or_default();
        let mut confined = self.confined.clone();
        confined.read_write.push(home.to_owned());
        for Shown { path, is_writable } in shown {
            let list = if *is_writable { &mut confined.read_write } else { &mut confined.read_only };
            list.push(path.clone());
        }
        confined.network = match spec.network.unwrap_or_default() {
            NetworkPolicy::None => Network::None,
            NetworkPolicy::Shared => Network::Shared,
        };
        let (program, first) = match program {
            Some(Program { path, args, read_only, hold: _ }) => {
                confined.read_only.push(read_only);
                (path, args)
            }
            None => split(&spec.command),
        };
        Job {
            program,
            args: first.iter().chain(&spec.args).cloned().collect(),
            env: environment::of(home, &order.env),
            cwd: home.to_owned(),
            stdout_bytes_max: 0,
            stderr_bytes_max: 0,
            timeout: Duration::MAX,
            survivors: Survivors::End,
            profile: Profile::Confined(confined),
            quota: quota(resources.memory_mib(), resources.cpus()),
            label: None,
        }
    }
}

impl Placement for Process {
    fn start(&self, order: Order, stop: CancellationToken) -> BoxFuture<'_, Result<Running, PlacementError>> {
        Box::pin(self.begin(order, stop))
    }
}

/// Whether it can run here, and which package it is, if it is one.
fn check(order: &Order) -> Result<Option<Package>, PlacementError> {
    let unfit = |what: &str| PlacementError::unfit("process", what);
    let spec = &order.spec;
    if spec.transport.is_some_and(|transport| transport != Transport::Stdio) {
        return Err(unfit("it is spoken to over its standard input and output only"));
    }
    // With an image, the command is one of the image.
    if spec.docker_image.is_some() {
        return Err(unfit("it starts from an image"));
    }
    environment::check(&order.env)?;
    match (Store::package(spec)?, spec.command.is_empty()) {
        (None, true) => Err(unfit("it has no `command`")),
        (Some(_), false) => Err(unfit("it has a package and a `command`")),
        (package, _) => Ok(package),
    }
}

/// A program, and its first arguments.
fn split(command: &[String]) -> (String, Vec<String>) {
    let (program, args) =
        command.split_first().map_or((String::new(), &[][..]), |(it, args)| (it.clone(), args));
    (program, args.to_vec())
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

async fn end(finished: Result<Finished, ExecError>) -> End {
    let finished = match finished {
        Ok(finished) => finished,
        Err(ExecError::ProgramNotFound { program }) => return End::Failed { why: not_seen(&program).await },
        Err(error) => return End::Failed { why: error.to_string() },
    };
    match (finished.ending, finished.exhausted) {
        (Ending::Cancelled | Ending::TimedOut, _) => End::Stopped,
        (_, Exhausted { memory: true, .. }) => End::OutOfMemory,
        (Ending::Exited { code }, _) => End::Exited { code },
        (Ending::Signaled { signal }, _) => End::Signaled { signal },
    }
}

/// Why a program was not found: what instances see of this machine is less than there is.
async fn not_seen(program: &str) -> String {
    let why = format!("program `{program}` was not found");
    let looked = tokio::time::timeout(LOOK_TIMEOUT, tokio::fs::try_exists(program)).await;
    if Path::new(program).is_absolute() && matches!(looked, Ok(Ok(true))) {
        return format!(
            "{why} where instances look: they don't see it, what it leads to, or the interpreter that it names; \
             hint: name the folders of these in `mounts`"
        );
    }
    why
}
