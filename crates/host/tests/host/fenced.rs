//! Callers with roots: within them everything works, and nothing reaches beyond, by whatever name.

use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hayward_api::Fence;
use hayward_api::fence::{Profile, Quota};
use hayward_tool::Ending;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use crate::rig::{Answer, Rig, is_root, put, text};

/// A rig with a root to write in, one to read, and files beside both.
struct Place {
    rig: Rig,
}

impl Place {
    fn new() -> Self {
        let rig = Rig::new();
        for file in ["write/file", "write/deep/file", "read/file", "outside/file", "writeable/file"] {
            rig.file(file, format!("canary of {file}\n"));
        }
        Self { rig }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.rig.work(name)
    }

    fn fence(&self) -> Fence {
        Fence {
            profile: Profile::Confined,
            roots: vec![self.path("write")],
            read_only: vec![self.path("read")],
            ..Fence::default()
        }
    }

    async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.rig.call_as(self.fence(), tool, arguments).await
    }

    async fn ok(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.call(tool, arguments).await;
        assert!(!answer.is_error, "{answer:?}");
        answer.text
    }

    /// A tool is refused this, in words that name the roots and tell nothing of what is there.
    async fn refused(&self, tool: &str, arguments: Value) {
        let answer = self.call(tool, arguments.clone()).await;
        assert_eq!(answer.text["error"], "PermissionDenied", "{tool} {arguments}: {answer:?}");
        assert_eq!(answer.verdict.ending, Ending::Denied);
        let message = answer.text["message"].as_str().unwrap();
        assert!(message.contains(text(&self.path("write"))), "{message}");
        assert!(answer.text["suggestion"].is_string());
    }

    /// Every file tool is refused this path.
    async fn out_of_reach(&self, path: &str) {
        for (tool, arguments) in file_calls(path) {
            self.refused(tool, arguments).await;
        }
    }

    fn unharmed(&self) {
        for file in ["read/file", "outside/file", "writeable/file"] {
            assert_eq!(std::fs::read(self.path(file)).unwrap(), format!("canary of {file}\n").as_bytes());
        }
        for folder in ["read", "outside", "writeable"] {
            assert_eq!(std::fs::read_dir(self.path(folder)).unwrap().count(), 1, "{folder}");
        }
    }
}

fn file_calls(path: &str) -> [(&'static str, Value); 5] {
    [
        ("read_file", json!({"file_path": path})),
        ("write_file", json!({"file_path": path, "content": "x"})),
        ("edit_file", json!({"file_path": path, "old_string": "canary", "new_string": "x"})),
        ("grep", json!({"pattern": ".", "path": path})),
        ("glob", json!({"pattern": "*", "path": path})),
    ]
}

#[tokio::test]
async fn roots_are_worked_in_as_anywhere() {
    let place = Place::new();
    let read = place.ok("read_file", json!({"file_path": place.path("write/file")})).await;
    assert!(read["content"].as_str().unwrap().ends_with("canary of write/file"));
    place.ok("read_file", json!({"file_path": place.path("read/file")})).await;
    place.ok("write_file", json!({"file_path": place.path("write/new/er/file"), "content": "a"})).await;
    place.ok("write_file", json!({"file_path": place.path("write/new/er/file"), "content": "ab"})).await;
    let edit = json!({"file_path": place.path("write/new/er/file"), "old_string": "b", "new_string": "c"});
    place.ok("edit_file", edit).await;
    assert_eq!(std::fs::read(place.path("write/new/er/file")).unwrap(), b"ac");
    let found = place.ok("glob", json!({"pattern": "**/file", "path": place.path("write")})).await;
    assert_eq!(found["count"], 3);
    let found = place.ok("grep", json!({"pattern": "canary", "path": place.path("write")})).await;
    assert_eq!(found["match_count"], 2);
    symlink("deep/file", place.path("write/link")).unwrap();
    symlink(place.path("read/file"), place.path("write/over")).unwrap();
    for link in ["write/link", "write/over", "write/deep/../file", "write/../read/file"] {
        place.ok("read_file", json!({"file_path": place.path(link)})).await;
    }
    assert_eq!(
        place.call("read_file", json!({"file_path": place.path("write/none")})).await.text["error"],
        "FileNotFoundError"
    );
    place.unharmed();
}

#[tokio::test]
async fn the_system_is_read_without_its_secrets() {
    let place = Place::new();
    place.ok("read_file", json!({"file_path": "/etc/passwd"})).await;
    assert!(place.ok("glob", json!({"pattern": "sh", "path": "/bin"})).await["count"] != 0);
    place.ok("grep", json!({"pattern": "root", "path": "/etc/passwd"})).await;
    place.refused("write_file", json!({"file_path": "/etc/hayward-test", "content": "x"})).await;
    place.refused("write_file", json!({"file_path": "/etc/passwd", "content": "x"})).await;
    for secret in ["/etc/shadow", "/etc/ssh/x", "/etc/sudoers", "/etc/hayward/x"] {
        let there = Path::new(secret).parent().unwrap().exists() && secret != "/etc/hayward/x";
        let code = place.call("read_file", json!({"file_path": secret})).await.text["error"].clone();
        let is_refused = code == "ProtectedPath" || code == "PermissionError";
        assert!(
            is_refused || (code == "FileNotFoundError" && !(there && Path::new(secret).exists())),
            "{code}"
        );
    }
    let lines = place.ok("grep", json!({"pattern": "^root:[*!$]", "path": "/etc"})).await;
    assert_eq!(lines["results"], "", "no hash of a password");
    if is_root() {
        let found = place.ok("glob", json!({"pattern": "shado[w]", "path": "/etc"})).await;
        assert_eq!(found["count"], 0);
    }
}

#[tokio::test]
async fn nothing_is_reached_beyond_the_roots_by_names_and_detours() {
    let place = Place::new();
    symlink(place.path("outside/file"), place.path("write/absolute")).unwrap();
    symlink("../outside", place.path("write/relative")).unwrap();
    symlink(place.path("outside/none"), place.path("write/dangling")).unwrap();
    symlink("/", place.path("write/all")).unwrap();
    symlink("/proc/self/cwd", place.path("write/magic")).unwrap();
    let open = std::fs::File::open(place.path("outside/file")).unwrap();
    let through_fd = format!("/proc/self/fd/{}", open.as_raw_fd());
    let through_root = format!("/proc/self/root{}", place.path("outside/file").display());
    // Even where it leads into a root: behind it may be other mounts of the same names.
    let back_in = format!("/proc/self/root{}", place.path("write/file").display());
    for path in [
        text(&place.path("outside/file")),
        text(&place.path("outside/none")),
        text(&place.path("outside/none/deeper")),
        text(&place.path("outside/file/deeper")),
        text(&place.path("writeable/file")),
        text(&place.path("write/../outside/file")),
        text(&place.path("write/none/../../outside/none")),
        text(&place.path("write/absolute")),
        text(&place.path("write/relative/file")),
        text(&place.path("write/relative/none")),
        text(&place.path("write/dangling")),
        text(&place.path("write/all/root/x")),
        text(&place.path("write/dangling/x")),
        text(&place.path("write/relative/file/x")),
        text(&place.path("write/magic/x")),
        text(&place.path("")),
        text(&place.rig.data("secret.db")),
        "/",
        "/root/x",
        "/no/such/path",
        "/proc/self/environ",
        "/proc/1/root/etc/passwd",
        "/dev/null",
        &through_fd,
        &through_root,
        &back_in,
    ] {
        place.out_of_reach(path).await;
    }
    place.unharmed();
}

#[tokio::test]
async fn what_is_only_read_is_not_changed() {
    let place = Place::new();
    symlink(place.path("read/file"), place.path("write/link")).unwrap();
    for name in ["read/file", "read/new", "read/new/er", "write/link"] {
        let path = place.path(name);
        place.refused("write_file", json!({"file_path": path, "content": "x"})).await;
    }
    let edit = json!({"file_path": place.path("read/file"), "old_string": "canary", "new_string": "x"});
    place.refused("edit_file", edit).await;
    place.unharmed();
}

#[tokio::test]
async fn searches_do_not_leave_the_roots() {
    let place = Place::new();
    symlink("../outside", place.path("write/relative")).unwrap();
    symlink(place.path("outside/file"), place.path("write/absolute")).unwrap();
    // What is found is `deep`, `deep/file`, `file` and the links by their names, as if they led nowhere.
    for (pattern, count) in
        [("**/*", 5), ("*/file", 1), ("relative/*", 0), ("../outside/*", 0), ("../*/file", 0)]
    {
        let found = place.ok("glob", json!({"pattern": pattern, "path": place.path("write")})).await;
        assert_eq!(found["count"], count, "{pattern}: {found}");
    }
    place.refused("glob", json!({"pattern": format!("{}/*", place.path("outside").display())})).await;
    let absolute = format!("{}/**/file", place.path("write").display());
    assert_eq!(place.ok("glob", json!({"pattern": absolute})).await["count"], 2);
    place.refused("glob", json!({"pattern": "*"})).await;
    place.refused("grep", json!({"pattern": "canary"})).await;
    let found = place.ok("grep", json!({"pattern": "canary", "path": place.path("write")})).await;
    assert!(!found["results"].as_str().unwrap().contains("outside"), "{found}");
    // Rules above the root are not read in the name of who may not read them.
    put(&place.path(".ignore"), "file\n");
    assert_eq!(place.ok("grep", json!({"pattern": "canary", "path": place.path("write")})).await, found);
}

#[tokio::test]
async fn a_root_may_be_a_file_and_nothing_is_made_beside_it() {
    let place = Place::new();
    let file = place.path("outside/file");
    let fence = Fence { roots: vec![file.clone()], ..place.fence() };
    let write = |path: &Path| json!({"file_path": path, "content": "mine\n"});
    let answer = place.rig.call_as(fence.clone(), "write_file", write(&file)).await;
    assert_eq!((answer.is_error, &answer.text["atomic"]), (false, &json!(false)), "{answer:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine\n");
    let answer = place.rig.call_as(fence, "write_file", write(&place.path("outside/other"))).await;
    assert_eq!(answer.text["error"], "PermissionDenied");
    assert_eq!(std::fs::read_dir(place.path("outside")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_search_does_not_tell_whether_anything_is_beyond_the_roots() {
    let place = Place::new();
    symlink(place.path("outside/file"), place.path("write/there")).unwrap();
    symlink(place.path("outside/none"), place.path("write/gone")).unwrap();
    let found = place.ok("glob", json!({"pattern": "*", "path": place.path("write")})).await.to_string();
    assert!(found.contains("/there") && found.contains("/gone"), "{found}");
    std::fs::write(place.path("write/.gitignore"), "file\n").unwrap();
    let mut seen = Vec::new();
    for target in ["outside", "none"] {
        std::fs::remove_file(place.path("write/.git")).ok();
        symlink(place.path(target), place.path("write/.git")).unwrap();
        let ask = json!({"pattern": "canary", "path": place.path("write")});
        seen.push(place.ok("grep", ask).await);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_link_in_the_place_of_a_root_leads_nowhere() {
    let place = Place::new();
    std::fs::rename(place.path("read"), place.path("moved")).unwrap();
    for target in [place.path("outside"), PathBuf::from("/")] {
        std::fs::remove_file(place.path("read")).ok();
        symlink(&target, place.path("read")).unwrap();
        place.out_of_reach(text(&place.path("read/file"))).await;
        place.out_of_reach(text(&place.path("outside/file"))).await;
    }
    assert_eq!(std::fs::read_dir(place.path("outside")).unwrap().count(), 1);
}

#[tokio::test]
async fn whoever_acts_as_another_user_has_no_file_tools() {
    let place = Place::new();
    let fence = Fence { user: "65534:65534".parse().ok(), ..place.fence() };
    for (tool, arguments) in file_calls(text(&place.path("write/file"))) {
        let answer = place.rig.call_as(fence.clone(), tool, arguments).await;
        assert_eq!(answer.text["error"], "PermissionDenied", "{tool}: {answer:?}");
        assert!(answer.text["suggestion"].as_str().unwrap().contains("bash_execute"));
    }
}

/// Somebody swaps a directory in the root for a link that leads out, as fast as they can.
#[tokio::test(flavor = "multi_thread")]
async fn a_race_of_renames_leads_nowhere() {
    let place = Place::new();
    symlink("../outside", place.path("write/link")).unwrap();
    while_swapped(&place, ("write/deep", "write/link"), race(&place));
    place.unharmed();
}

/// Runs this while somebody exchanges two names, as fast as they can.
fn while_swapped(place: &Place, (one, other): (&str, &str), run: impl Future<Output = ()>) {
    let (one, other) = (place.path(one), place.path(other));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Bounded, so that a failed race ends the test.
            let started = Instant::now();
            while !is_over.load(Ordering::Relaxed) && started.elapsed() < Duration::from_secs(30) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(run));
        is_over.store(true, Ordering::Relaxed);
    });
}

/// Somebody swaps a directory in the root for a magic link, again and again while a search walks through it. What is behind
/// lies in the root, too, by the name that the kernel tells of it, so only the way there speaks against it.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_led_through_no_magic_link_that_takes_the_place_of_a_directory() {
    let place = Place::new();
    for index in 0..FOLDERS_RACED {
        place.rig.file(&format!("write/deep/{index}/file"), "nothing\n");
        // Searches by content leave out what is hidden, unless something leads them there by another name.
        place.rig.file(&format!("write/.vault/{index}/file"), "canary of the vault\n");
    }
    let vault = place.path("write/.vault");
    symlink(format!("/proc/self/root{}", vault.display()), place.path("write/link")).unwrap();
    while_swapped(&place, ("write/deep", "write/link"), search_raced(&place));
}

/// Directories that a search walks through while they are swapped away.
const FOLDERS_RACED: usize = 24;
/// Searches meanwhile.
const SEARCHES_RACED: usize = 150;

async fn search_raced(place: &Place) {
    let (mut found_own, root) = (0, place.path("write"));
    for _ in 0..SEARCHES_RACED {
        let grep = place.ok("grep", json!({"pattern": "canary of the vault", "path": root})).await;
        assert_eq!(grep["match_count"], 0, "{grep}");
        let own = place.ok("grep", json!({"pattern": "nothing", "path": root})).await;
        found_own += own["match_count"].as_u64().unwrap();
    }
    assert!(found_own > 0, "no search has come that far");
}

async fn race(place: &Place) {
    let started = Instant::now();
    let (mut rounds, mut successes) = (0, 0);
    while started.elapsed() < Duration::from_secs(2) || rounds < 20 {
        rounds += 1;
        for (tool, arguments) in [
            ("read_file", json!({"file_path": place.path("write/deep/file")})),
            (
                "write_file",
                json!({"file_path": place.path("write/deep/file"), "content": "canary of write\n"}),
            ),
            (
                "write_file",
                json!({"file_path": place.path(&format!("write/deep/new/{rounds}")), "content": ""}),
            ),
            (
                "edit_file",
                json!({"file_path": place.path("write/deep/file"), "old_string": "c", "new_string": "k",
                "replace_all": true}),
            ),
            ("grep", json!({"pattern": "outside", "path": place.path("write")})),
            ("glob", json!({"pattern": "**/file", "path": place.path("write")})),
        ] {
            let answer = place.call(tool, arguments).await;
            successes += usize::from(!answer.is_error);
            let said = answer.text.to_string().replace(text(&place.path("")), "");
            assert!(!said.contains("canary of outside"), "{tool}: {answer:?}");
        }
    }
    assert!(successes > rounds, "some calls were in time: {successes} of {rounds} rounds");
}

#[tokio::test]
async fn commands_are_confined_to_the_same_roots() {
    let place = Place::new();
    let run = async |command: &str| place.call("bash_execute", json!({"command": command})).await;
    let probe = run("true").await;
    if probe.text["error"] == "NotConfined" {
        println!("skipped: this kernel can't confine commands");
        return;
    }
    let (write, read, outside) = (place.path("write"), place.path("read"), place.path("outside"));
    let (write, read, outside) = (text(&write), text(&read), text(&outside));
    for command in [
        format!("echo mine > {write}/mine && cat {write}/mine"),
        format!("cat {read}/file"),
        "test -r /etc/passwd".to_owned(),
    ] {
        let answer = run(&command).await;
        assert_eq!(answer.text["exit_code"], 0, "{command}: {answer:?}");
    }
    for command in [
        format!("cat {outside}/file"),
        format!("echo x > {outside}/mine"),
        format!("echo x > {read}/mine"),
        format!("cat {}", place.rig.data("secret.db").display()),
        "cat /etc/shadow | grep -q .".to_owned(),
    ] {
        let answer = run(&command).await;
        assert_ne!(answer.text["exit_code"], 0, "{command}: {answer:?}");
        assert!(!answer.raw.contains("canary of outside") && !answer.raw.contains("the secret"));
    }
    let left = place.call("bash_execute", json!({"command": "sleep 9 &", "background": true})).await;
    assert_eq!((&left.text["error"], left.verdict.ending), (&json!("PermissionDenied"), Ending::Denied));
    place.unharmed();
}

#[tokio::test]
async fn a_command_that_uses_up_its_quota_is_told_so() {
    let rig = Rig::new();
    let bounds = rig.executor.containment().bounds();
    let with = |quota| Fence { quota, ..Fence::default() };
    if bounds.processes {
        let few = with(Quota { processes: Some(4), ..Quota::default() });
        let bomb = json!({"command": "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait; exit 3"});
        let answer = rig.call_as(few, "bash_execute", bomb).await;
        assert_eq!(answer.text["exhausted"], json!(["processes"]), "{answer:?}");
        let told = answer.text["stderr"].as_str().unwrap();
        assert!(told.contains("Command used up its processes and threads (4 at once)"), "{told}");
        assert_eq!(answer.verdict.code.as_deref(), Some("QuotaExceeded"));
    }
    if bounds.memory {
        let little = with(Quota { memory_bytes: Some(32 << 20), ..Quota::default() });
        let hog = json!({"command": "head -c 200m /dev/zero | tail -c 190m | wc -c"});
        let answer = rig.call_as(little, "bash_execute", hog).await;
        assert_eq!(answer.text["exhausted"], json!(["memory"]), "{answer:?}");
    }
    let quiet = rig.call("bash_execute", json!({"command": "true"})).await;
    assert_eq!(quiet.text.get("exhausted"), None);
    if !bounds.memory && !bounds.processes {
        println!("skipped: no cgroup bounds commands here");
    }
}

#[tokio::test]
async fn bounds_for_everybody_hold_for_whoever_has_none_of_its_own() {
    let rig = Rig::with(|config| config.limits.bash_processes_max = 4);
    if !rig.executor.containment().bounds().processes {
        println!("skipped: no cgroup bounds processes here");
        return;
    }
    let bomb = json!({"command": "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait"});
    assert_eq!(rig.call("bash_execute", bomb.clone()).await.text["exhausted"], json!(["processes"]));
    let many = Fence { quota: Quota { processes: Some(64), ..Quota::default() }, ..Fence::default() };
    assert_eq!(rig.call_as(many, "bash_execute", bomb).await.text.get("exhausted"), None);
}
