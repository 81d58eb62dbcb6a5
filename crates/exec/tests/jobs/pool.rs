//! Supervisors are used again, not hoarded, and never trusted after a mess.

use std::time::Duration;

use hayward_exec::{Choice, Ending};
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::{Fixture, config, marker, sh_for, until, with_config};

crate::in_both_containments! {
    a_supervisor_serves_one_job_after_the_other
    a_supervisor_is_gone_after_a_deadline
    a_supervisor_that_died_idle_is_replaced
}

async fn parent(cx: &Fixture) -> i32 {
    let said = cx.sh("echo $PPID").await.stdout.bytes;
    String::from_utf8(said).unwrap().trim().parse().unwrap()
}

fn exists(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

async fn a_supervisor_serves_one_job_after_the_other(cx: Fixture) {
    let first = parent(&cx).await;
    for _ in 0..20 {
        assert_eq!(parent(&cx).await, first);
    }
}

async fn a_supervisor_is_gone_after_a_deadline(cx: Fixture) {
    let first = parent(&cx).await;
    let job = sh_for(&format!("sleep {}", marker()), Duration::from_millis(100));
    assert_eq!(cx.run(job).await.unwrap().ending, Ending::TimedOut);
    assert!(!exists(first));
    assert_eq!(cx.leaves().len(), 0);
}

async fn a_supervisor_that_died_idle_is_replaced(cx: Fixture) {
    let first = parent(&cx).await;
    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    let is_dead = || {
        let stat = std::fs::read_to_string(format!("/proc/{first}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    until("it is dead", is_dead).await;
    assert_ne!(parent(&cx).await, first);
    until("it is reaped", || !exists(first)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_supervisors_are_let_go() {
    for containment in [Choice::Detect, Choice::Subreaper] {
        let mut config = config(containment);
        config.limits.idle_ms = 50;
        with_config(config, async |cx: Fixture| {
            let first = parent(&cx).await;
            until("it is gone", || !exists(first) && cx.leaves().is_empty()).await;
            assert_ne!(parent(&cx).await, first);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_kept_than_allowed() {
    let mut config = config(Choice::Detect);
    config.limits.idle_max = 0;
    with_config(config, async |cx: Fixture| {
        let first = parent(&cx).await;
        until("it is gone", || !exists(first) && cx.leaves().is_empty()).await;
    })
    .await;
}
