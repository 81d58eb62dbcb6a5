//! What clients know, compared with what the record says: one outcome for each call, on both sides.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;

use hayward_torture::record::Account;
use serde_json::Value;

use crate::clients::{Entry, Verdict};

/// What the record says of one mark.
#[derive(Clone, Debug, Default)]
struct Noted {
    intents: usize,
    /// How its calls ended.
    endings: Vec<String>,
    denied: usize,
}

/// How often calls ended in which way.
pub(crate) fn summary(entries: &[Entry]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        let name = match &entry.verdict {
            Verdict::Done => "done".to_owned(),
            Verdict::Asked => "asked".to_owned(),
            Verdict::Cut => "cut".to_owned(),
            Verdict::Wrong(_) => "wrong".to_owned(),
            Verdict::Refused(status, _) => format!("refused with {status}"),
            Verdict::Failed(what) => {
                let known =
                    ["gave no answer in time", "left alone", "can't be reached", "ended", "connection"];
                let known = known.iter().find(|known| what.contains(**known));
                format!("failed ({})", known.copied().unwrap_or("otherwise"))
            }
        };
        *counts.entry(name).or_default() += 1;
    }
    format!("{} calls: {counts:?}", entries.len())
}

/// Everything that is wrong.
pub(crate) fn violations(entries: &[Entry], record: &Path, outage: (Instant, Instant)) -> Vec<String> {
    let account = Account::read(record).unwrap();
    let mut wrong = account.faults.clone();
    let noted = read(record);
    let mut cut = 0;
    for entry in entries {
        let of_record = noted.get(&entry.mark).cloned().unwrap_or_default();
        let is_in_outage = entry.began <= outage.1 && entry.ended >= outage.0;
        cut += usize::from(is_in_outage);
        wrong.extend(
            of(entry, &of_record, is_in_outage).map(|what| format!("{what}: {entry:?} {of_record:?}")),
        );
    }
    // Only what was in flight when the daemon was killed may have ended unknown, and what tormented the servers then.
    if account.unknown() > cut + 64 {
        wrong.push(format!("{} calls ended unknown, and {cut} were in flight", account.unknown()));
    }
    wrong
}

fn of(entry: &Entry, noted: &Noted, is_in_outage: bool) -> Option<&'static str> {
    let known = noted.endings.iter().filter(|ending| *ending != "unknown").count() + noted.denied;
    if noted.intents != noted.endings.len() {
        return Some("an intent has no outcome, or more than one");
    }
    if noted.intents + noted.denied > 1 {
        return Some("it was called more than once");
    }
    match &entry.verdict {
        Verdict::Wrong(_) => Some("no answer of this call"),
        Verdict::Cut if !is_in_outage => Some("no answer, and the daemon was there"),
        Verdict::Done | Verdict::Asked | Verdict::Failed(_) if known != 1 => {
            Some("answered, and the record has no outcome")
        }
        Verdict::Done | Verdict::Asked if !noted.endings.iter().any(|ending| ending == "ok") => {
            Some("done, and the record says something else")
        }
        _ => None,
    }
}

/// The records by the marks of their calls.
fn read(record: &Path) -> HashMap<String, Noted> {
    let (mut marks, mut noted) = (HashMap::<u64, String>::new(), HashMap::<String, Noted>::new());
    let mut files: Vec<_> = std::fs::read_dir(record).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The one in use has no number, and comes last.
    files.retain(|path| {
        path.extension().is_some_and(|it| it == "jsonl") && !path.ends_with("checkpoints.jsonl")
    });
    let number = |path: &Path| -> u64 {
        path.file_name()
            .and_then(|name| name.to_str()?.strip_prefix("record.")?.strip_suffix(".jsonl")?.parse().ok())
            .unwrap_or(u64::MAX)
    };
    files.sort_by_key(|path| number(path));
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        for record in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let kind = record["type"].as_str().unwrap_or_default();
            let mark = record["arguments"]["mark"].as_str().map(ToOwned::to_owned);
            match (kind, mark) {
                ("intent", Some(mark)) => {
                    marks.insert(record["seq"].as_u64().unwrap(), mark.clone());
                    noted.entry(mark).or_default().intents += 1;
                }
                ("denied", Some(mark)) => noted.entry(mark).or_default().denied += 1,
                ("outcome", _) => {
                    let intent = record["intent"].as_u64().unwrap_or_default();
                    if let Some(mark) = marks.get(&intent) {
                        let ending = record["ending"].as_str().unwrap_or_default().to_owned();
                        noted.entry(mark.clone()).or_default().endings.push(ending);
                    }
                }
                _ => {}
            }
        }
    }
    noted
}

/// That it finds what would be wrong: a soak that never fails says nothing else.
mod tests {
    use std::time::{Duration, Instant};

    use super::{Noted, of};
    use crate::clients::{Entry, Verdict};

    fn check(
        verdict: Verdict,
        endings: &[&str],
        (denied, is_in_outage): (usize, bool),
    ) -> Option<&'static str> {
        let now = Instant::now();
        let entry = Entry {
            mark: "m".to_owned(),
            server: "a",
            began: now,
            ended: now + Duration::from_secs(1),
            verdict,
        };
        let endings: Vec<String> = endings.iter().map(|ending| (*ending).to_owned()).collect();
        of(&entry, &Noted { intents: 1 - denied, endings, denied }, is_in_outage)
    }

    #[test]
    fn a_call_with_one_outcome_on_both_sides_is_right_and_any_other_is_not() {
        let failed = || Verdict::Failed("it is gone".to_owned());
        for (verdict, endings, rest) in [
            (Verdict::Done, &["ok"][..], (0, false)),
            (Verdict::Asked, &["ok"], (0, false)),
            (failed(), &["failed"], (0, false)),
            (failed(), &[], (1, false)),
            (Verdict::Cut, &["unknown"], (0, true)),
            (Verdict::Cut, &["ok"], (0, true)),
            (Verdict::Refused(503, String::new()), &[], (1, false)),
        ] {
            assert_eq!(check(verdict, endings, rest), None);
        }
        for (verdict, endings, rest) in [
            (Verdict::Done, &["failed"][..], (0, false)),
            (Verdict::Asked, &[], (0, false)),
            (Verdict::Done, &["unknown"], (0, true)),
            (Verdict::Done, &["ok", "ok"], (0, false)),
            (failed(), &[], (0, false)),
            (Verdict::Cut, &["ok"], (0, false)),
            (Verdict::Cut, &[], (0, true)),
            (Verdict::Wrong("another".to_owned()), &["ok"], (0, false)),
        ] {
            let found = check(verdict.clone(), endings, rest);
            assert!(found.is_some(), "{verdict:?} {endings:?}");
        }
    }
}
