//! Server-sent events, as far as the protocol uses them.

use bytes::Bytes;

use crate::envelope::Frame;

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
}
