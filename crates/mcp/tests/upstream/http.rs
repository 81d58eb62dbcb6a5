//! Streamable HTTP, of either era.

use std::sync::Arc;
use std::time::Duration;

use hayward_mcp::era::Revision;
use hayward_mcp::error::RpcError;
use hayward_mcp::upstream::{EraChoice, Event, Outgoing, Step, Upstream, UpstreamError};
use serde_json::json;

use super::scripted::{Answer, End, Script, connect, empty, events, json as body, result, wire};
use super::{MESSAGE_BYTES_MAX, discovered, initialized, options, raw, value};

/// A modern upstream that then answers like this.
async fn modern(answers: impl IntoIterator<Item = Answer>) -> (Upstream, Arc<Script>) {
    let script = Script::of([result(&discovered())].into_iter().chain(answers));
    (connect(&script, EraChoice::Auto).await.unwrap(), script)
}

/// A legacy upstream that then answers like this, with no stream of its own but these.
async fn legacy_with(
    answers: impl IntoIterator<Item = Answer>,
    streams: impl IntoIterator<Item = Answer>,
) -> (Upstream, Arc<Script>) {
    let answers = greeting("s1").into_iter().chain(answers);
    let script = Script::with_streams(answers, std::iter::once(empty(405)).chain(streams));
    let upstream = connect(&script, EraChoice::Legacy).await.unwrap();
    // The stream of the session is asked for beside all else.
    while script.asked().len() < 3 {
        tokio::task::yield_now().await;
    }
    (upstream, script)
}

async fn legacy(answers: impl IntoIterator<Item = Answer>) -> (Upstream, Arc<Script>) {
    legacy_with(answers, []).await
}

fn greeting(session: &str) -> [Answer; 2] {
    [result(&initialized("2025-11-25")).with("mcp-session-id", session), empty(202)]
}

#[tokio::test]
async fn a_modern_request_says_in_headers_what_its_body_says() {
    let (upstream, script) = modern([result(&json!({"content": []}))]).await;
    let params = raw(&json!({"name": "t\u{e4}", "arguments": {}}));
    let exchange = upstream.request(&Outgoing::new("tools/call", Some(&params)).on("t\u{e4}")).await.unwrap();
    assert_eq!(value(&exchange.response().await.unwrap().unwrap()), json!({"content": []}));
    let asked = &script.asked()[1];
    for (name, expect) in [
        ("mcp-protocol-version", Some("2026-07-28")),
        ("mcp-method", Some("tools/call")),
        ("mcp-name", Some("=?base64?dMOk?=")),
        ("authorization", Some("Bearer x")),
        ("accept", Some("application/json, text/event-stream")),
        ("content-type", Some("application/json")),
    ] {
        assert_eq!(asked.header(name), expect, "{name}");
    }
    assert_eq!((asked.method.as_str(), asked.uri.as_str()), ("POST", "http://up.example/mcp"));
}

#[tokio::test]
async fn a_legacy_session_is_said_with_every_request_and_ended() {
    let (upstream, script) = legacy([result(&json!({})), empty(200)]).await;
    upstream.request(&Outgoing::new("tools/list", None)).await.unwrap().response().await.unwrap().unwrap();
    upstream.close().await;
    let asked = script.asked();
    assert_eq!(
        asked.iter().map(|it| it.method.as_str()).collect::<Vec<_>>(),
        ["POST", "POST", "GET", "POST", "DELETE"]
    );
    assert_eq!(asked[0].header("mcp-protocol-version"), None);
    for asked in &asked[1..] {
        assert_eq!(
            (asked.header("mcp-session-id"), asked.header("mcp-protocol-version")),
            (Some("s1"), Some("2025-11-25"))
        );
        assert_eq!(asked.header("mcp-method"), None);
    }
    assert_eq!(asked[1].body, json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
}

#[tokio::test]
async fn whatever_a_legacy_server_says_to_what_it_does_not_know_leads_to_initialize() {
    for refusal in [
        empty(400),
        empty(404),
        empty(405),
        empty(406),
        empty(500),
        body(
            400,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: Server not initialized"}}"#,
        ),
        body(200, r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"no"}}"#),
        body(404, "Not Found"),
        body(200, "<html>"),
    ] {
        let script = Script::of([refusal.clone()].into_iter().chain(greeting("s")));
        let upstream = connect(&script, EraChoice::Auto).await;
        assert_eq!(upstream.unwrap().declared().revision, Revision::V2025_11_25, "{refusal:?}");
    }
}

#[tokio::test]
async fn what_says_that_it_is_something_else_does_not_lead_to_initialize() {
    for refusal in [
        empty(401).with("www-authenticate", "Bearer realm=\"x\""),
        empty(403),
        empty(502),
        empty(503),
        empty(307),
        body(400, r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-32020,"message":"header mismatch"}}"#),
        body(
            400,
            r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-32022,"message":"no","data":{"supported":["2030-01-01"]}}}"#,
        ),
    ] {
        let script = Script::of([refusal.clone()].into_iter().chain(greeting("s")));
        assert!(connect(&script, EraChoice::Auto).await.is_err(), "{refusal:?}");
        assert_eq!(script.asked().len(), 1, "{refusal:?}");
    }
    let script = Script::of([empty(401).with("www-authenticate", "Bearer realm=\"x\"")]);
    let Err(UpstreamError::Unauthorized { status: 401, challenge: Some(challenge) }) =
        connect(&script, EraChoice::Auto).await
    else {
        panic!("the challenge is lost");
    };
    assert_eq!(challenge, "Bearer realm=\"x\"");
    assert!(matches!(connect(&Script::of([]), EraChoice::Auto).await, Err(UpstreamError::Connection(_))));
}

#[tokio::test]
async fn an_error_with_a_status_of_its_own_is_an_answer_of_a_modern_upstream() {
    let error = r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"no"}}"#;
    let (upstream, _) = modern([body(404, error), body(400, error)]).await;
    for _ in 0..2 {
        let exchange = upstream.request(&Outgoing::new("x", None)).await.unwrap();
        let error = exchange.response().await.unwrap().unwrap_err();
        assert_eq!(RpcError::of(&error).code, -32601);
    }
}

#[tokio::test]
async fn a_session_that_is_forgotten_is_begun_anew_and_the_request_sent_once_more() {
    let no_session =
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID"}}"#;
    for gone in [
        empty(404),
        body(404, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"x"}}"#),
        body(400, no_session),
    ] {
        let answers = [gone].into_iter().chain(greeting("s2")).chain([result(&json!("done"))]);
        let (upstream, script) = legacy(answers).await;
        let told = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap().response().await;
        assert_eq!(value(&told.unwrap().unwrap()), "done");
        let said = |method: &str, session: Option<&str>| (method.to_owned(), session.map(ToOwned::to_owned));
        let session = |id| {
            [
                said("initialize", None),
                said("notifications/initialized", Some(id)),
                said("tools/list", Some(id)),
            ]
        };
        assert_eq!(script.posted(), [session("s1"), session("s2")].concat());
    }
}

#[tokio::test]
async fn a_session_that_is_forgotten_again_at_once_is_an_error() {
    let (upstream, script) = legacy([empty(404)].into_iter().chain(greeting("s2")).chain([empty(404)])).await;
    let told = upstream.request(&Outgoing::new("tools/list", None)).await;
    assert!(matches!(told, Err(UpstreamError::SessionGone)), "{told:?}");
    assert!(script.asked().iter().filter(|it| it.body["method"] == "initialize").count() == 2);
}

#[tokio::test]
async fn an_error_under_the_id_of_the_request_is_an_answer_whatever_it_says_of_sessions() {
    for status in [400, 404] {
        let error =
            r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"closing the session failed"}}"#;
        let (upstream, script) = legacy([body(status, error)]).await;
        let told = upstream.request(&Outgoing::new("tools/call", None)).await.unwrap().response().await;
        assert_eq!(RpcError::of(&told.unwrap().unwrap_err()).code, -32601);
        assert_eq!(script.posted().len(), 3, "{status}");
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_begun_anew_is_tried_again_by_the_next_request() {
    let answers = [empty(404), empty(503), empty(404)].into_iter().chain(greeting("s2"));
    let (upstream, script) = legacy(answers.chain([result(&json!("done"))])).await;
    let failed = upstream.request(&Outgoing::new("tools/list", None)).await;
    assert!(matches!(failed, Err(UpstreamError::Status { status: 503, .. })), "{failed:?}");
    let told = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap().response().await;
    assert_eq!(value(&told.unwrap().unwrap()), "done");
    let sessions: Vec<_> =
        script.posted().into_iter().map(|(_, session)| session.unwrap_or_default()).collect();
    assert_eq!(sessions, ["", "s1", "s1", "", "s1", "", "s2", "s2"]);
}

#[tokio::test]
async fn an_answer_to_what_was_asked_in_another_session_is_not_sent() {
    let ask = "data: {\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"elicitation/create\"}\n\n";
    let answers = [events(&[ask], End::Never), empty(404)].into_iter().chain(greeting("s2"));
    let (upstream, script) = legacy(answers.chain([result(&json!({}))])).await;
    let mut exchange = upstream.request(&Outgoing::new("tools/call", None)).await.unwrap();
    let Step::Request(asked) = exchange.next().await.unwrap() else { panic!("not asked") };
    upstream.request(&Outgoing::new("tools/list", None)).await.unwrap().response().await.unwrap().unwrap();
    let late = upstream.answer(&asked, Ok(raw(&json!({"action": "accept"})))).await;
    assert!(matches!(late, Err(UpstreamError::SessionGone)), "{late:?}");
    assert!(script.asked().iter().all(|asked| asked.body.get("result").is_none()));
}

#[tokio::test]
async fn a_refused_revision_that_is_among_those_that_are_spoken_is_asked_for_once_more() {
    let again = r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}"#;
    let script = Script::of([body(400, again), result(&discovered())]);
    assert!(connect(&script, EraChoice::Auto).await.is_ok());
    let script = Script::of([body(400, again), body(400, again)]);
    assert!(matches!(connect(&script, EraChoice::Auto).await, Err(UpstreamError::Handshake(_))));
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test]
async fn an_upstream_without_sessions_that_knows_no_method_is_not_begun_anew() {
    let error = r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"no"}}"#;
    let answers = [result(&initialized("2025-06-18")), empty(202), body(404, error)];
    let script = Script::of(answers);
    let upstream = connect(&script, EraChoice::Legacy).await.unwrap();
    let told = upstream.request(&Outgoing::new("x", None)).await.unwrap().response().await.unwrap();
    assert_eq!(RpcError::of(&told.unwrap_err()).code, -32601);
}

#[tokio::test]
async fn a_stream_tells_progress_and_asks_before_it_answers_however_it_is_cut() {
    let stream = concat!(
        ": hello\n\n",
        "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$ID,\"progress\":1}}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":77,\"progress\":1}}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\"}}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"id\":\"e\",\"method\":\"elicitation/create\",\"params\":{}}\n\n",
        "event: other\ndata: {}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"n\":1.0}}\n\n",
    );
    let cuts: Vec<Vec<&str>> =
        vec![vec![stream], stream.split_inclusive(':').collect(), stream.split_inclusive('\n').collect()];
    for chunks in cuts {
        let (upstream, script) = legacy([events(&chunks, End::Never), empty(202)]).await;
        let mut exchange = upstream.request(&Outgoing::new("tools/call", None)).await.unwrap();
        let Step::Progress(told) = exchange.next().await.unwrap() else { panic!("no progress") };
        assert_eq!(value(&told)["progressToken"], exchange.id());
        let Step::Notification(told) = exchange.next().await.unwrap() else { panic!("no message") };
        assert_eq!(told.method, "notifications/message");
        let Step::Request(asked) = exchange.next().await.unwrap() else { panic!("not asked") };
        upstream.answer(&asked, Ok(raw(&json!({"action": "decline"})))).await.unwrap();
        let Step::Response(Ok(told)) = exchange.next().await.unwrap() else { panic!("no result") };
        assert_eq!(told.as_str(), "{\"n\":1.0}");
        let answer = script.asked().pop().unwrap();
        assert_eq!(answer.body, json!({"jsonrpc": "2.0", "id": "e", "result": {"action": "decline"}}));
        assert_eq!(answer.header("mcp-session-id"), Some("s1"));
    }
}

#[tokio::test]
async fn a_modern_upstream_asks_nothing_on_a_stream() {
    let stream = "data: {\"jsonrpc\":\"2.0\",\"id\":\"e\",\"method\":\"elicitation/create\",\"params\":{}}\n\n\
        data: {\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{}}\n\n";
    let (upstream, _) = modern([events(&[stream], End::Never)]).await;
    let mut exchange = upstream.request(&Outgoing::new("tools/call", None)).await.unwrap();
    assert!(matches!(exchange.next().await, Ok(Step::Response(Ok(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_legacy_stream_that_breaks_off_goes_on_behind_its_last_event() {
    for end in [End::Whole, End::Broken] {
        let first = events(&["id: 7\nretry: 250\ndata: \n\n"], end);
        let second = events(&["id: 8\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\n"], end);
        let third = events(&["data: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n"], End::Whole);
        let (upstream, script) = legacy_with([first], [second, third]).await;
        let before = tokio::time::Instant::now();
        let mut exchange = upstream.request(&Outgoing::new("tools/call", None)).await.unwrap();
        assert_eq!(exchange.id(), 2);
        assert!(matches!(exchange.next().await, Ok(Step::Notification(_))));
        assert!(matches!(exchange.next().await, Ok(Step::Response(Ok(_)))));
        let asked = script.asked();
        let resumed: Vec<_> =
            asked[4..].iter().map(|it| (it.method.as_str(), it.header("last-event-id"))).collect();
        assert_eq!(resumed, [("GET", Some("7")), ("GET", Some("8"))]);
        assert_eq!(before.elapsed(), Duration::from_millis(500));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_resumed_though_whoever_waits_looks_elsewhere_meanwhile() {
    let first = events(&["id: 7\nretry: 1000\ndata: \n\n"], End::Whole);
    let second = events(&["data: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n"], End::Whole);
    let (upstream, script) = legacy_with([first], [second]).await;
    let mut exchange = upstream.request(&Outgoing::new("tools/call", None)).await.unwrap();
    let mut looks = 0;
    let step = loop {
        tokio::select! {
            step = exchange.next() => break step,
            () = tokio::time::sleep(Duration::from_millis(30)) => looks += 1,
        }
    };
    assert!(matches!(step, Ok(Step::Response(Ok(_)))), "{step:?}");
    assert!((30..=34).contains(&looks), "{looks}");
    assert_eq!(script.asked().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_broke_off_may_have_been_done_whatever_became_of_going_on() {
    let first = events(&["id: 7\ndata: \n\n"], End::Whole);
    let streams = (0..9).map(|_| empty(503));
    let (upstream, _) = legacy_with([first], streams).await;
    let told =
        upstream.request(&Outgoing::new("tools/call", None)).await.unwrap().response().await.unwrap_err();
    assert!(told.may_have_arrived(), "{told:?}");
}

#[tokio::test]
async fn a_ping_on_the_stream_of_a_request_is_answered_and_its_answer_refused_harms_nothing() {
    let ping = "data: {\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}\n\n";
    let done = "data: {\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{}}\n\n";
    for answer in [empty(202), empty(404), empty(401)] {
        let (upstream, script) = legacy([events(&[ping, done], End::Never), answer]).await;
        let told = upstream.request(&Outgoing::new("tools/call", None)).await.unwrap().response().await;
        assert!(told.unwrap().is_ok());
        assert_eq!(script.asked().pop().unwrap().body, json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_go_on_says_how_it_ended() {
    // Nothing says where to go on.
    let (upstream, _) = legacy([events(&[": x\n\n"], End::Broken)]).await;
    let told =
        upstream.request(&Outgoing::new("tools/call", None)).await.unwrap().response().await.unwrap_err();
    assert!(matches!(told, UpstreamError::Connection(_)) && told.may_have_arrived());
    // It breaks off again and again, without a word of news.
    let broken = (0..9).map(|_| events(&[], End::Whole));
    let (upstream, script) = legacy_with([events(&["id: 1\ndata:\n\n"], End::Whole)], broken).await;
    let told =
        upstream.request(&Outgoing::new("tools/call", None)).await.unwrap().response().await.unwrap_err();
    assert!(matches!(told, UpstreamError::Ended), "{told:?}");
    assert_eq!(script.asked().len(), 4 + 5);
    // A modern one is never resumed.
    let (upstream, script) = modern([events(&["id: 1\ndata:\n\n"], End::Whole)]).await;
    let told =
        upstream.request(&Outgoing::new("tools/call", None)).await.unwrap().response().await.unwrap_err();
    assert!(matches!(told, UpstreamError::Ended), "{told:?}");
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test]
async fn what_is_not_the_protocol_or_too_long_is_refused() {
    let long = format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":"{}"}}"#, "x".repeat(MESSAGE_BYTES_MAX));
    let endless = format!("data: {}", "x".repeat(MESSAGE_BYTES_MAX + 1));
    for (answer, is_too_long) in [
        (empty(202), false),
        (empty(204), false),
        (body(200, "{"), false),
        (body(200, r#"{"jsonrpc":"2.0","id":99,"result":{}}"#), false),
        (body(200, r#"{"jsonrpc":"2.0","method":"x"}"#), false),
        (body(200, r#"[{"jsonrpc":"2.0","id":$ID,"result":{}}]"#), false),
        (body(200, r#"{"jsonrpc":"2.0","id":$ID,"result":{},"result":{}}"#), false),
        (events(&["data: nonsense\n\n"], End::Never), false),
        (body(200, &long), true),
        (body(200, "{}").with("content-length", "999999"), true),
        (events(&[&endless], End::Never), true),
    ] {
        let (upstream, script) = modern([answer.clone()]).await;
        let told = match upstream.request(&Outgoing::new("x", None)).await {
            Ok(exchange) => exchange.response().await.unwrap_err(),
            Err(error) => error,
        };
        match told {
            UpstreamError::TooLong { .. } => assert!(is_too_long, "{answer:?}"),
            UpstreamError::Protocol(_) => assert!(!is_too_long, "{answer:?}"),
            other => panic!("{answer:?}: {other:?}"),
        }
        assert_eq!(script.open(), 0, "{answer:?}");
    }
}

#[tokio::test]
async fn a_status_without_a_message_says_whether_it_may_have_been_done() {
    for (status, may_have_arrived) in
        [(500, true), (502, true), (504, true), (503, true), (429, false), (413, false)]
    {
        let (upstream, _) = modern([empty(status).with("retry-after", " 7 ")]).await;
        let told = upstream.request(&Outgoing::new("x", None)).await.unwrap_err();
        assert!(matches!(told, UpstreamError::Status { retry_after_s: Some(7), .. }), "{told:?}");
        assert_eq!(told.may_have_arrived(), may_have_arrived, "{status}");
    }
}

#[tokio::test]
async fn a_modern_request_is_given_up_by_hanging_up_and_a_legacy_one_by_telling() {
    let (upstream, script) = modern([events(&[], End::Never)]).await;
    let exchange = upstream.request(&Outgoing::new("x", None)).await.unwrap();
    assert_eq!(script.open(), 1);
    let id = exchange.id();
    drop(exchange);
    upstream.cancel(id, "enough").await.unwrap();
    assert_eq!((script.open(), script.asked().len()), (0, 2));
    let (upstream, script) = legacy([events(&[], End::Never), empty(202)]).await;
    let exchange = upstream.request(&Outgoing::new("x", None)).await.unwrap();
    let id = exchange.id();
    drop(exchange);
    upstream.cancel(id, "enough").await.unwrap();
    assert_eq!(script.open(), 0);
    assert_eq!(script.asked().pop().unwrap().body["params"], json!({"requestId": 2, "reason": "enough"}));
}

#[tokio::test(start_paused = true)]
async fn what_a_session_says_beside_its_answers_is_heard_and_heard_again_after_a_break() {
    let hello = "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
    let ping = "data: {\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}\n\n";
    let ask = "data: {\"jsonrpc\":\"2.0\",\"id\":\"r\",\"method\":\"roots/list\"}\n\n";
    let streams = [events(&[hello], End::Broken), events(&[ping, ask], End::Never)];
    let script = Script::with_streams(greeting("s1").into_iter().chain([empty(202)]), streams);
    let (wire, mut heard) = wire(&script);
    let _upstream = Upstream::connect(wire, options(EraChoice::Legacy)).await.unwrap();
    assert!(matches!(heard.next().await, Some(Event::Notification(_))));
    let Some(Event::Request(asked)) = heard.next().await else { panic!("not asked") };
    assert_eq!(asked.request.method, "roots/list");
    let asked = script.asked();
    let said: Vec<_> = asked[2..].iter().map(|it| (it.method.as_str(), it.header("last-event-id"))).collect();
    assert_eq!(said, [("GET", None), ("GET", Some("1")), ("POST", None)]);
    assert_eq!(asked[4].body, json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
}

#[tokio::test]
async fn headers_of_the_administrator_do_not_say_what_the_protocol_says() {
    let (_upstream, script) = modern([]).await;
    // A session that nobody began is not said by the protocol, and none is: see `scripted::wire`.
    assert_eq!(script.asked()[0].header("mcp-session-id"), None);
}
