//! `axum-echo`: the least that can answer `tools/call echo`, as a ceiling for servers on this stack.
//!
//! `/mcp` parses the JSON-RPC envelope and echoes; `/bytes` answers with a file's bytes as they
//! are, the ceiling for `tools/list`; `/sessions` keeps sessions; `/v1/…` takes telemetry (OTLP) and drops it.

mod sessions;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use clap::Parser;
use hayward_peers::ready;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpListener;

/// A bare JSON-RPC echo.
#[derive(Parser)]
struct Arguments {
    /// Where to say that it listens.
    #[arg(long)]
    ready_file: PathBuf,
    /// What `/bytes` serves.
    #[arg(long)]
    bytes: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    arguments: Echo<'a>,
}

#[derive(Deserialize)]
struct Echo<'a> {
    message: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
struct Reply<'a, T> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    result: T,
}

#[derive(Serialize)]
struct Content<'a> {
    content: [Text<'a>; 1],
}

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bytes = match &arguments.bytes {
        Some(path) => std::fs::read(path).context("failed to read the bytes to serve")?,
        None => Vec::new(),
    };
    let bytes = Arc::new(Bytes::from(bytes));
    let router = Router::new()
        .route("/mcp", post(|body: Bytes| async move { echo(&body) }))
        .route("/bytes", post(move |_body: Bytes| async move { json(Bytes::clone(&bytes)) }))
        .route("/v1/{signal}", post(|_telemetry: Bytes| async { json("{}") }))
        .merge(sessions::router());
    let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
    ready::announce(&arguments.ready_file, listener.local_addr()?)?;
    // Without TCP_NODELAY the answer waits for a delayed acknowledgement.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await.context("failed to serve")
}

fn echo(body: &[u8]) -> Response {
    let Ok(request) = serde_json::from_slice::<Request<'_>>(body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(id) = request.id else {
        return StatusCode::ACCEPTED.into_response();
    };
    let params = request.params.map_or("{}", RawValue::get);
    match (request.method, serde_json::from_str::<Call<'_>>(params)) {
        ("tools/call", Ok(call)) => {
            let text = Text { r#type: "text", text: &call.arguments.message };
            reply(id, &Content { content: [text] })
        }
        ("initialize", _) => reply(id, &serde_json::json!({"protocolVersion": "2025-06-18"})),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn reply(id: &RawValue, result: &impl Serialize) -> Response {
    let reply = Reply { jsonrpc: "2.0", id, result };
    match serde_json::to_vec(&reply) {
        Ok(bytes) => json(bytes),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn json(bytes: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes.into()).into_response()
}
