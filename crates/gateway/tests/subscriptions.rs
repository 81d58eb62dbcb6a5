//! `subscriptions/listen` as a client sees it, over HTTP and on byte streams.
#![cfg(test)]

use std::time::{Duration, Instant};

use hayward_api::Tier;
use hayward_api::kinds::token::Role;
use hayward_gateway::limits::Limits;
use hayward_testkit::fixture;
use hayward_testkit::lines::LineClient;
use hayward_testkit::modern::{Events, Modern};
use hayward_testkit::server::Server;
use hayward_tool::{Change, Changes};
use serde_json::{Value, json};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const OPEN: &str = "guarded://open";

/// A server, and what lets something change behind it.
async fn start(limits: Limits) -> (Server, Changes) {
    let toolset = fixture::guarded();
    let changes = toolset.changes.clone();
    (Server::start_with(toolset, limits).await.unwrap(), changes)
}

fn everything() -> Value {
    json!({
        "toolsListChanged": true,
        "promptsListChanged": true,
        "resourcesListChanged": true,
        "resourceSubscriptions": [OPEN],
    })
}

/// One change of each kind.
const CHANGES: [fn() -> Change; 4] =
    [|| Change::Tools, || Change::Prompts, || Change::Resources, || Change::Resource(OPEN.into())];

fn tell_every_change(changes: &Changes) {
    for change in CHANGES {
        changes.tell(change());
    }
}

const METHODS: [&str; 4] = [
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
];

fn id_of(message: &Value) -> &Value {
    let within = if message.get("result").is_some() { &message["result"] } else { &message["params"] };
    &within["_meta"][SUBSCRIPTION]
}

/// The next message is the result that ends the subscription, and nothing comes after it.
async fn completes(events: &mut Events, id: &Value) {
    let last = events.message().await.unwrap();
    assert_eq!((&last["id"], &last["result"]["resultType"]), (id, &json!("complete")), "{last}");
    assert_eq!(id_of(&last), id);
    assert_eq!(events.next().await.unwrap(), None);
}

#[tokio::test]
async fn every_message_carries_the_id_of_the_request_and_the_acknowledgement_comes_first() {
    let (server, changes) = start(Limits::default()).await;
    let client = Modern::new(server.address, &server.rw_token);
    for id in [json!("a \"text\""), json!(7), json!(-9_007_199_254_740_991_i64), json!("")] {
        let mut events = client.listen(id.clone(), everything()).await.unwrap();
        let first = events.message().await.unwrap();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(first["params"]["notifications"], everything());
        assert_eq!(id_of(&first), &id);
        assert!(first.get("id").is_none(), "it is no request");
        for (change, method) in CHANGES.iter().zip(METHODS) {
            changes.tell(change());
            let told = events.message().await.unwrap();
            assert_eq!((&told["method"], id_of(&told)), (&json!(method), &id));
        }
        changes.tell(Change::Resource(OPEN.into()));
        assert_eq!(events.message().await.unwrap()["params"]["uri"], OPEN);
    }
}

#[tokio::test]
async fn what_was_not_asked_for_is_never_told() {
    let (server, changes) = start(Limits::default()).await;
    let client = Modern::new(server.address, &server.rw_token);
    let filters = [
        json!({"toolsListChanged": true, "promptsListChanged": false}),
        json!({"promptsListChanged": true, "toolsListChanged": null}),
        json!({"resourcesListChanged": true, "toolsListChanged": "true", "promptsListChanged": 1}),
        json!({"resourceSubscriptions": [OPEN]}),
    ];
    for (filter, wanted) in filters.into_iter().zip(METHODS) {
        let mut events = client.listen(json!(1), filter).await.unwrap();
        let granted = events.message().await.unwrap()["params"]["notifications"].clone();
        assert_eq!(granted.as_object().unwrap().len(), 1, "{granted}");
        tell_every_change(&changes);
        tell_every_change(&changes);
        for _ in 0..2 {
            assert_eq!(events.message().await.unwrap()["method"], wanted);
        }
        // Nothing else stands between these and what comes last.
        server.protocol.road().revoke(&server.credentials.identify(&server.rw_token, 0).unwrap().credential);
        completes(&mut events, &json!(1)).await;
    }
}

#[tokio::test]
async fn a_filter_that_names_nothing_is_acknowledged_and_told_nothing() {
    let (server, changes) = start(Limits::default()).await;
    let client = Modern::new(server.address, &server.rw_token);
    let mut events = client.listen(json!(1), json!({"somethingNew": true})).await.unwrap();
    assert_eq!(events.message().await.unwrap()["params"]["notifications"], json!({}));
    tell_every_change(&changes);
    server.shut_down();
    completes(&mut events, &json!(1)).await;
}

#[tokio::test]
async fn only_what_may_be_seen_is_granted() {
    let (server, _) = start(Limits::default()).await;
    let uris = json!([
        "guarded://secret",
        OPEN,
        "guarded://vault/x",
        "guarded://shelf/x",
        "guarded://nowhere",
        "guarded://mixed/a",
        "guarded://mixed/a/b",
        OPEN,
    ]);
    for (token, granted) in [
        (&server.ro_token, json!([OPEN, "guarded://shelf/x", "guarded://mixed/a/b"])),
        (
            &server.rw_token,
            json!([
                "guarded://secret",
                OPEN,
                "guarded://vault/x",
                "guarded://shelf/x",
                "guarded://mixed/a",
                "guarded://mixed/a/b"
            ]),
        ),
    ] {
        let client = Modern::new(server.address, token);
        let mut events = client.listen(json!(1), json!({"resourceSubscriptions": uris})).await.unwrap();
        let acknowledged = events.message().await.unwrap();
        assert_eq!(acknowledged["params"]["notifications"], json!({ "resourceSubscriptions": granted }));
    }
}

#[tokio::test]
async fn what_is_not_offered_is_not_granted() {
    let server = Server::start(fixture::unruly()).await.unwrap();
    let mut wanted = everything();
    wanted["taskIds"] = json!(["0123"]);
    // Whatever the client can do: tasks are not offered, so there are none.
    for capabilities in [json!({}), json!({"extensions": {"io.modelcontextprotocol/tasks": {}}})] {
        let client = Modern::new(server.address, &server.rw_token).able_to(capabilities);
        let mut events = client.listen(json!(1), wanted.clone()).await.unwrap();
        let acknowledged = events.message().await.unwrap();
        assert_eq!(acknowledged["params"]["notifications"], json!({"toolsListChanged": true}));
    }
}

#[tokio::test]
async fn tasks_of_others_are_left_out_and_own_ones_are_told_with_what_they_came_to() {
    let (server, _) = start(Limits::default()).await;
    let client = Modern::new(server.address, &server.rw_token);
    let other = Modern::new(server.address, &server.add_token(Role::Rw));
    let task = client.call("asks_as_task", json!({})).await.unwrap()["taskId"].clone();
    let foreign = other.call("waits_as_task", json!({})).await.unwrap()["taskId"].clone();
    let filter = json!({"taskIds": [foreign, task, "0123456789abcdef0123456789abcdef"]});
    let mut events = client.listen(json!("t"), filter).await.unwrap();
    let acknowledged = events.message().await.unwrap();
    assert_eq!(acknowledged["params"]["notifications"], json!({"taskIds": [task]}));
    // How far it is, from the beginning on: what was told before is not told again.
    let until = async |events: &mut Events, status: &str| loop {
        let told = events.message().await.unwrap();
        assert_eq!((&told["method"], id_of(&told)), (&json!("notifications/tasks"), &json!("t")));
        assert_eq!(told["params"]["taskId"], task);
        if told["params"]["status"] == status {
            return told["params"].clone();
        }
    };
    for answer in ["one", "two"] {
        let asked = until(&mut events, "input_required").await;
        let key = asked["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
        let answers = json!({key: {"action": "accept", "content": {"answer": answer}}});
        let update = json!({"taskId": task, "inputResponses": answers});
        assert_eq!(client.result("tasks/update", update).await.unwrap(), json!({"resultType": "complete"}));
    }
    let ended = until(&mut events, "completed").await;
    assert_eq!(ended["result"]["content"][0]["text"], "one, then two");
    let mut got = client.result("tasks/get", json!({"taskId": task})).await.unwrap();
    let mut told = ended;
    got.as_object_mut().unwrap().remove("resultType");
    told.as_object_mut().unwrap().remove("_meta");
    assert_eq!(got, told, "a notification says what tasks/get would");

    // Whoever begins to listen after the end hears of it all the same.
    let mut late = client.listen(json!(2), json!({"taskIds": [task]})).await.unwrap();
    late.message().await.unwrap();
    assert_eq!(late.message().await.unwrap()["params"]["result"]["content"][0]["text"], "one, then two");
}

#[tokio::test]
async fn a_client_that_knows_no_tasks_can_not_listen_to_them() {
    let (server, _) = start(Limits::default()).await;
    let client = Modern::new(server.address, &server.rw_token).able_to(json!({"elicitation": {}}));
    let params = json!({"notifications": {"taskIds": ["x"]}});
    let (status, error) = client.refusal("subscriptions/listen", params).await.unwrap();
    assert_eq!((status, &error["code"]), (400, &json!(-32021)));
    let needed = &error["data"]["requiredCapabilities"]["extensions"];
    assert!(needed.get("io.modelcontextprotocol/tasks").is_some(), "{error}");
}

#[tokio::test]
async fn a_revocation_ends_the_subscriptions_of_its_credential_only() {
    let (server, changes) = start(Limits::default()).await;
    let revoked = server.add_token(Role::Rw);
    let client = Modern::new(server.address, &revoked);
    let mut ended = client.listen(json!(1), everything()).await.unwrap();
    let mut other =
        Modern::new(server.address, &server.rw_token).listen(json!(2), everything()).await.unwrap();
    ended.message().await.unwrap();
    other.message().await.unwrap();
    let started = Instant::now();
    server.revoke(&revoked).unwrap();
    completes(&mut ended, &json!(1)).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    changes.tell(Change::Tools);
    assert_eq!(other.message().await.unwrap()["method"], METHODS[0]);
    assert_eq!(client.ask("subscriptions/listen", json!({"notifications": {}})).await.unwrap().status, 401);
}

#[tokio::test]
async fn a_subscription_ends_soon_after_its_credential_has_expired() {
    let (server, _) = start(Limits { keep_alive_ms: 100, ..Limits::default() }).await;
    let client = Modern::new(server.address, &server.rw_token);
    let mut events = client.listen(json!(1), everything()).await.unwrap();
    events.message().await.unwrap();
    // Nobody tells of this, as nobody tells when time is over.
    server.credentials.replace(&[]);
    completes(&mut events, &json!(1)).await;
}

#[tokio::test]
async fn a_shutdown_ends_subscriptions_with_a_result_and_waits_for_none_of_them() {
    let (server, _) = start(Limits::default()).await;
    let client = Modern::new(server.address, &server.rw_token);
    let mut first = client.listen(json!("x"), everything()).await.unwrap();
    let mut second = client.listen(json!(2), everything()).await.unwrap();
    first.message().await.unwrap();
    second.message().await.unwrap();
    let started = Instant::now();
    server.shut_down();
    completes(&mut first, &json!("x")).await;
    completes(&mut second, &json!(2)).await;
    server.ended().await;
    tokio::time::timeout(Duration::from_secs(10), server.protocol.drain()).await.expect("nothing is left");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn each_credential_has_its_share_of_streams_and_a_closed_one_frees_its_place() {
    let limits = Limits { streams_per_principal_max: 2, streams_max: 3, ..Limits::default() };
    let (server, changes) = start(limits).await;
    let client = Modern::new(server.address, &server.rw_token);
    let mut open = Vec::new();
    for id in 0..2 {
        let mut events = client.listen(json!(id), everything()).await.unwrap();
        events.message().await.unwrap();
        open.push(events);
    }
    let listen = || client.refusal("subscriptions/listen", json!({"notifications": {}}));
    let (status, error) = listen().await.unwrap();
    assert_eq!((status, &error["code"]), (429, &json!(429)), "{error}");
    // Another credential has its own share, up to that of the server.
    let other = Modern::new(server.address, &server.ro_token);
    let mut events = other.listen(json!(1), json!({})).await.unwrap();
    events.message().await.unwrap();
    assert_eq!(other.refusal("subscriptions/listen", json!({"notifications": {}})).await.unwrap().0, 429);
    drop(events);
    let started = Instant::now();
    open.pop();
    let mut again = loop {
        let mut events = client.listen(json!(3), everything()).await.unwrap();
        match events.message().await {
            Ok(_) => break events,
            Err(_) => assert!(started.elapsed() < Duration::from_secs(1), "the place is not given up"),
        }
    };
    changes.tell(Change::Tools);
    assert_eq!(again.message().await.unwrap()["method"], METHODS[0]);
}

#[tokio::test]
async fn a_listener_that_missed_something_hears_of_everything_again() {
    let (server, changes) = start(Limits { stall_timeout_ms: 20_000, ..Limits::default() }).await;
    let client = Modern::new(server.address, &server.rw_token);
    let task = client.call("waits_as_task", json!({})).await.unwrap()["taskId"].clone();
    let mut filter = everything();
    filter["taskIds"] = json!([task]);
    let mut events = client.listen(json!(1), filter).await.unwrap();
    events.message().await.unwrap();
    events.message().await.unwrap();
    // More than any buffer on the way holds: the listener lags behind.
    for _ in 0..40 {
        for _ in 0..2_000 {
            changes.tell(Change::Tools);
        }
        tokio::task::yield_now().await;
    }
    client.result("tasks/cancel", json!({"taskId": task})).await.unwrap();
    for _ in 0..2_000 {
        changes.tell(Change::Tools);
    }
    let mut unheard: Vec<&str> = METHODS.into();
    let mut status = Value::Null;
    while !unheard.is_empty() || status != "cancelled" {
        let told = events.message().await.unwrap();
        unheard.retain(|method| told["method"] != *method);
        if told["method"] == "notifications/tasks" {
            status = told["params"]["status"].clone();
        }
    }
}

#[tokio::test]
async fn a_subscription_needs_a_client_that_takes_events_and_a_filter() {
    let (server, _) = start(Limits::default()).await;
    let client = Modern::new(server.address, &server.rw_token);
    for bad in [
        json!({}),
        json!({"notifications": []}),
        json!({"notifications": {"resourceSubscriptions": "x"}}),
        json!({"notifications": {"resourceSubscriptions": vec!["a"; 1_001]}}),
        json!({"notifications": {"taskIds": [1]}}),
    ] {
        let (status, error) = client.refusal("subscriptions/listen", bad.clone()).await.unwrap();
        assert_eq!((status, &error["code"]), (400, &json!(-32602)), "{bad}");
    }
    let legacy = LineClient::connect(&server, Tier::Read)
        .ask_legacy("subscriptions/listen", json!({"notifications": {}}))
        .await
        .unwrap();
    assert_eq!(legacy["error"]["code"], -32601, "the legacy era has other ways");
}

#[tokio::test]
async fn subscriptions_on_one_stream_of_lines_are_told_apart_by_their_ids() {
    let (server, changes) = start(Limits::default()).await;
    let mut client = LineClient::connect(&server, Tier::Read);
    let listen = "subscriptions/listen";
    for (id, filter) in [
        (json!("tools"), json!({"toolsListChanged": true})),
        (json!(2), json!({"promptsListChanged": true, "resourceSubscriptions": ["guarded://secret"]})),
    ] {
        client.begin(id.clone(), listen, json!({ "notifications": filter })).await.unwrap();
        let acknowledged = client.message().await.unwrap();
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(id_of(&acknowledged), &id);
        assert!(acknowledged["params"]["notifications"].get("resourceSubscriptions").is_none());
    }
    for (change, id) in [(Change::Prompts, json!(2)), (Change::Tools, json!("tools"))] {
        changes.tell(change);
        assert_eq!(id_of(&client.message().await.unwrap()), &id);
    }
    // The id of one that is open can't be used for another.
    client.begin(json!(2), listen, json!({"notifications": {}})).await.unwrap();
    assert_eq!(client.message().await.unwrap()["error"]["code"], -32600);

    // Cancelled, it hears nothing more, and its id is free.
    let cancelled =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}});
    client.send(&cancelled).await.unwrap();
    loop {
        client.begin(json!(2), listen, json!({"notifications": {"promptsListChanged": true}})).await.unwrap();
        if client.message().await.unwrap().get("error").is_none() {
            break;
        }
    }
    changes.tell(Change::Prompts);
    changes.tell(Change::Tools);
    let mut told = [
        client.message().await.unwrap()["method"].clone(),
        client.message().await.unwrap()["method"].clone(),
    ];
    told.sort_by_key(Value::to_string);
    assert_eq!(told, [METHODS[1], METHODS[0]], "each of them once, whichever subscription is faster");

    client.shut_down();
    let mut ended = [client.message().await.unwrap(), client.message().await.unwrap()];
    ended.sort_by_key(|message| message["id"].is_string());
    for (message, id) in ended.iter().zip([json!(2), json!("tools")]) {
        assert_eq!((&message["id"], &message["result"]["resultType"]), (&id, &json!("complete")));
        assert_eq!(id_of(message), &id);
    }
    assert_eq!(client.next().await.unwrap(), None);
    client.ended().await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_input_completes_subscriptions_too() {
    let (server, _) = start(Limits::default()).await;
    let mut client = LineClient::connect(&server, Tier::Read);
    client.begin(json!("x"), "subscriptions/listen", json!({"notifications": everything()})).await.unwrap();
    client.message().await.unwrap();
    client.hang_up().await.unwrap();
    assert_eq!(client.message().await.unwrap()["result"]["resultType"], "complete");
    client.ended().await.unwrap();
}

#[tokio::test]
async fn one_client_has_so_many_subscriptions_and_no_more() {
    let (server, _) = start(Limits::default()).await;
    let mut client = LineClient::connect(&server, Tier::Read);
    for id in 0..64 {
        client.begin(json!(id), "subscriptions/listen", json!({"notifications": {}})).await.unwrap();
        client.message().await.unwrap();
    }
    client.begin(json!(64), "subscriptions/listen", json!({"notifications": {}})).await.unwrap();
    assert_eq!(client.message().await.unwrap()["error"]["code"], 429);
    client.begin(json!(65), "tools/list", json!({})).await.unwrap();
    assert!(client.message().await.unwrap().get("result").is_some(), "questions are answered all the same");
}

#[tokio::test]
async fn a_legacy_client_that_says_initialize_again_is_told_once() {
    let (server, changes) = start(Limits::default()).await;
    let mut client = LineClient::connect(&server, Tier::Read);
    for _ in 0..3 {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
        assert!(client.ask_legacy("initialize", params).await.unwrap().get("result").is_some());
    }
    // A question between the two shows that nothing else was told.
    changes.tell(Change::Tools);
    assert_eq!(client.message().await.unwrap()["method"], METHODS[0]);
    assert_eq!(client.ask_legacy("ping", json!({})).await.unwrap()["result"], json!({}));
}
