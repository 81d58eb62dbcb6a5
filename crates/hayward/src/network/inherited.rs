//! Sockets that a service manager opened for us (`LISTEN_FDS`, socket activation).
//!
//! They are taken before anything else happens: what the environment says of them must reach no process that we start.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::{AddressFamily, sockopt};

use crate::config::variable;

/// Sockets that are taken.
const SOCKETS_MAX: usize = 16;

/// A socket that somebody opened for us.
#[derive(Debug)]
pub(crate) enum Inherited {
    /// A port.
    Tcp(TcpListener),
    /// One of this machine.
    Unix(UnixListener),
}

impl Inherited {
    /// The address of a port.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// Takes the sockets that are meant for this process; those that can't be listened on go to `faults`.
pub(crate) fn take(faults: &mut Vec<String>) -> Vec<Inherited> {
    let said = |name: &str| variable(name).to_string_lossy().parse::<usize>().ok();
    // What was meant for a process that started us isn't for us.
    let is_ours = said("LISTEN_PID") == usize::try_from(std::process::id()).ok();
    let Some(count) = said("LISTEN_FDS").filter(|_| is_ours) else {
        return Vec::new();
    };
    if count > SOCKETS_MAX {
        faults.push(format!("`LISTEN_FDS` is {count}: use at most {SOCKETS_MAX} sockets"));
        return Vec::new();
    }
    let mut list = ListenFd::from_env();
    let taken = (0..list.len()).filter_map(|index| match take_one(&mut list, index) {
        Ok(socket) => Some(socket),
        Err(reason) => {
            faults.push(format!("socket {} of `LISTEN_FDS`: {reason}", index + 1));
            None
        }
    });
    taken.collect()
}

fn take_one(list: &mut ListenFd, index: usize) -> Result<Inherited, String> {
    // One that is of another kind stays in the list, for the next try.
    if let Ok(Some(listener)) = list.take_unix_listener(index) {
        return listening(&listener).map(|()| Inherited::Unix(listener));
    }
    match list.take_tcp_listener(index) {
        Ok(Some(listener)) => listening(&listener).map(|()| Inherited::Tcp(listener)),
        Ok(None) => Err("it is taken already".to_owned()),
        Err(error) => Err(format!("it is neither a TCP nor a Unix stream socket: {error}")),
    }
}

/// Whether somebody has made it listen; connections of such a socket would never come.
fn listening(socket: &impl AsFd) -> Result<(), String> {
    let family = sockopt::socket_domain(socket).map_err(|error| error.to_string())?;
    let is_known = [AddressFamily::UNIX, AddressFamily::INET, AddressFamily::INET6].contains(&family);
    match sockopt::socket_acceptconn(socket) {
        Ok(true) if is_known => Ok(()),
        Ok(_) => Err("it does not listen: use `ListenStream=`, and `Accept=no`".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
