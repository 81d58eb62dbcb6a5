//! Calls as whoever reads the record sees them: an intent and its outcome in one.
//!
//! Records are read in their order, so a call is whole when its outcome comes; what has none yet is told at the end.
//! That the wall clock was set stands among them, since all their times hang on it.
//! What is asked for is decided here, as pure functions of a call.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::limits::CALLS_OPEN;
use crate::reader::Record;
use crate::record::RecordKind;

/// Members that chain a record; they say nothing of a call.
const CHAIN: [&str; 7] = ["type", "node", "epoch", "prev", "hash", "mono_ns", "intent"];

/// The method of what says that the wall clock was set.
const CLOCK_STEP: &str = "clock_step";
/// The ending of what is no call.
const NOTED: &str = "noted";

/// A call: what its intent says, how it ended (`ending`; `open` as long as it has not), and its `outcome`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Call(Map<String, Value>);

impl Call {
    fn new(record: &Record) -> Option<Self> {
        let Value::Object(mut members) = serde_json::from_str(&record.text).ok()? else { return None };
        members.retain(|name, _| !CHAIN.contains(&name.as_str()));
        // What begins something goes by its own id.
        if let (None, Some(own)) = (members.get("correlation_id"), members.get("request_id").cloned()) {
            members.insert("correlation_id".to_owned(), own);
        }
        Some(Self(members))
    }

    /// What a mark tells of the wall clock, in the form of a call that nobody made.
    fn clock_step(mark: &Record) -> Option<Self> {
        let mut event = Self::new(mark)?;
        event.0.get("clock_step").filter(|step| step.is_object())?;
        event.0.retain(|name, _| ["seq", "time", "clock_step"].contains(&name.as_str()));
        let what = format!(
            "the wall clock was set by {} ms, from {} to {}",
            event.text("clock_step.step_ms"),
            event.text("clock_step.from"),
            event.text("clock_step.to")
        );
        for (name, value) in [("method", CLOCK_STEP), ("ending", NOTED), ("reason", &what)] {
            event.0.insert(name.to_owned(), value.into());
        }
        Some(event)
    }

    /// Whether somebody made it; else it is something that the record notes beside calls.
    pub(crate) fn is_made(&self) -> bool {
        self.text("method") != CLOCK_STEP
    }

    /// The text of a member, of its outcome if it has none; members of members by way of dots.
    pub fn text(&self, path: &str) -> String {
        match self.value(path) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// A member; members of members by way of dots.
    pub(crate) fn value(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let first = names.next().and_then(|name| self.0.get(name));
        names.fold(first, |value, name| value.and_then(|value| value.get(name)))
    }

    /// The number of its intent.
    pub fn seq(&self) -> u64 {
        self.0.get("seq").and_then(Value::as_u64).unwrap_or(0)
    }

    /// Whether this number or this id of a request names it.
    pub fn is_named(&self, name: &str) -> bool {
        let is_number = |seq: String| !seq.is_empty() && seq == name;
        is_number(self.text("seq")) || is_number(self.text("outcome.seq")) || self.text("request_id") == name
    }

    fn end(mut self, outcome: Option<Self>) -> Self {
        let ending = outcome.as_ref().map_or("open".to_owned(), |outcome| outcome.text("ending"));
        self.0.insert("ending".to_owned(), ending.into());
        self.0.insert("outcome".to_owned(), outcome.map_or(Value::Null, |outcome| outcome.0.into()));
        self
    }
}

/// Makes calls of records.
#[derive(Debug, Default)]
pub struct Calls {
    open: BTreeMap<u64, Call>,
}

impl Calls {
    /// Takes the next record, and returns the call that is whole with it.
    pub fn take(&mut self, record: &Record) -> Option<Call> {
        match record.kind {
            RecordKind::Mark => Call::clock_step(record),
            RecordKind::Denied => Call::new(record),
            RecordKind::Intent => {
                self.open.insert(record.seq, Call::new(record)?);
                // An intent that stays without an outcome for so long is told without.
                (self.open.len() > CALLS_OPEN).then(|| self.open.pop_first())?.map(|(_, call)| call.end(None))
            }
            RecordKind::Outcome => {
                let outcome = Call::new(record)?;
                // The intent may be in a file that is no more.
                let intent = self.open.remove(&record.intent?)?;
                Some(intent.end(Some(outcome)))
            }
        }
    }

    /// Those that have no outcome yet.
    pub fn rest(self) -> impl Iterator<Item = Call> {
        self.open.into_values().map(|call| call.end(None))
    }
}

/// Which calls are asked for: all conditions that are set must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Name, credential or kind of the principal.
    pub principal: Option<String>,
    /// Tool, or what else was asked for; `*` stands for any text.
    pub tool: Option<String>,
    /// The server or toolset.
    pub server: Option<String>,
    /// The project at whose endpoint it came in.
    pub project: Option<String>,
    /// The session that it was of.
    pub session: Option<String>,
    /// What it belongs to: the id of the request that began it.
    pub correlation_id: Option<String>,
    /// Tier.
    pub tier: Option<String>,
    /// How it ended.
    pub ending: Option<String>,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// A text anywhere in it, in whatever case.
    pub text: Option<String>,
}

impl Filter {
    /// Whether this call is asked for.
    pub fn takes(&self, call: &Call) -> bool {
        let is = |wanted: &Option<String>, paths: &[&str]| {
            wanted.as_ref().is_none_or(|wanted| paths.iter().any(|path| call.text(path) == *wanted))
        };
        is(&self.principal, &["principal.name", "principal.credential", "principal.kind"])
            && self
                .tool
                .as_ref()
                .is_none_or(|tool| ["tool", "method"].iter().any(|it| fits(tool, &call.text(it))))
            && is(&self.server, &["server"])
            && is(&self.project, &["project"])
            && is(&self.session, &["session"])
            && is(&self.correlation_id, &["correlation_id"])
            && is(&self.tier, &["tier"])
            && is(&self.ending, &["ending"])
            && self.takes_time(&call.text("time"))
            && self.text.as_ref().is_none_or(|text| holds(call, text))
    }

    fn takes_time(&self, time: &str) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let is_within = |time: Timestamp| {
            self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
        };
        time.parse().is_ok_and(is_within)
    }
}

/// Whether a text fits a pattern, in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let (inner, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in inner.split('*') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

fn holds(call: &Call, text: &str) -> bool {
    let whole = serde_json::to_string(call).unwrap_or_default();
    whole.to_lowercase().contains(&text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64, kind: RecordKind, intent: Option<u64>, text: &str) -> Record {
        Record { seq, kind, intent, open: Vec::new(), hash: None, text: text.to_owned() }
    }

    fn whole() -> Call {
        let mut calls = Calls::default();
        let intent = r#"{"seq":5,"type":"intent","time":"2026-01-02T00:00:00Z","node":"00","prev":"11",
            "request_id":"r9","session":"s1","project":"home","server":"host","principal":{"name":"ann","credential":"c1"},"tool":"bash_execute","tier":"operate",
            "arguments":{"command":"Apt Update"},"hash":"22"}"#;
        let outcome = r#"{"seq":8,"type":"outcome","intent":5,"ending":"error","message":"no way"}"#;
        assert_eq!(calls.take(&record(5, RecordKind::Intent, None, intent)), None);
        let call = calls.take(&record(8, RecordKind::Outcome, Some(5), outcome)).unwrap();
        assert_eq!(calls.rest().count(), 0);
        call
    }

    #[test]
    fn a_clock_that_was_set_is_told_among_the_calls_and_another_mark_is_not() {
        let mut calls = Calls::default();
        let step = r#"{"from":"2026-01-02T01:00:00Z","to":"2026-01-02T00:00:00Z","step_ms":-3600000}"#;
        let mark = |more: &str| {
            let text =
                format!(r#"{{"seq":4,"type":"mark","time":"2026-01-02T00:00:00Z","pid":7{more},"open":[]}}"#);
            record(4, RecordKind::Mark, None, &text)
        };
        assert_eq!(calls.take(&mark("")), None);
        assert_eq!(calls.take(&mark(r#","clock_step":null"#)), None);
        let event = calls.take(&mark(&format!(r#","clock_step":{step}"#))).unwrap();
        assert_eq!((event.seq(), event.text("method").as_str()), (4, "clock_step"));
        assert_eq!(event.text("clock_step.step_ms"), "-3600000");
        assert!(event.text("reason").contains("by -3600000 ms, from 2026-01-02T01:00:00Z"));
        assert!(event.is_named("4") && !event.is_made() && whole().is_made());
        let of = |tool: &str| Filter { tool: Some(tool.to_owned()), ..Filter::default() };
        assert!(of("clock_step").takes(&event) && !of("bash_execute").takes(&event));
        assert_eq!((event.text("pid"), event.text("open")), (String::new(), String::new()));
    }

    #[test]
    fn a_call_is_its_intent_with_its_outcome() {
        let call = whole();
        assert_eq!((call.seq(), call.text("ending").as_str()), (5, "error"));
        assert_eq!(call.text("outcome.message"), "no way");
        assert_eq!(call.text("hash") + &call.text("outcome.nothing"), "");
        assert!(["5", "8", "r9"].iter().all(|name| call.is_named(name)));
        assert!(["", "6", "r"].iter().all(|name| !call.is_named(name)));
    }

    #[test]
    fn rounds_of_one_call_go_by_the_id_of_the_first() {
        let mut calls = Calls::default();
        let mut one = |seq: u64, more: &str| {
            let text = format!(r#"{{"seq":{seq},"request_id":"r{seq}"{more}}}"#);
            calls.take(&record(seq, RecordKind::Denied, None, &text)).unwrap()
        };
        let (first, second) = (one(1, ""), one(2, r#","correlation_id":"r1""#));
        let of = |id: &str| Filter { correlation_id: Some(id.to_owned()), ..Filter::default() };
        assert!(of("r1").takes(&first) && of("r1").takes(&second) && !of("r2").takes(&second));
    }

    #[test]
    fn what_has_no_outcome_is_open_and_an_outcome_alone_is_no_call() {
        let mut calls = Calls::default();
        calls.take(&record(1, RecordKind::Intent, None, r#"{"seq":1}"#));
        assert_eq!(calls.take(&record(2, RecordKind::Outcome, Some(0), "{}")), None);
        let denied = calls.take(&record(3, RecordKind::Denied, None, r#"{"seq":3,"ending":"denied"}"#));
        assert_eq!(denied.unwrap().text("ending"), "denied");
        let rest: Vec<Call> = calls.rest().collect();
        assert_eq!((rest.len(), rest[0].text("ending").as_str()), (1, "open"));
    }

    #[test]
    fn intents_without_an_outcome_are_bounded() {
        let mut calls = Calls::default();
        let intents = (1..=CALLS_OPEN as u64 + 5).filter_map(|seq| {
            calls.take(&record(seq, RecordKind::Intent, None, &format!("{{\"seq\":{seq}}}")))
        });
        assert_eq!(intents.count(), 5);
    }

    #[test]
    fn a_star_in_the_name_of_a_tool_stands_for_any_text() {
        for (pattern, text) in [
            ("servers.*", "servers.create"),
            ("*", ""),
            ("*.create", "servers.create"),
            ("s*v*s.*e", "servers.create"),
            ("**", "x"),
            ("apply", "apply"),
            ("a*ä*", "aäb"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("servers.*", "secrets.create"),
            ("apply", "apply.x"),
            ("a*a", "a"),
            ("a*b*b", "ab"),
            ("*.create", "servers.delete"),
            ("", "x"),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
        let of = |tool: &str| Filter { tool: Some(tool.to_owned()), ..Filter::default() };
        assert!(of("bash_*").takes(&whole()) && !of("file_*").takes(&whole()));
    }

    #[test]
    fn all_conditions_must_hold() {
        let call = whole();
        let some = |text: &str| Some(text.to_owned());
        let at = |text: &str| Some(text.parse().unwrap());
        for filter in [
            Filter::default(),
            Filter {
                principal: some("ann"),
                tool: some("bash_execute"),
                tier: some("operate"),
                ..Filter::default()
            },
            Filter {
                server: some("host"),
                project: some("home"),
                session: some("s1"),
                correlation_id: some("r9"),
                ..Filter::default()
            },
            Filter {
                principal: some("c1"),
                ending: some("error"),
                text: some("apt up"),
                ..Filter::default()
            },
            Filter {
                since: at("2026-01-02T00:00:00Z"),
                until: at("2026-01-03T00:00:00Z"),
                ..Filter::default()
            },
        ] {
            assert!(filter.takes(&call), "{filter:?}");
        }
        for filter in [
            Filter { principal: some("bob"), tool: some("bash_execute"), ..Filter::default() },
            Filter { tier: some("read"), ..Filter::default() },
            Filter { server: some("time"), ..Filter::default() },
            Filter { project: some("work"), ..Filter::default() },
            Filter { session: some("s"), ..Filter::default() },
            Filter { correlation_id: some("r8"), ..Filter::default() },
            Filter { ending: some("ok"), ..Filter::default() },
            Filter { text: some("apt upgrade"), ..Filter::default() },
            Filter { since: at("2026-01-02T00:00:01Z"), ..Filter::default() },
            Filter { until: at("2026-01-02T00:00:00Z"), ..Filter::default() },
        ] {
            assert!(!filter.takes(&call), "{filter:?}");
        }
    }
}
