//! One request to an upstream, and all that comes of it.

use super::error::UpstreamError;
use super::http::Own;
use super::inbox::Waiting;
use crate::envelope::{Notification, Request};
use crate::json::Raw;

/// Something that comes of a request.
#[derive(Clone, Debug)]
pub enum Step {
    /// How far it is: the parameters of `notifications/progress`, under our token.
    Progress(Raw),
    /// The upstream tells something, on the stream of the request.
    Notification(Notification),
    /// A legacy upstream asks something before it can answer, on the stream of the request. It waits for
    /// [`super::Upstream::answer`].
    Request(Asked),
    /// The end: the result, or the error object.
    Response(Result<Raw, Raw>),
}

/// Something that a legacy upstream asks.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What.
    pub request: Request,
    /// In which of its sessions, whose ids mean something else in every other.
    pub(super) session: u64,
}

/// One request in flight. Dropping it forgets the request, and hangs up if it has a connection of its own.
#[derive(Debug)]
pub struct Exchange {
    id: i64,
    source: Source,
    /// Whether the response, or an error, was given.
    is_over: bool,
}

/// Where its messages come from.
#[derive(Debug)]
pub(super) enum Source {
    /// From a stream that all requests share.
    Shared(Waiting),
    /// From a stream of its own.
    Own(Box<Own>),
    /// It is here already.
    Whole(Option<Step>),
}

impl Exchange {
    pub(super) fn new(id: i64, source: Source) -> Self {
        Self { id, source, is_over: false }
    }

    /// The id of the request, and the token of its progress.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The next thing that comes of it. After the response, and after an error, that it has ended. Cancellation-safe.
    pub async fn next(&mut self) -> Result<Step, UpstreamError> {
        if self.is_over {
            return Err(UpstreamError::Ended);
        }
        let step = match &mut self.source {
            Source::Shared(waiting) => waiting.next().await,
            Source::Own(own) => own.next().await,
            Source::Whole(step) => step.take().ok_or(UpstreamError::Ended),
        };
        self.is_over = matches!(step, Ok(Step::Response(_)) | Err(_));
        step
    }

    /// The response. Whatever else comes is passed over, and what the upstream asks meanwhile stays unanswered.
    pub async fn response(mut self) -> Result<Result<Raw, Raw>, UpstreamError> {
        loop {
            if let Step::Response(response) = self.next().await? {
                return Ok(response);
            }
        }
    }
}
