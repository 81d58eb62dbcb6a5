//! Calls that are made once under a key of their client, however often it asks.
#![cfg(test)]

use hayward_gateway::limits::Limits;
use hayward_testkit::fixture;
use hayward_testkit::modern::Modern;
use hayward_testkit::server::Server;
use serde_json::{Value, json};

async fn start() -> (Server, Modern) {
    let server = Server::start_with(fixture::guarded(), Limits::default()).await.unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    (server, client)
}

/// A call with its key in `_meta`.
fn keyed(tool: &str, key: &str, arguments: &Value) -> Value {
    json!({"name": tool, "arguments": arguments, "_meta": {"hayward/idempotencyKey": key}})
}

async fn call(client: &Modern, params: Value) -> Value {
    client.result("tools/call", params).await.unwrap()
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"))
}

#[tokio::test]
async fn a_call_is_made_once_under_its_key_and_its_answer_is_the_same() {
    let (server, client) = start().await;
    let first = call(&client, keyed("counts", "k-1", &json!({"bytes": 1}))).await;
    assert_eq!(text(&first), r#"0 {"bytes":1}x"#);
    for _ in 0..3 {
        assert_eq!(call(&client, keyed("counts", "k-1", &json!({"bytes": 1}))).await, first);
    }
    // Another key, and none, are calls of their own.
    assert_eq!(text(&call(&client, keyed("counts", "k-2", &json!({}))).await), "1 {}");
    for calls in [2, 3] {
        assert_eq!(text(&client.call("counts", json!({})).await.unwrap()), format!("{calls} {{}}"));
    }
    // The record tells a repetition from a call.
    let outcomes = server.outcomes(7).await.unwrap();
    let codes: Vec<_> = outcomes.iter().map(|outcome| outcome["code"].as_str()).collect();
    let repeated = Some("Repeated");
    assert_eq!(codes, [None, repeated, repeated, repeated, None, None, None]);
}

#[tokio::test]
async fn the_key_may_be_an_argument_which_the_tool_does_not_see() {
    let (_server, client) = start().await;
    let arguments = json!({"bytes": 1, "idempotency_key": "k"});
    let first = client.call("counts", arguments.clone()).await.unwrap();
    assert_eq!(text(&first), r#"0 {"bytes":1}x"#);
    assert_eq!(client.call("counts", arguments.clone()).await.unwrap(), first);
    // It is the same key wherever it stands.
    assert_eq!(call(&client, keyed("counts", "k", &json!({"bytes": 1}))).await, first);
    let other = call(&client, keyed("counts", "other", &arguments)).await;
    assert!(other["isError"] == true && text(&other).contains("InvalidArguments"), "{other}");
}

#[tokio::test]
async fn a_key_is_bound_to_its_credential_its_tool_and_its_arguments() {
    let (server, client) = start().await;
    call(&client, keyed("counts", "k", &json!({"bytes": 1}))).await;
    for (tool, arguments) in [("counts", json!({"bytes": 2})), ("changes_it", json!({"to": "x"}))] {
        let refused = call(&client, keyed(tool, "k", &arguments)).await;
        assert!(refused["isError"] == true && text(&refused).contains("KeyReused"), "{refused}");
    }
    let other = server.add_token(hayward_api::kinds::token::Role::Rw);
    let other = Modern::new(server.address, &other);
    assert_eq!(text(&call(&other, keyed("counts", "k", &json!({"bytes": 1}))).await), r#"1 {"bytes":1}x"#);
}

#[tokio::test]
async fn a_key_that_can_not_be_one_is_refused_and_nothing_is_done() {
    let (_server, client) = start().await;
    for key in [json!(""), json!("a b"), json!("k\u{e9}"), json!("x".repeat(129)), json!(7), json!(null)] {
        let refused = client.call("counts", json!({"idempotency_key": key})).await.unwrap();
        assert!(refused["isError"] == true && text(&refused).contains("idempotency_key"), "{refused}");
    }
    let longest = client.call("counts", json!({"idempotency_key": "x".repeat(128)})).await.unwrap();
    assert_eq!(text(&longest), "0 {}");
}

#[tokio::test]
async fn what_only_looks_needs_no_key_and_looks_again() {
    let (_server, client) = start().await;
    for calls in 0..3 {
        let looked = call(&client, keyed("looks_and_counts", "k", &json!({}))).await;
        assert_eq!(text(&looked), format!("{calls} {{}}"));
    }
}

#[tokio::test]
async fn while_a_call_runs_its_repetitions_are_told_so_and_never_run() {
    let (_server, client) = start().await;
    let begin = || {
        let client = client.clone();
        tokio::spawn(async move { call(&client, keyed("holds", "k", &json!({}))).await })
    };
    // Whichever has the key first runs, and the other one is told.
    let (told, runs) = futures_util::future::select(begin(), begin()).await.factor_first();
    assert!(text(&told.unwrap()).contains("InProgress"));
    let again = async || call(&client, keyed("holds", "k", &json!({}))).await;
    assert!(text(&again().await).contains("InProgress"));
    client.call("frees", json!({})).await.unwrap();
    let first = runs.await.unwrap();
    assert_eq!((text(&first), again().await), ("held", first.clone()));
}

#[tokio::test]
async fn a_client_whose_connection_broke_gets_what_came_of_its_call() {
    let limits = Limits { overrun_ms: 50, ..Limits::default() };
    let server = Server::start_with(fixture::guarded(), limits).await.unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    let stream = client.open(json!(1), "tools/call", keyed("holds", "k", &json!({}))).await.unwrap();
    server.intents(1).await.unwrap();
    drop(stream);
    let ended = server.endings(1).await.unwrap();
    assert_eq!(ended, ["cancelled"]);
    let again = call(&client, keyed("holds", "k", &json!({}))).await;
    assert!(text(&again).contains("\"Cancelled\""), "{again}");
}

#[tokio::test]
async fn of_many_repetitions_at_once_one_has_an_effect() {
    let (_server, client) = start().await;
    let calls = (0..40).map(|_| call(&client, keyed("counts", "k", &json!({}))));
    let results = futures_util::future::join_all(calls).await;
    let (made, told): (Vec<_>, Vec<_>) = results.iter().partition(|result| text(result) == "0 {}");
    assert!(!made.is_empty(), "it was made");
    assert!(told.iter().all(|result| text(result).contains("InProgress")), "{told:?}");
    assert_eq!(text(&client.call("counts", json!({})).await.unwrap()), "1 {}");
}

#[tokio::test]
async fn a_result_too_large_to_be_kept_is_made_once_all_the_same() {
    let (_server, client) = start().await;
    let large = json!({"bytes": 300_000});
    let first = call(&client, keyed("counts", "k", &large)).await;
    assert!(text(&first).len() > 300_000);
    let again = call(&client, keyed("counts", "k", &large)).await;
    assert!(again["isError"] == true && text(&again).contains("ResultNotKept"), "{again}");
    assert_eq!(text(&client.call("counts", json!({})).await.unwrap()), "1 {}");
}

#[tokio::test]
async fn a_call_that_asks_first_is_made_once_with_its_answers() {
    let (_server, client) = start().await;
    let asks = || keyed("changes_it", "k", &json!({"to": "x"}));
    let asked = call(&client, asks()).await;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    // Asking is no effect: it may be asked again.
    assert_eq!(call(&client, asks()).await["resultType"], "input_required");
    let mut confirmed = asks();
    confirmed["inputResponses"] = json!({"confirm": {"action": "accept", "content": {"ok": true}}});
    confirmed["requestState"] = asked["requestState"].clone();
    let done = call(&client, confirmed.clone()).await;
    assert_eq!(text(&done), "did it to x");
    // Its state is used up, and its answer is there all the same.
    assert_eq!(call(&client, confirmed).await, done);
}

#[tokio::test]
async fn a_task_keeps_its_key_until_it_has_ended() {
    let (_server, client) = start().await;
    let begun = call(&client, keyed("changes_as_task", "k", &json!({}))).await;
    assert_eq!(begun["resultType"], "task", "{begun}");
    let again = async || call(&client, keyed("changes_as_task", "k", &json!({}))).await;
    let mut told = again().await;
    while told["isError"] == true {
        assert!(text(&told).contains("InProgress"), "{told}");
        told = again().await;
    }
    assert_eq!(text(&told), "changed", "the result, and no second task");
}
