//! What is lost while a call, a question or a connection is under way costs what it must, and nothing that others have.

use std::net::TcpListener;

use hayward_testkit::modern::Modern;
use serde_json::{Value, json};

use crate::forgetful::Forgetful;
use crate::legacy::Legacy;
use crate::rig::{Rig, python, text};

/// A daemon before a server of which each caller has a process, and a token for it.
async fn own(more: &str, tools: &[&str]) -> (Rig, &'static str, String) {
    let (rig, path) = (Rig::start(), "/servers/own/mcp");
    let mut spec = python(more);
    spec["sharing"] = json!("principal");
    rig.declare("servers", "own", spec).await;
    let token = rig.token("rw", &["own"], &[]).await;
    rig.shows(path, &token, tools).await;
    (rig, path, token)
}

const FORGETFUL: &str = "/servers/f/mcp";

/// A daemon before a server that forgets its sessions when it is told to, and a token for it.
async fn forgetful(more: Value) -> (Rig, Forgetful, String) {
    forgetful_before(Rig::start(), more).await
}

/// The same with this daemon.
async fn forgetful_before(rig: Rig, more: Value) -> (Rig, Forgetful, String) {
    let (server, address) = Forgetful::start();
    let mut spec = json!({"externalUrl": format!("http://{address}/mcp"), "era": "legacy"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rig.declare("servers", "f", spec).await;
    let token = rig.token("rw", &["f"], &[]).await;
    rig.shows(FORGETFUL, &token, &["ask", "echo", "never"]).await;
    (rig, server, token)
}

/// A server that counts its calls, and ends when it is told to.
const COUNTER: &str = r#"
TOOLS, COUNT = [tool("count"), tool("exit")], [0]
def call(name, arguments, params):
    if name == "exit":
        os._exit(3)
    COUNT[0] += 1
    return text(str(COUNT[0]))
"#;

#[tokio::test]
async fn a_process_that_took_the_place_of_one_that_ended_is_left_alone() {
    let (rig, path, token) = own(COUNTER, &["count", "exit"]).await;
    for _ in 0..2 {
        assert_eq!(text(&rig.call(path, &token, "count", json!({})).await), "1");
        rig.call(path, &token, "exit", json!({})).await;
    }
    // Were it stopped with what the earlier one left, another one would begin to count anew.
    for expected in ["1", "2", "3"] {
        assert_eq!(text(&rig.call(path, &token, "count", json!({})).await), expected);
    }
}

/// A server that asks while it answers, and keeps what it is answered.
const ASKER: &str = r#"
TOOLS, SEEN = [tool("ask"), tool("seen")], []
def kept(lines):
    for line in lines:
        message = json.loads(line)
        if "method" not in message:
            SEEN.append(message)
        yield line
sys.stdin = kept(sys.stdin)
def call(name, arguments, params):
    if name == "ask":
        say({"jsonrpc": "2.0", "id": arguments["id"], "method": "roots/list"})
    return text(json.dumps(SEEN))
"#;

#[tokio::test]
async fn a_question_that_comes_with_the_answer_is_refused_and_not_left_open() {
    let (rig, path, token) = own(ASKER, &["ask", "seen"]).await;
    let client = Modern::new(rig.daemon.address, &token).at(path);
    let mut refused = Vec::new();
    for id in 0..60 {
        if id >= 20 && !refused.is_empty() {
            break;
        }
        let told = client.call("ask", json!({"id": format!("q{id}.")})).await.unwrap();
        // Read before the answer, the question is the client's; otherwise it is nobody's, and the server hears that.
        if told["resultType"] != "input_required" {
            refused.push(format!("q{id}."));
        }
    }
    assert!(!refused.is_empty(), "the client was asked every time");
    let started = std::time::Instant::now();
    loop {
        let told = client.call("seen", json!({})).await.unwrap();
        let seen: Value = serde_json::from_str(told["content"][0]["text"].as_str().unwrap()).unwrap();
        let is_answered = |id: &String| {
            seen.as_array().unwrap().iter().any(|it| it["id"] == **id && it["error"]["code"].is_i64())
        };
        if refused.iter().all(is_answered) {
            return;
        }
        assert!(started.elapsed() < crate::rig::PATIENCE, "{refused:?}: {seen}");
    }
}

/// A server that runs only where somebody listens at a port.
const DEPENDENT: &str = r#"
import socket
try:
    socket.create_connection(("127.0.0.1", PORT), 2).close()
except OSError:
    os._exit(4)
CALLS = [0]
TOOLS = [tool("echo"), tool("exit")]
def call(name, arguments, params):
    if name == "exit":
        os._exit(3)
    CALLS[0] += 1
    return text("made " + str(CALLS[0]))
"#;

#[tokio::test]
async fn a_key_is_not_used_up_by_a_call_with_which_nothing_was_done() {
    let rig = Rig::start();
    let needed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = needed.local_addr().unwrap().port();
    let mut server = python(&DEPENDENT.replace("PORT", &port.to_string()));
    server["network"] = json!("shared");
    rig.declare("servers", "needy", server).await;
    let (path, token) = ("/servers/needy/mcp", rig.token("rw", &["needy"], &[]).await);
    rig.shows(path, &token, &["echo", "exit"]).await;
    drop(needed);
    rig.call(path, &token, "exit", json!({})).await;
    let keyed = json!({"idempotency_key": "k-1"});
    let mut refused = rig.call(path, &token, "echo", keyed.clone()).await;
    // The process that is gone may still be the one that was meant.
    while text(&refused).contains("UpstreamFailed") {
        refused = rig.call(path, &token, "echo", json!({"idempotency_key": "k-0"})).await;
    }
    assert!(text(&refused).contains("UpstreamUnavailable"), "{refused}");
    let unmade = rig.call(path, &token, "echo", json!({"idempotency_key": "k-2"})).await;
    assert!(text(&unmade).contains("UpstreamUnavailable"), "{unmade}");
    let _needed = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let started = std::time::Instant::now();
    let made = loop {
        let told = rig.call(path, &token, "echo", json!({"idempotency_key": "k-2"})).await;
        if !text(&told).contains("UpstreamUnavailable") {
            break told;
        }
        assert!(started.elapsed() < crate::rig::PATIENCE, "{told}");
    };
    assert_eq!(text(&made), "made 1");
    let again = rig.call(path, &token, "echo", json!({"idempotency_key": "k-2"})).await;
    assert_eq!(text(&again), "made 1", "what was made under a key is not made again");
}

#[tokio::test]
async fn nobody_is_told_that_nothing_was_done_once_a_server_has_begun() {
    let (rig, server, token) = forgetful(json!({})).await;
    let path = FORGETFUL;
    let client = Modern::new(rig.daemon.address, &token).at(path);
    let asked = client.call("ask", json!({})).await.unwrap();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    server.forget();
    // Somebody's call begins another session, in which nobody asked anything.
    client.call("echo", json!({})).await.unwrap();
    let key = asked["inputRequests"].as_object().unwrap().keys().next().unwrap();
    let params = json!({"name": "ask", "arguments": {}, "requestState": asked["requestState"],
        "inputResponses": {key: {"action": "accept", "content": {}}}});
    let told = client.result("tools/call", params).await.unwrap();
    assert_eq!(told["isError"], true, "{told}");
    let told = told["content"][0]["text"].as_str().unwrap();
    assert!(
        told.contains("it may have done it all the same") && !told.contains("nothing was done"),
        "{told}"
    );
}

#[tokio::test]
async fn a_key_stays_with_a_call_that_waits_for_an_answer() {
    let (rig, server, token) = forgetful(json!({})).await;
    let path = FORGETFUL;
    let client = Modern::new(rig.daemon.address, &token).at(path);
    let keyed = json!({"idempotency_key": "k"});
    let asked = client.call("ask", keyed.clone()).await.unwrap();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let again = client.call("ask", keyed.clone()).await.unwrap();
    assert!(again.to_string().contains("InProgress"), "its server has begun: {again}");
    server.forget();
    let key = asked["inputRequests"].as_object().unwrap().keys().next().unwrap();
    let params = json!({"name": "ask", "arguments": keyed, "requestState": asked["requestState"],
        "inputResponses": {key: {"action": "accept", "content": {}}}});
    let ended = client.result("tools/call", params).await.unwrap();
    assert_eq!(ended["isError"], true, "{ended}");
    let repeated = client.call("ask", keyed).await.unwrap();
    assert_eq!(repeated["content"], ended["content"], "what came of it is kept");
}

#[tokio::test]
async fn a_session_that_is_begun_anew_is_asked_again_for_all_that_was_asked_for() {
    let (rig, server, token) = forgetful(json!({"sharing": "shared"})).await;
    let path = FORGETFUL;
    let client = Modern::new(rig.daemon.address, &token).at(path);
    let mut events = client.listen(json!(1), json!({"resourceSubscriptions": ["note:1"]})).await.unwrap();
    events.message().await.unwrap();
    let in_session = |heard: &[(String, Value)], session: &str, method: &str| {
        heard.iter().any(|(own, message)| own == session && message["method"] == method)
    };
    server.until("the first session", |heard| in_session(heard, "s1", "resources/subscribe"));
    server.forget();
    client.call("echo", json!({})).await.unwrap();
    for method in ["resources/subscribe", "tools/list"] {
        server.until("the second session", |heard| in_session(heard, "s2", method));
    }
}

/// What a client takes that can be asked while it waits.
const STREAMS: &str = "application/json, text/event-stream";

#[tokio::test]
async fn a_call_whose_question_nobody_can_be_told_is_held_no_longer() {
    let (rig, server, token) = forgetful(json!({})).await;
    let client = Legacy::begin(&rig, FORGETFUL, (&token, "application/json")).await;
    // More than may be held for one credential.
    for n in 1..=70 {
        let told = client.ask(n, "tools/call", json!({"name": "ask", "arguments": {}})).await.json();
        assert!(text(&told).contains("ClientUnreachable"), "{n}: {told}");
    }
    server.until("its calls are withdrawn", |heard| {
        heard.iter().filter(|(_, it)| it["method"] == "notifications/cancelled").count() == 70
    });
}

#[tokio::test]
async fn a_round_that_finds_no_place_ends_its_call_and_that_is_what_its_key_says() {
    let rig = Rig::start_with(&[("HAYWARD_GATEWAY_CALLS_PER_PRINCIPAL_MAX", "1")]);
    let (rig, server, token) = forgetful_before(rig, json!({})).await;
    let client = Legacy::begin(&rig, FORGETFUL, (&token, STREAMS)).await;
    let keyed = json!({"idempotency_key": "k"});
    let mut events = client.open(2, "ask", keyed.clone()).await;
    let asked = events.message().await.unwrap();
    assert_eq!(asked["method"], "elicitation/create", "{asked}");
    // While a person is asked, somebody else takes the only place.
    let _taking = client.open(3, "never", json!({})).await;
    server.until("the place is taken", |heard| heard.iter().any(|(_, it)| it["params"]["name"] == "never"));
    client
        .say(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept", "content": {}}}))
        .await;
    let told = events.message().await.unwrap();
    assert!(text(&told).contains("RateLimited"), "{told}");
    client
        .say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}))
        .await;
    let started = std::time::Instant::now();
    loop {
        let told = client.ask(4, "tools/call", json!({"name": "ask", "arguments": keyed})).await.json();
        // Its server had begun: it isn't asked again under this key, and nobody is told that it still runs.
        if text(&told).contains("may have been done in part") {
            return;
        }
        assert!(text(&told).contains("RateLimited"), "{told}");
        assert!(started.elapsed() < crate::rig::PATIENCE, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_hear_of_the_end_of_their_sessions_before_the_daemon_is_gone() {
    let (mut rig, server, token) = forgetful(json!({})).await;
    Modern::new(rig.daemon.address, &token).at(FORGETFUL).call("echo", json!({})).await.unwrap();
    let _start = rig.stop();
    let ended = server.heard().iter().filter(|(_, it)| it["method"] == "DELETE").count();
    assert!(ended > 0, "{:?}", server.heard());
}

/// A server that asks for ever, and takes no answers.
const DEAF: &str = r#"
import threading
TOOLS = [tool("flood"), tool("ask"), tool("seen")]
SEEN, IS_DEAF = [], [False]
def kept(lines):
    for line in lines:
        message = json.loads(line)
        if "method" not in message:
            SEEN.append(message["id"])
        yield line
        while IS_DEAF[0]:
            time.sleep(1)
sys.stdin = kept(sys.stdin)
def flood():
    while True:
        say({"jsonrpc": "2.0", "id": "f", "method": "roots/list"})
def call(name, arguments, params):
    if name == "flood":
        IS_DEAF[0] = True
        threading.Thread(target=flood, daemon=True).start()
    if name == "ask":
        say({"jsonrpc": "2.0", "id": arguments["id"], "method": "roots/list"})
    return text(json.dumps(SEEN))
"#;

#[tokio::test]
async fn a_server_that_takes_no_answers_keeps_no_other_from_getting_its_own() {
    let rig = Rig::start();
    rig.declare("servers", "deaf", python(DEAF)).await;
    rig.declare("servers", "well", python(DEAF)).await;
    let token = rig.token("rw", &["deaf", "well"], &[]).await;
    for path in ["/servers/deaf/mcp", "/servers/well/mcp"] {
        rig.shows(path, &token, &["flood", "ask", "seen"]).await;
    }
    rig.call("/servers/deaf/mcp", &token, "flood", json!({})).await;
    for n in 0..40 {
        rig.call("/servers/well/mcp", &token, "ask", json!({ "id": n })).await;
    }
    let started = std::time::Instant::now();
    loop {
        let told = rig.call("/servers/well/mcp", &token, "seen", json!({})).await;
        let seen: Vec<u64> = serde_json::from_str(text(&told)).unwrap();
        if seen.len() == 40 {
            return;
        }
        assert!(started.elapsed() < crate::rig::PATIENCE, "{seen:?}");
    }
}

/// A server of notes under a template, or one that lists a note.
const NOTES: &str = r#"
CAPABILITIES = {"tools": {}, "resources": {}}
METHODS = {
    "resources/list": lambda _: {"resources": LISTED},
    "resources/templates/list": lambda _: {"resourceTemplates": TEMPLATES},
    "resources/read": lambda p: {"contents": [{"uri": p["uri"], "text": OWN}]},
}
"#;

/// Who is asked for `db://x/1`, of a first server with this template and a second one that lists it; and in the other order.
async fn asked_for(template: &str) -> [Value; 2] {
    let rig = Rig::start();
    let template =
        format!(r#"LISTED, TEMPLATES, OWN = [], [{{"uriTemplate": "{template}", "name": "x"}}], "first""#);
    let listed = r#"LISTED, TEMPLATES, OWN = [{"uri": "db://x/1", "name": "x"}], [], "second""#;
    rig.declare("servers", "first", python(&format!("{template}\n{NOTES}"))).await;
    rig.declare("servers", "second", python(&format!("{listed}\n{NOTES}"))).await;
    rig.declare("projects", "fair", json!({"servers": ["first", "second"]})).await;
    rig.declare("projects", "other", json!({"servers": ["second", "first"]})).await;
    let token = rig.token("rw", &[], &["fair", "other"]).await;
    let mut asked = Vec::new();
    for project in ["fair", "other"] {
        let path = format!("/projects/{project}/mcp");
        rig.shows(&path, &token, &["first_echo", "second_echo"]).await;
        let read = rig.ask(&path, &token, "resources/read", json!({"uri": "db://x/1"})).await;
        asked.push(read["result"]["contents"][0]["text"].clone());
    }
    asked.try_into().unwrap()
}

#[tokio::test]
async fn what_a_server_lists_takes_nothing_from_one_that_was_named_before_it() {
    assert_eq!(asked_for("db://x/{id}").await, ["first", "second"]);
}

#[tokio::test]
async fn a_template_of_everything_takes_nothing_that_another_server_lists() {
    for template in ["{+all}", "db:{+all}", "db://{+all}"] {
        assert_eq!(asked_for(template).await, ["second", "second"], "{template}");
    }
}
