//! The real binary on sockets of its machine, on sockets that a service manager opened, and what it tells that one.
#![cfg(test)]

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use hayward_testkit::curl::{Curled, curl};
use hayward_testkit::daemon::{Daemon, command};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"glob","arguments":{"pattern":"*","path":"/proc/self/fdinfo"}}}"#;

/// A folder, and paths in it.
struct Rig {
    dir: TempDir,
}

impl Rig {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn socket(&self) -> String {
        self.path("http.sock").to_str().unwrap().to_owned()
    }

    fn start(&self, flags: &[&str]) -> Daemon {
        let socket = self.socket();
        let flags = [&["--unix-socket", &socket], flags].concat();
        Daemon::start(BINARY, &self.path("data"), &flags).unwrap()
    }

    /// Runs `serve` that is to fail.
    fn fail(&self, flags: &[&str]) -> (Option<i32>, String) {
        let socket = self.socket();
        let args = [&["serve", "--port", "0", "--unix-socket", &socket], flags].concat();
        ended(&command(BINARY, args).arg("--data-dir").arg(self.path("data2")).output().unwrap())
    }

    /// Calls a tool through the socket.
    fn call(&self, token: &str, headers: &[&str]) -> Curled {
        let bearer = format!("Authorization: Bearer {token}");
        let given: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
        let socket = self.socket();
        let args =
            ["--unix-socket", &socket, "-H", &bearer, "-H", "Content-Type: application/json", "-d", CALL];
        curl(&[&args, &given[..], &["http://localhost/mcp"]].concat()).unwrap()
    }

    /// The last intent of the record.
    fn recorded(&self) -> Value {
        let text = fs::read_to_string(self.path("data/audit/record.jsonl")).unwrap();
        let mut records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.rfind(|record| record["type"] == "intent").unwrap()
    }
}

fn ended(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::symlink_metadata(path).unwrap();
    assert!(metadata.file_type().is_socket());
    metadata.permissions().mode() & 0o777
}

#[test]
fn calls_come_through_a_private_socket_that_goes_with_the_daemon() {
    let rig = Rig::new();
    let mut daemon = rig.start(&[]);
    assert_eq!(daemon.ready["unix_socket"], rig.socket());
    assert_eq!(mode(&rig.path("http.sock")), 0o600);
    let called = rig.call(daemon.token("rw"), &["X-Forwarded-For: 203.0.113.9"]);
    assert_eq!(called.status, 200, "{called:?}");
    assert!(rig.recorded()["client_address"].is_null() && rig.recorded()["proxy"].is_null());
    assert_eq!(rig.call("no", &[]).status, 401);
    assert_eq!(rig.call(daemon.token("rw"), &["Host: evil.com"]).status, 403);
    daemon.signal(Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    assert!(!rig.path("http.sock").exists());
}

#[test]
fn a_socket_alone_with_a_mode_and_a_proxy_behind_it() {
    let rig = Rig::new();
    let flags =
        ["--unix-socket", &rig.socket(), "--unix-socket-mode", "0666", "--no-tcp", "--behind-proxy", "unix"];
    let args = [&["serve"], &flags[..]].concat();
    let mut serve = command(BINARY, args);
    serve.arg("--data-dir").arg(rig.path("data")).arg("--ready-file").arg(rig.path("ready"));
    let mut running = Running(serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let ready = running.ready(&rig.path("ready"));
    assert_eq!(ready["url"], "http://localhost/mcp");
    assert_eq!(mode(&rig.path("http.sock")), 0o666);
    let token = ready["rw_token"].as_str().unwrap();
    assert_eq!(rig.call(token, &["X-Forwarded-For: 203.0.113.9"]).status, 200);
    assert_eq!(
        (&rig.recorded()["client_address"], &rig.recorded()["proxy"]),
        (&json!("203.0.113.9:0"), &json!("unix"))
    );
}

#[test]
fn an_old_socket_is_replaced_and_nothing_else_is() {
    let rig = Rig::new();
    drop(UnixListener::bind(rig.socket()).unwrap());
    let daemon = rig.start(&[]);
    assert_eq!(rig.call(daemon.token("ro"), &[]).status, 200);
    let (code, told) = rig.fail(&[]);
    assert!(code == Some(5) && told.contains("something listens there already"), "{told}");
    assert_eq!(rig.call(daemon.token("ro"), &[]).status, 200);
    drop(daemon);
    fs::write(rig.socket(), "mine").unwrap();
    let (code, told) = rig.fail(&[]);
    assert!(code == Some(5) && told.contains("something else than a socket"), "{told}");
    assert_eq!(fs::read_to_string(rig.socket()).unwrap(), "mine");
    let long = format!("/tmp/{}", "x".repeat(200));
    assert_eq!(rig.fail(&["--unix-socket-mode", "0999"]).0, Some(2));
    let args =
        ["serve", "--no-tcp", "--unix-socket", &long, "--data-dir", rig.path("data2").to_str().unwrap()]
            .map(String::from);
    let (code, told) = ended(&command(BINARY, args).output().unwrap());
    assert!(code == Some(5) && told.contains("at most 107 bytes"), "{told}");
}

/// A daemon that was started in a way of its own.
struct Running(Child);

impl Running {
    /// Starts it with these sockets as 3 and 4, as a service manager does.
    fn activated(rig: &Rig, sockets: [OwnedFd; 2], environment: &str, flags: &[&str]) -> Self {
        let script = format!("exec 3<&0 4>&1 </dev/null >/dev/null; export {environment}; exec \"$@\"");
        let [third, fourth] = sockets;
        let mut serve = command("/bin/sh", ["-c", &script, "sh", BINARY, "serve"]);
        serve.args(flags).arg("--data-dir").arg(rig.path("data")).arg("--ready-file").arg(rig.path("ready"));
        serve.stdin(third).stdout(fourth).stderr(Stdio::piped());
        Self(serve.spawn().unwrap())
    }

    fn ready(&mut self, file: &Path) -> Value {
        let started = Instant::now();
        while !file.exists() {
            assert!(matches!(self.0.try_wait(), Ok(None)), "it ended before it listened");
            assert!(started.elapsed() < Duration::from_secs(20), "it does not listen");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            self.0.wait().ok();
        }
    }
}

fn tcp(address: &str) -> TcpListener {
    TcpListener::bind(address).unwrap()
}

#[test]
fn sockets_of_a_service_manager_take_the_place_of_the_port() {
    let rig = Rig::new();
    let (port, socket) = (tcp("127.0.0.1:0"), UnixListener::bind(rig.socket()).unwrap());
    let address = port.local_addr().unwrap();
    // Who comes before the daemon is served by it.
    let early = std::thread::spawn(move || curl(&[&format!("http://{address}/health")]).unwrap());
    let sockets = [port.into(), socket.into()];
    let mut running = Running::activated(&rig, sockets, "LISTEN_PID=$$ LISTEN_FDS=2", &["--port", "1"]);
    assert_eq!(early.join().unwrap().status, 200);
    let ready = running.ready(&rig.path("ready"));
    assert_eq!(ready["url"], format!("http://{address}/mcp"));
    let token = ready["rw_token"].as_str().unwrap();
    assert_eq!(rig.call(token, &[]).status, 200);
    // They are the service manager's: the file stays.
    drop(running);
    assert!(rig.path("http.sock").exists());
}

#[test]
fn sockets_that_can_not_be_listened_on_are_told_and_those_of_others_are_left_alone() {
    let udp = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    let port = || OwnedFd::from(tcp("127.0.0.1:0"));
    let cases: [(OwnedFd, &str, &[&str]); 4] = [
        (udp(), "LISTEN_FDS=2", &["socket 2 of `LISTEN_FDS`"]),
        (port(), "LISTEN_FDS=100000", &["`LISTEN_FDS` is 100000"]),
        (port(), "LISTEN_FDS=9", &["socket 9 of `LISTEN_FDS`"]),
        (tcp("0.0.0.0:0").into(), "LISTEN_FDS=2", &["refusing to listen on `0.0.0.0`"]),
    ];
    for (socket, environment, expect) in cases {
        let rig = Rig::new();
        let environment = format!("LISTEN_PID=$$ {environment}");
        let mut running = Running::activated(&rig, [port(), socket], &environment, &["--limit", "x=1"]);
        let mut told = String::new();
        std::io::Read::read_to_string(&mut running.0.stderr.take().unwrap(), &mut told).unwrap();
        assert_eq!(running.0.wait().unwrap().code(), Some(78), "{told}");
        for part in [expect, &["unknown limit `x`"]].concat() {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    let rig = Rig::new();
    let not_ours = tcp("127.0.0.1:0");
    let address = not_ours.local_addr().unwrap();
    let sockets = [not_ours.into(), port()];
    let mut running = Running::activated(&rig, sockets, "LISTEN_PID=1 LISTEN_FDS=1", &["--port", "0"]);
    let ready = running.ready(&rig.path("ready"));
    assert_ne!(ready["url"], format!("http://{address}/mcp"));
}

#[test]
fn a_service_manager_is_told_of_every_turn() {
    let rig = Rig::new();
    let manager = UnixDatagram::bind(rig.path("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut serve = command(BINARY, ["serve", "--port", "0"]);
    serve.arg("--data-dir").arg(rig.path("data")).stdout(Stdio::null()).stderr(Stdio::null());
    serve.env("NOTIFY_SOCKET", rig.path("notify")).env("WATCHDOG_USEC", "200000");
    let running = Running(serve.spawn().unwrap());
    let until = |expect: &str| {
        let mut bytes = [0; 512];
        let started = Instant::now();
        loop {
            let count = manager.recv(&mut bytes).unwrap();
            let told = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if told.starts_with(expect) {
                return told;
            }
            assert!(told == "WATCHDOG=1" && started.elapsed() < Duration::from_secs(20), "{expect}: {told}");
        }
    };
    assert!(until("READY=1").contains("STATUS=listens on http://127.0.0.1:"));
    until("WATCHDOG=1");
    running.signal(Signal::HUP);
    assert!(until("RELOADING=1\n").contains("\nMONOTONIC_USEC="));
    until("READY=1");
    running.signal(Signal::TERM);
    until("STOPPING=1");
}
