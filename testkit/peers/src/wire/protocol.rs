//! What a client says: the bytes of every request, and the handshake of the legacy era.

use anyhow::{Context, Result};

use super::connection::Connection;
use super::trust::Trust;

/// How the protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Era {
    /// `initialize` first, then calls.
    Legacy,
    /// Every call says all it needs.
    Modern,
    /// No protocol at all: the body is sent as it is.
    Raw,
}

/// Which forms of an answer a client takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Accept {
    /// JSON or events, as the server likes.
    #[default]
    Both,
    /// JSON only.
    Json,
    /// Events only.
    Events,
}

impl Accept {
    fn header(self) -> &'static str {
        match self {
            Self::Both => "application/json, text/event-stream",
            Self::Json => "application/json",
            Self::Events => "text/event-stream",
        }
    }
}

/// The revision of the legacy era that is spoken if nothing else is said.
pub const LEGACY_VERSION: &str = "2025-06-18";
const MODERN_VERSION: &str = "2026-07-28";

/// Whom a client talks to, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`.
    pub authority: String,
    /// The path of the URL.
    pub path: String,
    /// The bearer token.
    pub token: Option<String>,
    /// The era.
    pub era: Era,
    /// The revision of the legacy era that is spoken.
    pub revision: String,
    /// What answers may look like.
    pub accept: Accept,
    /// Whom it trusts, if it speaks TLS.
    pub trust: Option<Trust>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method.
    pub method: String,
    /// The tool, for `tools/call`.
    pub tool: Option<String>,
    /// The tool's arguments, as JSON.
    pub arguments: String,
    /// Whether progress is to be told, under the id of the request.
    pub hears_progress: bool,
}

impl Ask {
    /// A call of a tool; the arguments are JSON.
    pub fn call(tool: &str, arguments: String) -> Self {
        Self { tool: Some(tool.to_owned()), arguments, ..Self::plain("tools/call") }
    }

    /// A method without parameters.
    pub fn plain(method: &str) -> Self {
        Self { method: method.to_owned(), tool: None, arguments: String::new(), hears_progress: false }
    }
}

impl Target {
    /// Reads a URL such as `http://127.0.0.1:8765/mcp`; legacy, and both forms of answers.
    pub fn parse(url: &str, token: Option<String>) -> Result<Self> {
        let rest = url.strip_prefix("http://").context("the URL is not plain HTTP")?;
        Self::at(rest, token, None)
    }

    /// The same for `https://`.
    pub fn parse_trusting(url: &str, token: Option<String>, trust: Trust) -> Result<Self> {
        let rest = url.strip_prefix("https://").context("the URL is not HTTPS")?;
        Self::at(rest, token, Some(trust))
    }

    fn at(rest: &str, token: Option<String>, trust: Option<Trust>) -> Result<Self> {
        let (authority, path) = rest.split_once('/').context("the URL has no path")?;
        let (authority, path) = (authority.to_owned(), format!("/{path}"));
        Ok(Self {
            authority,
            path,
            token,
            era: Era::Legacy,
            revision: LEGACY_VERSION.to_owned(),
            accept: Accept::Both,
            trust,
        })
    }

    /// The same server, spoken to in this era.
    #[must_use]
    pub fn in_era(&self, era: Era) -> Self {
        Self { era, ..self.clone() }
    }

    /// The bytes of a question; `session` is what the handshake returned.
    pub fn request(&self, session: Option<&str>, ask: &Ask, id: u64) -> Vec<u8> {
        self.post(&self.headers(session, ask), &self.message(ask, id))
    }

    /// A question as a message, whatever carries it.
    pub fn message(&self, ask: &Ask, id: u64) -> String {
        let call = ask.tool.as_ref().map(|tool| format!(r#""name":"{tool}","arguments":{}"#, ask.arguments));
        let meta = self.meta(ask, id).map(|members| format!(r#""_meta":{{{members}}}"#));
        let params: Vec<_> = call.into_iter().chain(meta).collect();
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{}","params":{{{}}}}}"#,
            ask.method,
            params.join(",")
        )
    }

    /// The legacy handshake, if the era has one; the id of the session, if the server has sessions.
    pub async fn shake_hands(&self, connection: &mut Connection) -> Result<Option<String>> {
        match self.era {
            Era::Legacy => self.open_session(connection).await.context("handshake failed"),
            Era::Modern | Era::Raw => Ok(None),
        }
    }

    async fn open_session(&self, connection: &mut Connection) -> Result<Option<String>> {
        let answer = connection.exchange(&self.initialize()).await?;
        answer.judge()?;
        let session = answer.head.session;
        connection.exchange(&self.initialized(session.as_deref())).await?.accepted()?;
        Ok(session)
    }

    /// Ends a session; fails if the server doesn't know it.
    pub async fn end_session(&self, connection: &mut Connection, session: &str) -> Result<()> {
        let request = self.bare("DELETE", &self.legacy_headers(Some(session)));
        connection.exchange(&request).await?.accepted().context("failed to end a session")
    }

    /// Asks for the standing stream of a session.
    pub fn listen(&self, session: &str) -> Vec<u8> {
        let target = Self { accept: Accept::Events, ..self.clone() };
        target.bare("GET", &target.legacy_headers(Some(session)))
    }

    /// Modern: asks to be told of changes of the list of tools.
    pub fn subscribe(&self, id: u64) -> Vec<u8> {
        let target = Self { accept: Accept::Events, era: Era::Modern, ..self.clone() };
        let ask = Ask::plain("subscriptions/listen");
        let meta = target.meta(&ask, id).unwrap_or_default();
        let params = format!(r#""notifications":{{"toolsListChanged":true}},"_meta":{{{meta}}}"#);
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{{{params}}}}}"#);
        target.post(&target.headers(None, &ask), &body)
    }

    /// A request of the management API: any path, JSON or nothing as its body.
    pub fn manage(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let target = Self { path: path.to_owned(), accept: Accept::Json, ..self.clone() };
        let head = target.head(method, "");
        let length = body.len();
        format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    }

    fn initialize(&self) -> Vec<u8> {
        self.post("", &self.hello())
    }

    fn initialized(&self, session: Option<&str>) -> Vec<u8> {
        self.post(&self.legacy_headers(session), &Self::greeted())
    }

    /// The message that begins a session of the legacy era.
    pub fn hello(&self) -> String {
        let revision = &self.revision;
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{revision}","capabilities":{{}},"clientInfo":{{"name":"load","version":"1"}}}}}}"#
        )
    }

    /// … and the one after it.
    pub fn greeted() -> String {
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned()
    }

    fn meta(&self, ask: &Ask, id: u64) -> Option<String> {
        let modern = format!(
            r#""io.modelcontextprotocol/protocolVersion":"{MODERN_VERSION}","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"load","version":"1"}}"#
        );
        let modern = (self.era == Era::Modern).then_some(modern);
        let progress = ask.hears_progress.then(|| format!(r#""progressToken":{id}"#));
        let members: Vec<_> = modern.into_iter().chain(progress).collect();
        (!members.is_empty()).then(|| members.join(","))
    }

    fn headers(&self, session: Option<&str>, ask: &Ask) -> String {
        match self.era {
            Era::Raw => String::new(),
            Era::Legacy => self.legacy_headers(session),
            Era::Modern => {
                let name = ask.tool.as_ref().map(|tool| format!("Mcp-Name: {tool}\r\n")).unwrap_or_default();
                let method = &ask.method;
                format!("MCP-Protocol-Version: {MODERN_VERSION}\r\nMcp-Method: {method}\r\n{name}")
            }
        }
    }

    fn legacy_headers(&self, session: Option<&str>) -> String {
        let session = session.map(|id| format!("Mcp-Session-Id: {id}\r\n")).unwrap_or_default();
        format!("MCP-Protocol-Version: {}\r\n{session}", self.revision)
    }

    fn post(&self, headers: &str, body: &str) -> Vec<u8> {
        let head = self.head("POST", headers);
        let length = body.len();
        format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    }

    fn bare(&self, method: &str, headers: &str) -> Vec<u8> {
        format!("{}\r\n", self.head(method, headers)).into_bytes()
    }

    /// A head up to where its last headers go.
    fn head(&self, method: &str, headers: &str) -> String {
        let Self { authority, path, token, accept, .. } = self;
        let bearer =
            token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let accept = accept.header();
        format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: {accept}\r\n{bearer}{headers}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(era: Era) -> Target {
        Target::parse("http://127.0.0.1:1/mcp", Some("t".into())).unwrap().in_era(era)
    }

    fn echo() -> Ask {
        Ask::call("echo", r#"{"message":"a"}"#.into())
    }

    fn text(era: Era, session: Option<&str>, ask: &Ask) -> String {
        String::from_utf8(target(era).request(session, ask, 2)).unwrap()
    }

    #[test]
    fn the_body_is_json_of_the_stated_length() {
        for era in [Era::Legacy, Era::Modern, Era::Raw] {
            let text = text(era, None, &echo());
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
            let value: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((&value["id"], &value["params"]["arguments"]["message"]), (&2.into(), &"a".into()));
            assert_eq!(value["params"].get("_meta").is_some(), era == Era::Modern);
        }
    }

    #[test]
    fn headers_are_those_of_the_era() {
        let ask = echo();
        assert!(text(Era::Modern, Some("s"), &ask).contains("Mcp-Name: echo\r\n"));
        assert!(!text(Era::Modern, Some("s"), &ask).contains("Session"));
        assert!(text(Era::Legacy, Some("s"), &ask).contains("Mcp-Session-Id: s\r\n"));
        assert!(!text(Era::Legacy, None, &ask).contains("Session"));
    }

    #[test]
    fn progress_is_asked_for_in_both_eras() {
        let ask = Ask { hears_progress: true, ..echo() };
        for era in [Era::Legacy, Era::Modern] {
            let text = text(era, None, &ask);
            let body = text.split_once("\r\n\r\n").unwrap().1;
            let value: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(value["params"]["_meta"]["progressToken"], 2);
        }
    }

    #[test]
    fn a_url_names_host_and_path() {
        let target = target(Era::Legacy);
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("127.0.0.1:1", "/mcp"));
        assert!(Target::parse("https://a/b", None).is_err());
        assert!(Target::parse("http://a", None).is_err());
    }

    #[test]
    fn a_listener_takes_events_and_names_its_session() {
        let text = String::from_utf8(target(Era::Legacy).listen("s")).unwrap();
        assert!(text.starts_with("GET /mcp HTTP/1.1\r\n") && text.ends_with("\r\n\r\n"));
        assert!(text.contains("Accept: text/event-stream\r\n") && text.contains("Mcp-Session-Id: s\r\n"));
    }
}
