//! Calls that need something of their client before they are answered: what it carries between the rounds, and what
//! becomes of it if it is changed, late, or shown by somebody else.
#![cfg(test)]

use std::time::{Duration, Instant};

use hayward_api::Tier;
use hayward_api::kinds::token::Role;
use hayward_gateway::limits::Limits;
use hayward_testkit::client::{post, request};
use hayward_testkit::fixture;
use hayward_testkit::lines::LineClient;
use hayward_testkit::modern::{Events, Modern};
use hayward_testkit::server::Server;
use serde_json::{Value, json};

async fn start() -> Server {
    Server::start(fixture::guarded()).await.unwrap()
}

fn client(server: &Server) -> Modern {
    Modern::new(server.address, &server.rw_token)
}

fn accept(content: &Value) -> Value {
    json!({"action": "accept", "content": content})
}

/// The request of a tool that asks for a confirmation.
fn call(tool: &str, to: &str) -> Value {
    json!({"name": tool, "arguments": {"to": to}})
}

/// The same request with a confirmation, and with a state if there is one.
fn confirmed(mut call: Value, state: &Value) -> Value {
    call["inputResponses"] = json!({"confirm": accept(&json!({"ok": true}))});
    if !state.is_null() {
        call["requestState"] = state.clone();
    }
    call
}

/// Asks, and returns the state that comes with the questions.
async fn first_round(client: &Modern, method: &str, params: Value) -> Value {
    let asked = client.result(method, params).await.unwrap();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    assert!(asked.get("ttlMs").is_none(), "questions are never cached");
    assert!(!asked["inputRequests"].as_object().unwrap().is_empty());
    asked["requestState"].clone()
}

/// The one error for whatever is wrong with a state.
async fn is_refused(client: &Modern, method: &str, params: Value) -> bool {
    let (status, error) = client.refusal(method, params).await.unwrap();
    let told = error["message"].as_str().unwrap();
    (status, &error["code"]) == (400, &json!(-32602)) && told.contains("call again without requestState")
}

#[tokio::test]
async fn a_call_goes_on_where_it_asked() {
    let server = start().await;
    let client = client(&server);
    for tool in ["looks_again", "changes_it"] {
        let state = first_round(&client, "tools/call", call(tool, "x")).await;
        let done = client.result("tools/call", confirmed(call(tool, "x"), &state)).await.unwrap();
        assert_eq!(done["resultType"], "complete");
        assert_eq!(done["content"][0]["text"], "did it to x");
    }
}

#[tokio::test]
async fn prompts_and_resources_ask_in_the_same_way() {
    let server = start().await;
    let client = client(&server);
    let prompt = json!({"name": "asking_prompt", "arguments": {"topic": "t"}});
    let resource = json!({"uri": "guarded://asking"});
    for (method, params) in [("prompts/get", prompt), ("resources/read", resource)] {
        let state = first_round(&client, method, params.clone()).await;
        let mut again = params.clone();
        again["inputResponses"] = json!({"why": accept(&json!({"reason": "love"}))});
        again["requestState"] = state.clone();
        let done = client.result(method, again.clone()).await.unwrap();
        assert_eq!(done["resultType"], "complete", "{method}");
        assert!(done.to_string().contains("because of love"), "{method}: {done}");
        assert_eq!(done.get("ttlMs").is_some(), method == "resources/read");
        // Bound to this very request, as those of tools are.
        let other = call("looks_again", "x");
        assert!(is_refused(&client, "tools/call", confirmed(other, &state)).await, "{method}");
        if method == "prompts/get" {
            again["arguments"]["topic"] = json!("other");
            assert!(is_refused(&client, method, again).await);
        }
    }
}

#[tokio::test]
async fn a_state_with_any_byte_changed_is_refused_and_nothing_is_run() {
    let server = start().await;
    let client = client(&server);
    let state = first_round(&client, "tools/call", call("looks_again", "x")).await;
    let text = state.as_str().unwrap();
    let changed = (0..text.len()).map(|at| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    });
    let others = ["", "x", "null", "AAAA", &text[..text.len() - 1], &text[1..]].map(ToOwned::to_owned);
    for bad in changed.chain(others).chain([format!("{text}="), format!("{text}{text}")]) {
        let params = confirmed(call("looks_again", "x"), &json!(bad));
        // Where the name of the key is another one, so is the answer.
        let (_, refusal) = client.refusal("tools/call", params).await.unwrap();
        assert!(refusal["code"] == -32602 || refusal["code"] == 503, "{bad}: {refusal}");
    }
    assert_eq!(server.outcomes(1).await.unwrap().len(), 1, "only the first round ran");
    let done = client.result("tools/call", confirmed(call("looks_again", "x"), &state)).await.unwrap();
    assert_eq!(done["content"][0]["text"], "did it to x", "and it is good all the same");
}

#[tokio::test]
async fn a_state_is_good_for_its_principal_and_its_request_only() {
    let server = start().await;
    let client = client(&server);
    let state = first_round(&client, "tools/call", call("looks_again", "x")).await;
    let other = Modern::new(server.address, &server.add_token(Role::Rw));
    assert!(is_refused(&other, "tools/call", confirmed(call("looks_again", "x"), &state)).await);
    let spelled = json!({"name": "looks_again", "arguments": {"to": "x", "more": 1}});
    for request in [call("looks_again", "y"), call("looks_elsewhere", "x"), call("changes_it", "x"), spelled]
    {
        assert!(is_refused(&client, "tools/call", confirmed(request, &state)).await);
    }
    let mut prompt = json!({"name": "asking_prompt", "arguments": {"topic": "t"}, "requestState": state});
    assert!(is_refused(&client, "prompts/get", prompt.take()).await);
    let read = json!({"uri": "guarded://asking", "requestState": state});
    assert!(is_refused(&client, "resources/read", read).await);
    // A tool that keeps no state takes none either.
    let stateless = json!({"name": "breaks", "requestState": state});
    assert!(is_refused(&client, "tools/call", stateless).await);
}

#[tokio::test]
async fn a_state_expires() {
    let limits = Limits { state_lifetime_ms: 1_000, ..Limits::default() };
    let server = Server::start_with(fixture::guarded(), limits).await.unwrap();
    let client = client(&server);
    let started = Instant::now();
    let state = first_round(&client, "tools/call", call("looks_again", "x")).await;
    let again = || confirmed(call("looks_again", "x"), &state);
    loop {
        let message = client.ask("tools/call", again()).await.unwrap().json();
        if message.get("error").is_some() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(3), "it never expires");
    }
    assert!(is_refused(&client, "tools/call", again()).await);
}

#[tokio::test]
async fn a_state_is_spent_by_what_has_an_effect_and_may_be_shown_again_to_what_only_looks() {
    let server = start().await;
    let client = client(&server);
    for (tool, again) in [("looks_again", true), ("changes_it", false)] {
        let state = first_round(&client, "tools/call", call(tool, "x")).await;
        let params = || confirmed(call(tool, "x"), &state);
        client.result("tools/call", params()).await.unwrap();
        for _ in 0..2 {
            if again {
                client.result("tools/call", params()).await.unwrap();
            } else {
                assert!(is_refused(&client, "tools/call", params()).await);
            }
        }
    }
    // Of many who show it at once, one gets through.
    let state = first_round(&client, "tools/call", call("changes_it", "x")).await;
    let mut shown = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (client, params) = (client.clone(), confirmed(call("changes_it", "x"), &state));
        shown.spawn(async move { client.ask("tools/call", params).await.unwrap().json() });
    }
    let answers = shown.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.get("result").is_some()).count(), 1);
}

#[tokio::test]
async fn a_state_of_before_a_restart_or_of_another_node_is_answered_as_unavailable() {
    let (before, after) = (start().await, start().await);
    after.admit(&before.rw_token, Role::Rw).unwrap();
    let state = first_round(&client(&before), "tools/call", call("looks_again", "x")).await;
    let client = Modern::new(after.address, &before.rw_token);
    let asked = client.refusal("tools/call", confirmed(call("looks_again", "x"), &state));
    let (_, refusal) = asked.await.unwrap();
    assert_eq!(
        (&refusal["code"], &refusal["data"]["code"]),
        (&json!(503), &json!("unavailable")),
        "{refusal}"
    );
    let state = first_round(&client, "tools/call", call("looks_again", "x")).await;
    client.result("tools/call", confirmed(call("looks_again", "x"), &state)).await.unwrap();
}

#[tokio::test]
async fn answers_of_another_shape_are_refused_and_missing_ones_asked_for_again() {
    let server = start().await;
    let client = client(&server);
    let state = first_round(&client, "tools/call", call("looks_again", "x")).await;
    let many: serde_json::Map<_, _> = (0..65).map(|n| (n.to_string(), json!({}))).collect();
    for bad in [
        json!([]),
        json!("confirm"),
        json!(null),
        json!({"confirm": true}),
        json!({"confirm": null}),
        json!({"confirm": [1]}),
        json!(many),
    ] {
        let mut params = confirmed(call("looks_again", "x"), &state);
        params["inputResponses"] = bad.clone();
        let (status, error) = client.refusal("tools/call", params).await.unwrap();
        assert_eq!((status, &error["code"]), (400, &json!(-32602)), "{bad}");
    }
    for bad in [json!(1), json!(null), json!({}), json!("x".repeat(100_000))] {
        let mut params = confirmed(call("looks_again", "x"), &state);
        params["requestState"] = bad;
        assert_eq!(client.refusal("tools/call", params).await.unwrap().1["code"], -32602);
    }
    for asked_again in [
        json!({}),
        json!({"other": accept(&json!({"ok": true}))}),
        json!({"confirm": {"action": "decline"}}),
        json!({"confirm": {}}),
    ] {
        let mut params = confirmed(call("looks_again", "x"), &state);
        params["inputResponses"] = asked_again;
        first_round(&client, "tools/call", params).await;
    }
    let mut more = confirmed(call("looks_again", "x"), &state);
    more["inputResponses"]["unknown"] = json!({});
    client.result("tools/call", more).await.unwrap();
}

#[tokio::test]
async fn a_client_is_never_asked_what_it_can_not_answer() {
    let server = start().await;
    for capabilities in [json!({}), json!({"elicitation": {"url": {}}}), json!({"sampling": {}, "roots": {}})]
    {
        let client = client(&server).able_to(capabilities);
        for (method, params) in [
            ("tools/call", call("looks_again", "x")),
            ("prompts/get", json!({"name": "asking_prompt", "arguments": {"topic": "t"}})),
            ("resources/read", json!({"uri": "guarded://asking"})),
        ] {
            let (status, error) = client.refusal(method, params).await.unwrap();
            assert_eq!((status, &error["code"]), (400, &json!(-32021)), "{method}");
            assert_eq!(error["data"]["requiredCapabilities"], json!({"elicitation": {}}), "{method}");
        }
    }
    // Everything that is lacking is named at once.
    let suite = Server::start(fixture::conformance()).await.unwrap();
    let asks_three = json!({"name": "test_input_required_result_multiple_inputs"});
    for (able, lacking) in [
        (json!({}), json!({"elicitation": {}, "sampling": {}, "roots": {}})),
        (json!({"sampling": {}}), json!({"elicitation": {}, "roots": {}})),
    ] {
        let client = Modern::new(suite.address, &suite.rw_token).able_to(able);
        let (_, error) = client.refusal("tools/call", asks_three.clone()).await.unwrap();
        assert_eq!(error["data"]["requiredCapabilities"], lacking);
    }
    // What was said before does not count: every request says it again.
    let able = client(&server);
    let state = first_round(&able, "tools/call", call("looks_again", "x")).await;
    let unable = able.able_to(json!({}));
    let mut unanswered = call("looks_again", "x");
    unanswered["requestState"] = state;
    assert_eq!(unable.refusal("tools/call", unanswered).await.unwrap().1["code"], -32021);
}

#[tokio::test]
async fn what_a_client_carries_is_bounded() {
    let server = start().await;
    let client = client(&server);
    let keeps = |bytes: usize| json!({"name": "keeps_much", "arguments": {"bytes": bytes}});
    let state = first_round(&client, "tools/call", keeps(60_000)).await;
    let mut again = keeps(60_000);
    again["inputResponses"] = json!({"go": accept(&json!({"ok": true}))});
    again["requestState"] = state;
    let done = client.result("tools/call", again).await.unwrap();
    assert_eq!(done["content"][0]["text"], "60000 bytes");
    for too_much in [
        client.result("tools/call", keeps(70_000)).await.unwrap(),
        client.call("asks_too_much", json!({})).await.unwrap(),
    ] {
        assert_eq!(too_much["isError"], true);
        assert!(too_much.to_string().contains("InternalError"), "{too_much}");
    }
    let endings = server.endings(4).await.unwrap();
    assert_eq!(endings, ["ok", "ok", "error", "error"], "the record says what the client is told");
}

#[tokio::test]
async fn a_state_is_used_up_by_the_round_that_is_made_and_by_none_that_is_refused() {
    let limits = Limits { calls_per_principal_max: 1, ..Limits::default() };
    let server = Server::start_with(fixture::guarded(), limits).await.unwrap();
    let client = client(&server);
    let state = first_round(&client, "tools/call", call("changes_it", "x")).await;
    // Another call has the only place meanwhile.
    let other = client.open(json!("h"), "tools/call", json!({"name": "waits"})).await.unwrap();
    server.intents(2).await.unwrap();
    let busy = client.result("tools/call", confirmed(call("changes_it", "x"), &state)).await.unwrap();
    assert!(busy.to_string().contains("RateLimited"), "{busy}");
    drop(other);
    server.outcomes(2).await.unwrap();
    let again = || client.ask("tools/call", confirmed(call("changes_it", "x"), &state));
    let mut done = again().await.unwrap();
    while done.json().to_string().contains("RateLimited") {
        done = again().await.unwrap();
    }
    assert_eq!(done.json()["result"]["isError"], Value::Null, "{done:?}");
    let spent = again().await.unwrap();
    assert_eq!((spent.status, &spent.json()["error"]["code"]), (400, &json!(-32602)), "{spent:?}");
}

#[tokio::test]
async fn every_round_is_recorded_with_its_intent_and_its_outcome() {
    let server = start().await;
    let client = client(&server);
    let state = first_round(&client, "tools/call", call("changes_it", "x")).await;
    client.result("tools/call", confirmed(call("changes_it", "x"), &state)).await.unwrap();
    let read = json!({"uri": "guarded://asking"});
    first_round(&client, "resources/read", read).await;
    client.result("prompts/get", json!({"name": "open_prompt", "arguments": {"topic": "t"}})).await.unwrap();
    let complete = json!({
        "ref": {"type": "ref/prompt", "name": "open_prompt"}, "argument": {"name": "topic", "value": ""},
    });
    client.result("completion/complete", complete).await.unwrap();
    let outcomes = server.outcomes(5).await.unwrap();
    let codes: Vec<&Value> = outcomes.iter().map(|outcome| &outcome["code"]).collect();
    let (asked, done) = (&json!("InputRequired"), &Value::Null);
    assert_eq!(codes, [asked, done, asked, done, done]);
    let records = server.records();
    let intents: Vec<[&str; 2]> = records
        .iter()
        .filter(|record| record["type"] == "intent")
        .map(|intent| ["method", "tool"].map(|key| intent[key].as_str().unwrap()))
        .collect();
    assert_eq!(
        intents,
        [
            ["tools/call", "changes_it"],
            ["tools/call", "changes_it"],
            ["resources/read", "guarded://asking"],
            ["prompts/get", "open_prompt"],
            ["completion/complete", "open_prompt"],
        ]
    );
    // All rounds of a call go by the id of the first, and a call that begins goes by its own.
    let intents: Vec<_> = records.iter().filter(|record| record["type"] == "intent").collect();
    assert_eq!(intents[1]["correlation_id"], intents[0]["request_id"]);
    assert_ne!(intents[1]["request_id"], intents[0]["request_id"]);
    assert!([0, 2, 3, 4].iter().all(|at| intents[*at].get("correlation_id").is_none()), "{intents:#?}");
    // No answer, and nothing of what a client carries, stands in the record.
    let text: String = records.iter().map(ToString::to_string).collect();
    assert!(!text.contains(state.as_str().unwrap()) && !text.contains("inputResponses"), "{text}");
}

#[tokio::test]
async fn a_legacy_client_on_lines_is_asked_while_its_request_waits() {
    let server = start().await;
    let mut client = LineClient::connect(&server, Tier::Operate);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}});
    client.ask_legacy("initialize", params).await.unwrap();
    for (method, params, expected) in [
        ("tools/call", call("changes_it", "x"), "did it to x"),
        ("prompts/get", json!({"name": "asking_prompt", "arguments": {"topic": "t"}}), "because of"),
        ("resources/read", json!({"uri": "guarded://asking"}), "because of"),
    ] {
        let asked = client.ask_legacy(method, params).await.unwrap();
        assert_eq!(asked["method"], "elicitation/create", "{method}");
        let result = accept(&json!({"ok": true, "reason": "love"}));
        client.send(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": result})).await.unwrap();
        let done = client.message().await.unwrap();
        assert_eq!(done["id"], 1);
        assert!(done["result"].to_string().contains(expected), "{method}: {done}");
        for modern in ["resultType", "requestState", "inputRequests", "ttlMs", "cacheScope"] {
            assert!(done["result"].get(modern).is_none(), "{method}: {modern}");
        }
    }
    // What a modern client would carry is of no weight here.
    let mut shown = confirmed(call("looks_again", "x"), &json!("a state"));
    shown["requestState"] = json!("nonsense");
    assert_eq!(client.ask_legacy("tools/call", shown).await.unwrap()["method"], "elicitation/create");
}

#[tokio::test]
async fn a_legacy_client_that_can_not_be_asked_is_told_so_in_its_own_way() {
    let server = start().await;
    let mut client = LineClient::connect(&server, Tier::Read);
    client.ask_legacy("initialize", json!({"protocolVersion": "2025-11-25"})).await.unwrap();
    let told = client.ask_legacy("tools/call", call("looks_again", "x")).await.unwrap();
    assert_eq!(told["result"]["isError"], true);
    assert!(told.to_string().contains("ClientCapabilityMissing"), "{told}");
    let prompt = json!({"name": "asking_prompt", "arguments": {"topic": "t"}});
    assert_eq!(client.ask_legacy("prompts/get", prompt).await.unwrap()["error"]["code"], 501);
    let read = json!({"uri": "guarded://asking"});
    assert_eq!(client.ask_legacy("resources/read", read).await.unwrap()["error"]["code"], 501);

    // Without a session there is no way back to a client over HTTP.
    let bearer = format!("Bearer {}", server.rw_token);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call("looks_again", "x")});
    let answer =
        post(server.address, "/mcp", &[("authorization", &bearer)], &body.to_string()).await.unwrap();
    assert_eq!((answer.status, &answer.json()["result"]["isError"]), (200, &json!(true)));
    assert!(answer.body.contains("ClientCapabilityMissing"), "{}", answer.body);
}

#[tokio::test]
async fn a_legacy_call_asks_so_often_and_no_more() {
    let server = start().await;
    let mut client = LineClient::connect(&server, Tier::Read);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}});
    client.ask_legacy("initialize", params).await.unwrap();
    let mut told = client.ask_legacy("tools/call", json!({"name": "asks_for_ever"})).await.unwrap();
    let mut asked = 0;
    while told["method"] == "elicitation/create" {
        asked += 1;
        let answer = json!({"jsonrpc": "2.0", "id": told["id"], "result": accept(&json!({"answer": "x"}))});
        client.send(&answer).await.unwrap();
        told = client.message().await.unwrap();
    }
    assert_eq!(asked, 16);
    assert!(told["result"].to_string().contains("TooManyRounds"), "{told}");
}

/// A legacy client over HTTP that can be asked: the id of its session.
async fn open_session(server: &Server, token: &str) -> String {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string();
    let bearer = format!("Bearer {token}");
    let answer = post(server.address, "/mcp", &[("authorization", &bearer)], &body).await.unwrap();
    answer.header("mcp-session-id").unwrap().to_owned()
}

/// Calls `looks_again` in a session, and reads until it asks.
async fn wait_for_question(server: &Server, token: &str, session: &str, id: u32) -> (Events, Value) {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", session),
    ];
    let body =
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call("looks_again", "x")});
    let bytes = request("POST", server.address, "/mcp", &headers, &body.to_string());
    let mut events = Events::open(server.address, &bytes).await.unwrap();
    loop {
        let told = events.message().await.unwrap();
        if told["method"] == "elicitation/create" {
            return (events, told["id"].clone());
        }
    }
}

#[tokio::test]
async fn a_call_that_waits_for_an_answer_is_no_running_call_but_an_open_stream() {
    let limits = Limits { calls_per_principal_max: 1, streams_per_principal_max: 2, ..Limits::default() };
    let server = Server::start_with(fixture::guarded(), limits).await.unwrap();
    let session = open_session(&server, &server.rw_token).await;
    let (_first, _) = wait_for_question(&server, &server.rw_token, &session, 1).await;
    let (mut second, question) = wait_for_question(&server, &server.rw_token, &session, 2).await;
    let busy = client(&server).call("breaks", json!({})).await.unwrap();
    assert!(busy.to_string().contains("InternalError"), "others are served: {busy}");
    let listen = json!({"notifications": {}});
    assert_eq!(client(&server).refusal("subscriptions/listen", listen).await.unwrap().0, 429);

    let bearer = format!("Bearer {}", server.rw_token);
    let headers = [("authorization", bearer.as_str()), ("mcp-session-id", session.as_str())];
    let answer =
        json!({"jsonrpc": "2.0", "id": question, "result": accept(&json!({"ok": true}))}).to_string();
    assert_eq!(post(server.address, "/mcp", &headers, &answer).await.unwrap().status, 202);
    assert!(second.message().await.unwrap()["result"].to_string().contains("did it to x"));
    let mut events = client(&server).listen(json!(1), json!({})).await.unwrap();
    events.message().await.unwrap();
}

#[tokio::test]
async fn a_call_that_waits_for_an_answer_ends_with_its_credential_and_at_a_shutdown() {
    let server = start().await;
    let token = server.add_token(Role::Ro);
    let session = open_session(&server, &token).await;
    let (mut waiting, _) = wait_for_question(&server, &token, &session, 1).await;
    let started = Instant::now();
    server.revoke(&token).unwrap();
    let ended = until_result(&mut waiting).await;
    assert!(ended["result"].to_string().contains("Cancelled"), "{ended}");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());

    let session = open_session(&server, &server.rw_token).await;
    let (mut waiting, _) = wait_for_question(&server, &server.rw_token, &session, 1).await;
    let started = Instant::now();
    server.shut_down();
    assert!(until_result(&mut waiting).await["result"].to_string().contains("Cancelled"));
    server.ended().await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

/// The result, past the question that is taken back.
async fn until_result(events: &mut Events) -> Value {
    loop {
        let told = events.message().await.unwrap();
        if told.get("result").is_some() {
            return told;
        }
    }
}
