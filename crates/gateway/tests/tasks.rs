//! Calls that go on as tasks (SEP-2663), as a client sees them: whose they are, what they ask, how they end, and what
//! they may hold.
#![cfg(test)]

use std::time::{Duration, Instant};

use hayward_api::Tier;
use hayward_api::kinds::token::Role;
use hayward_gateway::limits::Limits;
use hayward_testkit::fixture;
use hayward_testkit::lines::LineClient;
use hayward_testkit::modern::Modern;
use hayward_testkit::server::Server;
use serde_json::{Value, json};

async fn start(limits: Limits) -> (Server, Modern) {
    let server = Server::start_with(fixture::guarded(), limits).await.unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    (server, client)
}

/// Begins a task, and returns its id.
async fn begin(client: &Modern, tool: &str, arguments: Value) -> Value {
    let created = client.call(tool, arguments).await.unwrap();
    assert_eq!(
        (&created["resultType"], &created["status"]),
        (&json!("task"), &json!("working")),
        "{created}"
    );
    created["taskId"].clone()
}

async fn get(client: &Modern, task: &Value) -> Value {
    client.result("tasks/get", json!({ "taskId": task })).await.unwrap()
}

/// The task, as soon as it has this status.
async fn wait_for(client: &Modern, task: &Value, status: &str) -> Value {
    let started = Instant::now();
    loop {
        let got = get(client, task).await;
        if got["status"] == status {
            return got;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "it is never {status}: {got}");
        tokio::task::yield_now().await;
    }
}

fn keys(task: &Value) -> Vec<String> {
    task["inputRequests"].as_object().map(|asked| asked.keys().cloned().collect()).unwrap_or_default()
}

/// The parameters that answer these questions.
fn answers(task: &Value, given: &[(&str, &str)]) -> Value {
    let answer = |text: &str| json!({"action": "accept", "content": {"answer": text}});
    let responses: serde_json::Map<_, _> =
        given.iter().map(|(key, text)| ((*key).to_owned(), answer(text))).collect();
    json!({"taskId": task, "inputResponses": responses})
}

fn acknowledged() -> Value {
    json!({"resultType": "complete"})
}

/// Waits until a task is no longer there.
async fn is_forgotten(client: &Modern, task: &Value) {
    let started = Instant::now();
    while client.ask("tasks/get", json!({ "taskId": task })).await.unwrap().json().get("error").is_none() {
        assert!(started.elapsed() < Duration::from_secs(10), "it is kept for ever");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_task_is_there_before_its_id_is_told_and_ends_with_the_result_of_its_call() {
    let (server, client) = start(Limits::default()).await;
    let created = client.call("says_much_as_task", json!({"bytes": 100_000})).await.unwrap();
    for key in ["taskId", "createdAt", "lastUpdatedAt"] {
        assert!(created[key].is_string(), "{created}");
    }
    assert_eq!((&created["ttlMs"], &created["pollIntervalMs"]), (&json!(3_600_000), &json!(1_000)));
    let ended = wait_for(&client, &created["taskId"], "completed").await;
    assert_eq!(ended["resultType"], "complete", "that of tasks/get");
    assert_eq!(ended["result"]["resultType"], "complete", "that of the call");
    assert_eq!(ended["result"]["content"][0]["text"].as_str().unwrap().len(), 100_000);
    assert_eq!(ended["createdAt"], created["createdAt"]);

    let outcomes = server.outcomes(2).await.unwrap();
    assert_eq!((&outcomes[0]["code"], &outcomes[1]["code"]), (&json!("Task"), &Value::Null));
}

#[tokio::test]
async fn a_task_of_somebody_else_is_like_one_that_is_not_there() {
    let (server, client) = start(Limits::default()).await;
    let task = begin(&client, "asks_as_task", json!({})).await;
    let asked = wait_for(&client, &task, "input_required").await;
    let key = &keys(&asked)[0];
    let same_role = server.add_token(Role::Rw);
    let absent = json!("0123456789abcdef0123456789abcdef");
    for token in [&same_role, &server.ro_token] {
        let other = Modern::new(server.address, token);
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let mut told = Vec::new();
            for id in [&task, &absent] {
                let (status, mut error) =
                    other.refusal(method, answers(id, &[(key, "stolen")])).await.unwrap();
                assert_eq!(error["data"]["taskId"], *id);
                error["data"]["taskId"] = Value::Null;
                told.push((status, error));
            }
            assert_eq!(told[0], told[1], "{method}");
            assert_eq!((told[0].0, &told[0].1["code"]), (400, &json!(-32602)));
        }
    }
    assert_eq!(keys(&get(&client, &task).await), keys(&asked), "nothing has come of it");
    for bad in [json!(null), json!(1), json!("x".repeat(300)), json!("")] {
        assert_eq!(client.refusal("tasks/get", json!({ "taskId": bad })).await.unwrap().1["code"], -32602);
    }
}

#[tokio::test]
async fn tasks_are_for_clients_that_know_them() {
    let (server, client) = start(Limits::default()).await;
    let task = begin(&client, "waits_as_task", json!({})).await;
    let unable = client.clone().able_to(json!({"elicitation": {}}));
    for (method, params) in [
        ("tasks/get", json!({ "taskId": task })),
        ("tasks/update", answers(&task, &[])),
        ("tasks/cancel", json!({ "taskId": task })),
        ("tools/call", json!({"name": "only_as_task"})),
    ] {
        let (status, error) = unable.refusal(method, params).await.unwrap();
        assert_eq!((status, &error["code"]), (400, &json!(-32021)), "{method}");
        let needed = &error["data"]["requiredCapabilities"]["extensions"];
        assert!(needed.get("io.modelcontextprotocol/tasks").is_some(), "{method}: {error}");
    }
    assert_eq!(unable.call("asks_as_task", json!({})).await.unwrap()["resultType"], "input_required");
    assert_eq!(get(&client, &task).await["status"], "working");

    // In the legacy era there are none, whatever its client declares.
    let mut legacy = LineClient::connect(&server, Tier::Read);
    let capabilities = json!({"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities});
    legacy.ask_legacy("initialize", params).await.unwrap();
    let told = legacy.ask_legacy("tools/call", json!({"name": "only_as_task"})).await.unwrap();
    assert!(told["result"].to_string().contains("ClientCapabilityMissing"), "{told}");
    let at_once = json!({"name": "says_much_as_task", "arguments": {"bytes": 3}});
    let told = legacy.ask_legacy("tools/call", at_once).await.unwrap();
    assert_eq!(told["result"]["content"][0]["text"], "xxx", "who can do without does");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let told = legacy.ask_legacy(method, json!({ "taskId": task })).await.unwrap();
        assert_eq!(told["error"]["code"], -32601, "{method}");
    }
    let denied = |record: &Value| record["decision"] == "deny" && record["tool"] == "only_as_task";
    assert!(server.records().iter().any(denied), "{:#?}", server.records());
}

#[tokio::test]
async fn a_server_without_tasks_has_none_of_their_methods() {
    let server = Server::start(fixture::unruly()).await.unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let (status, error) = client.refusal(method, answers(&json!("x"), &[])).await.unwrap();
        assert_eq!((status, &error["code"]), (404, &json!(-32601)), "{method}");
    }
    let discovered = client.result("server/discover", json!({})).await.unwrap();
    assert!(discovered["capabilities"].get("extensions").is_none());
}

#[tokio::test]
async fn a_cancelled_task_stops_what_it_runs_and_stays_cancelled() {
    let (server, client) = start(Limits::default()).await;
    let task = begin(&client, "waits_as_task", json!({})).await;
    server.intents(2).await.unwrap();
    let started = Instant::now();
    assert_eq!(client.result("tasks/cancel", json!({ "taskId": task })).await.unwrap(), acknowledged());
    assert_eq!(get(&client, &task).await["status"], "cancelled");
    let outcomes = server.outcomes(2).await.unwrap();
    assert_eq!((&outcomes[1]["ending"], &outcomes[1]["code"]), (&json!("cancelled"), &json!("Cancelled")));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    // Once more, and answers to it, are of no effect.
    let before = get(&client, &task).await;
    assert_eq!(client.result("tasks/cancel", json!({ "taskId": task })).await.unwrap(), acknowledged());
    let late = answers(&task, &[("0-question", "late")]);
    assert_eq!(client.result("tasks/update", late).await.unwrap(), acknowledged());
    assert_eq!(get(&client, &task).await, before);
    // A task that has ended can't be cancelled any more.
    let task = begin(&client, "says_much_as_task", json!({"bytes": 1})).await;
    let ended = wait_for(&client, &task, "completed").await;
    client.result("tasks/cancel", json!({ "taskId": task })).await.unwrap();
    assert_eq!(get(&client, &task).await, ended);
}

#[tokio::test]
async fn the_end_of_its_request_does_not_end_a_task() {
    let (_server, client) = start(Limits::default()).await;
    let params = json!({"name": "waits_as_task", "arguments": {}});
    // The connection is closed with the answer, and another one asks.
    let created = client.ask("tools/call", params).await.unwrap().json();
    for _ in 0..20 {
        assert_eq!(get(&client, &created["result"]["taskId"]).await["status"], "working");
    }
}

#[tokio::test]
async fn a_task_that_asks_waits_for_every_answer_and_takes_each_once() {
    let (server, client) = start(Limits::default()).await;
    let task = begin(&client, "asks_two_as_task", json!({})).await;
    let asked = wait_for(&client, &task, "input_required").await;
    let asked_keys = keys(&asked);
    let [left, right] = [asked_keys[0].as_str(), asked_keys[1].as_str()];
    assert_eq!(asked["inputRequests"][left]["method"], "elicitation/create");
    // Unknown keys are of no effect at all, even on when the task was changed.
    let unknown = answers(&task, &[("left", "x"), ("1-left", "x"), ("", "x")]);
    assert_eq!(client.result("tasks/update", unknown).await.unwrap(), acknowledged());
    assert_eq!(get(&client, &task).await, asked);
    for bad in [json!([]), json!(null), json!({left: true}), json!({left: null})] {
        let params = json!({"taskId": task, "inputResponses": bad});
        assert_eq!(client.refusal("tasks/update", params).await.unwrap().1["code"], -32602);
    }
    assert_eq!(client.refusal("tasks/update", json!({ "taskId": task })).await.unwrap().1["code"], -32602);
    // Some of the answers: the rest is asked for on.
    client.result("tasks/update", answers(&task, &[(left, "one")])).await.unwrap();
    let rest = get(&client, &task).await;
    assert_eq!((&rest["status"], keys(&rest)), (&json!("input_required"), vec![right.to_owned()]));
    client.result("tasks/update", answers(&task, &[(left, "two"), (right, "three")])).await.unwrap();
    let after = get(&client, &task).await;
    assert!(after["status"] != "input_required", "nothing is asked any more: {after}");
    let ended = wait_for(&client, &task, "completed").await;
    assert_eq!(ended["result"]["content"][0]["text"], "one and three", "the first answer counts");
    let outcomes = server.outcomes(3).await.unwrap();
    let codes: Vec<&Value> = outcomes.iter().map(|outcome| &outcome["code"]).collect();
    assert_eq!(codes, [&json!("Task"), &json!("InputRequired"), &Value::Null]);
}

#[tokio::test]
async fn a_late_answer_is_never_taken_for_one_of_a_later_round() {
    let (_server, client) = start(Limits::default()).await;
    let task = begin(&client, "asks_as_task", json!({})).await;
    let first = keys(&wait_for(&client, &task, "input_required").await)[0].clone();
    client.result("tasks/update", answers(&task, &[(&first, "one")])).await.unwrap();
    let second = keys(&wait_for(&client, &task, "input_required").await)[0].clone();
    assert_ne!(first, second, "a key is used once");
    client.result("tasks/update", answers(&task, &[(&first, "again")])).await.unwrap();
    assert_eq!(keys(&get(&client, &task).await), [second.as_str()]);
    client.result("tasks/update", answers(&task, &[(&second, "two")])).await.unwrap();
    let ended = wait_for(&client, &task, "completed").await;
    assert_eq!(ended["result"]["content"][0]["text"], "one, then two");
}

#[tokio::test]
async fn a_task_asks_only_what_its_client_can_answer_and_only_so_often() {
    let (_server, client) = start(Limits::default()).await;
    let unable = client.clone().able_to(json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}));
    let task = begin(&unable, "asks_as_task", json!({})).await;
    let failed = wait_for(&unable, &task, "failed").await;
    assert_eq!(failed["error"]["code"], -32021);
    assert_eq!(failed["error"]["data"]["requiredCapabilities"], json!({"elicitation": {}}));
    assert_eq!(failed["statusMessage"], failed["error"]["message"]);
    assert!(failed.get("inputRequests").is_none());

    let task = begin(&client, "asks_for_ever_as_task", json!({})).await;
    let mut asked = 0;
    loop {
        let now = get(&client, &task).await;
        match (now["status"].as_str().unwrap(), keys(&now).first()) {
            ("input_required", Some(key)) => {
                asked += 1;
                client.result("tasks/update", answers(&task, &[(key, "x")])).await.unwrap();
            }
            ("working", None) => tokio::task::yield_now().await,
            (status, _) => {
                assert_eq!((status, &now["error"]["code"]), ("failed", &json!(-32603)));
                break;
            }
        }
    }
    assert_eq!(asked, 16);
}

#[tokio::test]
async fn each_credential_may_keep_so_many_tasks_and_waiting_ones_are_no_running_calls() {
    let limits =
        Limits { tasks_per_principal_max: 3, tasks_max: 4, calls_per_principal_max: 1, ..Limits::default() };
    let (server, client) = start(limits).await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let task = begin(&client, "asks_as_task", json!({})).await;
        wait_for(&client, &task, "input_required").await;
        tasks.push(task);
    }
    let refused = client.call("asks_as_task", json!({})).await.unwrap();
    assert_eq!((&refused["isError"], &refused["resultType"]), (&json!(true), &json!("complete")));
    assert!(refused.to_string().contains("RateLimited"), "{refused}");
    // Calls that need no task are served, although as many tasks wait as may be kept.
    let done = client.call("breaks", json!({})).await.unwrap();
    assert!(done.to_string().contains("InternalError"), "{done}");
    // Another credential has its own share, up to that of the server.
    let other = Modern::new(server.address, &server.ro_token);
    begin(&other, "asks_as_task", json!({})).await;
    assert!(other.call("asks_as_task", json!({})).await.unwrap().to_string().contains("RateLimited"));
    // A task that has ended is kept, and counts.
    client.result("tasks/cancel", json!({"taskId": tasks[0]})).await.unwrap();
    assert!(client.call("asks_as_task", json!({})).await.unwrap().to_string().contains("RateLimited"));
}

#[tokio::test]
async fn a_task_is_forgotten_when_its_time_is_over_whatever_it_waits_for() {
    let limits = Limits { task_ttl_ms: 1_000, tasks_per_principal_max: 2, ..Limits::default() };
    let (_server, client) = start(limits).await;
    let started = Instant::now();
    let waiting = begin(&client, "asks_as_task", json!({})).await;
    let ended = begin(&client, "says_much_as_task", json!({"bytes": 1})).await;
    assert_eq!(wait_for(&client, &ended, "completed").await["ttlMs"], 1_000);
    for task in [&waiting, &ended] {
        is_forgotten(&client, task).await;
    }
    assert!(started.elapsed() >= Duration::from_secs(1), "each is kept for its time");
    begin(&client, "says_much_as_task", json!({"bytes": 1})).await;
}

#[tokio::test]
async fn what_tasks_hold_is_bounded_and_the_oldest_that_have_ended_make_room() {
    // Half of it is the most for one credential.
    let limits = Limits { task_bytes_max: 2_000_000, ..Limits::default() };
    let (server, client) = start(limits).await;
    let says = async |bytes: u32| {
        let task = begin(&client, "says_much_as_task", json!({ "bytes": bytes })).await;
        (wait_for(&client, &task, "completed").await, task)
    };
    let text_of = |task: &Value| task["result"]["content"][0]["text"].as_str().unwrap().to_owned();
    let (_, oldest) = says(400_000).await;
    let (_, older) = says(400_000).await;
    let (newest, task) = says(400_000).await;
    assert_eq!(text_of(&newest).len(), 400_000);
    is_forgotten(&client, &oldest).await;
    for task in [older, task] {
        assert_eq!(text_of(&get(&client, &task).await).len(), 400_000);
    }
    // What would never fit takes nothing away from others.
    let (too_much, _) = says(1_000_001).await;
    assert_eq!(too_much["result"]["isError"], true, "an error of the call, and none of the protocol");
    assert!(text_of(&too_much).contains("ResultTooLarge"), "{too_much}");

    // What is sent counts as what comes back does, and what is waited for is not forgotten.
    let task = begin(&client, "asks_as_task", json!({"x": "x".repeat(600_000)})).await;
    let key = keys(&wait_for(&client, &task, "input_required").await)[0].clone();
    let (status, error) =
        client.refusal("tasks/update", answers(&task, &[(&key, &"x".repeat(600_000))])).await.unwrap();
    assert_eq!((status, &error["code"]), (200, &json!(413)), "{error}");
    let refused = client.call("waits_as_task", json!({"x": "x".repeat(600_000)})).await.unwrap();
    assert!(refused.to_string().contains("RateLimited"), "{refused}");
    client.result("tasks/update", answers(&task, &[(&key, "x")])).await.unwrap();
    let other = Modern::new(server.address, &server.ro_token);
    begin(&other, "waits_as_task", json!({"x": "x".repeat(900_000)})).await;
    // Nor do all of them together hold more.
    let third = Modern::new(server.address, &server.add_token(Role::Rw));
    begin(&third, "waits_as_task", json!({"x": "x".repeat(20_000)})).await;
    let refused = third.call("waits_as_task", json!({"x": "x".repeat(900_000)})).await.unwrap();
    assert!(refused.to_string().contains("RateLimited"), "{refused}");
}

#[tokio::test]
async fn a_task_that_asks_nothing_works_on() {
    let (server, client) = start(Limits::default()).await;
    let task = begin(&client, "rests_as_task", json!({})).await;
    server.intents(3).await.unwrap();
    let got = get(&client, &task).await;
    assert_eq!((&got["status"], got.get("inputRequests")), (&json!("working"), None), "{got}");
}

#[tokio::test]
async fn what_a_task_was_answered_counts_while_it_works_with_it() {
    let limits = Limits { task_bytes_max: 80_000, ..Limits::default() };
    let (_server, client) = start(limits).await;
    let task = begin(&client, "asks_as_task", json!({})).await;
    let key = keys(&wait_for(&client, &task, "input_required").await)[0].clone();
    client.result("tasks/update", answers(&task, &[(&key, &"x".repeat(30_000))])).await.unwrap();
    // It asks again, with the first answer in its state.
    while keys(&wait_for(&client, &task, "input_required").await)[0] == key {}
    let refused = client.call("waits_as_task", json!({"x": "x".repeat(20_000)})).await.unwrap();
    assert!(refused.to_string().contains("RateLimited"), "{refused}");
    begin(&client, "waits_as_task", json!({"x": "x".repeat(5_000)})).await;
}

#[tokio::test]
async fn a_task_that_made_room_leaves_nothing_behind() {
    let limits = Limits { task_bytes_max: 200_000, ..Limits::default() };
    let (server, client) = start(limits).await;
    for _ in 0..20 {
        let task = begin(&client, "says_much_as_task", json!({"bytes": 60_000})).await;
        wait_for(&client, &task, "completed").await;
    }
    // One is kept for its time, which is long; nothing waits for the end of the others'.
    let started = Instant::now();
    while server.protocol.running() > 1 {
        assert!(started.elapsed() < Duration::from_secs(10), "{} wait", server.protocol.running());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_revocation_ends_the_tasks_of_its_credential_and_frees_their_places() {
    let limits = Limits { tasks_max: 3, ..Limits::default() };
    let (server, client) = start(limits).await;
    let token = server.add_token(Role::Rw);
    let revoked = Modern::new(server.address, &token);
    begin(&revoked, "waits_as_task", json!({})).await;
    let waiting = begin(&revoked, "asks_as_task", json!({})).await;
    wait_for(&revoked, &waiting, "input_required").await;
    let own = begin(&client, "waits_as_task", json!({})).await;
    let full = client.call("waits_as_task", json!({})).await.unwrap();
    assert!(full.to_string().contains("RateLimited"), "{full}");
    server.intents(7).await.unwrap();
    let started = Instant::now();
    server.revoke(&token).unwrap();
    while !server.records().iter().any(|record| record["ending"] == "cancelled") {
        assert!(started.elapsed() < Duration::from_secs(1), "it goes on");
        tokio::task::yield_now().await;
    }
    while client.call("waits_as_task", json!({})).await.unwrap()["resultType"] != "task" {
        assert!(started.elapsed() < Duration::from_secs(1), "the places are not given up");
    }
    assert_eq!(get(&client, &own).await["status"], "working", "others go on");
    // The same credential, let in again, has none of them.
    server.admit(&token, Role::Rw).unwrap();
    assert_eq!(revoked.refusal("tasks/get", json!({"taskId": waiting})).await.unwrap().1["code"], -32602);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_tasks_that_wait() {
    let (server, client) = start(Limits::default()).await;
    let waiting = begin(&client, "asks_as_task", json!({})).await;
    wait_for(&client, &waiting, "input_required").await;
    let ended = begin(&client, "says_much_as_task", json!({"bytes": 1})).await;
    wait_for(&client, &ended, "completed").await;
    let started = Instant::now();
    server.shut_down();
    server.ended().await;
    tokio::time::timeout(Duration::from_secs(10), server.protocol.drain()).await.expect("nothing is left");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_shutdown_cancels_tasks_that_run_and_records_how_they_end() {
    let (server, client) = start(Limits { drain_ms: 50, ..Limits::default() }).await;
    begin(&client, "waits_as_task", json!({})).await;
    server.intents(2).await.unwrap();
    server.shut_down();
    server.ended().await;
    let draining = tokio::time::timeout(Duration::from_millis(50), server.protocol.drain()).await;
    assert!(draining.is_err(), "a running call gets its time");
    server.protocol.road().cancel_all();
    tokio::time::timeout(Duration::from_secs(5), server.protocol.drain()).await.expect("it ends");
    assert_eq!(server.outcomes(2).await.unwrap()[1]["ending"], "cancelled");
}

#[tokio::test]
async fn a_task_does_what_its_credential_may_and_nothing_else() {
    let (server, client) = start(Limits::default()).await;
    let task = begin(&client, "changes_as_task", json!({})).await;
    wait_for(&client, &task, "completed").await;
    let reader = Modern::new(server.address, &server.ro_token);
    let refused = reader.call("changes_as_task", json!({})).await.unwrap();
    assert_eq!((&refused["isError"], &refused["resultType"]), (&json!(true), &json!("complete")));
    assert!(refused.to_string().contains("PermissionDenied"), "{refused}");
}

#[tokio::test]
async fn tasks_on_lines_are_those_of_any_transport() {
    let (server, client) = start(Limits::default()).await;
    let mut lines = LineClient::connect(&server, Tier::Read);
    let called = lines.ask("tools/call", json!({"name": "asks_as_task"})).await.unwrap();
    let task = called["result"]["taskId"].clone();
    assert_eq!(called["result"]["resultType"], "task");
    let key = loop {
        let got = lines.ask("tasks/get", json!({"taskId": task})).await.unwrap();
        if let Some(key) = keys(&got["result"]).first() {
            break key.clone();
        }
    };
    // A token is somebody else than a process of this machine.
    assert_eq!(client.refusal("tasks/get", json!({"taskId": task})).await.unwrap().1["code"], -32602);
    let update = lines.ask("tasks/update", answers(&task, &[(&key, "x")])).await.unwrap();
    assert_eq!(update["result"], acknowledged());
    assert_eq!(lines.ask("tasks/cancel", json!({"taskId": task})).await.unwrap()["result"], acknowledged());
    let got = lines.ask("tasks/get", json!({"taskId": task})).await.unwrap();
    assert_eq!(got["result"]["status"], "cancelled");
    // The end of the connection is not the end of a task: a state is never the connection's.
    let waiting = lines.ask("tools/call", json!({"name": "waits_as_task"})).await.unwrap();
    lines.hang_up().await.unwrap();
    lines.ended().await.unwrap();
    let mut again = LineClient::connect(&server, Tier::Read);
    let got = again.ask("tasks/get", json!({"taskId": waiting["result"]["taskId"]})).await.unwrap();
    assert_eq!(got["result"]["status"], "working");
}
