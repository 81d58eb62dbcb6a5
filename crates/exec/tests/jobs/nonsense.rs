//! What a supervisor or a stage does that isn't talked to as it should be: it starts nothing, and leaves.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[expect(clippy::disallowed_methods, reason = "a supervisor is started as its server starts it")]
fn start(args: &[&str], control: Stdio) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
    command.args(args).env_clear().stdin(control).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Says this to such a process, keeps the socket open, and waits for its end: whether that was a success, and
/// what it answered.
fn tell(args: &[&str], words: &[u8]) -> (bool, String) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut child = start(args, OwnedFd::from(theirs).into());
    ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    ours.write_all(words).unwrap();
    let mut answer = Vec::new();
    let read = ours.read_to_end(&mut answer);
    // If it doesn't leave by itself.
    drop(ours);
    read.unwrap();
    (child.wait().unwrap().success(), String::from_utf8_lossy(&answer).into_owned())
}

fn frame(json: &str) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap();
    [&length.to_le_bytes()[..], json.as_bytes()].concat()
}

/// What starts `touch` with this file.
fn touch(file: &Path) -> String {
    let file = file.display();
    format!(
        r#"{{"program":"touch","args":["{file}"],"env":[["PATH","/usr/bin:/bin"]],"cwd":{{"Unix":[47]}},"cgroup":null,"stage":null}}"#
    )
}

#[test]
fn a_supervisor_leaves_a_server_that_it_does_not_understand() {
    let too_long = u32::MAX.to_le_bytes().to_vec();
    for words in [too_long, frame("{]"), frame("\"Dance\""), frame("{\"Start\":{}}")] {
        assert_eq!(tell(&[], &words), (true, String::new()), "{words:?}");
    }
}

#[test]
fn a_supervisor_leaves_when_it_is_told_to() {
    assert_eq!(tell(&[], &frame("\"Release\"")), (true, String::new()));
}

#[test]
fn a_supervisor_starts_nothing_that_has_no_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let start = frame(&format!("{{\"Start\":{}}}", touch(&file)));
    assert_eq!(tell(&[], &start), (true, String::new()));
    assert!(!file.exists());
}

#[test]
fn without_a_socket_there_is_no_supervisor() {
    assert!(!start(&[], Stdio::null()).wait().unwrap().success());
}

#[test]
fn a_stage_says_that_it_does_not_understand() {
    for role in ["stage=outer", "stage=bare", "stage=inner"] {
        for words in [u32::MAX.to_le_bytes().to_vec(), frame("{]"), frame("{}")] {
            let (is_success, answer) = tell(&[role], &words);
            let is_told = answer.contains("\"NotStarted\"") && answer.contains("\"Isolate\"");
            assert!(!is_success && is_told, "{role}: {words:?}: {answer}");
        }
    }
}

#[test]
fn a_stage_that_is_to_confine_starts_nothing_without_a_fence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let stage = r#"{"cgroups":[],"rlimits":{"core_bytes":null,"open_files":null,"file_bytes":null,"address_bytes":null,"processes":null},"confinement":null,"probe":null}"#;
    let words = [frame(stage), frame(&touch(&file))].concat();
    let (is_success, answer) = tell(&["stage=inner"], &words);
    let is_told = answer.contains("\"NotStarted\"") && answer.contains("\"Isolate\"");
    assert!(!is_success && is_told, "{answer}");
    assert!(!file.exists());
}
