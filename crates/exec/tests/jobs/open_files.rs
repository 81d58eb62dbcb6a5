//! A server may open as many files as it can; its jobs get what it had before.

use hayward_exec::{Choice, raise_open_files};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fixture::{Fixture, with};

#[tokio::test]
async fn a_job_may_open_as_many_files_as_its_server_could_before_it_raised_that() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(333), ..limit }).unwrap();
    assert_eq!(raise_open_files(), limit.maximum);
    assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
    // Once more changes nothing of what was before.
    assert_eq!(raise_open_files(), limit.maximum);
    with(Choice::Subreaper, async |cx: Fixture| {
        let finished = cx.sh("ulimit -Sn").await;
        assert_eq!(finished.stdout.bytes, b"333\n");
        let finished = cx.sh("ulimit -Hn").await;
        let hard = limit.maximum.map_or("unlimited".to_owned(), |maximum| maximum.to_string());
        assert_eq!(String::from_utf8_lossy(&finished.stdout.bytes).trim(), hard);
    })
    .await;
}
