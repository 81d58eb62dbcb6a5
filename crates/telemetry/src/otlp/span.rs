//! One span as the bytes of OTLP's message for it (opentelemetry/proto/trace/v1/trace.proto), written in one go.
//!
//! A call writes them at its end: one allocation, and nothing left to do but to put them one behind the other. The
//! generated types would take a dozen of them here, and as many again on the thread that pushes. Tests read the bytes with
//! the generated types.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::{encode_length_delimiter, length_delimiter_len};

// Keys of the fields of a span: its number, and how its value is written.
const TRACE_ID: u8 = 1 << 3 | BYTES;
const SPAN_ID: u8 = 2 << 3 | BYTES;
const PARENT_SPAN_ID: u8 = 4 << 3 | BYTES;
const NAME: u8 = 5 << 3 | BYTES;
const KIND: u8 = 6 << 3 | VARINT;
const START: u8 = 7 << 3 | FIXED_64;
const END: u8 = 8 << 3 | FIXED_64;
const ATTRIBUTES: u8 = 9 << 3 | BYTES;
const STATUS: u8 = 15 << 3 | BYTES;
// Of a pair, and of its value.
const PAIR_KEY: u8 = 1 << 3 | BYTES;
const PAIR_VALUE: u8 = 2 << 3 | BYTES;
const TEXT: u8 = 1 << 3 | BYTES;
const NUMBER: u8 = 3 << 3 | VARINT;

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const BYTES: u8 = 2;

/// A span of whoever answers.
const KIND_SERVER: u8 = 2;
/// A status that says error: field 3, code 2.
const STATUS_ERROR: [u8; 2] = [3 << 3 | VARINT, 2];

/// The flags of a span that is told: field 16, a fixed number of 32 bits.
const FLAGS_TOLD: [u8; 6] = [0x85, 0x01, 1, 0, 0, 0];

/// The bytes of an ordinary span.
const USUAL_BYTES: usize = 512;

/// What a span is known by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
}

/// When a span was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) started: SystemTime,
    pub(super) took: Duration,
}

/// A value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attribute<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(u32),
}

/// What is known of a span when it ends.
#[derive(Debug)]
pub struct Ended<'a> {
    /// What was done.
    pub method: &'a str,
    /// What it was done to; together they are its name.
    pub target: Option<&'a str>,
    /// Its attributes.
    pub attributes: &'a [(&'static str, Attribute<'a>)],
    /// Whether it counts as a failure.
    pub is_error: bool,
}

/// The message.
pub(super) fn encode(ids: &Ids, times: Times, ended: &Ended<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL_BYTES);
    bytes(&mut out, TRACE_ID, &ids.trace);
    bytes(&mut out, SPAN_ID, &ids.span);
    if let Some(parent) = &ids.parent {
        bytes(&mut out, PARENT_SPAN_ID, parent);
    }
    let target = ended.target.map_or(0, |target| 1 + target.len());
    length(&mut out, NAME, ended.method.len() + target);
    out.extend_from_slice(ended.method.as_bytes());
    if let Some(target) = ended.target {
        out.push(b' ');
        out.extend_from_slice(target.as_bytes());
    }
    out.extend_from_slice(&[KIND, KIND_SERVER]);
    let start = nanos(times.started.duration_since(UNIX_EPOCH).unwrap_or_default());
    fixed(&mut out, START, start);
    fixed(&mut out, END, start.saturating_add(nanos(times.took)));
    for (key, value) in ended.attributes {
        attribute(&mut out, key, *value);
    }
    out.extend_from_slice(&FLAGS_TOLD);
    if ended.is_error {
        bytes(&mut out, STATUS, &STATUS_ERROR);
    }
    out
}

fn attribute(out: &mut Vec<u8>, key: &str, value: Attribute<'_>) {
    let value_len = match value {
        Attribute::Text(text) => field_len(text.len()),
        Attribute::Number(number) => 1 + length_delimiter_len(size(number)),
    };
    length(out, ATTRIBUTES, field_len(key.len()) + field_len(value_len));
    bytes(out, PAIR_KEY, key.as_bytes());
    length(out, PAIR_VALUE, value_len);
    match value {
        Attribute::Text(text) => bytes(out, TEXT, text.as_bytes()),
        Attribute::Number(number) => length(out, NUMBER, size(number)),
    }
}

/// How long a field with so many bytes is.
fn field_len(len: usize) -> usize {
    1 + length_delimiter_len(len) + len
}

/// Writes a key, and a number as a varint: a length, or a value.
pub(super) fn length(out: &mut Vec<u8>, key: u8, len: usize) {
    // Nearly every one is short, and then it is its own varint.
    if let Ok(short @ ..0x80) = u8::try_from(len) {
        return out.extend_from_slice(&[key, short]);
    }
    out.push(key);
    encode_length_delimiter(len, out).expect("a vector takes any number of bytes");
}

/// Writes a field of bytes.
pub(super) fn bytes(out: &mut Vec<u8>, key: u8, bytes: &[u8]) {
    length(out, key, bytes.len());
    out.extend_from_slice(bytes);
}

fn fixed(out: &mut Vec<u8>, key: u8, number: u64) {
    out.push(key);
    out.extend_from_slice(&number.to_le_bytes());
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::{Span, Status};
    use prost::Message as _;

    use super::*;

    fn pair(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
    }

    #[test]
    fn the_generated_types_read_what_is_written() {
        let long = "x".repeat(1000);
        let attributes =
            [("a", Attribute::Text(&long)), ("b", Attribute::Number(65_535)), ("", Attribute::Text(""))];
        let times = Times { started: UNIX_EPOCH + Duration::from_nanos(7), took: Duration::from_nanos(5) };
        for (parent, target, is_error) in [(Some([3; 8]), Some("read_file"), true), (None, None, false)] {
            let ids = Ids { trace: [1; 16], span: [2; 8], parent };
            let ended = Ended { method: "tools/call", target, attributes: &attributes, is_error };
            let span = Span::decode(&*encode(&ids, times, &ended)).unwrap();
            let expect = Span {
                trace_id: vec![1; 16],
                span_id: vec![2; 8],
                parent_span_id: parent.map(|id| id.to_vec()).unwrap_or_default(),
                name: target.map_or_else(|| "tools/call".to_owned(), |target| format!("tools/call {target}")),
                kind: 2,
                flags: 1,
                start_time_unix_nano: 7,
                end_time_unix_nano: 12,
                attributes: vec![
                    pair("a", Value::StringValue(long.clone())),
                    pair("b", Value::IntValue(65_535)),
                    pair("", Value::StringValue(String::new())),
                ],
                status: is_error.then(|| Status { code: 2, ..Default::default() }),
                ..Default::default()
            };
            assert_eq!(span, expect);
        }
    }
}
