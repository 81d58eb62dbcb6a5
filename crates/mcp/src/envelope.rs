//! The JSON-RPC envelope: read strictly, its `params` and `result` left as they are.
//!
//! Strict, because what one reader ignores another may obey: no duplicate keys, no unknown
//! members, ids that every language can hold, one message at a time.

use std::borrow::Cow;

use bytes::Bytes;

use crate::error::{INVALID_REQUEST, PARSE_ERROR, RpcError};
use crate::json::{Object, Raw};
use crate::limits::{BATCH_MAX, ID_BYTES_MAX, ID_INTEGER_MAX, JSON, METHOD_BYTES_MAX};

/// A request id, to the letter. Two ids are the same if their JSON is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Raw);

impl RequestId {
    /// Reads an id: a string, or an integer within ±(2^53 - 1). Never `null`, never a fraction.
    pub fn read(raw: &Raw) -> Result<Self, RpcError> {
        let text = raw.as_str();
        let is_valid = match text.as_bytes().first() {
            Some(b'"') => text.len() <= ID_BYTES_MAX + 2,
            _ => text.parse::<i64>().is_ok_and(|id| (-ID_INTEGER_MAX..=ID_INTEGER_MAX).contains(&id)),
        };
        if is_valid {
            // It outlives the message that it came in, which may be large.
            return Ok(Self(raw.detached()));
        }
        Err(RpcError::new(
            INVALID_REQUEST,
            format!(
                "invalid `id`: use a string of at most {ID_BYTES_MAX} bytes or an integer within ±(2^53 - 1)"
            ),
        ))
    }

    /// The id as JSON.
    pub fn as_raw(&self) -> &Raw {
        &self.0
    }
}

/// One message of a peer.
#[derive(Clone, Debug)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Answers a request of ours.
    Response(Response),
}

/// A message that wants an answer.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the answer will carry.
    pub id: RequestId,
    /// What is asked for.
    pub method: String,
    /// The parameters: an object, if there are any.
    pub params: Option<Raw>,
}

/// A message that wants no answer.
#[derive(Clone, Debug)]
pub struct Notification {
    /// What is told.
    pub method: String,
    /// The parameters: an object, if there are any.
    pub params: Option<Raw>,
}

/// The answer to a request of ours.
#[derive(Clone, Debug)]
pub struct Response {
    /// The id of our request.
    pub id: RequestId,
    /// What came of it: the result, or the error object.
    pub result: Result<Raw, Raw>,
}

/// A message that can't be served, with the id to answer under if it had a readable one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Rejected {
    /// The id to answer under; `null` in the answer if there is none.
    pub id: Option<RequestId>,
    /// What to answer.
    #[source]
    pub error: RpcError,
}

/// What came at once.
#[derive(Debug)]
pub enum Incoming {
    /// One message.
    One(Message),
    /// A batch (2025-03-26 only): at least one message, each read for itself.
    Batch(Vec<Result<Message, Rejected>>),
}

impl Incoming {
    /// Reads one message, or a batch where the revision has them.
    pub fn read(bytes: Bytes, has_batches: bool) -> Result<Self, Rejected> {
        let raw = parse(bytes)?;
        if !has_batches || raw.as_bytes().first() != Some(&b'[') {
            return Message::of(&raw).map(Self::One);
        }
        let elements = raw.elements(BATCH_MAX + 1);
        if elements.is_empty() || elements.len() > BATCH_MAX {
            let message = format!("a batch holds 1 to {BATCH_MAX} messages");
            return Err(invalid(None, message));
        }
        Ok(Self::Batch(elements.iter().map(Message::of).collect()))
    }
}

fn parse(bytes: Bytes) -> Result<Raw, Rejected> {
    Raw::parse(bytes, JSON).map_err(|error| Rejected {
        id: None,
        error: RpcError::new(PARSE_ERROR, format!("parse error: {error}")),
    })
}

impl Message {
    /// Reads one message.
    pub fn read(bytes: Bytes) -> Result<Self, Rejected> {
        Self::of(&parse(bytes)?)
    }

    /// Reads one message of a server that we are a client of. Many of them are loose where it does no harm: members
    /// that nobody knows are passed over, and one that is `null` where it may be missing is missing.
    pub fn read_of_server(bytes: Bytes) -> Result<Self, Rejected> {
        let raw = parse(bytes)?;
        let object = Object::of(&raw).ok_or_else(|| invalid(None, not_an_object(&raw)))?;
        let has_error = object.get("error").is_some_and(|error| !error.is_null());
        let is_loose = |key: &str, value: &Raw| match key {
            "jsonrpc" | "id" | "method" => false,
            "params" | "error" => value.is_null(),
            "result" => value.is_null() && has_error,
            _ => true,
        };
        Self::of_members(&object, is_loose)
    }

    fn of(raw: &Raw) -> Result<Self, Rejected> {
        let object = Object::of(raw).ok_or_else(|| invalid(None, not_an_object(raw)))?;
        Self::of_members(&object, |_, _| false)
    }

    fn of_members(object: &Object, is_passed_over: impl Fn(&str, &Raw) -> bool) -> Result<Self, Rejected> {
        let mut fields = Fields::default();
        for member in object.iter() {
            let (key, value) = (member.key(), member.value());
            if !is_passed_over(&key, &value) {
                fields.take(&key, &value)?;
            }
        }
        fields.into_message()
    }
}

fn not_an_object(raw: &Raw) -> &'static str {
    if raw.as_bytes().first() == Some(&b'[') {
        "batches are not supported in this revision: send one message at a time"
    } else {
        "a message must be a JSON object"
    }
}

fn invalid(id: Option<RequestId>, message: impl Into<String>) -> Rejected {
    Rejected { id, error: RpcError::new(INVALID_REQUEST, format!("invalid request: {}", message.into())) }
}

/// The members of an envelope while they are collected.
#[derive(Default)]
struct Fields {
    has_version: bool,
    id: Option<RequestId>,
    method: Option<String>,
    params: Option<Raw>,
    result: Option<Raw>,
    error: Option<Raw>,
}

impl Fields {
    fn take(&mut self, key: &str, value: &Raw) -> Result<(), Rejected> {
        match key {
            "jsonrpc" if value.as_str() == "\"2.0\"" => self.has_version = true,
            "jsonrpc" => return Err(invalid(self.id.clone(), "`jsonrpc` must be \"2.0\"")),
            "id" => self.id = Some(RequestId::read(value).map_err(|error| Rejected { id: None, error })?),
            "method" => self.method = Some(self.read_method(value)?),
            "params" if value.is_object() => self.params = Some(value.clone()),
            "params" => return Err(invalid(self.id.clone(), "`params` must be an object")),
            "result" => self.result = Some(value.clone()),
            "error" => self.error = Some(value.clone()),
            _ => {
                let shown: String = key.chars().take(60).flat_map(char::escape_debug).collect();
                return Err(invalid(self.id.clone(), format!("unknown member `{shown}`")));
            }
        }
        Ok(())
    }

    fn read_method(&self, value: &Raw) -> Result<String, Rejected> {
        value
            .text()
            .filter(|method| !method.is_empty() && method.len() <= METHOD_BYTES_MAX)
            .map(Cow::into_owned)
            .ok_or_else(|| {
                let message = format!("`method` must be a string of 1 to {METHOD_BYTES_MAX} bytes");
                invalid(self.id.clone(), message)
            })
    }

    fn into_message(self) -> Result<Message, Rejected> {
        if !self.has_version {
            return Err(invalid(self.id, "`jsonrpc` is missing: send \"jsonrpc\": \"2.0\""));
        }
        if self.method.is_none() && self.params.is_some() {
            return Err(invalid(self.id, "`params` without `method`"));
        }
        match (self.method, self.id, self.result, self.error) {
            (Some(method), Some(id), None, None) => {
                Ok(Message::Request(Request { id, method, params: self.params }))
            }
            (Some(method), None, None, None) => {
                Ok(Message::Notification(Notification { method, params: self.params }))
            }
            (None, Some(id), Some(result), None) => {
                Ok(Message::Response(Response { id, result: Ok(result) }))
            }
            (None, Some(id), None, Some(error)) => Ok(Message::Response(Response { id, result: Err(error) })),
            (_, id, _, _) => {
                Err(invalid(id, "a message has `method`, or else `id` and one of `result` and `error`"))
            }
        }
    }
}

/// An answer as the pieces that it is spliced of, so that a large result is never copied.
#[derive(Clone, Debug)]
pub struct Frame {
    /// In order; together one JSON object (or the array of a batch) without a line break outside of strings.
    pub pieces: Vec<Bytes>,
}

impl Frame {
    /// The answer to a request.
    pub fn result(id: &RequestId, result: Raw) -> Self {
        Self::spliced(Some(id), b",\"result\":", result)
    }

    /// The refusal of a request; without an id the answer carries `null`.
    pub fn error(id: Option<&RequestId>, error: &RpcError) -> Self {
        Self::spliced(id, b",\"error\":", error.to_raw())
    }

    /// A request of ours.
    pub fn request(id: &RequestId, method: &str, params: &Raw) -> Self {
        let object = crate::json::ObjectWriter::new(params.as_bytes().len() + 120)
            .str("jsonrpc", "2.0")
            .raw("id", id.as_raw())
            .str("method", method)
            .raw("params", params)
            .end();
        Self { pieces: vec![object.into_bytes()] }
    }

    /// A message that wants no answer.
    pub fn notification(method: &str, params: &Raw) -> Self {
        let object = crate::json::ObjectWriter::new(params.as_bytes().len() + 80)
            .str("jsonrpc", "2.0")
            .str("method", method)
            .raw("params", params)
            .end();
        Self { pieces: vec![object.into_bytes()] }
    }

    /// Several frames as one array.
    pub fn batch(frames: Vec<Self>) -> Self {
        let mut pieces = vec![Bytes::from_static(b"[")];
        for (index, frame) in frames.into_iter().enumerate() {
            if index > 0 {
                pieces.push(Bytes::from_static(b","));
            }
            pieces.extend(frame.pieces);
        }
        pieces.push(Bytes::from_static(b"]"));
        Self { pieces }
    }

    fn spliced(id: Option<&RequestId>, key: &[u8], value: Raw) -> Self {
        let id = id.map_or(&b"null"[..], |id| id.as_raw().as_bytes());
        let mut head = Vec::with_capacity(40 + id.len() + value.as_bytes().len().min(SPLICED_MAX));
        head.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        head.extend_from_slice(id);
        head.extend_from_slice(key);
        if value.as_bytes().len() <= SPLICED_MAX {
            head.extend_from_slice(value.as_bytes());
            head.push(b'}');
            return Self { pieces: vec![head.into()] };
        }
        Self { pieces: vec![head.into(), value.into_bytes(), Bytes::from_static(b"}")] }
    }

    /// How many bytes it has.
    pub fn byte_len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// The whole as text, for small frames and tests.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

impl From<&Rejected> for Frame {
    fn from(rejected: &Rejected) -> Self {
        Self::error(rejected.id.as_ref(), &rejected.error)
    }
}

/// Up to this size one copy is cheaper than writing three pieces.
const SPLICED_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Message, Rejected> {
        Message::read(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn of_a_server_what_is_loose_and_does_no_harm_is_taken() {
        let read = |text: &'static str| Message::read_of_server(Bytes::from_static(text.as_bytes()));
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"x":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        ] {
            assert!(matches!(read(text), Ok(Message::Response(Response { result: Ok(_), .. }))), "{text}");
        }
        let refused = read(r#"{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":1}}"#);
        assert!(matches!(refused, Ok(Message::Response(Response { result: Err(_), .. }))));
        let told = read(r#"{"jsonrpc":"2.0","method":"m","params":null}"#);
        assert!(matches!(told, Ok(Message::Notification(Notification { params: None, .. }))));
        for text in [
            r#"{"id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            "[]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_three_kinds_of_messages_are_told_apart() {
        assert!(matches!(read(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), Ok(Message::Request(_))));
        assert!(matches!(
            read(r#"{"jsonrpc":"2.0","method":"x","params":{}}"#),
            Ok(Message::Notification(_))
        ));
        assert!(matches!(read(r#"{"jsonrpc":"2.0","id":"a","result":{}}"#), Ok(Message::Response(_))));
        let Ok(Message::Response(error)) = read(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#) else {
            panic!("no response")
        };
        assert!(error.result.is_err());
    }

    #[test]
    fn a_batch_is_read_where_the_revision_has_them() {
        let read = |text: &str, has| Incoming::read(Bytes::copy_from_slice(text.as_bytes()), has);
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let two = format!("[{ping}, 7 ,{ping}]");
        let Ok(Incoming::Batch(messages)) = read(&two, true) else { panic!("no batch") };
        assert_eq!(messages.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert!(read(&two, false).is_err());
        assert!(matches!(read(ping, true), Ok(Incoming::One(_))));
        let many = vec![ping; BATCH_MAX + 1].join(",");
        for bad in ["[]", "[ ]", &format!("[{many}]"), "[1", "[1,]", "[[]]"] {
            let is_refused = match read(bad, true) {
                Err(_) => true,
                Ok(Incoming::Batch(messages)) => messages.iter().all(Result::is_err),
                Ok(Incoming::One(_)) => false,
            };
            assert!(is_refused, "{bad}");
        }
    }

    #[test]
    fn params_are_kept_to_the_letter() {
        let Ok(Message::Request(request)) =
            read(r#"{"params": {"a" : 1.0e1}, "id":1, "jsonrpc":"2.0","method":"x"}"#)
        else {
            panic!("no request")
        };
        assert_eq!(request.params.unwrap().as_str(), r#"{"a" : 1.0e1}"#);
    }

    #[test]
    fn what_is_no_message_is_rejected_and_says_why() {
        for (text, code, expect) in [
            ("", PARSE_ERROR, "unexpected end"),
            ("{", PARSE_ERROR, "unexpected end"),
            ("[]", INVALID_REQUEST, "batches"),
            ("1", INVALID_REQUEST, "object"),
            ("{}", INVALID_REQUEST, "`jsonrpc` is missing"),
            (r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#, INVALID_REQUEST, "2.0"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, INVALID_REQUEST, "`id`"),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"x"}"#, INVALID_REQUEST, "`id`"),
            (r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"x"}"#, INVALID_REQUEST, "2^53"),
            (r#"{"jsonrpc":"2.0","id":1e400,"method":"x"}"#, INVALID_REQUEST, "`id`"),
            (r#"{"jsonrpc":"2.0","id":-9223372036854775808,"method":"x"}"#, INVALID_REQUEST, "2^53"),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, INVALID_REQUEST, "`method`"),
            (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, INVALID_REQUEST, "`method`"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[]}"#, INVALID_REQUEST, "`params`"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","result":1}"#, INVALID_REQUEST, "a message has"),
            (r#"{"jsonrpc":"2.0","id":1}"#, INVALID_REQUEST, "a message has"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, INVALID_REQUEST, "without `method`"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"x","Method":"y"}"#,
                INVALID_REQUEST,
                "unknown member `Method`",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"a":2}}"#, PARSE_ERROR, "duplicate key"),
        ] {
            let rejected = read(text).unwrap_err();
            assert_eq!(rejected.error.code, code, "{text}");
            assert!(rejected.error.message.contains(expect), "{text}: {}", rejected.error.message);
        }
    }

    #[test]
    fn a_rejection_answers_under_the_id_that_it_could_read() {
        let rejected = read(r#"{"id":7,"jsonrpc":"2.0","method":"x","params":1}"#).unwrap_err();
        let frame = Frame::error(rejected.id.as_ref(), &rejected.error);
        assert!(frame.to_vec().starts_with(br#"{"jsonrpc":"2.0","id":7,"error":{"code":-32600"#));
    }

    #[test]
    fn a_large_result_is_spliced_and_not_copied() {
        let text = format!("\"{}\"", "x".repeat(SPLICED_MAX));
        let result = Raw::of(&text).unwrap();
        let id = RequestId::read(&Raw::of(&1).unwrap()).unwrap();
        let frame = Frame::result(&id, result.clone());
        assert_eq!(frame.pieces[1].as_ptr(), result.as_bytes().as_ptr());
        assert_eq!(frame.byte_len(), frame.to_vec().len());
        assert!(serde_json::from_slice::<serde_json::Value>(&frame.to_vec()).is_ok());
    }
}
