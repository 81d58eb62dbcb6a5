//! Replacing bytes by bytes: pure.

use std::borrow::Cow;

use memchr::memmem;

/// What is replaced by what.
pub(super) struct Replacement<'a> {
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
    pub(super) all: bool,
}

/// Why nothing is replaced.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoReplacement {
    #[error("old_string is empty")]
    Empty,
    #[error("old_string not found in file")]
    NotFound,
    #[error("old_string appears {count} times. Set replace_all=true to replace all occurrences.")]
    Ambiguous { count: usize },
    #[error("the file would have more than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
}

impl Replacement<'_> {
    /// The changed content, and how many occurrences were replaced. Occurrences don't overlap.
    ///
    /// A file with CRLF line ends is shown with bare line feeds, so a text that was copied from there
    /// is looked for once more with CRLF, and its replacement gets CRLF as well.
    pub(super) fn apply(&self, content: &[u8], bytes_max: usize) -> Result<(Vec<u8>, usize), NoReplacement> {
        if self.old.is_empty() {
            return Err(NoReplacement::Empty);
        }
        let (mut old, mut new) = (Cow::Borrowed(self.old), Cow::Borrowed(self.new));
        let mut count = memmem::find_iter(content, &old).count();
        if count == 0 && has_bare_line_feed(&old) && memmem::find(content, b"\r\n").is_some() {
            (old, new) = (with_crlf(&old).into(), with_crlf(&new).into());
            count = memmem::find_iter(content, &old).count();
        }
        match count {
            0 => return Err(NoReplacement::NotFound),
            2.. if !self.all => return Err(NoReplacement::Ambiguous { count }),
            _ => {}
        }
        let length = content.len() - count * old.len() + count * new.len();
        if length > bytes_max {
            return Err(NoReplacement::TooLarge { bytes_max });
        }
        Ok((replace(content, &old, &new, length), count))
    }
}

fn replace(content: &[u8], old: &[u8], new: &[u8], length: usize) -> Vec<u8> {
    let mut changed = Vec::with_capacity(length);
    let mut done = 0;
    for at in memmem::find_iter(content, old) {
        changed.extend_from_slice(&content[done..at]);
        changed.extend_from_slice(new);
        done = at + old.len();
    }
    changed.extend_from_slice(&content[done..]);
    changed
}

fn has_bare_line_feed(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', text).any(|at| at == 0 || text[at - 1] != b'\r')
}

fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    for (at, byte) in text.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || text[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        content: &str,
        (old, new, all): (&str, &str, bool),
        expect: Result<(&str, usize), NoReplacement>,
    ) {
        let replacement = Replacement { old: old.as_bytes(), new: new.as_bytes(), all };
        let got = replacement.apply(content.as_bytes(), 1000);
        let expect = expect.map(|(content, count)| (content.as_bytes().to_vec(), count));
        assert_eq!(got, expect, "{content:?} {old:?}");
    }

    #[test]
    fn one_occurrence_or_all_are_replaced() {
        check("a b c", ("b", "xy", false), Ok(("a xy c", 1)));
        check("a b b", ("b", "", true), Ok(("a  ", 2)));
        check("aaa", ("aa", "b", true), Ok(("ba", 1)));
        check("x", ("x", "x", false), Ok(("x", 1)));
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        check("abc", ("", "x", false), Err(NoReplacement::Empty));
        check("abc", ("z", "x", true), Err(NoReplacement::NotFound));
        check("b b", ("b", "x", false), Err(NoReplacement::Ambiguous { count: 2 }));
        check("b", ("b", &"x".repeat(1001), false), Err(NoReplacement::TooLarge { bytes_max: 1000 }));
    }

    #[test]
    fn line_ends_of_the_file_are_kept() {
        check("a\r\nb\r\n", ("a\nb", "x\ny\nz", false), Ok(("x\r\ny\r\nz\r\n", 1)));
        check("a\r\nb\r\n", ("a\r\nb", "x\ny", false), Ok(("x\ny\r\n", 1)));
        check("a\r\nb\n", ("b\n", "c\n", false), Ok(("a\r\nc\n", 1)));
        check("a\nb\n", ("a\r\nb", "x", false), Err(NoReplacement::NotFound));
    }

    #[test]
    fn other_encodings_pass_untouched() {
        let content = b"\xef\xbb\xbf\xff\xfe caf\xe9 x \0";
        let replacement = Replacement { old: b"x", new: "é".as_bytes(), all: false };
        let (changed, _) = replacement.apply(content, 1000).unwrap();
        assert_eq!(changed, b"\xef\xbb\xbf\xff\xfe caf\xe9 \xc3\xa9 \0");
    }
}
