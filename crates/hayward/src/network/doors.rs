//! Opens what clients connect to: a port, a socket in the file system, or what was inherited.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hayward_gateway::listener::Door;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{TcpListener, UnixListener};

use super::Network;
use super::inherited::Inherited;
use crate::failure::Failure;
use crate::stack::step;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Doors that are open.
#[derive(Debug)]
pub(crate) struct Doors {
    /// For whoever accepts.
    pub(crate) open: Vec<Door>,
    /// The port that we are known by; none if there is none.
    pub(crate) address: Option<SocketAddr>,
    /// The socket in the file system.
    pub(crate) socket: Option<SocketFile>,
}

/// A socket in the file system that is ours; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    inode: u64,
}

impl Network {
    /// Opens every door. What was inherited takes the place of the port.
    pub(crate) async fn open(&self, inherited: Vec<Inherited>) -> Result<Doors, Failure> {
        let mut doors = Vec::new();
        if inherited.is_empty() && !self.no_tcp {
            doors.push(Door::Tcp(bind(self.address()).await?));
        }
        for socket in inherited {
            doors.push(step(adopt(socket), || "failed to take an inherited socket".to_owned())?);
        }
        let socket = match &self.unix_socket {
            Some(path) => {
                let (listener, file) = bind_socket(path, self.unix_socket_mode.0)?;
                doors.push(Door::Unix(listener));
                Some(file)
            }
            None => None,
        };
        let address = doors.iter().find_map(|door| match door {
            Door::Tcp(listener) => Some(listener.local_addr()),
            Door::Unix(_) => None,
        });
        let address = step(address.transpose(), || "failed to read the address".to_owned())?;
        Ok(Doors { open: doors, address, socket })
    }
}

fn adopt(socket: Inherited) -> std::io::Result<Door> {
    Ok(match socket {
        Inherited::Tcp(listener) => {
            listener.set_nonblocking(true)?;
            Door::Tcp(TcpListener::from_std(listener)?)
        }
        Inherited::Unix(listener) => {
            listener.set_nonblocking(true)?;
            Door::Unix(UnixListener::from_std(listener)?)
        }
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
        let failure = Failure::unavailable(
            anyhow::Error::from(error).context(format!("failed to listen on `{address}`")),
        );
        if in_use {
            failure.hint("something listens there already: choose another port with --port")
        } else {
            failure
        }
    })
}

fn bind_socket(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), Failure> {
    clear(path)?;
    listen(path, mode).map_err(|error| {
        let error = anyhow::Error::from(error).context(format!("failed to listen on `{}`", path.display()));
        Failure::unavailable(error)
            .hint("name a path of at most 107 bytes in a directory that is there and that you may write")
    })
}

/// Takes away a socket that nobody listens on any more, and nothing else.
fn clear(path: &Path) -> Result<(), Failure> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let refuse = |what: &str, hint: &str| {
        let error = anyhow::anyhow!("failed to listen on `{}`: {what}", path.display());
        Err(Failure::unavailable(error).hint(hint))
    };
    if !metadata.file_type().is_socket() {
        return refuse("something else than a socket is there", "choose another path with --unix-socket");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            step(std::fs::remove_file(path), || format!("failed to take away the old `{}`", path.display()))
        }
        _ => refuse("something listens there already", "choose another path with --unix-socket"),
    }
}

fn listen(path: &Path, mode: u32) -> std::io::Result<(UnixListener, SocketFile)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // What a socket has when it is bound is what its file has: at no time may it be entered by others.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // The umask may have taken something away.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    let file = SocketFile { path: path.to_owned(), inode: std::fs::symlink_metadata(path)?.ino() };
    rustix::net::listen(&socket, BACKLOG)?;
    Ok((UnixListener::from_std(socket.into())?, file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else's may be there by now.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            std::fs::remove_file(&self.path).ok();
        }
    }
}
