//! The socket of a running daemon, for processes of this machine.
//!
//! The kernel vouches for the peer: root and the daemon's own user get in, nobody else does. The first
//! line says how much the peer wants to be able to do; from then on it is a client on a byte stream, or a command that
//! asks one thing of the desk of tokens. A peer that greets otherwise gets one line that says so, a JSON-RPC error, and
//! is hung up on.
//!
//! ```text
//! hayward/1 rw\n              hayward/1 tokens\n
//! {"jsonrpc":"2.0",…}\n       {"revoke":{"token":"…"}}\n
//! ```

mod tokens;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayward_api::{Fence, Principal, Tier};
use hayward_gateway::listener::{InForce, Local, serve_stdio};
use hayward_mcp::envelope::Frame;
use hayward_mcp::error::{INVALID_REQUEST, RpcError};
use hayward_mcp::stdio::write_line;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::stack::{Stack, step};
use crate::tokens::TokenDesk;

pub(crate) use tokens::ask;

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
pub(crate) fn listen(
    stack: &Stack,
    desk: TokenDesk,
    in_force: InForce,
    shutdown: CancellationToken,
) -> Option<Socket> {
    let path = socket_path(stack.data_dir());
    // The directory is ours alone, so what lies there was left by a process that is gone.
    std::fs::remove_file(&path).ok();
    let listener = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match listener {
        Ok(listener) => {
            let local = stack.local(Arc::new(Principal::anonymous()), in_force);
            let places = Arc::new(Semaphore::new(CLIENTS_MAX));
            let clients = Clients { local, fence: stack.fence.clone(), desk, places, shutdown };
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
    /// What they may reach.
    fence: Fence,
    /// What commands about tokens ask.
    desk: TokenDesk,
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
                    let serving = self.client(stream);
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

    /// Serves one client, whom the kernel vouches for.
    fn client(&self, stream: UnixStream) -> impl Future<Output = ()> + Send + use<> {
        let (local, fence, desk) = (self.local.clone(), self.fence.clone(), self.desk.clone());
        let shutdown = self.shutdown.clone();
        async move {
            let (input, mut output) = stream.into_split();
            let mut input = BufReader::new(input);
            match timeout(GREETING_TIMEOUT, greeting(&mut input)).await.ok().flatten() {
                Some(Greeting::Calls(ceiling)) => {
                    let principal = Arc::new(Principal { fence, ..Principal::local("local", ceiling) });
                    call(input, output, Local { principal, ..local }, shutdown).await;
                }
                Some(Greeting::Tokens) => {
                    tokens::serve(input, output, (&desk, local.protocol), shutdown).await;
                }
                Some(Greeting::Gone) => {}
                None => {
                    tracing::warn!("a local client did not greet");
                    let answer = write_line(&mut output, Frame::error(None, &bad_greeting()));
                    // A peer that doesn't read, or is gone, holds up nothing.
                    timeout(GREETING_TIMEOUT, answer).await.ok();
                }
            }
        }
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
    stream.peer_cred().is_ok_and(|peer| may_join(peer.uid(), own))
}

/// Whether a process of user `peer` may be a client of a daemon of user `own`.
fn may_join(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

async fn call(
    input: BufReader<OwnedReadHalf>,
    output: OwnedWriteHalf,
    local: Local,
    shutdown: CancellationToken,
) {
    if let Err(error) = serve_stdio(input, output, local, shutdown).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a local client ended early");
    }
}

fn bad_greeting() -> RpcError {
    RpcError::new(
        INVALID_REQUEST,
        "the first line is not `hayward/1 ro`, `hayward/1 rw` or `hayward/1 tokens`; hint: connect with the \
         `hayward` of the daemon's version",
    )
}

/// What a peer comes for.
enum Greeting {
    /// To call tools, up to this tier.
    Calls(Tier),
    /// To ask one thing of the desk of tokens.
    Tokens,
    /// For nothing: `hayward doctor` only looks whether somebody listens.
    Gone,
}

async fn greeting<R: tokio::io::AsyncBufRead + Unpin>(input: &mut R) -> Option<Greeting> {
    if input.fill_buf().await.ok()?.is_empty() {
        return Some(Greeting::Gone);
    }
    let mut line = String::new();
    input.take(GREETING_BYTES_MAX).read_line(&mut line).await.ok()?;
    // Without its end it was cut, by us or by the peer: what follows would be read as a message.
    match line.strip_suffix('\n')?.trim_end().strip_prefix("hayward/1 ")? {
        "tokens" => Some(Greeting::Tokens),
        role => role.parse().ok().filter(|ceiling| *ceiling <= Tier::Operate).map(Greeting::Calls),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A daemon's socket, and what keeps it.
    struct Rig {
        dir: tempfile::TempDir,
        stack: Stack,
        socket: Socket,
        shutdown: CancellationToken,
    }

    impl Rig {
        async fn start() -> Self {
            Self::start_under(Stack::in_force).await
        }

        async fn start_under(in_force: impl FnOnce(&Stack) -> InForce) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let data = dir.path().join("data");
            let (stack, shutdown) = (Stack::for_test(&data).await, CancellationToken::new());
            let desk = TokenDesk::new(&stack, None);
            let socket = listen(&stack, desk, in_force(&stack), shutdown.clone()).unwrap();
            Self { dir, stack, socket, shutdown }
        }

        fn path(&self) -> PathBuf {
            socket_path(&self.dir.path().join("data"))
        }

        /// Everything that comes back for these bytes, until the daemon hangs up.
        async fn answers(&self, sent: &str) -> Vec<Value> {
            let mut stream = UnixStream::connect(self.path()).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut bytes = Vec::new();
            // A reset behind the answer is a daemon that didn't wait for the rest of what was sent.
            stream.read_to_end(&mut bytes).await.ok();
            let text = String::from_utf8(bytes).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }

        async fn end(self) {
            self.shutdown.cancel();
            self.socket.close().await;
            self.stack.close().await;
        }
    }

    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}
"#;

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_goes_with_the_daemon() {
        let rig = Rig::start().await;
        let path = rig.path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let folder = path.parent().unwrap();
        assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
        rig.end().await;
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_client_that_greets_gets_what_it_asked_for_and_no_more() {
        let rig = Rig::start().await;
        for (role, tools) in [("ro", 4), ("rw", 8)] {
            let answers = rig.answers(&format!("hayward/1 {role}\n{LIST}")).await;
            assert_eq!(answers[0]["result"]["tools"].as_array().unwrap().len(), tools, "{role}");
        }
        rig.end().await;
    }

    #[tokio::test]
    async fn a_bad_greeting_is_told_and_hung_up_on() {
        let rig = Rig::start().await;
        let long = format!("hayward/1 ro{}\n", " ".repeat(100));
        for bad in [
            "",
            "\n",
            LIST,
            "hayward/2 rw\n",
            "hayward/1 danger\n",
            "hayward/1 admin\n",
            &long,
            "hayward/1\n",
        ] {
            let answers = rig.answers(&format!("{bad}{LIST}")).await;
            let [answer] = answers.as_slice() else { panic!("{bad:?}: {answers:?}") };
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.starts_with("the first line is not `hayward/1 ro`"), "{bad:?}: {answer}");
            assert_eq!(answer["id"], json!(null));
        }
        rig.end().await;
    }

    #[tokio::test]
    async fn the_desk_answers_one_question_that_it_understands() {
        let rig = Rig::start().await;
        let long = format!("{{\"revoke\":{{\"token\":\"{}\"}}}}\n", "x".repeat(70_000));
        for bad in
            ["\n", "list\n", "\"list\"", "{\"make\":{}}\n", "{\"rotate\":{\"role\":\"boss\"}}\n", &long]
        {
            let answers = rig.answers(&format!("hayward/1 tokens\n{bad}")).await;
            let [answer] = answers.as_slice() else { panic!("{bad:?}: {answers:?}") };
            assert_eq!(answer["error"]["code"], "invalid", "{bad:?}: {answer}");
        }
        let answers = rig.answers("hayward/1 tokens\n\"list\"\n\"list\"\n").await;
        assert_eq!(answers, [json!({"ok": {"listed": []}})]);
        rig.end().await;
    }

    #[tokio::test]
    async fn a_change_of_tokens_is_recorded_under_what_is_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let other = Stack::for_test(dir.path()).await;
        let rig = Rig::start_under(|_| other.in_force()).await;
        let create = json!({"create": {"name": "a", "spec": {"role": "ro"}}});
        let answers = rig.answers(&format!("hayward/1 tokens\n{create}\n")).await;
        assert!(answers[0]["ok"]["created"]["token"].is_string(), "{answers:?}");
        let says = |data: &Path| {
            std::fs::read_to_string(data.join("audit/record.jsonl")).unwrap().contains("tokens.create")
        };
        assert!(says(dir.path()) && !says(&rig.dir.path().join("data")));
        rig.end().await;
        other.close().await;
    }

    #[test]
    fn only_root_and_the_daemons_own_user_may_join() {
        for (peer, own, is_let_in) in
            [(0, 0, true), (0, 1000, true), (1000, 1000, true), (1000, 0, false), (1001, 1000, false)]
        {
            assert_eq!(may_join(peer, own), is_let_in, "{peer} at {own}");
        }
    }

    #[tokio::test]
    async fn the_kernel_names_the_peer() {
        let (near, _far) = UnixStream::pair().unwrap();
        assert!(is_trusted(&near));
    }
}
