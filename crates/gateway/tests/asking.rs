//! Requests of the server to legacy clients, over every transport: forms, pages, models, folders.
#![cfg(test)]

use hayward_gateway::limits::Limits;
use hayward_testkit::client::post;
use hayward_testkit::fixture;
use hayward_testkit::peer::{Peer, Transport};
use hayward_testkit::server::Server;
use serde_json::{Value, json};

/// The ways on which a client can be asked.
const WAYS: [Transport; 3] = [Transport::Http, Transport::OldHttp, Transport::Stdio];

const REVISION: &str = "2025-11-25";

fn everything() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}})
}

fn form() -> Value {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    json!({"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": schema}})
}

async fn start(limits: Limits) -> Server {
    Server::start_with(fixture::curious(), limits).await.unwrap()
}

async fn connect(server: &Server, transport: Transport, capabilities: Value) -> Peer {
    Peer::connect(server, transport, REVISION, capabilities).await.unwrap()
}

fn text(result: &Value) -> &str {
    result["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"))
}

/// Checks that the call ended with an error of the tool which says this.
fn is_failure(answer: &Value, code: &str) {
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(text(answer).contains(code), "{answer}");
}

#[tokio::test]
async fn whatever_is_asked_comes_to_the_client_and_its_answer_to_the_tool() {
    let message = json!({"role": "user", "content": {"type": "text", "text": "Hi"}});
    let tool = json!({"name": "look", "inputSchema": {"type": "object"}});
    let questions = [
        (form(), json!({"action": "accept", "content": {"name": "Ada"}})),
        (form(), json!({"action": "decline"})),
        (
            json!({"method": "elicitation/create", "params": {
                "mode": "url", "message": "Pay", "url": "https://pay.example/1", "elicitationId": "1",
            }}),
            json!({"action": "accept"}),
        ),
        (
            json!({"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 9}}),
            json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "Ho"}}),
        ),
        (
            json!({"method": "sampling/createMessage", "params": {
                "messages": [message], "maxTokens": 9, "tools": [tool], "toolChoice": {"mode": "required"},
            }}),
            json!({
                "role": "assistant", "model": "m", "stopReason": "toolUse",
                "content": [{"type": "tool_use", "id": "1", "name": "look", "input": {}}],
            }),
        ),
        (
            json!({"method": "roots/list", "params": {}}),
            json!({"roots": [{"uri": "file:///home/ada", "name": "home"}]}),
        ),
    ];
    let server = start(Limits::default()).await;
    for transport in WAYS {
        let mut peer = connect(&server, transport, everything()).await;
        for (question, reply) in &questions {
            peer.call("c", "asks", json!({"k": question})).await.unwrap();
            let request = peer.receive().await.unwrap();
            assert_eq!(request["method"], question["method"], "{transport:?}");
            assert_eq!(request["params"], question["params"], "{transport:?}");
            peer.answer(&request["id"], reply.clone()).await.unwrap();
            let answer = peer.receive().await.unwrap();
            assert_eq!(answer["id"], "c");
            let heard: Value = serde_json::from_str(text(&answer)).unwrap();
            assert_eq!(heard, json!({"k": reply}), "{transport:?}");
        }
    }
}

#[tokio::test]
async fn questions_that_come_together_are_answered_in_any_order() {
    let server = start(Limits::default()).await;
    for transport in WAYS {
        let mut peer = connect(&server, transport, everything()).await;
        let roots = json!({"method": "roots/list"});
        peer.call("c", "asks", json!({"a": form(), "b": roots})).await.unwrap();
        let (first, second) = (peer.receive().await.unwrap(), peer.receive().await.unwrap());
        assert_ne!(first["id"], second["id"]);
        for request in [second, first] {
            let reply = json!({"to": request["method"]});
            peer.answer(&request["id"], reply).await.unwrap();
        }
        let heard: Value = serde_json::from_str(text(&peer.receive().await.unwrap())).unwrap();
        let expected = json!({"a": {"to": "elicitation/create"}, "b": {"to": "roots/list"}});
        assert_eq!(heard, expected, "{transport:?}");
    }
}

#[tokio::test]
async fn a_client_that_answers_with_an_error_ends_the_call_and_takes_back_what_else_was_asked() {
    let server = start(Limits::default()).await;
    for transport in WAYS {
        let mut peer = connect(&server, transport, everything()).await;
        peer.call("c", "asks", json!({"a": form(), "b": form()})).await.unwrap();
        let (first, second) = (peer.receive().await.unwrap(), peer.receive().await.unwrap());
        let error = json!({"code": -1, "message": "User rejected sampling request"});
        peer.send(&json!({"jsonrpc": "2.0", "id": first["id"], "error": error})).await.unwrap();
        let taken_back = peer.receive().await.unwrap();
        assert_eq!(taken_back["method"], "notifications/cancelled", "{transport:?}");
        assert_eq!(taken_back["params"]["requestId"], second["id"]);
        let answer = peer.receive().await.unwrap();
        is_failure(&answer, "ClientRefused");
        assert!(text(&answer).contains("User rejected sampling request"), "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_object_is_none() {
    let server = start(Limits::default()).await;
    for transport in WAYS {
        let mut peer = connect(&server, transport, everything()).await;
        peer.call("c", "asks", json!({"a": form()})).await.unwrap();
        let request = peer.receive().await.unwrap();
        peer.answer(&request["id"], json!("yes")).await.unwrap();
        is_failure(&peer.receive().await.unwrap(), "ClientRefused");
    }
}

#[tokio::test]
async fn a_client_that_never_answers_is_waited_for_no_longer_than_the_limit() {
    let server = start(Limits { answer_timeout_ms: 100, ..Limits::default() }).await;
    for transport in WAYS {
        let mut peer = connect(&server, transport, everything()).await;
        peer.call("c", "asks", json!({"a": form()})).await.unwrap();
        let request = peer.receive().await.unwrap();
        let taken_back = peer.receive().await.unwrap();
        assert_eq!(taken_back["params"]["requestId"], request["id"], "{transport:?}");
        is_failure(&peer.receive().await.unwrap(), "Timeout");
        // Too late, and of no effect.
        peer.answer(&request["id"], json!({"action": "accept"})).await.unwrap();
        peer.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_is_cancelled_while_it_asks_takes_its_question_back() {
    let server = start(Limits::default()).await;
    for transport in WAYS {
        let mut peer = connect(&server, transport, everything()).await;
        peer.call("c", "asks", json!({"a": form()})).await.unwrap();
        let request = peer.receive().await.unwrap();
        peer.notify("notifications/cancelled", json!({"requestId": "c"})).await.unwrap();
        let taken_back = peer.receive().await.unwrap();
        assert_eq!(taken_back["method"], "notifications/cancelled", "{transport:?}");
        assert_eq!(taken_back["params"]["requestId"], request["id"]);
        // What was cancelled is answered only where something has to be.
        if transport == Transport::Http {
            is_failure(&peer.receive().await.unwrap(), "Cancelled");
        }
        peer.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_client_is_asked_nothing_that_it_does_not_declare() {
    let url = json!({"method": "elicitation/create", "params": {"mode": "url", "url": "https://x.example"}});
    let with_tools = json!({"method": "sampling/createMessage", "params": {"tools": []}});
    let server = start(Limits::default()).await;
    for transport in WAYS {
        for (question, capabilities, lacking) in [
            (form(), json!({}), "elicitation"),
            (form(), json!({"elicitation": {"url": {}}}), "elicitation"),
            (url.clone(), json!({"elicitation": {}}), "url"),
            (json!({"method": "sampling/createMessage"}), json!({"elicitation": {}}), "sampling"),
            (with_tools.clone(), json!({"sampling": {}}), "tools"),
            (json!({"method": "roots/list"}), json!({"sampling": {}}), "roots"),
        ] {
            let mut peer = connect(&server, transport, capabilities).await;
            peer.call("c", "asks", json!({"k": question})).await.unwrap();
            let answer = peer.receive().await.unwrap();
            is_failure(&answer, "ClientCapabilityMissing");
            assert!(text(&answer).contains(lacking), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_no_event_streams_is_told_that_it_can_not_be_asked() {
    let server = start(Limits::default()).await;
    let mut peer = connect(&server, Transport::HttpJson, everything()).await;
    peer.call("c", "asks", json!({"k": form()})).await.unwrap();
    is_failure(&peer.receive().await.unwrap(), "ClientUnreachable");
}

#[tokio::test]
async fn an_answer_of_a_stranger_or_under_a_foreign_id_is_of_no_effect() {
    let server = start(Limits::default()).await;
    for transport in WAYS {
        let mut peer = connect(&server, transport, everything()).await;
        let mut stranger = connect(&server, transport, everything()).await;
        peer.call("c", "asks", json!({"k": form()})).await.unwrap();
        let request = peer.receive().await.unwrap();
        let forged = json!({"action": "accept", "content": {"name": "Mallory"}});
        stranger.answer(&request["id"], forged.clone()).await.unwrap();
        stranger.ping().await.unwrap();
        for id in [json!("hayward-99"), json!(0), json!("c")] {
            peer.answer(&id, forged.clone()).await.unwrap();
        }
        peer.ping().await.unwrap();
        peer.answer(&request["id"], json!({"action": "decline"})).await.unwrap();
        let answer = peer.receive().await.unwrap();
        assert_eq!(text(&answer), r#"{"k":{"action":"decline"}}"#, "{transport:?}");
    }
}

#[tokio::test]
async fn an_answer_without_the_session_or_under_another_credential_is_of_no_effect() {
    let server = start(Limits::default()).await;
    let mut peer = connect(&server, Transport::Http, everything()).await;
    peer.call("c", "asks", json!({"k": form()})).await.unwrap();
    let request = peer.receive().await.unwrap();
    let forged = json!({"jsonrpc": "2.0", "id": request["id"], "result": {"action": "accept"}}).to_string();
    let session = peer.session().unwrap().to_owned();
    let (own, other) = (format!("Bearer {}", server.rw_token), format!("Bearer {}", server.ro_token));
    for headers in [
        &[("authorization", own.as_str())][..],
        &[("authorization", other.as_str()), ("mcp-session-id", session.as_str())][..],
    ] {
        let answer = post(server.address, "/mcp", headers, &forged).await.unwrap();
        assert_eq!(answer.status, 202);
    }
    peer.answer(&request["id"], json!({"action": "cancel"})).await.unwrap();
    assert_eq!(text(&peer.receive().await.unwrap()), r#"{"k":{"action":"cancel"}}"#);
}

#[tokio::test]
async fn a_tool_that_asks_without_end_is_stopped() {
    let server = start(Limits::default()).await;
    for transport in WAYS {
        let mut peer = connect(&server, transport, everything()).await;
        peer.call("c", "insists", json!({"k": form()})).await.unwrap();
        let mut asked = 0;
        let answer = loop {
            let message = peer.receive().await.unwrap();
            if message.get("method").is_none() {
                break message;
            }
            asked += 1;
            peer.answer(&message["id"], json!({"action": "accept"})).await.unwrap();
        };
        is_failure(&answer, "TooManyRounds");
        assert_eq!(asked, 16, "{transport:?}");
    }
}

#[tokio::test]
async fn a_call_that_waits_for_a_person_takes_no_place_of_the_calls_that_run() {
    let server = start(Limits { calls_per_principal_max: 1, ..Limits::default() }).await;
    for transport in WAYS {
        let mut peer = connect(&server, transport, everything()).await;
        let mut ids = Vec::new();
        for call in ["a", "b", "c"] {
            peer.call(call, "asks", json!({"k": form()})).await.unwrap();
            ids.push(peer.receive().await.unwrap()["id"].clone());
        }
        for id in ids {
            peer.answer(&id, json!({})).await.unwrap();
            assert_eq!(text(&peer.receive().await.unwrap()), r#"{"k":{}}"#, "{transport:?}");
        }
    }
}

#[tokio::test]
async fn a_revoked_credential_ends_the_calls_that_wait_for_an_answer() {
    for transport in [Transport::Http, Transport::OldHttp] {
        let server = start(Limits::default()).await;
        let mut peer = connect(&server, transport, everything()).await;
        peer.call("c", "asks", json!({"k": form()})).await.unwrap();
        peer.receive().await.unwrap();
        server.revoke(&server.rw_token).unwrap();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(1), server.idle()).await;
        ended.unwrap_or_else(|_| panic!("{transport:?}: it goes on")).unwrap();
    }
}

#[tokio::test]
async fn a_client_that_goes_while_it_is_asked_ends_its_call() {
    for transport in WAYS {
        let server = start(Limits { resume_ms: 50, ..Limits::default() }).await;
        let mut peer = connect(&server, transport, everything()).await;
        peer.call("c", "asks", json!({"k": form()})).await.unwrap();
        peer.receive().await.unwrap();
        drop(peer);
        server.idle().await.unwrap();
    }
}
