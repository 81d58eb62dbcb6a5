//! `write_file`: whole or not at all, and nothing of the file lost but its old content.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, setxattr};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::rig::{Mount, Rig, is_root, put, run, text};

#[tokio::test]
async fn files_and_their_directories_are_made() {
    let rig = Rig::new();
    let path = rig.work("a/b/ä\nc/x.txt");
    let got = rig.ok("write_file", json!({"file_path": path, "content": "a\nb\n"})).await;
    assert_eq!(got, json!({"success": true, "bytes_written": 4}));
    assert_eq!(std::fs::read(&path).unwrap(), b"a\nb\n");
    rig.ok("write_file", json!({"file_path": path, "content": ""})).await;
    assert_eq!(std::fs::read(&path).unwrap(), b"");
    let probe = rig.file("probe", "");
    assert_eq!(mode(&path), mode(&probe), "as the umask says");
    assert!(rig.leftovers().is_empty());
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn owner_mode_and_attributes_are_kept() {
    let rig = Rig::new();
    let path = rig.file("x", "old");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o6741)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&path, Some(1234), Some(2345)).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o6741)).unwrap();
    }
    setxattr(&path, "user.note", b"kept", XattrFlags::empty()).unwrap();
    setxattr(&path, ACL, &acl_for_user_1(), XattrFlags::empty()).unwrap();
    let (old, old_acl) = (std::fs::metadata(&path).unwrap(), acl(&path));
    let mut last = old.ino();
    for edit in [false, true] {
        if edit {
            let arguments = json!({"file_path": path, "old_string": "new", "new_string": "edited"});
            rig.ok("edit_file", arguments).await;
        } else {
            rig.ok("write_file", json!({"file_path": path, "content": "new"})).await;
        }
        let new = std::fs::metadata(&path).unwrap();
        assert_ne!(std::mem::replace(&mut last, new.ino()), new.ino(), "it was replaced");
        assert_eq!((old.uid(), old.gid()), (new.uid(), new.gid()));
        assert_eq!(
            mode(&path),
            old.mode() & 0o1777,
            "new content has not the rights that the old one was lent"
        );
        let mut value = [0; 8];
        let length = getxattr(&path, "user.note", &mut value).unwrap();
        assert_eq!(&value[..length], b"kept");
        assert_eq!(old_acl, acl(&path));
        assert!(old_acl.is_some());
    }
}

#[tokio::test]
async fn content_that_changes_where_it_stands_is_not_lent_the_rights_of_the_old_one() {
    let rig = Rig::new();
    let path = rig.file("x", "old");
    std::fs::hard_link(&path, rig.work("second name")).unwrap();
    let number = std::fs::metadata(&path).unwrap().ino();
    let edit = json!({"file_path": path, "old_string": "new", "new_string": "edited"});
    let write = json!({"file_path": path, "content": "new"});
    for (tool, arguments) in [("write_file", write), ("edit_file", edit)] {
        for bits in [0o4000, 0o2000, 0o6000] {
            std::fs::write(&path, "new").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o751 | bits)).unwrap();
            rig.ok(tool, arguments.clone()).await;
            assert_eq!(mode(&path), 0o751, "{tool} {bits:o}");
        }
    }
    // A sticky bit lends nothing.
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o1751)).unwrap();
    rig.ok("write_file", json!({"file_path": path, "content": "new"})).await;
    assert_eq!((mode(&path), std::fs::metadata(&path).unwrap().ino()), (0o1751, number));
}

const ACL: &str = "system.posix_acl_access";

/// An ACL that lets user 1 read and write, as the kernel takes it: version, then (tag, rights, id).
fn acl_for_user_1() -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries = [(1, 7, NOBODY), (2, 6, 1), (4, 4, NOBODY), (16, 7, NOBODY), (32, 1, NOBODY)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend([u16::to_le_bytes(tag), u16::to_le_bytes(rights)].concat());
        bytes.extend(u32::to_le_bytes(id));
    }
    bytes
}

fn acl(path: &Path) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let length = getxattr(path, ACL, &mut value).ok()?;
    Some(value[..length].to_vec())
}

#[tokio::test]
async fn an_inherited_acl_is_not_given_to_a_file_that_had_none() {
    let rig = Rig::new();
    let path = rig.file("x", "old");
    let acl_of_new = "system.posix_acl_default";
    setxattr(rig.work(""), acl_of_new, &acl_for_user_1(), XattrFlags::empty()).unwrap();
    assert!(acl(&rig.file("probe", "")).is_some(), "new files inherit it");
    rig.ok("write_file", json!({"file_path": path, "content": "new"})).await;
    assert_eq!(acl(&path), None);
}

#[tokio::test]
async fn links_are_written_through() {
    let rig = Rig::new();
    let path = rig.file("x", "old");
    symlink("x", rig.work("link")).unwrap();
    symlink("made", rig.work("dangling")).unwrap();
    symlink("loop", rig.work("loop")).unwrap();
    rig.ok("write_file", json!({"file_path": rig.work("link"), "content": "new"})).await;
    rig.ok("write_file", json!({"file_path": rig.work("dangling"), "content": "made"})).await;
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::read(rig.work("made")).unwrap(), b"made");
    assert!(rig.work("link").is_symlink() && rig.work("dangling").is_symlink());
    let code = rig.code("write_file", json!({"file_path": rig.work("loop"), "content": ""})).await;
    assert_eq!(code, "OSError");
}

#[tokio::test]
async fn a_file_with_several_names_keeps_them() {
    let rig = Rig::new();
    let path = rig.file("x", "a long old content");
    std::fs::hard_link(&path, rig.work("y")).unwrap();
    let got = rig.ok("write_file", json!({"file_path": path, "content": "new"})).await;
    assert_eq!(got, json!({"success": true, "bytes_written": 3, "atomic": false}));
    assert_eq!(std::fs::read(rig.work("y")).unwrap(), b"new");
    let arguments = json!({"file_path": path, "old_string": "new", "new_string": "newer"});
    let got = rig.ok("edit_file", arguments).await;
    assert_eq!(got["atomic"], false);
    assert_eq!(std::fs::read(rig.work("y")).unwrap(), b"newer");
}

#[tokio::test]
async fn a_mounted_file_is_overwritten_where_it_stands() {
    let rig = Rig::new();
    let (inner, outer) = (rig.file("inner", "old"), rig.file("outer", ""));
    let Some(_mount) = Mount::bind(&inner, &outer) else { return };
    let got = rig.ok("write_file", json!({"file_path": outer, "content": "new"})).await;
    assert_eq!(got["atomic"], false);
    assert_eq!(std::fs::read(&inner).unwrap(), b"new");
    assert!(rig.leftovers().is_empty());
}

#[tokio::test]
async fn settings_of_the_kernel_can_be_written() {
    let rig = Rig::new();
    let path = "/proc/self/comm"; // of the thread that writes: ours, hence protected
    assert_eq!(rig.code("write_file", json!({"file_path": path, "content": "x"})).await, "ProtectedPath");
    let setting = "/proc/sys/kernel/ns_last_pid";
    if !is_root() || std::fs::metadata(setting).is_err() {
        println!("skipped: no {setting}");
        return;
    }
    let got = rig.ok("write_file", json!({"file_path": setting, "content": "300\n"})).await;
    assert_eq!(got, json!({"success": true, "bytes_written": 4, "atomic": false}));
}

#[tokio::test]
async fn what_is_no_file_is_not_written() {
    let rig = Rig::new();
    assert!(run("mkfifo", &[text(&rig.work("fifo"))]), "mkfifo is part of every system");
    for (path, code) in [
        (rig.work("fifo"), "NotARegularFile"),
        ("/dev/null".into(), "NotARegularFile"),
        (rig.work(""), "IsADirectoryError"),
        (rig.work("."), "IsADirectoryError"),
        (rig.work("none/"), "IsADirectoryError"),
        (rig.work("none/.."), "IsADirectoryError"),
        ("/".into(), "IsADirectoryError"),
        (rig.file("x", "").join("y"), "NotADirectoryError"),
    ] {
        let arguments = json!({"file_path": path, "content": "x"});
        assert_eq!(rig.code("write_file", arguments).await, code, "{}", path.display());
    }
    assert!(!rig.work("none").exists());
}

#[tokio::test]
async fn too_much_is_refused() {
    let rig = Rig::with(|config| config.limits.set("host.write_bytes_max", 100).unwrap());
    let path = rig.work("x");
    rig.ok("write_file", json!({"file_path": path, "content": "x".repeat(100)})).await;
    let arguments = json!({"file_path": path, "content": "x".repeat(101)});
    assert_eq!(rig.code("write_file", arguments).await, "FileTooLarge");
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_leaves_nothing() {
    let rig = Rig::new();
    let Some(_mount) = Mount::tmpfs(&rig.work("small"), 1 << 20) else { return };
    let path = rig.file("small/x", "old");
    let content = "x".repeat(2 << 20);
    let big = json!({"file_path": path, "content": content});
    assert_eq!(rig.code("write_file", big).await, "NoSpace");
    let grow = json!({"file_path": path, "old_string": "old", "new_string": &content[..1 << 20]});
    assert_eq!(rig.code("edit_file", grow).await, "NoSpace");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    // In place too: a file with two names.
    std::fs::hard_link(&path, rig.work("small/y")).unwrap();
    let big = json!({"file_path": path, "content": content});
    assert_eq!(rig.code("write_file", big).await, "NoSpace");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    let new = json!({"file_path": rig.work("small/new"), "content": content});
    assert_eq!(rig.code("write_file", new).await, "NoSpace");
    let mut names: Vec<_> =
        std::fs::read_dir(rig.work("small")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["x", "y"]);
}

#[tokio::test]
async fn a_read_only_file_system_is_told() {
    let rig = Rig::new();
    let Some(_mount) = Mount::tmpfs(&rig.work("ro"), 1 << 20) else { return };
    put(&rig.work("ro/x"), "old");
    if !run("mount", &["-o", "remount,ro", text(&rig.work("ro"))]) {
        return;
    }
    for name in ["ro/x", "ro/y"] {
        let arguments = json!({"file_path": rig.work(name), "content": "x"});
        assert_eq!(rig.code("write_file", arguments).await, "ReadOnlyFileSystem", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_the_old_content_or_the_new() {
    let rig = Rig::with(|config| config.sync_files = false);
    let contents = ["a".repeat(100_000), "b".repeat(150_000)];
    let path = rig.file("x", &contents[0]);
    let done = CancellationToken::new();
    let reader = {
        let (path, contents, done) = (path.clone(), contents.clone(), done.clone());
        std::thread::spawn(move || {
            let mut reads = 0;
            while !done.is_cancelled() || reads < 10 {
                let content = std::fs::read_to_string(&path).unwrap();
                assert!(contents.contains(&content), "{} bytes", content.len());
                reads += 1;
            }
        })
    };
    for round in 0..200 {
        let content = &contents[round % 2];
        rig.ok("write_file", json!({"file_path": path, "content": content})).await;
    }
    done.cancel();
    reader.join().unwrap();
}

#[tokio::test]
async fn a_cancelled_write_has_no_effect() {
    let rig = Rig::new();
    let path = rig.file("x", "old");
    let cancel = CancellationToken::new();
    cancel.cancel();
    let cx = hayward_tool::Cx::new(std::time::Duration::from_secs(9), cancel);
    let answer = rig.call_within(&cx, "write_file", json!({"file_path": path, "content": "new"})).await;
    assert_eq!(answer.text["error"], "Cancelled");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert!(rig.leftovers().is_empty());
}
