//! One call with its marker, and the judgement of its answer.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::wire::{Accept, Answer, Ask, Media, Target};

/// Every this many calls, progress is heard.
const TELLS_EVERY: usize = 10;

/// A call of a client. Its id is the number of the call, the same for every client.
pub(super) struct Exchange {
    id: u64,
    marker: String,
    accept: Accept,
    hears_progress: bool,
}

/// Whose answer it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The client's own.
    Own {
        /// Whether it came as JSON.
        is_json: bool,
        /// How much progress was told on the way.
        notices: usize,
    },
    /// Somebody else's, or nobody's.
    Foreign(String),
}

impl Exchange {
    /// The call of this number of the client of this number.
    pub(super) fn of(client: usize, call: usize) -> Self {
        let accept = [Accept::Json, Accept::Events, Accept::Both][call % 3];
        Self {
            id: call as u64 + 1,
            marker: format!("client {client}, call {call}"),
            accept,
            hears_progress: accept != Accept::Json && call.is_multiple_of(TELLS_EVERY),
        }
    }

    /// Its bytes.
    pub(super) fn request(&self, target: &Target, session: Option<&str>) -> Vec<u8> {
        let tool = if self.hears_progress { "tell" } else { "echo" };
        let arguments = format!(r#"{{"message":"{}"}}"#, self.marker);
        let ask = Ask { hears_progress: self.hears_progress, ..Ask::call(tool, arguments) };
        Target { accept: self.accept, ..target.clone() }.request(session, &ask, self.id)
    }

    /// Whose answer this is; an error if it is none.
    pub(super) fn judge(&self, answer: &Answer) -> Result<Verdict> {
        answer.judge()?;
        let media = answer.head.media;
        let is_json = media == Some(Media::Json);
        let is_acceptable = match self.accept {
            Accept::Json => is_json,
            Accept::Events => media == Some(Media::Events),
            Accept::Both => media.is_some(),
        };
        anyhow::ensure!(is_acceptable, "the answer is {media:?} where {:?} is accepted", self.accept);
        let messages = answer.messages();
        for message in &messages {
            let message: Value = serde_json::from_slice(message).context("a message is no JSON")?;
            if !self.is_own(&message) {
                return Ok(Verdict::Foreign(format!("{} got {message}", self.marker)));
            }
        }
        let notices = messages.len().saturating_sub(1);
        let is_told = notices == usize::from(self.hears_progress);
        anyhow::ensure!(is_told, "{notices} notices of progress came before the answer");
        Ok(Verdict::Own { is_json, notices })
    }

    /// Whether this message is for this client and of this call.
    fn is_own(&self, message: &Value) -> bool {
        let (id, text) = if message.get("method").is_some() {
            (&message["params"]["progressToken"], &message["params"]["message"])
        } else {
            (&message["id"], &message["result"]["content"][0]["text"])
        };
        *id == self.id && *text == *self.marker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Head;

    const JSON: usize = 0;
    const TOLD: usize = 20;

    fn answer(media: Media, body: &str) -> Answer {
        Answer { head: Head::good(media), body: body.as_bytes().to_vec() }
    }

    fn result(id: u64, text: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#)
    }

    fn notice(token: u64, text: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1.0,"message":"{text}"}}}}"#
        )
    }

    #[test]
    fn the_own_marker_under_the_own_id_is_own() {
        let call = Exchange::of(7, JSON);
        let own = call.judge(&answer(Media::Json, &result(1, "client 7, call 0")));
        assert_eq!(own.unwrap(), Verdict::Own { is_json: true, notices: 0 });
    }

    #[test]
    fn another_marker_or_id_is_foreign_and_another_form_no_answer() {
        let call = Exchange::of(7, JSON);
        for body in
            [result(1, "client 8, call 0"), result(1, "client 7, call 1"), result(2, "client 7, call 0")]
        {
            assert!(
                matches!(call.judge(&answer(Media::Json, &body)).unwrap(), Verdict::Foreign(_)),
                "{body}"
            );
        }
        let events = format!("data: {}\n\n", result(1, "client 7, call 0"));
        assert!(call.judge(&answer(Media::Events, &events)).is_err());
    }

    #[test]
    fn progress_is_judged_as_the_answer_is() {
        let call = Exchange::of(7, TOLD);
        let judged = |notices: &[String]| {
            let all: Vec<_> = notices.iter().cloned().chain([result(21, "client 7, call 20")]).collect();
            call.judge(&answer(Media::Events, &format!("data: {}\n\n", all.join("\n\ndata: "))))
        };
        let own = judged(&[notice(21, "client 7, call 20")]);
        assert_eq!(own.unwrap(), Verdict::Own { is_json: false, notices: 1 });
        assert!(matches!(judged(&[notice(21, "client 8, call 20")]).unwrap(), Verdict::Foreign(_)));
        assert!(judged(&[]).is_err(), "what was to be heard went somewhere else");
    }
}
