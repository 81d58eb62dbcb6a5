//! A legacy client on any transport: messages out, messages in.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hayward_api::Tier;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::{post, request};
use crate::events::Events;
use crate::lines::serve_local;
use crate::server::Server;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages that may wait until a test takes them.
const QUEUE: usize = 256;

/// The ways that a legacy client can come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP, answers as event streams where the server likes.
    Http,
    /// Streamable HTTP by a client that takes no event streams.
    HttpJson,
    /// HTTP+SSE (2024-11-05).
    OldHttp,
    /// A pair of byte streams.
    Stdio,
}

/// A client that has said `initialize`. Dropped, its connections are cut.
pub struct Peer {
    way: Way,
    /// What it was told when it said `initialize`.
    pub initialized: Value,
    messages: mpsc::Receiver<Value>,
    sender: mpsc::Sender<Value>,
    /// What reads its connections.
    reading: JoinSet<()>,
}

enum Way {
    Http { address: SocketAddr, headers: Vec<(String, String)> },
    OldHttp { address: SocketAddr, bearer: String, endpoint: String },
    Stdio { input: WriteHalf<DuplexStream> },
}

impl Peer {
    /// Connects, and says `initialize` with this revision and these capabilities.
    pub async fn connect(
        server: &Server,
        transport: Transport,
        revision: &str,
        capabilities: Value,
    ) -> anyhow::Result<Self> {
        let (sender, messages) = mpsc::channel(QUEUE);
        let mut reading = JoinSet::new();
        let way = match transport {
            Transport::Http => Way::http(server, "application/json, text/event-stream"),
            Transport::HttpJson => Way::http(server, "application/json"),
            Transport::OldHttp => Way::old_http(server, &sender, &mut reading).await?,
            Transport::Stdio => Way::stdio(server, &sender, &mut reading),
        };
        let mut peer = Self { way, initialized: Value::Null, messages, sender, reading };
        peer.initialize(revision, &capabilities).await?;
        Ok(peer)
    }

    async fn initialize(&mut self, revision: &str, capabilities: &Value) -> anyhow::Result<()> {
        let client = json!({"name": "peer", "version": "1"});
        let params = json!({"protocolVersion": revision, "capabilities": capabilities, "clientInfo": client});
        let message = json!({"jsonrpc": "2.0", "id": "initialize", "method": "initialize", "params": params});
        if let Way::Http { address, headers } = &mut self.way {
            let answer = post(*address, "/mcp", &borrowed(headers), &message.to_string()).await?;
            let session = answer.header("mcp-session-id").context("no session")?;
            headers.push(("mcp-session-id".to_owned(), session.to_owned()));
            headers.push(("mcp-protocol-version".to_owned(), revision.to_owned()));
            self.initialized = answer.json();
        } else {
            self.send(&message).await?;
            self.initialized = self.receive().await?;
        }
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await
    }

    /// Sends a message, or a batch.
    pub async fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        match &mut self.way {
            Way::Stdio { input } => input.write_all(format!("{message}\n").as_bytes()).await?,
            Way::OldHttp { address, bearer, endpoint } => {
                let headers = [("authorization", bearer.as_str())];
                let answer = post(*address, endpoint, &headers, &message.to_string()).await?;
                ensure!(answer.status == 202, "{answer:?}");
            }
            Way::Http { address, headers } => {
                let bytes = request("POST", *address, "/mcp", &borrowed(headers), &message.to_string());
                let is_asking =
                    message.is_array() || (message.get("method").is_some() && message.get("id").is_some());
                let answering = forward(*address, bytes, self.sender.clone());
                if is_asking {
                    self.reading.spawn(async move { answering.await.unwrap_or_default() });
                } else {
                    answering.await?;
                }
            }
        }
        Ok(())
    }

    /// The id of its session, if it has one.
    pub fn session(&self) -> Option<&str> {
        let Way::Http { headers, .. } = &self.way else {
            return None;
        };
        headers.iter().find(|(name, _)| name == "mcp-session-id").map(|(_, id)| id.as_str())
    }

    /// The next message that comes, on whichever connection.
    pub async fn receive(&mut self) -> anyhow::Result<Value> {
        timeout(PATIENCE, self.messages.recv()).await.context("nothing comes")?.context("never closed")
    }

    /// Calls a tool under this id.
    pub async fn call(&mut self, id: &str, tool: &str, arguments: Value) -> anyhow::Result<()> {
        let params = json!({"name": tool, "arguments": arguments});
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})).await
    }

    /// Answers a request of the server.
    pub async fn answer(&mut self, id: &Value, result: Value) -> anyhow::Result<()> {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "result": result})).await
    }

    /// Sends a notification.
    pub async fn notify(&mut self, method: &str, params: Value) -> anyhow::Result<()> {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params})).await
    }

    /// A ping and its answer: everything that was sent before has been taken by then.
    pub async fn ping(&mut self) -> anyhow::Result<()> {
        self.send(&json!({"jsonrpc": "2.0", "id": "ping", "method": "ping"})).await?;
        let pong = self.receive().await?;
        ensure!(pong["id"] == "ping" && pong["result"] == json!({}), "no pong: {pong}");
        Ok(())
    }
}

impl Way {
    fn http(server: &Server, accept: &str) -> Self {
        let headers = [("authorization", bearer(server)), ("accept", accept.to_owned())];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        Self::Http { address: server.address, headers }
    }

    async fn old_http(
        server: &Server,
        sender: &mpsc::Sender<Value>,
        reading: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let bearer = bearer(server);
        let headers = [("authorization", bearer.as_str()), ("accept", "text/event-stream")];
        let mut events =
            Events::open(server.address, &request("GET", server.address, "/sse", &headers, "")).await?;
        let first = events.next().await?.context("no endpoint")?;
        let Some(endpoint) = first.data.filter(|_| first.name.as_deref() == Some("endpoint")) else {
            bail!("the first event is no endpoint: {:?}", events.head);
        };
        let sender = sender.clone();
        reading.spawn(async move { pass_on(events, &sender).await.unwrap_or_default() });
        Ok(Self::OldHttp { address: server.address, bearer, endpoint })
    }

    fn stdio(server: &Server, sender: &mpsc::Sender<Value>, reading: &mut JoinSet<()>) -> Self {
        // Not cut when it is dropped, but ended by the end of its input, as a process would be.
        let (near, _served) = serve_local(server, Tier::Read, CancellationToken::new());
        let (output, input) = tokio::io::split(near);
        let (sender, mut lines) = (sender.clone(), BufReader::new(output).lines());
        reading.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send(serde_json::from_str(&line).unwrap_or_default()).await.unwrap_or_default();
            }
        });
        Self::Stdio { input }
    }
}

fn bearer(server: &Server) -> String {
    format!("Bearer {}", server.rw_token)
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Passes on whatever a request is answered with.
async fn forward(address: SocketAddr, request: Vec<u8>, sender: mpsc::Sender<Value>) -> anyhow::Result<()> {
    let events = Events::open(address, &request).await?;
    if events.head.header("content-type") == Some("text/event-stream") && events.head.is_chunked() {
        return pass_on(events, &sender).await;
    }
    let answer = events.whole().await?;
    if !answer.body.is_empty() {
        sender.send(answer.json()).await?;
    }
    Ok(())
}

async fn pass_on(mut events: Events, sender: &mpsc::Sender<Value>) -> anyhow::Result<()> {
    while let Some(event) = events.next().await? {
        if let Some(message) = event.message() {
            sender.send(message).await?;
        }
    }
    Ok(())
}
