//! One message a line: the standard input and output of a process.

use std::time::Duration;

use hayward_mcp::envelope::RequestId;
use hayward_mcp::era::Revision;
use hayward_mcp::error::RpcError;
use hayward_mcp::limits::{UPSTREAM_EVENTS_MAX, UPSTREAM_QUEUE_MAX, UPSTREAM_STEPS_MAX};
use hayward_mcp::upstream::{EraChoice, Event, Outgoing, Step, UpstreamError};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::peer::{PIPE_BYTES, legacy, shake};
use super::{MESSAGE_BYTES_MAX, discovered, raw, value};

#[tokio::test]
async fn a_modern_server_is_found_by_asking_it() {
    let upstream = shake(EraChoice::Auto, async |far| {
        let message = far.hear().await.unwrap();
        assert_eq!(message["method"], "server/discover");
        let meta = &message["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "tests");
        far.answer(&message["id"], &discovered()).await;
    })
    .await
    .unwrap();
    let server = upstream.declared();
    assert_eq!((server.revision, server.instructions.as_deref()), (Revision::V2026_07_28, Some("be kind")));
    assert_eq!(value(&server.info)["name"], "new");
    assert!(server.can("tools") && !server.can("prompts"));
}

#[tokio::test]
async fn whatever_is_not_the_answer_of_a_modern_server_leads_to_initialize() {
    for answer in [
        json!({"error": {"code": -32601, "message": "no such method"}}),
        json!({"error": {"code": -32602, "message": "Invalid request parameters"}}),
        json!({"error": {"code": -32000, "message": "not initialized"}}),
        json!({"error": {"code": -32022, "message": "old", "data": {"supported": ["2025-06-18"]}}}),
        json!({"result": {}}),
        json!({"result": {"supportedVersions": ["2025-06-18"]}}),
    ] {
        let upstream = shake(EraChoice::Auto, async |far| {
            let mut message = json!({"jsonrpc": "2.0", "id": far.asked("server/discover").await});
            message.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
            far.say(&message.to_string()).await;
            far.greet("2025-06-18").await;
        })
        .await
        .unwrap();
        assert_eq!(upstream.declared().revision, Revision::V2025_06_18, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_says_nothing_to_what_it_does_not_know_is_a_legacy_one() {
    let upstream = shake(EraChoice::Auto, async |far| {
        far.asked("server/discover").await;
        far.greet("2024-11-05").await;
    })
    .await
    .unwrap();
    assert_eq!(upstream.declared().revision, Revision::V2024_11_05);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_comes_to_nothing_says_why() {
    let silent = shake(EraChoice::Legacy, async |far| {
        far.asked("initialize").await;
        assert_eq!(far.hear().await, None);
    });
    assert!(matches!(silent.await, Err(UpstreamError::Timeout { method: "initialize", .. })));
    let gone = shake(EraChoice::Auto, async |far| drop(far.asked("server/discover").await));
    assert!(matches!(gone.await, Err(UpstreamError::Ended)));
    let from_the_future = shake(EraChoice::Legacy, async |far| {
        let id = far.asked("initialize").await;
        far.answer(&id, &super::initialized("2030-01-01")).await;
    });
    assert!(
        matches!(from_the_future.await, Err(UpstreamError::Revision { theirs }) if theirs == "2030-01-01")
    );
    let unknown = shake(EraChoice::Auto, async |far| {
        let id = far.asked("server/discover").await;
        far.answer(&id, &json!({"supportedVersions": ["2030-01-01"]})).await;
    });
    assert!(matches!(unknown.await, Err(UpstreamError::Revision { .. })));
    let modern_alone = shake(EraChoice::Modern, async |far| {
        let id = far.asked("server/discover").await;
        far.refuse(&id, -32601).await;
    });
    assert!(matches!(modern_alone.await, Err(UpstreamError::Handshake(error)) if error.code == -32601));
    let refused = shake(EraChoice::Legacy, async |far| {
        let id = far.asked("initialize").await;
        far.refuse(&id, -32000).await;
    });
    assert!(matches!(refused.await, Err(UpstreamError::Handshake(error)) if error.code == -32000));
}

#[tokio::test]
async fn each_request_has_its_own_answer_and_its_own_progress_in_whatever_order_they_come() {
    let (upstream, _near, mut far) = legacy().await;
    let params = raw(&json!({"name": "t", "arguments": {}}));
    let outgoing = Outgoing { has_progress: true, ..Outgoing::new("tools/call", Some(&params)) };
    let mut first = upstream.request(&outgoing).await.unwrap();
    let mut second = upstream.request(&outgoing).await.unwrap();
    let heard = [far.hear().await.unwrap(), far.hear().await.unwrap()];
    for message in heard.iter().rev() {
        let token = &message["params"]["_meta"]["progressToken"];
        let told = json!({"progressToken": token, "progress": 1, "message": token});
        far.say(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": told}).to_string())
            .await;
        far.answer(&message["id"], &json!({"is": message["id"], "n": 1.0})).await;
    }
    for exchange in [&mut first, &mut second] {
        let Ok(Step::Progress(told)) = exchange.next().await else { panic!("no progress") };
        assert_eq!(value(&told)["progressToken"], exchange.id());
        let Ok(Step::Response(Ok(result))) = exchange.next().await else { panic!("no result") };
        // To the letter.
        assert_eq!(result.as_str(), format!(r#"{{"is":{},"n":1.0}}"#, exchange.id()));
    }
}

#[tokio::test]
async fn an_error_of_the_upstream_is_an_answer() {
    let (upstream, _near, mut far) = legacy().await;
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    let id = far.asked("tools/list").await;
    far.refuse(&id, -32000).await;
    let Err(error) = exchange.response().await.unwrap() else { panic!("no error") };
    assert_eq!(RpcError::of(&error), RpcError::new(-32000, "no"));
}

#[tokio::test]
async fn what_belongs_to_no_request_is_an_event_and_a_ping_is_answered() {
    let (upstream, mut near, mut far) = legacy().await;
    far.say(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).await;
    far.say(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#).await;
    far.say(r#"{"jsonrpc":"2.0","id":"r","method":"roots/list"}"#).await;
    assert_eq!(far.hear().await.unwrap(), json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
    let Some(Event::Notification(told)) = near.events.next().await else { panic!("nothing told") };
    assert_eq!(told.method, "notifications/tools/list_changed");
    let Some(Event::Request(asked)) = near.events.next().await else { panic!("nothing asked") };
    upstream.answer(&asked, Err(RpcError::method_not_found(&asked.request.method))).await.unwrap();
    let answer = far.hear().await.unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("r"), &json!(-32601)));
}

#[tokio::test]
async fn what_is_logged_is_heard_before_the_answer_by_whoever_is_alone_and_is_an_event_otherwise() {
    const LOG: &str =
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
    let (upstream, mut near, mut far) = legacy().await;
    for is_alone in [true, false] {
        let outgoing = Outgoing { is_alone, ..Outgoing::new("tools/call", None) };
        let mut exchange = upstream.request(&outgoing).await.unwrap();
        let id = far.asked("tools/call").await;
        far.say(LOG).await;
        far.answer(&id, &json!({})).await;
        if is_alone {
            let Step::Notification(said) = exchange.next().await.unwrap() else { panic!("nothing logged") };
            assert_eq!(value(&said.params.unwrap())["data"], "x");
        }
        assert!(matches!(exchange.next().await.unwrap(), Step::Response(Ok(_))));
    }
    let Some(Event::Notification(told)) = near.events.next().await else { panic!("nothing told") };
    assert_eq!(told.method, "notifications/message");
}

#[tokio::test]
async fn what_is_no_message_harms_nothing() {
    let (upstream, _near, mut far) = legacy().await;
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    let id = far.asked("tools/list").await;
    for line in [
        "starting up …",
        r#"{"level":"info"}"#,
        "[]",
        r#"{"jsonrpc":"2.0","id":999,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":999,"progress":1}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#,
    ] {
        far.say(line).await;
    }
    far.answer(&id, &json!({"tools": []})).await;
    assert!(exchange.response().await.unwrap().is_ok());
}

#[tokio::test]
async fn an_answer_that_is_too_long_ends_its_own_request_and_no_other() {
    let (upstream, _near, mut far) = legacy().await;
    let other = upstream.request(&Outgoing::new("resources/list", None)).await.unwrap();
    let other_id = far.asked("resources/list").await;
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    let id = far.asked("tools/list").await;
    far.say(&json!({"jsonrpc": "2.0", "method": "x", "params": "x".repeat(MESSAGE_BYTES_MAX)}).to_string())
        .await;
    far.answer(&id, &json!("x".repeat(MESSAGE_BYTES_MAX))).await;
    assert!(matches!(
        exchange.response().await,
        Err(UpstreamError::TooLong { bytes_max: MESSAGE_BYTES_MAX })
    ));
    far.answer(&other_id, &json!({})).await;
    assert!(other.response().await.unwrap().is_ok());
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    let id = far.asked("tools/list").await;
    far.answer(&id, &json!({})).await;
    assert!(exchange.response().await.is_ok());
}

#[tokio::test]
async fn an_answer_that_is_too_long_and_hides_whose_it_is_ends_what_waits() {
    let (upstream, _near, mut far) = legacy().await;
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    far.asked("tools/list").await;
    far.say(&json!(["x".repeat(MESSAGE_BYTES_MAX)]).to_string()).await;
    assert!(matches!(exchange.response().await, Err(UpstreamError::TooLong { .. })));
}

#[tokio::test]
async fn the_end_of_the_stream_ends_what_waits_and_what_comes_after_it() {
    let (upstream, near, far) = legacy().await;
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    drop(far);
    let ended = exchange.response().await.unwrap_err();
    assert!(matches!(ended, UpstreamError::Ended) && ended.may_have_arrived());
    near.driver.await.unwrap();
    assert!(matches!(upstream.request(&Outgoing::new("ping", None)).await, Err(UpstreamError::Ended)));
}

#[tokio::test]
async fn a_driver_that_is_dropped_ends_the_wire() {
    let (upstream, near, _far) = legacy().await;
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    near.driver.abort();
    assert!(matches!(exchange.response().await, Err(UpstreamError::Ended)));
}

#[tokio::test]
async fn a_request_that_is_given_up_is_told_and_its_late_answer_is_nobodys() {
    let (upstream, _near, mut far) = legacy().await;
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    let id = far.asked("tools/list").await;
    drop(exchange);
    upstream.cancel(id.as_i64().unwrap(), "nobody waits").await.unwrap();
    let told = far.hear().await.unwrap();
    assert_eq!(told["method"], "notifications/cancelled");
    assert_eq!(told["params"], json!({"requestId": id, "reason": "nobody waits"}));
    far.answer(&id, &json!({})).await;
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    let id = far.asked("tools/list").await;
    far.answer(&id, &json!({"tools": [1]})).await;
    assert_eq!(value(&exchange.response().await.unwrap().unwrap()), json!({"tools": [1]}));
}

#[tokio::test]
async fn of_a_flood_the_events_that_fit_are_kept_and_the_loss_is_told() {
    let (upstream, mut near, mut far) = legacy().await;
    for n in 0..UPSTREAM_EVENTS_MAX + 100 {
        far.say(&json!({"jsonrpc": "2.0", "method": "n", "params": {"n": n}}).to_string()).await;
    }
    far.say(r#"{"jsonrpc":"2.0","id":"late","method":"sampling/createMessage"}"#).await;
    // Who can't be heard is told so.
    let answer = far.hear().await.unwrap();
    assert_eq!((&answer["id"], answer["error"].is_object()), (&json!("late"), true));
    // That something is lost comes first: what it may have changed is asked for again, and the rest is heard as it came.
    assert!(matches!(near.events.next().await, Some(Event::Lost)));
    for n in 0..UPSTREAM_EVENTS_MAX {
        let Some(Event::Notification(told)) = near.events.next().await else { panic!("{n} is missing") };
        assert_eq!(value(&told.params.unwrap()), json!({"n": n}));
    }
    drop(upstream);
}

#[tokio::test]
async fn of_a_flood_of_progress_the_newest_is_kept_and_the_answer_as_well() {
    let (upstream, _near, mut far) = legacy().await;
    let outgoing = Outgoing { has_progress: true, ..Outgoing::new("tools/call", None) };
    let mut exchange = upstream.request(&outgoing).await.unwrap();
    let id = far.asked("tools/call").await;
    for n in 0..1_000 {
        let told = json!({"progressToken": id, "progress": n});
        far.say(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": told}).to_string())
            .await;
    }
    far.answer(&id, &json!({})).await;
    // Everything was read before this is answered.
    far.say(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#).await;
    far.hear().await.unwrap();
    let mut progress = Vec::new();
    while let Step::Progress(told) = exchange.next().await.unwrap() {
        progress.push(value(&told)["progress"].as_i64().unwrap());
    }
    assert_eq!((progress.len(), progress.last()), (UPSTREAM_STEPS_MAX, Some(&999)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_makes_its_callers_wait_and_nobody_else() {
    const REQUEST_BYTES: usize = 16 * 1024;
    let (upstream, _near, _far) = legacy().await;
    let params = raw(&json!({"text": "x".repeat(REQUEST_BYTES)}));
    let mut sent = 0;
    // What was sent and not read stays bounded: what the pipe takes, what waits in line, and what is just being written, which
    // is as much as waited.
    while let Ok(exchange) =
        timeout(Duration::from_secs(1), upstream.request(&Outgoing::new("tools/call", Some(&params)))).await
    {
        drop(exchange.unwrap());
        sent += 1;
        assert!(sent <= 2 * UPSTREAM_QUEUE_MAX + PIPE_BYTES / REQUEST_BYTES + 1, "{sent}");
    }
    assert!(sent >= UPSTREAM_QUEUE_MAX, "{sent}");
    let (other, _near, mut far) = legacy().await;
    let exchange = other.request(&Outgoing::new("tools/list", None)).await.unwrap();
    let id = far.asked("tools/list").await;
    far.answer(&id, &json!({})).await;
    assert!(exchange.response().await.is_ok());
}

#[tokio::test]
async fn the_first_answer_is_the_only_one_and_no_progress_takes_its_place() {
    let (upstream, _near, mut far) = legacy().await;
    let outgoing = Outgoing { has_progress: true, ..Outgoing::new("tools/call", None) };
    let mut exchange = upstream.request(&outgoing).await.unwrap();
    let id = far.asked("tools/call").await;
    let progress =
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": id}});
    for _ in 0..UPSTREAM_STEPS_MAX {
        far.say(&progress.to_string()).await;
    }
    for n in 0..3 {
        far.answer(&id, &json!({"n": n})).await;
        far.say(&progress.to_string()).await;
    }
    far.say(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#).await;
    far.hear().await.unwrap();
    for _ in 0..UPSTREAM_STEPS_MAX {
        assert!(matches!(exchange.next().await, Ok(Step::Progress(_))));
    }
    let Ok(Step::Response(Ok(first))) = exchange.next().await else { panic!("the answer is lost") };
    assert_eq!(value(&first), json!({"n": 0}));
    assert!(matches!(exchange.next().await, Err(UpstreamError::Ended)));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_ends_its_own_request_and_no_other() {
    let (upstream, _near, mut far) = legacy().await;
    let first = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    let second = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    let ids = [far.asked("tools/list").await, far.asked("tools/list").await];
    far.say(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"a":1,"a":2}}}}"#, ids[0])).await;
    assert!(matches!(first.response().await, Err(UpstreamError::Protocol(_))));
    far.answer(&ids[1], &json!({})).await;
    assert!(second.response().await.is_ok());
}

#[tokio::test]
async fn what_a_server_said_before_it_stopped_reading_is_heard() {
    // Which end of the stream is looked at first is left to chance.
    for _ in 0..50 {
        let (upstream, _near, mut far) = legacy().await;
        let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
        let id = far.asked("tools/list").await;
        far.answer(&id, &json!({"last": "words"})).await;
        drop(far);
        let _late = upstream.request(&Outgoing::new("tools/list", None)).await;
        assert_eq!(value(&exchange.response().await.unwrap().unwrap()), json!({"last": "words"}));
    }
}

#[tokio::test]
async fn a_driver_ends_when_nobody_holds_the_wire() {
    let (upstream, near, _far) = legacy().await;
    drop((upstream, near.lines));
    timeout(Duration::from_secs(20), near.driver).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_with_line_breaks_is_one_line() {
    let (upstream, _near, mut far) = legacy().await;
    let params =
        hayward_mcp::json::Raw::parse("{\n \"a\":\r\n \"x\\ny\" }", hayward_mcp::limits::JSON).unwrap();
    let _exchange = upstream.request(&Outgoing::new("m", Some(&params))).await.unwrap();
    assert_eq!(far.hear().await.unwrap()["params"], json!({"a": "x\ny"}));
}

#[tokio::test]
async fn an_answer_to_an_id_of_another_spelling_is_not_ours() {
    let (upstream, _near, mut far) = legacy().await;
    let exchange = upstream.request(&Outgoing::new("m", None)).await.unwrap();
    let id: Value = far.asked("m").await;
    far.answer(&json!(id.to_string()), &json!("as a string")).await;
    far.answer(&id, &json!("as a number")).await;
    assert_eq!(value(&exchange.response().await.unwrap().unwrap()), "as a number");
    assert!(RequestId::read(&raw(&id)).is_ok());
}
