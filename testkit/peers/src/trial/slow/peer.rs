//! One slow peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::wire::{Ask, Era, Target};

/// Time between two bytes of one that dribbles.
const DRIBBLE: Duration = Duration::from_secs(10);
/// How often a slow peer looks whether it was hung up on.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When one that doesn't read takes it for granted: an end behind unread bytes can't be seen.
const GIVES_UP: Duration = Duration::from_secs(40);
/// Room for an answer that nobody reads.
const UNREAD_BYTES: u32 = 4096;
/// Pause of one that could not connect.
const PAUSE: Duration = Duration::from_millis(200);

/// In what a peer is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Its head comes byte by byte.
    Heads,
    /// Its body comes byte by byte.
    Bodies,
    /// It asks for much and reads nothing.
    Readers,
}

/// What happens to slow peers.
#[derive(Debug, Default)]
pub(super) struct Counts {
    hung_up: AtomicUsize,
    unconnected: AtomicUsize,
}

impl Counts {
    pub(super) fn hung_up(&self) -> usize {
        self.hung_up.load(Ordering::Relaxed)
    }

    pub(super) fn unconnected(&self) -> usize {
        self.unconnected.load(Ordering::Relaxed)
    }
}

pub(super) struct Peer {
    pub(super) target: Target,
    pub(super) kind: Kind,
    pub(super) counts: Arc<Counts>,
}

impl Peer {
    /// Connects, is slow until it is hung up on, and begins anew.
    pub(super) async fn come_again_and_again(self) {
        let beginning = self.beginning();
        loop {
            let Ok(mut stream) = self.connect().await else {
                self.counts.unconnected.fetch_add(1, Ordering::Relaxed);
                sleep(PAUSE).await;
                continue;
            };
            if stream.write_all(&beginning).await.is_ok() {
                self.be_slow(&mut stream).await;
            }
            self.counts.hung_up.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn connect(&self) -> Result<TcpStream> {
        let address: SocketAddr = self.target.authority.parse().context("the host is no address")?;
        let socket = TcpSocket::new_v4().context("failed to make a socket")?;
        if self.kind == Kind::Readers {
            socket.set_recv_buffer_size(UNREAD_BYTES).context("failed to bound a buffer")?;
        }
        socket.connect(address).await.context("failed to connect")
    }

    /// What is sent at once. A head lacks its end, a body all but the first byte, a question nothing.
    fn beginning(&self) -> Vec<u8> {
        let target = self.target.in_era(Era::Modern);
        let mut bytes = target.request(None, &Ask::call("much", "{}".to_owned()), 1);
        let end_of_head = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_default();
        match self.kind {
            Kind::Heads => bytes.truncate(end_of_head + b"\r\n".len()),
            Kind::Bodies => bytes.truncate(end_of_head + b"\r\n\r\n{".len()),
            Kind::Readers => {}
        }
        bytes
    }

    async fn be_slow(&self, stream: &mut TcpStream) {
        let (begun, mut last_byte) = (Instant::now(), Instant::now());
        while !is_hung_up(stream).await {
            sleep(LOOK_EVERY).await;
            match self.kind {
                Kind::Readers if begun.elapsed() > GIVES_UP => return,
                Kind::Readers => {}
                Kind::Heads | Kind::Bodies if last_byte.elapsed() < DRIBBLE => {}
                Kind::Heads | Kind::Bodies => {
                    last_byte = Instant::now();
                    if stream.write_all(b"x").await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Whether the other end has closed the connection.
async fn is_hung_up(stream: &TcpStream) -> bool {
    let ready = timeout(Duration::ZERO, stream.ready(Interest::READABLE | Interest::ERROR)).await;
    ready.is_ok_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed() || ready.is_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning(kind: Kind) -> String {
        let target = Target::parse("http://127.0.0.1:1/mcp", None).unwrap();
        let peer = Peer { target, kind, counts: Arc::default() };
        String::from_utf8(peer.beginning()).unwrap()
    }

    #[test]
    fn what_is_held_back_is_what_makes_a_peer_slow() {
        let head = beginning(Kind::Heads);
        assert!(head.ends_with("\r\n") && !head.contains("\r\n\r\n"));
        assert!(beginning(Kind::Bodies).ends_with("\r\n\r\n{"));
        assert!(beginning(Kind::Readers).ends_with("}}"));
    }

    #[tokio::test]
    async fn one_that_is_hung_up_on_notices() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        assert!(!is_hung_up(&near).await);
        drop(far);
        near.readable().await.unwrap();
        assert!(is_hung_up(&near).await);
    }
}
