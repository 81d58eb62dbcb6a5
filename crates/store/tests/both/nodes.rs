//! Several nodes on one database, and many who write at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hayward_api::Code;
use hayward_api::kinds::token::Role;
use hayward_store::{Deletion, ListScope, Store, StoreError, examine, read_tokens};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::home::{Home, actor, both, create, execute, key, kind, wanted};

both! {
    no_update_is_lost_and_no_change_is_missed
    a_status_that_any_node_writes_is_told_to_whoever_watches
}

/// The nodes: two where the database can have two.
async fn nodes(home: &Home) -> Vec<Store> {
    let first = home.open().await;
    match home.url {
        Some(_) => vec![first, home.open().await],
        None => vec![first.clone(), first],
    }
}

async fn count_up(store: Store, name: &'static str, times: u64) {
    let mut done = 0;
    while done < times {
        let found = store.get(&key("server", name)).await.unwrap();
        let mut desired = wanted("server", name, found.spec.clone());
        let count: u64 = found.metadata.labels.get("count").map_or(0, |count| count.parse().unwrap());
        desired.labels.insert("count".into(), (count + 1).to_string());
        let at = found.metadata.resource_version;
        match store.update(&key("server", name), Some(at), &desired, &actor()).await {
            Ok(_) => done += 1,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => unreachable!("{error:?}"),
        }
    }
}

async fn a_status_that_any_node_writes_is_told_to_whoever_watches(home: &Home) {
    let nodes = nodes(home).await;
    let kind = kind("server");
    let made = create(&nodes[0], "server", "a", json!({"command": ["x"]})).await;
    let uid = made.metadata.uid.as_str();
    // Other nodes are heard while somebody watches.
    let _watch = nodes[0].watch(nodes[0].revision().await.unwrap()).await.unwrap();
    let mut told = nodes[0].status_changes();
    let mut before = nodes[0].statuses(kind).await.unwrap();
    assert!(before.is_empty());
    for (node, phase) in [(0, "STARTING"), (1, "RUNNING"), (1, "ERROR")] {
        // Until the connection that hears stands, what is written is found by looking.
        let until = Instant::now() + Duration::from_secs(20);
        told.mark_unchanged();
        nodes[node].put_status(uid, 1, &json!({ "phase": phase })).await.unwrap();
        timeout(Duration::from_secs(20), told.changed()).await.expect("it is told").unwrap();
        let after = loop {
            let after = nodes[0].statuses(kind).await.unwrap();
            if after != before || Instant::now() > until {
                break after;
            }
            sleep(Duration::from_millis(20)).await;
        };
        assert_ne!(after, before, "{phase}");
        assert_eq!(nodes[0].status(uid).await.unwrap().unwrap().status["phase"], phase);
        before = after;
    }
    // The same once again is no news.
    told.mark_unchanged();
    nodes[1].put_status(uid, 1, &json!({"phase": "ERROR"})).await.unwrap();
    assert_eq!(nodes[0].statuses(kind).await.unwrap(), before);
    assert!(nodes[0].statuses(self::kind("project")).await.unwrap().is_empty());
}

async fn no_update_is_lost_and_no_change_is_missed(home: &Home) {
    let nodes = nodes(home).await;
    create(&nodes[0], "server", "shared", json!({"command": ["x"]})).await;
    let from = nodes[0].revision().await.unwrap();
    let mut watches = Vec::new();
    for node in &nodes {
        watches.push(node.watch(from).await.unwrap());
    }
    let mut writers = Vec::new();
    for node in 0..8 {
        writers.push(tokio::spawn(count_up(nodes[node % 2].clone(), "shared", 5)));
    }
    // One that takes its time between its first write and its end.
    let slow = nodes[1].clone();
    writers.push(tokio::spawn(async move {
        for name in ["slow1", "slow2"] {
            let mut change = slow.begin().await.unwrap();
            change.create(&wanted("server", name, json!({"command": ["x"]})), &actor()).await.unwrap();
            sleep(Duration::from_millis(300)).await;
            change.commit().await.unwrap();
        }
    }));
    for writer in writers {
        writer.await.unwrap();
    }
    let shared = nodes[1].get(&key("server", "shared")).await.unwrap();
    assert_eq!(shared.metadata.labels["count"], "40");
    let last = nodes[0].revision().await.unwrap();
    assert_eq!(last, from + 42);
    for watch in &mut watches {
        let mut seen = BTreeMap::new();
        for revision in from + 1..=last {
            let change = timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap();
            assert_eq!(change.revision, revision);
            *seen.entry(change.name.clone()).or_insert(0) += 1;
        }
        assert_eq!((seen["shared"], seen["slow1"], seen["slow2"]), (40, 1, 1));
    }
    for node in &nodes {
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_elsewhere_is_seen_at_once() {
    let Some(home) = Home::postgres().await else { return };
    let (here, there) = (home.open().await, home.open().await);
    let mut watch = here.watch(here.revision().await.unwrap()).await.unwrap();
    // Until it listens, it only looks now and then.
    create(&there, "secret", "first", json!({"data": {}})).await;
    watch.next().await.unwrap();
    let begun = Instant::now();
    create(&there, "secret", "second", json!({"data": {}})).await;
    assert_eq!(timeout(Duration::from_secs(5), watch.next()).await.unwrap().unwrap().name, "second");
    assert!(
        begun.elapsed() < Duration::from_millis(800),
        "{:?}: it was told, not looked for",
        begun.elapsed()
    );
    here.close().await;
    there.close().await;
    home.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_stuck_ends_as_unavailable_and_then_all_is_well() {
    let Some(home) = Home::postgres().await else { return };
    let (stuck, store) = (home.open().await, home.open().await);
    let change = stuck.begin().await.unwrap();
    let error = store.create(&wanted("secret", "a", json!({"data": {}})), &actor()).await.unwrap_err();
    assert_eq!(hayward_api::Error::from(error).code, Code::Unavailable);
    assert!(store.list(kind("secret"), ListScope::All).await.unwrap().items.is_empty(), "reading goes on");
    drop(change);
    create(&store, "secret", "a", json!({"data": {}})).await;
    stuck.close().await;
    store.close().await;
    home.finish().await;
}

#[tokio::test]
async fn a_password_of_the_database_is_in_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let config = hayward_store::StoreConfig {
        database: Some("postgres://nobody:s3cretPw@127.0.0.1:1/none".parse().unwrap()),
        ..Default::default()
    };
    assert!(!format!("{config:?}").contains("s3cretPw"));
    let error = Store::open(dir.path(), config).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("s3cretPw"));
    let error = hayward_api::Error::from(error);
    assert!(error.code == Code::Unavailable && !format!("{error:?}").contains("s3cretPw"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_a_newer_program_is_refused_on_the_server_too() {
    let Some(home) = Home::postgres().await else { return };
    home.open().await.close().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'future', true, '', 0)";
    execute(home.url.as_ref().unwrap(), newer).await;
    assert!(matches!(home.try_open().await, Err(StoreError::Newer { found: 9999, .. })));
    home.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_somebody_else_s_is_refused_and_stays_as_it_is() {
    let Some(home) = Home::postgres().await else { return };
    let url = home.url.as_ref().unwrap();
    execute(url, "CREATE TABLE foo (id BIGINT)").await;
    let is_foreign = |error: StoreError| matches!(error, StoreError::Foreign { ref table } if table == "foo");
    assert!(is_foreign(home.try_open().await.unwrap_err()));
    let address = url.parse().unwrap();
    assert!(is_foreign(examine(home.dir.path(), Some(&address)).await.unwrap_err()));
    execute(url, "DROP TABLE foo").await;
    home.open().await.close().await;
    execute(url, "CREATE TABLE foo (id BIGINT)").await;
    home.open().await.close().await;
    home.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_on_a_server_is_examined_and_its_tokens_are_read_and_nothing_is_made() {
    let Some(home) = Home::postgres().await else { return };
    let address = home.url.as_ref().unwrap().parse().unwrap();
    let dir = home.dir.path();
    assert_eq!(examine(dir, Some(&address)).await.unwrap(), None);
    assert!(read_tokens(dir, Some(&address)).await.unwrap().is_empty());
    assert_eq!(examine(dir, Some(&address)).await.unwrap(), None, "looking made nothing");
    let store = home.open().await;
    store.create_token("ci", Role::Ro, &actor()).await.unwrap();
    let found = examine(dir, Some(&address)).await.unwrap().unwrap();
    assert!(found.bytes > 0 && found.faults.is_empty());
    let read = read_tokens(dir, Some(&address)).await.unwrap();
    assert_eq!(read.iter().map(|token| token.metadata.name.as_str()).collect::<Vec<_>>(), ["ci"]);
    store.close().await;
    let nowhere = format!("{}_none", home.url.as_ref().unwrap()).parse().unwrap();
    let refused = hayward_api::Error::from(examine(dir, Some(&nowhere)).await.unwrap_err());
    assert!(refused.hint.unwrap().contains("CREATE DATABASE"));
    home.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_start_at_once_on_an_empty_database_both_work() {
    let Some(home) = Home::postgres().await else { return };
    let (one, other) = tokio::join!(home.open(), home.open());
    create(&one, "secret", "a", json!({"data": {"A": "1"}})).await;
    create(&other, "secret", "b", json!({"data": {"B": "2"}})).await;
    other.delete(&key("secret", "a"), None, Deletion::Refuse, &actor()).await.unwrap();
    one.close().await;
    other.close().await;
    home.finish().await;
}
