//! Fences of tools: what a call gets is what both its token's and the tool's allow.

use hayward_testkit::daemon::{command, run_with_input, text};
use serde_json::{Value, json};

use super::{BINARY, Place, call, confines, of_token, report, run};

impl Place {
    /// `TOOL:profile=confined,` and these words with this place's paths.
    fn tool(&self, tool: &str, words: &[(&str, &str)]) -> String {
        let words = words.iter().map(|(word, name)| format!(",{word}={}", self.path(name).display()));
        format!("{tool}:profile=confined{}", words.collect::<String>())
    }

    /// A stored rw token with these options.
    fn token(&self, name: &str, more: &[&str]) -> String {
        let made = self.hayward(&[&["token", "add", "--name", name, "--role", "rw"], more].concat());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    fn last_record(&self, tool: &str) -> Value {
        let record = std::fs::read_to_string(self.path("data/audit/record.jsonl")).unwrap();
        let mut lines = record.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.rfind(|line| line["tool"] == tool).unwrap()
    }
}

#[tokio::test]
async fn a_tool_of_a_token_keeps_to_its_own_fence_and_the_others_to_the_tokens() {
    let place = Place::new();
    let writes = place.tool("write_file", &[("read-only", "write")]);
    let reads = place.tool("read_*", &[("root", "write"), ("root", "outside")]);
    let token = place.confined_token("worker", &["--tool-fence", &writes, "--tool-fence", &reads]);
    let daemon = place.start(&[]);
    let file = place.path("write/file");
    let refused = call(&daemon, &token, "write_file", json!({"file_path": file, "content": "x"})).await;
    assert!(text(&refused).contains("may be read and not changed"), "{refused}");
    let edit = json!({"file_path": file, "old_string": "canary", "new_string": "bird"});
    assert_eq!(call(&daemon, &token, "edit_file", edit).await["isError"], false, "another tool");
    for (name, is_error) in [("write/file", false), ("read/file", true), ("outside/file", true)] {
        let read = call(&daemon, &token, "read_file", json!({"file_path": place.path(name)})).await;
        assert_eq!(read["isError"], is_error, "{name}: {read}");
    }
    let found = call(&daemon, &token, "grep", json!({"pattern": "canary", "path": place.path("read")})).await;
    assert_eq!(found["isError"], false, "the token's own: {found}");
    place.unharmed();
}

#[tokio::test]
async fn a_tool_fence_of_the_server_holds_for_everybody_and_is_what_the_record_names() {
    let place = Place::new();
    let full = place.token("full", &[]);
    let confined = place.confined_token("worker", &["--allow-network"]);
    let [writes, commands] =
        ["write_file", "bash_execute"].map(|tool| place.tool(tool, &[("root", "write")]));
    let daemon =
        place.start(&["--tool-fence", &writes, "--tool-fence", &format!("{commands},memory=512MiB")]);
    for token in [&full, &confined, daemon.token("rw")] {
        for (name, is_error) in [("write/new", false), ("outside/new", true), ("read/new", true)] {
            let written = json!({"file_path": place.path(name), "content": "x"});
            assert_eq!(call(&daemon, token, "write_file", written).await["isError"], is_error, "{name}");
        }
        let shown = format!("confined, changes {}", place.path("write").display());
        let intent = place.last_record("write_file");
        assert!(intent["fence"].as_str().is_some_and(|fence| fence.starts_with(&shown)), "{intent}");
    }
    let outside = json!({"file_path": place.path("outside/file")});
    assert_eq!(call(&daemon, &full, "read_file", outside.clone()).await["isError"], false, "another tool");
    assert_eq!(place.last_record("read_file").get("fence"), None);
    assert_eq!(call(&daemon, &confined, "read_file", outside).await["isError"], true, "the token's own");
    if !confines(&daemon, &full).await {
        return;
    }
    let [write, outside] = ["write", "outside"].map(|name| place.path(name));
    let [write, outside] = [&write, &outside].map(|path| path.display());
    for token in [&full, &confined] {
        for (script, works) in [
            (format!("echo x >{write}/made"), true),
            (format!("cat {outside}/file"), false),
            (format!("echo x >{outside}/made"), false),
            (format!("/bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}'", daemon.address.port()), false),
        ] {
            let ran = run(&daemon, token, &script).await;
            assert_eq!(ran["exit_code"] == 0, works, "{script}: {ran}");
        }
    }
    place.unharmed();
}

#[tokio::test]
async fn where_two_fences_leave_nothing_the_call_is_refused_before_anything_happens() {
    let place = Place::new();
    let token = place.confined_token("worker", &[]);
    let [none, apart] = [place.tool("write_file", &[]), place.tool("bash_execute", &[("root", "outside")])];
    let daemon = place.start(&["--tool-fence", &none, "--tool-fence", &apart]);
    let made = place.path("outside/made");
    let script = format!("touch {}", made.display());
    let told = run(&daemon, &token, &script).await;
    assert_eq!(told["error"], "FencesApart", "{told}");
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("`bash_execute`") && message.contains("/outside"), "{told}");
    assert!(told["suggestion"].as_str().unwrap().contains("ask the administrator"), "{told}");
    assert!(!made.exists());
    assert_eq!(place.last_record("bash_execute")["type"], "denied");
    let system =
        call(&daemon, &token, "write_file", json!({"file_path": place.path("write/x"), "content": ""}));
    assert!(text(&system.await).contains("PermissionDenied"), "no roots: nothing is written");
    let full = run(&daemon, daemon.token("rw"), "true").await;
    assert_ne!(full["error"], "FencesApart", "a token without roots has those of the tool");
    place.unharmed();
}

#[test]
fn a_repeated_call_is_not_answered_with_what_the_tool_might_see_before() {
    let place = Place::new();
    let data = place.path("data").display().to_string();
    let command = format!("cat {}", place.path("outside/file").display());
    let params = json!({"name": "bash_execute", "arguments": {"command": command, "idempotency_key": "k1"}});
    let line =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string() + "\n";
    let said = |args: &[&str]| {
        let args = [&["stdio", "--data-dir", &data][..], args].concat();
        String::from_utf8(run_with_input(BINARY, &args, &line).unwrap().stdout).unwrap()
    };
    let other = place.tool("read_file", &[("root", "write")]);
    let first = said(&[]);
    assert!(first.contains("canary") && said(&["--tool-fence", &other]) == first, "{first}");
    let fenced = said(&["--tool-fence", &place.tool("bash_execute", &[("root", "write")])]);
    assert!(fenced.contains("KeyReused") && !fenced.contains("canary"), "{fenced}");
}

#[test]
fn what_is_wrong_with_a_tool_fence_is_told_where_it_is_said() {
    let place = Place::new();
    let gone = format!("grep:profile=confined,root={}", place.path("none").display());
    let data = format!("grep:profile=confined,root={}", place.path("data").display());
    let twice = "grep:processes=9";
    for (words, code) in [
        (&["bash_exec:profile=confined"][..], 2),
        (&["file_*:profile=confined"], 2),
        (&["grep:profile=full"], 2),
        (&["grep:root=/srv"], 2),
        (&["grep:profile=confined,profile=full"], 2),
        (&["grep:network=none"], 2),
        (&["grep"], 2),
        (&[twice, twice], 2),
        (&[&gone], 1),
    ] {
        let flags = words.iter().flat_map(|words| ["--tool-fence", words]);
        let args: Vec<&str> = ["token", "add", "--name", "bad"].into_iter().chain(flags).collect();
        let refused = place.hayward(&args);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(code) && told.contains("hint: "), "{words:?}: {told}");
    }
    let meant =
        place.hayward(&["token", "add", "--name", "bad", "--tool-fence", "bash_exec:profile=confined"]);
    assert!(String::from_utf8(meant.stderr).unwrap().contains("did you mean `bash_execute`?"));
    std::fs::create_dir_all(place.path("data")).unwrap();
    for (words, code) in [("nothing:profile=confined", 2), (&data, 78), (&gone, 78)] {
        let refused = place.hayward(&["serve", "--port", "0", "--tool-fence", words]);
        assert_eq!(
            refused.status.code(),
            Some(code),
            "{words}: {}",
            String::from_utf8_lossy(&refused.stderr)
        );
    }
    let mut serve = command(BINARY, ["serve", "--port", "0"]);
    serve
        .env("HAYWARD_TOOL_FENCES", "grep:processes=9;nothing:processes=9")
        .env("HAYWARD_DATA_DIR", place.path("data"));
    assert_eq!(serve.output().unwrap().status.code(), Some(78), "out of the environment");
    assert!(place.hayward(&["token", "list"]).stdout.starts_with(b"ID"), "no token was made");
}

#[tokio::test]
async fn an_administrator_says_them_too_and_lists_show_them() {
    let place = Place::new();
    let words = place.tool("bash_execute", &[("root", "write")]);
    place.token("typed", &["--tool-fence", &format!("{words},memory=512MiB")]);
    let listed = String::from_utf8(place.hayward(&["token", "list"]).stdout).unwrap();
    assert!(
        listed.contains("full; bash_execute: confined, changes ") && listed.contains("memory 512 MiB"),
        "{listed}"
    );
    let listed: Value =
        serde_json::from_slice(&place.hayward(&["token", "list", "-o", "json"]).stdout).unwrap();
    assert_eq!(listed[0]["tool_fences"]["bash_execute"]["roots"], json!([place.path("write")]));
    let daemon = place.start(&[]);
    let admin = daemon.token("admin");
    let ask = async |fences: Value| {
        let body = json!({"name": "made", "role": "rw", "tool_fences": fences}).to_string();
        daemon.send("POST", "/admin/tokens", admin, &body).await.unwrap()
    };
    for bad in [
        json!({"read_fil": {"profile": "confined"}}),
        json!({"read_file": {"profile": "full"}}),
        json!({"read_file": {"profile": "confined", "roots": [place.path("none")]}}),
        json!({"read_file": {"profile": "confined", "root": []}}),
        json!(["read_file"]),
    ] {
        assert_eq!(ask(bad.clone()).await.status, 400, "{bad}");
    }
    let said = json!({"read_file": {"profile": "confined", "roots": [place.path("write")]}});
    let made = ask(said.clone()).await;
    assert_eq!(made.status, 200);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let listed = daemon.send("GET", "/admin/tokens", admin, "").await.unwrap().json();
    let listed = listed.as_object().unwrap().values().find(|token| token["name"] == "made").unwrap();
    assert_eq!((&listed["fence"], &listed["tool_fences"]), (&json!({"profile": "full"}), &said));
    for (tool, is_error) in [("read_file", true), ("grep", false)] {
        let path = place.path("outside/file");
        let arguments = match tool {
            "grep" => json!({"path": path, "pattern": "canary"}),
            _ => json!({"file_path": path}),
        };
        assert_eq!(call(&daemon, &token, tool, arguments).await["isError"], is_error, "{tool}");
    }
}

#[tokio::test]
async fn doctor_says_what_tools_leave_of_a_fence() {
    let place = Place::new();
    let full = place.token("full", &[]);
    let worker = place.confined_token("worker", &[]);
    let fences =
        [place.tool("bash_execute", &[("read-only", "write")]), place.tool("grep", &[("root", "outside")])];
    let args = ["--tool-fence", &fences[0], "--tool-fence", &fences[1]];
    let daemon = place.start(&args);
    let confines = confines(&daemon, &full).await && confines(&daemon, &worker).await;
    let said = place.hayward(&[&["doctor", "-o", "json"], &args[..]].concat());
    let report = report(&said);
    let commands = of_token(&report, "worker with bash_execute");
    let write = json!([place.path("write")]);
    assert_eq!((&commands["fence"]["readOnly"], commands["fence"].get("roots")), (&write, None));
    if confines {
        assert!(said.status.success(), "{report:#}");
        let held = commands["held"].as_array().unwrap();
        assert!(held.iter().any(|line| line["fence"] == "writes" && line["state"] == "held"), "{commands:#}");
        assert_eq!(of_token(&report, "full with bash_execute"), commands);
    }
    let apart = of_token(&report, "worker with grep");
    assert!(apart["verdict"] == "warning" && apart["error"].as_str().unwrap().contains("nothing is in both"));
    assert_eq!(of_token(&report, "full with grep")["held"], json!([]), "no commands run under it");
    let table = String::from_utf8(place.hayward(&[&["doctor"], &args[..]].concat()).stdout).unwrap();
    assert!(table.contains("token worker with grep") && table.contains("its calls are refused: "), "{table}");
}
