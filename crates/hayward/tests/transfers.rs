//! Files past the calls: tickets made and redeemed at the real binary, by whoever has them, once.
#![cfg(test)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hayward_testkit::client::Answer;
use hayward_testkit::daemon::{Daemon, command, text};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

/// A daemon, and a directory to work in.
struct Rig {
    dir: TempDir,
    daemon: Daemon,
}

impl Rig {
    fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(BINARY, &dir.path().join("data"), args).unwrap();
        Self { dir, daemon }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a tool says, as the JSON in its text.
    async fn call(&self, role: &str, tool: &str, arguments: Value) -> Value {
        let result = self.daemon.call(role, tool, arguments).await.unwrap();
        serde_json::from_str(text(&result)).unwrap()
    }

    /// The URL of a new ticket.
    async fn ticket(&self, tool: &str, arguments: Value) -> String {
        let told = self.call("rw", tool, arguments).await;
        told["url"].as_str().unwrap_or_else(|| panic!("no ticket: {told}")).to_owned()
    }

    async fn upload(&self, path: &Path) -> String {
        self.ticket("prepare_upload", json!({"dest_path": path})).await
    }

    async fn download(&self, path: &Path) -> String {
        self.ticket("prepare_download", json!({"src_path": path})).await
    }

    async fn send(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.daemon.address).await.unwrap();
        let length = body.len().to_string();
        let mut all = vec![("content-length", &*length)];
        if headers.iter().any(|(name, _)| *name == "content-length" || *name == "transfer-encoding") {
            all.clear();
        }
        all.extend(headers);
        stream.write_all(self.head(method, url, &all).as_bytes()).await.unwrap();
        // A refusal may come before all of it is sent.
        stream.write_all(body).await.ok();
        Reply::read(stream).await
    }

    fn head(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> String {
        let mut head =
            format!("{method} {url} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.daemon.address);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    async fn put(&self, url: &str, body: &[u8]) -> Reply {
        self.send("PUT", url, &[], body).await
    }

    async fn get(&self, url: &str) -> Reply {
        self.send("GET", url, &[("content-length", "0")], b"").await
    }

    /// What the record says of transfers.
    fn recorded(&self) -> Vec<Value> {
        let args = ["audit", "query", "--tool", "transfer_redeem", "-o", "json"];
        let output = command(BINARY, args).env("HAYWARD_DATA_DIR", self.path("data")).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn names(&self, folder: &str) -> usize {
        fs::read_dir(self.path(folder)).unwrap().count()
    }
}

/// An answer whose body may be any bytes.
struct Reply {
    head: String,
    body: Vec<u8>,
}

impl Reply {
    async fn read(mut stream: TcpStream) -> Self {
        let mut raw = Vec::new();
        // A connection that is cut has been read as far as it came.
        stream.read_to_end(&mut raw).await.ok();
        let end = raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{raw:?}"));
        Self { head: String::from_utf8(raw[..end].to_vec()).unwrap(), body: raw[end + 4..].to_vec() }
    }

    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.head))
    }

    /// The status, and the error that it tells.
    fn refusal(&self) -> (u16, String) {
        let told = self.json();
        assert_eq!(told["ok"], false, "{told}");
        assert!(told["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{told}");
        (self.status(), told["error"].as_str().unwrap().to_owned())
    }
}

fn refused(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

#[tokio::test]
async fn a_file_goes_there_and_back_and_each_ticket_is_good_once() {
    let rig = Rig::start(&[]);
    let path = rig.path("new/folder/x.bin");
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let url = rig.upload(&path).await;
    assert!(!rig.path("new").exists(), "a ticket makes nothing");
    let put = rig.put(&url, &content).await;
    assert_eq!(put.json(), json!({"ok": true, "path": path, "bytes_written": content.len()}));
    assert!(fs::read(&path).unwrap() == content);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(rig.names("new/folder"), 1);
    let url_back = rig.download(&path).await;
    let got = rig.get(&url_back).await;
    assert_eq!((got.status(), got.header("content-length")), (200, Some(&*content.len().to_string())));
    let named = "attachment; filename=\"x.bin\"; filename*=UTF-8''x.bin";
    assert_eq!(got.header("content-disposition"), Some(named));
    assert_eq!(got.header("content-type"), Some("application/octet-stream"));
    assert!(got.header("x-request-id").is_some());
    assert!(got.body == content);
    for again in [rig.put(&url, b"other").await, rig.get(&url_back).await] {
        assert_eq!(again.refusal(), refused(410, "ticket_not_found"));
        assert_eq!(again.json()["hint"], "Ticket already used.");
    }
    assert!(fs::read(&path).unwrap() == content);
    let recorded: Vec<_> =
        rig.recorded().iter().map(|call| (call["arguments"]["op"].clone(), call["ending"].clone())).collect();
    assert_eq!(recorded, [(json!("upload"), json!("ok")), (json!("download"), json!("ok"))]);
    let first = &rig.recorded()[0];
    assert_eq!(first["arguments"]["ticket"], url["/files/raw/".len()..][..8]);
    assert_eq!((&first["principal"]["role"], &first["tier"]), (&json!("rw"), &json!("operate")));
}

#[tokio::test]
async fn a_ticket_says_what_mymcp_says() {
    let rig = Rig::start(&[]);
    let path = rig.path("x");
    let told = rig
        .call("rw", "prepare_upload", json!({"dest_path": path, "max_bytes": 10, "expires_in": 9999}))
        .await;
    let ticket = told["ticket"].as_str().unwrap();
    assert_eq!((ticket.len(), &told["url"]), (32, &json!(format!("/files/raw/{ticket}"))));
    let members: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    for member in ["success", "expires_at", "dest_path", "curl_example", "instructions", "on_error"] {
        assert!(members.contains(&member), "{member}");
    }
    assert_eq!(
        (&told["method"], &told["expires_in"], &told["max_bytes"]),
        (&json!("PUT"), &json!(900), &json!(10))
    );
    fs::write(&path, "12345").unwrap();
    let told = rig.call("ro", "prepare_download", json!({"src_path": path})).await;
    assert_eq!(
        (&told["method"], &told["expires_in"], &told["size"]),
        (&json!("GET"), &json!(300), &json!(5))
    );
    for (role, tool, arguments, code) in [
        ("rw", "prepare_upload", json!({"dest_path": "rel"}), "InvalidPath"),
        ("rw", "prepare_upload", json!({"dest_path": path, "max_bytes": 0}), "InvalidMaxBytes"),
        ("rw", "prepare_upload", json!({"dest_path": path, "expires_in": -1}), "InvalidExpiresIn"),
        ("rw", "prepare_upload", json!({"dest_path": path, "overwrite": false}), "FileExists"),
        ("rw", "prepare_upload", json!({"dest_path": path, "sha256": "x"}), "InvalidSha256"),
        ("rw", "prepare_upload", json!({"dest_path": rig.path("data/x")}), "ProtectedPath"),
        ("ro", "prepare_upload", json!({"dest_path": path}), "PermissionDenied"),
        ("ro", "prepare_download", json!({"src_path": rig.path("nope")}), "FileNotFound"),
        ("ro", "prepare_download", json!({"src_path": rig.dir.path()}), "NotARegularFile"),
        ("ro", "prepare_download", json!({"src_path": rig.path("data/hayward.db")}), "ProtectedPath"),
        ("ro", "prepare_download", json!({"src_path": path, "expires_in": 0}), "InvalidExpiresIn"),
    ] {
        let told = rig.call(role, tool, arguments.clone()).await;
        assert_eq!((&told["success"], &told["error"]), (&json!(false), &json!(code)), "{tool} {arguments}");
    }
}

#[tokio::test]
async fn urls_are_complete_where_the_address_is_known() {
    let rig = Rig::start(&["--public-url", "https://nas.example.org/base/"]);
    let url = rig.upload(&rig.path("x")).await;
    assert!(url.starts_with("https://nas.example.org/base/files/raw/"), "{url}");
    let path = url.strip_prefix("https://nas.example.org/base").unwrap();
    let mut headers = vec![("host", "nas.example.org"), ("content-length", "1")];
    let head = format!("PUT {path} HTTP/1.1\r\nconnection: close\r\n");
    let mut request = head;
    for (name, value) in headers.drain(..) {
        request += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(rig.daemon.address).await.unwrap();
    stream.write_all(format!("{request}\r\nx").as_bytes()).await.unwrap();
    assert_eq!(Reply::read(stream).await.status(), 200, "the name is one of ours");
}

#[tokio::test]
async fn what_is_no_ticket_or_one_for_the_other_way_is_refused() {
    let rig = Rig::start(&[]);
    let path = rig.path("x");
    fs::write(&path, "x").unwrap();
    for method in ["PUT", "GET"] {
        for url in [
            "/files/raw/nope",
            "/files/raw/%ff",
            "/files/raw/..",
            &format!("/files/raw/{}", "x".repeat(2_000)),
        ] {
            let reply = rig.send(method, url, &[], b"").await;
            assert_eq!(reply.refusal(), refused(404, "ticket_not_found"), "{method} {url}");
        }
    }
    let (up, down) = (rig.upload(&path).await, rig.download(&path).await);
    let wrong = rig.get(&up).await;
    assert_eq!((wrong.refusal(), wrong.header("allow")), (refused(405, "wrong_method"), Some("PUT")));
    assert_eq!(rig.put(&down, b"y").await.refusal(), refused(405, "wrong_method"));
    assert_eq!(rig.send("POST", &up, &[("content-type", "application/json")], b"{}").await.status(), 405);
    // None of this has used them up.
    assert_eq!((rig.get(&down).await.status(), rig.put(&up, b"y").await.status()), (200, 200));
}

#[tokio::test]
async fn without_transfers_there_is_no_ticket() {
    let rig = Rig::start(&["--transfers", "false"]);
    let told = rig.call("rw", "prepare_upload", json!({"dest_path": rig.path("x")})).await;
    assert_eq!(told["error"], "TransferDisabled");
    assert_eq!(rig.get("/files/raw/x").await.refusal(), refused(404, "transfer_disabled"));
}

#[tokio::test]
async fn a_ticket_expires() {
    let rig = Rig::start(&["--limit", "host.transfer_ttl_ms_max=1000"]);
    let path = rig.path("x");
    fs::write(&path, "x").unwrap();
    // The first one made is over first.
    let (down, up) = (rig.download(&path).await, rig.upload(&path).await);
    let started = Instant::now();
    let mut looked = rig.send("HEAD", &up, &[], b"").await.status();
    while looked == 204 {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
        looked = rig.send("HEAD", &up, &[], b"").await.status();
    }
    assert!(started.elapsed() > Duration::from_millis(500), "{:?}", started.elapsed());
    assert_eq!(rig.put(&up, b"y").await.refusal(), refused(410, "ticket_expired"));
    assert_eq!(rig.get(&down).await.refusal(), refused(410, "ticket_expired"));
    assert_eq!(fs::read(&path).unwrap(), b"x");
}

#[tokio::test]
async fn more_than_was_allowed_is_refused_and_leaves_nothing() {
    let rig = Rig::start(&[]);
    fs::create_dir(rig.path("in")).unwrap();
    let path = rig.path("in/x");
    let ten = || rig.ticket("prepare_upload", json!({"dest_path": path, "max_bytes": 10}));
    let announced = ten().await;
    assert_eq!(rig.put(&announced, b"12345678901").await.refusal(), refused(413, "size_exceeded"));
    let chunked = ten().await;
    let body = b"6\r\n123456\r\n5\r\n78901\r\n0\r\n\r\n";
    let reply = rig.send("PUT", &chunked, &[("transfer-encoding", "chunked")], body).await;
    assert_eq!(reply.refusal(), refused(413, "size_exceeded"));
    for url in [announced, chunked] {
        assert_eq!(rig.put(&url, b"1").await.refusal(), refused(410, "ticket_not_found"));
    }
    assert_eq!(rig.names("in"), 0);
    assert_eq!(rig.put(&ten().await, b"1234567890").await.status(), 200);
    let chunked =
        rig.send("PUT", &ten().await, &[("transfer-encoding", "chunked")], b"2\r\nab\r\n0\r\n\r\n").await;
    assert_eq!((chunked.status(), fs::read(&path).unwrap()), (200, b"ab".to_vec()));
    assert_eq!(rig.put(&ten().await, b"").await.json()["bytes_written"], 0);
    assert_eq!(fs::read(&path).unwrap(), b"");
    let endings: Vec<_> = rig.recorded().iter().map(|call| call["outcome"]["code"].clone()).collect();
    assert_eq!(endings[..2], [json!("size_exceeded"), json!("size_exceeded")]);
}

#[tokio::test]
async fn what_was_checked_is_checked_again_when_the_bytes_come() {
    let rig = Rig::start(&["--protect", "/etc"]);
    let (up, down, there) = (rig.path("up"), rig.path("down"), rig.path("there"));
    fs::write(&down, "harmless").unwrap();
    let into_link = rig.upload(&up).await;
    let out_of_link = rig.download(&down).await;
    let no_overwrite = rig.ticket("prepare_upload", json!({"dest_path": there, "overwrite": false})).await;
    let gone = rig.download(&down).await;
    let below_file = rig.upload(&rig.path("file/below")).await;
    symlink(rig.path("data/stolen"), &up).unwrap();
    fs::remove_file(&down).unwrap();
    symlink(rig.path("data/hayward.db"), &down).unwrap();
    fs::write(&there, "somebody's").unwrap();
    assert_eq!(rig.put(&into_link, b"x").await.refusal(), refused(403, "path_protected"));
    assert!(!rig.path("data/stolen").exists());
    assert_eq!(rig.get(&out_of_link).await.refusal(), refused(403, "path_protected"));
    assert_eq!(rig.put(&no_overwrite, b"x").await.refusal(), refused(409, "file_exists"));
    assert_eq!(fs::read(&there).unwrap(), b"somebody's");
    fs::remove_file(&down).unwrap();
    assert_eq!(rig.get(&gone).await.refusal(), refused(404, "path_not_found"));
    fs::write(rig.path("file"), "").unwrap();
    assert_eq!(rig.put(&below_file, b"x").await.refusal(), refused(500, "mkdir_failed"));
    let denied = rig.recorded().iter().filter(|call| call["ending"] == "denied").count();
    assert_eq!(denied, 2);
}

#[tokio::test]
async fn the_digest_that_was_announced_must_be_the_one_that_comes() {
    let rig = Rig::start(&[]);
    let path = rig.path("x");
    // sha256("abc"), FIPS 180-2.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let ticket = || rig.ticket("prepare_upload", json!({"dest_path": path, "sha256": abc}));
    assert_eq!(rig.put(&ticket().await, b"abd").await.refusal(), refused(422, "digest_mismatch"));
    assert!(!path.exists());
    assert_eq!(rig.put(&ticket().await, b"abc").await.status(), 200);
    let told = rig.call("ro", "prepare_download", json!({"src_path": path, "sha256": true})).await;
    assert_eq!(told["sha256"], abc);
    fs::write(&path, "abd").unwrap();
    let changed = rig.get(told["url"].as_str().unwrap()).await;
    assert_eq!(changed.refusal(), refused(409, "file_changed"));
}

#[tokio::test]
async fn the_record_says_how_much_was_moved_and_what_it_was() {
    let rig = Rig::start(&[]);
    let (path, seven) = (rig.path("x"), rig.path("seven"));
    fs::write(&seven, "0123456").unwrap();
    // sha256("abc"), FIPS 180-2.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let url = rig.ticket("prepare_upload", json!({"dest_path": path, "sha256": abc})).await;
    assert_eq!(rig.put(&url, b"abd").await.status(), 422);
    let url = rig.ticket("prepare_upload", json!({"dest_path": path, "sha256": abc})).await;
    let part = rig.send("PUT", &url, &[("content-range", "bytes 0-1/3")], b"ab").await;
    assert_eq!(part.status(), 202);
    let rest = rig.send("PUT", &url, &[("content-range", "bytes 2-2/3")], b"c").await;
    assert_eq!(rest.status(), 200);
    assert_eq!(rig.put(&rig.upload(&path).await, b"ABCDE").await.status(), 200);
    let url = rig.download(&seven).await;
    assert_eq!(rig.send("GET", &url, &[("range", "bytes=2-4")], b"").await.status(), 206);
    assert_eq!(rig.get(&url).await.status(), 200);

    let shown = |call: &Value| {
        let args = ["audit", "show", &call["seq"].to_string(), "-o", "json"];
        let output = command(BINARY, args).env("HAYWARD_DATA_DIR", rig.path("data")).output().unwrap();
        let call: Value = serde_json::from_slice(&output.stdout).unwrap();
        let of = |name: &str| call["outcome"].get(name).cloned();
        (of("bytes"), of("sha256"))
    };
    let all: Vec<_> = rig.recorded().iter().map(shown).collect();
    let bytes = |count: u64| Some(json!(count));
    let expected = [
        (None, None),
        (bytes(2), None),
        (bytes(1), Some(json!(abc))),
        (bytes(5), None),
        (bytes(3), None),
        (bytes(7), None),
    ];
    assert_eq!(all, expected);
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_where_it_was() {
    let rig = Rig::start(&[]);
    fs::create_dir(rig.path("in")).unwrap();
    let path = rig.path("in/x");
    let url = rig.upload(&path).await;
    let mut stream = TcpStream::connect(rig.daemon.address).await.unwrap();
    stream.write_all(rig.head("PUT", &url, &[("content-length", "10")]).as_bytes()).await.unwrap();
    stream.write_all(b"0123").await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    let started = Instant::now();
    let mut looked = rig.send("HEAD", &url, &[], b"").await;
    while looked.header("upload-offset") != Some("4") {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", looked.head);
        tokio::time::sleep(Duration::from_millis(10)).await;
        looked = rig.send("HEAD", &url, &[], b"").await;
    }
    assert_eq!(rig.names("in"), 0, "what isn't whole has no name");
    let part =
        async |range: &str, body: &[u8]| rig.send("PUT", &url, &[("content-range", range)], body).await;
    let elsewhere = part("bytes 5-9/10", b"56789").await;
    assert_eq!(
        (elsewhere.refusal(), elsewhere.header("upload-offset")),
        (refused(409, "offset_mismatch"), Some("4"))
    );
    assert_eq!(part("bytes 4-5/*", b"45").await.refusal(), refused(400, "bad_content_length"));
    assert_eq!(part("bytes 4-5/10", b"4").await.refusal(), refused(400, "bad_content_length"));
    let half = part("bytes 4-5/10", b"45").await;
    assert_eq!(
        (half.status(), half.header("upload-offset"), &half.json()["complete"]),
        (202, Some("6"), &json!(false))
    );
    assert_eq!(part("bytes 6-9/10", b"6789").await.json()["bytes_written"], 10);
    assert_eq!((fs::read(&path).unwrap(), rig.names("in")), (b"0123456789".to_vec(), 1));
    let endings: Vec<_> = rig.recorded().iter().map(|call| call["outcome"]["code"].clone()).collect();
    assert_eq!(endings, [json!("stream_aborted"), json!("offset_mismatch"), Value::Null, Value::Null]);
}

#[tokio::test]
async fn a_download_can_be_taken_in_parts_and_not_time_and_again() {
    let rig = Rig::start(&[]);
    let path = rig.path("x");
    fs::write(&path, vec![b'x'; 2_000_000]).unwrap();
    let url = rig.download(&path).await;
    let part = async |range: &str| rig.send("GET", &url, &[("range", range)], b"").await;
    let first = part("bytes=0-999").await;
    assert_eq!((first.status(), first.body.len()), (206, 1_000));
    assert_eq!(first.header("content-range"), Some("bytes 0-999/2000000"));
    let etag = first.header("etag").unwrap().to_owned();
    let beyond = part("bytes=2000000-").await;
    assert_eq!(
        (beyond.refusal(), beyond.header("content-range")),
        (refused(416, "range_not_satisfiable"), Some("bytes */2000000"))
    );
    let other = rig.send("GET", &url, &[("range", "bytes=0-9"), ("if-range", &etag)], b"").await;
    assert_eq!((other.status(), other.body.len()), (206, 10));
    for _ in 0..3 {
        part("bytes=0-1000000").await;
    }
    assert_eq!(part("bytes=0-1999998").await.refusal(), refused(410, "ticket_not_found"));
    let url = rig.download(&path).await;
    rig.send("GET", &url, &[("range", "bytes=0-9")], b"").await;
    assert_eq!(rig.send("GET", &url, &[("range", "bytes=10-")], b"").await.body.len(), 1_999_990);
    assert_eq!(rig.get(&url).await.refusal(), refused(410, "ticket_not_found"), "its end was sent");
}

#[tokio::test]
async fn of_many_at_once_one_has_the_ticket() {
    let rig = Rig::start(&[]);
    let path = rig.path("x");
    let url = rig.upload(&path).await;
    let bodies: Vec<String> = (0..8).map(|number| number.to_string().repeat(200_000)).collect();
    let all = futures(bodies.iter().map(|body| rig.put(&url, body.as_bytes()))).await;
    let winners: Vec<_> = all.iter().enumerate().filter(|(_, reply)| reply.status() == 200).collect();
    let [(winner, _)] = winners[..] else { panic!("{} of them", winners.len()) };
    assert!(fs::read_to_string(&path).unwrap() == bodies[winner]);
    assert!(all.iter().all(|reply| [200, 410].contains(&reply.status())));
}

async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in pending.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_ticket_dies_with_the_token_that_made_it() {
    let rig = Rig::start(&[]);
    let path = rig.path("x");
    let url = rig.upload(&path).await;
    let token = rig.daemon.token("rw").to_owned();
    let revoked =
        rig.daemon.send("DELETE", &format!("/admin/tokens/{token}"), rig.daemon.token("admin"), "").await;
    let revoked: Answer = revoked.unwrap();
    assert_eq!(revoked.status, 200, "{revoked:?}");
    let reply = rig.put(&url, b"x").await;
    assert_eq!(reply.refusal().0, 403, "{}", reply.head);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_ticket_reaches_as_far_as_the_fence_of_its_maker() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let args = ["--profile", "confined", "--root", root.to_str().unwrap()];
    let daemon = Daemon::start(BINARY, &dir.path().join("data"), &args).unwrap();
    let rig = Rig { dir, daemon };
    let told = rig.call("rw", "prepare_upload", json!({"dest_path": rig.path("outside")})).await;
    assert_eq!(told["error"], "PermissionDenied");
    let inside = rig.upload(&root.join("x")).await;
    let led_out = rig.upload(&root.join("link")).await;
    symlink(rig.path("outside"), root.join("link")).unwrap();
    assert_eq!(rig.put(&inside, b"x").await.status(), 200);
    assert_eq!(rig.put(&led_out, b"x").await.refusal().0, 403);
    assert!(!rig.path("outside").exists());
}

#[tokio::test]
async fn a_killed_daemon_leaves_nothing_of_half_an_upload() {
    let mut rig = Rig::start(&[]);
    fs::create_dir(rig.path("in")).unwrap();
    let url = rig.upload(&rig.path("in/x")).await;
    let mut stream = TcpStream::connect(rig.daemon.address).await.unwrap();
    stream.write_all(rig.head("PUT", &url, &[("content-length", "1000000")]).as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 500_000]).await.unwrap();
    let started = Instant::now();
    while rig.recorded().iter().all(|call| call["ending"] != "open") {
        assert!(started.elapsed() < Duration::from_secs(20), "its intent is not recorded");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rig.daemon.signal(Signal::KILL).unwrap();
    rig.daemon.wait().unwrap();
    assert_eq!(rig.names("in"), 0);
}

#[tokio::test]
async fn tickets_that_are_used_take_no_place_and_nobody_takes_all() {
    let rig = Rig::start(&["--limit", "host.transfer_tickets_max=4"]);
    let path = rig.path("x");
    for number in 0..6 {
        let url = rig.upload(&path).await;
        assert_eq!(rig.put(&url, b"x").await.status(), 200, "{number}");
    }
    let kept = [rig.upload(&path).await, rig.upload(&path).await];
    let told = rig.call("rw", "prepare_upload", json!({"dest_path": path})).await;
    assert_eq!(told["error"], "TooManyTickets");
    let told = rig.call("ro", "prepare_download", json!({"src_path": path})).await;
    assert_eq!(told["success"], true, "{told}");
    assert_eq!(rig.put(&kept[0], b"y").await.status(), 200);
    rig.upload(&path).await;
}

/// An upload that has begun and doesn't go on: two of so many bytes have come.
async fn begun(rig: &Rig, url: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(rig.daemon.address).await.unwrap();
    let length = bytes.to_string();
    stream.write_all(rig.head("PUT", url, &[("content-length", &length)]).as_bytes()).await.unwrap();
    stream.write_all(b"ab").await.unwrap();
    let started = Instant::now();
    // Until it has begun, nobody has the ticket.
    while rig.send("HEAD", url, &[], b"").await.status() != 409 {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not begin");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stream
}

#[tokio::test]
async fn a_token_has_half_of_the_transfers_and_others_have_the_rest() {
    let rig = Rig::start(&["--limit", "host.transfers_max=2"]);
    let path = rig.path("x");
    fs::write(rig.path("there"), "there").unwrap();
    let (first, second) = (rig.upload(&path).await, rig.upload(&rig.path("y")).await);
    let held = begun(&rig, &first, 10).await;
    let busy = rig.put(&second, b"y").await;
    assert_eq!((busy.refusal(), busy.header("retry-after")), (refused(503, "busy"), Some("1")));
    let told = rig.call("ro", "prepare_download", json!({"src_path": rig.path("there")})).await;
    assert_eq!(rig.get(told["url"].as_str().unwrap()).await.body, b"there");
    drop(held);
    let started = Instant::now();
    while rig.put(&second, b"y").await.status() != 200 {
        assert!(started.elapsed() < Duration::from_secs(20), "its place is never free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_is_announced_and_does_not_come_takes_no_space() {
    use std::os::unix::fs::MetadataExt as _;
    let rig = Rig::start(&[]);
    let path = rig.path("x");
    let url = rig.upload(&path).await;
    drop(begun(&rig, &url, 50_000_000).await);
    let started = Instant::now();
    let rest = async || rig.send("PUT", &url, &[("content-range", "bytes 2-2/3")], b"c").await;
    let mut last = rest().await;
    while last.status() != 200 {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", last.head);
        assert_eq!(last.refusal(), refused(409, "ticket_in_use"));
        tokio::time::sleep(Duration::from_millis(10)).await;
        last = rest().await;
    }
    let found = fs::metadata(&path).unwrap();
    assert!(found.size() == 3 && found.blocks() * 512 < 1_000_000, "{} blocks", found.blocks());
}

#[tokio::test]
async fn a_ticket_serves_one_version_of_a_file() {
    let rig = Rig::start(&[]);
    let path = rig.path("x");
    fs::write(&path, "one version").unwrap();
    let url = rig.download(&path).await;
    assert_eq!(rig.send("GET", &url, &[("range", "bytes=0-3")], b"").await.body, b"one ");
    let times = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "two version").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(times).unwrap();
    let rest = rig.send("GET", &url, &[("range", "bytes=4-")], b"").await;
    assert_eq!(rest.refusal(), refused(409, "file_changed"));
}

#[tokio::test]
async fn a_tool_with_a_fence_makes_tickets_that_keep_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("x"), "inside").unwrap();
    fs::write(&outside, "outside").unwrap();
    let fence = format!("prepare_*:profile=confined,read-only={}", root.display());
    let daemon = Daemon::start(BINARY, &dir.path().join("data"), &["--tool-fence", &fence]).unwrap();
    let rig = Rig { dir, daemon };
    let url = rig.download(&root.join("x")).await;
    assert_eq!(rig.get(&url).await.body, b"inside");
    let led_out = rig.download(&root.join("x")).await;
    fs::remove_file(root.join("x")).unwrap();
    symlink(&outside, root.join("x")).unwrap();
    assert_eq!(rig.get(&led_out).await.refusal().0, 403);
    let told = rig.call("rw", "prepare_download", json!({"src_path": outside})).await;
    assert_eq!(told["error"], "PermissionDenied");
}

/// A token of this data directory, which no daemon has yet.
fn token(data: &Path, args: &[&str]) -> String {
    let mut words = vec!["token", "add", "--name", "bound", "--role", "rw"];
    words.extend(args);
    let output = command(BINARY, words).env("HAYWARD_DATA_DIR", data).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The URL of a ticket that this token makes.
async fn ticket_of(daemon: &Daemon, token: &str, path: &Path) -> String {
    let params = json!({"name": "prepare_upload", "arguments": {"dest_path": path}});
    let result = daemon.ask(token, "tools/call", params).await.unwrap().json()["result"].clone();
    let told: Value = serde_json::from_str(text(&result)).unwrap();
    told["url"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
}

#[tokio::test]
async fn a_ticket_comes_from_where_its_maker_may() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let bound = token(&data, &["--source", "127.0.0.1"]);
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    let url = ticket_of(&daemon, &bound, &dir.path().join("x")).await;
    let rig = Rig { dir, daemon };
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(rig.daemon.address).await.unwrap();
    stream.write_all(rig.head("PUT", &url, &[("content-length", "1")]).as_bytes()).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(Reply::read(stream).await.refusal(), refused(404, "ticket_not_found"));
    assert_eq!(rig.put(&url, b"x").await.status(), 200);
}

#[tokio::test]
async fn a_transfer_does_not_outlive_the_token_that_made_its_ticket() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let end = std::time::SystemTime::now() + Duration::from_secs(4);
    let unix = end.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let end = hayward_api::Time::from_unix(i64::try_from(unix).unwrap()).unwrap().to_string();
    let bound = token(&data, &["--expires", &end]);
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    let path = dir.path().join("x");
    let url = ticket_of(&daemon, &bound, &path).await;
    let rig = Rig { dir, daemon };
    let mut stream = begun(&rig, &url, 4).await;
    let started = Instant::now();
    while rig.daemon.ask(&bound, "ping", json!({})).await.unwrap().status == 200 {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It is looked at once a second.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    stream.write_all(b"cd").await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(!path.exists());
}
