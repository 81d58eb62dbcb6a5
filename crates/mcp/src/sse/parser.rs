//! Events of a stream that somebody else writes, read as they arrive and never beyond a limit.
//!
//! ```text
//!  bytes ─► line (LF, CR, CRLF) ─► field ─► block ─► event, at the empty line
//!                                           └─► too long: told at once, then skipped up to the empty line
//! ```
//!
//! What comes out doesn't depend on how the bytes were cut into pieces. Text is taken as it comes:
//! whether the data is UTF-8 is for its reader to check, as it is for a body.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::cut::{Cut, EDGE_BYTES};

/// The type of an event that names none.
const DEFAULT_TYPE: &str = "message";

/// What a stream may begin with, and what means nothing.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What stands in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole event.
    Event(Event),
    /// An event longer than the limit, as it begins; the rest of it is skipped.
    TooLong(Cut),
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where to resume behind this event: the newest id that the stream named, if that isn't empty.
    pub id: Option<Arc<str>>,
    /// Its type; `message` if it names none.
    pub event: Cow<'static, str>,
    /// Its lines of data, with line feeds between them; empty if the one line is.
    pub data: Bytes,
    /// How long to wait before connecting again, in milliseconds, if the stream said so until now.
    pub retry_ms: Option<u64>,
}

/// Reads events, bounded.
#[derive(Debug)]
pub struct Parser {
    event_bytes_max: usize,
    /// The line that is being read; none if only its end matters, as that of a comment.
    line: Option<Vec<u8>>,
    is_first_line: bool,
    /// Whether the last byte was a carriage return, whose line feed may be still to come.
    is_after_return: bool,
    block: Block,
    /// Whether the block is too long.
    is_block_skipped: bool,
    id: Option<Arc<str>>,
    retry_ms: Option<u64>,
}

/// The fields since the last empty line.
#[derive(Debug, Default)]
struct Block {
    id: Option<Arc<str>>,
    event: String,
    /// Every line of data with a line feed behind it.
    data: Vec<u8>,
}

impl Block {
    fn len(&self) -> usize {
        self.data.len() + self.event.len() + self.id.as_ref().map_or(0, |id| id.len())
    }
}

impl Parser {
    /// A parser at the start of a stream. An event may take this many bytes: its data, its type and its
    /// id together with the line that is being read. Comments don't count.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            line: Some(Vec::new()),
            is_first_line: true,
            is_after_return: false,
            block: Block::default(),
            is_block_skipped: false,
            id: None,
            retry_ms: None,
        }
    }

    /// Reads the next bytes of the stream and returns what they complete. An event whose empty line is
    /// still to come is kept; at the end of the stream it is nothing.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Received> {
        let mut received = Vec::new();
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.is_after_return) && *first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest);
            received.extend(self.extend_line(&rest[..end.unwrap_or(rest.len())]));
            let Some(end) = end else { break };
            received.extend(self.end_line());
            self.is_after_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
        }
        received
    }

    /// Where to resume: the newest id, of a block without data as well.
    pub fn last_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// How long to wait before connecting again, in milliseconds, if the stream said so.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    fn extend_line(&mut self, piece: &[u8]) -> Option<Received> {
        let line = self.line.as_mut().filter(|_| !piece.is_empty())?;
        let is_comment = line.is_empty() && piece.starts_with(b":");
        if self.is_block_skipped || is_comment {
            self.line = None;
            return None;
        }
        if self.block.len() + line.len() + piece.len() > self.event_bytes_max {
            // As much as doesn't depend on the pieces in which it came.
            let fits = self.event_bytes_max.saturating_sub(self.block.len() + line.len());
            line.extend_from_slice(&piece[..(fits + 1).min(2 * EDGE_BYTES).min(piece.len())]);
            let begins = if self.block.data.is_empty() { value_of(line) } else { &self.block.data };
            let cut = Cut::beginning(begins);
            (self.line, self.block) = (None, Block::default());
            self.is_block_skipped = true;
            return Some(Received::TooLong(cut));
        }
        line.extend_from_slice(piece);
        None
    }

    fn end_line(&mut self) -> Option<Received> {
        let is_first = std::mem::take(&mut self.is_first_line);
        let line = self.line.replace(Vec::new())?;
        let line = if is_first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line) } else { &line };
        if line.is_empty() {
            return self.end_block();
        }
        self.take_field(line);
        None
    }

    fn take_field(&mut self, line: &[u8]) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (name, value) = (&line[..colon], value_of(line));
        match name {
            b"data" => {
                self.block.data.extend_from_slice(value);
                self.block.data.push(b'\n');
            }
            b"event" => self.block.event = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => self.block.id = Some(String::from_utf8_lossy(value).into()),
            b"retry" => self.retry_ms = milliseconds(value).or(self.retry_ms),
            _ => {}
        }
    }

    fn end_block(&mut self) -> Option<Received> {
        self.is_block_skipped = false;
        let Block { id, event, mut data } = std::mem::take(&mut self.block);
        if let Some(id) = id {
            self.id = Some(id).filter(|id| !id.is_empty());
        }
        // The line feed behind the last line; a block without data is no event.
        data.pop()?;
        let event =
            if event.is_empty() || event == DEFAULT_TYPE { DEFAULT_TYPE.into() } else { Cow::Owned(event) };
        let (id, retry_ms) = (self.id.clone(), self.retry_ms);
        Some(Received::Event(Event { id, event, data: data.into(), retry_ms }))
    }
}

/// What a line says of its field.
fn value_of(line: &[u8]) -> &[u8] {
    let value = memchr::memchr(b':', line).map_or(&[][..], |colon| &line[colon + 1..]);
    value.strip_prefix(b" ").unwrap_or(value)
}

/// Digits only, and no more than a number holds.
fn milliseconds(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: usize = 1000;

    fn read(stream: &[u8]) -> Vec<Received> {
        Parser::new(ENOUGH).push(stream)
    }

    fn event(id: Option<&str>, event: &str, data: &str) -> Received {
        let (id, event) = (id.map(Arc::from), event.to_owned().into());
        Received::Event(Event { id, event, data: Bytes::copy_from_slice(data.as_bytes()), retry_ms: None })
    }

    fn message(data: &str) -> Received {
        event(None, "message", data)
    }

    #[test]
    fn a_line_ends_with_lf_cr_or_crlf() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = format!("data: a{end}data: b{end}{end}data: c{end}{end}");
            assert_eq!(read(stream.as_bytes()), [message("a\nb"), message("c")], "{end:?}");
        }
        assert_eq!(read(b"data: a\r\rdata: b\n\r\n"), [message("a"), message("b")]);
    }

    #[test]
    fn a_return_and_its_line_feed_may_come_apart() {
        let mut parser = Parser::new(ENOUGH);
        assert_eq!(parser.push(b"data: a\r"), []);
        assert_eq!(parser.push(b"\ndata: b\r"), []);
        assert_eq!(parser.push(b"\n\r"), [message("a\nb")]);
        assert_eq!(parser.push(b"\n\n"), [], "an empty line is no event");
    }

    #[test]
    fn pieces_of_any_size_are_the_same_stream() {
        let stream = "\u{FEFF}: c\r\nid: 1\r\ndata: ä\r\n\r\nretry: 5\rdata\n\n".as_bytes();
        let whole = read(stream);
        assert_eq!(whole.len(), 2);
        for size in 1..stream.len() {
            let mut parser = Parser::new(ENOUGH);
            let pieces: Vec<_> = stream.chunks(size).flat_map(|piece| parser.push(piece)).collect();
            assert_eq!(pieces, whole, "{size}");
        }
    }

    #[test]
    fn a_byte_order_mark_means_nothing_at_the_start_and_something_elsewhere() {
        assert_eq!(read("\u{FEFF}data: a\n\n".as_bytes()), [message("a")]);
        assert_eq!(read("\u{FEFF}\u{FEFF}data: a\n\n".as_bytes()), []);
        assert_eq!(read("\n\u{FEFF}data: a\n\n".as_bytes()), []);
    }

    #[test]
    fn comments_and_unknown_fields_are_nothing() {
        assert_eq!(read(b": keep-alive\n\n:data: x\n\nDATA: x\ndat: x\nfoo\n data: x\n\n"), []);
    }

    #[test]
    fn one_blank_behind_the_colon_is_no_part_of_the_value() {
        assert_eq!(read(b"data:a\ndata:  b\ndata: c: d\n\n"), [message("a\n b\nc: d")]);
    }

    #[test]
    fn an_event_without_data_is_none_and_one_with_empty_data_is_one() {
        assert_eq!(read(b"event: x\n\n"), []);
        assert_eq!(read(b"data\n\n"), [message("")]);
        assert_eq!(read(b"data:\ndata\n\n"), [message("\n")]);
    }

    #[test]
    fn the_type_is_that_of_the_last_line_and_holds_for_one_event() {
        assert_eq!(
            read(b"event: a\nevent: b\ndata\n\ndata\n\nevent:\ndata\n\n"),
            [event(None, "b", ""), message(""), message("")]
        );
    }

    #[test]
    fn an_id_holds_until_the_next_one_and_an_empty_one_ends_it() {
        assert_eq!(
            read(b"id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n"),
            [event(Some("7"), "message", "a"), event(Some("7"), "message", "b"), message("c")]
        );
        assert_eq!(read(b"id: a\0b\ndata\n\n"), [message("")], "an id with NUL is ignored");
    }

    #[test]
    fn an_id_counts_once_its_block_is_complete_even_without_data() {
        let mut parser = Parser::new(ENOUGH);
        parser.push(b"id: 8\n");
        assert_eq!(parser.last_id(), None);
        parser.push(b"\nid: 9\n");
        assert_eq!(parser.last_id(), Some("8"));
    }

    #[test]
    fn a_retry_is_digits_only() {
        for (value, expect) in [
            ("1500", Some(1500)),
            ("0", Some(0)),
            ("007", Some(7)),
            ("", None),
            ("+5", None),
            ("-5", None),
            ("5 ", None),
            ("1e3", None),
            ("99999999999999999999", None),
        ] {
            let mut parser = Parser::new(ENOUGH);
            parser.push(format!("retry: {value}\n").as_bytes());
            assert_eq!(parser.retry_ms(), expect, "{value:?}");
        }
        let Some(Received::Event(event)) = read(b"retry: 5\n\nretry: x\ndata\n\n").pop() else {
            panic!("no event")
        };
        assert_eq!(event.retry_ms, Some(5));
    }

    #[test]
    fn what_is_not_complete_at_the_end_is_nothing() {
        for stream in ["data: a", "data: a\n", "data: a\r\n"] {
            assert_eq!(read(stream.as_bytes()), [], "{stream:?}");
        }
    }

    #[test]
    fn an_event_at_the_limit_passes_and_one_beyond_is_told_once_and_skipped() {
        let mut parser = Parser::new(10);
        assert_eq!(parser.push(b"data: 1234\n\n"), [message("1234")]);
        assert_eq!(
            parser.push(b"data: 12345"),
            [Received::TooLong(Cut::beginning(b"12345"))],
            "at once, not at its end"
        );
        assert_eq!(parser.push(b"6789\ndata: x\nid: 1\nretry: 1\n\ndata: y\n\n"), [message("y")]);
        assert_eq!((parser.last_id(), parser.retry_ms()), (None, None));
    }

    #[test]
    fn many_short_lines_are_too_long_together() {
        let mut parser = Parser::new(10);
        let got = parser.push(b"data\ndata\ndata\ndata\ndata\ndata\ndata\ndata\n\ndata: a\n\n");
        assert_eq!(got, [Received::TooLong(Cut::beginning(b"\n\n\n\n\n\n\n")), message("a")]);
    }

    #[test]
    fn a_stream_without_an_end_takes_bounded_memory() {
        for endless in [&b"x"[..], b"data: x\n", b": comment", b"id: 1\n"] {
            let mut parser = Parser::new(ENOUGH);
            let mut received = 0;
            for _ in 0..100_000 {
                received += parser.push(endless).len();
            }
            assert!(received <= 1, "{endless:?}");
            assert!(
                parser.line.map_or(0, |line| line.capacity()) + parser.block.data.capacity() <= 4 * ENOUGH,
                "{endless:?}"
            );
        }
    }

    #[test]
    fn comments_of_any_length_are_no_part_of_an_event() {
        let mut parser = Parser::new(10);
        let comment = [b':'; 1000];
        assert_eq!(parser.push(b"data: a\n"), []);
        assert_eq!(parser.push(&comment), []);
        assert_eq!(parser.push(b"\n\n"), [message("a")]);
    }
}
