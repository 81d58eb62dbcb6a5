//! Where instances run: the contract that every placement keeps.
//!
//! ```text
//!  Order ── start ──► Running { access, log, ended }      stop ──► ended
//! ```
//!
//! Whatever a placement started is gone when `ended` is there: no process, no container, no file of it is left. It ends when
//! `stop` fires, and when nobody waits for `ended` any more.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hayward_api::kinds::server::ServerSpec;
use hayward_mcp::upstream::{BoxFuture, Connect, Driver, Events, Http, Lines, Sse, Wire};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::log::Log;

/// One instance of a server, to be started.
#[derive(Clone)]
pub struct Order {
    /// The name of the instance: letters, digits, `-`, `_` and `.`, and nobody else's.
    pub name: String,
    /// The server.
    pub spec: Arc<ServerSpec>,
    /// Its environment: names and values, those of secrets included.
    pub env: Vec<(String, String)>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where instances run.
pub trait Placement: Send + Sync {
    /// Starts an instance.
    fn start(&self, order: Order, stop: CancellationToken) -> BoxFuture<'_, Result<Running, PlacementError>>;

    /// Goes on with an instance that a daemon that died has left. None if there is none that would be started just so now.
    fn adopt(
        &self,
        _order: Order,
        _stop: CancellationToken,
    ) -> BoxFuture<'_, Result<Option<Running>, PlacementError>> {
        Box::pin(async { Ok(None) })
    }

    /// Removes what a daemon that died has left of an instance, with which nobody goes on.
    fn discard<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    /// Runs a program beside an instance that runs, and gives its exit code.
    fn exec(&self, name: &str, argv: &[String]) -> BoxFuture<'_, Result<i32, PlacementError>> {
        let what = format!("nothing can be run beside `{}`: `{}`", name.escape_debug(), argv.join(" "));
        Box::pin(async { Err(PlacementError::unfit("of this server", what)) })
    }
}

/// An instance that was started.
pub struct Running {
    /// How it is spoken to.
    pub access: Access,
    /// What it says beside.
    pub log: Log,
    /// How it ended.
    pub ended: BoxFuture<'static, End>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("access", &self.access).finish_non_exhaustive()
    }
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended it that wasn't ours.
    Signaled {
        /// Its number.
        signal: i32,
    },
    /// It used more memory than it may.
    OutOfMemory,
    /// It was stopped.
    Stopped,
    /// It couldn't be started, or nobody knows what became of it.
    Failed {
        /// Why.
        why: String,
    },
}

/// Why an instance can't be started.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// The server doesn't say what this placement needs.
    #[error("placement `{placement}` can't run this server: {what}")]
    Unfit {
        /// The placement.
        placement: &'static str,
        /// What it lacks.
        what: String,
    },
    /// A folder of the instance can't be made.
    #[error("failed to make the folder of the instance")]
    Folder(#[source] std::io::Error),
    /// Its package says no exact version, so it would be another program tomorrow.
    #[error("package `{package}` has no exact version; hint: say `{example}`")]
    Unpinned {
        /// The package, as it was said.
        package: String,
        /// How to say it.
        example: String,
    },
    /// Its package can't be fetched.
    #[error("failed to fetch package `{package}`: {why}")]
    Fetch {
        /// The package and its version.
        package: String,
        /// Why, with the last words of who fetched it.
        why: String,
    },
    /// What was fetched isn't there any more as it was.
    #[error(
        "package `{package}` is no longer what was fetched; hint: find out who changed `{folder}`, then remove it"
    )]
    Tampered {
        /// The package and its version.
        package: String,
        /// Where it is.
        folder: String,
    },
    /// What was fetched can't be read.
    #[error("failed to read package `{package}`")]
    Unreadable {
        /// The package and its version.
        package: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// It was stopped before it was started.
    #[error("the instance was stopped before it was started")]
    Stopped,
    /// Its container can't be started.
    #[error("failed to start the container of the instance")]
    Engine(#[from] crate::placements::docker::EngineError),
    /// Its process can't be started.
    #[error("failed to start the process of the instance")]
    Process(#[source] hayward_exec::ExecError),
}

impl PlacementError {
    /// The server doesn't say what a placement needs.
    pub(crate) fn unfit(placement: &'static str, what: impl Into<String>) -> Self {
        Self::Unfit { placement, what: what.into() }
    }
}

/// How an instance is spoken to.
pub enum Access {
    /// Over its standard input and output: once.
    Lines(Mutex<Option<Streams>>),
    /// Over Streamable HTTP.
    Http(Address),
    /// Over HTTP with a stream of events (2024-11-05).
    Sse(Address),
}

/// What an instance says, and what is said to it.
pub struct Streams {
    /// Its standard output.
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard input.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
}

/// Where an instance is reached over HTTP.
#[derive(Clone, Debug)]
pub struct Address {
    /// What dials.
    pub connect: Arc<dyn Connect>,
    /// Its address.
    pub url: Url,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lines(_) => "Lines",
            Self::Http(_) => "Http",
            Self::Sse(_) => "Sse",
        })
    }
}

impl Access {
    /// A wire to it, whose messages have at most so many bytes; none if it has its only one already. The driver is to be
    /// run by whoever holds the wire.
    pub fn wire(&self, message_bytes_max: usize) -> Option<(Wire, Events, Driver)> {
        match self {
            Self::Lines(streams) => {
                let Streams { output, input } =
                    streams.lock().unwrap_or_else(PoisonError::into_inner).take()?;
                let (lines, events, driver) = Lines::over(output, input, message_bytes_max);
                Some((Wire::Lines(lines), events, driver))
            }
            Self::Http(Address { connect, url }) => {
                let connect = Arc::clone(connect);
                let (http, events, driver) = Http::over(connect, url, &HeaderMap::new(), message_bytes_max);
                Some((Wire::Http(http), events, driver))
            }
            Self::Sse(Address { connect, url }) => {
                let connect = Arc::clone(connect);
                let (sse, events, driver) =
                    Sse::over(connect, url.clone(), &HeaderMap::new(), message_bytes_max);
                Some((Wire::Sse(sse), events, driver))
            }
        }
    }
}
