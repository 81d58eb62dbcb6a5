//! Why an upstream gave no answer.

use std::time::Duration;

use super::connect::ConnectError;
use crate::era::Revision;
use crate::error::RpcError;

/// Why an upstream gave no answer. That it answers with an error is an answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The request was not sent, or what came back broke off.
    #[error("the connection to the upstream failed")]
    Connection(#[source] ConnectError),
    /// The stream of the upstream ended: it exited, or hung up.
    #[error("the upstream ended its stream")]
    Ended,
    /// It wants another credential, or none of ours will do.
    #[error("the upstream refused the credential with status {status}")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
        /// What it wants (`WWW-Authenticate`), as it said it.
        challenge: Option<String>,
    },
    /// A status that no message came with.
    #[error("the upstream answered with status {status}")]
    Status {
        /// The status.
        status: u16,
        /// After how many seconds to try again, if it said so.
        retry_after_s: Option<u64>,
    },
    /// It no longer knows the session, and did nothing with the request.
    #[error("the upstream no longer knows the session")]
    SessionGone,
    /// What came back is not the protocol.
    #[error("the upstream broke the protocol: {0}")]
    Protocol(String),
    /// One message is longer than it may be.
    #[error("the upstream sent a message of more than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// There is no revision that both of us speak.
    #[error("the upstream speaks {theirs}, and none of our revisions ({})", ours())]
    Revision {
        /// What it speaks, as it said it.
        theirs: String,
    },
    /// It refused the handshake.
    #[error("the upstream refused the handshake")]
    Handshake(#[source] RpcError),
    /// It didn't answer the handshake in time.
    #[error("the upstream didn't answer `{method}` within {} s", timeout.as_secs())]
    Timeout {
        /// What it was asked.
        method: &'static str,
        /// How long it had.
        timeout: Duration,
    },
}

impl UpstreamError {
    /// Whether the upstream may have done what it was asked.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Connection(error) => error.may_have_arrived,
            Self::Unauthorized { .. } | Self::SessionGone | Self::Revision { .. } | Self::Handshake(_) => {
                false
            }
            // Said of a request that nobody took. Not 503: some proxies say it of one that broke off behind them.
            Self::Status { status, .. } => !matches!(status, 404 | 405 | 413 | 415 | 429),
            Self::Ended | Self::Protocol(_) | Self::TooLong { .. } | Self::Timeout { .. } => true,
        }
    }
}

fn ours() -> String {
    Revision::ALL.map(Revision::as_str).join(", ")
}
