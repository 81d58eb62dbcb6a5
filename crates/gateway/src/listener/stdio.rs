//! One client on a pair of byte streams: standard input and output, or a socket of this machine.

use std::sync::Arc;
use std::time::Duration;

use hayward_api::{Principal, Source};
use hayward_mcp::envelope::Frame;
use hayward_mcp::era::Era;
use hayward_mcp::error::{INVALID_REQUEST, RpcError};
use hayward_mcp::stdio::{Line, LineReader, write_line};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, Parts};
use crate::endpoint::Endpoint;
use crate::limits::{CANCEL_GRACE, END_OF_INPUT_GRACE, STREAM_QUEUE};
use crate::protocol::Protocol;

/// Says which protocol is in force, with the road behind it; asked for every message.
pub type InForce = Arc<dyn Fn() -> Arc<Protocol> + Send + Sync>;

/// What a client on byte streams is served with.
#[derive(Clone)]
pub struct Local {
    /// What each of its messages is served by.
    pub protocol: InForce,
    /// Who the client is.
    pub principal: Arc<Principal>,
    /// Where it came in.
    pub endpoint: Endpoint,
    /// Bytes that one line may have.
    pub line_bytes_max: usize,
    /// Time that running calls get to end at a shutdown before they are cancelled.
    pub drain: Duration,
}

/// Serves one client until its input ends, `shutdown` fires, or its output breaks. What is running then
/// may end by itself for a while, and is cancelled.
///
/// # Errors
/// What reading the input fails with.
pub async fn serve_stdio<R, W>(
    input: R,
    output: W,
    local: Local,
    shutdown: CancellationToken,
) -> std::io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    let client = Client::new(Parts {
        principal: local.principal,
        source: Source::default(),
        endpoint: local.endpoint,
        output: sender,
        eras: &[Era::Legacy, Era::Modern],
    });
    let writer = TaskTracker::new().spawn(write_all(output, receiver, client.gone.clone()));
    let lines = LineReader::new(input, local.line_bytes_max);
    let read = read_all(&client, lines, &local.protocol, &shutdown).await;
    client.quiet.cancel();
    client.calls.close();
    // A script that pipes its requests in still gets the answers that are about to come.
    let grace = if shutdown.is_cancelled() { local.drain } else { END_OF_INPUT_GRACE };
    if timeout(grace, client.calls.wait()).await.is_err() {
        client.running.cancel_all();
    }
    // What a cancelled call still says is passed on; a client that doesn't read is not waited for.
    if timeout(CANCEL_GRACE, client.calls.wait()).await.is_err() {
        client.gone.cancel();
        client.calls.wait().await;
    }
    let gone = client.gone.clone();
    drop(client);
    let abort = writer.abort_handle();
    if timeout(CANCEL_GRACE, writer).await.is_err() {
        gone.cancel();
        abort.abort();
    }
    read
}

/// Writes frames until there are no more; a broken output ends the client.
async fn write_all<W: AsyncWrite + Unpin>(
    mut output: W,
    mut frames: mpsc::Receiver<Frame>,
    gone: CancellationToken,
) {
    while let Some(frame) = frames.recv().await {
        if write_line(&mut output, frame).await.is_err() {
            gone.cancel();
            return;
        }
    }
}

async fn read_all<R: AsyncRead + Unpin>(
    client: &Arc<Client>,
    mut lines: LineReader<R>,
    in_force: &InForce,
    shutdown: &CancellationToken,
) -> std::io::Result<()> {
    loop {
        let line = tokio::select! {
            () = client.gone.cancelled() => return Ok(()),
            () = shutdown.cancelled() => return Ok(()),
            line = lines.next() => line?,
        };
        match line {
            Some(Line::Message(bytes)) => {
                let protocol = in_force();
                let mut reserved = client.reserve(&protocol);
                match reserved.grow(bytes.len()) {
                    Ok(()) => client.take(&protocol, bytes, reserved).await,
                    Err(exhausted) => client.send(Frame::error(None, &exhausted.into())).await,
                }
            }
            Some(Line::TooLong(_)) => {
                let message = "the line is too long; send large files by other means";
                client.send(Frame::error(None, &RpcError::new(INVALID_REQUEST, message))).await;
            }
            None => return Ok(()),
        }
    }
}
