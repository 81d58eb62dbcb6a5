//! The members of one checked object, in order, as places in its text.

use std::borrow::Cow;
use std::ops::Range;

use super::raw::Raw;
use super::scan::unescape;

/// The members of an object, for reading some and passing the rest on.
///
/// Finding them costs one walk over the text; only a value that is taken out costs a reference count.
#[derive(Clone, Debug)]
pub struct Object {
    raw: Raw,
    members: Vec<Place>,
}

/// Where a member stands.
#[derive(Clone, Debug)]
struct Place {
    /// Without its quotes.
    key: Range<usize>,
    value: Range<usize>,
}

/// One `"key": value` of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    object: &'a Object,
    place: &'a Place,
}

impl Object {
    /// The members of `raw`; none if it is no object.
    pub fn of(raw: &Raw) -> Option<Self> {
        raw.is_object()
            .then(|| Self { members: Reader { text: raw.as_bytes(), at: 1 }.members(), raw: raw.clone() })
    }

    /// An object without members.
    pub fn empty() -> Self {
        Self { raw: Raw::empty_object(), members: Vec::new() }
    }

    /// The value of a member.
    pub fn get(&self, key: &str) -> Option<Raw> {
        self.iter().find(|member| member.is(key)).map(Member::value)
    }

    /// Whether there is such a member.
    pub fn has(&self, key: &str) -> bool {
        self.iter().any(|member| member.is(key))
    }

    /// The value of a member that is a string.
    pub fn get_str(&self, key: &str) -> Option<Cow<'_, str>> {
        self.iter().find(|member| member.is(key)).and_then(Member::text)
    }

    /// The members of a member that is an object.
    pub fn get_object(&self, key: &str) -> Option<Self> {
        self.get(key).as_ref().and_then(Self::of)
    }

    /// Every member, in order.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        self.members.iter().map(|place| Member { object: self, place })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl<'a> Member<'a> {
    fn raw_key(self) -> &'a [u8] {
        &self.object.raw.as_bytes()[self.place.key.clone()]
    }

    /// The key, unescaped.
    pub fn key(self) -> Cow<'a, str> {
        let key = self.raw_key();
        if memchr::memchr(b'\\', key).is_none() {
            String::from_utf8_lossy(key)
        } else {
            Cow::Owned(String::from_utf8_lossy(&unescape(key)).into_owned())
        }
    }

    /// Whether the unescaped key is this one.
    pub fn is(self, key: &str) -> bool {
        let raw = self.raw_key();
        if memchr::memchr(b'\\', raw).is_none() { raw == key.as_bytes() } else { self.key() == key }
    }

    /// The value, unescaped, if it is a string.
    pub fn text(self) -> Option<Cow<'a, str>> {
        text_of(self.value_bytes())
    }

    /// The text of the value.
    pub(super) fn value_bytes(self) -> &'a [u8] {
        &self.object.raw.as_bytes()[self.place.value.clone()]
    }

    /// The value, to the letter.
    pub fn value(self) -> Raw {
        Raw::trusted(self.object.raw.bytes().slice(self.place.value.clone()))
    }
}

/// The first elements of a checked array, at most this many, to the letter; none if it is no array.
pub(super) fn elements_of(raw: &Raw, max: usize) -> Vec<Raw> {
    let text = raw.as_bytes();
    let mut elements = Vec::new();
    if text.first() != Some(&b'[') {
        return elements;
    }
    let mut reader = Reader { text, at: 1 };
    loop {
        reader.skip_to(|b| b != b',' && !b.is_ascii_whitespace());
        if elements.len() == max || reader.byte() == b']' || reader.at >= text.len() {
            return elements;
        }
        let start = reader.at;
        reader.skip_value();
        elements.push(Raw::trusted(raw.bytes().slice(start..reader.at)));
    }
}

/// What a checked JSON string says; borrowed if it has no escapes. None for any other value.
pub(super) fn text_of(json: &[u8]) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice(json).ok().map(Cow::Owned)
}

/// Walks over JSON that is known to be well formed, so it only has to find borders.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn members(&mut self) -> Vec<Place> {
        let mut members = Vec::with_capacity(4);
        loop {
            self.skip_to(|b| matches!(b, b'"' | b'}'));
            if self.byte() != b'"' {
                return members;
            }
            let key_start = self.at + 1;
            self.skip_string();
            let key = key_start..self.at - 1;
            self.skip_to(|b| b == b':');
            self.at += 1;
            self.skip_to(|b| !b.is_ascii_whitespace());
            let start = self.at;
            self.skip_value();
            members.push(Place { key, value: start..self.at });
        }
    }

    fn skip_value(&mut self) {
        match self.byte() {
            b'"' => self.skip_string(),
            b'{' | b'[' => self.skip_container(),
            _ => self.skip_to(|b| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace()),
        }
    }

    fn skip_container(&mut self) {
        let mut depth = 0_usize;
        loop {
            self.skip_to(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']'));
            match self.byte() {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                _ => depth = depth.saturating_sub(1),
            }
            self.at += 1;
            if depth == 0 || self.at >= self.text.len() {
                return;
            }
        }
    }

    /// From an opening quote to behind the closing one: the first that no odd number of backslashes stands before. Escapes are
    /// many where texts have lines; those of quotes are few.
    fn skip_string(&mut self) {
        let start = self.at + 1;
        self.at = start;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(quote) = memchr::memchr(b'"', rest) else {
                self.at = self.text.len() + 1;
                return;
            };
            self.at += quote + 1;
            let before = &self.text[start..self.at - 1];
            let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
            if backslashes % 2 == 0 {
                return;
            }
        }
    }

    fn skip_to(&mut self, found: impl Fn(u8) -> bool) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|b| found(*b)).unwrap_or(rest.len());
    }

    /// The byte at hand; behind the end a closing brace, so that every loop ends.
    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(b'}')
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::Limits;
    use super::*;

    fn object(text: &str) -> Object {
        Object::of(&Raw::parse(text.to_owned(), Limits::default()).unwrap()).unwrap()
    }

    #[test]
    fn members_are_the_slices_between_the_borders() {
        let got = object(r#"{ "a" : 1 ,"b":"x,}\"]", "c":{"d":[1,{"e":"}"}]},"f":[] , "n":null}"#);
        let list: Vec<_> =
            got.iter().map(|m| (m.key().into_owned(), m.value().as_str().to_owned())).collect();
        let expect =
            [("a", "1"), ("b", r#""x,}\"]""#), ("c", r#"{"d":[1,{"e":"}"}]}"#), ("f", "[]"), ("n", "null")];
        assert_eq!(list, expect.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_string_ends_at_the_quote_that_is_not_escaped() {
        let texts = [r"\\", r"\\\\", r#"\""#, r#"\\\""#, r#"\"\""#, r"", r"\n\n", r#"\\n\",\"b\":"#];
        for text in texts {
            let got = object(&format!(r#"{{"{text}":"{text}","b":["{text}",{{"{text}":1}}],"c":2}}"#));
            let values: Vec<_> = got.iter().map(|member| member.value().as_str().to_owned()).collect();
            assert_eq!(
                values,
                [format!("\"{text}\""), format!(r#"["{text}",{{"{text}":1}}]"#), "2".to_owned()]
            );
        }
    }

    #[test]
    fn escaped_keys_are_found_by_what_they_stand_for() {
        let got = object(r#"{"n\u0061me":"x"}"#);
        assert_eq!(got.get_str("name").as_deref(), Some("x"));
        assert!(got.get("n\\u0061me").is_none());
    }

    #[test]
    fn only_objects_have_members() {
        for text in ["[]", "1", "\"{}\"", "null"] {
            assert!(Object::of(&Raw::parse(text.to_owned(), Limits::default()).unwrap()).is_none());
        }
        assert!(object("{}").is_empty());
    }
}
