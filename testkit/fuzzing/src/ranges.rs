//! Target `ranges`: which bytes of a file a request asks for, or sends. The input is a line with the size of the file and headers.

use hayward_gateway::listener::ranges::{Wanted, content_range, etag, part_of};
use hayward_tool::{Source, TransferError};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};

use crate::headers::{line, read};

pub(crate) fn check(input: &[u8]) {
    let (size, rest) = line(input);
    let (headers, _) = read(rest);
    let bytes = String::from_utf8_lossy(size).trim().parse().unwrap_or(10);
    check_wanted(&headers, &Source { bytes, name: "x".to_owned(), version: "v".to_owned() });
    check_part(&headers);
}

fn check_wanted(headers: &HeaderMap, source: &Source) {
    let bytes = source.bytes;
    let is_other = headers
        .get_all(IF_RANGE)
        .iter()
        .any(|version| version.as_bytes().trim_ascii() != etag(source).as_bytes());
    match Wanted::of(headers, source) {
        Ok(Wanted { range, is_part: false }) => assert_eq!(range, 0..bytes),
        Ok(wanted) => {
            let range = wanted.range.clone();
            assert!(range.start < range.end && range.end <= bytes, "{range:?} of {bytes}");
            assert_eq!(wanted.bytes(), range.end - range.start);
            assert!(!is_other && headers.get_all(RANGE).iter().count() == 1);
            check_told(&wanted, bytes);
        }
        Err(error) => {
            assert_eq!(error, TransferError::RangeNotSatisfiable { bytes });
            assert!(!is_other && headers.contains_key(RANGE));
        }
    }
}

/// What is told of a part is read as the same part by whoever sends it on.
fn check_told(wanted: &Wanted, bytes: u64) {
    let told = HeaderValue::from_str(&content_range(&wanted.range, bytes)).expect("digits and punctuation");
    let part = part_of(&HeaderMap::from_iter([(CONTENT_RANGE, told)])).expect("a part of an upload");
    assert_eq!(
        (part.offset, part.bytes, part.total),
        (wanted.range.start, Some(wanted.bytes()), Some(bytes))
    );
}

fn check_part(headers: &HeaderMap) {
    let Ok(part) = part_of(headers) else {
        assert!(headers.contains_key(CONTENT_LENGTH) || headers.contains_key(CONTENT_RANGE));
        return;
    };
    let end = part.offset.checked_add(part.bytes.unwrap_or(0)).expect("an end that is a number");
    assert!(part.total.is_none_or(|total| end <= total), "{part:?}");
    if !headers.contains_key(CONTENT_RANGE) {
        assert_eq!((part.offset, part.total), (0, part.bytes));
    }
}
