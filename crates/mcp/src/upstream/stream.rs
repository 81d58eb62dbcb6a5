//! A stream of events that an upstream writes, read as it comes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::connect::Body;
use super::error::UpstreamError;
use crate::cut::Cut;
use crate::sse::{Event, Parser, Received};

/// Events as they come. Dropping it hangs up.
pub(super) struct EventStream {
    body: Box<dyn Body>,
    parser: Parser,
    ready: VecDeque<Received>,
    event_bytes_max: usize,
    /// What is known of the last event that was too long.
    cut: Cut,
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("parser", &self.parser).finish_non_exhaustive()
    }
}

impl EventStream {
    /// The stream of an answer, whose events have at most so many bytes.
    pub(super) fn new(body: Box<dyn Body>, event_bytes_max: usize) -> Self {
        Self {
            body,
            parser: Parser::new(event_bytes_max),
            ready: VecDeque::new(),
            event_bytes_max,
            cut: Cut::default(),
        }
    }

    /// The next event; none at the end. One without data only says where to go on. After one that is too long it
    /// goes on with the next. Cancellation-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, UpstreamError> {
        loop {
            match self.ready.pop_front() {
                Some(Received::Event(event)) => return Ok(Some(event)),
                Some(Received::TooLong(cut)) => {
                    self.cut = cut;
                    return Err(UpstreamError::TooLong { bytes_max: self.event_bytes_max });
                }
                None => {}
            }
            match self.body.chunk().await.map_err(UpstreamError::Connection)? {
                Some(chunk) => self.ready.extend(self.parser.push(&chunk)),
                None => return Ok(None),
            }
        }
    }

    /// What is known of the last event that was too long.
    pub(super) fn cut(&self) -> &Cut {
        &self.cut
    }

    /// Where to go on: behind which event, and after how many milliseconds, as far as that was said.
    pub(super) fn place(&self) -> (Option<Arc<str>>, Option<u64>) {
        (self.parser.last_id().map(Arc::from), self.parser.retry_ms())
    }
}
