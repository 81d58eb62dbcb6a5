//! Target `sse`: events of the input, in whatever pieces it comes, are what the rules of WHATWG HTML
//! give for the whole; and with a limit no event is longer and none is told twice.

use hayward_mcp::sse::{Event, Parser, Received};

use crate::UNLIMITED;
use crate::pieces::cuts;

/// Limits that inputs of a fuzzer reach.
const LIMITS: [usize; 2] = [8, 40];

pub(crate) fn check(input: &[u8]) {
    let expect = interpret(input);
    for pieces in cuts(input) {
        let events: Vec<_> = read(&pieces, UNLIMITED).into_iter().map(whole).collect();
        assert_eq!(events, expect);
    }
    for max in LIMITS {
        check_limited(input, max, expect.len());
    }
}

fn check_limited(input: &[u8], max: usize, unlimited: usize) {
    let [whole, others @ ..] = cuts(input);
    let expect = read(&whole, max);
    for pieces in others {
        assert_eq!(read(&pieces, max), expect, "at most {max} bytes");
    }
    let events = expect.iter().filter_map(|received| match received {
        Received::Event(event) => Some(event),
        Received::TooLong(_) => None,
    });
    let sizes: Vec<_> = events.map(|event| event.data.len()).collect();
    assert!(sizes.len() <= unlimited && sizes.iter().all(|size| *size <= max), "{sizes:?}");
}

/// Everything that the pieces complete.
pub(crate) fn read(pieces: &[&[u8]], event_bytes_max: usize) -> Vec<Received> {
    let mut parser = Parser::new(event_bytes_max);
    pieces.iter().flat_map(|piece| parser.push(piece)).collect()
}

/// An event that no limit cuts.
pub(crate) fn whole(received: Received) -> Event {
    match received {
        Received::Event(event) => event,
        Received::TooLong(_) => unreachable!("there is no limit"),
    }
}

/// The model: the algorithm of the standard on the whole stream, word by word.
fn interpret(stream: &[u8]) -> Vec<Event> {
    let stream = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let mut model = Model::default();
    let mut rest = stream;
    // What stands behind the last line end is no line.
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        model.line(&rest[..end]);
        let is_pair = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(is_pair)..];
    }
    model.events
}

#[derive(Default)]
struct Model {
    data: Vec<u8>,
    event_type: String,
    id: String,
    last_id: String,
    retry_ms: Option<u64>,
    events: Vec<Event>,
}

impl Model {
    fn line(&mut self, line: &[u8]) {
        match line.iter().position(|byte| *byte == b':') {
            _ if line.is_empty() => self.dispatch(),
            Some(0) => {}
            Some(colon) => {
                let value = &line[colon + 1..];
                self.field(&line[..colon], value.strip_prefix(b" ").unwrap_or(value));
            }
            None => self.field(line, b""),
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        match name {
            b"event" => self.event_type = text.into_owned(),
            b"data" => self.data.extend([value, b"\n"].concat()),
            b"id" if !text.contains('\0') => self.id = text.into_owned(),
            b"retry" if !text.contains(|c: char| !c.is_ascii_digit()) => {
                self.retry_ms = text.parse().ok().or(self.retry_ms);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        self.last_id = self.id.clone();
        let event_type = std::mem::take(&mut self.event_type);
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_none() {
            return;
        }
        self.events.push(Event {
            id: Some(self.last_id.as_str()).filter(|id| !id.is_empty()).map(Into::into),
            event: if event_type.is_empty() { "message".into() } else { event_type.into() },
            data: data.into(),
            retry_ms: self.retry_ms,
        });
    }
}
