//! Events: what others claimed, which nobody vouches for, and what this server recorded itself.

use std::sync::Arc;

use axum::response::Response;
use hayward_auth::Verb;
use hayward_store::{Claim, ClaimFilter};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::limits::AUDIT_EVENTS_MAX;
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, json};
use crate::wire::route::Param;

/// What a query for events may have.
pub(crate) const EVENTS: &[Param] = &[
    Param::text("sessionId", "Only those of this session."),
    Param::text("projectName", "Only those of this project."),
    Param::text("eventKind", "Only those of this kind, e.g. `gate_decision`."),
    Param::text("correlationId", "Only those that belong together under this."),
    Param::text("userName", "Only those of this user."),
    Param::text("source", "`claims`, or `record` for what this server vouches for; both if nothing is said."),
    Param::number("limit", "So many at most, newest first."),
];

/// What an event has in the same words as the seed.
const TEXTS: [&str; 5] = ["eventKind", "sessionId", "projectName", "correlationId", "userName"];

/// `GET /audit/events`.
pub(crate) async fn events(asked: Asked) -> Result<Response, Refusal> {
    let allowed = asked.may_noun(Verb::View, "audit").await?;
    let limit =
        asked.query.number("limit")?.map_or(100, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let limit = limit.min(AUDIT_EVENTS_MAX);
    let (has_claims, has_record) = match asked.query.get("source") {
        None => (true, true),
        Some("claims") => (true, false),
        Some("record") => (false, true),
        Some(_) => return Err(Refusal::invalid("`source` is neither `claims` nor `record`")),
    };
    let text = |name: &str| asked.query.get(name).map(ToOwned::to_owned);
    let query = ClaimFilter {
        event_kind: text("eventKind"),
        session_id: text("sessionId"),
        project_name: text("projectName"),
        correlation_id: text("correlationId"),
        user_name: text("userName"),
        limit: if has_claims { limit as u64 } else { 0 },
        ..ClaimFilter::default()
    };
    let wanted: Vec<(&str, String)> = TEXTS.iter().filter_map(|name| Some((*name, text(name)?))).collect();
    let plane = Arc::clone(&asked.plane);
    asked
        .look(async move {
            let claims: Vec<Value> =
                plane.guarded.claims(&allowed, &query).await?.iter().map(shown).collect();
            let recorded =
                if has_record { plane.machine.events(AUDIT_EVENTS_MAX).await? } else { Vec::new() };
            let recorded = recorded.into_iter().filter(|event| is_wanted(event, &wanted)).collect();
            json(StatusCode::OK, &newest(limit, claims, recorded))
        })
        .await
}

/// The newest of both, newest first. However many claims there are, half of the places are for what is recorded, if there is
/// so much.
fn newest(limit: usize, mut claims: Vec<Value>, mut recorded: Vec<Value>) -> Vec<Value> {
    for events in [&mut claims, &mut recorded] {
        events.sort_by_cached_key(|event| std::cmp::Reverse(time(event)));
    }
    claims.truncate(limit - recorded.len().min(limit / 2));
    recorded.truncate(limit - claims.len());
    claims.extend(recorded);
    claims.sort_by_cached_key(|event| std::cmp::Reverse(time(event)));
    claims
}

fn is_wanted(event: &Value, wanted: &[(&str, String)]) -> bool {
    wanted.iter().all(|(name, value)| event.get(name).and_then(Value::as_str) == Some(value))
}

fn time(event: &Value) -> Option<Timestamp> {
    event.get("timestamp").and_then(Value::as_str)?.parse().ok()
}

/// A claim, as what it is.
fn shown(claim: &Claim) -> Value {
    let mut told = claim.content.clone();
    if let Some(members) = told.as_object_mut() {
        members.insert("timestamp".into(), claim.at.clone().into());
        members.insert("source".into(), "claim".into());
        members.insert("verified".into(), false.into());
        members.insert("reportedBy".into(), claim.reported_by.clone().into());
    }
    told
}

/// `POST /audit/events`: one event, several, or `{"events": […]}`.
pub(crate) async fn claim(asked: Asked) -> Result<Response, Refusal> {
    let allowed = asked.may_noun(Verb::Create, "audit").await?;
    let events = match asked.value().await? {
        Value::Array(events) => events,
        Value::Object(mut members) => match members.shift_remove("events") {
            Some(Value::Array(events)) => events,
            Some(_) => return Err(Refusal::invalid("`events` is not a list")),
            None => vec![members.into()],
        },
        _ => return Err(Refusal::invalid("an event is an object")),
    };
    let max = usize::try_from(asked.plane.limits.audit_batch_max).unwrap_or(usize::MAX);
    if events.len() > max {
        let message = format!("{} events at once: report up to {max}", events.len());
        return Err(Refusal::new(hayward_api::Code::TooLarge, message));
    }
    let reported_by = allowed.actor();
    let claims = events.into_iter().map(|event| claimed(event, reported_by.as_str()));
    let claims: Vec<Claim> = claims.collect::<Result<_, _>>()?;
    let (count, plane) = (claims.len(), Arc::clone(&asked.plane));
    asked
        .change([("events", count.into())], async move { Ok(plane.guarded.claim(&allowed, &claims).await?) })
        .await?;
    json(StatusCode::CREATED, &json!({ "accepted": count }))
}

/// An event as it is kept: whatever it says of itself, it is a claim.
fn claimed(event: Value, reported_by: &str) -> Result<Claim, Refusal> {
    let Value::Object(mut content) = event else { return Err(Refusal::invalid("an event is an object")) };
    let at = content.get("timestamp").and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
    for ours in ["id", "verified", "source", "reportedBy", "timestamp"] {
        // What it said is kept under a name that says whose word it is.
        if let Some(said) = content.shift_remove(ours) {
            content.insert(format!("claimed.{ours}"), said);
        }
    }
    let text = |content: &Map<String, Value>, name: &str| {
        content.get(name).and_then(Value::as_str).map(ToOwned::to_owned)
    };
    let Some(event_kind) = text(&content, "eventKind").filter(|kind| !kind.is_empty()) else {
        return Err(
            Refusal::invalid("an event has no `eventKind`").hint("e.g. `gate_decision`, `tool_call_trace`")
        );
    };
    Ok(Claim {
        // What lies ahead would stand before everything else. All are as long as each other, so that texts sort like times.
        at: format!("{:.6}", at.unwrap_or_else(Timestamp::now).min(Timestamp::now())),
        event_kind,
        session_id: text(&content, "sessionId"),
        project_name: text(&content, "projectName"),
        correlation_id: text(&content, "correlationId"),
        user_name: text(&content, "userName"),
        reported_by: reported_by.to_owned(),
        content: content.into(),
    })
}

/// `GET /audit/sessions`.
pub(crate) async fn sessions(asked: Asked) -> Result<Response, Refusal> {
    let allowed = asked.may_noun(Verb::View, "audit").await?;
    let plane = Arc::clone(&asked.plane);
    asked
        .look(async move {
            let filter = ClaimFilter { limit: AUDIT_EVENTS_MAX as u64, ..ClaimFilter::default() };
            let claimed = plane.guarded.sessions(&allowed, &filter).await?;
            let claimed = claimed.iter().map(|session| {
                json!({
                    "sessionId": session.session_id, "projectName": session.project_name, "userName": session.user_name,
                    "firstSeen": session.first_at, "lastSeen": session.last_at, "eventCount": session.events,
                    "verified": false,
                })
            });
            let recorded = sessions_of(&plane.machine.events(AUDIT_EVENTS_MAX).await?);
            json(StatusCode::OK, &recorded.into_iter().chain(claimed).collect::<Vec<_>>())
        })
        .await
}

/// The sessions of what was recorded, the newest first.
fn sessions_of(events: &[Value]) -> Vec<Value> {
    let mut sessions: Map<String, Value> = Map::new();
    for event in events {
        let Some(id) = event.get("sessionId").and_then(Value::as_str) else { continue };
        let session = sessions.entry(id).or_insert_with(|| {
            json!({
                "sessionId": id, "projectName": event.get("projectName"), "userName": event.get("userName"),
                "firstSeen": event.get("timestamp"), "eventCount": 0, "verified": true,
            })
        });
        session["lastSeen"] = event.get("timestamp").cloned().into();
        session["eventCount"] = (session["eventCount"].as_u64().unwrap_or(0) + 1).into();
    }
    sessions.into_iter().map(|(_, session)| session).rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_claims_nor_the_record_hide_the_other_and_all_places_are_taken() {
        let events = |count: u32, second: &str| -> Vec<Value> {
            let at = |number: u32| json!({"timestamp": format!("2026-01-01T00:{number:02}:{second}Z"), "of": second});
            (0..count).map(at).collect()
        };
        for (claims, recorded, expect) in
            [(50, 0, (10, 0)), (0, 50, (0, 10)), (50, 50, (5, 5)), (50, 2, (8, 2)), (2, 50, (2, 8))]
        {
            let told = newest(10, events(claims, "30"), events(recorded, "00"));
            let of = |second| told.iter().filter(|event| event["of"] == second).count();
            assert_eq!((of("30"), of("00")), expect);
            assert!(told.is_sorted_by_key(|event| std::cmp::Reverse(time(event))));
        }
    }

    #[test]
    fn sessions_are_counted_from_what_was_recorded_of_them() {
        let event = |id: &str, second: u32| json!({"sessionId": id, "userName": "ann", "timestamp": format!("2026-01-01T00:00:0{second}Z")});
        let told =
            sessions_of(&[event("a", 1), json!({"eventKind": "management"}), event("b", 2), event("a", 3)]);
        let of = |at: usize| {
            json!([told[at]["sessionId"], told[at]["eventCount"], told[at]["lastSeen"], told[at]["verified"]])
        };
        assert_eq!((told.len(), of(0)), (2, json!(["b", 1, "2026-01-01T00:00:02Z", true])));
        assert_eq!(of(1), json!(["a", 2, "2026-01-01T00:00:03Z", true]));
    }

    #[test]
    fn a_claim_never_says_of_itself_that_it_is_verified() {
        let event = json!({"eventKind": "gate_decision", "verified": true, "source": "mcpd", "sessionId": "s", "x": 1});
        let claim = claimed(event, "user:a@b.c").unwrap();
        assert_eq!(claim.content.get("verified"), None);
        assert_eq!(claim.content["claimed.verified"], true);
        assert_eq!((claim.session_id.as_deref(), claim.content["x"].as_u64()), (Some("s"), Some(1)));
        let at = |text: &str| claimed(json!({"eventKind": "e", "timestamp": text}), "user:a@b.c").unwrap().at;
        let times = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.12Z", "2026-01-01T01:00:00.123+01:00"];
        assert!(times.map(at).is_sorted(), "texts sort like times");
        for bad in [json!({}), json!({"eventKind": ""}), json!([]), json!("x")] {
            assert!(claimed(bad, "x").is_err());
        }
    }
}
