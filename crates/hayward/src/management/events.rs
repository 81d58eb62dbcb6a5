//! The end of the record as events: what this server saw itself, so it is verified.
//!
//! What belongs together has one `correlationId`. A call is one event, with what its outcome says; where it has bound an instance
//! to its session or its caller, another one says so.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use hayward_api::{Code, Error};
use serde_json::{Map, Value, json};

use crate::limits::EVENTS_TAIL_BYTES;

/// What binds a session to an endpoint, or an instance to a session.
const BIND: &str = "session_bind";

/// What an event takes over from an intent, and how it is called there.
const OF_INTENT: [(&str, &str); 9] = [
    ("id", "seq"),
    ("name", "tool"),
    ("arguments", "arguments"),
    ("decision", "decision"),
    ("reason", "reason"),
    ("sessionId", "session"),
    ("projectName", "project"),
    ("serverName", "server"),
    ("principal", "principal"),
];

/// The same from an outcome.
const OF_OUTCOME: [(&str, &str); 5] = [
    ("ending", "ending"),
    ("code", "code"),
    ("durationMs", "duration_ms"),
    ("resultSize", "result_bytes"),
    ("instance", "instance"),
];

/// The last events of the file in use, oldest first.
pub(super) fn last(dir: &Path, count: usize) -> Result<Vec<Value>, Error> {
    let failed = |error: std::io::Error| {
        Error::new(Code::Unavailable, "the record can't be read").with_detail(error.to_string())
    };
    let text = tail(&dir.join("record.jsonl")).map_err(failed)?;
    let mut events = Events::default();
    for record in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        events.take(&record);
    }
    let from = events.all.len().saturating_sub(count);
    Ok(events.all.drain(from..).map(Value::Object).collect())
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(EVENTS_TAIL_BYTES)))?;
    let mut text = Vec::new();
    file.take(EVENTS_TAIL_BYTES).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Events as they are made of records, in their order.
#[derive(Default)]
struct Events {
    all: Vec<Map<String, Value>>,
    /// Where the events of intents are that have no outcome yet.
    open: HashMap<u64, usize>,
}

impl Events {
    fn take(&mut self, record: &Value) {
        match record.get("type").and_then(Value::as_str) {
            Some("outcome") => self.end(record),
            Some("intent" | "denied") => {
                let Some(told) = event(record) else { return };
                if let (Some("intent"), Some(seq)) =
                    (text(record, "type"), record.get("seq").and_then(Value::as_u64))
                {
                    self.open.insert(seq, self.all.len());
                }
                self.all.push(told);
            }
            _ => {}
        }
    }

    /// Tells with the event of its intent how that ended; which may be further back than is looked.
    fn end(&mut self, outcome: &Value) {
        let intent = outcome.get("intent").and_then(Value::as_u64);
        let Some(at) = intent.and_then(|intent| self.open.remove(&intent)) else { return };
        let Some(begun) = self.all.get_mut(at) else { return };
        begun.extend(taken(outcome, &OF_OUTCOME));
        if outcome.get("bound") != Some(&Value::Bool(true)) {
            return;
        }
        let kept = [
            "source",
            "verified",
            "correlationId",
            "userName",
            "sessionId",
            "projectName",
            "serverName",
            "instance",
            "principal",
        ];
        let mut bound: Map<String, Value> =
            kept.iter().filter_map(|name| Some(((*name).to_owned(), begun.get(*name)?.clone()))).collect();
        bound.insert("eventKind".into(), BIND.into());
        bound.extend(taken(outcome, &[("timestamp", "time"), ("id", "seq")]));
        bound.extend(begun.get("id").map(|id| ("parentEventId".to_owned(), id.clone())));
        self.all.push(bound);
    }
}

fn text<'a>(record: &'a Value, member: &str) -> Option<&'a str> {
    record.get(member).and_then(Value::as_str)
}

fn taken<'a>(record: &'a Value, names: &'a [(&str, &str)]) -> impl Iterator<Item = (String, Value)> {
    let told = names.iter().filter_map(|(name, from)| Some(((*name).to_owned(), record.get(*from)?.clone())));
    told.filter(|(_, value)| !value.is_null()).collect::<Vec<_>>().into_iter()
}

/// An intent, or what was refused, as an event.
fn event(record: &Value) -> Option<Map<String, Value>> {
    let kind = match (text(record, "type")?, text(record, "method")?) {
        ("denied", _) => "rbac_decision",
        (_, "manage" | "admin" | "config") => "management",
        (_, "tools/call") => "tool_call_trace",
        (_, method) => method,
    };
    let mut told: Map<String, Value> = Map::new();
    told.insert("eventKind".into(), kind.into());
    told.insert("timestamp".into(), record.get("time")?.clone());
    told.insert("source".into(), "record".into());
    told.insert("verified".into(), true.into());
    let begun_by = record.get("correlation_id").or_else(|| record.get("request_id"))?;
    told.insert("correlationId".into(), begun_by.clone());
    told.insert("userName".into(), record.get("principal")?.get("name")?.clone());
    told.extend(taken(record, &OF_INTENT).filter(|(_, value)| *value != json!("")));
    Some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[Value]) -> Vec<Value> {
        let dir = tempfile::tempdir().unwrap();
        let text = lines.iter().fold(String::new(), |text, line| text + &line.to_string() + "\n");
        std::fs::write(dir.path().join("record.jsonl"), text + "{\"type\": \"int").unwrap();
        assert!(last(dir.path(), 1).unwrap().len() <= 1 && last(&dir.path().join("none"), 1).is_err());
        last(dir.path(), 10).unwrap()
    }

    fn intent(kind: &str, method: &str, seq: u64, more: &Value) -> Value {
        let mut line = json!({"type": kind, "seq": seq, "time": "2026-01-01T00:00:00Z", "method": method,
            "tool": "servers.list", "request_id": "r", "principal": {"name": "ann@example.org"}, "decision": "allow"});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    }

    #[test]
    fn what_the_record_says_becomes_events_and_a_torn_line_none() {
        let told = told(&[
            intent("intent", "manage", 1, &json!({})),
            json!({"type": "outcome", "intent": 1}),
            intent("denied", "rbac_decision", 3, &json!({})),
        ]);
        let kinds: Vec<_> = told
            .iter()
            .map(|event| (event["eventKind"].as_str().unwrap(), event["id"].as_u64().unwrap()))
            .collect();
        assert_eq!(kinds, [("management", 1), ("rbac_decision", 3)]);
        assert!(told.iter().all(|event| event["verified"] == true && event["userName"] == "ann@example.org"));
    }

    #[test]
    fn a_call_is_told_with_its_outcome_and_with_what_it_bound() {
        let part_of = json!({"session": "s1", "project": "home", "server": "time", "correlation_id": "r0"});
        let told = told(&[
            intent("intent", "session_bind", 1, &json!({"session": "s1", "server": ""})),
            json!({"type": "outcome", "seq": 2, "intent": 1, "ending": "ok"}),
            intent("intent", "tools/call", 3, &part_of),
            json!({"type": "outcome", "seq": 4, "time": "2026-01-01T00:00:01Z", "intent": 3, "ending": "ok", "duration_ms": 7,
                "result_bytes": 90, "instance": "time-1", "bound": true}),
        ]);
        let [begun, call, bound] = &told[..] else { panic!("{told:?}") };
        assert_eq!(
            (&begun["eventKind"], &begun["sessionId"], begun.get("serverName")),
            (&json!(BIND), &json!("s1"), None)
        );
        let of_call = json!([
            call["eventKind"],
            call["correlationId"],
            call["durationMs"],
            call["resultSize"],
            call["instance"]
        ]);
        assert_eq!(of_call, json!(["tool_call_trace", "r0", 7, 90, "time-1"]));
        let of_bound = json!([
            bound["eventKind"],
            bound["correlationId"],
            bound["sessionId"],
            bound["projectName"],
            bound["serverName"],
            bound["instance"],
            bound["parentEventId"]
        ]);
        assert_eq!(of_bound, json!([BIND, "r0", "s1", "home", "time", "time-1", 3]));
    }
}
