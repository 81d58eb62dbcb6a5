//! Resources, what they refer to, and what goes with them.

use hayward_store::{ChangeKind, Deletion, Desired, ListScope, Part, StoreError};
use serde_json::json;

use crate::home::{Home, actor, both, create, delete, key, kind, update, wanted};

both! {
    labels_and_notes_are_kept_and_what_is_the_same_changes_nothing
    what_is_referred_to_must_be_there_when_the_change_is_made
    what_is_referred_to_is_deleted_only_if_nobody_is_left_or_they_let_go
    what_cannot_be_without_a_resource_is_named_when_it_is_deleted
    a_project_takes_what_belongs_to_it_and_an_owner_what_it_owns
    a_name_that_looks_like_a_uid_is_refused_and_shadows_none
    a_word_means_a_name_or_a_uid_in_any_scope
    what_is_built_in_is_there_and_is_reset_when_it_is_deleted
    a_list_is_of_one_moment_and_in_order
    parts_of_a_list_are_the_list
}

async fn labels_and_notes_are_kept_and_what_is_the_same_changes_nothing(home: &Home) {
    let store = home.open().await;
    let mut desired = wanted("secret", "s", json!({"data": {}}));
    desired.labels.insert("team".into(), "a".into());
    desired.annotations.insert("note".into(), "ä".into());
    let document = json!({"name": "s", "data": {"A": "v4lue", "B": 7}});
    desired.applied = Some(json!({"managers": {"m": {"file": "f", "document": document}}}));
    let made = store.create(&desired, &actor()).await.unwrap();
    assert_eq!(store.get(&key("secret", "s")).await.unwrap(), made);
    let applied = made.applied().unwrap().unwrap();
    let kept = &applied["managers"]["m"]["document"]["data"];
    assert_eq!(*kept, json!({"A": "***", "B": "***"}), "no value is kept in what was applied");
    let revision = store.revision().await.unwrap();
    let at = Some(made.metadata.resource_version);
    let again = store.update(&key("secret", "s"), at, &desired, &actor()).await;
    assert_eq!(again.unwrap(), made);
    assert_eq!(store.revision().await.unwrap(), revision);

    desired.labels.insert("team".into(), "b".into());
    let labelled = store.update(&key("secret", "s"), None, &desired, &actor()).await.unwrap();
    assert_eq!(labelled.metadata.generation, 1, "what is wanted is the same");
    assert_eq!(labelled.metadata.resource_version, revision + 1);
    let stale = store.update(&key("secret", "s"), Some(revision), &desired, &actor()).await;
    assert!(matches!(stale, Err(StoreError::Conflict { current, .. }) if current == revision + 1));
    let stale = store.delete(&key("secret", "s"), Some(revision), Deletion::Refuse, &actor()).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })));
    store.close().await;
}

async fn what_is_referred_to_must_be_there_when_the_change_is_made(home: &Home) {
    let store = home.open().await;
    let refused =
        store.create(&wanted("project", "p", json!({"servers": ["a"]})), &actor()).await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("`servers[0]`") && said.contains("server `a`"), "{said}");
    assert!(matches!(store.get(&key("project", "p")).await, Err(StoreError::NotFound { .. })));

    // In one change the order doesn't matter.
    let mut change = store.begin().await.unwrap();
    change.create(&wanted("project", "p", json!({"servers": ["a"]})), &actor()).await.unwrap();
    change.create(&wanted("server", "a", json!({"command": ["x"]})), &actor()).await.unwrap();
    change.commit().await.unwrap();

    assert!(update(&store, "project", "p", json!({"servers": ["a", "b"]})).await.is_err());
    let strayed = Desired::new(kind("prompt"), Some("nowhere"), "x", json!({"content": "c"}));
    let refused = store.create(&strayed, &actor()).await.unwrap_err().to_string();
    assert!(refused.contains("project `nowhere`"), "{refused}");
    let mut orphan = wanted("secret", "o", json!({"data": {}}));
    orphan.owner = Some("nobody".into());
    assert!(store.create(&orphan, &actor()).await.is_err());

    // A dry run says the same and leaves nothing.
    let mut change = store.begin().await.unwrap();
    change.create(&wanted("project", "q", json!({"servers": ["c"]})), &actor()).await.unwrap();
    assert!(change.verify().await.is_err());
    drop(change);
    assert!(store.get(&key("project", "q")).await.is_err());
    store.close().await;
}

async fn what_is_referred_to_is_deleted_only_if_nobody_is_left_or_they_let_go(home: &Home) {
    let store = home.open().await;
    for name in ["a", "b"] {
        create(&store, "server", name, json!({"command": ["x"]})).await;
    }
    create(&store, "project", "p", json!({"servers": ["a", "b"]})).await;
    let refused = delete(&store, "server", "a").await.unwrap_err();
    assert!(matches!(&refused, StoreError::Referred { by, .. } if by == "project `p`"), "{refused}");
    assert_eq!(hayward_api::Error::from(refused).code, hayward_api::Code::Conflict);
    store.get(&key("server", "a")).await.unwrap();

    store.delete(&key("server", "a"), None, Deletion::Detach, &actor()).await.unwrap();
    assert_eq!(store.get(&key("project", "p")).await.unwrap().spec["servers"], json!(["b"]));

    // Both at once, in whatever order.
    let mut change = store.begin().await.unwrap();
    change.delete(&key("server", "b"), None, Deletion::Refuse, &actor()).await.unwrap();
    change.delete(&key("project", "p"), None, Deletion::Refuse, &actor()).await.unwrap();
    change.commit().await.unwrap();
    store.close().await;
}

async fn what_cannot_be_without_a_resource_is_named_when_it_is_deleted(home: &Home) {
    let store = home.open().await;
    create(&store, "user", "bot", json!({"role": "USER", "serviceAccount": true})).await;
    create(&store, "token", "tk", json!({"role": "account", "account": "bot"})).await;
    let refused = store.delete(&key("user", "bot"), None, Deletion::Detach, &actor()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Referred { by, .. } if by.contains("token `tk`")), "{refused}");
    delete(&store, "token", "tk").await.unwrap();
    store.delete(&key("user", "bot"), None, Deletion::Detach, &actor()).await.unwrap();
    store.close().await;
}

async fn a_project_takes_what_belongs_to_it_and_an_owner_what_it_owns(home: &Home) {
    let store = home.open().await;
    create(&store, "project", "p", json!({})).await;
    let prompt = Desired::new(kind("prompt"), Some("p"), "hello", json!({"content": "c"}));
    store.create(&prompt, &actor()).await.unwrap();
    let server = create(&store, "server", "s", json!({"command": ["x"]})).await;
    let mut owned = wanted("secret", "of-s", json!({"data": {}}));
    owned.owner = Some(server.metadata.uid.clone());
    store.create(&owned, &actor()).await.unwrap();
    assert_eq!(store.owned(&server.metadata.uid).await.unwrap().len(), 1);

    let from = store.revision().await.unwrap();
    delete(&store, "project", "p").await.unwrap();
    delete(&store, "server", "s").await.unwrap();
    assert!(store.get(&prompt.key()).await.is_err() && store.get(&owned.key()).await.is_err());
    let mut watch = store.watch(from).await.unwrap();
    let mut gone = Vec::new();
    for _ in 0..4 {
        let change = watch.next().await.unwrap();
        assert!(change.change == ChangeKind::Deleted && change.before.is_some() && change.after.is_none());
        gone.push(change.name.clone());
    }
    assert_eq!(gone, ["hello", "p", "of-s", "s"], "what depends on others goes before them");
    store.close().await;
}

async fn a_name_that_looks_like_a_uid_is_refused_and_shadows_none(home: &Home) {
    let store = home.open().await;
    let meant = create(&store, "server", "s", json!({"command": ["a"]})).await;
    let uid = meant.metadata.uid.as_str();
    let shadow = store.create(&wanted("server", uid, json!({"command": ["b"]})), &actor()).await;
    assert!(matches!(shadow, Err(StoreError::Invalid(_))), "{shadow:?}");
    // One that an earlier release let in: a resource whose name is the uid of another.
    let other = create(&store, "server", "other", json!({"command": ["b"]})).await;
    for table in ["resources", "history"] {
        home.rename(table, &other.metadata.uid, uid).await;
    }
    assert_eq!(store.get(&key("server", uid)).await.unwrap(), meant);
    for scope in [None, Some(None)] {
        assert_eq!(store.find(kind("server"), scope, uid).await.unwrap(), meant);
    }
    let history = store.history(kind("server"), None, uid).await.unwrap();
    assert!(history.len() == 1 && history[0].uid == uid);
    let at = store.at(kind("server"), None, uid, store.revision().await.unwrap()).await.unwrap();
    assert_eq!(at.metadata.name.as_str(), "s");
    let found = store.find(kind("server"), None, &other.metadata.uid).await.unwrap();
    assert_eq!(found.metadata.name.as_str(), uid);
    store.close().await;
}

async fn a_word_means_a_name_or_a_uid_in_any_scope(home: &Home) {
    let store = home.open().await;
    for project in ["p", "q"] {
        create(&store, "project", project, json!({})).await;
        let prompt = Desired::new(kind("prompt"), Some(project), "x", json!({"content": project}));
        store.create(&prompt, &actor()).await.unwrap();
    }
    let find = async |scope, word: &str| store.find(kind("prompt"), scope, word).await;
    assert!(matches!(find(None, "x").await, Err(StoreError::Ambiguous { .. })));
    assert!(matches!(find(Some(None), "x").await, Err(StoreError::NotFound { .. })));
    let of_q = find(Some(Some("q")), "x").await.unwrap();
    assert_eq!(of_q.spec["content"], "q");
    assert_eq!(find(None, &of_q.metadata.uid).await.unwrap(), of_q);
    create(&store, "prompt", "x", json!({"content": "all"})).await;
    assert_eq!(find(None, "x").await.unwrap().spec["content"], "all");
    store.close().await;
}

async fn what_is_built_in_is_there_and_is_reset_when_it_is_deleted(home: &Home) {
    let store = home.open().await;
    let builtins = (kind("proxymodel").builtins)();
    let first = &builtins[0];
    let made = store.get(&key("proxymodel", first.name)).await.unwrap();
    assert_eq!(made.spec, first.spec);
    let prompt = &(kind("prompt").builtins)()[0];
    let mut changed = prompt.spec.clone();
    changed["content"] = json!("mine");
    update(&store, "prompt", prompt.name, changed).await.unwrap();
    store.close().await;

    let store = home.open().await;
    let kept = store.get(&key("prompt", prompt.name)).await.unwrap();
    assert_eq!(kept.spec["content"], "mine", "a start changes nothing that somebody changed");
    delete(&store, "prompt", prompt.name).await.unwrap();
    let reset = store.get(&key("prompt", prompt.name)).await.unwrap();
    assert_eq!((reset.spec, reset.metadata.uid), (prompt.spec.clone(), kept.metadata.uid));
    store.close().await;
}

async fn a_list_is_of_one_moment_and_in_order(home: &Home) {
    let store = home.open().await;
    let empty = store.list(kind("server"), ListScope::All).await.unwrap();
    assert!(empty.items.is_empty() && empty.revision == store.revision().await.unwrap());
    for name in ["b", "B", "a", "a-b", "a.b", "aB"] {
        create(&store, "server", name, json!({"command": ["x"]})).await;
    }
    let listed = store.list(kind("server"), ListScope::All).await.unwrap();
    let names: Vec<_> = listed.items.iter().map(|item| item.metadata.name.as_str()).collect();
    assert_eq!(names, ["B", "a", "a-b", "a.b", "aB", "b"], "by bytes, on both");
    assert_eq!(
        listed.revision,
        listed.items.iter().map(|item| item.metadata.resource_version).max().unwrap()
    );
    store.put_status(&listed.items[0].metadata.uid, 1, &json!({"ready": true})).await.unwrap();
    let listed = store.list(kind("server"), ListScope::System).await.unwrap();
    assert_eq!(listed.items[0].status.as_ref().unwrap().status, json!({"ready": true}));
    assert!(listed.items[1].status.is_none());
    store.close().await;
}

async fn parts_of_a_list_are_the_list(home: &Home) {
    let store = home.open().await;
    let prompts = kind("prompt");
    let revision = store.revision().await.unwrap();
    for project in ["B", "a", "a-b"] {
        create(&store, "project", project, json!({})).await;
        for name in ["z", "Z", "a.b", "a-b"] {
            let desired = Desired::new(prompts, Some(project), name, json!({"content": "x"}));
            store.create(&desired, &actor()).await.unwrap();
        }
    }
    for scope in [ListScope::All, ListScope::System, ListScope::Project("a")] {
        let whole = store.list(prompts, scope).await.unwrap().items;
        for rows in [1, 2, 3, 100] {
            let (mut part, mut walked, mut looks) = (Part { after: Default::default(), rows }, Vec::new(), 0);
            loop {
                let listed = store.list_raw(prompts, scope, Some(&part)).await.unwrap();
                assert!(listed.items.len() <= rows as usize && listed.revision > revision);
                walked.extend(listed.items.iter().map(|item| item.read().unwrap()));
                looks += 1;
                let Some(after) = listed.next else { break };
                part.after = after;
            }
            assert_eq!(walked, whole, "{scope:?} {rows}");
            assert_eq!(looks, whole.len() / rows as usize + 1);
        }
    }
    let nothing = Part { after: ("zz".into(), String::new()), rows: 5 };
    let nothing = store.list_raw(prompts, ListScope::All, Some(&nothing)).await.unwrap();
    assert!(nothing.items.is_empty() && nothing.next.is_none() && nothing.revision > revision);
    store.close().await;
}
