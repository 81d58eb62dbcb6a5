//! Tells a service manager how we are (`sd_notify`): ready, reloading, stopping, alive.
//!
//! The protocol is a line of text in a datagram; no library is needed for it. Whoever isn't started by one that listens tells
//! nobody.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::config::variable;

/// How long a service manager that doesn't read may hold us up.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever wants to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notify {
    manager: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Whoever the environment names.
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str| variable(name).to_string_lossy().parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0);
        Self {
            manager: address(variable("NOTIFY_SOCKET").as_os_str().as_bytes()),
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// Clients can connect.
    pub(crate) fn ready(&self, url: &str) {
        self.tell(&format!("READY=1\nSTATUS=listens on {url}"));
    }

    /// What lies in files is read again; [`Self::reloaded`] follows.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It was read.
    pub(crate) fn reloaded(&self) {
        self.tell("READY=1");
    }

    /// The end has begun.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=lets calls end");
    }

    /// Shows that we are alive as often as is asked for, for as long as it is polled.
    pub(crate) async fn live(&self) {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(watchdog / 2);
        loop {
            ticks.tick().await;
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, state: &str) {
        let Some(manager) = &self.manager else { return };
        let told = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.send_to_addr(state.as_bytes(), manager)
        });
        if let Err(error) = told {
            tracing::warn!(error = &error as &dyn std::error::Error, "the service manager can't be told");
        }
    }
}

/// A path, or with `@` before it a name that lies in no file system.
fn address(text: &[u8]) -> Option<SocketAddr> {
    match text {
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(text)).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_has_a_path_or_an_abstract_name() {
        assert!(address(b"/run/x").unwrap().as_pathname().is_some());
        assert_eq!(address(b"@x").unwrap().as_abstract_name(), Some(&b"x"[..]));
        for nothing in [&b""[..], b"@", b"run/x", b"vsock:2:1"] {
            assert!(address(nothing).is_none());
        }
    }

    #[test]
    fn states_come_as_datagrams_and_nobody_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify { manager: address(path.as_os_str().as_bytes()), watchdog: None };
        let mut bytes = [0; 256];
        let mut next = || {
            let count = manager.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..count].to_vec()).unwrap()
        };
        notify.ready("http://x");
        assert_eq!(next(), "READY=1\nSTATUS=listens on http://x");
        notify.reloading();
        let told = next();
        let micros = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
        drop(manager);
        notify.stopping();
        Notify::default().stopping();
    }
}
