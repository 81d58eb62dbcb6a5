//! Where a request comes from: what the kernel says, and what a proxy that is believed says beside it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The address of the client; none for a process of this machine. If a proxy told it, port 0 says that
    /// the port is not known.
    pub address: Option<SocketAddr>,
    /// The proxy that told the address; none if it is the kernel that says so.
    pub proxy: Option<Proxy>,
}

/// A proxy, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// One of the network.
    Address(SocketAddr),
    /// One of this machine, on a socket in the file system.
    Socket,
}

impl Source {
    /// A peer that connected to us, as the kernel names it.
    pub fn peer(address: Option<SocketAddr>) -> Self {
        Self { address, proxy: None }
    }

    /// The address of the client without its port.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip())
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket => f.write_str("unix"),
        }
    }
}
