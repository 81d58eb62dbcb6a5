//! A legacy client that keeps a session, and can be asked by a form.

use std::net::SocketAddr;

use hayward_testkit::client::{Answer, post, request};
use hayward_testkit::modern::Events;
use serde_json::{Value, json};

use crate::rig::Rig;

/// The client of one endpoint.
pub(crate) struct Legacy {
    address: SocketAddr,
    path: String,
    headers: Vec<(&'static str, String)>,
}

impl Legacy {
    /// Begins a session; the client takes answers of this kind.
    pub(crate) async fn begin(rig: &Rig, path: &str, (token, accept): (&str, &str)) -> Self {
        let headers = vec![("authorization", format!("Bearer {token}")), ("accept", accept.to_owned())];
        let mut client = Self { address: rig.daemon.address, path: path.to_owned(), headers };
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "t", "version": "1"}});
        let begun = client.ask(1, "initialize", hello).await;
        let session = begun.header("mcp-session-id").unwrap_or_else(|| panic!("{}", begun.body));
        let session = session.to_owned();
        client.headers.push(("mcp-session-id", session));
        client.headers.push(("mcp-protocol-version", "2025-11-25".to_owned()));
        client
    }

    /// Asks, and reads the answer to its end.
    pub(crate) async fn ask(&self, id: u64, method: &str, params: Value) -> Answer {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await
    }

    /// Says this.
    pub(crate) async fn say(&self, message: &Value) -> Answer {
        post(self.address, &self.path, &self.headers(), &message.to_string()).await.unwrap()
    }

    /// Calls a tool, and reads what comes as it comes.
    pub(crate) async fn open(&self, id: u64, tool: &str, arguments: Value) -> Events {
        let params = json!({"name": tool, "arguments": arguments});
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string();
        let request = request("POST", self.address, &self.path, &self.headers(), &body);
        Events::open(self.address, &request).await.unwrap()
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}
