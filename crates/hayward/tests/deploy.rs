//! The examples of `deploy/`, loaded by the programs that they are for, with the real binary behind them.
//!
//! Only what an operator has to change is changed: the port, the certificate, and where Hayward listens.
#![cfg(test)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use hayward_testkit::certificates::{Authority, Pair, Times};
use hayward_testkit::curl::{Curled, curl};
use hayward_testkit::daemon::{Daemon, command};
use hayward_testkit::installed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Hayward behind a proxy.
struct Rig {
    dir: TempDir,
    pair: Pair,
    daemon: Daemon,
    port: u16,
    proxy: Option<Child>,
}

/// Whether this program is there; if it has to be, it is.
fn has(program: &str) -> bool {
    let is_there = PATH.split(':').any(|folder| Path::new(folder).join(program).is_file());
    if !is_there {
        installed::leave_out(&format!("`{program}` is not installed"));
    }
    is_there
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("deploy").unwrap();
        authority.write(&dir.path().join("ca.pem")).unwrap();
        let pair = authority.issue(dir.path(), "server", Times::Now).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("https://mcp.example.org:{port}");
        let flags = ["--behind-proxy", "127.0.0.1", "--public-url", &url];
        let daemon = Daemon::start(BINARY, &dir.path().join("data"), &flags).unwrap();
        Self { dir, pair, daemon, port, proxy: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An example with what has to be changed, each of which must be there.
    fn example(&self, name: &str, changes: &[(&str, &str)]) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        let mut text = fs::read_to_string(folder.join(name)).unwrap();
        let address = self.daemon.address.to_string();
        let common = [
            ("/etc/ssl/mcp.example.org.pem", self.pair.certificate.to_str().unwrap()),
            ("/etc/ssl/mcp.example.org.key", self.pair.key.to_str().unwrap()),
            ("127.0.0.1:8765", &address),
        ];
        for (from, to) in common.iter().chain(changes) {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        text
    }

    /// Starts the proxy and waits until it answers.
    fn start(&mut self, program: &str, args: &[&str]) {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut proxy = command(program, args);
        proxy.env("PATH", PATH).env("HOME", self.dir.path()).stdout(Stdio::null()).stderr(log);
        self.proxy = Some(proxy.spawn().unwrap());
        let started = Instant::now();
        while self.curl(&["/health"]).status != 200 {
            let log = fs::read_to_string(self.path("log")).unwrap();
            assert!(started.elapsed() < Duration::from_secs(20), "{log}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Runs curl as a client of the proxy, at an address that isn't the proxy's; the last argument is a path or a URL.
    fn curl(&self, args: &[&str]) -> Curled {
        let (last, args) = args.split_last().unwrap();
        let base = format!("https://mcp.example.org:{}", self.port);
        let url = if last.starts_with('/') { format!("{base}{last}") } else { (*last).to_owned() };
        let (ca, at) = (self.path("ca.pem"), format!("mcp.example.org:{}:127.0.0.1", self.port));
        let bearer = format!("Authorization: Bearer {}", self.daemon.token("rw"));
        let common =
            ["--interface", "127.0.0.5", "--cacert", ca.to_str().unwrap(), "--resolve", &at, "-H", &bearer];
        curl(&[&common, args, &[&url]].concat()).unwrap()
    }

    fn call(&self, tool: &str, arguments: &Value, headers: &[&str]) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
        let headers: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
        let args = ["-H", "Content-Type: application/json", "-d", &body];
        let called = self.curl(&[&headers, &args[..], &["/mcp"]].concat());
        assert_eq!(called.status, 200, "{called:?}");
        let answer: Value = serde_json::from_str(&called.body).unwrap();
        answer["result"]["structuredContent"].clone()
    }

    /// The last intent of the record.
    fn recorded(&self) -> Value {
        let text = fs::read_to_string(self.path("data/audit/record.jsonl")).unwrap();
        let mut records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.rfind(|record| record["type"] == "intent").unwrap()
    }

    /// Does what clients do.
    fn try_everything(&self) {
        // A call, whose client is known whatever it says of itself.
        let lies =
            ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: evil.com", "CF-Connecting-IP: 203.0.113.9"];
        assert_eq!(self.call("bash_execute", &json!({"command": "echo fine"}), &lies)["stdout"], "fine\n");
        let recorded = self.recorded();
        assert_eq!(recorded["client_address"], "127.0.0.5:0", "{recorded}");
        assert!(recorded["proxy"].as_str().unwrap().starts_with("127.0.0.1:"), "{recorded}");
        // A page of the proxy's own name may ask, another may not.
        let page = format!("Origin: https://mcp.example.org:{}", self.port);
        assert_eq!(self.curl(&["-H", &page, "/health"]).status, 200);
        assert_eq!(self.curl(&["-H", "Origin: https://evil.com", "/health"]).status, 403);
        // A stream, whose first event comes although the stream goes on. 28: out of time.
        let stream =
            self.curl(&["--no-buffer", "--max-time", "2", "-H", "Accept: text/event-stream", "/sse"]);
        assert!(stream.exit_code == 28 && stream.body.contains("event: endpoint"), "{stream:?}");
        self.move_a_file();
    }

    /// There and back.
    fn move_a_file(&self) {
        let content: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 4]).collect();
        let (from, there, back) = (self.path("from"), self.path("there"), self.path("back"));
        fs::write(&from, &content).unwrap();
        let url_in = |prepared: &Value| {
            let example = prepared["curl_example"].as_str().unwrap().to_owned();
            example.split('\'').find(|part| part.starts_with("https://mcp.example.org:")).unwrap().to_owned()
        };
        let up = url_in(&self.call("prepare_upload", &json!({"dest_path": there}), &[]));
        let sent = self.curl(&["-T", from.to_str().unwrap(), &up]);
        assert!((200..300).contains(&sent.status), "{sent:?}");
        assert!(fs::read(&there).unwrap() == content);
        let down = url_in(&self.call("prepare_download", &json!({"src_path": there}), &[]));
        let taken = self.curl(&["-o", back.to_str().unwrap(), &down]);
        assert!(taken.status == 200 && fs::read(&back).unwrap() == content, "{taken:?}");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut proxy) = self.proxy.take() {
            let pid = i32::try_from(proxy.id()).ok().and_then(Pid::from_raw);
            pid.map(|pid| kill_process(pid, Signal::TERM));
            proxy.wait().ok();
        }
    }
}

#[test]
fn nginx_loads_its_example_and_passes_on_calls_streams_and_files() {
    if !has("nginx") {
        return;
    }
    let mut rig = Rig::new();
    let listen = format!("listen 127.0.0.1:{} ssl", rig.port);
    let site = rig.example("nginx.conf", &[("listen 443 ssl", &listen)]);
    fs::write(rig.path("hayward.conf"), site).unwrap();
    let folder = rig.dir.path().display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp = kinds.map(|kind| format!("{kind}_temp_path {folder}/{kind};")).join("\n");
    let around = format!(
        "daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temp}\ninclude {folder}/hayward.conf;\n}}\n"
    );
    let file = rig.path("nginx.conf");
    fs::write(&file, around).unwrap();
    rig.start("nginx", &["-e", "stderr", "-c", file.to_str().unwrap()]);
    rig.try_everything();
}

#[test]
fn caddy_loads_its_example_and_passes_on_calls_streams_and_files() {
    if !has("caddy") {
        return;
    }
    let mut rig = Rig::new();
    let name = format!("\nhttps://mcp.example.org:{} {{", rig.port);
    let site = rig.example("Caddyfile", &[("\nmcp.example.org {", &name)]);
    let options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n";
    let file = rig.path("Caddyfile");
    fs::write(&file, format!("{options}{site}")).unwrap();
    rig.start("caddy", &["run", "--config", file.to_str().unwrap(), "--adapter", "caddyfile"]);
    rig.try_everything();
}
