//! F8: what happens between the gateway and a server that runs elsewhere.

use std::time::{Duration, Instant};

use hayward_testkit::certificates::{Authority, Times};
use hayward_testkit::chaos::Fault;
use hayward_testkit::daemon::Daemon;

use crate::rig::PATIENCE;
use crate::yard::{Called, TIMEOUT_S, Yard};

/// How much later than its timeout a call may end on a machine that is busy with other tests.
const LATE: Duration = Duration::from_millis(1_500);

/// What a call of a healthy server may take on such a machine, in the middle.
const USUAL: Duration = Duration::from_millis(250);

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

async fn times(yard: &Yard, server: &str, count: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for n in 0..count {
        let mark = format!("{server}{n}");
        let called = yard.call(server, Fault::None, &mark).await;
        assert!(called.is_answer(&mark), "{called:?}");
        times.push(called.took);
    }
    times
}

#[tokio::test]
async fn f8_whatever_becomes_of_a_connection_its_call_ends_in_time_and_no_other_is_slower() {
    let yard = Yard::new(&["far", "beside"]).await;
    let _far = yard.http("far", &[]).await;
    let _beside = yard.http("beside", &["--modern"]).await;
    yard.answers("far").await;
    yard.answers("beside").await;
    let alone = middle(times(&yard, "beside", 40).await);
    let timeout = Duration::from_secs(TIMEOUT_S);
    for fault in Fault::OF_HTTP.into_iter().chain([Fault::Silent]) {
        let marks: Vec<String> = (0..3).map(|n| format!("{fault:?}{n}")).collect();
        let failing = futures_util::future::join_all(marks.iter().map(|mark| yard.call("far", fault, mark)));
        let (failed, beside) = tokio::join!(failing, times(&yard, "beside", 20));
        for called in &failed {
            assert!(called.is_error() && called.took <= timeout + LATE, "{fault:?}: {called:?}");
        }
        let is_early = |called: &&Called| fault == Fault::Silent && called.took < timeout;
        assert!(!failed.iter().any(|called| is_early(&called)), "{failed:?}");
        let longest = failed.iter().map(|called| called.took).max().unwrap();
        println!("{fault:?}: {longest:?}; beside {:?}, alone {alone:?}", middle(beside.clone()));
        assert!(middle(beside) <= USUAL, "{fault:?}");
        yard.answers("far").await;
    }
}

#[tokio::test]
async fn f8_a_server_that_is_gone_is_left_alone_and_found_again() {
    let yard = Yard::new(&["far"]).await;
    let mut far = yard.http("far", &[]).await;
    yard.answers("far").await;
    far.kill();
    let started = Instant::now();
    let left = loop {
        let called = yard.call("far", Fault::None, "gone").await;
        assert!(called.is_error(), "{called:?}");
        if called.text().contains("left alone") {
            break called;
        }
        assert!(started.elapsed() < PATIENCE, "{called:?}");
    };
    // Nobody waits for a timeout any more.
    assert!(left.took < Duration::from_millis(500), "{left:?}");
    far.start_again().unwrap();
    yard.answers("far").await;
}

#[tokio::test]
async fn f8_a_server_that_is_not_there_or_not_who_it_should_be_says_so_and_is_not_spoken_to() {
    let yard = Yard::new(&["nowhere", "garbage", "stranger", "beside"]).await;
    let beside = yard.http("beside", &[]).await;
    yard.at("nowhere", "http://nowhere.invalid/mcp", TIMEOUT_S).await;
    // It speaks, but no TLS.
    yard.at("garbage", &format!("https://127.0.0.1:{}/mcp", beside.port), TIMEOUT_S).await;
    // It speaks TLS, and nobody that we trust knows it.
    let folder = tempfile::tempdir().unwrap();
    let pair = Authority::new("nobody").unwrap().issue(folder.path(), "own", Times::Now).unwrap();
    let files = [pair.certificate.display().to_string(), pair.key.display().to_string()];
    let tls = ["--tls-cert", &files[0], "--tls-key", &files[1]];
    let stranger = Daemon::start(env!("CARGO_BIN_EXE_hayward"), &folder.path().join("data"), &tls).unwrap();
    yard.at("stranger", &format!("https://localhost:{}/mcp", stranger.address.port()), TIMEOUT_S).await;
    yard.answers("beside").await;
    for server in ["nowhere", "garbage", "stranger"] {
        let called: Called = yard.call(server, Fault::None, server).await;
        let why = yard
            .rig
            .until(&format!("servers/{server}"), |it| it["status"].to_string().contains("False"))
            .await;
        println!("{server}: {} {}", called.text(), why["status"]);
        assert!(!called.is_answer(server), "{called:?}");
    }
    assert!(yard.call("beside", Fault::None, "well").await.is_answer("well"));
}
