//! What a job may use up, and that it says what it ran into.

use hayward_exec::{Ending, ExecError, Exhausted, Finished, Job, Quota};

use crate::fixture::{Fixture, sh};

crate::in_both_containments! {
    memory_is_bounded
    processes_are_bounded
    processor_time_is_bounded
    files_are_bounded
    what_is_within_its_quota_runs
    a_quota_takes_no_privilege
    a_supervisor_outlives_a_job_that_had_too_little
    what_cannot_start_is_refused_under_a_quota_too
    only_the_given_environment_arrives_under_a_quota_too
}

fn with(quota: Quota, script: &str) -> Job {
    Job { quota, ..sh(script) }
}

const MIB: u64 = 1 << 20;

/// Reads this many MiB into memory.
fn eat(mib: u64) -> String {
    format!("x=$(head -c {mib}M /dev/zero | tr '\\0' x); echo ${{#x}}")
}

async fn memory_is_bounded(cx: Fixture) {
    let quota = Quota { memory_bytes: Some(64 * MIB), ..Quota::default() };
    let finished = cx.run(with(quota, &eat(200))).await.unwrap();
    assert_ne!(finished.ending, Ending::Exited { code: 0 }, "{finished:?}");
    let is_told = finished.exhausted.memory;
    assert_eq!(is_told, cx.executor.containment().bounds().memory, "{finished:?}");
}

async fn processes_are_bounded(cx: Fixture) {
    if !cx.executor.containment().bounds().processes {
        eprintln!("skipped: no pids controller");
        return;
    }
    let quota = Quota { processes: Some(20), ..Quota::default() };
    let script = "for i in $(seq 60); do sleep 1 & done; wait";
    let finished = cx.run(with(quota, script)).await.unwrap();
    assert!(finished.exhausted.processes, "{finished:?}");
    assert!(!finished.exhausted.memory, "{finished:?}");
}

async fn processor_time_is_bounded(cx: Fixture) {
    if !cx.executor.containment().bounds().cpu {
        eprintln!("skipped: no cpu controller");
        return;
    }
    let quota = Quota { cpu_percent: Some(10), ..Quota::default() };
    let script = "timeout 1 sh -c 'while :; do :; done'; times";
    let finished = cx.run(with(quota, script)).await.unwrap();
    let said = String::from_utf8_lossy(&finished.stdout.bytes).into_owned();
    // The second line is of the children: `0m0.100s 0m0.000s`.
    let used = said.lines().nth(1).and_then(|line| line.strip_prefix("0m")?.split_once('s'));
    let used: f64 = used.unwrap().0.parse().unwrap();
    assert!(used < 0.5, "{said}");
}

async fn files_are_bounded(cx: Fixture) {
    let folder = tempfile::tempdir().unwrap();
    let quota = Quota { file_bytes: Some(MIB), ..Quota::default() };
    let job = Job { cwd: folder.path().to_owned(), ..with(quota, "head -c 2M /dev/zero >f; stat -c %s f") };
    let finished = cx.run(job).await.unwrap();
    assert_eq!(finished.stdout.bytes, b"1048576\n", "{finished:?}");
}

async fn what_is_within_its_quota_runs(cx: Fixture) {
    // Not by process here: the address space of a shell is larger than what it uses.
    let quota = Quota { memory_bytes: Some(512 * MIB), processes: None, ..Quota::CONFINED };
    let finished = cx.run(with(quota, &format!("{}; exit 7", eat(8)))).await.unwrap();
    let Finished { ending, exhausted, .. } = &finished;
    assert_eq!((*ending, *exhausted), (Ending::Exited { code: 7 }, Exhausted::default()), "{finished:?}");
    assert_eq!(finished.stdout.bytes, b"8388608\n");
}

async fn a_supervisor_outlives_a_job_that_had_too_little(cx: Fixture) {
    let parent = async || cx.sh("echo $PPID").await.stdout.bytes;
    let before = parent().await;
    let quota = Quota { memory_bytes: Some(64 * MIB), ..Quota::default() };
    cx.run(with(quota, &eat(200))).await.unwrap();
    assert_eq!(parent().await, before);
    // And nothing of its quota is left to the next.
    let finished = cx.sh(&eat(100)).await;
    assert_eq!(finished.ending, Ending::Exited { code: 0 }, "{finished:?}");
}

async fn a_quota_takes_no_privilege(cx: Fixture) {
    let quota = Quota { file_bytes: Some(MIB), processes: Some(1_000), ..Quota::default() };
    let script =
        "grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status; cat /proc/self/oom_score_adj; umask";
    let (bounded, free) = (cx.run(with(quota, script)).await.unwrap(), cx.sh(script).await);
    assert_eq!(bounded.stdout.bytes, free.stdout.bytes);
    let said = String::from_utf8_lossy(&free.stdout.bytes).into_owned();
    assert!(said.contains("NoNewPrivs:\t0\n") && said.contains("Seccomp:\t0\n"), "{said}");
}

async fn what_cannot_start_is_refused_under_a_quota_too(cx: Fixture) {
    let quota = Quota { file_bytes: Some(MIB), ..Quota::default() };
    let of = |program: &str, cwd: &str| {
        let (program, cwd) = (program.to_owned(), cwd.into());
        cx.run(Job { program, cwd, ..with(quota, "exit 0") })
    };
    for program in ["no-such-program", "/etc/no-such-program"] {
        let error = of(program, "/").await.unwrap_err();
        assert!(
            matches!(&error, ExecError::ProgramNotFound { program: named } if named == program),
            "{error:?}"
        );
    }
    let error = of("/etc/passwd", "/").await.unwrap_err();
    assert!(matches!(error, ExecError::PermissionDenied { .. }), "{error:?}");
    let error = of("sh", "/no-such-folder").await.unwrap_err();
    assert!(matches!(error, ExecError::WorkingDirNotFound { .. }), "{error:?}");
    assert_eq!(of("sh", "/").await.unwrap().ending, Ending::Exited { code: 0 });
}

async fn only_the_given_environment_arrives_under_a_quota_too(cx: Fixture) {
    let quota = Quota { file_bytes: Some(MIB), ..Quota::default() };
    let env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("ODD".to_owned(), "a\n=b".to_owned())];
    let (program, args) = ("env".to_owned(), vec!["-0".to_owned()]);
    let finished = cx.run(Job { program, args, env, ..with(quota, "") }).await.unwrap();
    assert_eq!(finished.stdout.bytes, b"ODD=a\n=b\0PATH=/usr/bin:/bin\0");
}
