//! A registry of npm with packages of ours, which counts what is asked of it.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hayward_exec::{Ending, Executor, Job, Profile, Quota, Survivors};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Answers lines of the protocol, and says whether its script was run.
pub(crate) const SERVER: &str = r#"#!/usr/bin/env node
const fs = require("fs"), os = require("os");
console.error("ran postinstall: " + fs.existsSync(__dirname + "/postinstall-ran"));
try { fs.writeFileSync(__dirname + "/written", "x"); console.error("written"); } catch { console.error("read only"); }
require("readline").createInterface({input: process.stdin}).on("line", (line) => {
  const {id, method, params} = JSON.parse(line);
  const say = (what) => console.log(JSON.stringify({jsonrpc: "2.0", id, ...what}));
  const serverInfo = {name: "packed", version: "1.0.0"};
  if (method === "initialize")
    say({result: {protocolVersion: params.protocolVersion, capabilities: {tools: {}}, serverInfo}});
  else if (method === "tools/list") say({result: {tools: [{name: "t", inputSchema: {type: "object"}}]}});
  else if (id !== undefined) say({error: {code: -32601, message: "no such method"}});
});
"#;

/// Listens until it is dropped.
pub(crate) struct Registry {
    pub(crate) url: String,
    tarballs: Arc<AtomicUsize>,
    content: Arc<Mutex<Vec<u8>>>,
    _serving: JoinSet<()>,
}

impl Registry {
    /// One package, `@tests/packed` at 1.0.0, of these files and this `package.json`.
    pub(crate) async fn serving(executor: &Executor, described: Value, files: &[(&str, &str)]) -> Self {
        let content = Arc::new(Mutex::new(pack(executor, &described, files).await));
        let integrity = integrity(&content.lock().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mut serving, tarballs) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        let mut version = described;
        version["dist"] = json!({"tarball": format!("{url}/packed.tgz"), "integrity": integrity});
        let document = json!({
            "name": "@tests/packed", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}});
        let (tarball, count) = (Arc::clone(&content), Arc::clone(&tarballs));
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(stream, &document, &tarball, &count).await;
            }
        });
        Self { url, tarballs, content, _serving: serving }
    }

    /// How often the package itself was asked for.
    pub(crate) fn tarballs(&self) -> usize {
        self.tarballs.load(Ordering::Relaxed)
    }

    /// From now on the same version is something else.
    pub(crate) async fn replace(&self, executor: &Executor, described: Value, files: &[(&str, &str)]) {
        let content = pack(executor, &described, files).await;
        *self.content.lock().unwrap() = content;
    }
}

fn integrity(content: &[u8]) -> String {
    format!("sha512-{}", STANDARD.encode(Sha512::digest(content)))
}

async fn answer(mut stream: TcpStream, document: &Value, tarball: &Mutex<Vec<u8>>, count: &AtomicUsize) {
    let (mut head, mut chunk) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|it| it == b"\r\n\r\n") {
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 => head.extend_from_slice(&chunk[..read]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let content = tarball.lock().unwrap().clone();
    let (status, body) = if path == "/packed.tgz" {
        count.fetch_add(1, Ordering::Relaxed);
        ("200 OK", content)
    } else if path.to_lowercase() == "/@tests%2fpacked" {
        let mut document = document.clone();
        document["versions"]["1.0.0"]["dist"]["integrity"] = json!(integrity(&content));
        ("200 OK", document.to_string().into_bytes())
    } else {
        ("404 Not Found", b"{}".to_vec())
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    drop(stream.write_all(&[head.as_bytes(), &body].concat()).await);
    drop(stream.shutdown().await);
}

/// The tarball that `npm pack` would make.
async fn pack(executor: &Executor, described: &Value, files: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("package");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(package.join("package.json"), described.to_string()).unwrap();
    for (name, text) in files {
        std::fs::write(package.join(name), text).unwrap();
    }
    run(executor, folder.path(), &["tar", "--mtime=@0", "--sort=name", "-czf", "packed.tgz", "package"])
        .await;
    std::fs::read(folder.path().join("packed.tgz")).unwrap()
}

/// Runs a program to its good end.
pub(crate) async fn run(executor: &Executor, cwd: &Path, command: &[&str]) -> String {
    let job = Job {
        program: command[0].to_owned(),
        args: command[1..].iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec![(
            "PATH".to_owned(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        )],
        cwd: cwd.to_owned(),
        stdout_bytes_max: 1 << 20,
        stderr_bytes_max: 1 << 20,
        timeout: super::place::PATIENCE,
        survivors: Survivors::End,
        profile: Profile::Full,
        quota: Quota::default(),
        label: None,
    };
    let finished = executor.run(job, &CancellationToken::new()).await.unwrap();
    assert_eq!(finished.ending, Ending::Exited { code: 0 }, "{command:?}: {finished:?}");
    String::from_utf8_lossy(&finished.stdout.bytes).into_owned()
}
