//! JSON-RPC errors, and what the newer era adds to them.

use crate::json::{Object, ObjectWriter, Raw};

/// The text is no JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON, and no request.
pub const INVALID_REQUEST: i64 = -32600;
/// No such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters don't fit the method.
pub const INVALID_PARAMS: i64 = -32602;
/// A defect of ours.
pub const INTERNAL_ERROR: i64 = -32603;
/// Legacy: no such resource; the modern era says [`INVALID_PARAMS`] instead.
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// Modern: a header and the body disagree, or a header is missing.
pub const HEADER_MISMATCH: i64 = -32020;
/// Modern: the client lacks a capability that the request needs.
pub const MISSING_CLIENT_CAPABILITY: i64 = -32021;
/// Modern: a protocol version that we don't speak.
pub const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32022;

/// A JSON-RPC error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// The code, one of the constants of this module or an upstream's.
    pub code: i64,
    /// What happened, and what to do.
    pub message: String,
    /// More of it: checked JSON.
    pub data: Option<Raw>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The same error with data.
    #[must_use]
    pub fn with_data(mut self, data: Raw) -> Self {
        self.data = Some(data);
        self
    }

    /// No such method.
    pub fn method_not_found(method: &str) -> Self {
        Self::new(METHOD_NOT_FOUND, format!("method `{method}` is not offered here"))
    }

    /// Parameters that don't fit.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// A request that a batch can't hold.
    pub fn not_in_batch() -> Self {
        Self::new(INVALID_REQUEST, "this can't be part of a batch: send it alone")
    }

    /// Reads an error object of somebody else. What it lacks is made up for: a code of a defect, a message that says so.
    pub fn of(raw: &Raw) -> Self {
        let error = Object::of(raw).unwrap_or_else(Object::empty);
        let code = error.get("code").and_then(|code| code.view().ok()).unwrap_or(INTERNAL_ERROR);
        let message =
            error.get_str("message").map_or_else(|| "an error without a message".to_owned(), Into::into);
        Self { code, message, data: error.get("data") }
    }

    /// The error object.
    pub fn to_raw(&self) -> Raw {
        let object =
            ObjectWriter::new(self.message.len() + 64).int("code", self.code).str("message", &self.message);
        match &self.data {
            Some(data) => object.raw("data", data).end(),
            None => object.end(),
        }
    }
}
