//! Following a list.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::rig::{Rig, server};

/// An open watch, line by line.
pub(crate) struct Watch(BufReader<TcpStream>);

impl Watch {
    pub(crate) async fn open(rig: &Rig, path: &str, token: &str) -> Self {
        let mut stream = TcpStream::connect(rig.daemon.address).await.unwrap();
        let head = format!(
            "GET /api/v1{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n",
            rig.daemon.address
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The next event; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let read = async {
            loop {
                let mut line = String::new();
                if self.0.read_line(&mut line).await.unwrap_or(0) == 0 || line == "0\r\n" {
                    return None;
                }
                if line.starts_with('{') {
                    return serde_json::from_str(&line).ok();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("an event, or the end")
    }

    /// The next event that says more than that the watch lives.
    async fn change(&mut self) -> Option<(String, String)> {
        loop {
            let event = self.next().await?;
            if event["type"] != "BOOKMARK" {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                return Some((text(&event["type"]), text(&event["object"]["name"])));
            }
        }
    }
}

fn change(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_tells_what_there_is_and_then_what_changes_for_its_list() {
    let rig = Rig::start();
    let admin = rig.admin();
    rig.post("/servers", admin, server("a")).await;
    let mut watch = Watch::open(&rig, "/servers?watch=true", admin).await;
    assert_eq!(watch.change().await, Some(change("ADDED", "a")));
    assert_eq!(watch.next().await.unwrap()["type"], "BOOKMARK");
    let mut labelled = Watch::open(&rig, "/servers?watch=true&labelSelector=x", admin).await;
    assert_eq!(labelled.next().await.unwrap()["type"], "BOOKMARK");
    rig.post("/secrets", admin, json!({"name": "s", "data": {}})).await;
    rig.send_as(("PATCH", "/servers/a"), admin, &[], r#"{"labels": {"x": "1"}}"#).await;
    assert_eq!(watch.change().await, Some(change("MODIFIED", "a")));
    assert_eq!(labelled.change().await, Some(change("ADDED", "a")));
    rig.send_as(("PATCH", "/servers/a"), admin, &[], r#"{"labels": {"x": null}}"#).await;
    assert_eq!(labelled.change().await, Some(change("DELETED", "a")));
    rig.send("DELETE", "/servers/a", admin, &Value::Null).await;
    assert_eq!(watch.change().await, Some(change("MODIFIED", "a")));
    assert_eq!(watch.change().await, Some(change("DELETED", "a")));
    let version = rig.get("/servers", admin).await.header("x-resource-version").unwrap().to_owned();
    let future = rig.get("/servers?watch=true&resourceVersion=99999999", admin).await;
    assert_eq!(future.status, 410, "{}", future.body);
    let mut from = Watch::open(&rig, &format!("/servers?watch=true&resourceVersion={version}"), admin).await;
    rig.post("/servers", admin, server("b")).await;
    assert_eq!(from.change().await, Some(change("ADDED", "b")));
}

#[tokio::test]
async fn a_watch_shows_what_its_caller_may_see_and_ends_with_the_grant_and_the_login() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    let bob =
        rig.user("bob@example.org", json!([{"role": "view", "resource": "servers", "name": "mine"}])).await;
    let mut watch = Watch::open(&rig, "/servers?watch=true", &bob).await;
    assert_eq!(watch.next().await.unwrap()["type"], "BOOKMARK");
    rig.post("/servers", &ann, server("others")).await;
    rig.post("/servers", &ann, server("mine")).await;
    assert_eq!(watch.change().await, Some(change("ADDED", "mine")));
    let mut other = Watch::open(&rig, "/servers?watch=true", &ann).await;
    assert_eq!(other.change().await, Some(change("ADDED", "mine")));
    assert_eq!(rig.send("DELETE", "/rbac-definitions/bob-example.org", &ann, &Value::Null).await.status, 204);
    assert_eq!(watch.change().await, None, "the grant is gone");
    assert_eq!(rig.post("/auth/logout", &ann, Value::Null).await.status, 204);
    while let Some(event) = other.change().await {
        assert_eq!(event.1, "others");
    }
}

#[tokio::test]
async fn a_watch_tells_what_its_caller_may_see_since_rules_changed_and_what_no_more() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let of = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({"role": "view", "resource": "servers", "name": name})).collect()
    };
    let bob = rig.user("bob@example.org", of(&["a", "b"])).await;
    for name in ["a", "b", "c"] {
        rig.post("/servers", rig.admin(), server(name)).await;
    }
    let mut watch = Watch::open(&rig, "/servers?watch=true", &bob).await;
    assert_eq!(watch.change().await, Some(change("ADDED", "a")));
    assert_eq!(watch.change().await, Some(change("ADDED", "b")));
    let rules = json!({"roleBindings": of(&["a", "c"])}).to_string();
    let patched = rig.send_as(("PATCH", "/rbac-definitions/bob-example.org"), rig.admin(), &[], &rules).await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    let told = [watch.change().await, watch.change().await];
    assert_eq!(told, [Some(change("DELETED", "b")), Some(change("ADDED", "c"))]);
    rig.send_as(("PATCH", "/servers/c"), rig.admin(), &[], r#"{"labels": {"x": "1"}}"#).await;
    assert_eq!(watch.change().await, Some(change("MODIFIED", "c")));
}
