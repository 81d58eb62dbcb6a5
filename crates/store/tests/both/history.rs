//! History, bringing back what was, and following what happens.

use std::time::Duration;

use hayward_auth::{Purpose, Token, TokenId};
use hayward_store::limits::Limits;
use hayward_store::{ChangeKind, LOGIN, NewLogin, Store, StoreConfig, StoreError};
use serde_json::json;
use tokio::time::timeout;

use crate::home::{Home, actor, both, create, delete, execute, key, kind, update, wanted};

both! {
    every_change_has_what_was_before_and_after
    what_was_is_brought_back_also_if_it_is_deleted
    what_had_no_owner_has_none_again
    a_version_that_is_not_there_yet_is_not_found
    a_watch_that_is_far_behind_catches_up
    a_change_that_cannot_be_read_ends_the_watches_and_stops_none_that_comes_later
    logins_push_out_no_history_of_resources
    a_watch_ends_where_something_between_is_forgotten
    a_change_knows_of_which_kinds_the_ones_before_it_were
    a_watch_goes_on_after_its_connections_were_lost
}

async fn every_change_has_what_was_before_and_after(home: &Home) {
    let store = home.open().await;
    let made = create(&store, "server", "s", json!({"command": ["a"]})).await;
    update(&store, "server", "s", json!({"command": ["b"]})).await.unwrap();
    delete(&store, "server", "s").await.unwrap();
    let by_name = store.history(kind("server"), None, "s").await.unwrap();
    let by_uid = store.history(kind("server"), None, &made.metadata.uid).await.unwrap();
    assert_eq!(by_name, by_uid);
    let kinds: Vec<_> = by_name.iter().map(|change| change.change).collect();
    assert_eq!(kinds, [ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted]);
    assert!(by_name[0].before.is_none() && by_name[2].after.is_none());
    for pair in by_name.windows(2) {
        assert_eq!(pair[0].after, pair[1].before);
    }
    let after = by_name[1].after.as_ref().unwrap();
    assert_eq!((after.metadata.generation, &after.spec["command"]), (2, &json!(["b"])));
    assert_eq!(after.metadata.resource_version, by_name[1].revision);
    assert_eq!(by_name[0].actor, "system");
    store.close().await;
}

async fn what_was_is_brought_back_also_if_it_is_deleted(home: &Home) {
    let store = home.open().await;
    let first = create(&store, "server", "s", json!({"command": ["a"]})).await.metadata;
    let second = update(&store, "server", "s", json!({"command": ["b"]})).await.unwrap().metadata;
    let at = async |revision| store.at(kind("server"), None, "s", revision).await;
    assert_eq!(at(first.resource_version).await.unwrap().spec["command"], json!(["a"]));
    assert!(matches!(at(first.resource_version - 1).await, Err(StoreError::NotFound { .. })));
    let revert = async |to| {
        let mut change = store.begin().await.unwrap();
        let reverted = change.revert(kind("server"), None, "s", to, &actor()).await.unwrap();
        change.commit().await.unwrap();
        reverted
    };
    let reverted = revert(first.resource_version).await;
    assert_eq!(
        (reverted.metadata.uid.as_str(), &reverted.spec["command"]),
        (first.uid.as_str(), &json!(["a"]))
    );
    delete(&store, "server", "s").await.unwrap();
    assert!(matches!(at(store.revision().await.unwrap()).await, Err(StoreError::NotFound { .. })));
    let again = revert(second.resource_version).await;
    assert_eq!(again.spec["command"], json!(["b"]));
    assert_ne!(again.metadata.uid, first.uid, "a uid is never used again");
    assert_eq!(store.get(&key("server", "s")).await.unwrap(), again);
    store.close().await;
}

async fn what_had_no_owner_has_none_again(home: &Home) {
    let store = home.open().await;
    let owner = create(&store, "server", "s", json!({"command": ["x"]})).await.metadata.uid;
    let alone = create(&store, "secret", "k", json!({"data": {}})).await.metadata;
    let mut owned = wanted("secret", "k", json!({"data": {}}));
    owned.owner = Some(owner.clone());
    let owned = store.update(&key("secret", "k"), None, &owned, &actor()).await.unwrap().metadata;
    assert_eq!(owned.owner.as_ref(), Some(&owner));
    let kept = update(&store, "secret", "k", json!({"data": {"A": "1"}})).await.unwrap().metadata;
    assert_eq!(kept.owner.as_ref(), Some(&owner), "an update that says nothing of it leaves it");
    for (to, has) in [(alone.resource_version, None), (owned.resource_version, Some(&owner))] {
        let mut change = store.begin().await.unwrap();
        change.revert(kind("secret"), None, "k", to, &actor()).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(store.get(&key("secret", "k")).await.unwrap().metadata.owner.as_ref(), has);
    }
    store.close().await;
}

async fn a_version_that_is_not_there_yet_is_not_found(home: &Home) {
    let store = home.open().await;
    create(&store, "server", "s", json!({"command": ["a"]})).await;
    update(&store, "server", "s", json!({"command": ["b"]})).await.unwrap();
    let newest = store.revision().await.unwrap();
    let revert = async |to| {
        let mut change = store.begin().await.unwrap();
        change.revert(kind("server"), None, "s", to, &actor()).await
    };
    assert!(revert(newest).await.is_ok());
    for to in [newest + 1, i64::MAX as u64, u64::MAX] {
        assert!(matches!(revert(to).await, Err(StoreError::NotFound { .. })), "{to}");
        let at = store.at(kind("server"), None, "s", to).await;
        assert!(matches!(at, Err(StoreError::NotFound { .. })), "{to}");
    }
    store.close().await;
}

async fn a_watch_that_is_far_behind_catches_up(home: &Home) {
    let store = home.open().await;
    let from = store.revision().await.unwrap();
    let mut early = store.watch(from).await.unwrap();
    let mut change = store.begin().await.unwrap();
    // More than what watches share.
    for number in 0..5_000 {
        let name = format!("s{number}");
        let desired = crate::home::wanted("server", &name, json!({"command": ["x"]}));
        change.create(&desired, &actor()).await.unwrap();
    }
    change.commit().await.unwrap();
    let mut late = store.watch(from).await.unwrap();
    for revision in from + 1..=from + 5_000 {
        assert_eq!(early.next().await.unwrap().revision, revision);
        assert_eq!(late.next().await.unwrap().revision, revision);
    }
    assert!(timeout(Duration::from_millis(20), late.next()).await.is_err());
    store.close().await;
    assert!(early.next().await.is_err(), "a closed store has no more changes");
}

async fn a_change_that_cannot_be_read_ends_the_watches_and_stops_none_that_comes_later(home: &Home) {
    let store = home.open().await;
    let from = store.revision().await.unwrap();
    let mut watch = store.watch(from).await.unwrap();
    // As a newer program might write it.
    home.say(&format!(
        "INSERT INTO history (revision, uid, kind, scope, name, change, actor, at, before, after)
         VALUES ({0}, 'u', 'server', '', 's', 'renamed', 'system', '', NULL, NULL);
         UPDATE revision SET value = {0}",
        from + 1
    ))
    .await;
    create(&store, "server", "later", json!({"command": ["x"]})).await;
    let told = timeout(Duration::from_secs(10), watch.next()).await.unwrap();
    assert!(matches!(told, Err(StoreError::Corrupt { .. })), "{told:?}");
    let mut anew = store.watch(store.revision().await.unwrap()).await.unwrap();
    create(&store, "server", "more", json!({"command": ["x"]})).await;
    assert_eq!(timeout(Duration::from_secs(10), anew.next()).await.unwrap().unwrap().name, "more");
    store.close().await;
}

async fn logins_push_out_no_history_of_resources(home: &Home) {
    let limits = Limits { history_rows_max: 20, ..Limits::default() };
    let store = Store::open(home.dir.path(), StoreConfig { limits, ..home.config() }).await.unwrap();
    create(&store, "server", "s", json!({"command": ["a"]})).await;
    update(&store, "server", "s", json!({"command": ["b"]})).await.unwrap();
    let from = store.revision().await.unwrap();
    let user = create(&store, "user", "ann@x.org", json!({"role": "USER"})).await.metadata.uid;
    for _ in 0..30 {
        log_in(&store, &user).await;
    }
    assert_eq!(store.history(kind("server"), None, "s").await.unwrap().len(), 2);
    let forgotten = store.watch(from + 1).await;
    assert!(matches!(forgotten, Err(StoreError::Compacted { .. })), "the first logins are forgotten");
    assert!(store.watch(store.revision().await.unwrap() - 19).await.is_ok(), "the last are not");
    store.close().await;
}

async fn log_in(store: &Store, user: &str) -> TokenId {
    let token = Token::mint(Purpose::Login);
    let login = NewLogin {
        id: token.id(),
        digest: token.digest(),
        user,
        created_unix: 0,
        expires_unix: i64::MAX,
        password: None,
        impersonator: None,
    };
    store.create_login(&login, &actor()).await.unwrap();
    token.id()
}

async fn a_watch_ends_where_something_between_is_forgotten(home: &Home) {
    let limits = Limits { history_rows_max: 10, ..Limits::default() };
    let store = Store::open(home.dir.path(), StoreConfig { limits, ..home.config() }).await.unwrap();
    let user = create(&store, "user", "ann@x.org", json!({"role": "USER"})).await.metadata.uid;
    let from = store.revision().await.unwrap();
    log_in(&store, &user).await;
    for number in 0..30 {
        create(&store, "server", &format!("s{number}"), json!({"command": ["a"]})).await;
    }
    // The login after `from` is kept, as there are few of those; the servers after it are not.
    let store = reopened(store, home).await;
    let mut watch = store.watch(from).await.unwrap();
    assert_eq!(watch.next().await.unwrap().kind, LOGIN);
    let gap = watch.next().await;
    assert!(matches!(gap, Err(StoreError::Compacted { from: at }) if at == from + 1), "{gap:?}");
    let now = store.revision().await.unwrap();
    let mut whole = store.watch(now - 5).await.unwrap();
    for revision in now - 4..=now {
        assert_eq!(whole.next().await.unwrap().revision, revision);
    }
    store.close().await;
}

/// The same store with nothing in memory of what happened.
async fn reopened(store: Store, home: &Home) -> Store {
    store.close().await;
    home.open().await
}

async fn a_change_knows_of_which_kinds_the_ones_before_it_were(home: &Home) {
    let limits = Limits { history_rows_max: 10, ..Limits::default() };
    let store = Store::open(home.dir.path(), StoreConfig { limits, ..home.config() }).await.unwrap();
    let from = store.revision().await.unwrap();
    let since = async |revision| {
        let mut change = store.begin().await.unwrap();
        let kinds = change.kinds_since(revision).await.unwrap();
        kinds.map(|kinds| kinds.into_iter().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(since(from).await.as_deref(), Some(""));
    create(&store, "server", "s", json!({"command": ["a"]})).await;
    update(&store, "server", "s", json!({"command": ["b"]})).await.unwrap();
    create(&store, "group", "g", json!({"members": []})).await;
    assert_eq!(since(from).await.as_deref(), Some("group server"));
    assert_eq!(since(from + 2).await.as_deref(), Some("group"));
    assert_eq!(since(from + 3).await.as_deref(), Some(""));
    assert_eq!(since(from + 4).await, None, "it has not been there, so history is another one");
    for number in 0..20 {
        create(&store, "server", &format!("s{number}"), json!({"command": ["a"]})).await;
    }
    assert_eq!(since(from).await, None, "that there was a group is forgotten");
    assert_eq!(since(from + 20).await.as_deref(), Some("server"));
    store.close().await;
}

async fn a_watch_goes_on_after_its_connections_were_lost(home: &Home) {
    let (here, there) = (home.open().await, if home.url.is_some() { Some(home.open().await) } else { None });
    let mut watch = here.watch(here.revision().await.unwrap()).await.unwrap();
    if let Some(url) = &home.url {
        execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    }
    // A connection that is gone is found to be so when it is used.
    let writer = there.as_ref().unwrap_or(&here);
    let mut tries = 0;
    while let Err(error) =
        writer.create(&crate::home::wanted("secret", "a", json!({"data": {}})), &actor()).await
    {
        tries += 1;
        assert!(tries < 10, "{error}");
    }
    let change = timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap();
    assert_eq!(change.name, "a");
    for store in [Some(here), there].into_iter().flatten() {
        store.close().await;
    }
}
