//! Why a request is refused, on its way to being a problem (RFC 9457).

use axum::body::Body;
use axum::response::Response;
use hayward_api::problem::{FieldError, PROBLEM_JSON, Problem};
use hayward_api::{Code, Error};
use hayward_store::StoreError;
use http::{HeaderValue, StatusCode, header};

/// A refusal: an error, and what HTTP says beside it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// The status, where it is another than that of the code.
    status: Option<StatusCode>,
    errors: Vec<FieldError>,
    /// Seconds after which it may be asked again.
    retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Error::new(code, message).into()
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error = self.error.with_hint(hint);
        self
    }

    /// The same under another status, for what HTTP has a status of its own for.
    pub(crate) fn status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    /// The same of this member.
    pub(crate) fn at(self, field: &str) -> Self {
        let status = self.status;
        Self { status, ..Self::from(self.error.at(field)) }
    }

    /// The same, to be asked again in so many seconds.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The answer to the request of this id.
    pub(crate) fn response(self, request_id: &str) -> Response {
        if let Some(detail) = &self.error.detail {
            tracing::error!(code = %self.error.code, detail, request_id, "a request that manages failed");
        }
        let mut problem = Problem { errors: self.errors, ..Problem::new(&self.error, request_id) };
        if let Some(status) = self.status {
            problem.status = status.as_u16();
        }
        let mut response = Response::new(Body::from(serde_json::to_vec(&problem).unwrap_or_default()));
        *response.status_mut() =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if problem.status == 401 {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let errors = error
            .field
            .iter()
            .map(|field| FieldError { field: field.clone(), message: error.message.clone() });
        Self { errors: errors.collect(), error, status: None, retry_after: None }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let is_gone = matches!(error, StoreError::Compacted { .. });
        let refusal = Self::from(Error::from(error));
        if is_gone { refusal.status(StatusCode::GONE) } else { refusal }
    }
}
