//! What is known of a server before it says anything itself, and what is told of one that doesn't.

use serde_json::{Value, json};

use crate::rig::{Rig, python, text};

/// A tool that only reads, and one that doesn't.
const TOOLS: &str = r#"
TOOLS = [tool("look"), tool("keep")]
"#;

#[tokio::test]
async fn tools_that_were_approved_before_a_restart_are_shown_while_their_server_is_away() {
    let mut rig = Rig::start();
    let mut spec = python(TOOLS);
    spec["tools"] = json!({"look": {"tier": "read"}});
    rig.declare("servers", "a", spec).await;
    let (rw, ro) = (rig.token("rw", &["a"], &[]).await, rig.token("ro", &["a"], &[]).await);
    rig.shows("/servers/a/mcp", &rw, &["look", "keep"]).await;
    // It comes back as one that never says anything.
    let start = rig.stop();
    start(&mut rig);
    let mut mute = python("time.sleep(1000)");
    mute["tools"] = json!({"look": {"tier": "read"}});
    rig.declare("servers", "a", mute).await;
    let start = rig.stop();
    start(&mut rig);
    let listed = rig.ask("/servers/a/mcp", &rw, "tools/list", json!({})).await["result"]["tools"].clone();
    let names: Vec<&Value> = listed.as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["keep", "look"], "{listed}");
    assert!(listed.to_string().contains("hayward/stale"), "{listed}");
    assert_eq!(rig.tools("/servers/a/mcp", &ro).await, ["look"], "the tiers are those that were said");
    // What was never approved is remembered by nobody.
    let unknown = rig.call("/servers/a/mcp", &rw, "other", json!({})).await;
    assert!(text(&unknown).contains("has not said yet what it offers"), "{unknown}");
}

#[tokio::test]
async fn whoever_calls_too_early_hears_that_and_whoever_may_not_hears_nothing() {
    let rig = Rig::start();
    rig.declare("servers", "slow", python("time.sleep(1000)")).await;
    rig.declare("servers", "slow_er", python("time.sleep(1000)")).await;
    rig.declare("servers", "quick", python("")).await;
    rig.declare("projects", "p", json!({"servers": ["slow", "slow_er", "quick"]})).await;
    let token = rig.token("rw", &[], &["p"]).await;
    rig.shows("/projects/p/mcp", &token, &["quick_echo"]).await;
    for (name, server) in [
        ("slow_echo", "slow"),
        ("slow/echo", "slow"),
        ("slow_er_echo", "slow_er"),
        ("slow_er.echo", "slow_er"),
    ] {
        let early = rig.call("/projects/p/mcp", &token, name, json!({})).await;
        let told = text(&early);
        assert!(told.contains(&format!("server `{server}` has not said yet")), "{name}: {told}");
        assert!(told.contains("ServerStarting"), "{told}");
    }
    for name in ["quick_ech", "quick_", "slow", "other_echo"] {
        let unknown = rig.call("/projects/p/mcp", &token, name, json!({})).await;
        assert!(text(&unknown).contains("Unknown tool"), "{name}: {unknown}");
    }
    // Who reaches another server only is told nothing of this one.
    let other = rig.token("rw", &["quick"], &[]).await;
    let unknown = rig.call("/projects/p/mcp", &other, "slow_echo", json!({})).await;
    assert!(text(&unknown).contains("Unknown tool"), "{unknown}");
}

#[tokio::test]
async fn a_server_that_is_mended_starts_and_is_not_called_what_it_was() {
    let rig = Rig::start();
    rig.declare("servers", "s", json!({"command": ["/nonexistent/server"]})).await;
    rig.until("servers/s", |it| it["status"]["phase"] == "Crashed").await;
    let token = rig.token("rw", &["s"], &[]).await;
    let told = text(&rig.call("/servers/s/mcp", &token, "echo", json!({})).await).to_owned();
    assert!(told.contains("UpstreamUnavailable") && told.contains("was not found"), "{told}");
    rig.declare("servers", "s", python("time.sleep(1000)")).await;
    rig.until("servers/s", |it| it["status"]["phase"] == "Starting").await;
    let begun = std::time::Instant::now();
    loop {
        let told = text(&rig.call("/servers/s/mcp", &token, "echo", json!({})).await).to_owned();
        if told.contains("ServerStarting") {
            break;
        }
        assert!(begun.elapsed() < crate::rig::PATIENCE, "{told}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_token_that_was_let_in_somewhere_is_no_key_of_this_machine() {
    let rig = Rig::start();
    rig.declare("servers", "a", python("")).await;
    rig.declare("servers", "host", json!({"placement": "builtin"})).await;
    rig.declare("projects", "p", json!({"servers": ["a"]})).await;
    rig.declare("projects", "both", json!({"servers": ["a", "host"]})).await;
    let bash = |answer: Value| answer["result"]["isError"] != true && text(&answer).contains("mine");
    let run = json!({"command": "echo mine"});
    for (servers, projects, path, tool, may) in [
        (vec![], vec![], "/mcp", "bash_execute", true),
        (vec!["a"], vec![], "/mcp", "bash_execute", false),
        (vec![], vec!["p"], "/mcp", "bash_execute", false),
        (vec!["a", "host"], vec![], "/mcp", "bash_execute", true),
        (vec![], vec!["both"], "/mcp", "bash_execute", false),
        (vec![], vec!["both"], "/projects/both/mcp", "host_bash_execute", true),
        (vec!["a"], vec![], "/projects/both/mcp", "host_bash_execute", false),
    ] {
        let token = rig.token("rw", &servers, &projects).await;
        let answer = rig.call(path, &token, tool, run.clone()).await;
        assert_eq!(bash(answer.clone()), may, "{servers:?} {projects:?} {path}: {answer}");
        let shown = rig.tools(path, &token).await.iter().any(|name| name == tool);
        assert_eq!(shown, may, "{servers:?} {projects:?} {path}");
    }
}
