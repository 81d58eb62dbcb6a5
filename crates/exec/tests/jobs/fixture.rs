//! An executor with short waits, jobs for it, and the check that nothing stays behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hayward_exec::{
    Choice, Config, ExecError, Executor, Finished, Job, Limits, Profile, Quota, SupervisorCommand, Survivors,
    inherited,
};
use tokio_util::sync::CancellationToken;

/// Longer than any step of a test takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) executor: Executor,
}

/// The settings of most tests.
pub(crate) fn config(containment: Choice) -> Config {
    let limits = Limits { grace_ms: 300, ..Limits::default() };
    let program = PathBuf::from(env!("CARGO_BIN_EXE_supervise"));
    Config {
        supervisor: SupervisorCommand { program, args: vec![] },
        containment,
        limits,
        protected: vec![],
        spool: None,
    }
}

/// Runs a test and checks that its executor leaves nothing behind.
pub(crate) async fn with<F: Future<Output = ()>>(choice: Choice, test: impl FnOnce(Fixture) -> F) {
    with_config(config(choice), test).await;
}

/// The same with settings of its own.
pub(crate) async fn with_config<F: Future<Output = ()>>(config: Config, test: impl FnOnce(Fixture) -> F) {
    let wants_cgroup = config.containment != Choice::Subreaper;
    let fixture = Fixture { executor: Executor::new(config) };
    if wants_cgroup && fixture.home().is_none() {
        eprintln!("skipped: {}", fixture.executor.containment());
        return;
    }
    test(fixture.clone()).await;
    fixture.executor.shutdown(Duration::from_millis(300)).await;
    assert_eq!(fixture.executor.running(), 0);
    if let Some(home) = fixture.home() {
        assert!(!home.exists(), "{} is left: {:?}", home.display(), fixture.leaves());
    }
}

impl Fixture {
    /// Runs a shell script to its end.
    pub(crate) async fn sh(&self, script: &str) -> Finished {
        self.run(sh(script)).await.unwrap()
    }

    pub(crate) async fn run(&self, job: Job) -> Result<Finished, ExecError> {
        self.executor.run(job, &CancellationToken::new()).await
    }

    /// The cgroup of the executor, where there is one.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.executor.containment().path().map(Path::to_owned)
    }

    /// The cgroups of its supervisors.
    pub(crate) fn leaves(&self) -> Vec<PathBuf> {
        let entries = self.home().and_then(|home| fs::read_dir(home).ok());
        let paths = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_dir()).collect()
    }
}

/// A shell script as a job.
pub(crate) fn sh(script: &str) -> Job {
    Job {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: inherited([]),
        cwd: "/".into(),
        stdout_bytes_max: 4096,
        stderr_bytes_max: 4096,
        timeout: PATIENCE,
        survivors: Survivors::End,
        profile: Profile::Full,
        quota: Quota::default(),
        label: None,
    }
}

/// The same with a deadline.
pub(crate) fn sh_for(script: &str, timeout: Duration) -> Job {
    Job { timeout, ..sh(script) }
}

/// Seconds to sleep that nobody else sleeps, to find a process by.
pub(crate) fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("3600.{:07}{n:05}", std::process::id())
}

/// How many living processes have the marker in their command line.
pub(crate) fn alive(marker: &str) -> usize {
    let has_marker = |pid: &str| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // A zombie has no command line.
        String::from_utf8_lossy(&line).contains(marker)
    };
    let pids = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    pids.filter(|pid| has_marker(&pid.to_string_lossy())).count()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Supervisors of another user, on whom permissions and limits bear.
pub(crate) fn as_nobody(folder: &tempfile::TempDir, before: &[&str]) -> Option<Config> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return None;
    }
    // A copy, because nobody may not be allowed to where the build is.
    let program = folder.path().join("supervise");
    fs::copy(env!("CARGO_BIN_EXE_supervise"), &program).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let fixed = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let args = fixed.iter().chain(before).map(Into::into).chain([program.into()]).collect();
    let supervisor = SupervisorCommand { program: "/usr/bin/setpriv".into(), args };
    Some(Config { supervisor, ..config(Choice::Subreaper) })
}
