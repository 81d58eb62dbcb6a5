//! `doctor --url` against running servers, and against what isn't one.
#![cfg(test)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use hayward_testkit::daemon::{Daemon, command};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

fn report(args: &[&str]) -> (Option<i32>, Value, String) {
    let output = command(BINARY, [&["doctor", "-o", "json"], args].concat()).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), report, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn verdict<'a>(report: &'a Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    check.and_then(|check| check["verdict"].as_str()).unwrap_or("none")
}

#[test]
fn a_running_server_is_asked_as_its_clients_ask_it() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(BINARY, &dir.path().join("data"), &[]).unwrap();
    let url = format!("http://{}", daemon.address);
    let file = dir.path().join("token");
    let path = file.display().to_string();
    for role in ["ro", "rw", "admin"] {
        fs::write(&file, daemon.token(role)).unwrap();
        let (code, report, told) = report(&["--url", &url, "--token-file", &path]);
        assert_eq!(code, Some(0), "{report} {told}");
        for check in ["health", "version", "tls", "clock", "strangers", "token", "machine"] {
            assert_eq!(verdict(&report, check), "ok", "{check}: {report}");
        }
        assert!(!report.to_string().contains(daemon.token(role)));
    }
    fs::write(&file, "tok_0123456789abcdef0123456789abcdef").unwrap();
    let (code, refused, _) = report(&["--url", &url, "--token-file", &path]);
    assert_eq!((code, verdict(&refused, "token")), (Some(1), "failed"));
    assert_eq!(report(&["--url", &url]).0, Some(0));
}

#[test]
fn a_check_that_comes_again_and_again_leaves_nothing_in_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    let url = format!("http://{}", daemon.address);
    let (code, found, told) = report(&["--url", &url, "--health-only"]);
    assert_eq!((code, verdict(&found, "health")), (Some(0), "ok"), "{found} {told}");
    assert_eq!(verdict(&found, "strangers"), "none");
    let query = ["audit", "query", "--data-dir", data.to_str().unwrap()];
    let denied =
        || String::from_utf8_lossy(&command(BINARY, query).output().unwrap().stdout).contains("denied");
    assert!(!denied());
    assert!(report(&["--url", &url]).0 == Some(0) && denied(), "whoever has no token is in the record");
    assert_eq!(report(&["--health-only"]).0, Some(2));
    drop(daemon);
    assert_eq!(report(&["--url", &url, "--health-only"]).0, Some(1));
}

#[test]
fn what_does_not_answer_or_is_something_else_fails_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(BINARY, &dir.path().join("data"), &[]).unwrap();
    let (code, plain, _) = report(&["--url", &format!("https://{}", daemon.address)]);
    assert_eq!((code, verdict(&plain, "health")), (Some(1), "failed"));
    assert!(plain.to_string().contains("TLS failed"), "{plain}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _read = stream.read(&mut [0; 512]).unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9\r\n").unwrap();
    });
    let (code, odd, _) = report(&["--url", &format!("http://{address}")]);
    other.join().unwrap();
    assert_eq!(code, Some(1));
    assert!(odd.to_string().contains("doesn't speak HTTP"), "{odd}");
    let (code, nobody, _) = report(&["--url", &format!("http://{address}")]);
    assert_eq!(code, Some(1));
    assert!(nobody.to_string().contains("no connection"), "{nobody}");
    assert_eq!(report(&["--url", "nas"]).0, Some(2));
    assert_eq!(report(&["--url", "http://127.0.0.1:1", "--ca-file", "/no/such"]).0, Some(78));
}

#[test]
fn this_machine_is_looked_at_whole() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    let at = ["--data-dir", data.to_str().unwrap(), "--port", &daemon.address.port().to_string()];
    let (_, beside, told) = report(&at);
    for check in ["database", "owners", "port", "clock"] {
        assert_eq!(verdict(&beside, check), "ok", "{check}: {beside} {told}");
    }
    drop(daemon);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    fs::write(data.join("hayward.db"), b"this is no database, and was never one").unwrap();
    let (code, broken, _) = report(&["--data-dir", data.to_str().unwrap(), "--port", &port]);
    assert_eq!(code, Some(1));
    assert_eq!((verdict(&broken, "database"), verdict(&broken, "port")), ("failed", "failed"), "{broken}");
}

#[test]
fn a_database_that_does_not_answer_fails_and_one_that_is_misspelt_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let of = |url: &str| report(&["--data-dir", &data, "--port", "1", "--database-url", url]);
    let (code, nobody, told) = of("postgres://a:s3cretPw@127.0.0.1:1/d");
    assert_eq!((code, verdict(&nobody, "database")), (Some(1), "failed"), "{nobody} {told}");
    let nobody = nobody.to_string();
    assert!(nobody.contains("its tokens were not looked at") && !nobody.contains("s3cretPw"), "{nobody}");
    let (code, _, told) = of("postgres://a:s3cretPw@127.0.0.1:1/d?sslmod=require");
    assert!(
        code == Some(78) && told.contains("did you mean `sslmode`") && !told.contains("s3cretPw"),
        "{told}"
    );
}
