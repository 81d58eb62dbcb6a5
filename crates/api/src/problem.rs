//! A failure as HTTP tells it (RFC 9457): the form of every refusal of the control plane.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What kind of failure it is, as a URN: `urn:hayward:error:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: Cow<'static, str>,
    /// The status of the answer.
    pub status: u16,
    /// What happened.
    pub detail: String,
    /// What kind of failure it is, as one word.
    pub code: Cow<'static, str>,
    /// The way out, if there is one to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The id of the request, as the record and the log have it.
    pub instance: String,
    /// What is wrong with which member, if several things are, or one that has a place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What is wrong with a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// The member, as a path, e.g. `env[0].valueFrom.secretRef`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    /// This failure of the request of this id.
    pub fn new(error: &Error, request_id: &str) -> Self {
        Self {
            kind: format!("urn:hayward:error:{}", error.code),
            title: title(error.code).into(),
            status: error.code.http_status(),
            detail: error.message.clone(),
            code: error.code.as_str().into(),
            hint: error.hint.clone(),
            instance: request_id.to_owned(),
            errors: Vec::new(),
        }
    }
}

/// A code in words.
fn title(code: Code) -> &'static str {
    match code {
        Code::Invalid => "The request is not valid",
        Code::Unauthenticated => "Nobody is known by this credential",
        Code::Forbidden => "That is not permitted",
        Code::NotFound => "There is no such thing",
        Code::Conflict => "It was changed, or something stands against it",
        Code::AlreadyExists => "There is one of that name already",
        Code::TooLarge => "The request is too large",
        Code::RateLimited => "Too many requests",
        Code::Unsupported => "That is not served here",
        Code::Unavailable => "Not available for now",
        Code::Timeout => "It took too long",
        Code::UpstreamFailed => "What is behind this server failed",
        Code::Internal => "The server failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_tells_the_code_the_status_and_the_way_out_and_no_detail_of_ours() {
        let error = Error::new(Code::Conflict, "server `ha` was changed")
            .with_hint("read it again")
            .with_detail("row 7");
        let shown = serde_json::to_value(Problem::new(&error, "r-1")).unwrap();
        assert_eq!(shown["type"], "urn:hayward:error:conflict");
        assert_eq!((shown["status"].as_u64(), shown["code"].as_str()), (Some(409), Some("conflict")));
        assert_eq!(
            (shown["hint"].as_str(), shown["instance"].as_str()),
            (Some("read it again"), Some("r-1"))
        );
        assert!(!shown.to_string().contains("row 7"));
        assert_eq!(
            serde_json::from_value::<Problem>(shown.clone()).unwrap().detail,
            "server `ha` was changed"
        );
    }
}
