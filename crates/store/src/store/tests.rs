//! Tests of the store with a real database in a real folder.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use hayward_api::Code;
use hayward_api::fence::tools::{ToolFences, ToolPattern};
use hayward_api::fence::{Fence, Profile};
use hayward_api::kinds::KINDS;
use hayward_api::kinds::token::{DESCRIPTOR, Role, TokenSpec};
use hayward_auth::{Credentials, TokenId};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::history::ChangeKind;
use crate::list::ListScope;

async fn open(dir: &Path) -> Store {
    Store::open(dir, StoreConfig::default()).await.unwrap()
}

async fn fresh() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    (dir, store)
}

fn key(name: &str) -> Key<'_> {
    Key::global(&DESCRIPTOR, name)
}

fn actor() -> Actor {
    Actor::system()
}

async fn count(store: &Store, sql: &'static str) -> i64 {
    query(sql).fetch_one(&store.pools.readers).await.unwrap().at(0).unwrap()
}

/// The last revision of an empty store: what is built in.
fn built() -> u64 {
    KINDS.iter().map(|kind| (kind.builtins)().len() as u64).sum()
}

/// A token that somebody wants.
fn wanted(name: &str, spec: serde_json::Value) -> Desired<'_> {
    Desired::new(&DESCRIPTOR, None, name, spec)
}

async fn create(store: &Store, name: &str, spec: serde_json::Value) -> Result<Resource, StoreError> {
    store.create(&wanted(name, spec), &actor()).await
}

async fn update(store: &Store, name: &str, at: u64, spec: serde_json::Value) -> Result<Resource, StoreError> {
    store.update(&key(name), Some(at), &wanted(name, spec), &actor()).await
}

async fn delete(store: &Store, name: &str) -> Result<Resource, StoreError> {
    store.delete(&key(name), None, Deletion::Refuse, &actor()).await
}

#[tokio::test]
async fn a_resource_is_created_read_updated_and_deleted() {
    let (_dir, store) = fresh().await;
    let made = create(&store, "a", json!({"role": "ro"})).await.unwrap();
    assert_eq!((made.metadata.generation, made.metadata.resource_version), (1, built() + 1));
    assert_eq!(store.get(&key("a")).await.unwrap(), made);
    assert_eq!(store.get(&key(&made.metadata.uid)).await.unwrap(), made);
    let spec = json!({"role": "rw", "enabled": false});
    let updated = update(&store, "a", built() + 1, spec.clone()).await.unwrap();
    assert_eq!((updated.metadata.generation, updated.metadata.resource_version), (2, built() + 2));
    assert_eq!(updated.spec::<TokenSpec>().unwrap().role, Role::Rw);
    assert_eq!(store.list(&DESCRIPTOR, ListScope::System).await.unwrap().items, [updated]);
    assert_eq!(store.list(&DESCRIPTOR, ListScope::Project("p")).await.unwrap().items, []);
    delete(&store, "a").await.unwrap();
    assert!(matches!(store.get(&key("a")).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.revision().await.unwrap(), built() + 3);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_leaves_nothing() {
    let (_dir, store) = fresh().await;
    let good = json!({"role": "ro"});
    create(&store, "a", good.clone()).await.unwrap();
    let again = create(&store, "a", good.clone()).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })));
    for (name, spec) in [("../b", &good), ("b", &json!({"role": "zz"}))] {
        let refused = create(&store, name, spec.clone()).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{name}");
    }
    let missing = update(&store, "b", 1, good.clone()).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    assert!(matches!(delete(&store, "b").await, Err(StoreError::NotFound { .. })));
    assert_eq!(count(&store, "SELECT COUNT(*) FROM history").await.cast_unsigned(), built() + 1);
    assert_eq!(store.revision().await.unwrap(), built() + 1);
}

#[tokio::test]
async fn an_update_of_an_old_version_is_a_conflict() {
    let (_dir, store) = fresh().await;
    create(&store, "a", json!({"role": "ro"})).await.unwrap();
    update(&store, "a", built() + 1, json!({"role": "rw"})).await.unwrap();
    let error = update(&store, "a", built() + 1, json!({"role": "admin"})).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { current, .. } if current == built() + 2), "{error}");
    assert_eq!(hayward_api::Error::from(error).code, Code::Conflict);
}

#[tokio::test]
async fn the_same_spec_changes_nothing() {
    let (_dir, store) = fresh().await;
    let spec = json!({"role": "ro"});
    let made = create(&store, "a", spec.clone()).await.unwrap();
    assert_eq!(update(&store, "a", built() + 1, spec.clone()).await.unwrap(), made);
    assert_eq!(store.revision().await.unwrap(), built() + 1);
}

#[tokio::test]
async fn a_change_that_is_dropped_did_not_happen() {
    let (_dir, store) = fresh().await;
    let mut change = store.begin().await.unwrap();
    change.create(&wanted("a", json!({"role": "ro"})), &actor()).await.unwrap();
    drop(change);
    create(&store, "b", json!({"role": "ro"})).await.unwrap();
    assert!(matches!(store.get(&key("a")).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.revision().await.unwrap(), built() + 1);
}

#[tokio::test]
async fn a_token_is_identified_until_it_is_revoked() {
    let (_dir, store) = fresh().await;
    let (metadata, token) = store.create_token("ci", Role::Ro, &actor()).await.unwrap();
    let (_, admin) = store.create_token("boss", Role::Admin, &actor()).await.unwrap();
    let credentials = Credentials::new();
    credentials.replace(&store.credential_records().await.unwrap());
    let principal = credentials.identify(token.reveal(), 0).unwrap();
    assert_eq!((principal.name.as_str(), principal.role()), ("ci", "ro"));
    assert_eq!(credentials.identify(admin.reveal(), 0).unwrap().role(), "admin");

    let prefix = &token.id().to_string()[..6];
    let revoked = store.revoke_token(prefix, &actor()).await.unwrap();
    assert_eq!(revoked.metadata.uid, metadata.uid);
    credentials.replace(&store.credential_records().await.unwrap());
    assert!(credentials.identify(token.reveal(), 0).is_err());
    assert_eq!(count(&store, "SELECT COUNT(*) FROM credentials").await, 1);
    let again = store.revoke_token(prefix, &actor()).await;
    assert!(matches!(again, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn a_rotated_role_has_one_token_and_the_others_stay() {
    let (_dir, store) = fresh().await;
    let (_, ro) = store.create_token("ci", Role::Ro, &actor()).await.unwrap();
    let (_, first) = store.create_token("grafana", Role::Metrics, &actor()).await.unwrap();
    let (second, _) = store.rotate_role(Role::Metrics, &actor()).await.unwrap();
    let (third, old) = store.rotate_role(Role::Metrics, &actor()).await.unwrap();
    assert_eq!(old.iter().map(|entry| entry.id).collect::<Vec<_>>(), [second.id()]);
    let credentials = Credentials::new();
    credentials.replace(&store.credential_records().await.unwrap());
    assert!(
        credentials.identify(first.reveal(), 0).is_err() && credentials.identify(second.reveal(), 0).is_err()
    );
    assert_eq!(credentials.identify(third.reveal(), 0).unwrap().role(), "metrics");
    assert!(credentials.identify(ro.reveal(), 0).is_ok());
    assert_eq!(store.revoke_role(Role::Metrics, &actor()).await.unwrap().len(), 1);
    assert_eq!(store.revoke_role(Role::Metrics, &actor()).await.unwrap().len(), 0);
    assert_eq!(store.list_tokens().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_fence_travels_with_its_token_and_a_spec_from_before_fences_is_full() {
    let (_dir, store) = fresh().await;
    let fence = Fence { profile: Profile::Confined, roots: vec!["/srv/a".into()], ..Fence::default() };
    let spec = TokenSpec { fence: fence.clone(), ..Role::Rw.into() };
    let (_, confined) = store.create_token("confined", spec, &actor()).await.unwrap();
    let (metadata, old) = store.create_token("old", Role::Rw, &actor()).await.unwrap();
    update(&store, "old", metadata.resource_version, json!({"role": "rw"})).await.unwrap();
    let credentials = Credentials::new();
    credentials.replace(&store.credential_records().await.unwrap());
    assert_eq!(credentials.identify(confined.reveal(), 0).unwrap().fence, fence);
    assert!(credentials.identify(old.reveal(), 0).unwrap().fence.is_default());
    let relative = Fence { roots: vec!["srv".into()], ..fence };
    let refused = store.create_token("bad", TokenSpec { fence: relative, ..Role::Rw.into() }, &actor()).await;
    assert!(matches!(refused.err(), Some(StoreError::Invalid(_))));
}

#[tokio::test]
async fn fences_of_tools_travel_with_their_token_and_unreadable_ones_let_nobody_in() {
    let (_dir, store) = fresh().await;
    let (profile, roots) = (Profile::Confined, vec!["/srv/a".into()]);
    let mut tool_fences = ToolFences::default();
    let tool = ToolPattern::parse("read_*").unwrap();
    tool_fences.add(tool, Fence { profile, roots, ..Fence::default() }).unwrap();
    let spec = TokenSpec { tool_fences: tool_fences.clone(), ..Role::Rw.into() };
    let (_, token) = store.create_token("worker", spec, &actor()).await.unwrap();
    let credentials = Credentials::new();
    credentials.replace(&store.credential_records().await.unwrap());
    assert_eq!(credentials.identify(token.reveal(), 0).unwrap().tool_fences, tool_fences);
    let newer = json!({"role": "rw", "toolFences": {"read_*": {"profile": "confined", "newer": 1}}});
    query("UPDATE resources SET spec = $1")
        .bind(newer.to_string())
        .execute(&store.pools.writer)
        .await
        .unwrap();
    assert!(matches!(store.credential_records().await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn tokens_are_read_whoever_has_the_database_open_and_nothing_is_made() {
    let (dir, store) = fresh().await;
    store.create_token("ci", Role::Ro, &actor()).await.unwrap();
    let names = async || -> Vec<String> {
        let read = crate::read_tokens(dir.path(), None).await.unwrap();
        read.into_iter().map(|token| token.metadata.name.to_string()).collect()
    };
    assert_eq!(names().await, ["ci"]);
    store.close().await;
    assert_eq!(names().await, ["ci"]);
    let none = dir.path().join("none");
    assert!(crate::read_tokens(&none, None).await.unwrap().is_empty() && !none.exists());
}

#[tokio::test]
async fn a_token_that_is_named_like_a_temporary_one_is_refused() {
    let (_dir, store) = fresh().await;
    for reserved in ["temporary-ro", "temporary-rw", "temporary-admin"] {
        let refused = store.create_token(reserved, Role::Ro, &actor()).await.err().unwrap();
        assert!(matches!(&refused, StoreError::Reserved { name } if name == reserved), "{refused}");
        assert!(hayward_api::Error::from(refused).hint.is_some());
    }
    for free in ["temporary", "temporary-x", "temporary-rw-2"] {
        assert!(store.create_token(free, Role::Ro, &actor()).await.is_ok(), "{free}");
    }
}

#[tokio::test]
async fn no_secret_and_no_digest_is_in_the_history() {
    let (dir, store) = fresh().await;
    let (_, token) = store.create_token("ci", Role::Rw, &actor()).await.unwrap();
    let change = store.watch(0).await.unwrap().next().await.unwrap();
    let shown = format!("{change:?}");
    assert!(!shown.contains(token.reveal()) && !shown.contains(token.id().as_str()), "{shown}");
    store.close().await;
    let secret = &token.reveal()[token.reveal().len() - 38..token.reveal().len() - 6];
    for file in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn last_used_only_moves_forward() {
    let (_dir, store) = fresh().await;
    let (_, token) = store.create_token("ci", Role::Ro, &actor()).await.unwrap();
    let stranger = TokenId::parse("AAAAAAAAAAAA").unwrap();
    for (unix, expected) in [(50, 50), (40, 50), (60, 60)] {
        store.flush_last_used(&[(token.id(), unix), (stranger, 1)]).await.unwrap();
        assert_eq!(store.list_tokens().await.unwrap()[0].last_used_unix, Some(expected));
    }
    assert_eq!(store.revision().await.unwrap(), built() + 1, "it is no change of the token");
}

#[tokio::test]
async fn a_status_is_written_once_per_change_and_goes_with_its_resource() {
    let (_dir, store) = fresh().await;
    let made = create(&store, "a", json!({"role": "ro"})).await.unwrap();
    let uid = made.metadata.uid.as_str();
    assert_eq!(store.status(uid).await.unwrap(), None);
    store.put_status(uid, 1, &json!({"ready": true})).await.unwrap();
    let first = store.status(uid).await.unwrap().unwrap();
    store.put_status(uid, 1, &json!({"ready": true})).await.unwrap();
    assert_eq!(store.status(uid).await.unwrap().unwrap(), first);
    store.put_status(uid, 2, &json!({"ready": true})).await.unwrap();
    assert_eq!(store.status(uid).await.unwrap().unwrap().observed_generation, 2);
    delete(&store, "a").await.unwrap();
    assert_eq!(store.status(uid).await.unwrap(), None);
    let gone = store.put_status(uid, 3, &json!({})).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn a_watch_sees_every_change_in_order_also_later() {
    let (_dir, store) = fresh().await;
    store.create_token("a", Role::Ro, &actor()).await.unwrap();
    let mut watch = store.watch(built()).await.unwrap();
    let first = watch.next().await.unwrap();
    assert_eq!((first.revision, first.change, first.name.as_str()), (built() + 1, ChangeKind::Created, "a"));

    // Waiting, and giving up, loses nothing.
    assert!(timeout(Duration::from_millis(20), watch.next()).await.is_err());
    store.revoke_token("a", &actor()).await.unwrap();
    let second = timeout(Duration::from_secs(5), watch.next()).await.unwrap().unwrap();
    assert_eq!((second.revision, second.change), (built() + 2, ChangeKind::Deleted));
    assert!(second.before.as_ref().unwrap().spec["role"] == "ro" && second.after.is_none());

    let mut resumed = store.watch(built() + 1).await.unwrap();
    assert_eq!(resumed.next().await.unwrap().revision, built() + 2);
}

#[tokio::test]
async fn concurrent_writers_and_a_watch_agree_on_the_order() {
    let (_dir, store) = fresh().await;
    let mut watch = store.watch(built()).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for token in 0..5 {
                    let name = format!("t{writer}-{token}");
                    store.create_token(&name, Role::Ro, &Actor::system()).await.unwrap();
                }
            })
        })
        .collect();
    for revision in built() + 1..=built() + 40 {
        let change = timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap();
        assert_eq!(change.revision, revision);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.list_tokens().await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_caller_that_goes_away_in_the_middle_leaves_all_or_nothing() {
    let (_dir, store) = fresh().await;
    for round in 0_u64..40 {
        let (name, actor) = (format!("t{round}"), actor());
        let create = store.create_token(&name, Role::Ro, &actor);
        drop(timeout(Duration::from_micros(round * 50), create).await);
    }
    store.create_token("last", Role::Ro, &actor()).await.unwrap();
    let revision = store.revision().await.unwrap();
    assert_eq!(count(&store, "SELECT COUNT(*) FROM history").await.cast_unsigned(), revision);
    assert_eq!(count(&store, "SELECT COUNT(*) FROM credentials").await.cast_unsigned(), revision - built());
}

#[tokio::test]
async fn a_watch_from_forgotten_or_unknown_revisions_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        StoreConfig { limits: Limits { history_rows_max: 3, ..Limits::default() }, ..StoreConfig::default() };
    let store = Store::open(dir.path(), config).await.unwrap();
    let mut slow = store.watch(built()).await.unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        store.create_token(name, Role::Ro, &actor()).await.unwrap();
    }
    assert_eq!(count(&store, "SELECT COUNT(*) FROM history").await, 3);
    for from in [0, built() + 1, built() + 6] {
        let refused = store.watch(from).await;
        assert!(matches!(refused, Err(StoreError::Compacted { from: f }) if f == from), "{from}");
    }
    assert_eq!(store.watch(built() + 2).await.unwrap().next().await.unwrap().name, "c");
    // What the process still has is had although the database has forgotten it.
    assert_eq!(slow.next().await.unwrap().revision, built() + 1);
}

#[tokio::test]
async fn a_transaction_that_ends_by_itself_stops_no_later_change() {
    let (_dir, store) = fresh().await;
    let mut change = store.begin().await.unwrap();
    change.create(&wanted("a", json!({"role": "ro"})), &actor()).await.unwrap();
    // As SQLite does when a commit fails.
    query("ROLLBACK").execute(&mut change.tx).await.unwrap();
    assert!(change.commit().await.is_err());
    create(&store, "b", json!({"role": "ro"})).await.unwrap();
    assert_eq!(store.list(&DESCRIPTOR, ListScope::All).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn the_database_is_durable_private_and_keeps_references() {
    let (dir, store) = fresh().await;
    store.create_token("a", Role::Ro, &actor()).await.unwrap();
    for (pragma, expected) in [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1)] {
        let value: i64 = query(pragma).fetch_one(&store.pools.writer).await.unwrap().at(0).unwrap();
        assert_eq!(value, expected, "{pragma}");
    }
    let journal: String =
        query("PRAGMA journal_mode").fetch_one(&store.pools.writer).await.unwrap().at(0).unwrap();
    assert_eq!(journal, "wal");
    for file in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_untouched() {
    let (dir, store) = fresh().await;
    query("INSERT INTO _sqlx_migrations SELECT 9999, 'future', installed_on, 1, checksum, 0 FROM _sqlx_migrations LIMIT 1")
        .execute(&store.pools.writer)
        .await
        .unwrap();
    store.close().await;
    let error = Store::open(dir.path(), StoreConfig::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 9999, known: 7 }), "{error}");
    assert!(hayward_api::Error::from(error).hint.unwrap().contains("newer program"));
}

#[tokio::test]
async fn what_is_no_database_is_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), "not a database, but long enough to look like one".repeat(100)).unwrap();
    let error = Store::open(dir.path(), StoreConfig::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let missing = Store::open(&dir.path().join("gone"), StoreConfig::default()).await.unwrap_err();
    assert!(matches!(missing, StoreError::Unavailable { .. }), "{missing:?}");
}

#[tokio::test]
async fn a_damaged_credential_is_not_skipped() {
    let (_dir, store) = fresh().await;
    store.create_token("a", Role::Ro, &actor()).await.unwrap();
    query("UPDATE credentials SET digest = x'00'").execute(&store.pools.writer).await.unwrap();
    assert!(matches!(store.credential_records().await, Err(StoreError::Corrupt { .. })));
}

/// The child makes tokens until it is killed, saying of each when it was acknowledged.
#[tokio::test]
async fn every_acknowledged_token_survives_a_kill() {
    #[expect(clippy::disallowed_methods, reason = "tells the child from the test that started it")]
    let child_dir = std::env::var_os("HAYWARD_TEST_DIR");
    if let Some(dir) = child_dir {
        let store = open(Path::new(&dir)).await;
        loop {
            let name = format!("t{}", store.revision().await.unwrap());
            let (_, token) = store.create_token(&name, Role::Ro, &actor()).await.unwrap();
            writeln!(std::io::stdout(), "acknowledged {}", token.id()).unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 1..=3 {
        acknowledged.extend(killed_child(dir.path(), 10 * round));
    }
    let store = open(dir.path()).await;
    let ids: Vec<String> =
        store.list_tokens().await.unwrap().iter().map(|token| token.id.to_string()).collect();
    for id in acknowledged {
        assert!(ids.contains(&id), "{id} was acknowledged and is gone");
    }
    let resources = count(&store, "SELECT COUNT(*) FROM resources WHERE kind = 'token'").await;
    assert_eq!(resources, count(&store, "SELECT COUNT(*) FROM credentials").await);
    assert_eq!(resources.cast_unsigned(), store.revision().await.unwrap() - built());
}

/// Runs this test again as a child, kills it after some tokens, and returns what it acknowledged.
fn killed_child(dir: &Path, after: usize) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "the test has to kill a process of its own")]
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "store::tests::every_acknowledged_token_survives_a_kill"]);
    let mut child = command.env("HAYWARD_TEST_DIR", dir).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut ids = lines.filter_map(|line| Some(line.strip_prefix("acknowledged ")?.to_owned()));
    let mut acknowledged: Vec<String> = ids.by_ref().take(after).collect();
    assert_eq!(acknowledged.len(), after, "the child ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged.extend(ids.filter(|id| id.len() == 12));
    acknowledged
}
