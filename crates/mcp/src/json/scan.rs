//! One pass over untrusted bytes: is this JSON that every reader reads the same way?
//!
//! Parser differentials are how a policy is shown one message and an upstream another
//! (Envoy AI Gateway GHSA-4gph-2hhr-5mwg, Go SDK CVE-2026-27896). So beyond the grammar of RFC 8259
//! this refuses duplicate keys at every depth (compared after unescaping), lone surrogates,
//! and nesting past a limit; it neither recurses nor allocates per value.

use std::borrow::Cow;
use std::ops::Range;

/// What a document may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How deep objects and arrays may nest.
    pub depth_max: usize,
    /// How many keys the document may hold, all objects together.
    pub keys_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 128, keys_max: 100_000 }
    }
}

/// Why bytes are not acceptable JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{defect} at byte {offset}")]
pub struct JsonError {
    /// What is wrong.
    pub defect: Defect,
    /// Where, counted from the start.
    pub offset: usize,
}

/// The ways in which bytes are not acceptable JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// Breaks the grammar.
    #[error("invalid JSON")]
    Syntax,
    /// Ends too early.
    #[error("unexpected end of JSON")]
    Eof,
    /// Something follows the value.
    #[error("unexpected text after the JSON value")]
    Trailing,
    /// Nested too deep.
    #[error("JSON is nested deeper than {max} levels")]
    Depth {
        /// The limit.
        max: usize,
    },
    /// An object names a key twice.
    #[error("duplicate key `{key}`")]
    DuplicateKey {
        /// The key, shortened.
        key: String,
    },
    /// More keys than the limit.
    #[error("more than {max} object keys")]
    Keys {
        /// The limit.
        max: usize,
    },
    /// An escape that names no character.
    #[error("invalid escape in a string")]
    Escape,
}

/// Checks that `bytes` is one acceptable JSON value, and returns where it starts and ends.
pub fn scan(bytes: &[u8], limits: Limits) -> Result<Range<usize>, JsonError> {
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(JsonError { defect: Defect::Utf8, offset: error.valid_up_to() });
    }
    let mut scanner = Scanner {
        bytes,
        at: 0,
        has_controls: has_controls(bytes),
        limits,
        keys_seen: 0,
        frames: Vec::with_capacity(8),
        keys: Vec::with_capacity(16),
    };
    let range = scanner.document()?;
    Ok(range)
}

fn is_control(byte: u8) -> bool {
    byte < 0x20
}

/// Without a branch for each byte, so that many are compared at once.
fn has_controls(bytes: &[u8]) -> bool {
    bytes.chunks(4096).any(|chunk| chunk.iter().fold(false, |found, byte| found | is_control(*byte)))
}

/// One open object or array.
struct Frame {
    is_object: bool,
    /// Where the keys of this object begin in `keys`.
    keys_from: usize,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether a control character stands anywhere; between values it may.
    has_controls: bool,
    limits: Limits,
    keys_seen: usize,
    frames: Vec<Frame>,
    /// Keys of all open objects, innermost last; plain ones borrow from the input.
    keys: Vec<Cow<'a, [u8]>>,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<Range<usize>, JsonError> {
        self.skip_whitespace();
        let start = self.at;
        self.value()?;
        // The loop stands where a value has just ended inside the innermost frame.
        while let Some(frame) = self.frames.last() {
            let is_object = frame.is_object;
            self.skip_whitespace();
            match (self.next()?, is_object) {
                (b',', true) => {
                    self.skip_whitespace();
                    self.key()?;
                    self.value()?;
                }
                (b',', false) => {
                    self.skip_whitespace();
                    self.value()?;
                }
                (b'}', true) | (b']', false) => self.close()?,
                _ => return self.fail_before(Defect::Syntax),
            }
        }
        let end = self.at;
        self.skip_whitespace();
        if self.at != self.bytes.len() {
            return self.fail(Defect::Trailing);
        }
        Ok(start..end)
    }

    /// Reads a scalar, or opens containers until one is empty or holds a scalar.
    fn value(&mut self) -> Result<(), JsonError> {
        loop {
            match self.next()? {
                b'{' => {
                    self.open(true)?;
                    self.skip_whitespace();
                    if self.peek() == Some(b'}') {
                        self.at += 1;
                        return self.close();
                    }
                    self.key()?;
                }
                b'[' => {
                    self.open(false)?;
                    self.skip_whitespace();
                    if self.peek() == Some(b']') {
                        self.at += 1;
                        return self.close();
                    }
                }
                b'"' => return self.string().map(drop),
                b't' => return self.literal(b"rue"),
                b'f' => return self.literal(b"alse"),
                b'n' => return self.literal(b"ull"),
                b'-' => return self.number_after_sign(),
                b'0'..=b'9' => {
                    self.at -= 1;
                    return self.number_after_sign();
                }
                _ => return self.fail_before(Defect::Syntax),
            }
        }
    }

    fn open(&mut self, is_object: bool) -> Result<(), JsonError> {
        if self.frames.len() >= self.limits.depth_max {
            return self.fail_before(Defect::Depth { max: self.limits.depth_max });
        }
        self.frames.push(Frame { is_object, keys_from: self.keys.len() });
        Ok(())
    }

    /// Closes the innermost frame; its keys must all differ.
    fn close(&mut self) -> Result<(), JsonError> {
        let Some(frame) = self.frames.pop() else {
            return self.fail_before(Defect::Syntax);
        };
        let keys = &mut self.keys[frame.keys_from..];
        let duplicate = find_duplicate(keys).map(shorten);
        self.keys.truncate(frame.keys_from);
        match duplicate {
            Some(key) => self.fail_before(Defect::DuplicateKey { key }),
            None => Ok(()),
        }
    }

    /// Reads `"key" :` and what white space follows.
    fn key(&mut self) -> Result<(), JsonError> {
        if self.next()? != b'"' {
            return self.fail_before(Defect::Syntax);
        }
        self.keys_seen += 1;
        if self.keys_seen > self.limits.keys_max {
            return self.fail(Defect::Keys { max: self.limits.keys_max });
        }
        let start = self.at;
        let has_escapes = self.string()?;
        let text = &self.bytes[start..self.at - 1];
        self.keys.push(if has_escapes { Cow::Owned(unescape(text)) } else { Cow::Borrowed(text) });
        self.skip_whitespace();
        if self.next()? != b':' {
            return self.fail_before(Defect::Syntax);
        }
        self.skip_whitespace();
        Ok(())
    }

    /// Reads the rest of a string behind its opening quote; true if it holds escapes.
    fn string(&mut self) -> Result<bool, JsonError> {
        let mut has_escapes = false;
        loop {
            let rest = &self.bytes[self.at..];
            let end = memchr::memchr2(b'"', b'\\', rest);
            let plain = &rest[..end.unwrap_or(rest.len())];
            if self.has_controls
                && let Some(offset) = plain.iter().position(|byte| is_control(*byte))
            {
                self.at += offset + 1;
                return self.fail_before(Defect::Syntax);
            }
            self.at += plain.len();
            if self.next()? == b'"' {
                return Ok(has_escapes);
            }
            has_escapes = true;
            self.escape()?;
        }
    }

    /// Reads an escape behind its backslash. A surrogate must be a pair.
    fn escape(&mut self) -> Result<(), JsonError> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => match self.hex4()? {
                0xDC00..=0xDFFF => self.fail_before(Defect::Escape),
                0xD800..=0xDBFF => {
                    if self.next()? != b'\\' || self.next()? != b'u' {
                        return self.fail_before(Defect::Escape);
                    }
                    match self.hex4()? {
                        0xDC00..=0xDFFF => Ok(()),
                        _ => self.fail_before(Defect::Escape),
                    }
                }
                _ => Ok(()),
            },
            _ => self.fail_before(Defect::Escape),
        }
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = char::from(self.next()?).to_digit(16);
            let Some(digit) = digit else {
                return self.fail_before(Defect::Escape);
            };
            value = value * 16 + digit;
        }
        Ok(value)
    }

    fn literal(&mut self, rest: &[u8]) -> Result<(), JsonError> {
        if self.bytes[self.at..].starts_with(rest) {
            self.at += rest.len();
            Ok(())
        } else {
            self.fail_before(Defect::Syntax)
        }
    }

    fn number_after_sign(&mut self) -> Result<(), JsonError> {
        match self.next()? {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return self.fail_before(Defect::Syntax),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.next()?.is_ascii_digit() {
            return self.fail_before(Defect::Syntax);
        }
        self.skip_digits();
        Ok(())
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, JsonError> {
        match self.peek() {
            Some(byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => self.fail(Defect::Eof),
        }
    }

    fn fail<T>(&self, defect: Defect) -> Result<T, JsonError> {
        Err(JsonError { defect, offset: self.at })
    }

    /// Fails at the byte that was just read.
    fn fail_before<T>(&self, defect: Defect) -> Result<T, JsonError> {
        Err(JsonError { defect, offset: self.at.saturating_sub(1) })
    }
}

/// The first key that stands twice. Few keys are compared in place, many are sorted.
fn find_duplicate<'k>(keys: &'k mut [Cow<'_, [u8]>]) -> Option<&'k [u8]> {
    const FEW: usize = 12;
    if keys.len() <= FEW {
        return (1..keys.len()).find(|&i| keys[..i].contains(&keys[i])).map(|i| &*keys[i]);
    }
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| &*pair[0])
}

fn shorten(key: &[u8]) -> String {
    String::from_utf8_lossy(key).chars().take(60).flat_map(char::escape_debug).collect()
}

/// The characters that a checked string body stands for, as UTF-8.
pub(super) fn unescape(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(offset) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..offset]);
        let (character, used) = unescape_one(&rest[offset + 1..]);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[offset + 1 + used..];
    }
    out.extend_from_slice(rest);
    out
}

/// The character of the escape that starts behind a backslash, and how long the escape is.
fn unescape_one(rest: &[u8]) -> (char, usize) {
    let unit = |from: usize| {
        rest.get(from..from + 4)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .unwrap_or(0xFFFD)
    };
    match rest.first() {
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'u') => match unit(1) {
            high @ 0xD800..=0xDBFF => {
                let low = unit(7) & 0x3FF;
                let scalar = 0x1_0000 + ((high & 0x3FF) << 10) + low;
                (char::from_u32(scalar).unwrap_or('\u{FFFD}'), 11)
            }
            scalar => (char::from_u32(scalar).unwrap_or('\u{FFFD}'), 5),
        },
        Some(plain) => (char::from(*plain), 1),
        None => ('\u{FFFD}', 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &Result<(), Defect>) {
        let got = scan(text.as_bytes(), Limits::default()).map(drop).map_err(|error| error.defect);
        assert_eq!(&got, expect, "{text:?}");
    }

    #[test]
    fn a_control_character_in_a_string_is_refused_wherever_it_stands() {
        for length in [0, 1, 31, 4095, 4096, 5000] {
            let plain = "x".repeat(length);
            check(&format!("[\"{plain}\\n\",\n1]"), &Ok(()));
            for control in ["\n", "\0", "\u{1f}"] {
                check(&format!("[\"{plain}{control}\"]"), &Err(Defect::Syntax));
                check(&format!("[\"{plain}\\t{control}\"]"), &Err(Defect::Syntax));
            }
        }
    }

    #[test]
    fn valid_json_passes() {
        for text in [
            "{}",
            "[]",
            " null ",
            "true",
            "-0.5e+10",
            "\"\"",
            r#""\ud83d\ude00\n""#,
            "[[],{},[1,2]]",
            r#"{"a":{"b":[{"a":1},{"a":2}]},"b":"x"}"#,
            "0",
            "1E5",
            "[1 , 2]",
            "{\"a\" : 1 }",
        ] {
            check(text, &Ok(()));
        }
    }

    #[test]
    fn broken_json_is_refused() {
        for text in ["{", "[", "\"", "tru", "[1", "{\"a\"", "{\"a\":", "-", "1.", "1e", ""] {
            assert!(scan(text.as_bytes(), Limits::default()).is_err(), "{text:?}");
        }
        for text in ["01", "1 2", "{}x"] {
            check(text, &Err(Defect::Trailing));
        }
        for text in
            ["[1,]", "{,}", "{\"a\":1,}", "nul", "{a:1}", "\"\t\"", "[}", "{]", "+1", ".5", "NaN", "'a'"]
        {
            check(text, &Err(Defect::Syntax));
        }
        for text in [r#""\x""#, r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\u12g4""#] {
            check(text, &Err(Defect::Escape));
        }
    }

    #[test]
    fn duplicate_keys_are_refused_at_every_depth_and_through_escapes() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":[{"b":{"a":1,"a":2}}]}"#,
            r#"{"name":1,"n\u0061me":2}"#,
            r#"{"\ud83d\ude00":1,"😀":2}"#,
        ] {
            let error = scan(text.as_bytes(), Limits::default()).unwrap_err();
            assert!(matches!(error.defect, Defect::DuplicateKey { .. }), "{text}: {error}");
        }
        let many: Vec<String> = (0..100).map(|i| format!("\"k{i}\":0")).collect();
        check(&format!("{{{}}}", many.join(",")), &Ok(()));
        let twice = format!("{{{},\"k7\":1}}", many.join(","));
        check(&twice, &Err(Defect::DuplicateKey { key: "k7".into() }));
    }

    #[test]
    fn keys_that_differ_only_by_case_are_different_keys() {
        check(r#"{"name":1,"Name":2,"NAME":3}"#, &Ok(()));
    }

    #[test]
    fn nesting_of_any_depth_is_refused_without_recursion() {
        let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
        check(&deep, &Ok(()));
        let deeper = "[".repeat(100_000);
        check(&deeper, &Err(Defect::Depth { max: 128 }));
        let objects = "{\"a\":".repeat(100_000);
        check(&objects, &Err(Defect::Depth { max: 128 }));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        let error = scan(b"\"\xff\"", Limits::default()).unwrap_err();
        assert_eq!(error, JsonError { defect: Defect::Utf8, offset: 1 });
    }

    #[test]
    fn the_range_leaves_white_space_out() {
        assert_eq!(scan(b"  [1]\n", Limits::default()), Ok(2..5));
    }

    #[test]
    fn what_passes_is_what_serde_reads() {
        for text in [r#"{"a":"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"}"#, "[1e400]", "\"\u{7f}\""] {
            let accepted = scan(text.as_bytes(), Limits::default()).is_ok();
            assert!(accepted && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok());
        }
        let body = br#"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\tz"#;
        let quoted = format!("\"{}\"", std::str::from_utf8(body).unwrap());
        let expect: String = serde_json::from_str(&quoted).unwrap();
        assert_eq!(unescape(body), expect.as_bytes());
    }
}
