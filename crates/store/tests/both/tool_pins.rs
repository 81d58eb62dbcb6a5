//! What was approved of the tools of servers.

use hayward_api::kinds::server;
use hayward_store::{Actor, Deletion, Desired, Key, PendingTool, StoreError, TOOL_PIN};
use serde_json::json;

use crate::home::{Home, both};

both! {
    a_tool_is_approved_once_and_what_waits_is_approved_by_its_digest
}

fn pending(digest: &str) -> PendingTool {
    PendingTool { digest: digest.to_owned(), definition: format!("{{{digest}}}"), why: "new".to_owned() }
}

async fn a_tool_is_approved_once_and_what_waits_is_approved_by_its_digest(home: &Home) {
    let store = home.open().await;
    let actor = Actor::system();
    let spec = json!({"command": ["x"], "transport": "STDIO", "replicas": 1});
    let server = store.create(&Desired::new(&server::DESCRIPTOR, None, "ha", spec), &actor).await.unwrap();
    let uid = server.metadata.uid.as_str();
    let of = |name: &str, digest: &str| (name.to_owned(), digest.to_owned(), format!("{{{digest}}}"));
    let waits = ("b".to_owned(), pending("2"));
    store.keep_tool_pins(uid, &[of("a", "1")], std::slice::from_ref(&waits)).await.unwrap();
    // Whoever comes later approves nothing else under the same name.
    store.keep_tool_pins(uid, &[of("a", "9")], &[("a".to_owned(), pending("9")), waits]).await.unwrap();
    let pins = store.tool_pins(uid).await.unwrap();
    assert_eq!(
        (pins[0].digest.as_deref(), pins[0].pending.as_ref().unwrap().digest.as_str()),
        (Some("1"), "9")
    );
    assert_eq!((pins[1].digest.as_deref(), &pins[1].pending), (None, &Some(pending("2"))));

    let mut watch = store.watch(store.revision().await.unwrap()).await.unwrap();
    let approve = async |name: &str, digest: &str| {
        let mut change = store.begin().await?;
        change.approve_tool((uid, "ha"), name, digest, &actor).await?;
        change.commit().await
    };
    let unseen = approve("b", "3").await;
    assert!(matches!(unseen, Err(StoreError::NotFound { .. })), "what nobody has seen is not approved");
    approve("b", "2").await.unwrap();
    assert_eq!(watch.next().await.unwrap().kind, TOOL_PIN);
    let pins = store.tool_pins(uid).await.unwrap();
    assert_eq!((pins[1].digest.as_deref(), &pins[1].pending), (Some("2"), &None));
    assert!(approve("b", "2").await.is_err(), "it doesn't wait any more");

    store.delete(&Key::global(&server::DESCRIPTOR, "ha"), None, Deletion::Refuse, &actor).await.unwrap();
    assert_eq!(store.tool_pins(uid).await.unwrap(), []);
}
