//! Writing JSON by splicing checked pieces.

use std::io::Write;

use bytes::Bytes;

use super::object::Member;
use super::raw::Raw;

/// Builds one object; members are written in the order of the calls.
#[derive(Debug)]
pub struct ObjectWriter {
    out: Vec<u8>,
    /// Where its first member stands.
    start: usize,
}

impl ObjectWriter {
    /// Starts an object that is expected to take about `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity + 2);
        out.push(b'{');
        Self { out, start: 1 }
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
        escape_str_into(key, &mut self.out);
        self.out.push(b':');
        &mut self.out
    }

    /// Adds a member whose value is checked JSON.
    #[must_use]
    pub fn raw(mut self, key: &str, value: &Raw) -> Self {
        self.key(key).extend_from_slice(value.as_bytes());
        self
    }

    /// Adds a member of another object, its value to the letter.
    #[must_use]
    pub fn member(mut self, member: Member<'_>) -> Self {
        self.key(&member.key()).extend_from_slice(member.value_bytes());
        self
    }

    /// Adds a member that is an object with these members.
    #[must_use]
    pub fn object(mut self, key: &str, members: impl FnOnce(Self) -> Self) -> Self {
        self.key(key).push(b'{');
        let start = std::mem::replace(&mut self.start, self.out.len());
        let mut written = members(self);
        written.out.push(b'}');
        Self { start, ..written }
    }

    /// Adds a string member.
    #[must_use]
    pub fn str(mut self, key: &str, value: &str) -> Self {
        escape_str_into(value, self.key(key));
        self
    }

    /// Adds an integer member.
    #[must_use]
    pub fn int(mut self, key: &str, value: i64) -> Self {
        write!(self.key(key), "{value}").expect("a vector takes whatever is written");
        self
    }

    /// Adds a boolean member.
    #[must_use]
    pub fn bool(mut self, key: &str, value: bool) -> Self {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// Adds the members of another object as they are, e.g. a result that gets more members.
    #[must_use]
    pub fn splice(mut self, object: &Raw) -> Self {
        let body = object.as_bytes();
        let inner = body.get(1..body.len().saturating_sub(1)).unwrap_or_default().trim_ascii();
        if object.is_object() && !inner.is_empty() {
            if self.out.len() > self.start {
                self.out.push(b',');
            }
            self.out.extend_from_slice(inner);
        }
        self
    }

    /// Ends the object.
    pub fn end(mut self) -> Raw {
        self.out.push(b'}');
        Raw::trusted(Bytes::from(self.out))
    }
}

/// Builds one array.
#[derive(Debug)]
pub struct ArrayWriter {
    out: Vec<u8>,
}

impl ArrayWriter {
    /// Starts an array that is expected to take about `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity + 2);
        out.push(b'[');
        Self { out }
    }

    /// Adds an element.
    pub fn push(&mut self, value: &Raw) {
        self.separate();
        self.out.extend_from_slice(value.as_bytes());
    }

    /// Adds an element that is a string.
    pub fn push_str(&mut self, value: &str) {
        self.separate();
        escape_str_into(value, &mut self.out);
    }

    fn separate(&mut self) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
    }

    /// Ends the array.
    pub fn end(mut self) -> Raw {
        self.out.push(b']');
        Raw::trusted(Bytes::from(self.out))
    }
}

/// Takes over JSON that was written by hand with [`escape_into`].
pub fn from_written(json: Vec<u8>) -> Raw {
    Raw::trusted(Bytes::from(json))
}

/// Writes a JSON string, quotes included.
pub fn escape_str_into(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape_into(text.as_bytes(), out);
    out.push(b'"');
}

/// Writes the inside of a JSON string. `bytes` may end within a character, so that text can be
/// escaped piece by piece.
pub fn escape_into(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        let plain = plain_prefix(rest);
        out.extend_from_slice(&rest[..plain]);
        match rest.get(plain) {
            Some(byte) => escape_byte(*byte, out),
            None => return,
        }
        rest = &rest[plain + 1..];
    }
}

/// How many bytes can be copied as they are. Eight at a time: most text is plain, and results are long.
fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let plain = words.iter().take_while(|word| !has_escape(u64::from_ne_bytes(**word))).count() * 8;
    let tail = bytes[plain..].iter().take_while(|byte| !NEEDS_ESCAPE[usize::from(**byte)]).count();
    plain + tail
}

/// Whether one of eight bytes is a quote, a backslash or a control character. Only the lowest hit is
/// exact (a borrow can run into higher bytes), which is all that a yes or no needs.
const fn has_escape(word: u64) -> bool {
    const LOW: u64 = u64::MAX / 0xFF;
    const HIGH: u64 = LOW << 7;
    const QUOTES: u64 = LOW * b'"' as u64;
    const BACKSLASHES: u64 = LOW * b'\\' as u64;
    const BLANKS: u64 = LOW * 0x20;
    let control = word.wrapping_sub(BLANKS) & !word;
    let quote = (word ^ QUOTES).wrapping_sub(LOW) & !(word ^ QUOTES);
    let backslash = (word ^ BACKSLASHES).wrapping_sub(LOW) & !(word ^ BACKSLASHES);
    (control | quote | backslash) & HIGH != 0
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0C => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

static NEEDS_ESCAPE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

#[cfg(test)]
mod tests {
    use super::super::scan::Limits;
    use super::*;

    #[test]
    fn an_object_is_spliced_from_pieces() {
        let result = Raw::parse(&b"{ \"content\":[] }"[..], Limits::default()).unwrap();
        let got = ObjectWriter::new(0).str("resultType", "complete").splice(&result).int("ttlMs", 5).end();
        assert_eq!(got.as_str(), r#"{"resultType":"complete","content":[],"ttlMs":5}"#);
        let empty = ObjectWriter::new(0).splice(&Raw::empty_object()).bool("a", true).end();
        assert_eq!(empty.as_str(), r#"{"a":true}"#);
    }

    #[test]
    fn an_array_is_spliced_from_pieces() {
        let mut array = ArrayWriter::new(0);
        array.push(&Raw::null());
        array.push(&Raw::empty_object());
        assert_eq!(array.end().as_str(), "[null,{}]");
    }

    #[test]
    fn every_character_is_escaped_as_serde_reads_it() {
        let text: String = (0..0x250).filter_map(char::from_u32).chain("\u{2028}😀".chars()).collect();
        let mut out = Vec::new();
        escape_str_into(&text, &mut out);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn a_character_is_escaped_wherever_it_stands_among_eight() {
        for byte in 0..=255_u8 {
            for at in 0..24 {
                let mut bytes = [b'x'; 24];
                bytes[at] = byte;
                let mut fast = Vec::new();
                escape_into(&bytes, &mut fast);
                let mut slow = Vec::new();
                for byte in bytes {
                    if NEEDS_ESCAPE[usize::from(byte)] {
                        escape_byte(byte, &mut slow);
                    } else {
                        slow.push(byte);
                    }
                }
                assert_eq!(fast, slow, "{byte} at {at}");
            }
        }
    }
}
