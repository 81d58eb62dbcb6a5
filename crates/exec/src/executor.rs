//! The executor: turns, supervisors, and the end of them all.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::assess::{self, Assessment, Order};
use crate::cgroup::{Controllers, Group, Home};
use crate::containment::{Choice, Containment, establish};
use crate::conversation::{self, Conversation, Ours};
use crate::course;
use crate::error::ExecError;
use crate::job::{Finished, Job, Survivors};
use crate::limits::{ANSWER, EXIT, GONE, KILL, Limits, SETTLE, SHUTDOWN_GRACE_MAX};
use crate::pool::Pool;
use crate::profile::Profile;
use crate::quota::Quota;
use crate::spool::{Place, Spool};
use crate::supervisor::{Stuck, Supervisor, SupervisorCommand};

/// How an executor works.
#[derive(Clone, Debug)]
pub struct Config {
    /// What becomes a supervisor.
    pub supervisor: SupervisorCommand,
    /// What holds jobs together.
    pub containment: Choice,
    /// Its limits.
    pub limits: Limits,
    /// Paths that no confined job reads or changes, whatever its roots: our own data. A `full` job
    /// is held by the permissions of files only: under the daemon's user it reads what that reads.
    pub protected: Vec<PathBuf>,
    /// Where jobs that have a label leave what outlives the server.
    pub spool: Option<Spool>,
}

/// Runs jobs. Cheap to clone; all clones are one executor.
///
/// End it with [`shutdown`](Self::shutdown). Should the process die before, its supervisors
/// end their jobs by themselves, and the next start removes their cgroups.
#[derive(Clone)]
pub struct Executor {
    inner: Arc<Inner>,
    /// What its confined jobs are kept from.
    protected: Arc<[PathBuf]>,
}

/// What all courses share.
pub(crate) struct Inner {
    config: Config,
    containment: Containment,
    home: Option<Home>,
    controllers: Controllers,
    pool: Pool,
    /// Running and waiting jobs.
    places: Arc<Semaphore>,
    /// Running jobs.
    turns: Arc<Semaphore>,
    /// Jobs that are talked to.
    conversations: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
    closing_grace: OnceLock<Duration>,
}

impl Executor {
    /// Makes an executor. Starts no process; what dead servers left is ended in the background.
    /// Must be called within a runtime.
    pub fn new(config: Config) -> Self {
        let (containment, home, controllers) = establish(config.containment);
        let (running, waiting) = (config.limits.jobs_max, config.limits.waiting_max);
        let protected = config.protected.clone().into();
        let inner = Arc::new(Inner {
            containment,
            home,
            controllers,
            pool: Pool::default(),
            places: Arc::new(Semaphore::new(size(running + waiting))),
            turns: Arc::new(Semaphore::new(size(running))),
            conversations: Arc::new(Semaphore::new(size(config.limits.conversations_max))),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            closing_grace: OnceLock::new(),
            config,
        });
        let cleaner = Arc::clone(&inner);
        inner.tasks.spawn_blocking(move || {
            // Who is held first, what bounds nobody any more after that.
            cleaner.home.as_ref().map(Home::clean_up_after_others);
            cleaner.controllers.clean_up_after_others();
        });
        Self { inner, protected }
    }

    /// The same executor, whose confined jobs are kept from these paths instead.
    #[must_use]
    pub fn protecting(&self, paths: Vec<PathBuf>) -> Self {
        Self { inner: Arc::clone(&self.inner), protected: paths.into() }
    }

    /// Runs a job to its end, whatever that is.
    ///
    /// If `cancel` fires or this future is dropped, the job is ended as at its deadline, in the
    /// background in the latter case.
    pub async fn run(&self, job: Job, cancel: &CancellationToken) -> Result<Finished, ExecError> {
        job.check()?;
        let order = Order { job, probe: None, protected: Arc::clone(&self.protected) };
        self.inner.run(order, cancel.child_token()).await
    }

    /// Starts a job that is talked to. It takes no turn of those that are run, and no deadline ends it within a year; of its output nothing
    /// is kept here, and nothing of it outlives the server. Whether it could be started its end says.
    ///
    /// If `cancel` fires, or `finished` is dropped, it is ended as at a deadline. Its environment is passed as it is, also to
    /// a confined one. Must be called within a runtime.
    pub fn converse(&self, job: Job, cancel: &CancellationToken) -> Result<Conversation, ExecError> {
        job.check()?;
        let job = Job { survivors: Survivors::End, label: None, ..job };
        let order = Order { job, probe: None, protected: Arc::clone(&self.protected) };
        self.inner.converse(order, cancel.child_token())
    }

    /// What this profile gets of this machine, by trying. Takes as long as a few jobs.
    pub async fn assess(&self, profile: &Profile) -> Result<Assessment, ExecError> {
        assess::assess(&self.inner, profile, &self.protected).await
    }

    /// What holds jobs together here.
    pub fn containment(&self) -> &Containment {
        &self.inner.containment
    }

    /// How many jobs run now.
    pub fn running(&self) -> usize {
        size(self.inner.config.limits.jobs_max) - self.inner.turns.available_permits()
    }

    /// Ends all jobs, with this much time to tidy up, then all supervisors, and removes their
    /// cgroups. What was left alone on purpose lives on. No job starts afterwards.
    pub async fn shutdown(&self, grace: Duration) {
        let inner = &self.inner;
        let grace = grace.min(SHUTDOWN_GRACE_MAX);
        inner.closing_grace.get_or_init(|| grace);
        inner.closing.cancel();
        inner.tasks.close();
        // The longest road of a job that is at its end already, and the same for ours.
        let ladder = SETTLE + grace.max(inner.grace()) + KILL + ANSWER;
        let patience = inner.drain_time() + ladder + 2 * (EXIT + GONE);
        if timeout(patience, inner.tasks.wait()).await.is_err() {
            tracing::warn!(running = self.running(), "commands are still there at the end");
        }
        let retiring = TaskTracker::new();
        for supervisor in inner.pool.close() {
            let inner = Arc::clone(inner);
            retiring.spawn(async move { inner.retire(supervisor).await });
        }
        retiring.close();
        retiring.wait().await;
        inner.pool.remove_empty_leaves();
        inner.controllers.remove();
        inner.home.as_ref().map(Home::remove);
    }
}

impl Inner {
    /// Runs a job that was checked; its cancellation fires when this future is dropped.
    pub(crate) async fn run(
        self: &Arc<Self>,
        order: Order,
        cancel: CancellationToken,
    ) -> Result<Finished, ExecError> {
        let since = Instant::now();
        if self.closing.is_cancelled() {
            return Err(ExecError::ShuttingDown);
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let waiting_max = self.config.limits.waiting_max;
        let place = place.map_err(|_| ExecError::Busy { waiting_max })?;
        let _cancels_when_dropped = cancel.clone().drop_guard();
        let inner = Arc::clone(self);
        let task = self.tasks.spawn(async move {
            let finished = course::run(&inner, &order, cancel, since).await;
            drop(place);
            finished
        });
        followed(task).await
    }

    fn converse(
        self: &Arc<Self>,
        order: Order,
        cancel: CancellationToken,
    ) -> Result<Conversation, ExecError> {
        if self.closing.is_cancelled() {
            return Err(ExecError::ShuttingDown);
        }
        let max = self.config.limits.conversations_max;
        let place = Arc::clone(&self.conversations).try_acquire_owned();
        let place = place.map_err(|_| ExecError::TooManyConversations { max })?;
        let connected = conversation::connect();
        let (ours, ends) = connected.map_err(|error| ExecError::supervisor("connect", error))?;
        let inner = Arc::clone(self);
        let ending = cancel.clone();
        let task = self.tasks.spawn(async move {
            let finished = course::converse(&inner, &order, cancel, ends).await;
            drop(place);
            finished
        });
        let ends_when_dropped = ending.drop_guard();
        let finished = Box::pin(async move {
            let _ends_when_dropped = ends_when_dropped;
            followed(task).await
        });
        let Ours { input, output, stderr } = ours;
        Ok(Conversation { input, output, stderr, finished })
    }

    /// What holds jobs together here.
    pub(crate) fn containment(&self) -> &Containment {
        &self.containment
    }

    /// The place of a job in the spool, if it has one.
    pub(crate) fn place(&self, job: &Job) -> Option<Place> {
        let kept = job.stdout_bytes_max.max(job.stderr_bytes_max);
        Some(self.config.spool.as_ref()?.place(job.label.as_ref()?, kept as u64))
    }

    /// Makes the cgroups of a job that has a quota.
    pub(crate) async fn bound(
        self: &Arc<Self>,
        quota: Quota,
        leaf: Option<PathBuf>,
    ) -> Result<Group, ExecError> {
        if quota.is_none() {
            return Ok(Group::default());
        }
        let inner = Arc::clone(self);
        let made = self.tasks.spawn_blocking(move || inner.controllers.bound(leaf.as_deref(), &quota)).await;
        made.map_err(std::io::Error::other).flatten().map_err(|error| ExecError::supervisor("bound", error))
    }

    /// Removes the cgroups of a job, as soon as nobody is in them.
    pub(crate) fn unbound(self: &Arc<Self>, group: &Group) {
        for leaf in group.remove() {
            self.pool.keep_leaf(leaf);
            self.look_after_pool();
        }
    }

    /// What a job would write to that wants to leave its cgroup.
    pub(crate) fn escape(&self) -> Option<PathBuf> {
        Some(self.home.as_ref()?.path().parent()?.join("cgroup.procs"))
    }

    /// Waits for a turn. Cancellation-safe, but the place in the queue is lost.
    pub(crate) async fn turn(&self) -> OwnedSemaphorePermit {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        turn.expect("the semaphore of the turns is never closed")
    }

    /// A supervisor for the next job.
    pub(crate) async fn supervisor(self: &Arc<Self>) -> Result<Supervisor, ExecError> {
        while let Some(supervisor) = self.pool.take() {
            if supervisor.is_listening() {
                return Ok(supervisor);
            }
            self.retire_aside(supervisor);
        }
        let inner = Arc::clone(self);
        // It forks and makes a folder: not for a thread that serves others.
        let spawn = move || Supervisor::spawn(&inner.config.supervisor, inner.home.as_ref());
        let spawned = self.tasks.spawn_blocking(spawn).await.map_err(std::io::Error::other);
        spawned.flatten().map_err(|error| ExecError::supervisor("start", error))
    }

    /// Takes a supervisor back after a clean job.
    pub(crate) fn give_back(self: &Arc<Self>, supervisor: Supervisor) {
        let idle_max = size(self.config.limits.idle_max);
        if let Some(supervisor) = self.pool.keep(supervisor, idle_max) {
            self.retire_aside(supervisor);
        }
        self.look_after_pool();
    }

    /// Ends a supervisor and all below it; says whether all are gone.
    pub(crate) async fn retire(self: &Arc<Self>, supervisor: Supervisor) -> bool {
        let Err(Stuck { leaf }) = supervisor.retire().await else {
            return true;
        };
        tracing::warn!(?leaf, "killed processes are stuck in the kernel");
        if let Some(leaf) = leaf {
            self.pool.keep_leaf(leaf);
            self.look_after_pool();
        }
        false
    }

    fn retire_aside(self: &Arc<Self>, supervisor: Supervisor) {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move { inner.retire(supervisor).await });
    }

    /// Lets a supervisor go; what is below it lives on.
    pub(crate) async fn release(self: &Arc<Self>, supervisor: Supervisor) {
        if let Some(leaf) = supervisor.release().await {
            self.pool.keep_leaf(leaf);
        }
        self.look_after_pool();
    }

    /// Fires when the server stops.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// How long jobs may tidy up: as the server stops, as long as it says.
    pub(crate) fn grace(&self) -> Duration {
        let grace = Duration::from_millis(self.config.limits.grace_ms);
        self.closing_grace.get().copied().unwrap_or(grace)
    }

    /// How long output is read while others hold it.
    pub(crate) fn drain_time(&self) -> Duration {
        Duration::from_millis(self.config.limits.drain_ms)
    }

    fn look_after_pool(self: &Arc<Self>) {
        if self.pool.wants_keeper() {
            let inner = Arc::clone(self);
            self.tasks.spawn(async move { inner.keep_pool().await });
        }
    }

    async fn keep_pool(self: &Arc<Self>) {
        let idle = Duration::from_millis(self.config.limits.idle_ms);
        while timeout(idle, self.closing.cancelled()).await.is_err() {
            for supervisor in self.pool.expire(idle) {
                self.retire(supervisor).await;
            }
            self.pool.remove_empty_leaves();
            if self.pool.dismisses_keeper() {
                break;
            }
        }
    }
}

/// What a task that follows a job found.
async fn followed(task: JoinHandle<Result<Finished, ExecError>>) -> Result<Finished, ExecError> {
    task.await.unwrap_or_else(|error| Err(ExecError::supervisor("follow", std::io::Error::other(error))))
}

fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}
