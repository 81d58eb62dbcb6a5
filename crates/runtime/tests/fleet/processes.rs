//! Instances that are processes.

use std::sync::{Arc, Mutex};

use hayward_mcp::json::Raw;
use hayward_mcp::upstream::{Event, Upstream};
use hayward_runtime::fleet::{Hears, Instance, State};
use hayward_runtime::placement::End;
use serde_json::json;
use tokio::time::timeout;

use crate::rig::{ANSWER, PATIENCE, REFUSE, Rig, call, ended, runs, said, server, wanted};

#[tokio::test]
async fn an_instance_starts_is_picked_and_leaves_nothing_when_it_is_stopped() {
    let rig = Rig::new();
    let mut changed = rig.fleet.changed();
    rig.fleet.start(wanted("a-0", "a", &server(REFUSE, ANSWER)));
    let instance = rig.fleet.instance("a-0").unwrap();
    assert_eq!(instance.state(), State::Starting);
    assert!(rig.fleet.pick("a").is_none());
    let upstream = runs(&instance).await;
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    let picked = rig.fleet.pick("a").unwrap();
    assert!(Arc::ptr_eq(&picked, &instance) && rig.fleet.pick("b").is_none());
    let in_flight = picked.call();
    call(&upstream).await.unwrap();
    // It waits for the call.
    rig.fleet.stop("a-0");
    assert_eq!(instance.state(), State::Stopping);
    assert!(rig.fleet.pick("a").is_none() && rig.fleet.take("a").is_none());
    assert!(instance.try_call().is_none() && instance.calls() == 1);
    call(&upstream).await.unwrap();
    drop(in_flight);
    assert_eq!(ended(&instance).await, End::Stopped);
    assert!(changed.has_changed().unwrap() && instance.upstream().is_none());
    rig.fleet.forget("a-0");
    assert!(rig.fleet.all().is_empty());
    rig.end().await;
}

#[tokio::test]
async fn calls_go_to_the_copy_that_has_the_least() {
    let rig = Rig::new();
    for (name, replica) in [("a-0", 0), ("a-1", 1)] {
        let wanted = wanted(name, "a", &server(REFUSE, ANSWER));
        rig.fleet.start(hayward_runtime::fleet::Wanted { replica, ..wanted });
        runs(&rig.fleet.instance(name).unwrap()).await;
    }
    let in_flight = rig.fleet.take("a").unwrap();
    let first = Arc::clone(in_flight.instance());
    let second = rig.fleet.pick("a").unwrap();
    assert_ne!(first.name(), second.name());
    let more = [second.call(), second.call()];
    assert_eq!(rig.fleet.pick("a").unwrap().name(), first.name());
    drop((in_flight, more));
    assert_eq!((first.calls(), second.calls()), (0, 0));
    // Of two that have nothing to do, the one that has rested for longest.
    let turns: Vec<String> =
        (0..4).map(|_| rig.fleet.take("a").unwrap().instance().name().to_owned()).collect();
    assert!(turns[0] != turns[1] && turns[0] == turns[2] && turns[1] == turns[3], "{turns:?}");
    rig.end().await;
}

#[tokio::test]
async fn one_that_dies_when_it_is_asked_for_its_era_is_started_anew_and_never_asked_again() {
    let rig = Rig::new();
    let script = server("exit 3", ANSWER);
    rig.fleet.start(wanted("a-0", "a", &script));
    let first = rig.fleet.instance("a-0").unwrap();
    runs(&first).await;
    rig.fleet.start(wanted("a-1", "a", &script));
    let second = rig.fleet.instance("a-1").unwrap();
    runs(&second).await;
    assert_eq!(said(&second), [] as [&str; 0]);
    // In another generation it may be another one.
    let other = wanted("a-2", "a", &server(&format!("echo again >&2; {REFUSE}"), ANSWER));
    rig.fleet.start(hayward_runtime::fleet::Wanted { generation: 2, ..other });
    let third = rig.fleet.instance("a-2").unwrap();
    runs(&third).await;
    assert_eq!(said(&third), ["asked", "again"]);
    rig.end().await;
}

#[tokio::test]
async fn how_an_instance_ended_is_told_and_what_it_said_is_kept() {
    let rig = Rig::new();
    rig.fleet.start(wanted("a-0", "a", &server(REFUSE, "echo out of luck >&2; exit 7")));
    let instance = rig.fleet.instance("a-0").unwrap();
    let upstream = runs(&instance).await;
    assert!(call(&upstream).await.is_err());
    assert_eq!(ended(&instance).await, End::Exited { code: 7 });
    assert!(rig.fleet.pick("a").is_none());
    assert!(rig.fleet.logs("a", None, true).is_none());
    let now = rig.fleet.logs("a", Some(0), false).unwrap();
    rig.fleet.forget("a-0");
    let before = rig.fleet.logs("a", None, true).unwrap();
    assert!(rig.fleet.logs("a", None, false).is_none());
    for log in [now, before] {
        assert_eq!(log.tail(1)[0].text, "out of luck");
    }
    rig.end().await;
}

#[tokio::test]
async fn one_that_cannot_be_spoken_to_ends_with_the_reason() {
    let limits =
        hayward_runtime::Limits { handshake_timeout_ms: 500, probe_timeout_ms: 500, ..Default::default() };
    let rig = Rig::with(limits);
    for (name, spec, expect) in [
        ("silent-0", json!({"command": ["sleep", "3600"]}), "didn't answer `initialize`"),
        ("dead-0", json!({"command": ["sh", "-c", "exit 5"]}), "5"),
        ("none-0", json!({"command": ["/nonexistent"]}), "not found"),
        ("image-0", json!({"dockerImage": "x", "placement": "docker"}), "`docker` is not set up"),
        ("unfit-0", json!({"packageName": "x"}), "package"),
    ] {
        rig.fleet.start(wanted(name, name, &spec));
        let instance = rig.fleet.instance(name).unwrap();
        let end = format!("{:?}", ended(&instance).await);
        assert!(end.contains(expect), "{name}: {end}");
    }
    rig.end().await;
}

/// What was heard.
#[derive(Default)]
struct Heard(Mutex<Vec<(String, String)>>);

impl Hears for Heard {
    fn heard(&self, instance: &Arc<Instance>, upstream: &Arc<Upstream>, event: Event) {
        let what = match &event {
            Event::Request(asked) => asked.request.method.clone(),
            Event::Notification(told) => told.method.clone(),
            Event::Lost => "lost".to_owned(),
        };
        self.0.lock().unwrap().push((instance.name().to_owned(), what));
        if let Event::Request(asked) = event {
            let upstream = Arc::clone(upstream);
            tokio::spawn(async move { upstream.answer(&asked, Ok(Raw::empty_object())).await });
        }
    }
}

/// Asks before it answers, and says what it was told.
const ASK: &str = r#"
say "\"id\":\"q\",\"method\":\"roots/list\""
IFS= read -r told; echo "told: $told" >&2
say "\"id\":$id,\"result\":{\"content\":[]}""#;

#[tokio::test]
async fn what_an_instance_asks_is_answered_whether_or_not_somebody_hears_it() {
    let rig = Rig::new();
    rig.fleet.start(wanted("a-0", "a", &server(REFUSE, ASK)));
    let unheard = rig.fleet.instance("a-0").unwrap();
    call(&*runs(&unheard).await).await.unwrap();
    assert!(said(&unheard).iter().any(|line| line.starts_with("told:") && line.contains("-32601")));
    let heard = Arc::new(Heard::default());
    rig.fleet.heard_by(Arc::<Heard>::clone(&heard));
    rig.fleet.start(wanted("a-1", "a", &server(REFUSE, ASK)));
    let instance = rig.fleet.instance("a-1").unwrap();
    call(&*runs(&instance).await).await.unwrap();
    assert!(said(&instance).iter().any(|line| line.contains(r#""result":{}"#)), "{:?}", said(&instance));
    assert_eq!(*heard.0.lock().unwrap(), [("a-1".to_owned(), "roots/list".to_owned())]);
    rig.end().await;
}

fn resident_mib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4 / 1024
}

#[tokio::test]
async fn a_flood_of_events_costs_no_memory_and_keeps_no_call_from_its_answer() {
    let rig = Rig::new();
    let flood = format!(
        "m=$(head -c 1000 /dev/zero | tr '\\0' x); yes \"{{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"method\\\":\\\"notifications/message\\\",\
         \\\"params\\\":{{\\\"level\\\":\\\"info\\\",\\\"data\\\":\\\"$m\\\"}}}}\" | head -n 200000; {ANSWER}"
    );
    let mut spec = server(REFUSE, &flood);
    spec["resources"] = json!({"cpus": 2.0});
    let heard = Arc::new(Heard::default());
    rig.fleet.start(wanted("a-0", "a", &spec));
    let instance = rig.fleet.instance("a-0").unwrap();
    let upstream = runs(&instance).await;
    let before = resident_mib();
    call(&upstream).await.unwrap();
    let grown = resident_mib().saturating_sub(before);
    // 200 MB were said.
    assert!(grown < 50, "{grown} MiB");
    drop(heard);
    rig.end().await;
}

#[tokio::test]
async fn one_that_does_not_stop_by_itself_is_ended_and_what_comes_after_the_close_never_starts() {
    let rig = Rig::new();
    let deaf = format!("trap '' TERM; {REFUSE}");
    rig.fleet.start(wanted("a-0", "a", &server(&deaf, "echo called >&2; sleep 3600")));
    let instance = rig.fleet.instance("a-0").unwrap();
    let upstream = runs(&instance).await;
    let in_flight = instance.call();
    let calling = tokio::spawn(async move { call(&upstream).await });
    // Before that it said that it was asked for its era.
    let said = timeout(PATIENCE, instance.log().from(1)).await.unwrap();
    assert_eq!(said[0].text, "called");
    timeout(PATIENCE, rig.fleet.close()).await.unwrap();
    assert!(instance.is_ended() && calling.await.unwrap().is_err());
    drop(in_flight);
    rig.fleet.start(wanted("a-1", "a", &server(REFUSE, ANSWER)));
    assert!(matches!(ended(&rig.fleet.instance("a-1").unwrap()).await, End::Stopped));
    rig.end().await;
}
