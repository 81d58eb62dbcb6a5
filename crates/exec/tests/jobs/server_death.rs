//! A server that is gone without a word leaves nothing running, and its successor tidies up.

use std::path::Path;
use std::time::{Duration, Instant};

use hayward_exec::{Choice, Config, Ending, Executor, Job, Label, Limits, Spool, Survivors};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, alive, config, marker, sh, until, with, with_config};

/// What is left of a server whose runtime vanished: its sockets closed, its lock released.
struct Dead {
    fixture: Fixture,
}

/// Starts jobs on a runtime of its own, waits, and takes the runtime away under them.
fn die(config: Config, jobs: Vec<Job>, is_ready: impl Fn() -> bool) -> Dead {
    let runtime = Runtime::new().unwrap();
    let fixture = runtime.block_on(async {
        let fixture = Fixture { executor: Executor::new(config) };
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
        let dead = die(config(containment), jobs, || alive(&sleep) >= 6);
        let runtime = Runtime::new().unwrap();
        runtime.block_on(until("they are gone", || alive(&sleep) == 0));
        let home = dead.fixture.home();
        drop(dead);
        succeed_until_gone(&runtime, home.as_deref());
    }
}

#[test]
fn how_its_jobs_ended_is_told_to_its_successor() {
    for containment in [Choice::Detect, Choice::Subreaper] {
        let folder = tempfile::tempdir().unwrap();
        let (spool, pid_file) = (Spool::new(folder.path().join("spool")), folder.path().join("pid"));
        std::fs::create_dir(folder.path().join("spool")).unwrap();
        let (sleep, other) = (marker(), marker());
        let job = |label: &str, script: String| Job { label: Label::new(label), ..sh(&script) };
        let jobs = vec![
            job("1-killed", format!("sleep {sleep}")),
            // Its main process has ended; who was left behind holds its pipes, so that it has no result yet.
            job("2-ended", format!("trap '' TERM; sleep {sleep} & echo $$ >{}; exit 7", pid_file.display())),
            // Nothing of it is told.
            sh(&format!("sleep {other}; :")),
        ];
        let limits = Limits { drain_ms: 10_000, ..config(containment).limits };
        let config = Config { spool: Some(spool.clone()), limits, ..config(containment) };
        let has_ended = || {
            let pid =
                std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
            pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        };
        let dead = die(config, jobs, || alive(&sleep) >= 2 && alive(&other) >= 1 && has_ended());
        let leftovers = spool.collect(Duration::from_secs(20)).unwrap();
        let told: Vec<_> =
            leftovers.iter().map(|left| (left.label.as_str(), left.ending, left.was_killed)).collect();
        assert_eq!(
            told,
            [
                ("1-killed", Some(Ending::Signaled { signal: 9 }), true),
                ("2-ended", Some(Ending::Exited { code: 7 }), false),
            ]
        );
        assert_eq!(alive(&sleep), 0, "they were waited for");
        drop(dead);
    }
}

#[test]
fn a_server_that_lives_tells_everything_itself() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path());
    let job = |script: &str, timeout| Job { label: Label::new("1-a"), timeout, ..sh(script) };
    let config = Config { spool: Some(spool.clone()), ..config(Choice::Detect) };
    runtime.block_on(with_config(config, async |cx: Fixture| {
        let folder = || std::fs::read_dir(folder.path()).unwrap().count();
        let long = Duration::from_secs(20);
        assert_eq!(cx.run(job("echo short", long)).await.unwrap().stdout.bytes, b"short\n");
        assert_eq!(folder(), 0, "a short job is not spooled");
        let noisy = job("echo early; echo oops >&2; sleep 1.5; echo late; sleep 0.5", long);
        let running = cx.run(noisy);
        let spooled = until("its output is spooled", || {
            let paths = spool.outputs(&Label::new("1-a").unwrap());
            let texts: Vec<_> =
                paths.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
            texts == ["early\nlate\n", "oops\n"]
        });
        let (finished, ()) = tokio::join!(running, spooled);
        assert_eq!(finished.unwrap().stdout.bytes, b"early\nlate\n");
        assert_eq!(folder(), 0, "what is told is not kept");
        let ending = cx.run(job("sleep 60", Duration::from_millis(1_200))).await.unwrap().ending;
        assert_eq!((ending, folder()), (Ending::TimedOut, 0));
    }));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "supervisors at rest tell nothing");
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
