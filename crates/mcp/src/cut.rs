//! What is known of a message that can't be read, or was too long to be kept: its two ends.

use bytes::Bytes;

/// Bytes at both ends of a message in which its id is looked for.
pub(crate) const EDGE_BYTES: usize = 64;

/// The two ends of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Its first bytes.
    pub(crate) head: Bytes,
    /// Its last bytes, if they were seen.
    pub(crate) tail: Bytes,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Whoever waits for the response to this request of ours.
    Response(i64),
    /// Nobody who waits: it is a notification, or asks something.
    Nobody,
    /// That can't be said.
    Unknown,
}

impl Cut {
    /// The ends of this message.
    pub fn of(message: &[u8]) -> Self {
        let head = &message[..message.len().min(EDGE_BYTES)];
        let tail = &message[message.len().saturating_sub(EDGE_BYTES)..];
        Self { head: Bytes::copy_from_slice(head), tail: Bytes::copy_from_slice(tail) }
    }

    /// The beginning of a message whose end nobody saw.
    pub(crate) fn beginning(message: &[u8]) -> Self {
        Self { tail: Bytes::new(), ..Self::of(message) }
    }

    /// Whom it is for, as far as its ends say it where messages say it: before what is nested, or behind it.
    pub(crate) fn whose(&self) -> Whose {
        const ID: &[u8] = b"\"id\":";
        const METHOD: &[u8] = b"\"method\":";
        let head: &[u8] = &self.head;
        let nested = head.get(1..).and_then(|rest| memchr::memchr2(b'{', b'[', rest));
        let before = &head[..nested.map_or(head.len(), |at| at + 1)];
        if memchr::memmem::find(before, METHOD).is_some() {
            return Whose::Nobody;
        }
        if let Some((id, _)) =
            memchr::memmem::find(before, ID).and_then(|at| number(&before[at + ID.len()..]))
        {
            return Whose::Response(id);
        }
        let behind = memchr::memmem::rfind(&self.tail, ID).and_then(|at| number(&self.tail[at + ID.len()..]));
        // Only if nothing but the end of the message follows.
        match behind {
            Some((id, b"}")) => Whose::Response(id),
            _ => Whose::Unknown,
        }
    }
}

/// The number that a text begins with, and what follows it.
fn number(text: &[u8]) -> Option<(i64, &[u8])> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let id = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((id, text[end..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_where_messages_say_it_and_nowhere_else() {
        let long = "x".repeat(1_000);
        for (text, expect) in [
            (format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"a":1,"a":"{long}"}}}}"#), Whose::Response(7)),
            (format!(r#"{{"result":{{"a":"{long}","a":2}},"jsonrpc":"2.0","id": 12}}"#), Whose::Response(12)),
            (format!(r#"{{"result":{{"a":"{long}","id":5}}}}"#), Whose::Unknown),
            (format!(r#"{{"result":{{"id":5,"a":"{long}"}}}}"#), Whose::Unknown),
            (format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{long}"}}"#), Whose::Nobody),
            (format!(r#"{{"jsonrpc":"2.0","method":"x","params":{{"a":"{long}"}},"id":7}}"#), Whose::Nobody),
            (r#"{"jsonrpc":"2.0","id":"7","result":{}}"#.to_owned(), Whose::Unknown),
            ("starting up".to_owned(), Whose::Unknown),
            (String::new(), Whose::Unknown),
            ("{".to_owned(), Whose::Unknown),
        ] {
            assert_eq!(Cut::of(text.as_bytes()).whose(), expect, "{text}");
        }
        let cut_off = Cut::beginning(br#"{"jsonrpc":"2.0","id":1"#);
        assert_eq!(cut_off.whose(), Whose::Unknown, "the number may go on");
    }
}
