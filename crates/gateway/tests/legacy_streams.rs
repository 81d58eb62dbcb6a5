//! Event streams of legacy sessions: what they tell, how they are come back to, and how they end.
#![cfg(test)]

use std::time::{Duration, Instant};

use hayward_gateway::limits::Limits;
use hayward_testkit::client::{Answer, post, request, send_raw};
use hayward_testkit::events::{Event, Events};
use hayward_testkit::fixture;
use hayward_testkit::server::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const BOTH: &str = "application/json, text/event-stream";
const NEWEST: &str = "2025-11-25";
/// No message at all.
const NONE: [Value; 0] = [];
const WATCHED: &str = "test://watched-resource";

/// Limits with which a call streams at once.
fn early() -> Limits {
    Limits { first_byte_ms: 0, ..Limits::default() }
}

/// A session of a legacy client, and whatever it sends.
struct Session<'a> {
    server: &'a Server,
    bearer: String,
    id: String,
    revision: &'static str,
}

impl<'a> Session<'a> {
    async fn open(server: &'a Server, revision: &'static str) -> Self {
        Self::open_as(server, &server.rw_token, revision).await
    }

    async fn open_as(server: &'a Server, token: &str, revision: &'static str) -> Self {
        Self::try_open(server, token, revision).await.unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    async fn try_open(server: &'a Server, token: &str, revision: &'static str) -> Result<Self, Answer> {
        let mut session = Self { server, bearer: format!("Bearer {token}"), id: String::new(), revision };
        let initialized = session.post("initialize", json!({"protocolVersion": revision})).await;
        match initialized.header("mcp-session-id") {
            Some(id) => session.id = id.to_owned(),
            None => return Err(initialized),
        }
        Ok(session)
    }

    /// The same session as somebody else sees it who knows its id.
    fn seen_by(&self, token: &str) -> Self {
        Self { bearer: format!("Bearer {token}"), id: self.id.clone(), ..*self }
    }

    fn request(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
        let mut all = vec![("authorization", self.bearer.as_str())];
        if !self.id.is_empty() {
            all.extend([("mcp-session-id", self.id.as_str()), ("mcp-protocol-version", self.revision)]);
        }
        all.extend_from_slice(headers);
        request(method, self.server.address, "/mcp", &all, body)
    }

    async fn post(&self, method: &str, params: Value) -> Answer {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        send_raw(self.server.address, &self.request("POST", &[], &body)).await.unwrap()
    }

    async fn call(&self, tool: &str) -> Value {
        self.post("tools/call", json!({"name": tool})).await.json()
    }

    fn call_request(&self, id: &str, tool: &str) -> Vec<u8> {
        let params = json!({"name": tool, "_meta": {"progressToken": id}});
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string();
        self.request("POST", &[("accept", BOTH)], &body)
    }

    /// Calls a tool, and leaves its answer to be read.
    async fn start(&self, id: &str, tool: &str) -> Events {
        let events = Events::open(self.server.address, &self.call_request(id, tool)).await.unwrap();
        assert_eq!(events.head.header("content-type"), Some("text/event-stream"), "{:?}", events.head);
        events
    }

    /// `GET`, perhaps to come back.
    async fn get(&self, last: Option<&str>) -> Events {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last.map(|last| ("last-event-id", last)));
        Events::open(self.server.address, &self.request("GET", &headers, "")).await.unwrap()
    }

    /// `GET`, which must be served.
    async fn listen(&self, last: Option<&str>) -> Events {
        let events = self.get(last).await;
        assert_eq!(events.head.status, 200);
        events
    }

    async fn end(&self) -> u16 {
        send_raw(self.server.address, &self.request("DELETE", &[], "")).await.unwrap().status
    }
}

/// Lets something change, by means of a client of its own.
async fn trigger(server: &Server, what: &str) {
    let bearer = format!("Bearer {}", server.ro_token);
    let tool = format!("test_trigger_{what}_change");
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}});
    let answer =
        post(server.address, "/mcp", &[("authorization", &bearer)], &body.to_string()).await.unwrap();
    assert!(answer.json()["result"]["content"].is_array(), "{answer:?}");
}

/// Lets one call of `holds` end, by means of a client of its own.
async fn free(server: &Server) {
    let other = Session::open_as(server, &server.ro_token, NEWEST).await;
    assert_eq!(other.call("frees").await["result"]["content"][0]["text"], "freed");
}

async fn method(events: &mut Events) -> String {
    let message = events.message().await.unwrap();
    message["method"].as_str().unwrap_or_else(|| panic!("no notification: {message}")).to_owned()
}

/// Waits until this holds, which must be soon.
async fn soon<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(5), "it never happens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_standing_stream_tells_of_lists_and_of_subscribed_resources_only() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.listen(None).await;
    trigger(&server, "watched").await;
    trigger(&server, "tool").await;
    assert_eq!(method(&mut events).await, "notifications/tools/list_changed", "nobody has subscribed");
    assert_eq!(
        session.post("resources/subscribe", json!({"uri": WATCHED})).await.json()["result"],
        json!({})
    );
    trigger(&server, "watched").await;
    let updated = events.message().await.unwrap();
    assert_eq!(updated["method"], "notifications/resources/updated");
    assert_eq!(updated["params"], json!({"uri": WATCHED}));
    session.post("resources/unsubscribe", json!({"uri": WATCHED})).await;
    trigger(&server, "watched").await;
    for (what, expected) in [("prompt", "prompts"), ("resource", "resources")] {
        trigger(&server, what).await;
        assert_eq!(method(&mut events).await, format!("notifications/{expected}/list_changed"));
    }
}

#[tokio::test]
async fn a_subscription_of_one_session_is_none_of_another() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let (mine, other) = (Session::open(&server, NEWEST).await, Session::open(&server, NEWEST).await);
    mine.post("resources/subscribe", json!({"uri": WATCHED})).await;
    let mut events = other.listen(None).await;
    trigger(&server, "watched").await;
    trigger(&server, "tool").await;
    assert_eq!(method(&mut events).await, "notifications/tools/list_changed");
}

#[tokio::test]
async fn what_is_not_there_or_belongs_to_no_session_can_not_be_subscribed_to() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let unknown = session.post("resources/subscribe", json!({"uri": "test://nowhere"})).await;
    assert_eq!((unknown.status, unknown.json()["error"]["code"].clone()), (200, json!(-32002)));
    let nobody = Session { id: String::new(), ..session };
    let refused = nobody.post("resources/subscribe", json!({"uri": WATCHED})).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].clone()), (400, json!(-32600)));
}

#[tokio::test]
async fn who_comes_back_to_the_standing_stream_misses_nothing_and_hears_nothing_twice() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.listen(None).await;
    trigger(&server, "tool").await;
    trigger(&server, "prompt").await;
    assert_eq!(method(&mut events).await, "notifications/tools/list_changed");
    let first = events.last_id.clone().unwrap();
    // It leaves with one event on its way.
    drop(events);
    trigger(&server, "resource").await;
    let mut events = session.listen(Some(&first)).await;
    assert_eq!(method(&mut events).await, "notifications/prompts/list_changed");
    assert_eq!(method(&mut events).await, "notifications/resources/list_changed");
    let third = events.last_id.clone().unwrap();
    drop(events);
    let mut events = session.listen(Some(&third)).await;
    trigger(&server, "tool").await;
    assert_eq!(method(&mut events).await, "notifications/tools/list_changed");
    // Whoever lost more than it thought comes back with an older id.
    let mut events = session.listen(Some(&first)).await;
    for list in ["prompts", "resources", "tools"] {
        assert_eq!(method(&mut events).await, format!("notifications/{list}/list_changed"));
    }
}

#[tokio::test]
async fn a_second_listener_sends_the_first_one_away_and_hears_everything_from_then_on() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut first = session.listen(None).await;
    let mut second = session.listen(None).await;
    assert_eq!(first.messages().await.unwrap(), NONE, "it ends in order");
    trigger(&server, "tool").await;
    assert_eq!(method(&mut second).await, "notifications/tools/list_changed");
}

#[tokio::test]
async fn only_who_opened_a_session_finds_it() {
    let server = Server::start_with(fixture::conformance(), early()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.listen(None).await;
    let stranger = session.seen_by(&server.ro_token);
    let nobody = Session { id: "0123456789abcdef0123456789abcdef".to_owned(), ..stranger.seen_by("") };
    let nobody = Session { bearer: stranger.bearer.clone(), ..nobody };
    for last in [None, Some("0-0"), Some("1-0"), Some("nonsense")] {
        let (foreign, unknown) = (stranger.get(last).await, nobody.get(last).await);
        assert_eq!((foreign.head.status, unknown.head.status), (404, 404));
        assert_eq!(foreign.whole().await.unwrap().body, unknown.whole().await.unwrap().body);
    }
    assert_eq!((stranger.end().await, nobody.end().await), (404, 404));
    trigger(&server, "tool").await;
    assert_eq!(method(&mut events).await, "notifications/tools/list_changed", "its owner still listens");
    assert_eq!(session.end().await, 204);
    // A stranger can't tell that it was there.
    assert_eq!(stranger.call("test_simple_text").await["id"], nobody.call("test_simple_text").await["id"]);
}

#[tokio::test]
async fn a_stream_needs_a_session_and_a_client_that_takes_events() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let get = |headers: &[(&str, &str)]| session.request("GET", headers, "");
    let json_only = send_raw(server.address, &get(&[("accept", "application/json")])).await.unwrap();
    assert_eq!(json_only.status, 406);
    let nobody = Session { id: String::new(), ..session.seen_by(&server.rw_token) };
    let refused = nobody.get(None).await;
    assert_eq!((refused.head.status, refused.head.header("allow")), (405, Some("GET, POST, DELETE")));
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_streams_and_its_calls() {
    let server = Server::start_with(fixture::unruly(), early()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let (mut listening, mut waiting) = (session.listen(None).await, session.start("w", "waits").await);
    assert!(waiting.next().await.unwrap().is_some());
    assert_eq!(session.end().await, 204);
    for events in [&mut listening, &mut waiting] {
        events.messages().await.unwrap();
    }
    assert_eq!(server.endings(1).await.unwrap(), ["cancelled"]);
    assert_eq!(session.get(None).await.head.status, 404);
    assert_eq!(session.get(waiting.last_id.as_deref()).await.head.status, 404);
    assert_eq!(session.post("tools/list", json!({})).await.status, 404);
    assert_eq!(session.end().await, 404);
}

#[tokio::test]
async fn the_end_of_a_session_gives_its_place_to_another_stream_at_once() {
    let limits = Limits { streams_per_principal_max: 1, ..Limits::default() };
    let server = Server::start_with(fixture::conformance(), limits).await.unwrap();
    let (first, second) = (Session::open(&server, NEWEST).await, Session::open(&server, NEWEST).await);
    let mut events = first.listen(None).await;
    assert_eq!(second.get(None).await.head.status, 429);
    first.end().await;
    assert_eq!(events.messages().await.unwrap(), NONE);
    soon(async || second.get(None).await.head.status == 200).await;
}

#[tokio::test]
async fn streams_are_counted_for_each_credential() {
    let limits = Limits { streams_per_principal_max: 2, resume_ms: 30, ..Limits::default() };
    let server = Server::start_with(fixture::conformance(), limits).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(Session::open(&server, NEWEST).await);
    }
    let (one, _two) = (sessions[0].listen(None).await, sessions[1].listen(None).await);
    let refused = sessions[2].get(None).await;
    assert_eq!(refused.head.status, 429);
    assert!(refused.whole().await.unwrap().body.contains("2 streams open"));
    // The same stream once more is no further one.
    let _again = sessions[1].listen(None).await;
    let other = Session::open_as(&server, &server.ro_token, NEWEST).await;
    assert_eq!(other.get(None).await.head.status, 200);
    // Who stays away for too long gives up its place.
    drop(one);
    soon(async || sessions[2].get(None).await.head.status == 200).await;
}

#[tokio::test]
async fn all_streams_together_are_counted_too() {
    let limits = Limits { streams_max: 1, ..Limits::default() };
    let server = Server::start_with(fixture::conformance(), limits).await.unwrap();
    let (first, other) =
        (Session::open(&server, NEWEST).await, Session::open_as(&server, &server.ro_token, NEWEST).await);
    let _events = first.listen(None).await;
    assert_eq!(other.get(None).await.head.status, 429);
}

#[tokio::test]
async fn a_revoked_token_ends_its_streams_within_a_second() {
    let server = Server::start_with(fixture::unruly(), early()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut streams = vec![session.listen(None).await, session.start("w", "waits").await];
    let other = Session::open_as(&server, &server.ro_token, NEWEST).await;
    let mut kept = other.listen(None).await;
    server.revoke(&server.rw_token).unwrap();
    let ended = async {
        for events in &mut streams {
            events.messages().await.unwrap();
        }
    };
    timeout(Duration::from_secs(1), ended).await.expect("they end");
    assert_eq!(session.get(None).await.head.status, 401);
    assert_eq!(session.get(streams[1].last_id.as_deref()).await.head.status, 401);
    assert!(
        timeout(Duration::from_millis(50), kept.message()).await.is_err(),
        "somebody else's stream goes on"
    );
}

#[tokio::test]
async fn a_session_that_somebody_listens_in_makes_no_room_for_another_one() {
    let limits = Limits { sessions_max: 1, ..Limits::default() };
    let server = Server::start_with(fixture::conformance(), limits).await.unwrap();
    let first = Session::open(&server, NEWEST).await;
    let events = first.listen(None).await;
    for token in [&server.rw_token, &server.ro_token] {
        let refused = Session::try_open(&server, token, NEWEST).await.err().expect("there is room for one");
        assert_eq!(refused.json()["error"]["code"], 503, "{refused:?}");
    }
    drop(events);
    let started = Instant::now();
    while Session::try_open(&server, &server.ro_token, NEWEST).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "its stream is never seen to be gone");
    }
}

#[tokio::test]
async fn an_id_of_a_standing_stream_that_is_gone_loses_nothing_of_the_new_one() {
    let limits = Limits { resume_ms: 20, ..Limits::default() };
    let server = Server::start_with(fixture::conformance(), limits).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.listen(None).await;
    for _ in 0..3 {
        trigger(&server, "prompt").await;
        method(&mut events).await;
    }
    let stale = events.last_id.clone().unwrap();
    drop(events);
    server.idle().await.unwrap();
    // Another connection of the client has begun a new stream meanwhile.
    let _new = session.listen(None).await;
    trigger(&server, "tool").await;
    let mut events = session.listen(Some(&stale)).await;
    trigger(&server, "prompt").await;
    // The connection before may have taken the first change, and may not.
    while method(&mut events).await != "notifications/prompts/list_changed" {}
}

#[tokio::test]
async fn signs_of_life_come_on_a_silent_stream() {
    let limits = Limits { keep_alive_ms: 100, ..early() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let (mut listening, mut waiting) = (session.listen(None).await, session.start("w", "waits").await);
    for events in [&mut listening, &mut waiting] {
        while events.next().await.unwrap().unwrap() != Event::default() {}
        assert_eq!(events.next().await.unwrap(), Some(Event::default()));
    }
}

#[tokio::test]
async fn a_call_whose_connection_broke_goes_on_and_its_answer_comes_exactly_once() {
    for revision in ["2025-03-26", "2025-06-18", NEWEST] {
        let server = Server::start(fixture::unruly()).await.unwrap();
        let session = Session::open(&server, revision).await;
        let mut events = session.start("h", "holds").await;
        assert_eq!(events.message().await.unwrap()["params"]["progress"], 1.0, "{revision}");
        let seen = events.last_id.clone().unwrap();
        drop(events);
        free(&server).await;
        assert_eq!(server.endings(2).await.unwrap(), ["ok", "ok"], "it was not cancelled");
        let mut events = session.listen(Some(&seen)).await;
        let messages = events.messages().await.unwrap();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert_eq!(messages[0]["params"]["progress"], 2.0);
        assert_eq!(
            (&messages[1]["id"], &messages[1]["result"]["content"][0]["text"]),
            (&json!("h"), &json!("held"))
        );
        // With the last id there is nothing left to come back for.
        let again = session.listen(events.last_id.as_deref()).await.messages().await.unwrap();
        assert_eq!(again, NONE);
    }
}

#[tokio::test]
async fn a_call_can_be_come_back_to_while_it_runs() {
    let server = Server::start(fixture::unruly()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.start("h", "holds").await;
    // The first event has no message, and is enough to come back with.
    let primer = events.next().await.unwrap().unwrap();
    assert_eq!(primer.data.as_deref(), Some(""));
    drop(events);
    for _ in 0..3 {
        let mut events = session.listen(primer.id.as_deref()).await;
        assert_eq!(events.message().await.unwrap()["params"]["progress"], 1.0);
    }
    let mut events = session.listen(primer.id.as_deref()).await;
    free(&server).await;
    assert_eq!(events.messages().await.unwrap().len(), 3);
}

#[tokio::test]
async fn only_the_newest_revision_gets_an_event_without_a_message_first() {
    let limits = Limits { keep_alive_ms: 100, ..Limits::default() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    for (revision, is_primed) in
        [("2024-11-05", false), ("2025-03-26", false), ("2025-06-18", false), (NEWEST, true)]
    {
        let session = Session::open(&server, revision).await;
        let first = session.start("t", "tells").await.next().await.unwrap().unwrap();
        assert!(first.id.is_some());
        assert_eq!(first.message().is_none(), is_primed, "{revision}: {first:?}");
        let first = session.listen(None).await.next().await.unwrap().unwrap();
        assert_eq!(first.id.is_some(), is_primed, "{revision}: {first:?}");
        assert_eq!(first.message(), None);
    }
}

#[tokio::test]
async fn a_standing_stream_that_broke_before_anything_was_told_can_be_come_back_to() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.listen(None).await;
    let primer = events.next().await.unwrap().unwrap();
    // What is told now is on its way to nobody.
    trigger(&server, "tool").await;
    drop(events);
    let mut events = session.listen(primer.id.as_deref()).await;
    assert_eq!(method(&mut events).await, "notifications/tools/list_changed");
}

#[tokio::test]
async fn a_call_that_nobody_comes_back_to_is_cancelled_when_its_time_is_over() {
    let limits = Limits { resume_ms: 150, calls_per_principal_max: 1, ..early() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.start("w", "waits").await;
    events.next().await.unwrap();
    let (seen, left) = (events.last_id.clone(), Instant::now());
    drop(events);
    assert_eq!(server.endings(1).await.unwrap(), ["cancelled"]);
    assert!(left.elapsed() >= Duration::from_millis(140), "{:?}", left.elapsed());
    server.idle().await.unwrap();
    assert_eq!(session.call("tells").await["result"]["content"][0]["text"], "told", "its place is free");
    let gone = session.get(seen.as_deref()).await;
    assert_eq!(gone.head.status, 400, "it is gone");
}

#[tokio::test]
async fn coming_back_to_a_call_that_is_gone_disturbs_no_other_stream() {
    let limits = Limits { resume_ms: 20, ..early() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.start("w", "waits").await;
    events.next().await.unwrap();
    let stale = events.last_id.clone();
    drop(events);
    server.idle().await.unwrap();
    let mut listening = session.listen(None).await;
    assert_eq!(session.get(stale.as_deref()).await.head.status, 400);
    assert!(timeout(Duration::from_millis(50), listening.message()).await.is_err(), "it was sent away");
}

#[tokio::test]
async fn a_call_without_a_session_is_cancelled_when_its_connection_breaks() {
    let server = Server::start_with(fixture::unruly(), early()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let nobody = Session { id: String::new(), ..session };
    let mut events = nobody.start("w", "waits").await;
    events.next().await.unwrap();
    assert_eq!(events.last_id, None, "there is nothing to come back with");
    drop(events);
    let ended = timeout(Duration::from_secs(1), server.endings(1)).await.expect("at once").unwrap();
    assert_eq!(ended, ["cancelled"]);
}

#[tokio::test]
async fn beyond_the_limit_a_stream_is_one_that_nobody_can_come_back_to() {
    let server = Server::start_with(fixture::unruly(), early()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut kept = Vec::new();
    for number in 0..16 {
        let mut events = session.start(&number.to_string(), "waits").await;
        events.next().await.unwrap();
        assert!(events.last_id.is_some(), "{number}");
        kept.push(events);
    }
    let mut events = session.start("further", "waits").await;
    events.message().await.unwrap();
    assert_eq!(events.last_id, None);
    drop(events);
    let ended = timeout(Duration::from_secs(1), server.endings(1)).await.expect("at once").unwrap();
    assert_eq!(ended, ["cancelled"]);
}

#[tokio::test]
async fn streams_that_were_read_to_their_end_make_room_for_others() {
    let server = Server::start_with(fixture::unruly(), early()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    for number in 0..40 {
        let mut events = session.start(&number.to_string(), "tells").await;
        assert_eq!(events.messages().await.unwrap().len(), 4);
        assert!(events.last_id.is_some(), "{number}");
    }
}

#[tokio::test]
async fn kept_streams_are_counted_for_each_credential() {
    let limits = Limits { kept_streams_per_principal_max: 1, ..early() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let mut ids = Vec::new();
    let mut streams = Vec::new();
    for token in [&server.rw_token, &server.rw_token, &server.ro_token] {
        let session = Session::open_as(&server, token, NEWEST).await;
        let mut events = session.start("w", "waits").await;
        events.message().await.unwrap();
        ids.push(events.last_id.is_some());
        streams.push(events);
    }
    assert_eq!(ids, [true, false, true]);
}

#[tokio::test]
async fn all_kept_streams_together_are_counted_too() {
    let limits = Limits { kept_streams_max: 1, ..early() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let (first, other) =
        (Session::open(&server, NEWEST).await, Session::open_as(&server, &server.ro_token, NEWEST).await);
    let (mut kept, mut further) = (first.start("w", "waits").await, other.start("w", "waits").await);
    kept.message().await.unwrap();
    further.message().await.unwrap();
    assert_eq!((kept.last_id.is_some(), further.last_id.is_some()), (true, false));
}

#[tokio::test]
async fn a_shutdown_waits_for_no_stream_that_only_listens() {
    let server = Server::start_with(fixture::unruly(), early()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut listening = session.listen(None).await;
    // One that was read to its end is kept for a while, too.
    session.start("t", "tells").await.messages().await.unwrap();
    let away = Session::open(&server, NEWEST).await;
    drop(away.listen(None).await);
    server.shut_down();
    let ended = async {
        assert_eq!(listening.messages().await.unwrap(), NONE);
        server.ended().await;
        server.idle().await.unwrap();
    };
    timeout(Duration::from_secs(2), ended).await.expect("it ends at once");
}

#[tokio::test]
async fn an_answer_that_nobody_fetches_gives_up_its_place_in_time() {
    let limits = Limits { resume_ms: 200, calls_per_principal_max: 1, ..early() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.start("h", "holds").await;
    events.message().await.unwrap();
    events.hang_up().await.unwrap();
    free(&server).await;
    assert_eq!(server.endings(2).await.unwrap(), ["ok", "ok"]);
    let busy = session.call("tells").await;
    assert!(busy["result"]["content"][0]["text"].as_str().unwrap().contains("RateLimited"), "{busy}");
    soon(async || session.call("tells").await["result"]["isError"].is_null()).await;
}

#[tokio::test]
async fn only_a_client_that_knows_how_to_come_back_is_sent_away() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.start("r", "test_reconnection").await;
    let mut retry_ms = None;
    while let Some(event) = events.next().await.unwrap() {
        assert_eq!(event.message(), None);
        retry_ms = event.retry_ms.or(retry_ms);
    }
    assert_eq!(retry_ms, Some(500));
    let answers = session.listen(events.last_id.as_deref()).await.messages().await.unwrap();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["id"], "r");

    for revision in ["2025-03-26", "2025-06-18"] {
        let session = Session::open(&server, revision).await;
        let answer = Events::open(server.address, &session.call_request("r", "test_reconnection")).await;
        let answer = answer.unwrap().whole().await.unwrap().json();
        assert_eq!((&answer["id"], answer["result"].is_object()), (&json!("r"), true), "{revision}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_hung_up_on_and_learns_that_its_answer_is_gone() {
    let limits = Limits { stall_timeout_ms: 200, calls_per_principal_max: 1, ..Limits::default() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut stalled = session.start("p", "pours").await;
    let primer = stalled.next().await.unwrap().unwrap();
    server.endings(1).await.unwrap();
    let busy = session.call("tells").await;
    assert!(busy["result"]["content"][0]["text"].as_str().unwrap().contains("RateLimited"), "{busy}");
    soon(async || session.call("tells").await["result"]["isError"].is_null()).await;
    // So large an answer is kept until it was handed over, and no longer.
    assert_eq!(session.get(primer.id.as_deref()).await.head.status, 400);
    drop(stalled);
}

#[tokio::test]
async fn what_changes_again_and_again_while_nobody_listens_is_told_once() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let mut events = session.listen(None).await;
    trigger(&server, "tool").await;
    method(&mut events).await;
    let seen = events.last_id.clone();
    drop(events);
    for _ in 0..300 {
        trigger(&server, "tool").await;
    }
    trigger(&server, "prompt").await;
    let mut events = session.listen(seen.as_deref()).await;
    let mut told = 0;
    while method(&mut events).await == "notifications/tools/list_changed" {
        told += 1;
    }
    // More than once only while the old connection was still taken for a good one.
    assert!((1..=5).contains(&told), "{told}");
}

/// Breaks the connection behind every single byte of an answer.
async fn cut_everywhere(server: &Server, call: &[u8]) {
    let mut whole = Vec::new();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(call).await.unwrap();
    stream.read_to_end(&mut whole).await.unwrap();
    for count in 0..whole.len() {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(call).await.unwrap();
        let mut read = vec![0; count];
        timeout(Duration::from_secs(10), stream.read_exact(&mut read)).await.expect("it comes").unwrap();
        drop(stream);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_behind_any_byte_costs_its_own_call_only() {
    let limits = Limits { resume_ms: 0, calls_per_principal_max: 1_000, ..Limits::default() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let session = Session::open(&server, NEWEST).await;
    let params = json!({"name": "tells", "_meta": {"progressToken": "t"}});
    let body = json!({"jsonrpc": "2.0", "id": "t", "method": "tools/call", "params": params}).to_string();
    let nobody = Session { id: String::new(), ..session.seen_by(&server.rw_token) };
    for call in [
        nobody.request("POST", &[("accept", BOTH)], &body),
        nobody.request("POST", &[("accept", "application/json")], &body),
    ] {
        cut_everywhere(&server, &call).await;
    }
    // A session knows each request by its id, so each gets its own.
    let mut sent = 0;
    loop {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&session.call_request(&format!("{sent:04}"), "tells")).await.unwrap();
        let mut read = vec![0; sent];
        let done = timeout(Duration::from_secs(10), stream.read_exact(&mut read)).await.expect("it comes");
        if done.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent > 700, "{sent}");
    timeout(Duration::from_secs(5), server.idle()).await.expect("nothing is left").unwrap();
    let (intents, outcomes) =
        (server.recorded("intent", 1).await.unwrap(), server.recorded("outcome", 1).await.unwrap());
    assert_eq!(intents.len(), outcomes.len());
    assert_eq!(session.call("tells").await["result"]["content"][0]["text"], "told");
}
