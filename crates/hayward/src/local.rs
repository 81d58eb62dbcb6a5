//! The socket of a running daemon, for processes of this machine.
//!
//! The kernel vouches for the peer: root and the daemon's own user get in, nobody else does. The first
//! line says how much the peer wants to be able to do; from then on it is a client on a byte stream.
//!
//! ```text
//! hayward/1 rw\n
//! {"jsonrpc":"2.0",…}\n
//! ```

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayward_api::{Principal, Tier};
use hayward_gateway::listener::{Local, serve_stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::stack::{Stack, step};

/// Bytes of the first line.
const GREETING_BYTES_MAX: u64 = 64;
/// Clients at once.
const CLIENTS_MAX: usize = 64;
/// How long a daemon may take from its lock to its socket.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two tries.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Time in which the first line must have come.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// The path of the socket.
pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("hayward.sock")
}

/// A socket that is listened on.
pub(crate) struct Socket {
    path: PathBuf,
    accepting: JoinHandle<()>,
}

impl Socket {
    /// Waits for the clients to be gone, and takes the socket away.
    pub(crate) async fn close(self) {
        self.accepting.await.ok();
        std::fs::remove_file(&self.path).ok();
    }
}

/// Listens on the socket until `shutdown` fires. A daemon without its socket still serves: a path that is
/// too long for a socket is told in the log.
pub(crate) fn listen(data_dir: &Path, stack: &Stack, shutdown: CancellationToken) -> Option<Socket> {
    let path = socket_path(data_dir);
    // The directory is ours alone, so what lies there was left by a process that is gone.
    std::fs::remove_file(&path).ok();
    let listener = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match listener {
        Ok(listener) => {
            let local = stack.local(Arc::new(Principal::anonymous()));
            let clients = Clients { local, places: Arc::new(Semaphore::new(CLIENTS_MAX)), shutdown };
            Some(Socket { path, accepting: TaskTracker::new().spawn(clients.accept(listener)) })
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, path = %path.display(), "no local socket");
            None
        }
    }
}

struct Clients {
    /// What every client is served with, but for who it is.
    local: Local,
    /// Bounds them.
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Clients {
    async fn accept(self, listener: UnixListener) {
        let clients = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = self.accept_one(&listener) => accepted,
            };
            match accepted {
                Ok((stream, place)) if is_trusted(&stream) => {
                    let serving = client(stream, self.local.clone(), self.shutdown.clone());
                    clients.spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
                Ok(_) => tracing::warn!("a process of another user tried the local socket"),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a local client can't be accepted"
                    );
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        clients.close();
        clients.wait().await;
    }

    /// The next client, once there is a place for it.
    async fn accept_one(
        &self,
        listener: &UnixListener,
    ) -> std::io::Result<(UnixStream, Option<OwnedSemaphorePermit>)> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, _) = listener.accept().await?;
        Ok((stream, place))
    }
}

fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn client(stream: UnixStream, local: Local, shutdown: CancellationToken) {
    let (input, output) = stream.into_split();
    let mut input = BufReader::new(input);
    let Some(ceiling) = timeout(GREETING_TIMEOUT, greeting(&mut input)).await.ok().flatten() else {
        tracing::warn!("a local client did not greet");
        return;
    };
    let principal = Arc::new(Principal::local("local", ceiling));
    let local = Local { principal, ..local };
    if let Err(error) = serve_stdio(input, output, local, shutdown).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a local client ended early");
    }
}

async fn greeting<R: tokio::io::AsyncBufRead + Unpin>(input: &mut R) -> Option<Tier> {
    let mut line = String::new();
    input.take(GREETING_BYTES_MAX).read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix("hayward/1 ")?.parse().ok().filter(|ceiling| *ceiling <= Tier::Operate)
}

/// Connects standard input and output to the daemon that has this data directory.
pub(crate) async fn join(data_dir: &Path, ceiling: Tier) -> Result<(), Failure> {
    let path = socket_path(data_dir);
    let stream = connect(&path).await.map_err(|failure| {
        failure.hint("start `hayward serve` on this directory, so that several clients share one daemon")
    })?;
    let (mut from_daemon, mut to_daemon) = stream.into_split();
    let greeting = format!("hayward/1 {}\n", ceiling.role());
    step(to_daemon.write_all(greeting.as_bytes()).await, || "failed to greet the daemon".to_owned())?;
    let forward = TaskTracker::new().spawn(async move {
        tokio::io::copy(&mut tokio::io::stdin(), &mut to_daemon).await.ok();
        // The end of our input is the end of the daemon's; its last answers still come.
        to_daemon.shutdown().await.ok();
    });
    let copied = tokio::io::copy(&mut from_daemon, &mut tokio::io::stdout()).await;
    forward.abort();
    step(copied.map(drop), || "the connection to the daemon broke".to_owned())
}

/// Connects to a process that has the directory and may be about to listen.
async fn connect(path: &Path) -> Result<UnixStream, Failure> {
    let started = Instant::now();
    loop {
        match UnixStream::connect(path).await {
            Err(_) if started.elapsed() < CONNECT_TIMEOUT => tokio::time::sleep(CONNECT_PAUSE).await,
            connected => {
                return step(connected, || format!("failed to reach the daemon at `{}`", path.display()));
            }
        }
    }
}
