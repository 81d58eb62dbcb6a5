//! The members of one checked object, in order, as slices.

use std::borrow::Cow;

use bytes::Bytes;

use super::raw::Raw;
use super::scan::unescape;

/// One `"key": value` of an object.
#[derive(Clone, Debug)]
pub struct Member {
    key: Bytes,
    /// The value, to the letter.
    pub value: Raw,
}

impl Member {
    /// The key, unescaped.
    pub fn key(&self) -> Cow<'_, str> {
        if memchr::memchr(b'\\', &self.key).is_none() {
            String::from_utf8_lossy(&self.key)
        } else {
            Cow::Owned(String::from_utf8_lossy(&unescape(&self.key)).into_owned())
        }
    }

    /// Whether the unescaped key is this one.
    pub fn is(&self, key: &str) -> bool {
        if memchr::memchr(b'\\', &self.key).is_none() {
            &self.key[..] == key.as_bytes()
        } else {
            self.key() == key
        }
    }
}

/// The members of an object, for reading some and passing the rest on.
#[derive(Clone, Debug, Default)]
pub struct Object {
    members: Vec<Member>,
}

impl Object {
    /// The members of `raw`; none if it is no object.
    pub fn of(raw: &Raw) -> Option<Self> {
        raw.is_object().then(|| Self { members: Reader { raw, at: 1 }.members() })
    }

    /// The value of a member.
    pub fn get(&self, key: &str) -> Option<&Raw> {
        self.members.iter().find(|member| member.is(key)).map(|member| &member.value)
    }

    /// The value of a member that is a string.
    pub fn get_str(&self, key: &str) -> Option<String> {
        self.get(key).and_then(|value| value.view().ok())
    }

    /// Every member, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// Walks over JSON that is known to be well formed, so it only has to find borders.
struct Reader<'a> {
    raw: &'a Raw,
    at: usize,
}

impl Reader<'_> {
    fn members(&mut self) -> Vec<Member> {
        let mut members = Vec::new();
        loop {
            self.skip_to(|b| matches!(b, b'"' | b'}'));
            if self.byte() != b'"' {
                return members;
            }
            let key_start = self.at + 1;
            self.skip_string();
            let key = self.raw.bytes().slice(key_start..self.at - 1);
            self.skip_to(|b| b == b':');
            self.at += 1;
            self.skip_to(|b| !b.is_ascii_whitespace());
            let start = self.at;
            self.skip_value();
            let value = Raw::trusted(self.raw.bytes().slice(start..self.at));
            members.push(Member { key, value });
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
            if depth == 0 || self.at >= self.raw.as_bytes().len() {
                return;
            }
        }
    }

    /// From an opening quote to behind the closing one.
    fn skip_string(&mut self) {
        self.at += 1;
        loop {
            let rest = self.raw.as_bytes().get(self.at..).unwrap_or_default();
            self.at += memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            if self.byte() != b'\\' {
                self.at += 1;
                return;
            }
            self.at += 2;
        }
    }

    fn skip_to(&mut self, found: impl Fn(u8) -> bool) {
        let rest = self.raw.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|b| found(*b)).unwrap_or(rest.len());
    }

    /// The byte at hand; behind the end a closing brace, so that every loop ends.
    fn byte(&self) -> u8 {
        self.raw.as_bytes().get(self.at).copied().unwrap_or(b'}')
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
        let list: Vec<_> = got.iter().map(|m| (m.key().into_owned(), m.value.as_str().to_owned())).collect();
        let expect = [
            ("a", "1"),
            ("b", r#""x,}\"]""#),
            ("c", r#"{"d":[1,{"e":"}"}]}"#),
            ("f", "[]"),
            ("n", "null"),
        ];
        assert_eq!(list, expect.map(|(k, v)| (k.to_owned(), v.to_owned())));
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
