//! A client on a pair of byte streams: one message a line.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hayward_api::{Principal, Tier};
use hayward_gateway::Endpoint;
use hayward_gateway::listener::{Local, serve_stdio};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::modern::{everything, with_meta};
use crate::server::Server;

/// How long something that must come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that speaks both eras, as the one that it is asked to.
pub struct LineClient {
    input: WriteHalf<DuplexStream>,
    output: Lines<BufReader<ReadHalf<DuplexStream>>>,
    served: JoinHandle<std::io::Result<()>>,
    shutdown: CancellationToken,
}

impl LineClient {
    /// Connects to what is behind the listener of a server.
    pub fn connect(server: &Server, ceiling: Tier) -> Self {
        let shutdown = CancellationToken::new();
        let (near, served) = serve_local(server, ceiling, shutdown.clone());
        let (output, input) = tokio::io::split(near);
        Self { input, output: BufReader::new(output).lines(), served, shutdown }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        Ok(self.input.write_all(format!("{message}\n").as_bytes()).await?)
    }

    /// Sends a line, whatever it is.
    pub async fn send_line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        Ok(self.input.write_all(&[line, b"\n"].concat()).await?)
    }

    /// The next message; none once the server has hung up.
    pub async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        let line = timeout(PATIENCE, self.output.next_line()).await.context("silence")??;
        Ok(line.map(|line| serde_json::from_str(&line)).transpose()?)
    }

    /// The next message, which must come.
    pub async fn message(&mut self) -> anyhow::Result<Value> {
        self.next().await?.context("the server has hung up")
    }

    /// Asks under this id, and leaves the answer to be read.
    pub async fn begin(&mut self, id: Value, method: &str, params: Value) -> anyhow::Result<()> {
        let params = with_meta(params, &everything());
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await
    }

    /// Asks as a modern client that can do everything; returns the next message.
    pub async fn ask(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.begin(json!(1), method, params).await?;
        self.message().await
    }

    /// Asks as a legacy client; returns the next message.
    pub async fn ask_legacy(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.send(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await?;
        self.message().await
    }

    /// Tells the server to end, as a signal would.
    pub fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Ends its input.
    pub async fn hang_up(&mut self) -> anyhow::Result<()> {
        Ok(self.input.shutdown().await?)
    }

    /// Waits until it is no longer served.
    pub async fn ended(self) -> anyhow::Result<()> {
        Ok(timeout(PATIENCE, self.served).await.context("it does not end")???)
    }
}

/// A pair of byte streams on which the server serves a local client, and when and how it ended.
pub(crate) fn serve_local(
    server: &Server,
    ceiling: Tier,
    shutdown: CancellationToken,
) -> (DuplexStream, JoinHandle<std::io::Result<()>>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (input, output) = tokio::io::split(far);
    let protocol = Arc::clone(&server.protocol);
    let local = Local {
        protocol: Arc::new(move || Arc::clone(&protocol)),
        principal: Arc::new(Principal::local("test", ceiling)),
        endpoint: Endpoint::Default,
        line_bytes_max: 1 << 18,
        drain: Duration::from_millis(100),
    };
    (near, TaskTracker::new().spawn(serve_stdio(input, output, local, shutdown)))
}
