//! The forms of what is shown, what shells are offered, and watches.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::rig::{Rig, finish};

fn rig() -> Rig {
    let rig = Rig::new();
    rig.ok(&["create", "server", "grafana", "--package-name", "g", "-l", "team=a"]);
    rig.ok(&["create", "server", "graph", "--package-name", "h", "--replicas", "2"]);
    rig.ok(&["create", "server", "other", "--package-name", "o"]);
    rig
}

#[test]
fn names_are_patterns_lists_and_ids() {
    let rig = rig();
    assert_eq!(rig.ok(&["get", "srv", "graf*", "-o", "name"]), "server/grafana\n");
    assert_eq!(rig.ok(&["get", "srv/other", "server/graph", "-o", "name"]), "server/other\nserver/graph\n");
    assert_eq!(rig.ok(&["get", "servers", "-l", "team=a", "-o", "name"]), "server/grafana\n");
    assert_eq!(rig.ok(&["get", "servers", "--field-selector", "replicas=2", "-o", "name"]), "server/graph\n");
    let id = rig.ok(&["get", "server", "graph", "-o", "jsonpath={.id}"]);
    assert_eq!(rig.ok(&["get", "server", id.trim(), "-o", "name"]), "server/graph\n");
    assert_eq!(rig.ok(&["get", "server", "gra*", "-o", "jsonpath={.items[*].name}"]), "grafana graph\n");
    let range = "jsonpath={range .items[*]}{.name}={.replicas}{\"\\n\"}{end}";
    assert!(rig.ok(&["get", "servers", "-o", range]).contains("graph=2\n"));
    let wide = rig.ok(&["get", "servers", "-o", "wide", "--show-labels"]);
    assert!(wide.contains("ID") && wide.contains("team=a"), "{wide}");
    assert!(!rig.ok(&["get", "servers", "--no-headers"]).contains("NAME"));
    let sorted = rig.ok(&["get", "servers", "--sort-by", "packageName", "-o", "name"]);
    assert_eq!(sorted, "server/grafana\nserver/graph\nserver/other\n");
    assert!(rig.fails(2, &["get", "servers", "--sort-by", "pakageName"]).contains("`pakageName`"));
}

#[test]
fn shells_are_offered_kinds_and_names_and_nothing_where_nobody_answers() {
    let rig = rig();
    assert_eq!(rig.ok(&["__complete", "--", "get", "serverat"]), "serverattachments\n");
    assert_eq!(rig.ok(&["__complete", "--", "get", "srv", "gra"]), "grafana\ngraph\n");
    assert_eq!(rig.ok(&["__complete", "--", "describe", "srv/o"]), "srv/other\n");
    assert_eq!(rig.ok(&["__complete", "--url", "http://127.0.0.1:9", "--", "get", "srv", ""]), "");
    assert_eq!(rig.ok(&["__complete", "--", "serve", "--p"]), "");
}

#[test]
fn shells_are_offered_what_the_server_on_the_line_has() {
    let rig = rig();
    let url = format!("http://{}", rig.daemon.address);
    let good = rig.file("good", rig.daemon.token("admin"));
    let (url_ahead, bad) = (format!("--url={url}"), rig.file("bad", "hwd_ro_bad"));
    // Another one is configured.
    let offered = |words: &[&str]| {
        let mut command = rig.command(&[&["__complete", "--"], words].concat());
        command.env("HAYWARD_URL", "http://127.0.0.1:9");
        finish(command, "").out
    };
    assert_eq!(offered(&["get", "srv", "gra"]), "");
    assert_eq!(offered(&["get", "--url", &url, "srv", "gra"]), "grafana\ngraph\n");
    assert_eq!(offered(&[&url_ahead, "get", "srv", "gra"]), "");
    assert_eq!(offered(&["get", &url_ahead, "--token-file", &good, "srv", "gra"]), "grafana\ngraph\n");
    assert_eq!(offered(&["get", &url_ahead, "--token-file", &bad, "srv", "gra"]), "");
    assert_eq!(offered(&["get", "--url", "nas", "srv", "gra"]), "");
    assert_eq!(rig.ok(&["__complete", "--", "get", "--url", "http://127.0.0.1:9", "srv", "gra"]), "");
    rig.ok(&["create", "project", "home", "--server", "graph"]);
    assert_eq!(offered(&["get", &url_ahead, "-p", "home", "srv", "gra"]), "graph\n");
}

#[test]
fn names_that_are_none_are_told_beside_what_is_there() {
    let rig = rig();
    for (args, out) in [
        (&["get", "server", "nosuch", "gra*"][..], "server/grafana\nserver/graph\n"),
        (&["get", "server", "nosuch", "other"], "server/other\n"),
        (&["get", "server/nosuch", "server/other"], "server/other\n"),
        (&["get", "server", "nosuch", "-l", "team=a"], ""),
        (&["get", "server", "other", "grafana", "-l", "team=a"], "server/grafana\n"),
        (&["get", "server", "nosuch", "--field-selector", "replicas=2"], ""),
    ] {
        let said = rig.run(&[args, &["-o", "name"]].concat());
        assert!(said.code == 3 && said.out == out, "{args:?}: {said:?}");
        assert_eq!(said.err.matches("not found").count(), 1, "{args:?}: {said:?}");
    }
    let said = rig.run(&["describe", "server", "none", "nosuch", "gra*"]);
    assert!(said.code == 3 && said.out.contains("grafana"), "{said:?}");
    assert!(said.err.contains("`none` not found") && said.err.contains("`nosuch` not found"), "{said:?}");
    for args in [&["get", "server", "no*"][..], &["get", "server", "grafana", "gra*", "-l", "team=a"]] {
        assert_eq!(rig.run(args).code, 0, "{args:?}");
    }
}

#[test]
fn a_name_that_is_none_is_a_failure_of_a_deletion_that_does_the_rest() {
    let rig = rig();
    let said = rig.run(&["delete", "server", "nosuch", "o*"]);
    assert!(said.code == 3 && said.out == "server/other deleted\n", "{said:?}");
    assert!(said.err.contains("server `nosuch` not found"), "{said:?}");
    assert!(rig.fails(3, &["delete", "server", "graph", "-l", "team=a"]).contains("`graph` not found"));
    let said = rig.run(&["delete", "server", "nosuch", "graf*", "--ignore-not-found"]);
    assert_eq!((said.code, &*said.out, &*said.err), (0, "server/grafana deleted\n", ""), "{said:?}");
    assert_eq!(rig.ok(&["delete", "server", "o*"]), "");
    assert_eq!(rig.ok(&["get", "servers", "-o", "name"]), "server/graph\n");
}

/// What answers each watch with these lines and ends it, and the request lines of those watches.
fn ending(lines: &'static str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, asked) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            stream.write_all(format!("{head}{lines}").as_bytes()).unwrap();
            let first =
                String::from_utf8_lossy(&request[..read]).lines().next().unwrap_or_default().to_owned();
            if sender.send(first).is_err() {
                return;
            }
        }
    });
    (url, asked)
}

#[test]
fn a_watch_that_ends_at_once_without_a_word_is_begun_again_after_a_pause_only() {
    let rig = Rig::empty();
    let (url, asked) = ending("");
    let began = Instant::now();
    let mut command = rig.command(&["get", "servers", "-w", "--url", &url]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    for _watch in 0..3 {
        assert!(asked.recv().unwrap().contains("watch=true"));
    }
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    until(&mut lines, ["ended the watch without a word", "watching again"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_watch_that_ends_after_something_came_goes_on_from_there() {
    let rig = Rig::empty();
    let (url, asked) = ending("{\"type\": \"ADDED\", \"object\": {\"name\": \"a\"}, \"version\": 7}\n");
    let mut command = rig.command(&["get", "servers", "-w", "-o", "name", "--url", &url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(!asked.recv().unwrap().contains("resourceVersion"));
    // More than there may be breaks.
    for _watch in 0..9 {
        assert!(asked.recv().unwrap().contains("resourceVersion=7"));
    }
    child.kill().unwrap();
    let said = child.wait_with_output().unwrap();
    assert!(said.stdout.starts_with(b"server/a\nserver/a\n") && said.stderr.is_empty(), "{said:?}");
}

#[test]
fn what_comes_later_says_so() {
    let rig = rig();
    for words in [&["backup"][..], &["cache", "stats"], &["cache", "clear"], &["console"]] {
        let told = rig.fails(1, words);
        assert!(told.contains("later") || told.contains("not offered yet"), "{told}");
        assert!(told.contains("hint: "), "{told}");
    }
}

/// Waits for a line that has both words.
fn until(lines: &mut impl Iterator<Item = String>, words: [&str; 2]) {
    assert!(lines.any(|line| words.iter().all(|word| line.contains(word))), "{words:?}");
}

#[test]
fn a_watch_shows_what_is_there_and_then_what_changes() {
    let rig = rig();
    let mut command = rig.command(&["get", "servers", "-w"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    until(&mut lines, ["other", "added"]);
    rig.ok(&["patch", "server", "other", "replicas=4"]);
    until(&mut lines, ["other", "modified"]);
    rig.ok(&["delete", "server", "other"]);
    until(&mut lines, ["other", "deleted"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn claude_code_gets_a_file_in_which_others_stay() {
    let rig = rig();
    rig.ok(&["create", "project", "home", "--server", "grafana"]);
    rig.file(".mcp.json", r#"{"mcpServers": {"mine": {"command": "x"}}}"#);
    rig.ok(&["config", "claude", "-p", "home"]);
    let file: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(rig.path(".mcp.json")).unwrap()).unwrap();
    let servers = file["mcpServers"].as_object().unwrap();
    assert!(servers.contains_key("mine") && servers.len() > 1, "{file}");
    assert!(!file.to_string().contains("hwd_"), "{file}");
    let before = std::fs::read_to_string(rig.path(".mcp.json")).unwrap();
    let tried = rig.ok(&["config", "claude", "-p", "home", "--with-token", "--dry-run"]);
    assert!(tried.contains("mine") && tried.contains("Bearer hwd_"), "{tried}");
    assert_eq!(std::fs::read_to_string(rig.path(".mcp.json")).unwrap(), before, "a trial writes nothing");
    rig.ok(&["config", "claude", "-p", "home", "--with-token"]);
    let secret = std::fs::read_to_string(rig.path(".mcp.json")).unwrap();
    assert!(secret.contains("Bearer hwd_") && secret.contains("mine"), "{secret}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(rig.path(".mcp.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "only its owner reads it");
    rig.fails(3, &["config", "claude", "-p", "none"]);
    rig.file(".mcp.json", r#"{"mcpServers": ["odd"]}"#);
    rig.fails(2, &["config", "claude", "-p", "home"]);
}

#[test]
fn a_wrong_form_behind_a_short_flag_is_usage_and_told_with_those_that_there_are() {
    let rig = Rig::empty();
    for words in [
        &["get", "servers", "-o", "yml"][..],
        &["get", "servers", "-o=yml"],
        &["get", "servers", "-wo", "yml"],
        &["status", "-oyml"],
    ] {
        let told = rig.fails(2, words);
        assert!(told.contains("yaml") && told.contains("json"), "{told}");
        assert!(!told.contains("not on the command line"), "{told}");
    }
    let mut from_environment = rig.command(&["get", "servers"]);
    from_environment.env("HAYWARD_CLIENT_OUTPUT", "yml");
    assert_eq!(finish(from_environment, "").code, 78);
}

#[test]
fn a_template_writes_its_own_tabs() {
    let rig = rig();
    let template = "jsonpath={.name}{\"\\t\"}{.packageName}{\"\\n\"}";
    assert_eq!(rig.ok(&["get", "server", "graph", "-o", template]), "graph\th\n\n");
}

/// A watch of servers in a form, and its lines.
fn watch(rig: &Rig, form: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = rig.command(&["get", "servers", "-w", "-o", form]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

#[test]
fn a_watch_in_every_form_tells_a_deletion_from_a_change() {
    let rig = rig();
    let forms = ["json", "yaml", "name", "jsonpath={.type} {.object.name}"];
    let mut watches = forms.map(|form| watch(&rig, form));
    for ((_, lines), first) in watches.iter_mut().zip([
        ["\"type\":\"ADDED\"", "\"name\":\"other\""],
        ["type: ADDED", ""],
        ["server/other", ""],
        ["ADDED other", ""],
    ]) {
        until(lines, first);
    }
    rig.ok(&["patch", "server", "other", "replicas=4"]);
    rig.ok(&["delete", "server", "other"]);
    let [json, yaml, name, path] = &mut watches;
    let modified = json.1.find(|line| line.contains("MODIFIED")).unwrap();
    let event: serde_json::Value = serde_json::from_str(&modified).unwrap();
    assert_eq!(event["object"]["replicas"], 4);
    until(&mut json.1, ["\"type\":\"DELETED\"", "\"name\":\"other\""]);
    until(&mut yaml.1, ["type: MODIFIED", ""]);
    until(&mut yaml.1, ["type: DELETED", ""]);
    assert_eq!(yaml.1.next().unwrap(), "object:");
    assert_eq!(name.1.next().unwrap(), "server/other");
    assert_eq!(name.1.next().unwrap(), "server/other deleted");
    until(&mut path.1, ["DELETED other", ""]);
    for (mut child, _) in watches {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
