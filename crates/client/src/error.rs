//! What goes wrong between a client and its server.

use hayward_api::Code;
use hayward_egress::{ReadError, SendError};
use serde::Deserialize;

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// No request went out.
    #[error("failed to reach {address}")]
    Unreachable {
        /// The server.
        address: String,
        /// What failed.
        #[source]
        source: SendError,
    },
    /// A request went out, and nothing came back.
    #[error("no answer came from {address}")]
    Silent {
        /// The server.
        address: String,
        /// Whether it may have changed something there.
        is_write: bool,
        /// What failed.
        #[source]
        source: SendError,
    },
    /// The answer broke off.
    #[error("failed to read the answer of {address}")]
    Broken {
        /// The server.
        address: String,
        /// Whether something may have changed there.
        is_write: bool,
        /// What failed.
        #[source]
        source: ReadError,
    },
    /// What answered is no server of ours, or one of another kind.
    #[error("{address} answered {status} with what no server of ours would say: {what}")]
    Stranger {
        /// What was asked.
        address: String,
        /// The status of its answer.
        status: u16,
        /// What it said, or what is wrong with it.
        what: String,
    },
    /// The credential is none that can be sent.
    #[error("the token has characters that no token has")]
    Token,
}

/// A refusal, as RFC 9457 has it and with our own members.
#[derive(Clone, Debug, Deserialize, thiserror::Error)]
#[error("{}", self.shown())]
pub struct Problem {
    /// The status of the answer.
    pub status: u16,
    /// What kind of failure it is.
    pub code: Code,
    /// The kind of failure, in words.
    #[serde(default)]
    pub title: String,
    /// What happened.
    #[serde(default)]
    pub detail: Option<String>,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
    /// The id of the request.
    #[serde(default)]
    pub instance: Option<String>,
    /// What is wrong with which members.
    #[serde(default)]
    pub errors: Vec<FieldFault>,
}

/// What is wrong with one member of what was sent.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct FieldFault {
    /// The member, e.g. `servers[0].env[1].name`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    fn shown(&self) -> &str {
        self.detail.as_deref().unwrap_or(&self.title)
    }
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(problem) => problem.code,
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Broken { .. } => Code::Unavailable,
            Self::Stranger { status: 401, .. } => Code::Unauthenticated,
            Self::Stranger { .. } => Code::UpstreamFailed,
            Self::Token => Code::Invalid,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(problem) => problem.hint.clone(),
            Self::Unreachable { .. } => Some(
                "is `hayward serve` running there? `--url` or `HAYWARD_URL` says where; `--ca` names a private authority"
                    .to_owned(),
            ),
            Self::Silent { is_write: true, .. } | Self::Broken { is_write: true, .. } => {
                Some("it may have been done all the same: look before you ask for it again".to_owned())
            }
            Self::Silent { .. } | Self::Broken { .. } => None,
            Self::Stranger { status: 300..=399, .. } => {
                Some("no redirect is followed: give `--url` the address that it leads to".to_owned())
            }
            Self::Stranger { .. } => {
                Some("`--url` has to be the address of a `hayward serve`, without any route".to_owned())
            }
            Self::Token => Some("a token stands alone, on one line".to_owned()),
        }
    }

    /// The members that are wrong.
    pub fn faults(&self) -> &[FieldFault] {
        match self {
            Self::Refused(problem) => &problem.errors,
            _ => &[],
        }
    }
}
