//! Many jobs leave nothing: no process, no zombie, no open file, no cgroup.
//!
//! One test alone in its process, because it counts what the process has.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hayward_exec::{
    Choice, Config, Ending, Executor, Job, Limits, Profile, Quota, SupervisorCommand, Survivors, inherited,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const JOBS: usize = 200;
const LANES: u64 = 16;

fn job(n: usize) -> (Job, Ending) {
    let (script, timeout, ending) = match n % 5 {
        0 => ("exit 7", 20_000, Ending::Exited { code: 7 }),
        1 => ("yes | head -c 1M; exit 0", 20_000, Ending::Exited { code: 0 }),
        2 => ("setsid -f sleep 3600; exit 1", 20_000, Ending::Exited { code: 1 }),
        3 => ("trap '' TERM; sleep 3600", 50, Ending::TimedOut),
        _ => ("kill -9 $$", 20_000, Ending::Signaled { signal: 9 }),
    };
    let job = Job {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: inherited([]),
        cwd: "/".into(),
        stdout_bytes_max: 100,
        stderr_bytes_max: 100,
        timeout: Duration::from_millis(timeout),
        survivors: Survivors::End,
        profile: Profile::Full,
        quota: Quota::default(),
        label: None,
    };
    (job, ending)
}

async fn run_all(containment: Choice) {
    let program = env!("CARGO_BIN_EXE_supervise").into();
    let limits = Limits { jobs_max: LANES, grace_ms: 20, drain_ms: 20, ..Limits::default() };
    let supervisor = SupervisorCommand { program, args: vec![] };
    let executor = Executor::new(Config { supervisor, containment, limits, protected: vec![], spool: None });
    let mut running = JoinSet::new();
    for n in 0..JOBS {
        let executor = executor.clone();
        running.spawn(async move {
            let (job, ending) = job(n);
            let finished = executor.run(job, &CancellationToken::new()).await.unwrap();
            assert_eq!(finished.ending, ending, "job {n}");
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let path = executor.containment().path().unwrap_or(Path::new("/nonexistent")).to_owned();
    executor.shutdown(Duration::from_millis(100)).await;
    assert!(!path.exists(), "a cgroup is left");
}

fn children() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")));
    children.map(|pids| pids.unwrap_or_default().split_whitespace().count()).sum()
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn many_jobs_leave_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // What the runtime opens at the first process stays open, and isn't ours.
    runtime.block_on(run_all(Choice::Subreaper));
    for containment in [Choice::Detect, Choice::Subreaper] {
        let before = open_files();
        runtime.block_on(run_all(containment));
        assert_eq!(children(), 0, "a child or zombie is left");
        let since = Instant::now();
        while open_files() > before {
            assert!(since.elapsed() < Duration::from_secs(5), "files are left open");
            std::thread::yield_now();
        }
    }
}
