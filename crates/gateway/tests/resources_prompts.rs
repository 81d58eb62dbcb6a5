//! Resources, templates, prompts and completion: who sees and gets what, and how what isn't there is told.
#![cfg(test)]

use hayward_api::Tier;
use hayward_testkit::client::post;
use hayward_testkit::fixture;
use hayward_testkit::lines::LineClient;
use hayward_testkit::modern::Modern;
use hayward_testkit::server::Server;
use serde_json::{Value, json};

async fn start() -> (Server, Modern, Modern) {
    let server = Server::start(fixture::guarded()).await.unwrap();
    let writer = Modern::new(server.address, &server.rw_token);
    let reader = Modern::new(server.address, &server.ro_token);
    (server, writer, reader)
}

/// What a list names.
async fn list(client: &Modern, method: &str, list: &str, key: &str) -> Vec<String> {
    let result = client.result(method, json!({})).await.unwrap();
    let names = result[list].as_array().unwrap().iter();
    names.map(|element| element[key].as_str().unwrap().to_owned()).collect()
}

async fn read(client: &Modern, uri: &str) -> (u16, Value) {
    let answer = client.ask("resources/read", json!({ "uri": uri })).await.unwrap();
    (answer.status, answer.json())
}

/// An error without the name that it repeats, to be compared; and without what was probably meant, which depends
/// on that name and on what may be seen alone.
fn without(error: &Value, name: &str) -> String {
    let mut error = error.clone();
    assert!(error["data"]["suggestion"].take().is_string());
    error.to_string().replace(name, "NAME")
}

/// Asks as a legacy client over HTTP.
async fn legacy(server: &Server, token: &str, method: &str, params: &Value) -> (u16, Value) {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let bearer = format!("Bearer {token}");
    let answer = post(server.address, "/mcp", &[("authorization", &bearer)], &body).await.unwrap();
    (answer.status, answer.json())
}

#[tokio::test]
async fn whoever_may_use_something_sees_it_and_nobody_else_does() {
    let (_server, writer, reader) = start().await;
    let lists = [
        ("resources/list", "resources", "uri", "guarded://open", "guarded://secret"),
        (
            "resources/templates/list",
            "resourceTemplates",
            "uriTemplate",
            "guarded://shelf/{name}",
            "guarded://vault/{name}",
        ),
        ("prompts/list", "prompts", "name", "open_prompt", "secret_prompt"),
        ("tools/list", "tools", "name", "looks_again", "changes_it"),
    ];
    for (method, key, name, open, secret) in lists {
        let (all, some) = (list(&writer, method, key, name).await, list(&reader, method, key, name).await);
        let has = |list: &[String], name: &str| list.iter().any(|element| element == name);
        assert!(has(&all, open) && has(&all, secret), "{method}: {all:?}");
        assert!(has(&some, open) && !has(&some, secret), "{method}: {some:?}");
        assert!(some.iter().all(|name| has(&all, name)));
        assert_eq!(list(&reader, method, key, name).await, some, "the order stays");
    }
}

#[tokio::test]
async fn what_is_listed_can_be_used_and_what_is_not_is_like_what_is_not_there() {
    let (_server, writer, reader) = start().await;
    let resources = list(&writer, "resources/list", "resources", "uri").await;
    let prompts = list(&writer, "prompts/list", "prompts", "name").await;
    let visible = list(&reader, "resources/list", "resources", "uri").await;
    for uri in &resources {
        let (_, answer) = read(&writer, uri).await;
        assert!(answer.get("result").is_some(), "{uri}: {answer}");
        let (status, answer) = read(&reader, uri).await;
        assert_eq!(answer.get("result").is_some(), visible.contains(uri), "{uri}: {answer}");
        if answer.get("error").is_some() {
            let (other, absent) = read(&reader, "guarded://zzzzzz").await;
            assert_eq!(status, other);
            let error = without(&answer["error"], uri);
            assert_eq!(error, without(&absent["error"], "guarded://zzzzzz"));
        }
    }
    let visible = list(&reader, "prompts/list", "prompts", "name").await;
    for name in &prompts {
        let ask = |name: &str| json!({"name": name, "arguments": {"topic": "t"}});
        assert!(writer.result("prompts/get", ask(name)).await.is_ok(), "{name}");
        let answer = reader.ask("prompts/get", ask(name)).await.unwrap();
        assert_eq!(answer.json().get("result").is_some(), visible.contains(name), "{name}");
        if answer.status != 200 {
            let absent = reader.ask("prompts/get", ask("zzzzzz")).await.unwrap();
            assert_eq!(answer.status, absent.status);
            let error = without(&answer.json()["error"], name);
            assert_eq!(error, without(&absent.json()["error"], "zzzzzz"));
        }
    }
}

#[tokio::test]
async fn a_resource_that_is_not_there_is_told_in_the_way_of_each_era() {
    let (server, writer, _) = start().await;
    let uri = "guarded://nowhere";
    let (status, answer) = read(&writer, uri).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32602)), "{answer}");
    assert_eq!(answer["error"]["data"]["uri"], uri);
    let (status, answer) = legacy(&server, &server.rw_token, "resources/read", &json!({ "uri": uri })).await;
    assert_eq!((status, &answer["error"]["code"]), (200, &json!(-32002)), "{answer}");
    assert_eq!(answer["error"]["data"]["uri"], uri);
    for bad in [json!({}), json!({"uri": ""}), json!({"uri": 1}), json!({"uri": "a\nb"})] {
        let (_, answer) = legacy(&server, &server.rw_token, "resources/read", &bad).await;
        assert_eq!(answer["error"]["code"], -32602, "{bad}");
    }
    // Near misses are told only of what may be seen.
    let (_, near) = read(&writer, "guarded://secre").await;
    assert!(near.to_string().contains("guarded://secret"), "{near}");
    let reader = Modern::new(server.address, &server.ro_token);
    let (_, near) = read(&reader, "guarded://secre").await;
    assert!(!near.to_string().contains("guarded://secret"), "{near}");
}

#[tokio::test]
async fn a_template_stands_for_what_it_matches_and_the_first_one_wins_whoever_asks() {
    let (_server, writer, reader) = start().await;
    let text = async |client: &Modern, uri: &str| {
        let (_, answer) = read(client, uri).await;
        answer["result"]["contents"][0]["text"].as_str().map(ToOwned::to_owned)
    };
    for (uri, for_writer, for_reader) in [
        ("guarded://shelf/a", Some("shelf"), Some("shelf")),
        ("guarded://shelf/a%2Fb", Some("shelf"), Some("shelf")),
        ("guarded://shelf/", None, None),
        ("guarded://shelf/a/b", None, None),
        ("guarded://shelf/%zz", None, None),
        ("guarded://vault/a", Some("vault"), None),
        // What leads to something above one's ceiling leads nowhere else.
        ("guarded://mixed/a", Some("mixed"), None),
        ("guarded://mixed/a/b", Some("mixed-deep"), Some("mixed-deep")),
        ("guarded://shelf/{name}", Some("shelf"), Some("shelf")),
        ("GUARDED://shelf/a", None, None),
    ] {
        let says = |name: &str| format!("{uri} is {name}");
        assert_eq!(text(&writer, uri).await, for_writer.map(says), "{uri}");
        assert_eq!(text(&reader, uri).await, for_reader.map(says), "{uri}");
    }
}

#[tokio::test]
async fn nobody_subscribes_to_what_may_not_be_read() {
    let (server, ..) = start().await;
    for (ceiling, uri, code) in [
        (Tier::Read, "guarded://open", Value::Null),
        (Tier::Read, "guarded://shelf/x", Value::Null),
        (Tier::Read, "guarded://secret", json!(-32002)),
        (Tier::Read, "guarded://vault/x", json!(-32002)),
        (Tier::Read, "guarded://nowhere", json!(-32002)),
        (Tier::Operate, "guarded://secret", Value::Null),
    ] {
        let mut client = LineClient::connect(&server, ceiling);
        client.ask_legacy("initialize", json!({"protocolVersion": "2025-11-25"})).await.unwrap();
        let told = client.ask_legacy("resources/subscribe", json!({ "uri": uri })).await.unwrap();
        assert_eq!(told["error"]["code"], code, "{uri}: {told}");
        assert_eq!(told["error"]["data"]["uri"].is_string(), !code.is_null());
    }
}

#[tokio::test]
async fn a_prompt_without_what_it_requires_is_refused_and_recorded() {
    let (server, writer, reader) = start().await;
    for (arguments, is_good) in [
        (json!({"topic": "t"}), true),
        (json!({"topic": "t", "tone": "calm", "unknown": "x"}), true),
        (json!({"topic": ""}), true),
        (json!({}), false),
        (json!(null), false),
        (json!({"tone": "calm"}), false),
        (json!({"topic": 1}), false),
        (json!({"topic": null}), false),
        (json!([]), false),
    ] {
        let params = json!({"name": "open_prompt", "arguments": arguments});
        let answer = writer.ask("prompts/get", params.clone()).await.unwrap();
        assert_eq!(answer.json().get("result").is_some(), is_good, "{arguments}: {}", answer.body);
        let (status, old) = legacy(&server, &server.rw_token, "prompts/get", &params).await;
        assert_eq!(status, 200);
        if !is_good {
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32602)));
            assert_eq!(old["error"]["code"], -32602, "{arguments}: {old}");
        }
    }
    let (_, error) = writer.refusal("prompts/get", json!({"name": "open_prompt"})).await.unwrap();
    assert!(error["message"].as_str().unwrap().contains("`topic`"), "{error}");
    let outcomes = server.outcomes(1).await.unwrap();
    assert!(outcomes.iter().any(|outcome| outcome["code"] == "InvalidArguments"), "{outcomes:#?}");
    // What a prompt requires is told only to those who may see it.
    let (_, error) = reader.refusal("prompts/get", json!({"name": "secret_prompt"})).await.unwrap();
    assert!(!error.to_string().contains("topic"), "{error}");
}

#[tokio::test]
async fn completion_completes_what_may_be_seen() {
    let (server, writer, reader) = start().await;
    let prompt = |name: &str| json!({"type": "ref/prompt", "name": name});
    let template = |uri: &str| json!({"type": "ref/resource", "uri": uri});
    let params = |reference: &Value| json!({"ref": reference, "argument": {"name": "name", "value": "pa"}});
    for (reference, expected) in [
        (prompt("open_prompt"), json!(["paris", "park", "party"])),
        (template("guarded://shelf/{name}"), json!(["123", "456"])),
        (template("guarded://open"), json!(["123", "456"])),
    ] {
        let result = reader.result("completion/complete", params(&reference)).await.unwrap();
        assert_eq!(result["completion"]["values"], expected);
        assert_eq!(result["completion"]["hasMore"], false);
        let (_, old) = legacy(&server, &server.ro_token, "completion/complete", &params(&reference)).await;
        assert_eq!(old["result"]["completion"]["values"], expected);
    }
    for (secret, absent) in [
        (prompt("secret_prompt"), prompt("zzzzzz")),
        (template("guarded://vault/{name}"), template("zzzzzz://{name}")),
    ] {
        assert!(writer.result("completion/complete", params(&secret)).await.is_ok());
        let mut told = Vec::new();
        for reference in [&secret, &absent] {
            let (status, error) = reader.refusal("completion/complete", params(reference)).await.unwrap();
            let name = reference["name"].as_str().or(reference["uri"].as_str()).unwrap();
            told.push((status, without(&error, name)));
            assert_eq!(error["code"], -32602);
        }
        assert_eq!(told[0], told[1]);
    }
    for bad in [
        json!({"argument": {"name": "a", "value": "b"}}),
        json!({"ref": {"type": "ref/tool", "name": "x"}, "argument": {"name": "a", "value": "b"}}),
        json!({"ref": prompt("open_prompt")}),
        json!({"ref": prompt("open_prompt"), "argument": {"name": "a"}}),
        json!({"ref": prompt("open_prompt"), "argument": {"name": "a", "value": 1}}),
    ] {
        let (status, error) = writer.refusal("completion/complete", bad.clone()).await.unwrap();
        assert_eq!((status, &error["code"]), (400, &json!(-32602)), "{bad}");
    }
}

#[tokio::test]
async fn what_is_refused_is_recorded_as_denied() {
    let (server, _, reader) = start().await;
    read(&reader, "guarded://secret").await;
    reader.refusal("prompts/get", json!({"name": "secret_prompt"})).await.unwrap();
    let denied: Vec<[String; 2]> = server
        .records()
        .iter()
        .filter(|record| record["decision"] == "deny")
        .map(|record| ["method", "tool"].map(|key| record[key].as_str().unwrap().to_owned()))
        .collect();
    let expected = [["resources/read", "guarded://secret"], ["prompts/get", "secret_prompt"]];
    assert_eq!(denied, expected.map(|pair| pair.map(ToOwned::to_owned)));
}
