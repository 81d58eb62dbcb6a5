//! `edit_file`: exactly the bytes asked for, and nobody's change lost.

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::rig::Rig;

#[tokio::test]
async fn the_answers_of_the_seed_are_kept() {
    let rig = Rig::new();
    let path = rig.file("x.txt", "a\nb\nb\n");
    let edit = |old: &str, new: &str| json!({"file_path": path, "old_string": old, "new_string": new});
    let got = rig.ok("edit_file", edit("a", "z")).await;
    assert_eq!(got, json!({"success": true, "replacements": 1}));
    let answer = rig.call("edit_file", edit("q", "z")).await;
    assert_eq!(answer.text["error"], "StringNotFound");
    assert_eq!(answer.text["message"], "old_string not found in file");
    let answer = rig.call("edit_file", edit("b", "z")).await;
    assert_eq!(answer.text["error"], "AmbiguousMatch");
    let message = "old_string appears 2 times. Set replace_all=true to replace all occurrences.";
    assert_eq!(answer.text["message"], message);
    let mut all = edit("b", "y");
    all["replace_all"] = json!(true);
    assert_eq!(rig.ok("edit_file", all).await["replacements"], 2);
    assert_eq!(std::fs::read(&path).unwrap(), b"z\ny\ny\n");
    assert_eq!(rig.ok("edit_file", edit("z", "z")).await["replacements"], 1);
}

#[tokio::test]
async fn what_can_not_be_edited_is_refused() {
    let rig = Rig::with(|config| {
        config.limits.set("host.edit_string_bytes_max", 1_048_576).unwrap();
        config.limits.set("host.edit_file_bytes_max", 100).unwrap();
    });
    let (small, big) = (rig.file("small", "x"), rig.file("big", "x".repeat(101)));
    let long = "x".repeat(1_048_577);
    for (path, old, new, code) in [
        (&small, "", "y", "InvalidArgument"),
        (&small, "x", &*"y".repeat(101), "FileTooLarge"),
        (&small, &*long, "y", "FileTooLarge"),
        (&small, "x", &*long, "FileTooLarge"),
        (&big, "x", "y", "FileTooLarge"),
        (&rig.work("none"), "x", "y", "FileNotFoundError"),
        (&rig.work(""), "x", "y", "IsADirectoryError"),
        (&"/dev/null".into(), "x", "y", "NotARegularFile"),
    ] {
        let arguments = json!({"file_path": path, "old_string": old, "new_string": new});
        assert_eq!(rig.code("edit_file", arguments).await, code, "{}", path.display());
    }
    let answer =
        rig.call("edit_file", json!({"file_path": small, "old_string": long, "new_string": ""})).await;
    assert_eq!(answer.text["message"], "old_string exceeds 1MB limit");
    assert!(!rig.work("none").exists());
}

#[tokio::test]
async fn all_other_bytes_stay() {
    let rig = Rig::new();
    let path = rig.file("x", b"\xef\xbb\xbfcaf\xe9\r\none\r\ntwo\r\n\xff\0");
    let arguments = json!({"file_path": path, "old_string": "one\ntwo", "new_string": "1\n2\n3"});
    rig.ok("edit_file", arguments).await;
    assert_eq!(std::fs::read(&path).unwrap(), b"\xef\xbb\xbfcaf\xe9\r\n1\r\n2\r\n3\r\n\xff\0");
    assert!(rig.leftovers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_at_the_same_time_are_all_kept() {
    const EDITORS: usize = 4;
    const EDITS: usize = 50;
    let rig = Arc::new(Rig::with(|config| config.sync_files = false));
    let path = rig.file("x", lines(EDITORS, 0));
    let mut editors = tokio::task::JoinSet::new();
    for editor in 0..EDITORS {
        let (rig, path) = (Arc::clone(&rig), path.clone());
        editors.spawn(async move {
            for round in 0..EDITS {
                let (old, new) = (format!("{editor}={round};"), format!("{editor}={};", round + 1));
                let arguments = json!({"file_path": path, "old_string": old, "new_string": new});
                rig.ok("edit_file", arguments).await;
            }
        });
    }
    while let Some(editor) = editors.join_next().await {
        editor.unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(EDITORS, EDITS));
    assert!(rig.leftovers().is_empty());
}

#[tokio::test]
async fn a_file_that_changes_or_goes_while_it_is_edited_is_edited_whole_or_not_at_all() {
    const OLD: &str = "old line\n";
    let rig = Rig::with(|config| config.sync_files = false);
    let whole = OLD.repeat(20_000);
    let path = rig.file("x", &whole);
    let done = CancellationToken::new();
    let changes = {
        let (path, done, whole) = (path.clone(), done.clone(), whole.clone());
        std::thread::spawn(move || {
            while !done.is_cancelled() {
                std::fs::remove_file(&path).ok();
                std::fs::write(&path, &whole).unwrap();
                std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(3).unwrap();
            }
        })
    };
    let arguments = json!({"file_path": path, "old_string": "old", "new_string": "new", "replace_all": true});
    for _ in 0..100 {
        let answer = rig.call("edit_file", arguments.clone()).await;
        let code = answer.text["error"].as_str().unwrap_or_default();
        let is_told = ["Conflict", "FileNotFoundError", "StringNotFound"].contains(&code);
        assert!(!answer.is_error || is_told, "{answer:?}");
    }
    done.cancel();
    changes.join().unwrap();
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(rig.ok("edit_file", arguments).await["replacements"], 20_000);
    assert!(rig.leftovers().is_empty());
}

/// A line with a number for each editor.
fn lines(editors: usize, number: usize) -> String {
    let lines: Vec<_> = (0..editors).map(|editor| format!("{editor}={number};")).collect();
    lines.join("\n")
}
