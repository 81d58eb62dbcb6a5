//! The end of the record as events: what this server saw itself, so it is verified.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use hayward_api::{Code, Error};
use serde_json::{Map, Value, json};

/// Bytes at the end of the record that are looked through.
const TAIL_BYTES: u64 = 4 * 1024 * 1024;

/// The last events of the file in use, oldest first.
pub(super) fn last(dir: &Path, count: usize) -> Result<Vec<Value>, Error> {
    let failed = |error: std::io::Error| {
        Error::new(Code::Unavailable, "the record can't be read").with_detail(error.to_string())
    };
    let text = tail(&dir.join("record.jsonl")).map_err(failed)?;
    let events: Vec<Value> =
        text.lines().filter_map(|line| event(&serde_json::from_str(line).ok()?)).collect();
    let from = events.len().saturating_sub(count);
    Ok(events[from..].to_vec())
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
    let mut text = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A record as an event; outcomes are told with their intents by the record itself.
fn event(record: &Value) -> Option<Value> {
    let text = |member: &str| record.get(member).and_then(Value::as_str);
    let kind = match (text("type")?, text("method")?) {
        ("denied", _) => "rbac_decision",
        ("intent", "manage" | "admin" | "config") => "management",
        ("intent", "tools/call") => "tool_call_trace",
        ("intent", method) => method,
        _ => return None,
    };
    let mut told: Map<String, Value> = Map::new();
    told.insert("eventKind".into(), kind.into());
    told.insert("timestamp".into(), record.get("time")?.clone());
    told.insert("source".into(), "record".into());
    told.insert("verified".into(), true.into());
    told.insert("correlationId".into(), record.get("request_id")?.clone());
    told.insert("userName".into(), record.get("principal")?.get("name")?.clone());
    for (member, from) in [
        ("id", "seq"),
        ("name", "tool"),
        ("arguments", "arguments"),
        ("decision", "decision"),
        ("reason", "reason"),
    ] {
        told.extend(record.get(from).map(|value| (member.to_owned(), value.clone())));
    }
    told.insert("principal".into(), json!(record.get("principal")));
    Some(told.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_record_says_becomes_events_and_a_torn_line_none() {
        let dir = tempfile::tempdir().unwrap();
        let line = |kind: &str, method: &str, seq: u64| {
            json!({"type": kind, "seq": seq, "time": "2026-01-01T00:00:00Z", "method": method, "tool": "servers.list",
                "request_id": "r", "principal": {"name": "ann@example.org"}, "decision": "allow"})
        };
        let text = format!(
            "{}\n{}\n{}\n{{\"type\": \"int",
            line("intent", "manage", 1),
            json!({"type": "outcome", "intent": 1}),
            line("denied", "rbac_decision", 3)
        );
        std::fs::write(dir.path().join("record.jsonl"), text).unwrap();
        let told = last(dir.path(), 10).unwrap();
        let kinds: Vec<_> = told
            .iter()
            .map(|event| (event["eventKind"].as_str().unwrap(), event["id"].as_u64().unwrap()))
            .collect();
        assert_eq!(kinds, [("management", 1), ("rbac_decision", 3)]);
        assert!(told.iter().all(|event| event["verified"] == true && event["userName"] == "ann@example.org"));
        assert_eq!(last(dir.path(), 1).unwrap().len(), 1);
        assert!(last(&dir.path().join("none"), 1).is_err());
    }
}
