//! A client of the modern era: every request says all that there is to know of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Answer, post, request};

/// How long something that must come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The capabilities of a client that can do everything that it may be asked.
pub fn everything() -> Value {
    json!({
        "elicitation": {"form": {}, "url": {}},
        "sampling": {"tools": {}},
        "roots": {},
        "extensions": {"io.modelcontextprotocol/tasks": {}},
    })
}

/// The same parameters with what every modern request carries.
pub fn with_meta(mut params: Value, capabilities: &Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    params
}

/// A client with one token.
#[derive(Clone, Debug)]
pub struct Modern {
    address: SocketAddr,
    path: String,
    token: String,
    capabilities: Value,
    /// Further headers of every request.
    headers: Vec<(String, String)>,
}

impl Modern {
    /// A client that can do everything.
    pub fn new(address: SocketAddr, token: &str) -> Self {
        let (path, token) = ("/mcp".to_owned(), token.to_owned());
        Self { address, path, token, capabilities: everything(), headers: Vec::new() }
    }

    /// The same client at another endpoint.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// The same client with other capabilities.
    #[must_use]
    pub fn able_to(mut self, capabilities: Value) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The same client, which sends one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks, and reads the answer to its end.
    pub async fn ask(&self, method: &str, params: Value) -> anyhow::Result<Answer> {
        let (headers, body) = self.message(&json!(1), method, params);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        post(self.address, &self.path, &headers, &body).await
    }

    /// The result of what is asked.
    ///
    /// # Errors
    /// An error answer is one.
    pub async fn result(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let answer = self.ask(method, params).await?;
        let mut message = answer.json();
        if message.get("result").is_none() {
            bail!("{method} was refused with status {}: {message}", answer.status);
        }
        Ok(message["result"].take())
    }

    /// The code of the error that is answered, and its status.
    ///
    /// # Errors
    /// A result is one.
    pub async fn refusal(&self, method: &str, params: Value) -> anyhow::Result<(u16, Value)> {
        let answer = self.ask(method, params).await?;
        let mut message = answer.json();
        if message.get("error").is_none() {
            bail!("{method} was not refused: {message}");
        }
        Ok((answer.status, message["error"].take()))
    }

    /// The result of a tool.
    ///
    /// # Errors
    /// An error answer is one; a result that is an error is not.
    pub async fn call(&self, tool: &str, arguments: Value) -> anyhow::Result<Value> {
        self.result("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Asks under this id for something that is answered with a stream of events.
    pub async fn open(&self, id: Value, method: &str, params: Value) -> anyhow::Result<Events> {
        let (headers, body) = self.message(&id, method, params);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        Events::open(self.address, &request("POST", self.address, &self.path, &headers, &body)).await
    }

    /// Listens to what this filter names.
    pub async fn listen(&self, id: Value, filter: Value) -> anyhow::Result<Events> {
        self.open(id, "subscriptions/listen", json!({ "notifications": filter })).await
    }

    fn message(&self, id: &Value, method: &str, params: Value) -> (Vec<(String, String)>, String) {
        let params = with_meta(params, &self.capabilities);
        let name = ["name", "uri", "taskId"].iter().find_map(|key| params[key].as_str());
        let mut headers = vec![
            ("authorization".to_owned(), format!("Bearer {}", self.token)),
            ("accept".to_owned(), "application/json, text/event-stream".to_owned()),
            ("mcp-protocol-version".to_owned(), "2026-07-28".to_owned()),
            ("mcp-method".to_owned(), method.to_owned()),
        ];
        headers.extend(name.map(|name| ("mcp-name".to_owned(), name.to_owned())));
        headers.extend(self.headers.iter().cloned());
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        (headers, body.to_string())
    }
}

/// A stream of events, read as they come. Dropped, its connection is closed.
#[derive(Debug)]
pub struct Events {
    stream: TcpStream,
    /// As they came.
    bytes: Vec<u8>,
    /// The body, as far as it was not read.
    text: String,
    has_head: bool,
    is_over: bool,
}

impl Events {
    /// Sends a request that is answered with a stream of events.
    pub async fn open(address: SocketAddr, request: &[u8]) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request).await?;
        Ok(Self { stream, bytes: Vec::new(), text: String::new(), has_head: false, is_over: false })
    }

    /// The next message; none at the end of the stream. Events without a message are passed over.
    ///
    /// # Errors
    /// If nothing comes for a long time, or something that is no stream of events.
    pub async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        // Signs of life are none of patience.
        timeout(PATIENCE, self.read_next()).await.context("silence")?
    }

    async fn read_next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                if let Some(data) = data.filter(|data| !data.is_empty()) {
                    return Ok(Some(serde_json::from_str(data)?));
                }
            }
            if self.is_over {
                return Ok(None);
            }
            self.is_over = self.stream.read_buf(&mut self.bytes).await? == 0;
            self.unwrap()?;
        }
    }

    /// The next message, which must come.
    pub async fn message(&mut self) -> anyhow::Result<Value> {
        self.next().await?.context("the stream has ended")
    }

    /// Takes away the head, and what frames chunks.
    fn unwrap(&mut self) -> anyhow::Result<()> {
        if !self.has_head {
            let Some(end) = self.bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Ok(());
            };
            let head = String::from_utf8_lossy(&self.bytes[..end]).to_lowercase();
            if !head.contains("content-type: text/event-stream") {
                bail!("no stream of events: {}", String::from_utf8_lossy(&self.bytes));
            }
            self.bytes.drain(..end + 4);
            self.has_head = true;
        }
        while let Some(end) = self.bytes.windows(2).position(|window| window == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&self.bytes[..end])?, 16)?;
            if self.bytes.len() < end + 2 + size + 2 {
                return Ok(());
            }
            self.is_over |= size == 0;
            self.text += std::str::from_utf8(&self.bytes[end + 2..end + 2 + size])?;
            self.bytes.drain(..end + 2 + size + 2);
        }
        Ok(())
    }
}
