//! The description is true: somebody else's program (schemathesis) makes requests of it, and no answer is one that it doesn't
//! name, nor a failure of the server.

use std::process::Stdio;

use hayward_testkit::daemon::command;
use hayward_testkit::installed::tool;

use super::rig::Rig;

/// Requests of each kind for each operation.
const EXAMPLES: &str = "8";

fn skipped() {
    println!("skipped: schemathesis is not installed; run `cargo xtask test`");
}

#[tokio::test]
async fn whatever_is_asked_gets_an_answer_that_the_description_names() {
    let Some(python) = tool("HAYWARD_TEST_PYTHON") else {
        return skipped();
    };
    let program = python.parent().unwrap().join("schemathesis");
    // Guesses at passwords are part of it, and don't have to be slow here.
    let rig = Rig::start_with(&["--limit", "gateway.failure_delay_ms_max=0"]);
    let admin = rig.bootstrap().await;
    let url = format!("http://{}", rig.daemon.address);
    let scratch = tempfile::tempdir().unwrap();
    // A watch has no end.
    std::fs::write(scratch.path().join("schemathesis.toml"), "[parameters]\n\"query.watch\" = \"false\"\n")
        .unwrap();
    let mut run = command(program.to_str().unwrap(), ["run"]);
    run.arg(format!("{url}/api/v1/openapi.json")).args(["--url", &url, "--workers", "1", "--seed", "1"]);
    run.args(["--header", &format!("Authorization: Bearer {admin}")]);
    run.args(["--phases", "fuzzing,stateful", "--max-examples", EXAMPLES, "--request-timeout", "60"]);
    run.args([
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    ]);
    // They end the login that asks, or have no end.
    run.args([
        "--exclude-path-regex",
        "auth/logout|/backup|/restore|/mcp/proxy|/cache|/inspect|/logs|/stages|/reload|regenerate",
    ]);
    run.env("HOME", scratch.path())
        .env("NO_COLOR", "1")
        .current_dir(scratch.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || run.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let overview = rig.get("/metrics", rig.admin()).await.json();
    assert_eq!((&overview["errors"], &overview["panics"]), (&0.into(), &0.into()), "{overview}");
}
