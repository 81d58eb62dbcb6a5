//! Server-sent events, as far as the protocol uses them: written, and read by the rules of WHATWG HTML
//! (server-sent events, interpreting an event stream).

mod parser;

use bytes::Bytes;

use crate::envelope::Frame;

pub use parser::{Event, Parser, Received};

/// A comment that keeps a silent stream alive.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// A message as one event. JSON text has no line break outside of strings, and inside of strings
/// they are escaped, so one `data:` line holds it.
pub fn event(frame: Frame) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(frame.pieces.len() + 2);
    pieces.push(Bytes::from_static(b"event: message\ndata: "));
    for piece in frame.pieces {
        pieces.push(without_line_breaks(piece));
    }
    pieces.push(Bytes::from_static(b"\n\n"));
    pieces
}

/// A message as one event with an id, so that a client can ask for what came after it.
pub fn numbered(frame: Frame, id: &str) -> Vec<Bytes> {
    let mut pieces = event(frame);
    pieces.insert(0, format!("id: {id}\n").into());
    pieces
}

/// An event without a message: its id lets a client come back before anything was said (SEP-1699).
pub fn prime(id: &str) -> Bytes {
    format!("id: {id}\ndata: \n\n").into()
}

/// Tells a client how long to wait before it comes back.
pub fn retry(milliseconds: u64) -> Bytes {
    format!("retry: {milliseconds}\n\n").into()
}

/// Where a client of the oldest transport (2024-11-05) sends its messages.
pub fn endpoint(path: &str) -> Bytes {
    format!("event: endpoint\ndata: {path}\n\n").into()
}

/// Raw pieces may hold white space between tokens; a line break there becomes a blank.
fn without_line_breaks(piece: Bytes) -> Bytes {
    if memchr::memchr2(b'\n', b'\r', &piece).is_none() {
        return piece;
    }
    piece.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_event_of_one_line_whatever_white_space_it_holds() {
        let frame = Frame { pieces: vec![Bytes::from_static(b"{\"a\":\r\n 1"), Bytes::from_static(b"}")] };
        let text = event(frame).concat();
        assert_eq!(text, b"event: message\ndata: {\"a\":   1}\n\n");
    }

    #[test]
    fn an_event_can_carry_an_id_and_an_id_can_come_alone() {
        let frame = Frame { pieces: vec![Bytes::from_static(b"{}")] };
        assert_eq!(numbered(frame, "1-2").concat(), b"id: 1-2\nevent: message\ndata: {}\n\n");
        assert_eq!(&prime("1-0")[..], b"id: 1-0\ndata: \n\n");
        assert_eq!(&retry(500)[..], b"retry: 500\n\n");
        assert_eq!(&endpoint("/m?s=1")[..], b"event: endpoint\ndata: /m?s=1\n\n");
    }
}
