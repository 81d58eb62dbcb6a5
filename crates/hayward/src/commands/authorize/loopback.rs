//! A port of this machine that a browser comes back to, once (RFC 8252, 7.3).

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::failure::Failure;

/// Where the browser comes back to on this port.
const PATH: &str = "/callback";
/// How long whoever connects may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a person has.
const PERSON_TIMEOUT: Duration = Duration::from_mins(10);
/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Whoever is read at the same time.
const VISITORS_MAX: usize = 32;

/// A port that is listened on.
pub(super) struct Loopback {
    listener: TcpListener,
    port: u16,
}

/// A browser that came back, and waits to be shown something.
pub(super) struct Visit {
    peer: TcpStream,
    query: String,
}

/// The address of a port of this machine.
pub(super) fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}{PATH}")
}

impl Loopback {
    /// Listens on this port; 0 is any.
    pub(super) async fn open(port: u16) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.with_context(|| format!("failed to listen on port {port} of this machine"));
        let listener = listener
            .map_err(|error| Failure::unavailable(error).hint("use another `--port`, or `--paste`"))?;
        let port =
            listener.local_addr().context("a listener has no address").map_err(Failure::unavailable)?.port();
        Ok(Self { listener, port })
    }

    /// Where the browser comes back to.
    pub(super) fn address(&self) -> String {
        address(self.port)
    }

    /// Waits for the browser, which knows this state. Whoever else comes is told that there is nothing, and keeps nobody waiting.
    pub(super) async fn visit(self, state: &str) -> Result<Visit, Failure> {
        let waiting = async {
            let mut reading = FuturesUnordered::new();
            loop {
                tokio::select! {
                    accepted = self.listener.accept(), if reading.len() < VISITORS_MAX => {
                        let (peer, _) = accepted.context("failed to wait for the browser")?;
                        // A browser may connect and say nothing for a while, beside what it says.
                        reading.push(timeout(HEAD_TIMEOUT, read(peer, state)));
                    }
                    Some(read) = reading.next() => {
                        if let Ok(Some(visit)) = read {
                            return anyhow::Ok(visit);
                        }
                    }
                }
            }
        };
        let visited = timeout(PERSON_TIMEOUT, waiting).await;
        let late = |_| Failure::unavailable(anyhow::anyhow!("nobody granted access in time"));
        visited.map_err(late)?.map_err(Failure::unavailable)
    }
}

impl Visit {
    /// What the browser came back with.
    pub(super) fn query(&self) -> &str {
        &self.query
    }

    /// Shows this. A browser that is gone has seen enough.
    pub(super) async fn answer(mut self, page: &str) {
        show(&mut self.peer, "200 OK", page).await;
    }
}

/// The query of a request for our path with this state; whoever asks for anything else is told that there is nothing.
async fn read(mut peer: TcpStream, state: &str) -> Option<Visit> {
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX || peer.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let Some(query) = query_of(&head).filter(|query| state_of(query).as_deref() == Some(state)) else {
        show(&mut peer, "404 Not Found", "There is nothing here.").await;
        return None;
    };
    Some(Visit { peer, query })
}

/// The query that a `GET` of our path has.
fn query_of(head: &[u8]) -> Option<String> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?.split(' ').next()?;
    target.strip_prefix(PATH)?.strip_prefix('?').map(ToOwned::to_owned)
}

/// The state that a query names.
pub(super) fn state_of(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| (name == "state").then(|| value.into_owned()))
}

/// Shows a text, which nobody takes for anything else.
async fn show(peer: &mut TcpStream, status: &str, text: &str) {
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         x-content-type-options: nosniff\r\ncache-control: no-store\r\nreferrer-policy: no-referrer\r\n\
         connection: close\r\n\r\n{text}"
    );
    if peer.write_all(answer.as_bytes()).await.is_ok() {
        peer.shutdown().await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_path_is_read_and_nothing_else() {
        for (head, expect) in [
            ("GET /callback?code=c&state=s HTTP/1.1\r\nhost: x\r\n\r\n", Some("code=c&state=s")),
            ("GET /callback HTTP/1.1\r\n\r\n", None),
            ("GET /callbacks?x HTTP/1.1\r\n\r\n", None),
            ("GET /favicon.ico HTTP/1.1\r\n\r\n", None),
            ("POST /callback?x HTTP/1.1\r\n\r\n", None),
            ("\r\n\r\n", None),
        ] {
            assert_eq!(query_of(head.as_bytes()).as_deref(), expect, "{head}");
        }
    }

    async fn get(port: u16, path: &str) -> String {
        let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        peer.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_browser_is_heard_once_and_shown_what_came_of_it() {
        let loopback = Loopback::open(0).await.unwrap();
        let port = loopback.port;
        let visiting = tokio::spawn(async move {
            let icon = get(port, "/favicon.ico").await;
            // Somebody who says nothing, and others who know no state, or another.
            let silent = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            let stateless = get(port, "/callback?error=access_denied").await;
            let strange = get(port, "/callback?state=t&code=c").await;
            let page = get(port, "/callback?code=c&state=s%20").await;
            drop(silent);
            ([icon, stateless, strange], page)
        });
        let visit = loopback.visit("s ").await.unwrap();
        assert_eq!(visit.query(), "code=c&state=s%20");
        visit.answer("well").await;
        let (others, page) = visiting.await.unwrap();
        assert!(others.iter().all(|it| it.starts_with("HTTP/1.1 404")), "{others:?}");
        assert!(page.ends_with("\r\n\r\nwell"), "{page}");
    }
}
