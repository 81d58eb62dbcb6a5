//! A server that a command talks to or tells of: its address, and the file that holds a token for it.

pub(crate) mod ask;

use std::path::Path;

use anyhow::{Context, anyhow};

use crate::failure::Failure;
use crate::public_url::PublicUrl;

/// Bytes of a file that holds a token.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// The address of a server, with or without the path of its endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    whole: PublicUrl,
    /// Its path, without that of the endpoint.
    path: String,
}

impl Url {
    /// Reads `http://` or `https://`, a host, perhaps a port and a path. What would mean something in a shell is refused.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let whole = PublicUrl::parse(text)?;
        if text.contains(['$', '`', '<', '>', '|', ';', '&', '(', ')']) {
            return Err("it has characters that don't belong there".to_owned());
        }
        let path = &whole.text[whole.origin.len()..];
        let path = path.strip_suffix("/mcp").unwrap_or(path).to_owned();
        Ok(Self { whole, path })
    }

    /// Whether it is reached through TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.whole.origin.starts_with("https://")
    }

    /// Whether it is of this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = &self.whole.host;
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Host and port as a request names them; the host of a socket without brackets; the port.
    fn authority(&self) -> (&str, &str, u16) {
        let authority = self.whole.origin.split_once("://").map_or("", |(_, authority)| authority);
        (authority, &self.whole.host, self.whole.port)
    }

    /// The path of a route, behind that of the server.
    fn path(&self, route: &str) -> String {
        format!("{}{route}", self.path)
    }

    /// The address of a route, e.g. `/mcp`.
    pub(crate) fn at(&self, route: &str) -> String {
        format!("{}{}{route}", self.whole.origin, self.path)
    }
}

/// The token that a file holds: Hayward's, or one that was taken over.
pub(crate) fn token_of(path: &Path) -> Result<String, Failure> {
    use std::io::Read;
    let shown = path.display();
    let mut text = String::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text));
    read.with_context(|| format!("failed to read token file `{shown}`"))?;
    let token = text.trim();
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(is_good) {
        return Err(Failure::configuration(anyhow!("`{shown}` holds no token"))
            .hint("a token stands there alone, on one line"));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_the_server_with_or_without_its_endpoint() {
        for text in ["http://127.0.0.1:8765", "http://127.0.0.1:8765/", "http://127.0.0.1:8765/mcp"] {
            assert_eq!(Url::parse(text).unwrap().at("/health"), "http://127.0.0.1:8765/health");
        }
    }

    #[test]
    fn an_address_says_where_to_connect() {
        for (text, expect, path) in [
            ("https://nas.example.org/x", ("nas.example.org", "nas.example.org", 443), "/x/health"),
            ("http://nas", ("nas", "nas", 80), "/health"),
            ("http://mcp", ("mcp", "mcp", 80), "/health"),
            ("http://mcp/mcp/", ("mcp", "mcp", 80), "/health"),
            ("http://[::1]:8765", ("[::1]:8765", "::1", 8765), "/health"),
            ("https://[2001:db8::1]", ("[2001:db8::1]", "2001:db8::1", 443), "/health"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.authority(), url.path("/health").as_str()), (expect, path), "{text}");
        }
    }

    #[test]
    fn a_file_holds_one_token_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        std::fs::write(&path, "tok_1\n").unwrap();
        assert_eq!(token_of(&path).unwrap(), "tok_1");
        for bad in ["", "\n", "a b", "a\nb", "a'b"] {
            std::fs::write(&path, bad).unwrap();
            assert!(token_of(&path).is_err(), "{bad:?}");
        }
        assert!(token_of(&dir.path().join("none")).is_err());
    }
}
