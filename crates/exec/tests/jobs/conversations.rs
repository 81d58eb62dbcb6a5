//! Jobs that are talked to: what goes in comes to them, what they say comes out, and their end is the end of all of them.

use std::time::Duration;

use hayward_exec::{Choice, Confined, Conversation, Ending, ExecError, Finished, Job, Profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, alive, config, marker, sh, until, with_config};

crate::in_both_containments! {
    what_is_said_is_heard_and_answered
    a_confined_job_is_talked_to_as_well
    the_end_of_its_input_is_the_end_of_a_job_that_reads_it
    whatever_it_started_ends_with_it
    cancelling_ends_it
    who_lets_go_of_it_ends_it
    what_cannot_start_says_so_at_its_end
    a_large_message_comes_whole
}

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn converse(cx: &Fixture, job: Job) -> Conversation {
    cx.executor.converse(job, &CancellationToken::new()).unwrap()
}

async fn ended(conversation: Conversation) -> Result<Finished, ExecError> {
    timeout(PATIENCE, conversation.finished).await.unwrap()
}

/// How it ends once nobody has anything more to say to it.
async fn over(conversation: Conversation) -> Result<Finished, ExecError> {
    let Conversation { input, output: _output, stderr: _stderr, finished } = conversation;
    drop(input);
    timeout(PATIENCE, finished).await.unwrap()
}

/// Says a line, and hears one.
async fn ask(conversation: &mut Conversation, line: &str) -> String {
    conversation.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while heard.last() != Some(&b'\n') {
        let byte = timeout(PATIENCE, conversation.output.read_u8()).await.unwrap();
        heard.push(byte.unwrap());
    }
    String::from_utf8(heard).unwrap().trim_end().to_owned()
}

const ECHO: &str = "echo ready >&2; while read -r line; do echo \"heard $line\"; done; exit 7";

async fn what_is_said_is_heard_and_answered(cx: Fixture) {
    let mut conversation = converse(&cx, sh(ECHO));
    for line in ["a", "b c"] {
        assert_eq!(ask(&mut conversation, line).await, format!("heard {line}"));
    }
    let mut said = [0; 6];
    conversation.stderr.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"ready\n");
    // It is none of the jobs that are run.
    assert_eq!(cx.executor.running(), 0);
    assert_eq!(over(conversation).await.unwrap().ending, Ending::Exited { code: 7 });
}

async fn a_confined_job_is_talked_to_as_well(cx: Fixture) {
    // Not in a place that only the owner of the build may enter.
    let dir = tempfile::Builder::new().prefix("confined").tempdir_in("/var/tmp").unwrap();
    let confined = Confined { read_write: vec![dir.path().to_owned()], ..Confined::default() };
    let job = Job { profile: Profile::Confined(confined), cwd: dir.path().to_owned(), ..sh(ECHO) };
    let mut conversation = converse(&cx, job);
    assert_eq!(ask(&mut conversation, "x").await, "heard x");
    assert_eq!(over(conversation).await.unwrap().ending, Ending::Exited { code: 7 });
}

async fn the_end_of_its_input_is_the_end_of_a_job_that_reads_it(cx: Fixture) {
    let mut conversation = converse(&cx, sh("cat"));
    conversation.input.write_all(b"to the end").await.unwrap();
    let Conversation { input, mut output, finished, stderr: _stderr } = conversation;
    drop(input);
    let mut heard = String::new();
    timeout(PATIENCE, output.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, "to the end");
    assert_eq!(timeout(PATIENCE, finished).await.unwrap().unwrap().ending, Ending::Exited { code: 0 });
}

async fn whatever_it_started_ends_with_it(cx: Fixture) {
    let sleep = marker();
    let mut conversation = converse(&cx, sh(&format!("setsid sleep {sleep} & read line; echo bye")));
    // The shell has it in its own command line.
    until("it runs", || alive(&sleep) == 2).await;
    assert_eq!(ask(&mut conversation, "go").await, "bye");
    let finished = ended(conversation).await.unwrap();
    assert_eq!((finished.ending, finished.survivors.len()), (Ending::Exited { code: 0 }, 1));
    assert_eq!(alive(&sleep), 0);
}

async fn cancelling_ends_it(cx: Fixture) {
    let (sleep, cancel) = (marker(), CancellationToken::new());
    let conversation = cx.executor.converse(sh(&format!("sleep {sleep}")), &cancel).unwrap();
    until("it runs", || alive(&sleep) > 0).await;
    cancel.cancel();
    assert_eq!(ended(conversation).await.unwrap().ending, Ending::Cancelled);
    assert_eq!(alive(&sleep), 0);
}

async fn who_lets_go_of_it_ends_it(cx: Fixture) {
    let sleep = marker();
    let conversation = converse(&cx, sh(&format!("sleep {sleep}")));
    until("it runs", || alive(&sleep) > 0).await;
    drop(conversation);
    until("it is ended", || alive(&sleep) == 0).await;
}

async fn what_cannot_start_says_so_at_its_end(cx: Fixture) {
    let job = Job { program: "/nonexistent/server".to_owned(), ..sh("") };
    let mut conversation = converse(&cx, job);
    let mut heard = Vec::new();
    timeout(PATIENCE, conversation.output.read_to_end(&mut heard)).await.unwrap().unwrap();
    let told = ended(conversation).await;
    assert!(matches!(told, Err(ExecError::ProgramNotFound { .. })), "{told:?}");
    let refused = cx.executor.converse(Job { cwd: "here".into(), ..sh("cat") }, &CancellationToken::new());
    assert!(matches!(refused, Err(ExecError::WorkingDirRelative { .. })), "{refused:?}");
}

async fn a_large_message_comes_whole(cx: Fixture) {
    const BYTES: usize = 8 << 20;
    let Conversation { mut input, mut output, finished, stderr: _stderr } = converse(&cx, sh("cat"));
    let writing = async move {
        input.write_all(&vec![b'x'; BYTES]).await.unwrap();
        drop(input);
    };
    let mut heard = Vec::new();
    let (read, ()) = tokio::join!(output.read_to_end(&mut heard), writing);
    assert_eq!((read.unwrap(), heard.iter().all(|byte| *byte == b'x')), (BYTES, true));
    assert_eq!(timeout(PATIENCE, finished).await.unwrap().unwrap().ending, Ending::Exited { code: 0 });
}

#[tokio::test]
async fn more_of_them_than_may_be_are_refused_and_none_after_the_end() {
    let mut config = config(Choice::Subreaper);
    config.limits.conversations_max = 1;
    with_config(config, async |cx: Fixture| {
        let first = converse(&cx, sh("cat"));
        let refused = cx.executor.converse(sh("cat"), &CancellationToken::new());
        assert!(matches!(refused, Err(ExecError::TooManyConversations { max: 1 })), "{refused:?}");
        // The place of one that has ended is another's.
        over(first).await.unwrap();
        let first = converse(&cx, sh("cat"));
        // Others are run meanwhile.
        assert_eq!(cx.sh("exit 3").await.ending, Ending::Exited { code: 3 });
        cx.executor.shutdown(Duration::from_millis(300)).await;
        assert_eq!(ended(first).await.unwrap().ending, Ending::Cancelled);
        let refused = cx.executor.converse(sh("cat"), &CancellationToken::new());
        assert!(matches!(refused, Err(ExecError::ShuttingDown)), "{refused:?}");
    })
    .await;
}
