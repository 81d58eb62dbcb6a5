//! Processes that are killed in the middle of what they do, for real.
#![cfg(test)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use hayward_api::kinds::find;
use hayward_store::{Actor, Desired, Key, RotationStep, Store, StoreConfig};
use serde_json::json;

/// Says to a child in which folder it works, and at which step it dies.
const CHILD: &str = "HAYWARD_TEST_CHILD";

const STEPS: [RotationStep; 4] =
    [RotationStep::KeyAdded, RotationStep::Rewrapped, RotationStep::Committed, RotationStep::OldKeyGone];

async fn open(dir: &Path) -> Store {
    Store::open(dir, StoreConfig::default()).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tells the child from the test that started it")]
fn child() -> Option<(String, String)> {
    let said = std::env::var(CHILD).ok()?;
    let (dir, what) = said.split_once('\n')?;
    Some((dir.to_owned(), what.to_owned()))
}

/// Runs a test of this file again, as a child.
fn start(test: &str, dir: &Path, what: &str) -> std::process::Child {
    #[expect(clippy::disallowed_methods, reason = "the test has to kill a process of its own")]
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", test]).stdout(Stdio::piped());
    command.env(CHILD, format!("{}\n{what}", dir.display())).spawn().unwrap()
}

fn die() {
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_rotation_that_is_killed_at_any_step_leaves_everything_readable_and_can_be_repeated() {
    if let Some((dir, step)) = child() {
        let store = open(Path::new(&dir)).await;
        store
            .rotate_key(|done| {
                if format!("{done:?}") == step {
                    die();
                }
            })
            .await
            .unwrap();
        unreachable!("it was to die at {step}");
    }
    for step in STEPS {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let secret = Desired::new(find("secret").unwrap(), None, "s", json!({"data": {"A": "kept"}}));
        let uid = store.create(&secret, &Actor::system()).await.unwrap().metadata.uid;
        let public = store.public_key().await.unwrap();
        store.close().await;
        let name = "a_rotation_that_is_killed_at_any_step_leaves_everything_readable_and_can_be_repeated";
        let ended = start(name, dir.path(), &format!("{step:?}")).wait().unwrap();
        assert!(!ended.success(), "{step:?}");

        for is_repeated in [false, true] {
            let store = open(dir.path()).await;
            if is_repeated {
                store.rotate_key(|_| {}).await.unwrap();
            }
            let found = store.verify_sealed().await.unwrap();
            assert!(found.faults.is_empty() && found.versions == 1, "{step:?}: {found:?}");
            assert_eq!(store.secret_values(&uid).await.unwrap()["A"].as_str(), "kept", "{step:?}");
            assert_eq!(store.public_key().await.unwrap(), public);
            assert!(!is_repeated || found.keys_unused.is_empty(), "{step:?}: {found:?}");
            store.close().await;
        }
    }
}

/// The child counts a secret up, saying of each number when it was acknowledged.
#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_with_its_value_and_its_history() {
    let kind = find("secret").unwrap();
    if let Some((dir, _)) = child() {
        let store = open(Path::new(&dir)).await;
        for number in 0_u64.. {
            let desired = Desired::new(kind, None, "s", json!({"data": {"N": format!("{number}")}}));
            match number {
                0 => store.create(&desired, &Actor::system()).await.unwrap(),
                _ => store.update(&desired.key(), None, &desired, &Actor::system()).await.unwrap(),
            };
            std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("done {number}\n")).unwrap();
        }
    }
    for after in [1, 20, 40] {
        let dir = tempfile::tempdir().unwrap();
        let name = "what_was_acknowledged_before_a_kill_is_there_with_its_value_and_its_history";
        let mut child = start(name, dir.path(), "count");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut numbers = lines.filter_map(|line| line.strip_prefix("done ")?.parse::<u64>().ok());
        let mut last = numbers.by_ref().nth(after).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        last = numbers.last().unwrap_or(last);

        let store = open(dir.path()).await;
        let secret = store.get(&Key::global(kind, "s")).await.unwrap();
        let value = store.secret_values(&secret.metadata.uid).await.unwrap()["N"].parse::<u64>().unwrap();
        // The next one may have been made and not said.
        assert!(value == last || value == last + 1, "{last} was acknowledged, {value} is there");
        let history = store.history(kind, None, "s").await.unwrap();
        assert_eq!(history.len() as u64, value + 1);
        assert_eq!(history.last().unwrap().revision, secret.metadata.resource_version);
        store.close().await;
    }
}
