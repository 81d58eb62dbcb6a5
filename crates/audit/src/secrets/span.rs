//! What is to go from a text: spans, made whole and put in order.
//!
//! A span never begins or ends inside of a character or of an escape of JSON, so that what is left is as valid
//! as it was. Spans that overlap are one.

use std::ops::Range;

use super::encodings::Edges;

/// Bytes around a span that are looked at to make it whole.
pub(super) const SLACK: usize = 12;

/// Something that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) range: Range<usize>,
    pub(super) tag: Box<str>,
    /// Whether we hold it; if not, it looks like a secret.
    pub(super) is_held: bool,
}

/// The spans in order, those that overlap as one. It has the tag of its first and longest that we hold.
pub(super) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|a, b| a.range.start.cmp(&b.range.start).then(b.range.end.cmp(&a.range.end)));
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut().filter(|last| span.range.start < last.range.end) {
            Some(last) => {
                last.range.end = last.range.end.max(span.range.end);
                if span.is_held && !last.is_held {
                    (last.tag, last.is_held) = (span.tag, true);
                }
            }
            None => merged.push(span),
        }
    }
    merged
}

/// The text with tags in the place of spans.
pub(super) fn replaced(text: &[u8], spans: &[Span]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    for span in spans {
        out.extend_from_slice(&text[at..span.range.start]);
        out.extend_from_slice(span.tag.as_bytes());
        at = span.range.end;
    }
    out.extend_from_slice(&text[at..]);
    out
}

/// This range and what belongs to it: bits of it in base64, the rest of a character, the rest of an escape.
pub(super) fn whole(text: &[u8], range: Range<usize>, edges: Edges) -> Range<usize> {
    let Range { mut start, mut end } = range;
    if edges.before > 0 && start > 0 && is_base64(text[start - 1]) {
        start -= 1;
    }
    if edges.behind > 0 && text.get(end).copied().is_some_and(is_base64) {
        end += 1;
        end += text[end..].iter().take(2).take_while(|byte| **byte == b'=').count();
    }
    start = escape_around(text, start).map_or(start, |escape| escape.start);
    end = escape_around(text, end).map_or(end, |escape| escape.end);
    char_start(text, start)..char_end(text, end)
}

/// Where the character begins that this offset stands in, or that the text breaks off in.
pub(super) fn char_start(text: &[u8], at: usize) -> usize {
    if text.get(at).is_some_and(|byte| !is_continuation(*byte)) {
        return at;
    }
    let first = (at.saturating_sub(3)..at).rev().find(|start| !is_continuation(text[*start]));
    first.filter(|start| start + char_length(text[*start]) > at).unwrap_or(at)
}

fn char_end(text: &[u8], at: usize) -> usize {
    let start = char_start(text, at);
    if start == at { at } else { text.len().min(start + char_length(text[start])) }
}

fn char_length(first: u8) -> usize {
    match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    }
}

const fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// The escape that this offset stands in the middle of: `\"`, `\n`, `\u00e4`.
fn escape_around(text: &[u8], at: usize) -> Option<Range<usize>> {
    let is_start = |start: usize| text[start] == b'\\' && backslashes_before(text, start).is_multiple_of(2);
    let start = (at.saturating_sub(5)..at).rev().find(|start| is_start(*start))?;
    let length = match text.get(start + 1) {
        Some(b'u') => {
            let digits = text[start + 2..].iter().take(4).take_while(|byte| byte.is_ascii_hexdigit());
            2 + digits.count()
        }
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
        _ => 1,
    };
    (at < start + length).then(|| start..(start + length).min(text.len()))
}

fn backslashes_before(text: &[u8], at: usize) -> usize {
    text[..at].iter().rev().take_while(|byte| **byte == b'\\').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(range: Range<usize>, tag: &str, is_held: bool) -> Span {
        Span { range, tag: tag.into(), is_held }
    }

    #[test]
    fn spans_that_overlap_are_one_and_others_are_not() {
        let spans = vec![
            span(8..12, "c", true),
            span(0..3, "a", false),
            span(2..8, "b", true),
            span(2..4, "d", true),
        ];
        assert_eq!(merged(spans), [span(0..8, "b", true), span(8..12, "c", true)]);
        assert_eq!(
            replaced(b"0123456789", &[span(1..3, "[a]", true), span(9..10, "[b]", true)]),
            b"0[a]345678[b]"
        );
    }

    #[test]
    fn a_span_takes_whole_characters_and_escapes() {
        let check = |text: &str, range: Range<usize>, expect: Range<usize>| {
            assert_eq!(whole(text.as_bytes(), range, Edges::default()), expect, "{text}");
        };
        check("xäöx", 2..4, 1..5);
        check(r"x\nsecret\\x", 2..10, 1..11);
        check(r"x\\nsecret", 3..10, 3..10);
        check(r"x\u00e4secret\u00e4x", 5..16, 1..19);
        check(r"secret\", 0..7, 0..7);
        check(r"secret\,", 0..7, 0..7);
        check(r"secret\n", 0..7, 0..8);
        check("secret", 0..6, 0..6);
    }

    #[test]
    fn what_holds_bits_of_a_secret_in_base64_goes_with_it() {
        let both = Edges { before: 1, behind: 1 };
        assert_eq!(whole(b" aSECRETb== ", 2..8, both), 1..11);
        assert_eq!(whole(b" SECRET ", 1..7, both), 1..7);
    }
}
