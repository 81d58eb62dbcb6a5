//! What can't run is refused, and says why.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hayward_exec::{Choice, Ending, ExecError, Job};

use crate::fixture::{Fixture, as_nobody, config, marker, sh, sh_for, until, with_config};

crate::in_both_containments! {
    working_directories_that_cannot_be
    working_directories_of_any_bytes
    programs_that_cannot_be
    nul_bytes
    arguments_that_are_too_long
    a_refused_job_costs_no_supervisor
    nothing_starts_after_the_end
}

macro_rules! assert_refused {
    ($result:expr, $pattern:pat) => {{
        let error = $result.unwrap_err();
        assert!(matches!(error, $pattern), "{error:?}");
    }};
}

async fn working_directories_that_cannot_be(cx: Fixture) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    fs::write(path.join("file"), "").unwrap();
    let at = |cwd: &str| Job { cwd: path.join(cwd), ..sh("exit 0") };
    assert_refused!(cx.run(at("gone")).await, ExecError::WorkingDirNotFound { .. });
    assert_refused!(cx.run(at("file")).await, ExecError::NotADirectory { .. });
    assert_refused!(cx.run(at("file/below")).await, ExecError::NotADirectory { .. });
    let relative = Job { cwd: "tmp".into(), ..sh("exit 0") };
    assert_refused!(cx.run(relative).await, ExecError::WorkingDirRelative { .. });
    assert_eq!(cx.run(at("")).await.unwrap().ending, Ending::Exited { code: 0 });
}

async fn working_directories_of_any_bytes(cx: Fixture) {
    let folder = tempfile::tempdir().unwrap();
    let cwd = folder.path().join(OsStr::from_bytes(b"\xff \n'"));
    fs::create_dir(&cwd).unwrap();
    let finished = cx.run(Job { cwd: cwd.clone(), ..sh("pwd") }).await.unwrap();
    let said = finished.stdout.bytes.strip_suffix(b"\n").unwrap();
    assert_eq!(said, cwd.canonicalize().unwrap().as_os_str().as_bytes());
}

async fn programs_that_cannot_be(cx: Fixture) {
    let run = |program: &str| cx.run(Job { program: program.to_owned(), ..sh("exit 0") });
    assert_refused!(run("no-such-program").await, ExecError::ProgramNotFound { .. });
    assert_refused!(run("/bin/no-such-program").await, ExecError::ProgramNotFound { .. });
    assert_refused!(run("").await, ExecError::ProgramNotFound { .. });
    assert_refused!(run("/etc/passwd").await, ExecError::PermissionDenied { .. });
    assert_refused!(run("/etc").await, ExecError::PermissionDenied { .. });
    let no_path = Job { env: vec![], ..sh("exit 0") };
    assert_refused!(cx.run(no_path).await, ExecError::ProgramNotFound { .. });
}

async fn nul_bytes(cx: Fixture) {
    let nul = || "a\0b".to_owned();
    for job in [
        Job { program: nul(), ..sh("") },
        Job { args: vec![nul()], ..sh("") },
        Job { env: vec![("A".to_owned(), nul())], ..sh("") },
        Job { env: vec![(nul(), "A".to_owned())], ..sh("") },
        Job { cwd: "/a\0b".into(), ..sh("") },
    ] {
        assert_refused!(cx.run(job).await, ExecError::NulByte { .. });
    }
}

async fn arguments_that_are_too_long(cx: Fixture) {
    let long = |bytes: usize| sh(&format!(": {}", "x".repeat(bytes)));
    assert_refused!(cx.run(long(200 << 10)).await, ExecError::ArgumentsTooLong);
    assert_refused!(cx.run(long(10 << 20)).await, ExecError::ArgumentsTooLong);
    let many = Job { args: vec!["x".repeat(100_000); 70], ..sh("") };
    assert_refused!(cx.run(many).await, ExecError::ArgumentsTooLong);
    assert_eq!(cx.run(long(100 << 10)).await.unwrap().ending, Ending::Exited { code: 0 });
    let many = Job { program: "true".to_owned(), args: vec!["x".repeat(100_000); 15], ..sh("") };
    assert_eq!(cx.run(many).await.unwrap().ending, Ending::Exited { code: 0 });
}

async fn a_refused_job_costs_no_supervisor(cx: Fixture) {
    let parent = async || cx.sh("echo $PPID").await.stdout.bytes;
    let first = parent().await;
    for _ in 0..10 {
        let job = Job { program: "no-such-program".to_owned(), ..sh("") };
        assert_refused!(cx.run(job).await, ExecError::ProgramNotFound { .. });
    }
    assert_eq!(parent().await, first);
}

async fn nothing_starts_after_the_end(cx: Fixture) {
    cx.executor.shutdown(Duration::ZERO).await;
    assert_refused!(cx.run(sh("exit 0")).await, ExecError::ShuttingDown);
}

#[tokio::test]
async fn a_working_directory_without_permission() {
    let folder = tempfile::tempdir().unwrap();
    let Some(config) = as_nobody(&folder, &[]) else {
        return;
    };
    let cwd = folder.path().join("closed");
    fs::create_dir(&cwd).unwrap();
    fs::set_permissions(&cwd, fs::Permissions::from_mode(0o700)).unwrap();
    with_config(config, async |cx: Fixture| {
        for cwd in [cwd.clone(), cwd.join("below")] {
            let job = Job { cwd, ..sh("exit 0") };
            assert_refused!(cx.run(job).await, ExecError::PermissionDenied { .. });
        }
        assert_eq!(cx.sh("exit 4").await.ending, Ending::Exited { code: 4 });
    })
    .await;
}

#[tokio::test]
async fn no_room_for_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let before = ["/usr/bin/prlimit", "--nproc=1"];
    let Some(config) = as_nobody(&folder, &before) else {
        return;
    };
    with_config(config, async |cx: Fixture| {
        assert_refused!(cx.run(sh("exit 0")).await, ExecError::TooManyProcesses { .. });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_and_places_are_limited() {
    let mut config = config(Choice::Subreaper);
    (config.limits.jobs_max, config.limits.waiting_max) = (1, 1);
    with_config(config, async |cx: Fixture| {
        let sleep = marker();
        let first = tokio::spawn({
            let (cx, job) = (cx.clone(), sh_for(&format!("sleep {sleep}"), Duration::from_secs(2)));
            async move { cx.run(job).await }
        });
        until("the first runs", || cx.executor.running() == 1).await;
        // One may wait, and its deadline is kept while it does.
        let short = Duration::from_millis(100);
        let (second, third) = tokio::join!(cx.run(sh_for("exit 0", short)), cx.run(sh("exit 0")));
        assert_eq!(second.unwrap().ending, Ending::TimedOut);
        assert_refused!(third, ExecError::Busy { .. });
        assert_eq!(first.await.unwrap().unwrap().ending, Ending::TimedOut);
        assert_eq!(cx.sh("exit 0").await.ending, Ending::Exited { code: 0 });
    })
    .await;
}

#[tokio::test]
async fn a_supervisor_that_never_answers() {
    let mut config = config(Choice::Detect);
    config.supervisor.program = "/bin/cat".into();
    with_config(config, async |cx: Fixture| {
        let finished = cx.run(sh_for("exit 0", Duration::from_millis(100))).await.unwrap();
        assert_eq!(finished.ending, Ending::TimedOut);
    })
    .await;
}

#[tokio::test]
async fn a_supervisor_that_cannot_be_started() {
    for program in ["/no/such/program", "/bin/true"] {
        let mut config = config(Choice::Detect);
        config.supervisor.program = program.into();
        with_config(config, async |cx: Fixture| {
            let error = cx.run(sh_for("exit 0", Duration::from_secs(3))).await.unwrap_err();
            let is_expected = matches!(error, ExecError::SupervisorFailed { .. } | ExecError::SupervisorLost);
            assert!(is_expected, "{program}: {error:?}");
        })
        .await;
    }
}
