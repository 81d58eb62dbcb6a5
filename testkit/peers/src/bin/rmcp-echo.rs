//! `rmcp-echo`: an echo server on the official Rust SDK, for comparison.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::serve::ListenerExt;
use clap::Parser;
use hayward_peers::ready;
use hayward_peers::wire::Media;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// An echo on rmcp.
#[derive(Parser)]
struct Arguments {
    /// Where to say that it listens.
    #[arg(long)]
    ready_file: PathBuf,
    /// How many tools to list (the first one echoes).
    #[arg(long, default_value_t = 1)]
    tools: usize,
    /// How to answer.
    #[arg(long, value_enum, default_value = "json")]
    answers: Media,
}

#[derive(Clone)]
struct Echo {
    tools: Arc<Vec<Tool>>,
}

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let text = arguments.get("message").and_then(Value::as_str).unwrap_or_default();
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

fn tools(count: usize) -> Vec<Tool> {
    let schema = json!({"type": "object", "properties": {"message": {"type": "string"}}});
    let schema = Arc::new(schema.as_object().cloned().unwrap_or_default());
    let name = |index: usize| match index {
        0 => "echo".to_owned(),
        _ => format!("echo_{index}"),
    };
    (0..count).map(|index| Tool::new(name(index), "Says it back.", Arc::clone(&schema))).collect()
}

/// Events, and sessions in the legacy era, are the SDK's defaults; it has JSON answers only without
/// sessions.
fn config(answers: Media) -> StreamableHttpServerConfig {
    let config = StreamableHttpServerConfig::default();
    match answers {
        Media::Events => config,
        Media::Json => {
            config.with_legacy_session_mode(false).with_json_response(true).with_sse_keep_alive(None)
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let echo = Echo { tools: Arc::new(tools(arguments.tools)) };
    let config = config(arguments.answers);
    let service: StreamableHttpService<Echo, LocalSessionManager> =
        StreamableHttpService::new(move || Ok(echo.clone()), Arc::default(), config);
    let router = Router::new().route_service("/mcp", service);
    let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
    ready::announce(&arguments.ready_file, listener.local_addr()?)?;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await.context("failed to serve")
}
