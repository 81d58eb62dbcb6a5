//! What a job leaves behind when it exits by itself.

use std::time::{Duration, Instant};

use hayward_exec::{Choice, Ending, Fate, Finished, Job, Survivors};
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::{Fixture, alive, config, marker, sh, until, with_config};

crate::in_both_containments! {
    who_holds_a_pipe_is_ended_in_either_mode
    who_holds_no_pipe_is_named_and_ended
    who_holds_no_pipe_is_left_alone_if_so_asked
    who_is_about_to_end_is_no_survivor
    what_a_holder_still_writes_is_kept
    a_survivor_that_ignores_sigterm_is_killed
}

fn leaving(script: &str) -> Job {
    Job { survivors: Survivors::Leave, ..sh(script) }
}

fn check(finished: &Finished, marker: &str, fate: Fate) {
    assert_eq!(finished.ending, Ending::Exited { code: 0 });
    assert_eq!(finished.stdout.bytes, b"done\n");
    let [survivor] = &finished.survivors[..] else { unreachable!("{finished:?}") };
    assert_eq!((survivor.fate, &*survivor.command), (fate, &*format!("sleep {marker}")));
    let is_alive = fate == Fate::Left;
    assert_eq!(alive(marker), usize::from(is_alive));
}

async fn who_holds_a_pipe_is_ended_in_either_mode(cx: Fixture) {
    for make in [sh, leaving] {
        let sleep = marker();
        let since = Instant::now();
        let finished = cx.run(make(&format!("setsid -f sleep {sleep}; echo done"))).await.unwrap();
        check(&finished, &sleep, Fate::Ended);
        assert!(since.elapsed() < Duration::from_secs(5));
    }
}

async fn who_holds_no_pipe_is_named_and_ended(cx: Fixture) {
    let sleep = marker();
    let script = format!("nohup sleep {sleep} >/dev/null 2>&1 & echo done");
    check(&cx.sh(&script).await, &sleep, Fate::Ended);
}

async fn who_holds_no_pipe_is_left_alone_if_so_asked(cx: Fixture) {
    let (sleep, held) = (marker(), marker());
    let script = format!("sleep {held} & nohup sleep {sleep} >/dev/null 2>&1 & echo done");
    let mut finished = cx.run(leaving(&script)).await.unwrap();
    let ended = finished.survivors.iter().position(|s| s.command.contains(&held)).unwrap();
    assert_eq!((finished.survivors.remove(ended).fate, alive(&held)), (Fate::Ended, 0));
    check(&finished, &sleep, Fate::Left);
    // It outlives other jobs, and even the executor.
    cx.sh("exit 0").await;
    cx.executor.shutdown(Duration::ZERO).await;
    assert_eq!(alive(&sleep), 1);
    kill_process(Pid::from_raw(finished.survivors[0].pid).unwrap(), Signal::KILL).unwrap();
    until("it is gone", || alive(&sleep) == 0).await;
}

async fn who_is_about_to_end_is_no_survivor(cx: Fixture) {
    let finished = cx.sh("(sleep 0.005; echo late) & echo done").await;
    assert_eq!(finished.stdout.bytes, b"done\nlate\n");
    assert_eq!(finished.survivors, []);
}

async fn what_a_holder_still_writes_is_kept(cx: Fixture) {
    let sleep = marker();
    let script = format!("(echo more; sleep {sleep}) & echo done >&2; head -c 1M /dev/zero >&2");
    let finished = cx.run(Job { stderr_bytes_max: 2 << 20, ..sh(&script) }).await.unwrap();
    assert_eq!(finished.stdout.bytes, b"more\n");
    assert_eq!(finished.stderr.bytes.len(), (1 << 20) + 5);
    assert_eq!(alive(&sleep), 0);
}

async fn a_survivor_that_ignores_sigterm_is_killed(cx: Fixture) {
    let sleep = marker();
    let script = format!("trap '' TERM; setsid -f sleep {sleep} >/dev/null 2>&1; echo done");
    check(&cx.sh(&script).await, &sleep, Fate::Ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_goes_when_who_was_left_in_it_is_gone() {
    let mut config = config(Choice::Detect);
    config.limits.idle_ms = 20;
    with_config(config, async |cx: Fixture| {
        let sleep = marker();
        let script = format!("nohup sleep {sleep} >/dev/null 2>&1 & echo done");
        let finished = cx.run(leaving(&script)).await.unwrap();
        check(&finished, &sleep, Fate::Left);
        assert_eq!(cx.leaves().len(), 1);
        kill_process(Pid::from_raw(finished.survivors[0].pid).unwrap(), Signal::KILL).unwrap();
        until("its cgroup is removed", || cx.leaves().is_empty()).await;
    })
    .await;
}
