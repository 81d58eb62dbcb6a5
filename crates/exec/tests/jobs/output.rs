//! What is kept of a job's output, and what is counted.

use hayward_exec::{Ending, Job};

use crate::fixture::{Fixture, sh};

crate::in_both_containments! {
    what_fits_is_kept_as_a_whole
    what_does_not_fit_is_counted
    both_pipes_at_once
    nothing_kept_is_all_counted
    standard_input_is_empty
    only_the_given_environment_arrives
}

const MEGABYTE: u64 = 1 << 20;

async fn what_fits_is_kept_as_a_whole(cx: Fixture) {
    for size in [0, 1, 4095, 4096, 65_537, MEGABYTE, 2 * MEGABYTE] {
        let script = format!("head -c {size} /dev/zero");
        let finished = cx.run(Job { stdout_bytes_max: 2 << 20, ..sh(&script) }).await.unwrap();
        assert_eq!(finished.stdout.bytes.len() as u64, size);
        assert_eq!(finished.stdout.bytes_total, size);
        assert!(!finished.stdout.is_truncated());
    }
}

async fn what_does_not_fit_is_counted(cx: Fixture) {
    let finished = cx.sh("yes | head -c 100M; echo end >&2").await;
    assert_eq!(finished.ending, Ending::Exited { code: 0 });
    assert_eq!(finished.stdout.bytes, b"y\n".repeat(2048));
    assert_eq!(finished.stdout.bytes_total, 100 * MEGABYTE);
    assert!(finished.stdout.is_truncated());
    assert!(finished.stdout.bytes.capacity() < 65_536, "memory is bounded by what is kept");
    assert_eq!(finished.stderr.bytes, b"end\n");
}

async fn both_pipes_at_once(cx: Fixture) {
    let finished = cx.sh("yes o | head -c 20M & yes e | head -c 20M >&2; wait").await;
    for (stream, start) in [(finished.stdout, b"o\n"), (finished.stderr, b"e\n")] {
        assert_eq!(stream.bytes, start.repeat(2048));
        assert_eq!(stream.bytes_total, 20 * MEGABYTE);
    }
}

async fn nothing_kept_is_all_counted(cx: Fixture) {
    let job = Job { stdout_bytes_max: 0, ..sh("echo 12345") };
    let finished = cx.run(job).await.unwrap();
    assert_eq!((finished.stdout.bytes.len(), finished.stdout.bytes_total), (0, 6));
}

async fn standard_input_is_empty(cx: Fixture) {
    let finished = cx.sh("cat; readlink /proc/self/fd/0; ls /proc/self/fd | tr '\\n' ' '").await;
    let said = String::from_utf8(finished.stdout.bytes).unwrap();
    // The fourth is the folder that `ls` reads.
    assert_eq!(said, "/dev/null\n0 1 2 3 ");
}

async fn only_the_given_environment_arrives(cx: Fixture) {
    let env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("ODD".to_owned(), "a\n=b".to_owned())];
    let program = "env".to_owned();
    let finished = cx.run(Job { program, args: vec!["-0".to_owned()], env, ..sh("") }).await.unwrap();
    assert_eq!(finished.stdout.bytes, b"ODD=a\n=b\0PATH=/usr/bin:/bin\0");
    let finished = cx.sh("tr '\\0' '\\n' < /proc/$PPID/environ").await;
    assert_eq!(finished.stdout.bytes, b"", "the supervisor has an environment");
}
