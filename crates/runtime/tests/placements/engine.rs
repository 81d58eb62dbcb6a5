//! A Docker engine of our own, with one image: a shell, Perl, and nothing else.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hayward_egress::Client;
use hayward_exec::{
    Choice, Config, Conversation, Executor, Job, Limits, Profile, Quota, SupervisorCommand, Survivors,
};
use hayward_runtime::Dial;
use hayward_runtime::placements::docker::{Docker, Options};
use hayward_testkit::installed::leave_out;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::place::PATIENCE;
use super::registry::run;

/// The image.
pub(crate) const IMAGE: &str = "hayward-tests/shell:1";

/// Where programs are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Packs a root of what this machine has: the shell, Perl, and what they load.
const PACK: &str = r#"
set -e
mkdir -p root/bin root/tmp
cp /bin/dash root/bin/sh
cp /usr/bin/perl root/bin/perl
for library in $(ldd /bin/dash /usr/bin/perl | grep -o '/[^ :]*' | sort -u); do
    case $library in /bin/*|/usr/bin/*) continue ;; esac
    mkdir -p "root${library%/*}"
    cp -L "$library" "root$library"
done
mkdir -p root/usr/lib/x86_64-linux-gnu
cp -a /usr/lib/x86_64-linux-gnu/perl-base root/usr/lib/x86_64-linux-gnu/
tar -C root -cf root.tar .
"#;

/// Connections to an engine.
pub(crate) struct Relay {
    cut: watch::Sender<()>,
    begun: watch::Sender<u32>,
}

impl Relay {
    /// Breaks off all of them, and waits until somebody asks again.
    pub(crate) async fn cut(&self) {
        let mut begun = self.begun.subscribe();
        self.cut.send_replace(());
        timeout(PATIENCE, begun.changed()).await.unwrap().unwrap();
    }
}

/// A running engine.
pub(crate) struct Engine {
    folder: TempDir,
    executor: Executor,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Engine {
    /// Starts one; none where that can't be.
    pub(crate) async fn start() -> Option<Self> {
        let program =
            |name: &str| ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(|it| Path::new(it).join(name));
        for name in ["dockerd", "docker", "dash", "perl"] {
            if !program(name).iter().any(|path| path.exists()) {
                leave_out(&format!("`{name}` is not there"));
                return None;
            }
        }
        let own = std::env::current_exe().unwrap();
        let supervisor = own.parent().and_then(Path::parent).unwrap().join("examples/supervise");
        let executor = Executor::new(Config {
            supervisor: SupervisorCommand { program: supervisor, args: Vec::new() },
            containment: Choice::Detect,
            limits: Limits { grace_ms: 20_000, ..Limits::default() },
            protected: Vec::new(),
            spool: None,
        });
        let folder = tempfile::Builder::new().prefix("engine").tempdir_in("/var/tmp").unwrap();
        let (stop, log) = (CancellationToken::new(), hayward_runtime::log::Log::default());
        let Conversation { output, stderr, finished, input } =
            executor.converse(job(folder.path()), &stop).unwrap();
        let filling = log.clone();
        let ended = tokio::spawn(async move {
            let _input = input;
            let mut finished: Pin<Box<_>> = finished;
            tokio::select! {
                _ = &mut finished => return,
                _ = async { tokio::join!(filling.fill(output), filling.fill(stderr)) } => {}
            }
            drop(finished.await);
        });
        let engine = Self { folder, executor, stop, ended };
        if timeout(PATIENCE, engine.answers()).await.is_err() || engine.ended.is_finished() {
            let last: Vec<_> = log.tail(5).into_iter().map(|line| line.text).collect();
            engine.end().await;
            leave_out(&format!("`dockerd` does not start: {last:?}"));
            return None;
        }
        run(&engine.executor, engine.folder.path(), &["sh", "-c", PACK]).await;
        engine.docker(&["import", "root.tar", IMAGE]).await;
        Some(engine)
    }

    /// A placement in it, whose containers are this one's.
    pub(crate) fn placement(&self, owner: &str) -> Docker {
        self.placement_in(owner, "mcp-servers")
    }

    /// The same, whose containers are in this network.
    pub(crate) fn placement_in(&self, owner: &str, network: &str) -> Docker {
        Self::placement_at(self.folder.path().join("sock"), (owner, network))
    }

    fn placement_at(socket: PathBuf, (owner, network): (&str, &str)) -> Docker {
        let options =
            Options { socket, owner: owner.to_owned(), network: network.to_owned(), hidden: Vec::new() };
        let dial = Dial::new(Client::new(Duration::from_secs(10)));
        Docker::new(options, Arc::new(dial)).unwrap()
    }

    /// The same over connections that can be broken off.
    pub(crate) fn relayed(&self, owner: &str) -> (Docker, Relay) {
        let (socket, engine) = (self.folder.path().join("relay"), self.folder.path().join("sock"));
        let listener = UnixListener::bind(&socket).unwrap();
        let (cut, begun) = (watch::Sender::new(()), watch::Sender::new(0));
        let relay = Relay { cut: cut.clone(), begun: begun.clone() };
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                begun.send_modify(|count| *count += 1);
                let (mut cut, engine) = (cut.subscribe(), engine.clone());
                tokio::spawn(async move {
                    let mut engine = UnixStream::connect(engine).await.unwrap();
                    tokio::select! {
                        _ = cut.changed() => {}
                        _ = tokio::io::copy_bidirectional(&mut peer, &mut engine) => {}
                    }
                });
            }
        });
        (Self::placement_at(socket, (owner, "mcp-servers")), relay)
    }

    /// Posts this as clients of old engines do; whether something was made, and nothing of that name known.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> bool {
        let body = body.to_string();
        let mut engine = UnixStream::connect(self.folder.path().join("sock")).await.unwrap();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: engine\r\ncontent-type: application/json\r\nconnection: close"
        );
        engine
            .write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        engine.read_to_string(&mut answer).await.unwrap();
        let is_made = answer.starts_with("HTTP/1.1 201");
        assert!(is_made || answer.starts_with("HTTP/1.1 409"), "{answer}");
        is_made
    }

    /// What its own client says.
    pub(crate) async fn docker(&self, words: &[&str]) -> String {
        let host = format!("unix://{}", self.folder.path().join("sock").display());
        run(&self.executor, self.folder.path(), &[&["docker", "-H", &host][..], words].concat()).await
    }

    pub(crate) async fn end(self) {
        if !self.ended.is_finished() {
            // The bridges of its networks would outlive it.
            self.docker(&["network", "prune", "--force"]).await;
        }
        self.stop.cancel();
        drop(self.ended.await);
        self.executor.shutdown(Duration::from_secs(1)).await;
    }

    async fn answers(&self) {
        let socket = self.folder.path().join("sock");
        while !self.ended.is_finished() {
            let options = Options {
                socket: socket.clone(),
                owner: "o".into(),
                network: "n".into(),
                hidden: Vec::new(),
            };
            let dial = Dial::new(Client::new(Duration::from_secs(10)));
            match Docker::new(options, Arc::new(dial)) {
                Ok(docker) if docker.ping().await.is_ok() => break,
                _ => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

fn job(folder: &Path) -> Job {
    let at = |name: &str| folder.join(name).display().to_string();
    std::fs::write(folder.join("settings"), "{}").unwrap();
    Job {
        program: "dockerd".to_owned(),
        args: vec![
            format!("--host=unix://{}", at("sock")),
            format!("--data-root={}", at("data")),
            format!("--exec-root={}", at("run")),
            format!("--pidfile={}", at("pid")),
            format!("--config-file={}", at("settings")),
            // Without one, an engine removes that of another engine.
            format!(
                "--bridge={}",
                if Path::new("/sys/class/net/docker0").exists() { "docker0" } else { "none" }
            ),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
            "--ip-forward=false".to_owned(),
        ],
        env: vec![("PATH".to_owned(), PATH.to_owned())],
        cwd: "/".into(),
        stdout_bytes_max: 0,
        stderr_bytes_max: 0,
        timeout: Duration::MAX,
        survivors: Survivors::End,
        profile: Profile::Full,
        quota: Quota::default(),
        label: None,
    }
}
