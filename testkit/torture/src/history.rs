//! What clients know: what they sent and what they were answered.

use std::time::Instant;

use crate::http::{Answer, NoAnswer};
use crate::script::Call;

/// What a daemon says when it can't record.
const UNRECORDED: &str = "the record of calls can't be written";
/// What it adds if the call had run by then.
const HAD_RUN: &str = "although the";

/// What is promised of the record of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Its intent is there if anything came of it.
    pub intent: bool,
    /// Its outcome is there if it was answered.
    pub outcome: bool,
}

impl Promise {
    /// What holds whenever the machine goes on.
    pub const ALL: Self = Self { intent: true, outcome: true };
    /// What holds of a call whose records the disk may not have had yet.
    pub const NONE: Self = Self { intent: false, outcome: false };
}

/// A call that was sent.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The call.
    pub call: Call,
    /// In which life of the daemon, from 0.
    pub life: usize,
    /// When the answer was there, or that there will be none.
    pub ended: Instant,
    /// What came.
    pub reply: Result<Answer, NoAnswer>,
    /// What is promised of its record.
    pub promise: Promise,
}

/// What came of a call, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was done.
    Done,
    /// It was answered with an error, or refused, and that is recorded.
    Failed,
    /// It was refused since it can't be recorded.
    Refused,
    /// It has run, and how it ended can't be recorded.
    RanUnrecorded,
    /// It was turned away before anything knew what it is.
    Turned,
    /// Nobody answered.
    Unanswered,
}

impl Entry {
    /// What came of it.
    pub fn verdict(&self) -> Verdict {
        let Ok(answer) = &self.reply else {
            return Verdict::Unanswered;
        };
        if answer.body.contains(UNRECORDED) {
            return if answer.body.contains(HAD_RUN) { Verdict::RanUnrecorded } else { Verdict::Refused };
        }
        match answer.status {
            200 if !self.call.is_tool() => Verdict::Done,
            200 if answer.json()["result"]["isError"] == false => Verdict::Done,
            200 => Verdict::Failed,
            401 | 429 => Verdict::Turned,
            // What is beside the tools says by a status that it failed.
            _ if !self.call.is_tool() => Verdict::Failed,
            _ => Verdict::Turned,
        }
    }

    /// Whether it was sent at all.
    pub fn was_sent(&self) -> bool {
        self.reply != Err(NoAnswer::Nobody)
    }

    /// The token that it made.
    pub fn token(&self) -> Option<String> {
        let answer = self.reply.as_ref().ok()?.json();
        answer["token"].as_str().map(ToOwned::to_owned)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::script::Deed;

    /// A call and its answer.
    pub(crate) fn entry(number: u64, deed: Deed, status: u16, body: &str) -> Entry {
        Entry {
            call: Call::new(number, deed),
            life: 0,
            ended: Instant::now(),
            reply: Ok(Answer { status, body: body.to_owned() }),
            promise: Promise::ALL,
        }
    }

    #[test]
    fn what_came_of_a_call_is_read_from_its_answer() {
        let of = |deed, status, body| entry(1, deed, status, body).verdict();
        assert_eq!(of(Deed::Append, 200, r#"{"result":{"isError":false}}"#), Verdict::Done);
        assert_eq!(of(Deed::Append, 200, r#"{"result":{"isError":true}}"#), Verdict::Failed);
        assert_eq!(of(Deed::Append, 200, r#"{"error":{}}"#), Verdict::Failed);
        assert_eq!(of(Deed::Append, 503, ""), Verdict::Turned);
        assert_eq!(of(Deed::Stranger, 401, ""), Verdict::Turned);
        assert_eq!(of(Deed::Create, 200, r#"{"token":"t"}"#), Verdict::Done);
        assert_eq!(of(Deed::Create, 409, ""), Verdict::Failed);
        let refused = r#"{"m":"the record of calls can't be written, so nothing was done"}"#;
        assert_eq!(of(Deed::Create, 503, refused), Verdict::Refused);
        assert_eq!(of(Deed::Append, 200, refused), Verdict::Refused);
        let ran = r#"{"m":"the record of calls can't be written, although the call has run"}"#;
        assert_eq!(of(Deed::Append, 200, ran), Verdict::RanUnrecorded);
        let cut = Entry { reply: Err(NoAnswer::Cut), ..entry(1, Deed::Read, 200, "") };
        assert_eq!((cut.verdict(), cut.was_sent()), (Verdict::Unanswered, true));
    }
}
