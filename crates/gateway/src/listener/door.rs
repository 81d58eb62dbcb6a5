//! Where connections come in: a port of the network or a socket of this machine, with or without TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::limits::{Limits, PROBE_INTERVAL};

/// A place that clients connect to.
#[derive(Debug)]
pub enum Door {
    /// A port, where connections may begin with TLS.
    Tcp(TcpListener),
    /// A socket in the file system, or an abstract one.
    Unix(UnixListener),
}

/// A connection that belongs to no thread yet.
pub(crate) enum Stream {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(std::os::unix::net::UnixStream),
}

impl Door {
    /// The next connection. Cancellation-safe.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Stream::Tcp(stream.into_std()?, peer))
            }
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}

impl Stream {
    /// The address of the peer, as the kernel says; none for a process of this machine.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, peer) => Some(*peer),
            Self::Unix(_) => None,
        }
    }
}

/// A connection to a port, on the thread that serves it, and known to the kernel for what it is.
pub(crate) fn tcp(stream: std::net::TcpStream, limits: &Limits) -> io::Result<TcpStream> {
    // Without this, small answers wait for the peer's delayed acknowledgement.
    stream.set_nodelay(true)?;
    // A peer that vanished without a word is asked for a sign of life, also while nothing is sent to it, and given
    // up when it acknowledges nothing. The kernel by itself would try for a quarter of an hour.
    let idle = Duration::from_millis(limits.keep_alive_ms).max(PROBE_INTERVAL);
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, idle)?;
    sockopt::set_tcp_keepintvl(&stream, PROBE_INTERVAL)?;
    sockopt::set_tcp_user_timeout(&stream, u32::try_from(limits.stall_timeout_ms).unwrap_or(u32::MAX))?;
    TcpStream::from_std(stream)
}

/// A connection of this machine, on the thread that serves it.
pub(crate) fn unix(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    UnixStream::from_std(stream)
}
