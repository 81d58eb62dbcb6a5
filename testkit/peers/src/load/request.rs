//! The bytes of the requests.

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

const LEGACY_VERSION: &str = "2025-06-18";
const MODERN_VERSION: &str = "2026-07-28";

/// What is asked, over and over.
pub struct Plan {
    /// The era.
    pub era: Era,
    /// The path of the URL.
    pub path: String,
    /// `host:port`, for the `Host` header.
    pub authority: String,
    /// The bearer token.
    pub token: Option<String>,
    /// The method.
    pub method: String,
    /// The tool, for `tools/call`.
    pub tool: Option<String>,
    /// The tool's arguments, as JSON.
    pub arguments: String,
}

impl Plan {
    /// The request to repeat; `session` is what `initialize` answered with.
    pub fn request(&self, session: Option<&str>) -> Vec<u8> {
        let meta = match self.era {
            Era::Modern => format!(
                r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN_VERSION}","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"load","version":"1"}}}}"#
            ),
            Era::Legacy | Era::Raw => String::new(),
        };
        let call =
            self.tool.as_ref().map(|tool| format!(r#""name":"{tool}","arguments":{}"#, self.arguments));
        let parts: Vec<_> = call.into_iter().chain((!meta.is_empty()).then_some(meta)).collect();
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"{}","params":{{{}}}}}"#,
            self.method,
            parts.join(",")
        );
        self.post(&self.headers(session), &body)
    }

    /// The legacy handshake: `initialize`.
    pub fn initialize(&self) -> Vec<u8> {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{LEGACY_VERSION}","capabilities":{{}},"clientInfo":{{"name":"load","version":"1"}}}}}}"#
        );
        self.post("", &body)
    }

    /// The legacy handshake: its end.
    pub fn initialized(&self, session: Option<&str>) -> Vec<u8> {
        let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        self.post(&self.headers(session), body)
    }

    fn headers(&self, session: Option<&str>) -> String {
        let name = self.tool.as_deref().unwrap_or_default();
        match (self.era, session) {
            (Era::Raw, _) => String::new(),
            (Era::Modern, _) => {
                let name_header =
                    if name.is_empty() { String::new() } else { format!("Mcp-Name: {name}\r\n") };
                format!(
                    "MCP-Protocol-Version: {MODERN_VERSION}\r\nMcp-Method: {}\r\n{name_header}",
                    self.method
                )
            }
            (Era::Legacy, None) => format!("MCP-Protocol-Version: {LEGACY_VERSION}\r\n"),
            (Era::Legacy, Some(id)) => {
                format!("MCP-Protocol-Version: {LEGACY_VERSION}\r\nMcp-Session-Id: {id}\r\n")
            }
        }
    }

    fn post(&self, headers: &str, body: &str) -> Vec<u8> {
        let authorization =
            self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{authorization}{headers}\
             Content-Length: {}\r\n\r\n{body}",
            self.path,
            self.authority,
            body.len()
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(era: Era) -> Plan {
        Plan {
            era,
            path: "/mcp".into(),
            authority: "127.0.0.1:1".into(),
            token: Some("t".into()),
            method: "tools/call".into(),
            tool: Some("echo".into()),
            arguments: r#"{"message":"a"}"#.into(),
        }
    }

    fn text(era: Era, session: Option<&str>) -> String {
        String::from_utf8(plan(era).request(session)).unwrap()
    }

    #[test]
    fn the_body_is_json_of_the_stated_length() {
        for era in [Era::Legacy, Era::Modern, Era::Raw] {
            let text = text(era, None);
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
            let value: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(value["params"]["arguments"]["message"], "a");
            assert_eq!(value["params"].get("_meta").is_some(), era == Era::Modern);
        }
    }

    #[test]
    fn headers_are_those_of_the_era() {
        assert!(text(Era::Modern, Some("s")).contains("Mcp-Name: echo\r\n"));
        assert!(!text(Era::Modern, Some("s")).contains("Session"));
        assert!(text(Era::Legacy, Some("s")).contains("Mcp-Session-Id: s\r\n"));
        assert!(!text(Era::Legacy, None).contains("Session"));
    }
}
