//! Arguments of a call as the record may keep them.
//!
//! What a file is to hold, or held, is not the record's business: those values become their
//! length. Long strings are cut, and what is too long as a whole becomes one string: its start and
//! its size, so that one call can't fill the record. Everything else is kept
//! byte for byte (numbers beyond 2^53 too), because this walks over the JSON text and doesn't
//! decode it. It is a pure function; its input is expected to be checked JSON, and if it isn't,
//! nothing of it is kept.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use memchr::{memchr, memchr2};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::escape::{escaped, is_control};
use crate::limits::{ARGUMENT_STRING_BYTES, ARGUMENTS_BYTES};

/// Members of the arguments whose values are content.
const CONTENT: [&str; 3] = ["content", "old_string", "new_string"];

/// Arguments that are fit for the record: one JSON value on one line, without content.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Redacted {
    json: Box<RawValue>,
    /// How long they were when they came.
    #[serde(skip)]
    original_bytes: usize,
}

impl Redacted {
    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.json.get()
    }

    fn new(json: Box<RawValue>, original_bytes: usize) -> Self {
        Self { json, original_bytes }
    }

    /// The same, or a string with its start and its original size, in this many bytes.
    pub(crate) fn within(&self, bytes_max: usize) -> Cow<'_, Self> {
        if self.as_str().len() <= bytes_max {
            return Cow::Borrowed(self);
        }
        let size = format!("<cut, {} bytes in all>", self.original_bytes);
        // What is such a string already is cut as text, so that it isn't quoted twice.
        let text = serde_json::from_str(self.as_str()).unwrap_or_else(|_| self.as_str().to_owned());
        let kept = quoted_prefix(&text, bytes_max.saturating_sub(size.len() + 2));
        Cow::Owned(Self::new(string(&format!("{kept}{size}")), self.original_bytes))
    }
}

fn string(text: &str) -> Box<RawValue> {
    let json = serde_json::to_string(text).expect("memory takes it");
    RawValue::from_string(escaped(json)).expect("a string is JSON")
}

/// The start of a text that takes no more than this many bytes between quotes.
fn quoted_prefix(text: &str, bytes_max: usize) -> &str {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, character)| {
        bytes += match character {
            '"' | '\\' => 2,
            other if other.is_control() || is_control(*other) => "\\u0000".len(),
            other => other.len_utf8(),
        };
        bytes > bytes_max
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// The arguments (JSON text) as the record may keep them.
pub fn arguments(raw: &str) -> Redacted {
    let mut walk =
        Walk { raw: raw.as_bytes(), at: 0, depth: 0, out: String::with_capacity(raw.len().min(1024)) };
    walk.run();
    let json = RawValue::from_string(escaped(walk.out))
        .unwrap_or_else(|_| string(&format!("<{} bytes, not JSON>", raw.len())));
    let redacted = Redacted::new(json, raw.len());
    match redacted.within(ARGUMENTS_BYTES) {
        Cow::Owned(cut) => cut,
        Cow::Borrowed(_) => redacted,
    }
}

/// Walks over the tokens of one JSON value and writes what is kept, without white space.
struct Walk<'a> {
    raw: &'a [u8],
    at: usize,
    depth: usize,
    out: String,
}

impl Walk<'_> {
    fn run(&mut self) {
        while let Some(byte) = self.raw.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'"' => self.string(),
                _ => self.other(*byte),
            }
        }
    }

    /// A bracket, a comma, a colon, or a character of a number or a word.
    fn other(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        // Anything but ASCII is no JSON here; a character that isn't JSON either stands for it.
        self.out.push(if byte.is_ascii() { char::from(byte) } else { '\u{fffd}' });
        self.at += 1;
    }

    fn string(&mut self) {
        let text = self.take_string();
        let is_key = self.next_is(b':');
        self.push_string(text.clone());
        if is_key && self.depth == 1 && self.is_content(text) {
            self.skip_value();
        }
    }

    /// What stands between the quotes of the string that starts here.
    fn take_string(&mut self) -> Range<usize> {
        let start = self.at + 1;
        let mut end = start;
        while let Some(length) = memchr2(b'"', b'\\', self.raw.get(end..).unwrap_or_default()) {
            end += length;
            if self.raw[end] == b'"' {
                self.at = end + 1;
                return start..end;
            }
            end += 2;
        }
        self.at = self.raw.len();
        start..self.raw.len()
    }

    /// Steps over white space and says whether this byte comes next.
    fn next_is(&mut self, byte: u8) -> bool {
        while self.raw.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.raw.get(self.at) == Some(&byte)
    }

    /// Whether this key means content, however it is escaped.
    fn is_content(&self, key: Range<usize>) -> bool {
        let quoted = &self.raw[key.start - 1..(key.end + 1).min(self.raw.len())];
        serde_json::from_slice::<String>(quoted).is_ok_and(|key| CONTENT.contains(&key.as_str()))
    }

    /// Writes the length of the value that follows, in its place.
    fn skip_value(&mut self) {
        self.at += 1;
        self.next_is(b':');
        let is_string = self.raw.get(self.at) == Some(&b'"');
        let span = if is_string { self.take_string() } else { self.take_value() };
        let chars = count_chars(&self.raw[span]);
        write!(self.out, ":\"<{chars} chars>\"").expect("memory takes it");
    }

    /// The text of a value that is no string: up to the comma or bracket that ends it.
    fn take_value(&mut self) -> Range<usize> {
        let (start, mut depth) = (self.at, 0_usize);
        while let Some(byte) = self.raw.get(self.at) {
            match byte {
                b'"' => {
                    self.take_string();
                    continue;
                }
                b',' | b'}' | b']' if depth == 0 => break,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
        let end = self.at.min(self.raw.len());
        start..end
    }

    /// Writes a string, its end cut off if it is long.
    fn push_string(&mut self, text: Range<usize>) {
        let closing_quote = self.raw.get(text.end);
        let text = &self.raw[text];
        let kept = if text.len() <= ARGUMENT_STRING_BYTES {
            text.len()
        } else {
            units(text)
                .map(|unit| unit.start)
                .take_while(|start| *start <= ARGUMENT_STRING_BYTES)
                .last()
                .unwrap_or(0)
        };
        self.out.push('"');
        self.out.push_str(&String::from_utf8_lossy(&text[..kept]));
        if kept < text.len() {
            let cut = count_chars(&text[kept..]);
            write!(self.out, "<{cut} chars cut>").expect("memory takes it");
        }
        // A string without its end must not become one with an end.
        self.out.extend(closing_quote.map(|quote| char::from(*quote)));
    }
}

/// How many characters this part of a JSON string stands for.
fn count_chars(text: &[u8]) -> usize {
    if memchr(b'\\', text).is_some() {
        return units(text).map(|unit| unit.chars).sum();
    }
    // Without escapes, every byte that doesn't continue a character begins one.
    text.iter().filter(|byte| !matches!(byte, 0x80..=0xbf)).count()
}

/// The smallest part of a JSON string that may not be cut: a character or an escape.
struct Unit {
    start: usize,
    /// One, or none for the second half of a pair of escapes.
    chars: usize,
}

fn units(text: &[u8]) -> impl Iterator<Item = Unit> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let start = at;
        let (length, chars) = match rest {
            [b'\\', b'u', b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..] => (6, 0),
            [b'\\', b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'b' | b'A'..=b'B', _, _, b'\\', b'u', ..] => {
                (12, 1)
            }
            [b'\\', b'u', ..] => (6, 1),
            [b'\\', ..] => (2, 1),
            [first, ..] => (utf8_length(*first), 1),
            [] => return None,
        };
        at += length;
        Some(Unit { start, chars })
    })
}

/// How many bytes a character has that starts with this one.
const fn utf8_length(first: u8) -> usize {
    match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(raw: &str, expected: &str) {
        assert_eq!(arguments(raw).as_str(), expected, "{raw}");
    }

    #[test]
    fn content_becomes_its_length_in_characters() {
        check(r#"{"path":"/a","content":"häß\n"}"#, r#"{"path":"/a","content":"<4 chars>"}"#);
        check(
            r#"{"old_string" : "a" , "new_string":""}"#,
            r#"{"old_string":"<1 chars>","new_string":"<0 chars>"}"#,
        );
        check(r#"{"content":"\ud83d\ude00\\\"\u00e4"}"#, r#"{"content":"<4 chars>"}"#);
        check(r#"{"content":"a\",\"b\":\"c"}"#, r#"{"content":"<9 chars>"}"#);
    }

    #[test]
    fn content_of_any_type_is_left_out_and_what_follows_is_kept() {
        check(r#"{"content":["secret",{"}":1}],"path":"/a"}"#, r#"{"content":"<18 chars>","path":"/a"}"#);
        check(r#"{"content":12,"path":"/a"}"#, r#"{"content":"<2 chars>","path":"/a"}"#);
        check(r#"{"content":null}"#, r#"{"content":"<4 chars>"}"#);
    }

    #[test]
    fn an_escaped_or_repeated_key_hides_nothing() {
        let redacted = arguments(r#"{"con\u0074ent":"secret","content":"secret","content":"secret"}"#);
        assert!(!redacted.as_str().contains("secret"), "{}", redacted.as_str());
    }

    #[test]
    fn the_same_word_deeper_down_or_as_a_value_is_kept() {
        check(
            r#"{"a":{"content":"x"},"b":"content","c":["content","x"]}"#,
            r#"{"a":{"content":"x"},"b":"content","c":["content","x"]}"#,
        );
    }

    #[test]
    fn everything_else_is_kept_but_white_space() {
        check(
            "{ \"n\" :\n 12345678901234567890.10 ,\t\"a\":[ true , null ] }",
            r#"{"n":12345678901234567890.10,"a":[true,null]}"#,
        );
        check(r#"{"s":"a \" b\t"}"#, r#"{"s":"a \" b\t"}"#);
        check("{}", "{}");
    }

    #[test]
    fn a_long_string_is_cut_between_characters_with_a_note() {
        for unit in ["x", "ä", "😀", "\\n", "\\u00e4", "\\ud83d\\ude00"] {
            let raw = format!(r#"{{"command":"y{}"}}"#, unit.repeat(20_000));
            let redacted = arguments(&raw);
            let value: Value = serde_json::from_str(redacted.as_str()).unwrap();
            let text = value["command"].as_str().unwrap();
            let (kept, note) = text.split_once('<').unwrap();
            let cut: usize = note.strip_suffix(" chars cut>").unwrap().parse().unwrap();
            assert_eq!(kept.chars().count() + cut, 20_001, "{unit}");
            assert!(redacted.as_str().len() < ARGUMENT_STRING_BYTES + 64);
        }
    }

    #[test]
    fn many_short_strings_are_cut_as_a_whole() {
        let raw = json!({ "a": vec!["0123456789"; 100_000] }).to_string();
        let redacted = arguments(&raw);
        assert!((ARGUMENTS_BYTES - 8..=ARGUMENTS_BYTES).contains(&redacted.as_str().len()));
        assert!(redacted.as_str().ends_with(&format!("<cut, {} bytes in all>\"", raw.len())));
    }

    #[test]
    fn arguments_are_cut_again_with_their_first_size_and_within_the_bound() {
        for raw in [
            json!({ "a": "x".repeat(5000) }).to_string(),
            json!(vec!["\u{1}ä\\\"\u{85}\u{202e}"; 10_000]).to_string(),
            json!("\u{1}\u{7f}\u{feff}ä\"".repeat(400)).to_string(),
        ] {
            let redacted = arguments(&raw);
            assert!(redacted.as_str().len() <= ARGUMENTS_BYTES, "{raw}");
            let cut = redacted.within(1024);
            assert!((1010..=1024).contains(&cut.as_str().len()), "{}", cut.as_str());
            assert!(cut.as_str().ends_with(&format!("<cut, {} bytes in all>\"", raw.len())));
            assert!(serde_json::from_str::<String>(cut.as_str()).is_ok());
        }
        assert_eq!(arguments("{}").within(1024).as_str(), "{}");
    }

    #[test]
    fn what_is_not_json_is_not_kept() {
        for bad in [
            "",
            "{",
            "secret",
            "{\"a\":\"secret",
            "{\"a\":1}}",
            "{\"a\\",
            "\"",
            "ä",
            "{\"content\":",
            "{\"content\"",
            "{\"a\":\"\n\"}",
            &format!("{{\"a\":\"secret{}", "x,".repeat(10_000)),
        ] {
            check(bad, &format!("\"<{} bytes, not JSON>\"", bad.len()));
        }
    }
    proptest::proptest! {
        #[test]
        fn whatever_comes_in_one_line_of_json_comes_out(raw in r#"[{}\[\]":,\\nudc089äé \n]{0,60}"#) {
            let redacted = arguments(&raw);
            proptest::prop_assert!(serde_json::from_str::<Value>(redacted.as_str()).is_ok());
            proptest::prop_assert!(!redacted.as_str().contains('\n'));
        }

        #[test]
        fn json_keeps_its_meaning_but_for_content(kept in ".{0,40}", secret in ".{0,40}", number: i64) {
            let raw = json!({ "content": secret, "command": kept, "list": [kept, number] });
            for text in [raw.to_string(), serde_json::to_string_pretty(&raw).unwrap()] {
                let redacted: Value = serde_json::from_str(arguments(&text).as_str()).unwrap();
                let mut expected = raw.clone();
                expected["content"] = format!("<{} chars>", secret.chars().count()).into();
                proptest::prop_assert_eq!(&redacted, &expected);
            }
        }
    }
}
