//! A text as it reads: without what a terminal or a line break puts in between, and with its escapes decoded.
//!
//! | in the text | in the view |
//! |---|---|
//! | control sequences of a terminal, CR, LF, backspace | nothing |
//! | escapes of JSON and of most languages (`\n`, `\"`, `\/`, `\u00e4`, `\x1b`) | what they stand for |
//! | `%2F`, `&amp;`, `&#39;` | what they stand for |
//!
//! It decodes one level, whatever the text is: it needn't know, because what is found in a view is looked for
//! in the text, too, and only adds to it. Each byte of it knows where it comes from.

use std::ops::Range;

use memchr::{memchr, memchr3};

use crate::limits::CONTROL_SEQUENCE_BYTES;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;
const BACKSPACE: u8 = 0x08;
/// Bytes of the longest name of a character in HTML, with `&` and `;`.
const ENTITY_BYTES: usize = 10;
/// Parameters of the longest control sequence, which is no string.
const PARAMETER_BYTES: usize = 64;

/// Bytes at which something begins that reads otherwise.
const SPECIAL: [u8; 7] = [b'\n', b'\r', BACKSPACE, ESCAPE, b'\\', b'%', b'&'];
/// Bytes that are looked at together.
const CHUNK: usize = 16;

/// A text as it reads, and where everything in it comes from.
pub(super) struct View {
    bytes: Vec<u8>,
    segments: Vec<Segment>,
    /// Where something begins that may read otherwise with what follows the text; else its length.
    open: usize,
}

/// A stretch of the text that reads as it is, or one thing in it that doesn't.
struct Segment {
    /// Where it begins in the view.
    view: usize,
    /// Where it stands in the text.
    text: Range<usize>,
    is_plain: bool,
}

/// How something at the start of a text reads.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    /// As it is.
    Plain,
    /// As nothing, for so many bytes.
    Nothing(usize),
    /// As this character or byte, for so many bytes.
    Char(usize, char),
    Byte(usize, u8),
    /// It isn't through.
    Open,
}

impl View {
    /// The view of a text, or nothing if it reads as it is.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let (mut bytes, mut segments) = (Vec::new(), Vec::new());
        let open = Decoded::read(text, &mut bytes, &mut segments)?;
        Some(Self { bytes, segments, open })
    }

    /// What it reads.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where something begins that isn't through; the length of the text, if there is nothing.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// What it reads before this offset of the text.
    pub(super) fn before(&self, text_at: usize) -> &[u8] {
        &self.bytes[..self.whole(text_at).1]
    }

    /// The part of the text that reads so.
    pub(super) fn text_range(&self, range: Range<usize>) -> Range<usize> {
        self.text_of(range.start).start..self.text_of(range.end - 1).end
    }

    /// Where in the text this byte comes from, or its end for the end of the view.
    pub(super) fn text_start(&self, at: usize) -> usize {
        if at < self.bytes.len() {
            return self.text_of(at).start;
        }
        self.segments.last().map_or(0, |last| last.text.end)
    }

    /// Where the thing begins in the text that this offset of the text stands in, and where in the view.
    pub(super) fn whole(&self, text_at: usize) -> (usize, usize) {
        let after = self.segments.partition_point(|segment| segment.text.start <= text_at);
        let Some(segment) = self.segments.get(after.wrapping_sub(1)) else { return (0, 0) };
        if segment.is_plain || text_at >= segment.text.end {
            let length = text_at.min(segment.text.end) - segment.text.start;
            return (text_at, if segment.is_plain { segment.view + length } else { self.bytes.len() });
        }
        (segment.text.start, segment.view)
    }

    fn text_of(&self, at: usize) -> Range<usize> {
        let after = self.segments.partition_point(|segment| segment.view <= at);
        let segment = &self.segments[after - 1];
        if segment.is_plain {
            let start = segment.text.start + at - segment.view;
            return start..start + 1;
        }
        segment.text.clone()
    }
}

/// What is told where everything in a view comes from.
trait Origins {
    fn add(&mut self, view: usize, text: Range<usize>, is_plain: bool);
}

/// Nobody asks.
impl Origins for () {
    fn add(&mut self, _: usize, _: Range<usize>, _: bool) {}
}

impl Origins for Vec<Segment> {
    fn add(&mut self, view: usize, text: Range<usize>, is_plain: bool) {
        match self.last_mut() {
            Some(last) if last.is_plain && is_plain => last.text.end = text.end,
            _ if text.is_empty() => {}
            _ => self.push(Segment { view, text, is_plain }),
        }
    }
}

/// A text that is being decoded.
struct Decoded<'o, O> {
    bytes: &'o mut Vec<u8>,
    open: usize,
    origins: &'o mut O,
    finder: Finder,
}

impl<'o, O: Origins> Decoded<'o, O> {
    /// Writes the text as it reads in the place of these bytes, and says up to where that is sure; nothing if it reads
    /// as it is.
    fn read(text: &[u8], bytes: &'o mut Vec<u8>, origins: &'o mut O) -> Option<usize> {
        let finder = Finder::of(text);
        let first = finder.first_read_otherwise(text)?;
        bytes.clear();
        bytes.reserve(text.len());
        let mut decoded = Self { bytes, open: text.len(), origins, finder };
        decoded.push_plain(text, 0..first);
        let mut at = first;
        while at < text.len() {
            at += decoded.push(text, at);
        }
        Some(decoded.open)
    }

    /// Takes what begins here and returns how long it is.
    fn push(&mut self, text: &[u8], at: usize) -> usize {
        let rest = &text[at..];
        let (length, view) = match reading(rest) {
            Reading::Nothing(length) => (length, self.bytes.len()),
            Reading::Char(length, char) => {
                let view = self.bytes.len();
                self.bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                (length, view)
            }
            Reading::Byte(length, byte) => {
                self.bytes.push(byte);
                (length, self.bytes.len() - 1)
            }
            reading @ (Reading::Plain | Reading::Open) => {
                if reading == Reading::Open {
                    self.open = self.open.min(at);
                }
                let length = 1 + self.finder.find(&rest[1..]).unwrap_or(rest.len() - 1);
                self.push_plain(text, at..at + length);
                return length;
            }
        };
        self.origins.add(view, at..at + length, false);
        length
    }

    fn push_plain(&mut self, text: &[u8], range: Range<usize>) {
        let view = self.bytes.len();
        self.bytes.extend_from_slice(&text[range.clone()]);
        self.origins.add(view, range, true);
    }
}

/// What a text reads.
pub(super) fn read(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if read_otherwise(text, &mut bytes) { bytes } else { text.to_vec() }
}

/// Writes what a text reads in the place of these bytes, unless it reads as it is. Cheaper than a [`View`], which knows
/// where it comes from.
pub(super) fn read_otherwise(text: &[u8], bytes: &mut Vec<u8>) -> bool {
    Decoded::read(text, bytes, &mut ()).is_some()
}

/// A text without line breaks and what a terminal puts in between.
pub(super) fn without_controls(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(first) = text.get(at) {
        match reading(&text[at..]) {
            Reading::Nothing(length) if *first != b'\\' && *first != b'%' && *first != b'&' => at += length,
            _ => {
                out.push(*first);
                at += 1;
            }
        }
    }
    out
}

/// Finds where something begins that may read otherwise, in one text.
#[derive(Clone, Copy)]
struct Finder {
    /// Whether anything in it is a control character; in JSON nothing is.
    has_controls: bool,
}

impl Finder {
    fn of(text: &[u8]) -> Self {
        let has_controls = memchr3(b'\n', b'\r', ESCAPE, text).is_some() || memchr(BACKSPACE, text).is_some();
        Self { has_controls }
    }

    /// Where the next one stands in what is left of it.
    fn find(self, rest: &[u8]) -> Option<usize> {
        if !self.has_controls {
            return memchr3(b'\\', b'%', b'&', rest);
        }
        // Without a branch for each byte, so that the compiler compares a whole chunk at once.
        let has_special =
            |chunk: &[u8; CHUNK]| chunk.iter().fold(0, |found, byte| found | u8::from(is_special(*byte))) > 0;
        let (chunks, _) = rest.as_chunks::<CHUNK>();
        let from = chunks.iter().position(has_special).unwrap_or(chunks.len()) * CHUNK;
        rest[from..].iter().position(|byte| IS_SPECIAL[usize::from(*byte)]).map(|at| from + at)
    }

    /// Where the first thing stands that doesn't read as it is, or may not.
    fn first_read_otherwise(self, text: &[u8]) -> Option<usize> {
        let mut at = self.find(text)?;
        while reading(&text[at..]) == Reading::Plain {
            at += 1 + self.find(&text[at + 1..])?;
        }
        Some(at)
    }
}

fn is_special(byte: u8) -> bool {
    SPECIAL.iter().fold(0, |found, special| found | u8::from(byte == *special)) > 0
}

/// The same for one byte after the other.
const IS_SPECIAL: [bool; 256] = {
    let (mut table, mut index) = ([false; 256], 0);
    while index < SPECIAL.len() {
        table[SPECIAL[index] as usize] = true;
        index += 1;
    }
    table
};

/// How the start of this text reads, which isn't empty.
#[inline]
fn reading(text: &[u8]) -> Reading {
    match text[0] {
        b'\n' | b'\r' | BACKSPACE => Reading::Nothing(1),
        ESCAPE => control_sequence(text, 1),
        b'\\' => backslash(text),
        b'%' => percent(text),
        b'&' => entity(text),
        _ => Reading::Plain,
    }
}

/// How a character reads that is written as the first bytes of this text.
fn decoded(text: &[u8], length: usize, char: char) -> Reading {
    match char {
        '\n' | '\r' | '\u{8}' => Reading::Nothing(length),
        '\u{1b}' => control_sequence(text, length),
        _ => Reading::Char(length, char),
    }
}

#[inline]
fn backslash(text: &[u8]) -> Reading {
    let Some(second) = text.get(1) else { return Reading::Open };
    match second {
        b'n' | b'r' | b'b' => Reading::Nothing(2),
        b't' => Reading::Byte(2, b'\t'),
        b'f' => Reading::Byte(2, b'\x0c'),
        b'"' | b'\\' | b'/' | b'\'' => Reading::Byte(2, *second),
        b'u' => unicode(text),
        b'x' => match hex(text, 2..4) {
            Digits::Value(value) => decoded(text, 4, char::from_u32(value).unwrap_or_default()),
            Digits::Open => Reading::Open,
            Digits::None => Reading::Plain,
        },
        _ => Reading::Plain,
    }
}

/// `\u00e4`, or two of them for a character that takes two.
fn unicode(text: &[u8]) -> Reading {
    let first = match hex(text, 2..6) {
        Digits::Value(value) => value,
        Digits::Open => return Reading::Open,
        Digits::None => return Reading::Plain,
    };
    if let Some(char) = char::from_u32(first) {
        return decoded(text, 6, char);
    }
    let second = match text.get(6..8) {
        Some(b"\\u") => hex(text, 8..12),
        None if b"\\u".starts_with(&text[6..]) => Digits::Open,
        _ => Digits::None,
    };
    match second {
        Digits::Value(second @ 0xdc00..=0xdfff) if first < 0xdc00 => {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            char::from_u32(code).map_or(Reading::Plain, |char| Reading::Char(12, char))
        }
        Digits::Open => Reading::Open,
        _ => Reading::Plain,
    }
}

fn percent(text: &[u8]) -> Reading {
    match hex(text, 1..3) {
        Digits::Value(value @ 0..0x80) => decoded(text, 3, char::from_u32(value).unwrap_or_default()),
        Digits::Value(value) => u8::try_from(value).map_or(Reading::Plain, |byte| Reading::Byte(3, byte)),
        Digits::Open => Reading::Open,
        Digits::None => Reading::Plain,
    }
}

/// Hexadecimal digits.
enum Digits {
    Value(u32),
    /// The text ends before they do.
    Open,
    None,
}

fn hex(text: &[u8], range: Range<usize>) -> Digits {
    let digits = text.get(range.start..range.end.min(text.len())).unwrap_or_default();
    let value = digits.iter().try_fold(0, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?));
    match value {
        Some(value) if digits.len() == range.len() => Digits::Value(value),
        Some(_) => Digits::Open,
        None => Digits::None,
    }
}

fn entity(text: &[u8]) -> Reading {
    let window = &text[..text.len().min(ENTITY_BYTES)];
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
    let length = 1 + window[1..].iter().take_while(|byte| is_name(byte)).count();
    match window.get(length) {
        Some(b';') => {
            named(&window[1..length]).map_or(Reading::Plain, |char| decoded(text, length + 1, char))
        }
        None if window.len() < ENTITY_BYTES => Reading::Open,
        _ => Reading::Plain,
    }
}

/// The character of this name, or of this number.
fn named(name: &[u8]) -> Option<char> {
    match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        b"sol" => Some('/'),
        b"equals" => Some('='),
        b"plus" => Some('+'),
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    let code = std::str::from_utf8(digits).ok().and_then(|it| u32::from_str_radix(it, radix).ok())?;
    char::from_u32(code)
}

/// A control sequence whose escape character takes so many bytes of this text.
fn control_sequence(text: &[u8], escape: usize) -> Reading {
    let Some(second) = text.get(escape) else { return Reading::Open };
    match second {
        b'[' => parameters(text, escape + 1),
        b']' | b'P' | b'_' | b'^' | b'X' => control_string(text, escape + 1),
        b'(' | b')' | b'*' | b'+' | b'#' | b'%' => match text.get(escape + 1) {
            Some(b'0'..=b'9' | b'@'..=b'Z') => Reading::Nothing(escape + 2),
            Some(_) => Reading::Nothing(escape),
            None => Reading::Open,
        },
        // A backslash may begin the escape of the next character.
        b'0'..=b'[' | b']'..=b'~' => Reading::Nothing(escape + 1),
        _ => Reading::Nothing(escape),
    }
}

/// Parameters and the letter that ends them; what is none of both ends the sequence, too.
fn parameters(text: &[u8], from: usize) -> Reading {
    let window = &text[from..text.len().min(from + PARAMETER_BYTES)];
    match window.iter().position(|byte| !matches!(byte, 0x20..=0x3f)) {
        Some(end) if matches!(window[end], 0x40..=0x7e) && window[end] != b'\\' => {
            Reading::Nothing(from + end + 1)
        }
        Some(end) => Reading::Nothing(from + end),
        None if window.len() < PARAMETER_BYTES => Reading::Open,
        None => Reading::Nothing(from - 1),
    }
}

/// A title, a link or the like, up to a bell or a string terminator; without one on the line it is none.
fn control_string(text: &[u8], from: usize) -> Reading {
    let window = &text[from..text.len().min(from + CONTROL_SEQUENCE_BYTES)];
    let end = window.iter().position(|byte| matches!(*byte, BELL | ESCAPE | b'\n' | b'"' | b'\\'));
    let Some(end) = end else {
        return if window.len() < CONTROL_SEQUENCE_BYTES {
            Reading::Open
        } else {
            Reading::Nothing(from - 1)
        };
    };
    let rest = &window[end..];
    for terminator in [b"\x07".as_slice(), b"\x1b\\", b"\\u0007", b"\\u001b\\\\", b"\\x07", b"\\x1b\\\\"] {
        if rest.starts_with(terminator) {
            return Reading::Nothing(from + end + terminator.len());
        }
        if window.len() < CONTROL_SEQUENCE_BYTES && terminator.starts_with(rest) {
            return Reading::Open;
        }
    }
    Reading::Nothing(from - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        assert_eq!(String::from_utf8_lossy(&read(text.as_bytes())), expect, "{text:?}");
    }

    #[test]
    fn what_a_terminal_puts_in_between_reads_as_nothing() {
        check("a\r\nb\x08c", "abc");
        check("a\x1b[31mb\x1b[0mc\x1b[?25l", "abc");
        check("a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\x1b]8;;\x1b\\", "abc");
        check("a\x1b(Bb\x1b=c\x1bMd", "abcd");
        check(r"a\u001b[31mb\u001b]0;title\u0007c\u001B]0;t\u001b\\d\x1b[0me", "abcde");
    }

    #[test]
    fn escapes_read_as_what_they_stand_for() {
        check(r#"\"\\\/\u00e4\ud83d\ude00\u0041\x41\t"#, "\"\\/ä😀AA\t");
        check("%41%2f%2F%c3%a4", "A//ä");
        check("&amp;&lt;&#39;&#x27;&#228;&quot;", "&<''ä\"");
    }

    #[test]
    fn what_is_no_escape_reads_as_it_is() {
        for text in ["100% a", "%zz", "a && b", "&nothing;", r"\d\w", r"\ud83d", r"\udc00\udc00", "ä", ""] {
            check(text, text);
        }
        check("\x1b]not a title", "\x1b]not a title");
        check("\x1b]no title\nsecret", "]no titlesecret");
    }

    #[test]
    fn every_byte_knows_where_it_comes_from() {
        let text = b"ab\x1b[1m%41\\u00e4&amp;z";
        let view = View::of(text).unwrap();
        let parts: Vec<_> = (0..view.bytes().len()).map(|at| &text[view.text_range(at..at + 1)]).collect();
        let escape = b"\\u00e4".as_slice();
        assert_eq!(parts, [b"a".as_slice(), b"b", b"%41", escape, escape, b"&amp;", b"z"]);
        assert_eq!(view.text_range(1..3), 1..9);
        assert_eq!(view.text_start(7), text.len());
        for (text_at, whole) in
            [(0, (0, 0)), (2, (2, 2)), (4, (2, 2)), (6, (6, 2)), (10, (9, 3)), (21, (21, 7))]
        {
            assert_eq!(view.whole(text_at), whole, "{text_at}");
        }
    }

    #[test]
    fn what_is_not_through_is_known() {
        for open in
            ["\x1b", "\x1b[1", "\x1b]0;t", "\\", r"\u00", r"\ud83d\u", "%", "%4", "&am", "\x1b]0;\x1b"]
        {
            assert_eq!(View::of(format!("ab{open}").as_bytes()).unwrap().open(), 2, "{open:?}");
        }
        assert_eq!(View::of(b"ab\x1b[1m").unwrap().open(), 6);
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_view_whose_parts_are_in_order(text in r#"[a4\x1b\[\]\\nux0%&;#\r\n"\x07d]{0,60}"#) {
            if let Some(view) = View::of(text.as_bytes()) {
                let starts: Vec<_> = (0..=view.bytes().len()).map(|at| view.text_start(at)).collect();
                proptest::prop_assert!(starts.is_sorted());
                proptest::prop_assert_eq!(*starts.last().unwrap(), text.len());
                for at in 0..=text.len() {
                    let (whole, in_view) = view.whole(at);
                    proptest::prop_assert!(whole <= at && in_view <= view.bytes().len());
                }
            }
        }
    }
}
