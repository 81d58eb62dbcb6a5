//! An upstream behind a pair of byte streams, one message a line: the standard input and output of a process.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::Driver;
use super::error::UpstreamError;
use super::events::{Events, queue};
use super::exchange::Source;
use super::inbox::Inbox;
use super::outgoing::Sent;
use crate::envelope::Frame;
use crate::limits::UPSTREAM_QUEUE_MAX;
use crate::stdio::{Line, LineReader, write_lines};

/// The wire to such an upstream.
#[derive(Clone, Debug)]
pub struct Lines {
    inbox: Arc<Inbox>,
    output: mpsc::Sender<Bytes>,
}

impl Lines {
    /// A wire over what the upstream writes and what it reads, whose lines have at most so many bytes. The wire ends when
    /// either of the two does, and when nobody holds it any more.
    pub fn over<R, W>(input: R, output: W, line_bytes_max: usize) -> (Self, Events, Driver)
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (events, heard) = queue();
        let (sender, receiver) = mpsc::channel(UPSTREAM_QUEUE_MAX);
        let inbox = Inbox::new(events);
        let over = Over(Arc::clone(&inbox));
        let reading = read(input, Arc::clone(&inbox), sender.downgrade(), line_bytes_max);
        let writing = write(output, receiver);
        let driver = async move {
            let _over = over;
            let mut reading = std::pin::pin!(reading);
            tokio::select! {
                () = &mut reading => {}
                // One that reads nothing more may have said something before.
                is_gone = writing => if is_gone { reading.await },
            }
        };
        (Self { inbox, output: sender }, heard, Box::pin(driver))
    }

    pub(super) async fn open(&self, sent: Sent) -> Result<Source, UpstreamError> {
        let waiting = self.inbox.open(sent.id, sent.is_alone)?;
        self.tell(sent.body).await?;
        Ok(Source::Shared(waiting))
    }

    /// Waits while the upstream doesn't read what it was sent before.
    pub(super) async fn tell(&self, body: Bytes) -> Result<(), UpstreamError> {
        self.output.send(body).await.map_err(|_| UpstreamError::Ended)
    }
}

/// Ends what is in flight when the driver does, however that ends.
struct Over(Arc<Inbox>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn read<R: AsyncRead + Unpin>(
    input: R,
    inbox: Arc<Inbox>,
    output: mpsc::WeakSender<Bytes>,
    line_bytes_max: usize,
) {
    let mut lines = LineReader::new(input, line_bytes_max);
    // A stream that can't be read is one that is over.
    while let Ok(Some(line)) = lines.next().await {
        match line {
            Line::Message(bytes) => {
                if let Some(frame) = inbox.take(&bytes)
                    && let Some(output) = output.upgrade()
                {
                    // An upstream that asks and doesn't read what it is told gets no answer.
                    drop(output.try_send(frame.to_vec().into()));
                }
            }
            Line::TooLong(cut) => inbox.skip(&cut, line_bytes_max),
        }
    }
}

/// Writes messages as lines, and says whether the upstream takes no more of them.
async fn write<W: AsyncWrite + Unpin>(mut output: W, mut messages: mpsc::Receiver<Bytes>) -> bool {
    let mut waiting = Vec::new();
    // What waits at once is written at once.
    while messages.recv_many(&mut waiting, UPSTREAM_QUEUE_MAX).await > 0 {
        let frames = waiting.drain(..).map(|message| Frame { pieces: vec![message] });
        if write_lines(&mut output, frames).await.is_err() {
            return true;
        }
    }
    false
}
