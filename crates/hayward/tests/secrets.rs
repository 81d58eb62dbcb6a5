//! `hayward secrets`, and a database that is named by its address.
#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::Output;

use hayward_store::{Actor, DataDir, Desired, Store, StoreConfig};
use hayward_testkit::daemon::command;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

fn secrets(data: &Path, action: &str) -> Output {
    command(BINARY, ["secrets", action]).env("HAYWARD_DATA_DIR", data).output().unwrap()
}

fn told(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A data directory with a secret in it.
async fn kept(data: &Path) {
    let _lock = DataDir::acquire(data).unwrap();
    let store = Store::open(data, StoreConfig::default()).await.unwrap();
    let kind = hayward_api::kinds::find("secret").unwrap();
    let secret = Desired::new(kind, None, "s", json!({"data": {"A": "v4lue"}}));
    store.create(&secret, &Actor::system()).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn keys_are_exchanged_verified_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    kept(&data).await;
    let key = data.join("keys/secrets.json");
    let before = fs::read(&key).unwrap();
    let public = told(secrets(&data, "public-key"));
    assert!(public.starts_with("hayward-seal-v1:") && public.lines().count() == 1, "{public}");
    for action in ["rotate-key", "rekey"] {
        let done = secrets(&data, action);
        assert!(done.status.success() && done.stderr.ends_with(b"\n"), "{done:?}");
    }
    assert_ne!(fs::read(&key).unwrap(), before);
    let found = told(secrets(&data, "verify"));
    assert!(found.starts_with("1 versions of values open\nkey ") && found.lines().count() == 2, "{found}");
    assert_eq!(told(secrets(&data, "public-key")), public);

    fs::write(&key, before).unwrap();
    for action in ["verify", "rotate-key", "rekey", "public-key"] {
        let refused = secrets(&data, action);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(5), "{said}");
        assert!(said.contains("put the right key file back"), "{said}");
    }
}

#[tokio::test]
async fn a_directory_that_somebody_has_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    kept(&data).await;
    let _held = DataDir::acquire(&data).unwrap();
    let refused = secrets(&data, "rotate-key");
    assert_eq!(refused.status.code(), Some(5));
}

#[test]
fn the_address_of_a_database_is_masked_and_a_wrong_one_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let run = |url: &str, args: &[&str]| {
        let mut command = command(BINARY, args);
        command.env("HAYWARD_DATA_DIR", dir.path()).env("HAYWARD_DATABASE_URL", url).output().unwrap()
    };
    let viewed = run("postgres://a:s3cretPw@127.0.0.1:1/d", &["config", "view"]);
    let text = String::from_utf8(viewed.stdout).unwrap();
    assert!(text.contains("database.url") && text.contains("***") && !text.contains("s3cretPw"), "{text}");
    for (url, code) in [("postgres://a:s3cretPw@127.0.0.1:1/d", 5), ("mysql://a:s3cretPw@h/d", 78)] {
        for args in [&["secrets", "verify"][..], &["token", "list"], &["serve", "--port", "0"]] {
            let refused = run(url, args);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(code), "{args:?}: {said}");
            assert!(!said.contains("s3cretPw"), "{said}");
            assert!(code != 5 || said.contains("refused"), "the reason is told: {said}");
        }
    }
}

#[test]
fn a_data_directory_that_is_not_there_is_refused_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("none");
    for action in ["verify", "rotate-key", "rekey", "public-key"] {
        let refused = secrets(&data, action);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(5), "{said}");
        assert!(said.contains("no data directory") && !data.exists(), "{said}");
    }
}
