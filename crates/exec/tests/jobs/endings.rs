//! How jobs end: by themselves, at a deadline, by their caller, however they resist.

use std::time::{Duration, Instant};

use hayward_exec::{Choice, Ending, ExecError};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, alive, config, marker, sh, sh_for, until, with_config};

crate::in_both_containments! {
    exit_codes_and_signals
    a_deadline_keeps_what_was_written
    a_job_that_ignores_sigterm_is_killed
    daemons_that_left_the_session_end_with_their_job
    a_stopped_job_ends
    a_job_that_closed_its_output_ends
    a_job_that_stops_its_supervisor_ends
    a_job_that_kills_its_supervisor_ends
    a_large_tree_ends
    a_tree_that_forks_on_ends
    cancelling_ends_a_job
    dropping_the_future_ends_a_job
    an_endless_timeout_is_no_fault
}

/// Long enough for a script to have started what it starts.
const SHORT: Duration = Duration::from_millis(700);

async fn exit_codes_and_signals(cx: Fixture) {
    for code in [0, 1, 42, 255] {
        assert_eq!(cx.sh(&format!("exit {code}")).await.ending, Ending::Exited { code });
    }
    assert_eq!(cx.sh("kill -9 $$").await.ending, Ending::Signaled { signal: 9 });
    assert_eq!(cx.sh("kill -15 $$").await.ending, Ending::Signaled { signal: 15 });
}

async fn a_deadline_keeps_what_was_written(cx: Fixture) {
    let sleep = marker();
    let job = sh_for(&format!("echo early; echo late >&2; sleep {sleep}"), SHORT);
    let finished = cx.run(job).await.unwrap();
    assert_eq!(finished.ending, Ending::TimedOut);
    assert_eq!(finished.stdout.bytes, b"early\n");
    assert_eq!(finished.stderr.bytes, b"late\n");
    assert!(finished.duration >= SHORT);
    assert_eq!((finished.survivors.len(), alive(&sleep)), (0, 0));
}

#[tokio::test]
async fn a_job_may_tidy_up_and_nobody_waits_longer_than_it_does() {
    for containment in [Choice::Detect, Choice::Subreaper] {
        let mut config = config(containment);
        config.limits.grace_ms = 30_000;
        with_config(config, async |cx: Fixture| check_tidies_up(&cx).await).await;
    }
}

async fn check_tidies_up(cx: &Fixture) {
    let script = "trap 'echo tidy; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let finished = cx.run(sh_for(script, SHORT)).await.unwrap();
    assert_eq!(finished.ending, Ending::TimedOut);
    assert_eq!(finished.stdout.bytes, b"ready\ntidy\n");
    assert!(finished.duration < Duration::from_secs(20), "{:?}", finished.duration);
}

/// Expects that a script comes to its deadline and leaves nobody behind.
async fn check_ends(cx: &Fixture, script: &str, marker: &str) {
    let finished = cx.run(sh_for(script, SHORT)).await.unwrap();
    assert_eq!(finished.ending, Ending::TimedOut, "{finished:?}");
    assert_eq!(alive(marker), 0);
    assert_eq!(finished.survivors, []);
}

async fn a_job_that_ignores_sigterm_is_killed(cx: Fixture) {
    let sleep = marker();
    let script = format!("trap '' TERM; sleep {sleep} & while :; do sleep {sleep}; done");
    let since = Instant::now();
    check_ends(&cx, &script, &sleep).await;
    assert!(since.elapsed() >= SHORT + Duration::from_millis(300), "it had no grace");
}

async fn daemons_that_left_the_session_end_with_their_job(cx: Fixture) {
    let sleep = marker();
    let daemon = format!("(setsid sh -c 'trap \"\" TERM; (sleep {sleep} &) ; sleep {sleep}' &)");
    check_ends(&cx, &format!("{daemon}; {daemon} >/dev/null 2>&1; sleep {sleep}"), &sleep).await;
}

async fn a_stopped_job_ends(cx: Fixture) {
    let sleep = marker();
    check_ends(&cx, &format!("sleep {sleep} & kill -STOP $!; kill -STOP $$"), &sleep).await;
}

async fn a_job_that_closed_its_output_ends(cx: Fixture) {
    let sleep = marker();
    check_ends(&cx, &format!("exec >&- 2>&-; sleep {sleep}"), &sleep).await;
}

async fn a_job_that_stops_its_supervisor_ends(cx: Fixture) {
    let sleep = marker();
    let script = format!("(while :; do kill -STOP $PPID; sleep 0.001; done) & sleep {sleep}");
    check_ends(&cx, &script, &sleep).await;
}

async fn a_job_that_kills_its_supervisor_ends(cx: Fixture) {
    let sleep = marker();
    let error = cx.run(sh(&format!("sleep {sleep} & kill -9 $PPID; sleep {sleep}"))).await;
    assert!(matches!(error, Err(ExecError::SupervisorLost)), "{error:?}");
    assert_eq!(alive(&sleep), 0);
    // And the next job has a supervisor again.
    assert_eq!(cx.sh("exit 3").await.ending, Ending::Exited { code: 3 });
}

async fn a_large_tree_ends(cx: Fixture) {
    let sleep = marker();
    let branch = format!("(for i in 1 2 3 4 5 6 7 8 9; do (trap '' TERM; sleep {sleep}) & done; wait) &");
    check_ends(&cx, &format!("for i in $(seq 20); do {branch} done; wait"), &sleep).await;
}

async fn a_tree_that_forks_on_ends(cx: Fixture) {
    // Each link is a new process in a new session, which starts the next and is gone. Their
    // number is bounded, so that a failure of this test passes.
    let link = marker();
    let chain = r#"trap "" TERM; [ $2 -gt 0 ] && exec setsid -f sh -c "$0" "$0" $1 $(($2 - 1))"#;
    let start = format!("sh -c '{chain}' '{chain}' {link} 3000 &");
    check_ends(&cx, &format!("{start} {start} {start} sleep {link}"), &link).await;
    // One look may miss a link that is just being started.
    for _ in 0..20 {
        assert_eq!(alive(&link), 0);
    }
}

async fn cancelling_ends_a_job(cx: Fixture) {
    let (sleep, cancel) = (marker(), CancellationToken::new());
    let job = sh(&format!("echo before; sleep {sleep}"));
    let running = tokio::spawn({
        let (executor, cancel) = (cx.executor.clone(), cancel.clone());
        async move { executor.run(job, &cancel).await }
    });
    until("it runs", || alive(&sleep) > 1).await;
    assert_eq!(cx.executor.running(), 1);
    cancel.cancel();
    let finished = running.await.unwrap().unwrap();
    assert_eq!((finished.ending, finished.stdout.bytes), (Ending::Cancelled, b"before\n".into()));
    assert_eq!(alive(&sleep), 0);
}

async fn dropping_the_future_ends_a_job(cx: Fixture) {
    let sleep = marker();
    let job = sh(&format!("sleep {sleep}; :"));
    tokio::select! {
        _ = cx.run(job) => unreachable!("it sleeps"),
        () = until("it runs", || alive(&sleep) > 1) => {}
    }
    until("it is ended", || alive(&sleep) == 0).await;
    until("its turn is free", || cx.executor.running() == 0).await;
}

async fn an_endless_timeout_is_no_fault(cx: Fixture) {
    let finished = cx.run(sh_for("exit 0", Duration::MAX)).await.unwrap();
    assert_eq!(finished.ending, Ending::Exited { code: 0 });
}
