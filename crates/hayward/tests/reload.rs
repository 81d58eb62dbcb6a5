//! New settings for the real binary while it runs: what changes, what stays, and who sees what of it.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use hayward_testkit::certificates::{Authority, Times};
use hayward_testkit::client::{Answer, request, send_raw};
use hayward_testkit::curl::curl;
use hayward_testkit::daemon::{Daemon, text};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon with a file of the configuration, and its log.
struct Rig {
    dir: TempDir,
    daemon: Daemon,
}

impl Rig {
    fn new(config: &str) -> Self {
        Self::with(config, &[])
    }

    fn with(config: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::within(dir, config, args)
    }

    fn within(dir: TempDir, config: &str, args: &[&str]) -> Self {
        let (file, data) = (dir.path().join("h.toml"), dir.path().join("data"));
        fs::write(&file, config).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let args = [&["--config", file.to_str().unwrap()], args].concat();
        let daemon = Daemon::start_writing(BINARY, &data, &args, [Stdio::null(), log.into()]).unwrap();
        Self { dir, daemon }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("h.toml")
    }

    /// In one step, as an editor does it.
    fn write(&self, config: &str) {
        fs::write(self.path("new"), config).unwrap();
        fs::rename(self.path("new"), self.file()).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// How many reloads ended so.
    async fn reloads(&self, result: &str) -> u64 {
        let answer = self.daemon.send("GET", "/metrics", self.daemon.token("metrics"), "").await.unwrap();
        let name = format!("hayward_config_reloads_total{{result=\"{result}\"}} ");
        let line = answer.body.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{}", answer.body)).parse().unwrap()
    }

    async fn until(&self, result: &str, count: u64) {
        let started = Instant::now();
        while self.reloads(result).await < count {
            assert!(started.elapsed() < PATIENCE, "{result} {count}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Reads it again by a signal, which ends so.
    async fn hang_up(&self, result: &str) {
        let before = self.reloads(result).await;
        self.daemon.signal(Signal::HUP).unwrap();
        self.until(result, before + 1).await;
    }

    /// Puts this in force.
    async fn take(&self, config: &str) {
        self.write(config);
        self.hang_up("ok").await;
    }

    async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.daemon.call("rw", tool, arguments).await.unwrap()
    }

    async fn shell(&self, command: &str) -> String {
        let result = self.call("bash_execute", json!({ "command": command })).await;
        result["structuredContent"]["stdout"].as_str().unwrap_or_else(|| panic!("{result}")).to_owned()
    }

    /// Asks with further headers; they may name another host.
    async fn get(&self, headers: &[(&str, &str)]) -> Answer {
        let mut text = String::from("GET /health HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text += &format!("host: {}\r\n", self.daemon.address);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        send_raw(self.daemon.address, (text + "\r\n").as_bytes()).await.unwrap()
    }
}

/// A key with a value, and whether a client sees that it is in force.
type Probe = (&'static str, for<'a> fn(&'a Rig) -> std::pin::Pin<Box<dyn Future<Output = bool> + 'a>>);

macro_rules! probe {
    ($line:literal, |$rig:ident| $sees:expr) => {
        ($line, |$rig| Box::pin(async move { $sees }))
    };
}

#[tokio::test]
async fn a_new_value_is_in_force_from_the_next_request_on_and_so_is_the_old_one_again() {
    let rig = Rig::new("");
    fs::write(rig.path("long"), "x\n".repeat(50_000)).unwrap();
    let probes: [Probe; 15] = [
        probe!("allowed.hosts = [\"nas.test\"]", |rig| rig.get(&[("host", "nas.test")]).await.status == 200),
        probe!("allowed.origins = [\"http://page.test\"]", |rig| {
            rig.get(&[("origin", "http://page.test")]).await.status == 200
        }),
        probe!("behind.proxy = [\"127.0.0.1\"]", |rig| {
            rig.get(&[("x-forwarded-host", "foreign.test")]).await.status == 403
        }),
        probe!("public.url = \"https://out.test\"", |rig| {
            let result = rig.call("prepare_download", json!({"src_path": rig.path("long")})).await;
            text(&result).contains("https://out.test/files/raw/")
        }),
        probe!("transfers = false", |rig| {
            let result = rig.call("prepare_download", json!({"src_path": rig.path("long")})).await;
            text(&result).contains("File transfer is disabled")
        }),
        probe!("tool.fences = [\"read_file:profile=confined,root=/usr\"]", |rig| {
            rig.call("read_file", json!({"file_path": rig.path("long")})).await["isError"] == true
        }),
        probe!("protected.paths = [\"/etc/passwd\"]", |rig| {
            rig.call("read_file", json!({"file_path": "/etc/passwd"})).await["isError"] == true
        }),
        probe!("shell = \"/bin/bash\"", |rig| rig.shell("echo $0").await.contains("bash")),
        probe!("limits.gateway.body_bytes_max = 65536", |rig| {
            let arguments = json!({"file_path": rig.path("out"), "content": "x".repeat(100_000)});
            let params = json!({"name": "write_file", "arguments": arguments});
            rig.daemon.ask(rig.daemon.token("rw"), "tools/call", params).await.unwrap().status == 413
        }),
        probe!("limits.gateway.principal_requests_per_minute = 60", |rig| {
            let ask = || rig.daemon.ask(rig.daemon.token("ro"), "ping", json!({}));
            // A quarter of a minute's requests may come at once.
            for _ in 0..16 {
                ask().await.unwrap();
            }
            ask().await.unwrap().status == 429
        }),
        probe!("limits.gateway.calls_per_principal_max = 1", |rig| {
            let both = [
                rig.call("bash_execute", json!({"command": "sleep 0.3"})),
                rig.call("bash_execute", json!({"command": "sleep 0.3"})),
            ];
            let ended = futures_util::future::join_all(both).await;
            ended.iter().any(|result| text(result).contains("has 1 calls running already"))
        }),
        probe!("limits.host.read_lines_max = 7", |rig| {
            let result = rig.call("read_file", json!({"file_path": rig.path("long"), "limit": 50})).await;
            text(&result).matches('x').count() < 20
        }),
        probe!("limits.host.bash_output_bytes_max = 10", |rig| rig.shell("seq 1000").await.len() < 100),
        probe!("limits.host.bash_command_bytes_max = 20", |rig| {
            let command = format!("true {}", "x".repeat(40));
            rig.call("bash_execute", json!({ "command": command })).await["isError"] == true
        }),
        probe!("limits.tool.result_bytes_max = 65536", |rig| {
            let result = rig.call("read_file", json!({"file_path": rig.path("long"), "limit": 50_000})).await;
            text(&result).contains("more than the 65536")
        }),
    ];
    for (line, sees) in probes {
        assert!(!sees(&rig).await, "{line} before");
        rig.take(line).await;
        assert!(sees(&rig).await, "{line}: {}", rig.log());
        rig.take("#").await;
        assert!(!sees(&rig).await, "{line} after: {}", rig.log());
    }
    let is_line = |line: &&str| ["INFO", "WARN", "ERROR"].iter().any(|level| line.contains(level));
    assert_eq!(
        rig.log().lines().find(is_line),
        None,
        "the log is of the level `warn`, and nothing was wrong"
    );
    rig.take("log.level = \"info\"").await;
    assert!(rig.log().contains("the configuration was read again and is in force changed=log.level"));
}

/// The keys of the reference, by what it says of when they change.
fn reference() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cell = |row: &str, at: usize| row.split('|').nth(at).unwrap().trim().trim_matches('`').to_owned();
    rows.map(|row| (cell(row, 1), cell(row, 4))).collect()
}

/// Another value than its default for every limit.
fn other_limits() -> String {
    let rooms = [
        hayward_audit::limits::Limits::TABLE,
        hayward_controlplane::limits::Limits::TABLE,
        hayward_exec::Limits::TABLE,
        hayward_gateway::limits::Limits::TABLE,
        hayward_host::limits::Limits::TABLE,
        hayward_runtime::Limits::TABLE,
        hayward_store::limits::Limits::TABLE,
        hayward_tool::limits::Limits::TABLE,
    ];
    let other = |limit: &&hayward_api::limits::Limit| match limit.default {
        value if value > limit.least => value - 1,
        _ => limit.greatest,
    };
    let limits = rooms.into_iter().flatten();
    let lines: Vec<String> =
        limits.map(|limit| format!("limits.{} = {}", limit.key, other(&limit))).collect();
    lines.join("\n")
}

#[tokio::test]
async fn every_key_does_what_the_reference_says_of_it() {
    let rig = Rig::new("log.level = \"info\"\n");
    let socket = rig.path("socket");
    let flags = format!(
        "log.level = \"debug\"\nallowed.hosts = [\"a\"]\nallowed.origins = [\"http://a\"]\n\
         audit.strict_from = \"read\"\nbehind.proxy = [\"10.0.0.1\"]\nprotected.paths = [\"/srv/a\"]\n\
         public.url = \"https://a\"\nshell = \"/bin/bash\"\nsync.files = false\n\
         tool.fences = [\"grep:profile=confined,root=/usr\"]\ntransfers = false\ncontainment = \"subreaper\"\n\
         fence.memory = \"1GiB\"\nfence.processes = 99\nfence.cpu = 50\nfence.file_size = \"1GiB\"\n\
         fence.read_only = [\"/usr\"]\nfence.profile = \"confined\"\nfence.root = [\"/srv\"]\n\
         fence.allow_network = true\nhost = \"127.0.0.2\"\ninsecure.http = true\nlog.dir = \"/srv/log\"\n\
         log.format = \"json\"\nlog.stdout = true\nmetrics.prefix = \"other_\"\nno.tcp = true\n\
         unix.socket = \"{}\"\nunix.socket_mode = \"0660\"\nbootstrap.open = true\nmanifests = \"/srv/manifests\"\n\
         database.url = \"postgres://a@127.0.0.1:1/a\"\nrun.servers = false\ndocker.socket = \"/srv/docker\"\n\
         docker.network = \"other\"\nnpm.registry = \"https://a\"\npython.index = \"https://a\"\n\
         package.certificates = \"/srv/certificates\"\n",
        socket.display()
    );
    rig.take(&(flags + &other_limits())).await;
    let log = rig.log();
    let told = log.lines().find(|line| line.contains("was read again")).unwrap_or_else(|| panic!("{log}"));
    let changed = told.split_once("changed=").unwrap().1.trim();
    let changed: BTreeSet<String> = changed.split(", ").map(str::to_owned).collect();
    let waits = |line: &str| {
        Some(
            line.split_once("needs a restart")
                .filter(|_| line.contains("WARN"))?
                .0
                .split('`')
                .nth(1)?
                .to_owned(),
        )
    };
    let waiting: BTreeSet<String> = log.lines().filter_map(waits).collect();
    // The command line has the say about three; of a fence, what this machine can't grant isn't asked for; TLS has a test of its
    // own, a role is of `stdio`, and what begins with `client` is of commands that ask a server.
    let untried = |name: &str| {
        ["data.dir", "fence.run_as", "port", "ready.file", "role"].contains(&name)
            || name.starts_with("tls.")
            || name.starts_with("client.")
    };
    for (name, change) in reference() {
        let name = name.strip_prefix("limits.").unwrap_or(&name);
        let (is_changed, is_waiting) = (changed.contains(name), waiting.contains(name));
        let expect = if untried(name) { (false, false) } else { (change != "start", change == "start") };
        assert_eq!((is_changed, is_waiting), expect, "{name}: {change}\n{log}");
    }
    assert_eq!(changed.len() + waiting.len() + 13, reference().len());
    assert!(
        log.contains("`metrics.prefix` changed from `hayward_` to `other_` and needs a restart"),
        "{log}"
    );
    assert!(!socket.exists());
    assert_eq!(rig.reloads("ok").await, 1, "metrics have their old name, and the old port answers");
}

#[tokio::test]
async fn a_running_call_and_an_open_stream_go_on_under_what_they_began_with() {
    let rig = Rig::new("limits.gateway.keep_alive_ms = 200\n");
    let begun = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let answer = rig.daemon.ask(rig.daemon.token("rw"), "initialize", begun).await.unwrap();
    let (session, bearer) =
        (answer.header("mcp-session-id").unwrap().to_owned(), format!("Bearer {}", rig.daemon.token("rw")));
    let headers =
        [("authorization", bearer.as_str()), ("mcp-session-id", &session), ("accept", "text/event-stream")];
    let mut stream = TcpStream::connect(rig.daemon.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let asked = request("GET", rig.daemon.address, "/mcp", &headers, "");
    stream.write_all(&asked).unwrap();
    let go = rig.path("go");
    let command = format!("touch {0}.begun; until [ -e {0} ]; do sleep 0.02; done; seq 1000", go.display());
    let running = rig.call("bash_execute", json!({ "command": command }));
    let changing = async {
        while !rig.path("go.begun").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        rig.take("limits.host.bash_output_bytes_max = 10\nlimits.gateway.keep_alive_ms = 100000\n").await;
        assert!(rig.shell("seq 1000").await.len() < 100);
        fs::write(&go, "").unwrap();
    };
    let (ended, ()) = tokio::join!(running, changing);
    assert_eq!(ended["structuredContent"]["stdout"].as_str().unwrap().lines().count(), 1000, "{ended}");
    let mut heard = Vec::new();
    let started = Instant::now();
    // At the old pace; at the new one there would be nothing for far too long.
    while String::from_utf8_lossy(&heard).matches(':').count() < 20 {
        let mut bytes = [0; 512];
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0 && started.elapsed() < PATIENCE, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&bytes[..count]);
    }
}

#[tokio::test]
async fn no_request_sees_half_of_the_old_and_half_of_the_new() {
    let rig = Rig::new("");
    fs::write(rig.path("x"), "x").unwrap();
    let settings = |name: &str, seconds: u32| {
        format!(
            "public.url = \"https://{name}.test\"\nlimits.host.transfer_ttl_ms = {seconds}000\nlimits.host.transfer_tickets_max = 1000000\nallowed.hosts = [\"{name}.test\"]\n"
        )
    };
    rig.take(&settings("a", 11)).await;
    let done = std::cell::Cell::new(false);
    let seen = std::cell::RefCell::new(BTreeSet::new());
    let ask = async {
        while !done.get() {
            let result = rig.call("prepare_download", json!({"src_path": rig.path("x")})).await;
            let told = &result["structuredContent"];
            let pair = (told["url"].as_str().map(|url| url[..14].to_owned()), told["expires_in"].as_u64());
            seen.borrow_mut().insert(pair);
        }
    };
    let flip = async {
        for turn in 0..60 {
            let (name, seconds) = if turn % 2 == 0 { ("b", 22) } else { ("a", 11) };
            rig.take(&settings(name, seconds)).await;
            let host = format!("{name}.test");
            assert_eq!(rig.get(&[("host", &host)]).await.status, 200);
        }
        done.set(true);
    };
    let asking = async { tokio::join!(ask, async {}) };
    tokio::join!(asking, flip);
    let expect = [("https://a.test", 11), ("https://b.test", 22)];
    let expect = expect.map(|(url, seconds)| (Some(url.to_owned()), Some(seconds)));
    assert_eq!(seen.into_inner(), BTreeSet::from(expect));
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_is_told_with_file_and_line() {
    let rig = Rig::new("allowed.hosts = [\"old.test\"]\n");
    let file = rig.file().display().to_string();
    let is_old = async || {
        rig.get(&[("host", "old.test")]).await.status == 200
            && rig.get(&[("host", "new.test")]).await.status == 403
    };
    let new = "allowed.hosts = [\"new.test\"]\n";
    for (config, expect) in [
        (
            "gateway.calls_mx = 3\nlog.format = \"xml\"\n",
            vec![
                format!("{file}:2: unknown key `gateway.calls_mx`"),
                format!("{file}:3: `log.format` is `xml`"),
            ],
        ),
        ("limits.gateway.calls_max = 0\n", vec![format!("{file}:2: "), "gateway.calls_max".to_owned()]),
        ("log.level = \n", vec![format!("{file}:2: ")]),
        (
            "behind.proxy = [\"0.0.0.0/0\"]\nlog.level = \"a=b=c\"\n",
            vec![
                format!("{file}:2: `--behind-proxy` `0.0.0.0/0`: it would believe everybody"),
                format!("{file}:3: `--log-level` log level `a=b=c` is not one"),
            ],
        ),
        (
            "tool.fences = [\"grep:profile=confined,root=/nonexistent\"]\n",
            vec![format!("{file}:2: `--tool-fence` "), "`/nonexistent` can't be used".to_owned()],
        ),
        (
            "tls.cert = \"/nonexistent/c\"\ntls.key = \"/nonexistent/k\"\n",
            vec![
                format!("{file}:2: `--tls-cert` `/nonexistent/c`"),
                format!("{file}:3: `--tls-key` `/nonexistent/k`"),
            ],
        ),
        // It would wait for a restart, which would then fail.
        ("host = \"0.0.0.0\"\n", vec!["without encryption".to_owned()]),
    ] {
        rig.write(&format!("{new}{config}"));
        rig.hang_up("error").await;
        for part in expect {
            let log = rig.log();
            let line =
                log.lines().find(|line| line.contains(&part)).unwrap_or_else(|| panic!("{part}: {log}"));
            assert!(line.contains("the new configuration is not used, the old one stays in force"), "{line}");
        }
        assert!(is_old().await, "{config}");
    }
    assert_eq!(rig.reloads("ok").await, 0);
    rig.take(new).await;
    assert!(!is_old().await);
    let record = fs::read_to_string(rig.path("data/audit/record.jsonl")).unwrap();
    let of = |kind: &str| {
        let records = record.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|record| record["type"] == kind && record["method"] == "config").collect::<Vec<_>>()
    };
    let (refused, made) = (of("denied"), of("intent"));
    assert!(refused.len() >= 7 && made.len() == 1, "{record}");
    assert!(
        refused[0]["reason"].as_str().unwrap().contains("unknown key `gateway.calls_mx`"),
        "{}",
        refused[0]
    );
    assert_eq!((&made[0]["tool"], &made[0]["principal"]["name"]), (&json!("reload"), &json!("operator")));
    assert_eq!(made[0]["arguments"]["changed"], json!(["allowed.hosts"]), "{}", made[0]);
}

#[tokio::test]
async fn a_file_that_vanishes_changes_nothing_and_one_that_comes_back_does() {
    let rig = Rig::new("allowed.hosts = [\"old.test\"]\n");
    fs::remove_file(rig.file()).unwrap();
    rig.until("error", 1).await;
    assert!(rig.log().contains("h.toml: there is no such file"), "{}", rig.log());
    rig.hang_up("error").await;
    assert_eq!(rig.get(&[("host", "old.test")]).await.status, 200);
    rig.write("allowed.hosts = [\"new.test\"]\n");
    rig.until("ok", 1).await;
    assert_eq!(rig.get(&[("host", "new.test")]).await.status, 200);
    assert_eq!(rig.get(&[("host", "old.test")]).await.status, 403);
}

#[tokio::test]
async fn a_file_that_was_emptied_changes_nothing_and_one_that_says_so_with_a_comment_does() {
    let rig = Rig::new("allowed.hosts = [\"old.test\"]\n");
    rig.write("");
    rig.until("error", 1).await;
    assert!(rig.log().contains("h.toml: it is empty and was not"), "{}", rig.log());
    rig.hang_up("error").await;
    assert_eq!(rig.get(&[("host", "old.test")]).await.status, 200);
    rig.write("# As it comes.\n");
    rig.until("ok", 1).await;
    assert_eq!(rig.get(&[("host", "old.test")]).await.status, 403);
}

#[tokio::test]
async fn a_pipe_in_the_place_of_the_file_changes_nothing_and_holds_nothing_up() {
    let mut rig = Rig::new("allowed.hosts = [\"old.test\"]\n");
    fs::remove_file(rig.file()).unwrap();
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, rig.file(), pipe, rustix::fs::Mode::RUSR, 0).unwrap();
    rig.hang_up("error").await;
    assert!(rig.log().contains("h.toml: a pipe is not read again"), "{}", rig.log());
    // A writer that says nothing would have it read as an empty file.
    let _writer = fs::File::options().read(true).write(true).open(rig.file()).unwrap();
    rig.hang_up("error").await;
    assert_eq!(rig.get(&[("host", "old.test")]).await.status, 200);
    rig.daemon.signal(Signal::TERM).unwrap();
    assert!(rig.daemon.wait().unwrap().success());
}

#[tokio::test]
async fn a_file_that_is_being_written_is_read_once_it_is_at_rest() {
    let rig = Rig::new("log.level = \"info\"\n");
    let mut file = fs::File::create(rig.file()).unwrap();
    let whole = "log.level = \"info\"\nallowed.hosts = [\"new.test\"]\n";
    for part in whole.as_bytes().chunks(4) {
        file.write_all(part).unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    rig.until("ok", 1).await;
    assert_eq!((rig.reloads("ok").await, rig.reloads("error").await), (1, 0), "{}", rig.log());
    assert_eq!(rig.get(&[("host", "new.test")]).await.status, 200);
    assert!(rig.log().contains("changed=allowed.hosts"), "{}", rig.log());
}

#[tokio::test]
async fn what_the_command_line_says_stays_whatever_files_say() {
    let args = ["--allowed-host", "flag.test", "--limit", "host.read_lines_max=9"];
    let rig = Rig::with("log.level = \"info\"\n", &args);
    rig.take("log.level = \"info\"\nallowed.hosts = [\"new.test\"]\nhost.read_lines_max = 8\nport = 1\n")
        .await;
    assert_eq!(rig.get(&[("host", "flag.test")]).await.status, 200);
    assert_eq!(rig.get(&[("host", "new.test")]).await.status, 403);
    let log = rig.log();
    assert!(log.contains("changed=no key") && !log.contains("needs a restart"), "{log}");
}

#[tokio::test]
async fn a_file_of_variables_is_read_again_too() {
    let dir = tempfile::tempdir().unwrap();
    let variables = dir.path().join("env");
    fs::write(&variables, "HAYWARD_ALLOWED_HOSTS=old.test\n").unwrap();
    let flag = variables.to_str().unwrap().to_owned();
    let rig = Rig::within(dir, "", &["--env-file", &flag]);
    fs::write(&variables, "HAYWARD_ALLOWED_HOSTS=new.test\nHAYWARD_EXEC_JOBS_MAX=7\n").unwrap();
    rig.until("ok", 1).await;
    assert_eq!(rig.get(&[("host", "new.test")]).await.status, 200);
    assert!(
        rig.log().contains("`exec.jobs_max` changed from `64` to `7` and needs a restart"),
        "{}",
        rig.log()
    );
}

fn open_files(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

fn memory_kib(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_hundred_signals_leave_nothing_behind() {
    let rig = Rig::new("");
    for _ in 0..20 {
        rig.hang_up("ok").await;
    }
    let before = (open_files(&rig.daemon), memory_kib(&rig.daemon));
    for _ in 0..100 {
        rig.hang_up("ok").await;
    }
    for _ in 0..1_000 {
        rig.daemon.signal(Signal::HUP).unwrap();
    }
    rig.hang_up("ok").await;
    assert_eq!(rig.shell("echo on").await, "on\n");
    let after = (open_files(&rig.daemon), memory_kib(&rig.daemon));
    assert!(after.0 <= before.0 + 4 && after.1 < before.1 + 4 * 1024, "{before:?} {after:?}");
    assert_eq!(rig.reloads("error").await, 0);
}

/// A line to the local socket, and its answer.
fn local(stream: &mut UnixStream, command: &str) -> String {
    let params = json!({"name": "bash_execute", "arguments": {"command": command}});
    let line = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    stream.write_all((line + "\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") {
        let mut byte = [0; 4096];
        let count = stream.read(&mut byte).unwrap();
        assert!(count > 0);
        answer.extend_from_slice(&byte[..count]);
    }
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    answer["result"]["structuredContent"]["stdout"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test]
async fn a_local_client_that_is_there_sees_it_with_its_next_message() {
    let rig = Rig::new("");
    let mut stream = UnixStream::connect(rig.path("data/hayward.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hayward/1 rw\n").unwrap();
    assert!(!local(&mut stream, "echo $0").contains("bash"));
    rig.take("shell = \"/bin/bash\"").await;
    assert!(local(&mut stream, "echo $0").contains("bash"));
}

fn status(rig: &Rig, ca: &Path) -> u16 {
    let url = format!("https://{}/health", rig.daemon.address);
    curl(&["--cacert", ca.to_str().unwrap(), &url]).unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn other_files_of_tls_are_taken_together_with_everything_else_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut pairs = Vec::new();
    for name in ["first", "second"] {
        let authority = Authority::new(name).unwrap();
        let ca = dir.path().join(format!("{name}.ca"));
        authority.write(&ca).unwrap();
        pairs.push((authority.issue(dir.path(), &format!("{name}-server"), Times::Now).unwrap(), ca));
    }
    let config = |at: usize, more: &str| {
        let (certificate, key) = (&pairs[at].0.certificate, &pairs[at].0.key);
        format!("tls.cert = '{}'\ntls.key = '{}'\n{more}\n", certificate.display(), key.display())
    };
    let (first, second) = (pairs[0].1.clone(), pairs[1].1.clone());
    let rig = Rig::within(dir, &config(0, ""), &[]);
    let reloaded = |what: &str, count: usize| {
        let started = Instant::now();
        while rig.log().matches(what).count() < count {
            assert!(started.elapsed() < PATIENCE, "{what}: {}", rig.log());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    };
    assert_eq!((status(&rig, &first), status(&rig, &second)), (200, 0));
    // One bad line, and the good files aren't taken either.
    rig.write(&config(1, "prt = 1"));
    rig.daemon.signal(Signal::HUP).unwrap();
    reloaded("unknown key `prt`", 1);
    assert_eq!((status(&rig, &first), status(&rig, &second)), (200, 0));
    rig.write(&config(1, "log.level = \"info\""));
    rig.daemon.signal(Signal::HUP).unwrap();
    reloaded("changed=tls.cert, tls.key, log.level", 1);
    assert_eq!((status(&rig, &first), status(&rig, &second)), (0, 200));
    // No tool reads the new key.
    let params = json!({"name": "read_file", "arguments": {"file_path": pairs[1].0.key}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let bearer = format!("Authorization: Bearer {}", rig.daemon.token("rw"));
    let url = rig.daemon.ready["url"].as_str().unwrap();
    let read = curl(&["--insecure", "-H", &bearer, "-H", "Content-Type: application/json", "-d", &body, url])
        .unwrap();
    let answer: Value = serde_json::from_str(&read.body).unwrap();
    assert!(answer["result"]["isError"] == true && !text(&answer["result"]).contains("BEGIN"), "{answer}");
    // TLS itself isn't switched off under those who rely on it.
    rig.write("log.level = \"info\"");
    rig.daemon.signal(Signal::HUP).unwrap();
    reloaded("`tls.cert` changed from", 1);
    assert_eq!(status(&rig, &second), 200);
}
