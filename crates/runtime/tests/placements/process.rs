//! Instances that are processes: real servers of other people, jailed, and what becomes of them.

use std::path::{Path, PathBuf};

use hayward_exec::Confined;
use hayward_mcp::era::Era;
use hayward_mcp::request::List;
use hayward_mcp::upstream::UpstreamError;
use hayward_runtime::placement::{End, Order, Placement, PlacementError};
use hayward_testkit::installed::tool;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::place::{PATIENCE, Place, call, connect, ended, order, said, sh, start};

/// Where a server of the npm registry starts, and what it reads.
fn node(package: &str, args: &[&str]) -> Option<(Value, Confined)> {
    let (Some(node), Some(modules)) = (tool("HAYWARD_TEST_NODE"), tool("HAYWARD_TEST_NODE_MODULES")) else {
        println!("skipped: the servers are not installed; run `cargo xtask test`");
        return None;
    };
    let main = modules.join("@modelcontextprotocol").join(package).join("dist/index.js");
    let spec = json!({"command": [node, main], "args": args, "resources": {"memoryMib": 1024, "cpus": 2.0}});
    Some((spec, Confined { read_only: vec![modules], ..Confined::default() }))
}

/// The same of the Python index.
fn python(program: &str, args: &[&str]) -> Option<(Value, Confined)> {
    let Some(python) = tool("HAYWARD_TEST_PYTHON") else {
        println!("skipped: the servers are not installed; run `cargo xtask test`");
        return None;
    };
    let bin = python.parent().unwrap();
    let command = [bin.join("python"), bin.join(program)];
    let spec = json!({"command": command, "args": args, "resources": {"memoryMib": 1024, "cpus": 2.0}});
    // The environment, and the installation that it was made from, unless that is the system's.
    let installed = std::fs::canonicalize(bin.join("python")).unwrap();
    let installation = installed.ancestors().nth(2).filter(|path| !path.starts_with("/usr"));
    let read_only = bin.parent().into_iter().chain(installation).map(Path::to_owned).collect();
    Some((spec, Confined { read_only, ..Confined::default() }))
}

#[tokio::test]
async fn server_everything_runs_jailed_and_is_spoken_to() {
    let Some((spec, confined)) = node("server-everything", &["stdio"]) else { return };
    let place = Place::new();
    let process = place.placement(confined);
    let (running, stop) = start(&process, order("everything-0", &spec)).await;
    let upstream = connect(&running).await.unwrap();
    assert_eq!(upstream.declared().revision.era(), Era::Legacy);
    let tools = upstream.list(List::Tools).await.unwrap().unwrap();
    assert!(tools.elements.len() > 5, "{:?}", tools.elements);
    let answer = call(&upstream, "echo", json!({"message": "hi"})).await;
    assert_eq!(answer["content"][0]["text"], "Echo: hi");
    stop.cancel();
    assert_eq!(ended(running).await.0, End::Stopped);
    assert!(matches!(upstream.list(List::Tools).await, Err(UpstreamError::Ended)));
    place.end().await;
}

#[tokio::test]
async fn server_filesystem_changes_what_its_jail_allows_and_nothing_else() {
    let Some((spec, confined)) = node("server-filesystem", &["/var/tmp"]) else { return };
    let place = Place::new();
    let (inside, outside) = (place.folder.path().join("inside"), place.folder.path().join("outside"));
    for folder in [&inside, &outside] {
        std::fs::create_dir(folder).unwrap();
    }
    let process = place.placement(Confined { read_write: vec![inside.clone()], ..confined });
    let (running, _stop) = start(&process, order("files-0", &spec)).await;
    let upstream = connect(&running).await.unwrap();
    for (folder, is_allowed) in [(&inside, true), (&outside, false)] {
        let file = folder.join("written");
        let answer = call(&upstream, "write_file", json!({"path": file, "content": "x"})).await;
        assert_eq!(answer["isError"] != json!(true), is_allowed, "{answer}");
        assert_eq!(file.exists(), is_allowed);
    }
    drop(running);
    process.settle().await;
    place.end().await;
}

#[tokio::test]
async fn server_memory_keeps_its_file_in_the_home_of_its_instance() {
    let Some((spec, confined)) = node("server-memory", &[]) else { return };
    let place = Place::new();
    let process = place.placement(confined);
    let spec = json!({
        "command": ["sh", "-c", "MEMORY_FILE_PATH=$HOME/memory.jsonl exec \"$@\"", "sh"],
        "args": spec["command"], "resources": spec["resources"]});
    let (running, stop) = start(&process, order("memory-0", &spec)).await;
    let upstream = connect(&running).await.unwrap();
    let entity = json!({"entities": [{"name": "n", "entityType": "t", "observations": ["o"]}]});
    call(&upstream, "create_entities", entity).await;
    assert!(place.homes()[0].join("memory.jsonl").exists());
    let found = call(&upstream, "search_nodes", json!({"query": "n"})).await;
    assert_eq!(found["structuredContent"]["entities"][0]["name"], "n", "{found}");
    stop.cancel();
    ended(running).await;
    place.end().await;
}

#[tokio::test]
async fn servers_of_python_speak_the_modern_era() {
    let folder = tempfile::Builder::new().prefix("repository").tempdir_in("/var/tmp").unwrap();
    for (program, args, tool) in [
        ("mcp-server-time", vec!["--local-timezone", "UTC"], "get_current_time"),
        ("mcp-server-git", vec![], "git_status"),
        ("mcp-server-fetch", vec![], "fetch"),
    ] {
        let Some((spec, confined)) = python(program, &args) else { return };
        let place = Place::new();
        let confined = Confined { read_write: vec![folder.path().to_owned()], ..confined };
        let process = place.placement(confined);
        let (running, stop) = start(&process, order("python-0", &spec)).await;
        let upstream = match connect(&running).await {
            Ok(upstream) => upstream,
            Err(error) => {
                let (end, log) = ended(running).await;
                panic!("{program}: {error}: {end:?} {:?}", said(&log))
            }
        };
        assert_eq!(upstream.declared().revision.era(), Era::Modern, "{program}");
        let tools = upstream.list(List::Tools).await.unwrap().unwrap().elements;
        let tools: Vec<Value> = tools.iter().map(|tool| tool.view().unwrap()).collect();
        assert!(tools.iter().any(|it| it["name"] == tool), "{program}: {tools:?}");
        match program {
            "mcp-server-time" => {
                let answer = call(&upstream, tool, json!({"timezone": "UTC"})).await;
                assert!(answer["content"][0]["text"].as_str().unwrap().contains("UTC"), "{answer}");
            }
            // Without a network it reaches nobody, and says so.
            "mcp-server-fetch" => {
                let answer = call(&upstream, tool, json!({"url": "http://127.0.0.1:9/"})).await;
                assert_eq!(answer["isError"], true, "{answer}");
            }
            _ => {}
        }
        stop.cancel();
        ended(running).await;
        place.end().await;
    }
}

#[tokio::test]
async fn an_instance_sees_its_home_and_its_environment_and_nothing_of_others() {
    let place = Place::new();
    let secret = place.folder.path().join("secret");
    std::fs::write(&secret, "hunter2").unwrap();
    let process = place.placement(Confined::default());
    let script = format!(
        "env | sort >&2; pwd >&2; cat {} >&2 || echo unreadable >&2; echo kept > file; ls -A >&2",
        secret.display()
    );
    let env = vec![("TOKEN".to_owned(), "t0k3n".to_owned())];
    let (running, _stop) = start(&process, Order { env, ..sh("jailed-0", &script) }).await;
    let (end, log) = ended(running).await;
    let said = said(&log);
    assert_eq!(end, End::Exited { code: 0 }, "{said:?}");
    let homes = place.folder.path().join("homes/jailed-0.").display().to_string();
    let has = |line: &str| said.iter().any(|it| it == line);
    let home = said.iter().find_map(|line| line.strip_prefix("HOME=")).unwrap();
    assert!(has("TOKEN=t0k3n") && home.starts_with(&homes) && has(home), "{said:?}");
    assert!(
        has("unreadable") && has("file") && !said.iter().any(|line| line.contains("hunter2")),
        "{said:?}"
    );
    assert!(!said.iter().any(|line| line.starts_with("CARGO")), "{said:?}");
    place.end().await;
}

#[tokio::test]
async fn an_instance_has_a_network_only_where_it_may() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}", listener.local_addr().unwrap().port());
    for (network, is_allowed) in [(None, false), (Some("none"), false), (Some("shared"), true)] {
        let place = Place::new();
        let process = place.placement(Confined::default());
        let spec = json!({"command": ["bash", "-c", script], "network": network});
        let (running, _stop) = start(&process, order("net-0", &spec)).await;
        let (end, log) = ended(running).await;
        assert_eq!(end == End::Exited { code: 0 }, is_allowed, "{network:?}: {end:?} {:?}", said(&log));
        place.end().await;
    }
}

#[tokio::test]
async fn how_an_instance_ended_is_told_with_its_last_words() {
    let place = Place::new();
    let process = place.placement(Confined::default());
    for (script, expect) in [
        ("echo out of luck >&2; exit 7", End::Exited { code: 7 }),
        ("echo out of luck >&2; kill -9 $$", End::Signaled { signal: 9 }),
    ] {
        let (running, _stop) = start(&process, sh("dying-0", script)).await;
        let (end, log) = ended(running).await;
        assert_eq!((end, said(&log)), (expect, vec!["out of luck".to_owned()]), "{script}");
    }
    place.end().await;
}

#[tokio::test]
async fn a_program_that_instances_do_not_see_is_told_apart_from_one_that_is_not_there() {
    let place = Place::new();
    let process = place.placement(Confined::default());
    let hidden = place.folder.path().join("server");
    std::fs::copy("/bin/true", &hidden).unwrap();
    let link = place.folder.path().join("link");
    std::os::unix::fs::symlink(&hidden, &link).unwrap();
    for program in ["/nonexistent/server", "no-such-server", hidden.to_str().unwrap(), link.to_str().unwrap()]
    {
        let (running, _stop) = start(&process, order("none-0", &json!({"command": [program]}))).await;
        assert!(connect(&running).await.is_err());
        let (end, _) = ended(running).await;
        let End::Failed { why } = end else { panic!("{program}: {end:?}") };
        assert!(why.starts_with(&format!("program `{program}` was not found")), "{why}");
        assert_eq!(why.contains("`mounts`"), Path::new(program).exists(), "{why}");
    }
    place.end().await;
}

#[tokio::test]
async fn an_instance_that_uses_more_memory_than_it_may_is_ended() {
    let place = Place::new();
    let process = place.placement(Confined::default());
    let spec =
        json!({"command": ["sh", "-c", "x=a; while :; do x=$x$x; done"], "resources": {"memoryMib": 32}});
    let (running, _stop) = start(&process, order("hungry-0", &spec)).await;
    let (end, log) = ended(running).await;
    if place.executor.containment().bounds().memory {
        assert_eq!(end, End::OutOfMemory);
    } else {
        // It is refused more, and exits.
        assert!(matches!(end, End::Exited { code } if code != 0), "{end:?} {:?}", said(&log));
    }
    place.end().await;
}

#[tokio::test]
async fn what_a_placement_cannot_run_is_refused_before_anything_starts() {
    let place = Place::new();
    let process = place.placement(Confined::default());
    for (name, spec) in [
        ("a/b", json!({"command": ["sh"]})),
        ("..", json!({"command": ["sh"]})),
        (".hidden", json!({"command": ["sh"]})),
        ("", json!({"command": ["sh"]})),
        ("http-0", json!({"command": ["sh"], "transport": "STREAMABLE_HTTP"})),
        ("image-0", json!({"dockerImage": "x/y:1"})),
        ("image-1", json!({"dockerImage": "x/y:1", "command": ["sh"]})),
        ("package-0", json!({"packageName": "x@1.0.0"})),
    ] {
        let refused = process.start(order(name, &spec), CancellationToken::new()).await;
        assert!(matches!(refused, Err(PlacementError::Unfit { .. })), "{name}: {refused:?}");
    }
    place.end().await;
}

#[tokio::test]
async fn what_a_dead_daemon_left_is_taken_away_and_what_an_instance_left_however_it_is() {
    let place = Place::new();
    let left = place.folder.path().join("homes/again-0/deep");
    std::fs::create_dir_all(&left).unwrap();
    let process = place.placement(Confined::default());
    process.clean_up().await;
    assert_eq!(place.homes(), [] as [PathBuf; 0]);
    // Deeper than a path may be long, and forbidden to its owner.
    let script = "perl -e 'for (1..2000) { mkdir \"ddddddddd\"; chdir \"ddddddddd\" or die }' && \
        mkdir -m 0 forbidden && echo made >&2";
    let (running, _stop) = start(&process, sh("deep-0", script)).await;
    let (end, log) = ended(running).await;
    assert_eq!((end, said(&log)), (End::Exited { code: 0 }, vec!["made".to_owned()]));
    place.end().await;
}

#[tokio::test]
async fn an_instance_that_nobody_waits_for_is_ended() {
    let place = Place::new();
    let process = place.placement(Confined::default());
    let (running, _stop) = start(&process, sh("lonely-0", "echo up >&2; sleep 3600")).await;
    assert_eq!(running.log.from(0).await[0].text, "up");
    drop(running);
    timeout(PATIENCE, process.settle()).await.unwrap();
    place.end().await;
}

#[tokio::test]
async fn an_instance_has_one_wire() {
    let place = Place::new();
    let process = place.placement(Confined::default());
    let (running, _stop) = start(&process, sh("once-0", "cat")).await;
    assert!(running.access.wire(1024).is_some());
    assert!(running.access.wire(1024).is_none());
    drop(running);
    timeout(PATIENCE, process.settle()).await.unwrap();
    place.end().await;
}
