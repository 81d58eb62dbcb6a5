//! `mcp-echo`: an MCP server of either era that does nothing but echo, over HTTP or standard input and output, as fast as
//! this stack goes: what gateways are measured in front of.
//!
//! `/program` is this program itself, for whoever starts it where nothing but what it is told to fetch can be seen.

use std::io::{self, BufRead, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use clap::Parser;
use hayward_peers::echo::Echo;
use hayward_peers::ready;
use tokio::net::TcpListener;

/// An echo of either era.
#[derive(Parser)]
struct Arguments {
    /// Where to say that it listens; without, it speaks over standard input and output.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// How many tools to list (the first one echoes, the second one returns a mebibyte).
    #[arg(long, default_value_t = 2)]
    tools: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let echo = Echo::new(arguments.tools)?;
    match arguments.ready_file {
        Some(ready) => tokio::runtime::Runtime::new()?.block_on(listen(echo, ready)),
        None => speak(&echo, io::stdin().lock(), io::stdout().lock()),
    }
}

async fn listen(echo: Echo, ready: PathBuf) -> Result<()> {
    let echo = Arc::new(echo);
    let program = Bytes::from(std::fs::read("/proc/self/exe").context("failed to read this program")?);
    let router = Router::new()
        .route("/mcp", post(move |body: Bytes| async move { answer(&echo, &body) }))
        .route("/program", get(move || async move { Bytes::clone(&program) }));
    let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
    ready::announce(&ready, listener.local_addr()?)?;
    // Without TCP_NODELAY the answer waits for a delayed acknowledgement.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await.context("failed to serve")
}

fn answer(echo: &Echo, body: &[u8]) -> Response {
    match echo.answer(body) {
        Ok(Some(answer)) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        Ok(None) => StatusCode::ACCEPTED.into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Answers lines until there are no more. What has come together leaves together.
fn speak(echo: &Echo, input: io::StdinLock<'_>, output: io::StdoutLock<'_>) -> Result<()> {
    let (mut input, mut output) = (io::BufReader::with_capacity(64 * 1024, input), BufWriter::new(output));
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).context("failed to read")? > 0 {
        if let Some(mut answer) = echo.answer(&line)? {
            answer.push(b'\n');
            output.write_all(&answer).context("failed to write")?;
        }
        line.clear();
        if input.buffer().is_empty() {
            output.flush().context("failed to write")?;
        }
    }
    Ok(())
}
