//! What has to hold afterwards, as a pure function of what clients know, what the record says and what is seen.
//!
//! | what | from |
//! |---|---|
//! | whatever shows in the world has its intent | the world, the record |
//! | every answer has its outcome | the clients, the record |
//! | every intent has one outcome, no number is missing | the record |
//! | what was answered as done is there; what was refused is not; nothing is there twice or in half | the clients, the world |

use std::collections::BTreeMap;

use crate::history::{Entry, Verdict};
use crate::record::{Account, Noted};
use crate::script::Deed;
use crate::world::{Content, Seen};

/// Everything that is wrong, in words.
pub fn violations(entries: &[Entry], account: &Account, seen: &Seen) -> Vec<String> {
    let mut wrong = account.faults.clone();
    answers_are_recorded(entries, account, &mut wrong);
    for entry in entries {
        wrong.extend(of_effect(entry, account, seen));
    }
    let is_sent = |marker: &String| entries.iter().any(|entry| entry.call.marker == *marker);
    for (marker, count) in &seen.lines {
        if *count > 1 {
            wrong.push(format!("{marker}: done {count} times"));
        }
        if !is_sent(marker) {
            wrong.push(format!("{marker}: done, and nobody has asked for it"));
        }
    }
    wrong
}

/// As many outcomes as answers, for each tool and marker.
fn answers_are_recorded(entries: &[Entry], account: &Account, wrong: &mut Vec<String>) {
    let mut answers: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for entry in entries {
        let is_answer = matches!(entry.verdict(), Verdict::Done | Verdict::Failed);
        if is_answer && entry.promise.outcome {
            *answers.entry((entry.call.tool(), &entry.call.marker)).or_default() += 1;
        }
    }
    for ((tool, marker), count) in answers {
        let is_known = |noted: &&Noted| noted.is_of(tool, marker) && noted.is_known();
        let known = account.intents.values().chain(account.denied.values()).filter(is_known).count();
        if known < count {
            wrong.push(format!("{tool} {marker}: {count} answers, and {known} outcomes in the record"));
        }
    }
    let strangers = entries.iter().any(|entry| {
        entry.call.deed == Deed::Stranger && entry.verdict() == Verdict::Turned && entry.promise.outcome
    });
    if strangers && !account.denied.values().any(|noted| noted.is_strange) {
        wrong.push("a stranger was turned away, and the record doesn't know".to_owned());
    }
}

/// What a call has left, compared with its answer and its intent.
fn of_effect(entry: &Entry, account: &Account, seen: &Seen) -> Vec<String> {
    let (call, verdict) = (&entry.call, entry.verdict());
    let lines = seen.lines.get(&call.marker).copied().unwrap_or(0);
    let file = seen.files.get(&call.marker).copied();
    let (is_there, may_be) = match call.deed {
        Deed::Append | Deed::AppendLate | Deed::AppendOnce | Deed::Again => (lines > 0, true),
        Deed::Denied => (lines > 0, false),
        Deed::Write | Deed::Edit => (file == Some(Content::New), true),
        Deed::Fail | Deed::Read | Deed::Stranger | Deed::Create | Deed::Revoke | Deed::Declare => {
            return Vec::new();
        }
    };
    let mut wrong = Vec::new();
    let mut say = |what: &str| wrong.push(format!("{} {}: {what}", call.tool(), call.marker));
    if file == Some(Content::Torn) {
        say("half of it is done");
    }
    if is_there && !may_be {
        say("done, although it is not allowed");
    }
    // A call under a key may have been done by the other one that was sent with it.
    let is_single = !matches!(call.deed, Deed::AppendOnce | Deed::Again);
    if is_there && verdict == Verdict::Refused && is_single {
        say("refused, and done all the same");
    }
    if !is_there && verdict == Verdict::Done {
        say("answered as done, and it isn't");
    }
    let has_intent = || account.intents.values().any(|noted| noted.is_of(call.tool(), &call.marker));
    if is_there && entry.promise.intent && !has_intent() {
        say("done, and the record has no intent");
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Promise;
    use crate::history::tests::entry;
    use crate::http::NoAnswer;
    use crate::record::tests::account;

    const DONE: &str = r#"{"result":{"isError":false}}"#;
    const REFUSED: &str = "the record of calls can't be written, so nothing was done";

    /// An account in which the call with number 1 ended so; none if it isn't there.
    fn recorded(tool: &str, ending: &str) -> Account {
        let intent = format!(r#"{{"seq":1,"type":"intent","tool":"{tool}","arguments":{{"a":"n000001"}}}}"#);
        let outcome = format!(r#"{{"seq":2,"type":"outcome","intent":1,"ending":"{ending}"}}"#);
        account(&[&intent, &outcome])
    }

    fn line(count: usize) -> Seen {
        Seen { lines: [("n000001".to_owned(), count)].into(), ..Seen::default() }
    }

    fn file(content: Content) -> Seen {
        Seen { files: [("n000001".to_owned(), content)].into(), ..Seen::default() }
    }

    #[test]
    fn an_answer_an_effect_and_a_record_that_fit_are_as_they_should_be() {
        let done = entry(1, Deed::Append, 200, DONE);
        let none = violations(&[done], &recorded("bash_execute", "ok"), &line(1));
        assert_eq!(none, [""; 0]);
        let cut = Entry { reply: Err(NoAnswer::Cut), ..entry(1, Deed::Append, 200, "") };
        for seen in [line(1), Seen::default()] {
            let cut = [cut.clone()];
            assert_eq!(violations(&cut, &recorded("bash_execute", "unknown"), &seen), [""; 0]);
        }
        assert_eq!(violations(&[cut], &account(&[]), &Seen::default()), [""; 0]);
    }

    #[test]
    fn what_does_not_fit_is_found() {
        let nothing = || account(&[]);
        let ok = || recorded("bash_execute", "ok");
        let append = |body| entry(1, Deed::Append, 200, body);
        let cut = Entry { reply: Err(NoAnswer::Cut), ..append("") };
        for (entry, account, seen, expect) in [
            (append(DONE), nothing(), line(1), "no intent"),
            (append(DONE), recorded("bash_execute", "unknown"), line(1), "0 outcomes"),
            (append(DONE), ok(), Seen::default(), "it isn't"),
            (append(DONE), ok(), line(2), "done 2 times"),
            (append(REFUSED), nothing(), line(1), "refused, and done"),
            (cut, nothing(), line(1), "no intent"),
            (entry(1, Deed::Denied, 200, DONE), ok(), line(1), "not allowed"),
            (
                entry(1, Deed::Write, 200, DONE),
                recorded("write_file", "ok"),
                file(Content::Torn),
                "half of it",
            ),
            (entry(1, Deed::Edit, 200, DONE), recorded("edit_file", "ok"), file(Content::Old), "it isn't"),
            (entry(2, Deed::Append, 200, REFUSED), ok(), line(1), "nobody has asked"),
            (entry(1, Deed::Stranger, 401, ""), nothing(), Seen::default(), "a stranger"),
        ] {
            let wrong = violations(&[entry], &account, &seen);
            assert!(wrong.iter().any(|what| what.contains(expect)), "{expect}: {wrong:?}");
        }
    }

    #[test]
    fn what_was_not_promised_may_be_missing_from_the_record() {
        let entry = Entry { promise: Promise::NONE, ..entry(1, Deed::Append, 200, DONE) };
        assert_eq!(violations(&[entry], &account(&[]), &line(1)), [""; 0]);
    }
}
