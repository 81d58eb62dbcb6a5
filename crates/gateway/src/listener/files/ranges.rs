//! Which bytes: `Range` of a download (RFC 9110, 14.2), `Content-Range` of an upload (14.5).

use std::ops::Range;

use ::http::{HeaderMap, HeaderName, header};
use hayward_tool::{Part, Source, TransferError};

/// What of a file is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The bytes, within the file.
    pub range: Range<u64>,
    /// Whether a part was asked for, which may be all of it.
    pub is_part: bool,
}

impl Wanted {
    /// All of it, unless one range of this very version is asked for. A list of ranges, and what is no range, counts
    /// as none.
    pub fn of(headers: &HeaderMap, source: &Source) -> Result<Self, TransferError> {
        let whole = Self { range: 0..source.bytes, is_part: false };
        let is_same = single(headers, &header::IF_RANGE)
            .map_or_else(|| !headers.contains_key(header::IF_RANGE), |version| version == etag(source));
        let Some(range) = single(headers, &header::RANGE).and_then(parse).filter(|_| is_same) else {
            return Ok(whole);
        };
        let bytes = source.bytes;
        let range = match range {
            Asked::From(first) => first..bytes,
            Asked::Between(first, last) => first..last.saturating_add(1).min(bytes),
            Asked::Last(count) => bytes.saturating_sub(count)..bytes,
        };
        if range.is_empty() {
            return Err(TransferError::RangeNotSatisfiable { bytes });
        }
        Ok(Self { range, is_part: true })
    }

    /// How many they are.
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-SUFFIX`.
fn parse(text: &str) -> Option<Asked> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match range.trim().split_once('-')? {
        ("", last) => number(last).map(Asked::Last),
        (first, "") => number(first).map(Asked::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::Between(first, last))
        }
    }
}

/// The forms of a range.
enum Asked {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// The version of a file, as a header has it.
pub fn etag(source: &Source) -> String {
    format!("\"{}\"", source.version)
}

/// Which part of how much is sent.
pub fn content_range(range: &Range<u64>, bytes: u64) -> String {
    format!("bytes {}-{}/{bytes}", range.start, range.end.saturating_sub(1))
}

/// Which part of an upload comes: the whole of it, if nothing is said.
pub fn part_of(headers: &HeaderMap) -> Result<Part, TransferError> {
    let bad = |what| TransferError::BadLength { what };
    let bytes = if headers.contains_key(header::CONTENT_LENGTH) {
        let length = single(headers, &header::CONTENT_LENGTH).and_then(number);
        Some(length.ok_or_else(|| bad("Content-Length is no number"))?)
    } else {
        None
    };
    if !headers.contains_key(header::CONTENT_RANGE) {
        return Ok(Part { offset: 0, bytes, total: bytes });
    }
    let range = single(headers, &header::CONTENT_RANGE).and_then(parse_content_range);
    let (first, last, total) =
        range.ok_or_else(|| bad("Content-Range must be: bytes FIRST-LAST/TOTAL, all of them known"))?;
    let length = last - first + 1;
    if bytes.is_some_and(|bytes| bytes != length) {
        return Err(bad("Content-Length and Content-Range differ"));
    }
    Ok(Part { offset: first, bytes: Some(length), total: Some(total) })
}

fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (first <= last && last < total).then_some((first, last, total))
}

/// The value of a header that stands once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn wanted(list: &[(&'static str, &str)]) -> Result<(u64, u64, bool), TransferError> {
        let source = Source { bytes: 10, name: "x".into(), version: "v".into() };
        Wanted::of(&headers(list), &source)
            .map(|wanted| (wanted.range.start, wanted.range.end, wanted.is_part))
    }

    #[test]
    fn one_range_is_served_and_what_is_none_is_the_whole() {
        for (range, expect) in [
            ("bytes=0-3", (0, 4, true)),
            ("bytes=4-", (4, 10, true)),
            ("bytes=9-99", (9, 10, true)),
            ("bytes=-3", (7, 10, true)),
            ("bytes=-99", (0, 10, true)),
            ("BYTES=1-1", (1, 2, true)),
            ("bytes=0-1,3-4", (0, 10, false)),
            ("bytes=3-1", (0, 10, false)),
            ("bytes=-", (0, 10, false)),
            ("bytes=x-2", (0, 10, false)),
            ("bytes=+1-2", (0, 10, false)),
            ("lines=0-1", (0, 10, false)),
            ("", (0, 10, false)),
        ] {
            assert_eq!(wanted(&[("range", range)]), Ok(expect), "{range}");
        }
        assert_eq!(wanted(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]), Ok((0, 10, false)));
        for beyond in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
            let error = wanted(&[("range", beyond)]).unwrap_err();
            assert_eq!(error, TransferError::RangeNotSatisfiable { bytes: 10 }, "{beyond}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_the_whole_of_this_one() {
        let range = ("range", "bytes=4-");
        assert_eq!(wanted(&[range, ("if-range", "\"v\"")]), Ok((4, 10, true)));
        for other in ["\"w\"", "v", "W/\"v\"", "Fri, 27 Nov 2026 00:00:00 GMT"] {
            assert_eq!(wanted(&[range, ("if-range", other)]), Ok((0, 10, false)), "{other}");
        }
        assert_eq!(wanted(&[range, ("if-range", "\"v\""), ("if-range", "\"v\"")]), Ok((0, 10, false)));
    }

    #[test]
    fn a_part_of_an_upload_says_where_it_goes_and_agrees_with_itself() {
        let part = |list: &[(&'static str, &str)]| part_of(&headers(list));
        assert_eq!(part(&[]), Ok(Part::default()));
        assert_eq!(part(&[("content-length", "7")]), Ok(Part { offset: 0, bytes: Some(7), total: Some(7) }));
        let middle = Ok(Part { offset: 2, bytes: Some(3), total: Some(9) });
        assert_eq!(part(&[("content-range", "bytes 2-4/9")]), middle);
        assert_eq!(part(&[("content-range", "bytes 2-4/9"), ("content-length", "3")]), middle);
        for bad in [
            &[("content-length", "-1")][..],
            &[("content-length", "x")],
            &[("content-length", "1"), ("content-length", "1")],
            &[("content-range", "bytes 2-4/*")],
            &[("content-range", "bytes */9")],
            &[("content-range", "bytes 4-2/9")],
            &[("content-range", "bytes 2-9/9")],
            &[("content-range", "lines 2-4/9")],
            &[("content-range", "bytes 2-4/9"), ("content-length", "4")],
            &[("content-range", "bytes 18446744073709551615-18446744073709551615/18446744073709551616")],
        ] {
            assert_eq!(part(bad).unwrap_err().code(), "bad_content_length", "{bad:?}");
        }
    }

    #[test]
    fn a_range_is_told_with_both_ends() {
        assert_eq!(content_range(&(4..10), 10), "bytes 4-9/10");
    }
}
