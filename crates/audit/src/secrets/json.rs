//! Tags in a JSON text, which stays JSON.
//!
//! In a string, a tag stands where the secret stood. A number that is a secret becomes a string. What stands
//! between the strings is kept: a span over several of them puts its tag in each.

use std::ops::Range;

use memchr::memchr2;

use super::span::Span;

/// The JSON text with tags in the place of spans, or nothing if it isn't JSON as far as it is looked at.
pub(super) fn replaced(text: &str, spans: &[Span]) -> Option<String> {
    let mut out = Writer { text, out: String::with_capacity(text.len()), written: 0 };
    let (mut at, mut next) = (0, 0);
    while let Some(token) = token(text.as_bytes(), at) {
        let range = token.range();
        while spans.get(next).is_some_and(|span| span.range.end <= range.start) {
            next += 1;
        }
        let inside = spans[next..].iter().take_while(|span| span.range.start < range.end);
        match token {
            Token::String(_) => inside.for_each(|span| {
                let part = span.range.start.max(range.start)..span.range.end.min(range.end);
                out.replace(part, &span.tag);
            }),
            Token::Scalar(_) => inside.take(1).for_each(|span| {
                out.replace(range.clone(), &quoted(&span.tag));
            }),
            Token::Other => return None,
        }
        at = range.end + usize::from(matches!(token, Token::String(_)));
    }
    Some(out.finish())
}

fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}

struct Writer<'t> {
    text: &'t str,
    out: String,
    written: usize,
}

impl Writer<'_> {
    fn replace(&mut self, range: Range<usize>, by: &str) {
        self.out.push_str(&self.text[self.written..range.start]);
        self.out.push_str(by);
        self.written = range.end;
    }

    fn finish(mut self) -> String {
        self.out.push_str(&self.text[self.written..]);
        self.out
    }
}

/// What can hold a secret.
enum Token {
    /// What stands between two quotes.
    String(Range<usize>),
    /// A number or a word.
    Scalar(Range<usize>),
    /// No JSON.
    Other,
}

impl Token {
    fn range(&self) -> Range<usize> {
        match self {
            Self::String(range) | Self::Scalar(range) => range.clone(),
            Self::Other => 0..0,
        }
    }
}

/// The next token from here on, if there is one.
fn token(text: &[u8], from: usize) -> Option<Token> {
    let is_between =
        |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'{' | b'}' | b'[' | b']');
    let start = from + text[from..].iter().position(|byte| !is_between(byte))?;
    if text[start] == b'"' {
        let end = string_end(text, start + 1);
        return Some(end.map_or(Token::Other, |end| Token::String(start + 1..end)));
    }
    let is_scalar = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let length = text[start..].iter().take_while(is_scalar).count();
    Some(if length > 0 { Token::Scalar(start..start + length) } else { Token::Other })
}

fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, ranges: &[(usize, usize)], expect: Option<&str>) {
        let spans =
            ranges.iter().map(|(start, end)| Span { range: *start..*end, tag: "#".into(), is_held: true });
        assert_eq!(replaced(text, &spans.collect::<Vec<_>>()).as_deref(), expect, "{text}");
    }

    #[test]
    fn a_tag_stands_inside_of_a_string_or_for_a_number() {
        check(r#"{"a":"xsecretx"}"#, &[(7, 13)], Some(r#"{"a":"x#x"}"#));
        check(r#"{"a":"\"s","b":"s"}"#, &[(8, 9), (16, 17)], Some(r##"{"a":"\"#","b":"#"}"##));
        check("[1, 123, null]", &[(5, 7)], Some(r##"[1, "#", null]"##));
        check("[123]", &[(1, 2), (2, 3)], Some(r##"["#"]"##));
        check("", &[], Some(""));
    }

    #[test]
    fn what_stands_between_strings_is_kept() {
        check(r#"{"ab":"cd","e":1}"#, &[(3, 8)], Some(r##"{"a#":"#d","e":1}"##));
    }

    #[test]
    fn what_is_not_json_is_told() {
        check("secret", &[(0, 6)], Some("\"#\""));
        for text in ["(a)", "\"a", "\"a\\", "{'a':1}", "[ä]"] {
            check(text, &[], None);
        }
    }
}
