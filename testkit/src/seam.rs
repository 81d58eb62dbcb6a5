//! A toolset at the other end of a byte stream: `Call`, `Progress` and `Outcome` as lines of JSON.
//!
//! What crosses here is what would cross to an executor in another process, so a tool that works
//! through this works there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use hayward_tool::{Call, Cx, Outcome, Progress, ProgressQueue, Toolset};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio_util::sync::CancellationToken;

/// What crosses to the toolset.
#[derive(Serialize, Deserialize)]
enum Request {
    /// Runs a call.
    Run(Box<Call>),
    /// Ends it.
    Cancel,
}

/// What comes back.
#[derive(Serialize, Deserialize)]
enum News {
    /// Meanwhile.
    Progress(Progress),
    /// At the end.
    Outcome(Outcome),
}

/// Serves one call of this toolset on its end of the stream.
pub async fn serve(toolset: Toolset, stream: UnixStream) -> anyhow::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut lines = BufReader::new(input).lines();
    let line = lines.next_line().await?.context("a call")?;
    let Request::Run(call) = serde_json::from_str(&line)? else { bail!("nothing runs yet") };
    let tool = toolset
        .tools
        .iter()
        .find(|tool| tool.descriptor().name.as_str() == &*call.name)
        .context("the tool")?;
    let tool = Arc::clone(tool);
    let (cancel, queue) = (CancellationToken::new(), ProgressQueue::default());
    let cx = Cx::new(Duration::from_millis(call.timeout_ms), cancel.clone()).with_progress(queue.clone());
    let mut running = tool.call(&cx, *call);
    loop {
        let news = tokio::select! {
            biased;
            progress = queue.next() => News::Progress(progress),
            outcome = &mut running => News::Outcome(outcome),
            line = lines.next_line() => {
                // Whoever hangs up cancels, too.
                line.ok();
                cancel.cancel();
                News::Outcome((&mut running).await)
            }
        };
        if matches!(news, News::Outcome(_)) {
            // What was told before the end crosses before it.
            for progress in std::iter::from_fn(|| queue.try_next()) {
                send(&mut output, &News::Progress(progress)).await?;
            }
        }
        send(&mut output, &news).await?;
        if matches!(news, News::Outcome(_)) {
            return Ok(());
        }
    }
}

async fn send<T: Serialize>(output: &mut OwnedWriteHalf, value: &T) -> anyhow::Result<()> {
    let line = serde_json::to_string(value)? + "\n";
    output.write_all(line.as_bytes()).await.context("the other end is gone")
}

/// Runs one call at the other end; with `cancel_at_progress` it is cancelled at the first news of it.
pub async fn call(
    stream: UnixStream,
    call: Call,
    cancel_at_progress: bool,
) -> anyhow::Result<(Outcome, Vec<Progress>)> {
    let (input, mut output) = stream.into_split();
    let mut lines = BufReader::new(input).lines();
    send(&mut output, &Request::Run(Box::new(call))).await?;
    let mut told = Vec::new();
    loop {
        let line = lines.next_line().await?.context("an outcome")?;
        match serde_json::from_str(&line)? {
            News::Outcome(outcome) => return Ok((outcome, told)),
            News::Progress(progress) => {
                told.push(progress);
                if cancel_at_progress {
                    send(&mut output, &Request::Cancel).await?;
                }
            }
        }
    }
}
