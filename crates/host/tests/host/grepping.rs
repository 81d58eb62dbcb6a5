//! `grep` on real trees, in ripgrep's format.

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::time::Duration;

use hayward_tool::Cx;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, put, run, text};

fn tree() -> Rig {
    let rig = Rig::new();
    rig.file("a.txt", "alpha\nbeta\nalpha beta\r\n");
    rig.file("sub/b.txt", "x\nalpha\n\n\n\n\nalpha\n");
    rig.file("sub/c.rs", "Alpha\n");
    rig.file("bin.dat", b"alpha\0x\n");
    rig.file(".hidden", "alpha\n");
    rig.file("sub/.hidden/h.txt", "alpha\n");
    rig
}

/// The results with the work directory taken out.
async fn grep(rig: &Rig, mut arguments: Value) -> (String, u64) {
    let work = text(&rig.work("")).to_owned();
    let path = rig.work(arguments["path"].as_str().unwrap_or_default());
    arguments["path"] = json!(path);
    let got = rig.ok("grep", arguments).await;
    let results = got["results"].as_str().unwrap().replace(&work, "");
    (results, got["match_count"].as_u64().unwrap())
}

#[tokio::test]
async fn lines_files_and_counts_come_as_from_ripgrep() {
    let rig = tree();
    for (arguments, expect, count) in [
        (
            json!({"pattern": "alpha"}),
            "a.txt:1:alpha\na.txt:3:alpha beta\nsub/b.txt:2:alpha\nsub/b.txt:7:alpha",
            4,
        ),
        (json!({"pattern": "alpha", "output_mode": "files"}), "a.txt\nsub/b.txt", 2),
        (json!({"pattern": "alpha", "output_mode": "count"}), "a.txt:2\nsub/b.txt:2", 2),
        (json!({"pattern": "^alpha$", "path": "a.txt"}), "1:alpha", 1),
        (json!({"pattern": "alpha", "path": "a.txt", "output_mode": "count"}), "2", 1),
        (json!({"pattern": "alpha", "path": "a.txt", "output_mode": "files"}), "a.txt", 1),
        (json!({"pattern": "alpha", "path": ".hidden"}), "1:alpha", 1),
        (json!({"pattern": "alpha", "glob": "*.rs", "case_insensitive": true}), "sub/c.rs:1:Alpha", 1),
        (json!({"pattern": "beta", "glob": "!sub"}), "a.txt:2:beta\na.txt:3:alpha beta", 2),
        (json!({"pattern": "alpha", "glob": "sub/*.{txt,md}"}), "sub/b.txt:2:alpha\nsub/b.txt:7:alpha", 2),
        (json!({"pattern": "nothing"}), "", 0),
        (json!({"pattern": "--pre=/bin/true"}), "", 0),
        (json!({"pattern": "beta$", "context_lines": -4}), "a.txt:2:beta", 1),
        (
            json!({"pattern": "alpha", "path": "sub/", "context_lines": 1}),
            "sub/b.txt-1-x\nsub/b.txt:2:alpha\nsub/b.txt-3-\n--\nsub/b.txt-6-\nsub/b.txt:7:alpha",
            6,
        ),
        (
            json!({"pattern": "alpha$|Alpha", "context_lines": 0, "glob": "*.{txt,rs}", "max_results": 2}),
            "a.txt:1:alpha\nsub/b.txt:2:alpha\n[TRUNCATED: more matches not shown]",
            2,
        ),
    ] {
        if arguments["max_results"].is_null() {
            assert_eq!(grep(&rig, arguments.clone()).await, (expect.to_owned(), count), "{arguments}");
        } else {
            let (results, shown) = grep(&rig, arguments.clone()).await;
            assert!(results.ends_with("\n[TRUNCATED: more matches not shown]"), "{results}");
            assert_eq!((shown, results.lines().count()), (count, 3), "{arguments}");
        }
    }
}

#[tokio::test]
async fn groups_of_several_files_are_set_apart() {
    let rig = tree();
    let got = grep(&rig, json!({"pattern": "^beta|x", "context_lines": 1, "glob": "*.txt"})).await;
    let expect = "a.txt-1-alpha\na.txt:2:beta\na.txt-3-alpha beta\n--\nsub/b.txt:1:x\nsub/b.txt-2-alpha";
    assert_eq!(got, (expect.to_owned(), 6));
}

#[tokio::test]
async fn binary_files_are_left_out_of_trees_and_named_when_asked_for() {
    let rig = tree();
    let got = grep(&rig, json!({"pattern": "alpha", "path": "bin.dat"})).await;
    assert_eq!(got, ("binary file matches (found \"\\0\" byte around offset 5)".to_owned(), 1));
    let late = [b"alpha\n".repeat(40_000), b"\0\nalpha\n".to_vec()].concat();
    rig.file("late/late.dat", late);
    let got = grep(&rig, json!({"pattern": "alpha", "path": "late", "max_results": 5000})).await;
    assert!(got.0.ends_with("[TRUNCATED: more matches not shown]"));
    let got = grep(&rig, json!({"pattern": "alpha", "path": "late", "output_mode": "count"})).await;
    assert_eq!(got, (String::new(), 0));
}

#[tokio::test]
async fn ignored_files_are_left_out() {
    let rig = tree();
    rig.file("repo/.git/HEAD", "");
    rig.file("repo/.gitignore", "*.log\n");
    rig.file("repo/x.log", "alpha\n");
    rig.file("repo/x.txt", "alpha\n");
    rig.file("repo/.rgignore", "z.txt\n");
    rig.file("repo/z.txt", "alpha\n");
    let got = grep(&rig, json!({"pattern": "alpha", "path": "repo"})).await;
    assert_eq!(got.0, "repo/x.txt:1:alpha");
}

#[tokio::test]
async fn rules_are_weighed_as_ripgrep_does() {
    let rig = tree();
    let file = |path: &str, text: &str| rig.file(path, text);
    for path in ["a.log", "b.log", "keep.log", "build/x", "src/build", "src/c.tmp", ".hid", ".env", "e/y"] {
        file(&format!("repo/{path}"), "alpha\n");
    }
    file("repo/.git/info/exclude", "e/\n");
    file("repo/.gitignore", "*.log\n!keep.log\n/build/\n!.env\nno[glob\n\n# a comment\n*.tmp   \n");
    file("repo/.ignore", "!b.log\n");
    file("repo/src/.gitignore", "!c.tmp\n");
    let got = grep(&rig, json!({"pattern": "alpha", "path": "repo", "output_mode": "files"})).await;
    assert_eq!(got.0, "repo/.env\nrepo/b.log\nrepo/keep.log\nrepo/src/build\nrepo/src/c.tmp");
    // Rules above the directory that is searched hold; those beyond the repository's root are not git's.
    file(".gitignore", "c.tmp\n");
    file(".ignore", "build\n");
    let got = grep(&rig, json!({"pattern": "alpha", "path": "repo/src", "output_mode": "files"})).await;
    assert_eq!(got.0, "repo/src/c.tmp");
    // What a caller asks for by glob counts more.
    let asked = json!({"pattern": "alpha", "path": "repo", "glob": "*.log", "output_mode": "files"});
    assert_eq!(grep(&rig, asked).await.0, "repo/a.log\nrepo/b.log\nrepo/keep.log");
}

#[tokio::test]
async fn a_directory_with_more_names_than_are_read_at_once_is_searched_whole() {
    let rig = Rig::new();
    for number in 0..3_000 {
        rig.file(&format!("wide/a-file-with-a-long-name-{number:06}"), "alpha\n");
    }
    rig.file("wide/sub/last", "alpha\n");
    let arguments = json!({"pattern": "alpha", "path": "wide", "output_mode": "files", "max_results": 5000});
    assert_eq!(grep(&rig, arguments).await.1, 3_001);
}

#[tokio::test]
async fn without_a_repository_gits_rules_are_no_rules() {
    let rig = tree();
    rig.file("plain/.gitignore", "x\n");
    rig.file("plain/x", "alpha\n");
    let got = grep(&rig, json!({"pattern": "alpha", "path": "plain", "output_mode": "files"})).await;
    assert_eq!(got.0, "plain/x");
}

#[tokio::test]
async fn a_rule_file_that_is_none_neither_hangs_a_search_nor_hides_anything() {
    let rig = tree();
    rig.file("repo/x", "alpha\n");
    std::fs::create_dir_all(rig.work("repo/gd/common")).unwrap();
    // A clone can bring all of these: what a link leads to may wait for ever, or be ours.
    for (name, target) in
        [(".ignore", "/proc/kmsg"), (".rgignore", "/proc/self/mem"), (".gitignore", "/dev/zero")]
    {
        symlink(target, rig.work(&format!("repo/{name}"))).unwrap();
    }
    rig.file("repo/.git", format!("gitdir: {}\n", text(&rig.work("repo/gd"))));
    for name in ["repo/gd/commondir", "repo/gd/common/info"] {
        assert!(run("mkfifo", &[text(&rig.work(name))]), "mkfifo is part of every system");
    }
    let cx = Cx::new(Duration::from_secs(20), CancellationToken::new());
    let arguments = json!({"pattern": "alpha", "path": rig.work("repo"), "output_mode": "files"});
    let answer = rig.call_within(&cx, "grep", arguments).await;
    assert_eq!(answer.text["results"], text(&rig.work("repo/x")), "{answer:?}");
}

#[tokio::test]
async fn nested_braces_take_no_stack() {
    let rig = Rig::new();
    let deep = format!("{}a{}", "{".repeat(16_000), "}".repeat(16_000));
    rig.file("repo/.ignore", format!("{deep}\nb\n"));
    rig.file("repo/a", "alpha\n");
    rig.file("repo/b", "alpha\n");
    let got = grep(&rig, json!({"pattern": "alpha", "path": "repo", "output_mode": "files"})).await;
    assert_eq!(got.0, "repo/a", "that rule is passed over, the others hold");
    for (tool, arguments) in [
        ("grep", json!({"pattern": "alpha", "path": rig.work(""), "glob": deep})),
        ("glob", json!({"pattern": deep, "path": rig.work("")})),
    ] {
        assert_eq!(rig.code(tool, arguments).await, "InvalidPattern", "{tool}");
    }
    let few = format!("{{{}}}", ["a", "x"].repeat(20).join(","));
    let got =
        grep(&rig, json!({"pattern": "alpha", "path": "repo", "glob": few, "output_mode": "files"})).await;
    assert_eq!(got.0, "repo/a");
}

#[tokio::test]
async fn rules_beyond_their_limit_are_an_error_that_names_the_file() {
    let rig = Rig::with(|config| config.limits.set("host.search_rules_bytes_max", 1_024).unwrap());
    rig.file("a/.ignore", "x\n".repeat(300));
    rig.file("a/b/.ignore", "y\n".repeat(300));
    rig.file("a/b/c/file", "alpha\n");
    for path in ["a", "a/b", "a/b/c"] {
        let answer = rig.call("grep", json!({"pattern": "alpha", "path": rig.work(path)})).await;
        assert_eq!(answer.text["error"], "TooManyRules", "{answer:?}");
        assert!(answer.text["message"].as_str().unwrap().contains("a/b/.ignore"), "{answer:?}");
    }
}

#[tokio::test]
async fn what_can_not_be_searched_is_an_error() {
    let rig = tree();
    assert!(run("mkfifo", &[text(&rig.work("fifo"))]), "mkfifo is part of every system");
    for (arguments, code) in [
        (json!({"pattern": "[", "path": rig.work("")}), "InvalidRegex"),
        (json!({"pattern": "(?=x)", "path": rig.work("")}), "InvalidRegex"),
        (json!({"pattern": "a\nb", "path": rig.work("")}), "InvalidRegex"),
        (json!({"pattern": "(x{1000}){1000}", "path": rig.work("")}), "InvalidRegex"),
        (json!({"pattern": "x", "path": rig.work("none")}), "FileNotFoundError"),
        (json!({"pattern": "x", "path": rig.work("fifo")}), "NotARegularFile"),
        (json!({"pattern": "x", "path": rig.work(""), "glob": "[z-a]"}), "InvalidPattern"),
    ] {
        assert_eq!(rig.code("grep", arguments.clone()).await, code, "{arguments}");
    }
    let answer = rig.call("grep", json!({"pattern": "a(b", "path": rig.work("")})).await;
    assert!(answer.text["message"].as_str().unwrap().contains("unclosed group"), "{answer:?}");
}

#[tokio::test]
async fn fifos_do_not_hold_a_search_up() {
    let rig = tree();
    std::fs::create_dir(rig.work("trap")).unwrap();
    for name in ["fifo", "trap/.gitignore", ".ignore"] {
        assert!(run("mkfifo", &[text(&rig.work(name))]), "mkfifo is part of every system");
    }
    symlink("fifo", rig.work("sub/link")).unwrap();
    let got = grep(&rig, json!({"pattern": "alpha", "output_mode": "files"})).await;
    assert_eq!(got.0, "a.txt\nsub/b.txt");
    let got = grep(&rig, json!({"pattern": "alpha", "path": "sub", "output_mode": "files"})).await;
    assert_eq!(got.0, "sub/b.txt");
}

#[tokio::test]
async fn names_that_are_no_utf_8_or_have_line_breaks_are_searched_and_shown() {
    let rig = Rig::new();
    std::fs::create_dir(rig.work("odd")).unwrap();
    for name in [&b"a\xff.txt"[..], b"b\n.txt"] {
        put(&rig.work("odd").join(std::ffi::OsStr::from_bytes(name)), "alpha\n");
    }
    let directory = rig.work("odd").join(std::ffi::OsStr::from_bytes(b"c\xfe"));
    std::fs::create_dir(&directory).unwrap();
    put(&directory.join("d.txt"), "alpha\n");
    for (mode, expect) in [
        ("content", "odd/a\u{fffd}.txt:1:alpha\nodd/b\n.txt:1:alpha\nodd/c\u{fffd}/d.txt:1:alpha"),
        ("files", "odd/a\u{fffd}.txt\nodd/b\n.txt\nodd/c\u{fffd}/d.txt"),
        ("count", "odd/a\u{fffd}.txt:1\nodd/b\n.txt:1\nodd/c\u{fffd}/d.txt:1"),
    ] {
        let arguments = json!({"pattern": "alpha", "path": "odd", "glob": "*.txt", "output_mode": mode});
        // Three matches on four lines of output: one name takes two.
        assert_eq!(grep(&rig, arguments).await, (expect.to_owned(), 4), "{mode}");
    }
}

#[tokio::test]
async fn files_that_shrink_grow_and_go_while_they_are_searched_do_no_harm() {
    let rig = Rig::new();
    let path = rig.file("tree/log", "");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let done = CancellationToken::new();
    let changes = {
        let (path, done) = (path.clone(), done.clone());
        std::thread::spawn(move || {
            let lines = b"alpha\n".repeat(50_000);
            while !done.is_cancelled() {
                file.write_all_at(&lines, 0).unwrap();
                file.set_len(7).unwrap();
                std::fs::rename(&path, path.with_extension("1")).unwrap();
                std::fs::rename(path.with_extension("1"), &path).unwrap();
            }
        })
    };
    for round in 0..200 {
        let searched = if round % 2 == 0 { path.clone() } else { rig.work("tree") };
        let arguments = json!({"pattern": "alpha", "path": searched, "output_mode": "count"});
        let answer = rig.call("grep", arguments).await;
        assert!(!answer.is_error || answer.text["error"] == "FileNotFoundError", "{answer:?}");
    }
    done.cancel();
    changes.join().unwrap();
}

#[tokio::test]
async fn long_lines_are_cut_and_endless_ones_refused() {
    let rig = Rig::with(|config| config.limits.set("host.grep_buffer_bytes_max", 131_072).unwrap());
    rig.file("long", format!("{}end\n", "x".repeat(40_000)));
    let (results, _) = grep(&rig, json!({"pattern": "end$", "path": "long"})).await;
    assert!(results.ends_with("x [LINE TRUNCATED]"), "{}", results.len());
    rig.file("endless", "x".repeat(1 << 20));
    let code = rig.code("grep", json!({"pattern": "y", "path": rig.work("endless")})).await;
    assert_eq!(code, "FileTooLarge");
    let got = grep(&rig, json!({"pattern": "end$", "output_mode": "files"})).await;
    assert_eq!(got.0, "long", "in a tree it is left out");
}

#[tokio::test]
async fn a_search_ends_with_its_call() {
    let rig = Rig::new();
    let path = rig.work("huge");
    let mut file = std::fs::File::create(&path).unwrap();
    file.seek(SeekFrom::Start(1 << 40)).unwrap();
    file.write_all(b"alpha\n").unwrap();
    let cx = Cx::new(Duration::from_millis(100), CancellationToken::new());
    let answer = rig.call_within(&cx, "grep", json!({"pattern": "alpha", "path": path})).await;
    assert_eq!(answer.text["error"], "TimeoutError", "{answer:?}");
    let got = grep(&rig, json!({"pattern": "alpha"})).await;
    assert_eq!(got, (String::new(), 0), "it is binary from the first byte");
}

#[tokio::test]
async fn a_search_that_finds_no_file_ends_with_its_call_too() {
    let rig = Rig::new();
    let cx = Cx::new(Duration::from_millis(30), CancellationToken::new());
    let arguments = json!({"pattern": "x", "path": "/usr", "glob": "*.no_such_extension"});
    let since = std::time::Instant::now();
    let answer = rig.call_within(&cx, "grep", arguments).await;
    assert!(since.elapsed() < Duration::from_secs(5));
    let message = answer.text["message"].as_str().unwrap_or_default();
    // Told by the thread itself, which has therefore ended; a machine with a small /usr is through.
    assert!(message == "grep timed out after 0s" || !answer.is_error, "{answer:?}");
}

#[tokio::test]
async fn a_whole_system_is_searched_without_its_kernels_files() {
    let rig = Rig::new();
    let arguments =
        json!({"pattern": "no such text anywhere [0-9]{40}", "path": "/proc/..", "glob": "hostname"});
    let got = rig.ok("grep", arguments).await;
    assert_eq!(got["match_count"], 0);
    let got = rig.ok("grep", json!({"pattern": "Tgid", "path": "/proc/1", "glob": "status"})).await;
    assert!(got["match_count"].as_u64().unwrap() >= 1, "asked for by name");
}
