//! Target `stdio`: lines of the input, in whatever pieces it comes, are what splitting the whole gives.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hayward_mcp::cut::Cut;
use hayward_mcp::stdio::{Line, LineReader};

use crate::UNLIMITED;
use crate::pieces::{Arriving, cuts};

/// Limits, two of which inputs of a fuzzer reach.
const LIMITS: [usize; 3] = [3, 20, UNLIMITED];

pub(crate) fn check(input: &[u8]) {
    for max in LIMITS {
        let expect = split(input, max);
        for pieces in cuts(input) {
            assert_eq!(read(pieces, max), expect, "at most {max} bytes");
        }
    }
}

/// Every line of the input. Each wait drops the reading and begins it anew, so that a byte that
/// a cancelled reading loses is missed.
pub(crate) fn read(pieces: Vec<&[u8]>, max: usize) -> Vec<Line> {
    let mut reader = LineReader::new(Arriving::new(pieces), max);
    let mut lines = Vec::new();
    loop {
        match at_once(reader.next()) {
            None => {}
            Some(Ok(Some(line))) => lines.push(line),
            Some(Ok(None)) => return lines,
            Some(Err(error)) => unreachable!("pieces are never refused: {error}"),
        }
    }
}

/// What a future gives without waiting for anything; none if it would wait.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The model: the whole input split at line feeds.
fn split(input: &[u8], max: usize) -> Vec<Line> {
    input.split(|byte| *byte == b'\n').filter_map(|line| line_of(line, max)).collect()
}

fn line_of(line: &[u8], max: usize) -> Option<Line> {
    let content = line.strip_suffix(b"\r").unwrap_or(line);
    if content.len() > max {
        return Some(Line::TooLong(Cut::of(content)));
    }
    let text = line.trim_ascii();
    (!text.is_empty()).then(|| Line::Message(Bytes::copy_from_slice(text)))
}
