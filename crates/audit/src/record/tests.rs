//! What stands in a line of the record, and what never does.

use hayward_api::fence::Profile;
use serde_json::Value;

use super::*;
use crate::redact;

fn line(intent: &Intent<'_>) -> String {
    let mut line = Vec::new();
    let mut end = End { node: NodeId::ZERO, epoch: 1, seq: 6, hash: Hash::of(b"six") };
    Draft::new(RecordKind::Intent, &IntentBody::new(intent, None)).write_line(&mut line, &mut end);
    assert_eq!(end.seq, 7);
    String::from_utf8(line).unwrap()
}

fn intent<'a>(principal: &'a Principal, arguments: &'a Redacted, text: &'a str) -> Intent<'a> {
    Intent {
        request_id: text,
        principal,
        source: Source::peer(Some("192.0.2.1:80".parse().unwrap())),
        client_name: Some(text),
        traceparent: None,
        protocol: Some("2026-07-28"),
        server: "host",
        method: "tools/call",
        tool: text,
        tier: Some(Tier::Read),
        arguments,
        raw_arguments: None,
        decision: "allow",
        part_of: PartOf::default(),
        sent: Sent::default(),
    }
}

#[test]
fn an_intent_says_who_what_where_and_when() {
    let principal = Principal::local("root", Tier::Operate);
    let arguments = redact::arguments(r#"{"path": "/etc/hosts"}"#);
    let line = line(&intent(&principal, &arguments, "read_file"));
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&value["seq"], &value["type"]), (&Value::from(7), &Value::from("intent")));
    assert_eq!(value["principal"]["role"], "rw");
    assert_eq!(value["principal"]["kind"], "local");
    assert_eq!(value["client_address"], "192.0.2.1:80");
    assert_eq!(value["arguments"]["path"], "/etc/hosts");
    assert_eq!(value["tier"], "read");
    assert!(value["mono_ns"].as_u64().unwrap() > 0);
    assert!(value["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
}

#[test]
fn an_intent_says_what_its_caller_is_kept_to_if_it_is() {
    let arguments = redact::arguments("{}");
    let with = |fence| {
        let principal = Principal { fence, ..Principal::local("root", Tier::Operate) };
        serde_json::from_str::<Value>(&line(&intent(&principal, &arguments, "grep"))).unwrap()
    };
    assert_eq!(with(Fence::default()).get("fence"), None);
    let confined = Fence { profile: Profile::Confined, roots: vec!["/srv".into()], ..Fence::default() };
    assert_eq!(with(confined.clone())["fence"], "confined, changes /srv");
    let long = with(Fence { roots: vec![format!("/{}", "x".repeat(4_000)).into()], ..confined });
    assert_eq!(long["fence"].as_str().unwrap().len(), FENCE_CHARS);
}

#[test]
fn no_control_character_can_forge_a_record_or_a_field() {
    let evil = "x\",\"seq\":9}\n{\"seq\":10,\"type\":\"outcome\"}\r\n\u{0}\u{1b}[2J";
    let principal = Principal { name: evil.to_owned(), ..Principal::anonymous() };
    let quoted = serde_json::to_string(&serde_json::json!({ "a": evil })).unwrap();
    for raw in [quoted.as_str(), evil, "{\n\"a\":\n1\n}", "1},\"seq\":9,\"x\":{\"y\":1"] {
        let arguments = redact::arguments(raw);
        let line = line(&intent(&principal, &arguments, evil));
        assert!(!line.trim_end_matches('\n').contains(|c: char| c.is_control()), "{line:?}");
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["seq"], 7);
        assert_eq!(value["tool"], evil);
    }
}

#[test]
fn no_character_that_steers_a_terminal_is_written_as_it_is() {
    let ranges = ['\u{7f}'..='\u{9f}', '\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}'];
    let more = ['\u{2066}'..='\u{2069}', '\u{feff}'..='\u{feff}'];
    for evil in ranges.into_iter().chain(more).flatten() {
        let text = format!("a{evil}b");
        let name = || text.clone();
        let principal = Principal { name: name(), credential: name(), ..Principal::anonymous() };
        let raw = serde_json::json!({ "path": text, text.as_str(): [text] }).to_string();
        let arguments = redact::arguments(&raw);
        let intent = Intent { server: &text, decision: &text, ..intent(&principal, &arguments, &text) };
        let outcome = Outcome { code: Some(&text), message: Some(&text), ..LEFT_OPEN };
        let escape = format!("a\\u{:04x}b", u32::from(evil));
        for (draft, strings) in [
            (Draft::new(RecordKind::Intent, &IntentBody::new(&intent, None)), 10),
            (Draft::new(RecordKind::Denied, &DeniedBody::new(&intent, None, &text, 1)), 11),
            (Draft::new(RecordKind::Outcome, &OutcomeBody::new(1, &outcome)), 2),
        ] {
            assert!(!draft.0.contains(evil), "{}", draft.0);
            assert_eq!(draft.0.matches(&escape).count(), strings, "{}", draft.0);
            let value: Value = serde_json::from_str(&draft.0).unwrap();
            let back = if strings == 2 { &value["message"] } else { &value["arguments"][&text][0] };
            assert_eq!(back, &Value::from(text.as_str()));
        }
    }
}

#[test]
fn no_token_is_kept_wherever_it_stands() {
    let token = format!("hwd_rw_AbCdEf012345{}", "x".repeat(38));
    let raw = serde_json::json!({ "path": token, token.as_str(): format!("curl -H 'Bearer {token}'") });
    let arguments = redact::arguments(&raw.to_string());
    let principal = Principal::anonymous();
    let intent = intent(&principal, &arguments, &token);
    let outcome = Outcome { message: Some(&token), ..LEFT_OPEN };
    for draft in [
        Draft::new(RecordKind::Intent, &IntentBody::new(&intent, None)),
        Draft::new(RecordKind::Denied, &DeniedBody::new(&intent, None, &token, 1)),
        Draft::new(RecordKind::Outcome, &OutcomeBody::new(1, &outcome)),
    ] {
        assert!(!draft.0.contains("xxx"), "{}", draft.0);
        assert!(draft.0.contains("hwd_rw_AbCdEf012345***"), "{}", draft.0);
    }
}

#[test]
fn long_names_and_messages_are_cut_between_characters() {
    let long = "ä".repeat(10_000);
    let (principal, arguments) = (Principal::anonymous(), redact::arguments("{}"));
    assert!(line(&intent(&principal, &arguments, &long)).len() < 4000);
    assert_eq!(cut(&long, 200).chars().count(), 200);
    assert_eq!(cut("short", 200), "short");
}

#[test]
fn an_intent_says_what_it_is_part_of_and_an_outcome_what_it_reached() {
    let (principal, arguments) = (Principal::anonymous(), redact::arguments("{}"));
    let part_of = PartOf { correlation_id: Some("first"), session: Some("s-1"), project: Some("home") };
    let read = |intent: Intent<'_>| serde_json::from_str::<Value>(&line(&intent)).unwrap();
    let second = read(Intent { part_of, ..intent(&principal, &arguments, "second") });
    assert_eq!([&second["correlation_id"], &second["session"], &second["project"]], ["first", "s-1", "home"]);
    // What begins something says its id once, and what is part of nothing says nothing.
    let first = read(Intent { part_of, ..intent(&principal, &arguments, "first") });
    assert_eq!((first.get("correlation_id"), &first["session"]), (None, &Value::from("s-1")));
    let alone = read(intent(&principal, &arguments, "alone"));
    assert!(["correlation_id", "session", "project"].iter().all(|name| alone.get(name).is_none()));
    let told = |reached| {
        let outcome = Outcome { reached, result_bytes: Some(9), ..Outcome::bare(Ending::Ok) };
        serde_json::from_str::<Value>(&Draft::new(RecordKind::Outcome, &OutcomeBody::new(1, &outcome)).0)
            .unwrap()
    };
    let bound = told(Some(Reached { instance: "time-1", is_bound: true }));
    assert_eq!((&bound["instance"], &bound["bound"]), (&Value::from("time-1"), &Value::from(true)));
    let shared = told(Some(Reached { instance: "time-1", is_bound: false }));
    assert_eq!((shared.get("bound"), &shared["result_bytes"]), (None, &Value::from(9)));
    assert_eq!(told(None).get("instance"), None);
}
