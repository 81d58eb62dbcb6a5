//! One request to a server that an operator named, so that `doctor` can say what stands between: the name, the connection,
//! TLS, the answer. It follows no redirect, and keeps and trusts nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Url;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Where systems keep the certificates that they trust.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A request.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    /// Its route, e.g. `/health`.
    pub(crate) route: &'a str,
    pub(crate) token: Option<&'a str>,
    /// JSON; none without a body.
    pub(crate) body: Option<&'a str>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Its headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// What TLS agreed on.
    pub(crate) tls: Option<String>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Which certificates are trusted: those of this file, else those of the system. The first fault, otherwise.
pub(crate) fn trusted(file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let found = || BUNDLES.iter().map(PathBuf::from).find(|bundle| bundle.exists());
    let file = file.map(Path::to_owned).or_else(found);
    let mut roots = RootCertStore::empty();
    if let Some(file) = &file {
        let wrong = |error: &dyn std::fmt::Display| {
            format!("certificates of `{}` can't be read: {error}", file.display())
        };
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
            // A bundle may hold old ones that nobody can use.
            roots.add(certificate.map_err(|error| wrong(&error))?).ok();
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Asks, and waits for the whole answer; what failed, otherwise.
pub(crate) async fn ask(url: &Url, trusted: &Arc<ClientConfig>, ask: &Ask<'_>) -> Result<Answer, String> {
    let asked = tokio::time::timeout(PATIENCE, converse(url, trusted, ask)).await;
    asked.map_err(|_| format!("no whole answer within {} s", PATIENCE.as_secs()))?
}

async fn converse(url: &Url, trusted: &Arc<ClientConfig>, ask: &Ask<'_>) -> Result<Answer, String> {
    let (_, host, port) = url.authority();
    let connected = TcpStream::connect((host, port)).await;
    let stream = connected.map_err(|error| format!("no connection to `{host}` port {port}: {error}"))?;
    let request = request(url, ask);
    if !url.is_tls() {
        return exchange(stream, &request).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::clone(trusted));
    let stream = connector.connect(name, stream).await.map_err(|error| format!("TLS failed: {error}"))?;
    let session = stream.get_ref().1;
    let version = session.protocol_version().map_or("", |version| version.as_str().unwrap_or("TLS"));
    let suite = session.negotiated_cipher_suite().map_or("", |suite| suite.suite().as_str().unwrap_or(""));
    let tls = format!("{version}, {suite}");
    Ok(Answer { tls: Some(tls), ..exchange(stream, &request).await? })
}

/// A request of HTTP/1.0: its answer ends with the connection, and comes in one piece.
fn request(url: &Url, ask: &Ask<'_>) -> String {
    let (authority, ..) = url.authority();
    let (method, path) = (ask.method, url.path(ask.route));
    let mut head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {authority}\r\nUser-Agent: hayward-doctor\r\nConnection: close\r\n\
         Accept: application/json, text/event-stream\r\n"
    );
    if let Some(token) = ask.token {
        head += &format!("Authorization: Bearer {token}\r\n");
    }
    if let Some(body) = ask.body {
        head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    format!("{head}\r\n{}", ask.body.unwrap_or_default())
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Result<Answer, String> {
    let failed = |error: std::io::Error| format!("the connection broke: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut bytes = Vec::new();
    let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await;
    // Some end without a farewell; what came is enough if it is whole.
    answer(&bytes).ok_or_else(|| read.err().map_or("what answers doesn't speak HTTP".to_owned(), failed))
}

fn answer(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().filter(|line| line.starts_with("HTTP/1."))?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    };
    Some(Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned(), tls: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_headers_and_a_body_and_anything_else_is_none() {
        let good = answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nA:b\r\n\r\n{}").unwrap();
        assert_eq!(
            (good.status, good.header("date"), good.header("a"), good.body.as_str()),
            (200, Some("x"), Some("b"), "{}")
        );
        for bad in [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"]
        {
            assert!(answer(bad).is_none());
        }
    }

    #[test]
    fn what_is_trusted_is_a_file_of_certificates() {
        let dir = tempfile::tempdir().unwrap();
        assert!(trusted(Some(&dir.path().join("none"))).unwrap_err().contains("can't be read"));
        assert!(trusted(None).is_ok());
    }
}
