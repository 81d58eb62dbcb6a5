//! One connection to the management API.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::wire::{Connection, Target};

/// A connection.
pub(in super::super) struct Desk {
    target: Target,
    connection: Connection,
}

impl Desk {
    pub(in super::super) async fn open(target: &Target) -> Result<Self> {
        Ok(Self { target: target.clone(), connection: Connection::open(target).await? })
    }

    /// The body of a good answer.
    pub(super) async fn bytes(&mut self, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
        let (status, body) = self.ask(method, path, body).await?;
        let said = || String::from_utf8_lossy(&body).chars().take(300).collect::<String>();
        ensure!((200..300).contains(&status), "{method} {path}: {status}: {}", said());
        Ok(body)
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>)> {
        let answer = self.connection.exchange(&self.target.manage(method, path, body)).await?;
        Ok((answer.head.status, answer.body))
    }

    /// Declares servers in one step; the revision of the change.
    pub(in super::super) async fn apply(&mut self, servers: Vec<Value>) -> Result<Option<u64>> {
        let body = json!({ "servers": servers }).to_string();
        let answer = self.bytes("POST", "/api/v1/apply", &body).await?;
        Ok(serde_json::from_slice::<Value>(&answer)?["version"].as_u64())
    }

    pub(super) async fn list(&mut self) -> Result<Vec<Value>> {
        let body = self.bytes("GET", "/api/v1/servers", "").await?;
        serde_json::from_slice(&body).context("a list is no list")
    }

    pub(super) async fn get(&mut self, name: &str) -> Result<Value> {
        let body = self.bytes("GET", &format!("/api/v1/servers/{name}"), "").await?;
        serde_json::from_slice(&body).context("a server is no document")
    }

    /// Reads a server and puts it back with its count one higher; its new version, or none if another was first.
    pub(in super::super) async fn count_up(&mut self, name: &str) -> Result<Option<u64>> {
        let mut document = self.get(name).await?;
        let count = count(&document) + 1;
        document["annotations"]["count"] = count.to_string().into();
        let path = format!("/api/v1/servers/{name}");
        let (status, body) = self.ask("PUT", &path, &document.to_string()).await?;
        match status {
            200 => {
                let changed: Value = serde_json::from_slice(&body)?;
                changed["version"].as_u64().map(Some).context("a document has no version")
            }
            // Another was first, or too many wait: nothing was done, and a client tries again.
            409 | 412 | 503 => Ok(None),
            status => bail!("PUT {path}: {status}: {}", String::from_utf8_lossy(&body)),
        }
    }
}

/// The count in a document.
pub(super) fn count(document: &Value) -> u64 {
    document["annotations"]["count"].as_str().and_then(|count| count.parse().ok()).unwrap_or_default()
}
