//! The fence: our data can't be read, found or changed, by whatever name; and all else can.

use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use hayward_tool::Ending;
use serde_json::json;

use crate::rig::{Mount, Rig, put, text};

/// Every file tool refuses this path.
async fn refused(rig: &Rig, path: &str) {
    for (tool, arguments) in [
        ("read_file", json!({"file_path": path})),
        ("write_file", json!({"file_path": path, "content": "x"})),
        ("edit_file", json!({"file_path": path, "old_string": "secret", "new_string": "x"})),
        ("grep", json!({"pattern": "secret", "path": path})),
    ] {
        let answer = rig.call(tool, arguments).await;
        assert_eq!(answer.text["error"], "ProtectedPath", "{tool} {path}: {answer:?}");
        assert_eq!(answer.verdict.ending, Ending::Denied);
        let message = answer.text["message"].as_str().unwrap();
        assert!(message.starts_with("Access denied: path is within protected directory /"), "{message}");
    }
}

fn unharmed(rig: &Rig) {
    assert_eq!(std::fs::read(rig.data("secret.db")).unwrap(), b"the secret\n");
    assert_eq!(std::fs::read(rig.data("audit/1.log")).unwrap(), b"the secret\n");
    assert_eq!(std::fs::read_dir(rig.data("")).unwrap().count(), 2);
}

#[tokio::test]
async fn data_is_refused_by_its_name_and_by_detours() {
    let rig = Rig::new();
    let secret = rig.data("secret.db");
    symlink(&secret, rig.work("link")).unwrap();
    symlink(rig.data(""), rig.work("folder")).unwrap();
    symlink(rig.data("new.db"), rig.work("dangling")).unwrap();
    let open = std::fs::File::open(&secret).unwrap();
    let through_fd = format!("/proc/self/fd/{}", open.as_raw_fd());
    let through_root = format!("/proc/self/root{}", secret.display());
    let through_task = format!("/proc/thread-self/root{}", secret.display());
    for path in [
        text(&secret),
        text(&rig.data("audit/1.log")),
        text(&rig.data("new.db")),
        text(&rig.data("new/deep/er.db")),
        text(&rig.work("link")),
        text(&rig.work("folder/audit/1.log")),
        text(&rig.work("folder/new")),
        text(&rig.work("dangling")),
        text(&rig.work("../data/secret.db")),
        text(&rig.work("../work/../data/./audit//1.log")),
        &through_fd,
        &through_root,
        &through_task,
        text(&rig.data("")),
    ] {
        refused(&rig, path).await;
    }
    unharmed(&rig);
}

#[tokio::test]
async fn hard_links_are_found_out_even_fresh_ones() {
    let rig = Rig::new();
    std::fs::hard_link(rig.data("secret.db"), rig.work("hard")).unwrap();
    refused(&rig, text(&rig.work("hard"))).await;
    put(&rig.data("fresh.db"), "the secret\n");
    std::fs::hard_link(rig.data("fresh.db"), rig.work("fresh")).unwrap();
    refused(&rig, text(&rig.work("fresh"))).await;
    std::fs::remove_file(rig.data("fresh.db")).unwrap();
    unharmed(&rig);
    // Files of others with several names are nobody's secret.
    std::fs::hard_link(rig.file("mine", "secret"), rig.work("mine2")).unwrap();
    rig.ok("read_file", json!({"file_path": rig.work("mine2")})).await;
}

#[tokio::test]
async fn bind_mounts_are_found_out() {
    let rig = Rig::new();
    for (from, to, path) in
        [(rig.data(""), "all", "all/secret.db"), (rig.data("audit"), "part", "part/1.log")]
    {
        std::fs::create_dir(rig.work(to)).unwrap();
        let Some(_mount) = Mount::bind(&from, &rig.work(to)) else { return };
        refused(&rig, text(&rig.work(path))).await;
        refused(&rig, text(&rig.work(to).join("new"))).await;
        let got = rig.ok("glob", json!({"pattern": "**/*", "path": rig.work("")})).await;
        assert!(!got.to_string().contains(path), "{got}");
        let got = rig.ok("grep", json!({"pattern": "secret", "path": rig.work("")})).await;
        assert_eq!(got["match_count"], 0);
    }
    put(&rig.work("file"), "");
    let Some(_mount) = Mount::bind(&rig.data("secret.db"), &rig.work("file")) else { return };
    refused(&rig, text(&rig.work("file"))).await;
    unharmed(&rig);
}

#[tokio::test]
async fn what_the_inventory_has_not_is_found_out_behind_a_bind_mount() {
    let rig = Rig::with(|config| {
        let keys = config.protected[0].parent().unwrap().join("work/keys");
        std::fs::create_dir_all(keys.join("deep")).unwrap();
        put(&keys.join("deep/k"), "secret\n");
        config.extra_protected = vec![keys];
    });
    rig.file("mine", "nothing\n");
    rig.ok("read_file", json!({"file_path": rig.work("mine")})).await;
    // Neither what lies in an extra path is in it, nor what is newer.
    put(&rig.data("audit/new.log"), "the secret\n");
    for (from, to, path) in
        [(rig.work("keys"), "all", "all/deep/k"), (rig.data("audit"), "part", "part/new.log")]
    {
        std::fs::create_dir(rig.work(to)).unwrap();
        let Some(_mount) = Mount::bind(&from, &rig.work(to)) else { return };
        refused(&rig, text(&rig.work(path))).await;
        rig.ok("read_file", json!({"file_path": rig.work("mine")})).await;
        let got = rig.ok("grep", json!({"pattern": "secret", "path": rig.work("")})).await;
        assert_eq!(got["match_count"], 0, "{got}");
        let got = rig.ok("glob", json!({"pattern": "**/*", "path": rig.work("")})).await;
        assert!(!got.to_string().contains(path), "{got}");
    }
}

#[tokio::test]
async fn searches_see_nothing_of_it() {
    let rig = Rig::new();
    rig.file("mine.txt", "the secret\n");
    symlink(rig.data(""), rig.work("folder")).unwrap();
    symlink(rig.data("secret.db"), rig.work("link.db")).unwrap();
    std::fs::hard_link(rig.data("secret.db"), rig.work("hard.db")).unwrap();
    let root = rig.work("..");
    for pattern in
        ["**/*", "**", "*/*.db", "*/secret.db", "data/*", "data/secret.db", "work/folder/*", "work/*.db"]
    {
        let got = rig.ok("glob", json!({"pattern": pattern, "path": root})).await.to_string();
        for name in ["secret.db", "1.log", "link.db", "hard.db", "audit"] {
            assert!(!got.contains(name), "{pattern}: {got}");
        }
    }
    for path in [root, rig.work("")] {
        let got = rig.ok("grep", json!({"pattern": "secret", "path": path, "output_mode": "files"})).await;
        assert_eq!(got["match_count"], 1, "{got}");
    }
}

#[tokio::test]
async fn our_process_and_memory_are_protected() {
    let rig = Rig::new();
    let pid = std::process::id();
    for path in [
        "/proc/self/environ".to_owned(),
        format!("/proc/{pid}/environ"),
        format!("/proc/{pid}/mem"),
        format!("/proc/{pid}/task/{pid}/environ"),
        "/proc/thread-self/environ".to_owned(),
        "/proc/self/maps".to_owned(),
        "/proc/1/mem".to_owned(),
        "/proc/kcore".to_owned(),
    ] {
        if std::fs::symlink_metadata(&path).is_ok() {
            let answer = rig.call("read_file", json!({"file_path": path})).await;
            assert_eq!(answer.text["error"], "ProtectedPath", "{path}: {answer:?}");
        }
    }
    let arguments = json!({"pattern": "PATH", "path": format!("/proc/{pid}"), "glob": "environ"});
    assert_eq!(rig.code("grep", arguments).await, "ProtectedPath");
    let comm = rig.ok("read_file", json!({"file_path": "/proc/1/comm"})).await;
    assert_eq!(comm["total_lines"], 1, "other processes are no secret");
}

#[tokio::test]
async fn extra_paths_are_protected_files_and_folders_alike() {
    let mut kept = PathBuf::new();
    let rig = Rig::with(|config| {
        let root = config.protected[0].parent().unwrap().to_owned();
        put(&root.join("work/shadow"), "secret\n");
        std::fs::create_dir(root.join("work/keys")).unwrap();
        put(&root.join("work/keys/k"), "secret\n");
        config.extra_protected =
            vec![root.join("work/shadow"), root.join("work/keys"), root.join("work/later")];
        kept = root;
    });
    symlink(rig.work("keys"), rig.work("keylink")).unwrap();
    for name in ["shadow", "keys/k", "keys/new", "keylink/k", "later", "later/x"] {
        refused(&rig, text(&rig.work(name))).await;
    }
    assert!(!kept.join("work/later").exists());
    let got = rig.ok("glob", json!({"pattern": "**/*", "path": rig.work("")})).await;
    assert_eq!(got["count"], 0, "{got}");
    let got = rig.ok("grep", json!({"pattern": "secret", "path": rig.work("")})).await;
    assert_eq!(got["match_count"], 0);
}

#[tokio::test]
async fn what_is_beside_or_above_is_free() {
    let rig = Rig::new();
    let beside = rig.data("").parent().unwrap().join("data2/x");
    rig.ok("write_file", json!({"file_path": beside, "content": "x"})).await;
    rig.ok("read_file", json!({"file_path": beside})).await;
    let above = rig.data("").parent().unwrap().join("y");
    rig.ok("write_file", json!({"file_path": above, "content": "x"})).await;
    assert!(std::fs::metadata(above).unwrap().ino() > 0);
}

#[tokio::test]
async fn a_protected_path_that_is_not_there_yet_is_not_reached_through_a_new_directory() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.conf");
    let rig = Rig::with(|config| config.extra_protected = vec![missing.clone()]);
    for detour in [missing.clone(), folder.path().join("new/../missing.conf")] {
        let arguments = json!({"file_path": detour, "content": "x"});
        let answer = rig.call("write_file", arguments).await;
        assert_eq!(answer.text["error"], "ProtectedPath", "{}", detour.display());
        assert!(!missing.exists());
    }
}

#[tokio::test]
async fn a_refused_write_leaves_no_directories_behind() {
    let rig = Rig::new();
    for detour in ["n1/../../data/evil", "n1/n2/../../../data/x/y", "../data/new/deep/file"] {
        let arguments = json!({"file_path": rig.work(detour), "content": "x"});
        let answer = rig.call("write_file", arguments).await;
        assert!(answer.is_error, "{detour}: {answer:?}");
        assert_eq!(std::fs::read_dir(rig.work("")).unwrap().count(), 0, "{detour}");
        assert!(!rig.data("new").exists() && !rig.data("x").exists());
    }
    // Into a directory that isn't there and out again is no way, and makes none.
    rig.ok("write_file", json!({"file_path": rig.work("n1/../kept/file"), "content": "x"})).await;
    assert!(rig.work("kept/file").exists() && !rig.work("n1").exists());
}

#[tokio::test]
async fn our_own_process_under_another_name_is_protected() {
    let rig = Rig::new();
    std::fs::create_dir(rig.work("process")).unwrap();
    std::fs::write(rig.work("environ"), "").unwrap();
    let own = PathBuf::from(format!("/proc/{}", std::process::id()));
    let Some(_folder) = Mount::bind(&own, &rig.work("process")) else { return };
    let Some(_file) = Mount::bind(&own.join("environ"), &rig.work("environ")) else { return };
    let found = rig.ok("grep", json!({"pattern": ".", "path": rig.work(""), "output_mode": "files"})).await;
    assert_eq!(found["match_count"], 0, "{found}");
    for name in ["process/environ", "process/cmdline", "process/oom_score_adj", "environ"] {
        refused(&rig, text(&rig.work(name))).await;
    }
}

#[tokio::test]
async fn what_proc_says_to_everybody_is_readable() {
    let rig = Rig::new();
    for path in ["/proc/mounts", "/proc/net/tcp", "/proc/version"] {
        rig.ok("read_file", json!({"file_path": path})).await;
    }
    refused(&rig, "/proc/self/environ").await;
}

#[tokio::test]
async fn a_directory_that_is_swapped_for_a_link_while_it_is_searched_shows_nothing_protected() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::sync::atomic::{AtomicBool, Ordering};
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("f"), "the protected secret\n").unwrap();
    let rig = Rig::with(|config| config.extra_protected = vec![secret.path().to_owned()]);
    let folder = tempfile::tempdir().unwrap();
    let (plain, link) = (folder.path().join("swapped"), folder.path().join("link"));
    std::fs::create_dir(&plain).unwrap();
    std::fs::write(plain.join("f"), "nothing\n").unwrap();
    std::os::unix::fs::symlink(secret.path(), &link).unwrap();
    let is_over = std::sync::Arc::new(AtomicBool::new(false));
    let stop = std::sync::Arc::clone(&is_over);
    let swapping = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            renameat_with(CWD, &plain, CWD, &link, RenameFlags::EXCHANGE).unwrap();
        }
    });
    for _ in 0..300 {
        let answer = rig.call("grep", json!({"pattern": "secret", "path": folder.path()})).await;
        assert_eq!(answer.text["match_count"], 0, "{}", answer.raw);
    }
    is_over.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
}
