//! What a job costs, beside a bare spawn of the same command: medians and jobs per second.
//!
//! `cargo run --release -p hayward-exec --example spawn` (which is its own supervisor, too).

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use hayward_exec::{
    Choice, Config, Confined, Executor, Job, Limits, Profile, Quota, SupervisorCommand, Survivors, inherited,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 5;
const JOBS: u32 = 400;

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|arg| arg == "supervise") {
        return hayward_exec::supervise();
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    for containment in [Choice::Detect, Choice::Subreaper] {
        runtime.block_on(compare(containment));
    }
    ExitCode::SUCCESS
}

async fn compare(containment: Choice) {
    let supervisor = SupervisorCommand { program: "/proc/self/exe".into(), args: vec!["supervise".into()] };
    let executor = Executor::new(Config {
        supervisor,
        containment,
        limits: Limits::default(),
        protected: vec![],
        spool: None,
    });
    say(&executor.containment().to_string());
    for concurrency in [1, 16] {
        for round in 0..ROUNDS {
            let bare = measure(concurrency, spawn_bare).await;
            let executor = executor.clone();
            let confined = executor.clone();
            let ours = measure(concurrency, move || run(executor.clone(), Profile::Full)).await;
            let profile = Profile::Confined(Confined::default());
            let confined = measure(concurrency, move || run(confined.clone(), profile.clone())).await;
            say(&format!("c={concurrency} round {round}: bare {bare}; ours {ours}; confined {confined}"));
        }
    }
    executor.shutdown(Duration::ZERO).await;
}

async fn measure<F>(lanes: u32, once: impl Fn() -> F + Clone + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let since = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..lanes {
        let once = once.clone();
        running.spawn(async move {
            let mut times = Vec::new();
            for _ in 0..JOBS / lanes {
                let since = Instant::now();
                once().await;
                times.push(since.elapsed());
            }
            times
        });
    }
    let mut times = running.join_all().await.concat();
    let rate = f64::from(JOBS) / since.elapsed().as_secs_f64();
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    format!("p50 {p50:.1?} p99 {p99:.1?} {rate:.0}/s")
}

#[expect(clippy::disallowed_methods, reason = "the bare spawn to compare with")]
async fn spawn_bare() {
    let spawn = || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "true"]).stdin(Stdio::null());
        command.output().expect("sh can be started");
    };
    tokio::task::spawn_blocking(spawn).await.expect("a spawn doesn't panic");
}

async fn run(executor: Executor, profile: Profile) {
    let job = Job {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), "true".to_owned()],
        env: inherited([]),
        cwd: "/usr".into(),
        stdout_bytes_max: 1 << 20,
        stderr_bytes_max: 1 << 20,
        timeout: Duration::from_secs(10),
        survivors: Survivors::End,
        profile,
        quota: Quota::default(),
        label: None,
    };
    executor.run(job, &CancellationToken::new()).await.expect("`sh -c true` runs");
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output is open");
}
