//! What a server says of itself and of its projects, and any other route of its.

use http::Method;
use serde_json::Value;

use crate::client::{Ask, Client};
use crate::error::Error;

impl Client {
    /// Whether it lives.
    pub async fn alive(&self) -> Result<Value, Error> {
        self.fetch(Ask::new(Method::GET, self.address().at(["health"]))).await
    }

    /// How everything is.
    pub async fn health(&self) -> Result<Value, Error> {
        self.ask(Method::GET, &["health", "overview"]).await
    }

    /// What Claude Code needs to reach the servers of a project.
    pub async fn mcp_config(&self, project: &str) -> Result<Value, Error> {
        self.ask(Method::GET, &["projects", project, "mcp-config"]).await
    }

    /// Any route of `/api/v1`, without a body.
    pub async fn ask(&self, method: Method, segments: &[&str]) -> Result<Value, Error> {
        self.fetch(Ask::new(method, self.route(segments))).await
    }
}
