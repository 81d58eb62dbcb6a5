//! A server that is gone without a word leaves nothing running, and its successor tidies up.

use std::path::Path;
use std::time::{Duration, Instant};

use hayward_exec::{Choice, Executor, Job, Survivors};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, alive, config, marker, sh, until, with};

/// What is left of a server whose runtime vanished: its sockets closed, its lock released.
struct Dead {
    fixture: Fixture,
}

/// Starts jobs on a runtime of its own, waits, and takes the runtime away under them.
fn die(containment: Choice, jobs: Vec<Job>, is_ready: impl Fn() -> bool) -> Dead {
    let runtime = Runtime::new().unwrap();
    let fixture = runtime.block_on(async {
        let fixture = Fixture { executor: Executor::new(config(containment)) };
        for job in jobs {
            let executor: Executor = fixture.executor.clone();
            tokio::spawn(async move { executor.run(job, &CancellationToken::new()).await });
        }
        until("the jobs run", is_ready).await;
        fixture
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    Dead { fixture }
}

/// Starts one server after the other until a dead one's cgroup is gone. One may not be enough:
/// who was just killed may still be in it, or another server just looks at it.
fn succeed_until_gone(runtime: &Runtime, home: Option<&Path>) {
    let since = Instant::now();
    while home.is_some_and(Path::exists) {
        assert!(since.elapsed() < Duration::from_secs(20), "it is never removed");
        runtime.block_on(with(Choice::Detect, async |_| {}));
    }
}

#[test]
fn its_jobs_end_with_it() {
    for containment in [Choice::Detect, Choice::Subreaper] {
        let sleep = marker();
        let daemon = format!("trap '' TERM; setsid -f sleep {sleep} >/dev/null 2>&1; sleep {sleep}");
        let jobs = vec![sh(&daemon), Job { survivors: Survivors::Leave, ..sh(&daemon) }];
        let dead = die(containment, jobs, || alive(&sleep) >= 6);
        let runtime = Runtime::new().unwrap();
        runtime.block_on(until("they are gone", || alive(&sleep) == 0));
        let home = dead.fixture.home();
        drop(dead);
        succeed_until_gone(&runtime, home.as_deref());
    }
}

#[test]
fn what_was_left_alone_on_purpose_outlives_it_and_its_successor() {
    let sleep = marker();
    let script = format!("nohup sleep {sleep} >/dev/null 2>&1 & echo $!");
    let runtime = Runtime::new().unwrap();
    let (executor, finished) = runtime.block_on(async {
        let executor = Executor::new(config(Choice::Detect));
        let job = Job { survivors: Survivors::Leave, ..sh(&script) };
        let finished = executor.run(job, &CancellationToken::new()).await.unwrap();
        (executor, finished)
    });
    let home = Fixture { executor: executor.clone() }.home();
    runtime.shutdown_timeout(Duration::from_secs(5));
    drop(executor);

    let runtime = Runtime::new().unwrap();
    let Some(home) = home else { return };
    runtime.block_on(with(Choice::Detect, async |_| {}));
    assert_eq!((alive(&sleep), home.exists()), (1, true));
    kill_process(Pid::from_raw(finished.survivors[0].pid).unwrap(), Signal::KILL).unwrap();
    runtime.block_on(until("it is gone", || alive(&sleep) == 0));
    succeed_until_gone(&runtime, Some(&home));
}

#[test]
fn a_server_that_lives_is_not_tidied_up() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(with(Choice::Detect, async |first: Fixture| {
        let sleep = marker();
        let running = first.run(sh(&format!("sleep {sleep}; :")));
        tokio::select! {
            _ = running => unreachable!("it sleeps"),
            () = until("it runs", || alive(&sleep) == 2) => {}
        }
        let kept = first.sh("echo $PPID").await;
        with(Choice::Detect, async |second: Fixture| {
            second.sh("exit 0").await;
        })
        .await;
        assert_eq!(first.sh("echo $PPID").await.stdout, kept.stdout);
    }));
}
