//! What a server answers: its head, its body, the messages in it.

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Media {
    /// `application/json`.
    Json,
    /// `text/event-stream`.
    Events,
}

impl Media {
    fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Self::Json),
            "text/event-stream" => Some(Self::Events),
            _ => None,
        }
    }
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The form of the body, if it is one that we know.
    pub media: Option<Media>,
    /// The session that was opened.
    pub session: Option<String>,
    pub(super) framing: Framing,
}

impl Head {
    /// A good one, for tests of what is made of answers.
    #[cfg(test)]
    pub(crate) fn good(media: Media) -> Self {
        Self { status: 200, media: Some(media), session: None, framing: Framing::Chunked }
    }

    pub(super) fn parse(head: &str) -> Result<Self> {
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?;
        let status = status.parse().context("bad status")?;
        let mut parsed = Self { status, media: None, session: None, framing: Framing::Length(0) };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            parsed.read_header(name, value.trim())?;
        }
        Ok(parsed)
    }

    fn read_header(&mut self, name: &str, value: &str) -> Result<()> {
        match name.to_ascii_lowercase().as_str() {
            "content-type" => self.media = Media::of(value),
            "content-length" => self.framing = Framing::Length(value.parse().context("bad length")?),
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                self.framing = Framing::Chunked;
            }
            "mcp-session-id" => self.session = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: Head,
    /// Its body, chunks put together.
    pub body: Vec<u8>,
}

impl Answer {
    /// The messages in it: the body, or what each event says.
    pub fn messages(&self) -> Vec<&[u8]> {
        if self.head.media != Some(Media::Events) {
            return vec![&self.body];
        }
        let lines = self.body.split(|byte| *byte == b'\n');
        let data = lines.filter_map(|line| line.strip_prefix(b"data:")).map(<[u8]>::trim_ascii);
        data.filter(|data| !data.is_empty()).collect()
    }

    /// Fails unless it holds a result. A call that failed inside of a good frame is an error, too.
    pub fn judge(&self) -> Result<()> {
        if self.head.status != 200 || !holds_result(&self.body) {
            bail!("status {}: {}", self.head.status, self.beginning());
        }
        Ok(())
    }

    /// Fails unless the status says that all is well.
    pub fn accepted(&self) -> Result<()> {
        let status = self.head.status;
        ensure!((200..300).contains(&status), "status {status}: {}", self.beginning());
        Ok(())
    }

    fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(200).collect()
    }
}

/// Whether there is a result in these bytes, and no sign of a call that failed.
pub fn holds_result(body: &[u8]) -> bool {
    let signs: [&[u8]; 5] = [
        br#""isError":true"#,
        br#""isError": true"#,
        br#""error":{"#,
        br#"\"success\": false"#,
        br#"\"success\":false"#,
    ];
    let holds = |sign: &[u8]| memmem::find(body, sign).is_some();
    holds(br#""result""#) && !signs.into_iter().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str, body: &str) -> Answer {
        Answer { head: Head::parse(head).unwrap(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_good_answer_passes() {
        let body = r#"{"jsonrpc":"2.0","id":2,"result":{"content":[],"isError":false}}"#;
        assert!(answer("HTTP/1.1 200 OK", body).judge().is_ok());
        assert!(answer("HTTP/1.1 202 Accepted", "").accepted().is_ok());
    }

    #[test]
    fn status_error_tool_error_and_nothing_fail() {
        assert!(answer("HTTP/1.1 503 No", r#"{"result":{}}"#).judge().is_err());
        for body in [
            "",
            r#"{"error":{"code":-32601}}"#,
            r#"{"result":{"isError":true}}"#,
            r#"{"result":"{\"success\": false}"}"#,
        ] {
            assert!(answer("HTTP/1.1 200 OK", body).judge().is_err(), "{body}");
        }
        assert!(answer("HTTP/1.1 404 No", "").accepted().is_err());
    }

    #[test]
    fn heads_are_read_in_any_case() {
        let text = "HTTP/1.1 202 Accepted\r\nMCP-Session-ID: abc\r\nTransfer-Encoding: chunked";
        let head = Head::parse(text).unwrap();
        assert_eq!((head.status, head.session.as_deref()), (202, Some("abc")));
        assert!(matches!(head.framing, Framing::Chunked));
        assert!(Head::parse("nonsense").is_err());
    }

    #[test]
    fn every_event_is_a_message_and_a_body_of_json_is_one() {
        let events = "id: 0\nretry: 3\ndata:\n\nevent: message\ndata: {\"a\":1}\n\n: hello\n\ndata:{}\n\n";
        let stream = answer("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8", events);
        assert_eq!(stream.messages(), [br#"{"a":1}"#.as_slice(), b"{}"]);
        let json = answer("HTTP/1.1 200 OK\r\ncontent-type: application/json", "{}");
        assert_eq!((json.head.media, json.messages()), (Some(Media::Json), vec![b"{}".as_slice()]));
    }
}
