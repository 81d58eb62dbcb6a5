//! URI templates of resources: which one a URI belongs to, and what its variables are then.
//!
//! Of RFC 6570 this knows what MCP servers use: `{name}`, which stands for text without a `/`, and
//! `{+name}`, which may hold some. Values are never empty, and literals are compared byte by byte.
//! Templates come from upstreams and URIs from clients, so both are bounded, and nothing is tried
//! twice: the work is at most the length of the URI times that of the template.
//!
//! A value is decoded and can hold anything, `/`, `..` and control characters included (`%2F`):
//! whoever makes a path or a query of it has to check it there.

use crate::limits::{TEMPLATE_BYTES_MAX, TEMPLATE_VARIABLES_MAX, URI_BYTES_MAX};

/// A template that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriTemplate {
    text: String,
    /// What stands before the first variable.
    prefix: String,
    parts: Vec<Part>,
}

/// A variable, and the literal behind it. Invariant: only the last literal may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: String,
    takes: Takes,
    literal: String,
}

/// What a variable stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Text without a `/`.
    Segment,
    /// Any text.
    Anything,
}

/// Why a text is no template, or none that is supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriTemplateError {
    /// Longer than the limit.
    #[error("template is longer than {TEMPLATE_BYTES_MAX} bytes")]
    TooLong,
    /// More variables than the limit.
    #[error("template has more than {TEMPLATE_VARIABLES_MAX} variables")]
    TooManyVariables,
    /// A `{` without a `}`.
    #[error("template has a `{{` without a `}}`")]
    Unclosed,
    /// Neither `{name}` nor `{+name}`.
    #[error("expression `{{{expression}}}` is not supported; hint: write `{{name}}` or `{{+name}}`")]
    Expression {
        /// What stands between the braces.
        expression: String,
    },
    /// A character that no URI has.
    #[error("character {character:?} can't stand in a template")]
    Character {
        /// The character.
        character: char,
    },
    /// A `%` that two hexadecimal digits don't follow.
    #[error("template has a `%` without two hexadecimal digits")]
    Percent,
    /// A variable stands twice.
    #[error("variable `{name}` stands twice")]
    Twice {
        /// Its name.
        name: String,
    },
    /// Nothing tells where one variable ends and the next begins.
    #[error("nothing stands between variable `{name}` and the one before")]
    Adjacent {
        /// The name of the second one.
        name: String,
    },
}

impl UriTemplate {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, UriTemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(UriTemplateError::TooLong);
        }
        let mut pieces = text.split('{');
        let prefix = literal(pieces.next().unwrap_or_default())?;
        let mut parts = Vec::new();
        for piece in pieces {
            let part = Part::parse(piece)?;
            check_behind(&parts, &part)?;
            parts.push(part);
        }
        Ok(Self { text: text.to_owned(), prefix, parts })
    }

    /// The template, as it was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| &*part.name)
    }

    /// The variables and their values, percent-decoded, if the URI is one that the template makes.
    /// Where there is more than one way to read it, an earlier variable takes as little as it can.
    pub fn matches(&self, uri: &str) -> Option<Vec<(String, String)>> {
        if uri.len() > URI_BYTES_MAX || !has_whole_triplets(uri) {
            return None;
        }
        let rest = uri.strip_prefix(&self.prefix)?;
        let mut start = 0;
        let mut values = Vec::with_capacity(self.parts.len());
        for (part, ends) in self.parts.iter().zip(self.ends(rest.as_bytes())) {
            let end = ends.get(start).copied().flatten()?;
            values.push((part.name.clone(), decode(rest.get(start..end)?)?));
            start = end + part.literal.len();
        }
        (start == rest.len()).then_some(values)
    }

    /// For each part and each place where its value could start, the nearest end from which on the
    /// rest matches, too. Filled from behind, so that nothing has to be tried and taken back.
    fn ends(&self, rest: &[u8]) -> Vec<Vec<Option<usize>>> {
        let mut rows: Vec<Vec<Option<usize>>> = Vec::with_capacity(self.parts.len());
        for part in self.parts.iter().rev() {
            let next = rows.last();
            let row = part.ends(rest, |behind| match next {
                Some(next) => next.get(behind).is_some_and(Option::is_some),
                None => behind == rest.len(),
            });
            rows.push(row);
        }
        rows.reverse();
        rows
    }
}

impl Part {
    /// Reads `name}literal`.
    fn parse(piece: &str) -> Result<Self, UriTemplateError> {
        let (expression, rest) = piece.split_once('}').ok_or(UriTemplateError::Unclosed)?;
        let (takes, name) = match expression.strip_prefix('+') {
            Some(name) => (Takes::Anything, name),
            None => (Takes::Segment, expression),
        };
        if !is_name(name) {
            return Err(UriTemplateError::Expression { expression: shorten(expression) });
        }
        Ok(Self { name: name.to_owned(), takes, literal: literal(rest)? })
    }

    /// For each place where the value could start, the nearest end behind which the literal stands, and
    /// behind that what `goes_on` knows.
    fn ends(&self, rest: &[u8], goes_on: impl Fn(usize) -> bool) -> Vec<Option<usize>> {
        let mut row = vec![None; rest.len() + 1];
        let mut nearest = None;
        for start in (0..rest.len()).rev() {
            let end = start + 1;
            if self.is_behind(rest, end) && goes_on(end + self.literal.len()) {
                nearest = Some(end);
            }
            if self.takes == Takes::Segment && rest[start] == b'/' {
                nearest = None;
            }
            row[start] = nearest;
        }
        row
    }

    /// Whether the literal stands at `end`, and `end` is not within a `%XX`.
    fn is_behind(&self, rest: &[u8], end: usize) -> bool {
        rest[end..].starts_with(self.literal.as_bytes()) && !rest[end.saturating_sub(2)..end].contains(&b'%')
    }
}

/// Checks what one part demands of those before it.
fn check_behind(before: &[Part], part: &Part) -> Result<(), UriTemplateError> {
    if before.len() >= TEMPLATE_VARIABLES_MAX {
        return Err(UriTemplateError::TooManyVariables);
    }
    if before.iter().any(|it| it.name == part.name) {
        return Err(UriTemplateError::Twice { name: shorten(&part.name) });
    }
    if before.last().is_some_and(|it| it.literal.is_empty()) {
        return Err(UriTemplateError::Adjacent { name: shorten(&part.name) });
    }
    Ok(())
}

/// Names as RFC 6570 has them, and with the `-` that many write.
fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    name.split('.').all(|part| !part.is_empty() && part.bytes().all(is_letter))
}

fn literal(text: &str) -> Result<String, UriTemplateError> {
    let is_bad = |it: &char| it.is_control() || it.is_whitespace() || "\"<>\\^`|}".contains(*it);
    if let Some(character) = text.chars().find(is_bad) {
        return Err(UriTemplateError::Character { character });
    }
    has_whole_triplets(text).then(|| text.to_owned()).ok_or(UriTemplateError::Percent)
}

/// Whether two hexadecimal digits follow every `%`.
fn has_whole_triplets(text: &str) -> bool {
    text.split('%').skip(1).all(|it| {
        let digits = it.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// What text with whole triplets stands for, if that is UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, plain) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(plain.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The start of a text, on one line.
fn shorten(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn template(text: &str) -> UriTemplate {
        UriTemplate::parse(text).unwrap()
    }

    /// Checks what the values are; none for a URI that doesn't match.
    fn check(text: &str, uri: &str, expect: Option<&[&str]>) {
        let values = template(text)
            .matches(uri)
            .map(|values| values.into_iter().map(|(_, value)| value).collect::<Vec<_>>());
        let expect = expect.map(|list| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(values, expect, "{text} {uri}");
    }

    #[test]
    fn variables_have_names_in_order() {
        let names = |text| template(text).variables().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names("db://{table}/{row_id}/{+path}"), ["table", "row_id", "path"]);
        assert_eq!(names("{a.b}-{C9}-{user-id}"), ["a.b", "C9", "user-id"]);
        assert!(names("test://plain").is_empty());
        let values = template("test://template/{id}/data").matches("test://template/123/data");
        assert_eq!(values, Some(vec![("id".to_owned(), "123".to_owned())]));
    }

    #[test]
    fn a_segment_stops_at_a_slash() {
        let text = "test://{id}/data";
        check(text, "test://1/data", Some(&["1"]));
        check(text, "test://a%2Fb/data", Some(&["a/b"]));
        check(text, "test://a:b?c#d@e/data", Some(&["a:b?c#d@e"]));
        for uri in ["test://1/2/data", "test:///data", "test://1/data/", "test://1/dat", "test://1", ""] {
            check(text, uri, None);
        }
        check("test://{id}", "test://a/b", None);
    }

    #[test]
    fn a_plus_takes_slashes() {
        check("file:///{+path}", "file:///a/b/c.txt", Some(&["a/b/c.txt"]));
        check("file:///{+path}", "file:////", Some(&["/"]));
        check("file:///{+path}", "file:///", None);
        check("x:{+a}/end", "x:1/end/2/end", Some(&["1/end/2"]));
    }

    #[test]
    fn a_template_without_variables_matches_itself() {
        check("test://plain", "test://plain", Some(&[]));
        for uri in ["test://plain/", "test://Plain", "test://plai", ""] {
            check("test://plain", uri, None);
        }
        check("", "", Some(&[]));
        check("", "x", None);
    }

    #[test]
    fn an_earlier_variable_takes_as_little_as_it_can() {
        check("x:{a}-{b}", "x:1-2-3", Some(&["1", "2-3"]));
        check("x:{+a}/{+b}", "x:1/2/3", Some(&["1", "2/3"]));
        check("x:{a}--{b}", "x:1---2", Some(&["1", "-2"]));
        check("x:{a}-{b}", "x:--", None);
        check("x:{a}-{b}", "x:---", Some(&["-", "-"]));
    }

    #[test]
    fn an_earlier_variable_takes_more_if_the_rest_needs_it() {
        check("file:///{+dir}/{name}", "file:///a/b/c", Some(&["a/b", "c"]));
        check("x:{+a}-{b}-{+c}", "x:1-2/3-4-5", Some(&["1-2/3", "4", "5"]));
        check("x:{a}-{b}-", "x:1-2-3-", Some(&["1", "2-3"]));
    }

    #[test]
    fn values_are_decoded() {
        check("x:{a}", "x:%C3%A4%20b%25", Some(&["ä b%"]));
        check("x:{a}", "x:ä", Some(&["ä"]));
        check("x:{+a}", "x:a%2fb/c", Some(&["a/b/c"]));
        check("x:{a}", "x:%00%0A", Some(&["\0\n"]));
        for uri in ["x:%", "x:%4", "x:%zz", "x:%+1", "x:%%41", "x:1%ä", "x:%FF", "x:%C3", "x:%ED%A0%80"] {
            check("x:{a}", uri, None);
        }
    }

    #[test]
    fn no_value_ends_within_an_encoded_byte() {
        check("x:{a}2{b}", "x:1%2Fb2c", Some(&["1/b", "c"]));
        check("x:{a}F{b}", "x:1%2Fb", None);
        check("x:{a}%20{b}", "x:1%202", Some(&["1", "2"]));
    }

    #[test]
    fn literals_are_compared_byte_by_byte() {
        check("x:ä/{a}", "x:ä/1", Some(&["1"]));
        check("x:ä/{a}", "x:%C3%A4/1", None);
        check("x:{a}%2Fz", "x:1%2Fz", Some(&["1"]));
        check("x:{a}%2Fz", "x:1%2fz", None);
    }

    #[test]
    fn other_expressions_are_refused() {
        for expression in [
            "", "+", "?q", "&q", "#q", "/q", ".q", ";q", "a,b", "+a,b", "a*", "a:3", "++a", "=a", "!a",
            "a b", "a.", "a..b", "ä", "%41", "a%",
        ] {
            let error = UriTemplate::parse(&format!("x:{{{expression}}}")).unwrap_err();
            assert_eq!(error, UriTemplateError::Expression { expression: expression.into() });
        }
        let error = UriTemplate::parse("x:{?q}").unwrap_err().to_string();
        assert_eq!(error, "expression `{?q}` is not supported; hint: write `{name}` or `{+name}`");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        use UriTemplateError::{Adjacent, Character, Percent, Twice, Unclosed};
        for (text, expect) in [
            ("x:{", Unclosed),
            ("x:{a", Unclosed),
            ("x:{a{b}", Unclosed),
            ("x:{{a}}", Unclosed),
            ("x:}", Character { character: '}' }),
            ("x:{a}}", Character { character: '}' }),
            ("x: {a}", Character { character: ' ' }),
            ("x:{a}\n", Character { character: '\n' }),
            ("x:\0", Character { character: '\0' }),
            ("x:<{a}>", Character { character: '<' }),
            ("x:%4{a}", Percent),
            ("x:{a}%zz", Percent),
            ("x:{a}/{a}", Twice { name: "a".into() }),
            ("x:{a}/{+a}", Twice { name: "a".into() }),
            ("x:{a}{b}", Adjacent { name: "b".into() }),
            ("x:{a}/{b}{+c}", Adjacent { name: "c".into() }),
        ] {
            assert_eq!(UriTemplate::parse(text), Err(expect), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let longest = "x".repeat(TEMPLATE_BYTES_MAX);
        assert!(UriTemplate::parse(&longest).is_ok());
        assert_eq!(UriTemplate::parse(&format!("{longest}x")), Err(UriTemplateError::TooLong));
        let many = |count: usize| (0..count).map(|i| format!("{{v{i}}}/")).collect::<Vec<_>>().concat();
        assert!(UriTemplate::parse(&many(TEMPLATE_VARIABLES_MAX)).is_ok());
        let more = UriTemplate::parse(&many(TEMPLATE_VARIABLES_MAX + 1));
        assert_eq!(more, Err(UriTemplateError::TooManyVariables));
        let uri = |length: usize| format!("x:{}", "a".repeat(length - 2));
        assert!(template("x:{a}").matches(&uri(URI_BYTES_MAX)).is_some());
        assert!(template("x:{a}").matches(&uri(URI_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn the_worst_template_costs_little() {
        let part = |i| format!("{{+v{i}}}{}", "a".repeat(100));
        let parts = (0..TEMPLATE_VARIABLES_MAX).map(part).collect::<Vec<_>>().concat();
        let template = template(&parts);
        let uri = "a".repeat(URI_BYTES_MAX);
        assert!(template.matches(&uri).is_some());
        assert!(template.matches(&format!("{}b", &uri[1..])).is_none());
    }

    /// Every way to read a URI, tried one after the other.
    fn can_match(parts: &[Part], rest: &str) -> bool {
        let Some((part, parts)) = parts.split_first() else {
            return rest.is_empty();
        };
        (1..=rest.len()).any(|end| {
            let (value, behind) = rest.split_at(end);
            (part.takes == Takes::Anything || !value.contains('/'))
                && behind.strip_prefix(&*part.literal).is_some_and(|rest| can_match(parts, rest))
        })
    }

    /// The URI that a template makes of values.
    fn expand(template: &UriTemplate, values: &[String]) -> String {
        let mut uri = template.prefix.clone();
        for (part, value) in template.parts.iter().zip(values) {
            for byte in value.bytes() {
                let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                let is_kept = part.takes == Takes::Anything && b":/?#[]@!$&'()*+,;=".contains(&byte);
                if is_plain || is_kept {
                    uri.push(char::from(byte));
                } else {
                    write!(uri, "%{byte:02X}").unwrap();
                }
            }
            uri.push_str(&part.literal);
        }
        uri
    }

    const PATTERN: &str =
        r"[ab/]{0,2}(\{a\}|\{\+a\})[ab/-]{1,2}(\{b\}|\{\+b\})[ab/-]{1,2}(\{c\}|\{\+c\})[ab/-]{0,2}";

    proptest! {
        #[test]
        fn no_text_makes_parsing_or_matching_panic(text in any::<String>(), uri in any::<String>()) {
            if let Ok(template) = UriTemplate::parse(&text) {
                template.matches(&uri);
            }
            template("x{a}%20{+b}ä{c}").matches(&format!("x{uri}%20{text}ä{uri}"));
        }

        #[test]
        fn what_a_template_makes_it_matches_and_makes_again(
            text in PATTERN,
            values in prop::collection::vec(".{1,4}|[ab/-]{1,4}", 3),
        ) {
            let template = template(&text);
            let uri = expand(&template, &values);
            let found = template.matches(&uri).unwrap();
            let found: Vec<String> = found.into_iter().map(|(_, value)| value).collect();
            // A `/` that `{+name}` holds may have been written either way.
            prop_assert_eq!(decode(&expand(&template, &found)), decode(&uri));
        }

        #[test]
        fn a_uri_matches_exactly_if_there_is_a_way_to_read_it(text in PATTERN, uri in "[ab/-]{0,12}") {
            let template = template(&text);
            let expect = uri.strip_prefix(&template.prefix).is_some_and(|rest| can_match(&template.parts, rest));
            let found = template.matches(&uri);
            prop_assert_eq!(found.is_some(), expect);
            for ((_, value), part) in found.iter().flatten().zip(&template.parts) {
                prop_assert!(!value.is_empty());
                prop_assert!(part.takes == Takes::Anything || !value.contains('/'));
            }
        }
    }
}
