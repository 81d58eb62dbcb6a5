//! What the real binary pushes to a collector, by the standard variables of OpenTelemetry.
#![cfg(test)]

use hayward_testkit::collector::{Collector, Mood, texts};
use hayward_testkit::daemon::{Daemon, command};
use hayward_testkit::modern::Modern;
use rustix::process::Signal;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

fn variables(url: &str) -> [(&str, &str); 4] {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20c2VjcmV0LW9mLXRoZS1jb2xsZWN0b3I="),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ("OTEL_SERVICE_NAME", "nas"),
    ]
}

#[tokio::test]
async fn calls_are_told_as_the_conventions_for_mcp_say_below_the_trace_of_their_client() {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start(Mood::Takes).unwrap());
    let url = collector.url();
    let mut daemon = Daemon::start_with(BINARY, &dir.path().join("data"), &variables(&url)).unwrap();
    let client = Modern::new(daemon.address, daemon.token("rw"));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let arguments = json!({"command": "exit 3"});
    let call = json!({"name": "bash_execute", "arguments": arguments, "_meta": {"traceparent": trace}});
    client.result("tools/call", call).await.unwrap();
    client.call("read_file", json!({"file_path": "/etc/hostname"})).await.unwrap();
    client.ask("tools/call", json!({"name": "hunter2", "arguments": {}})).await.unwrap();
    daemon.signal(Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());

    let spans = collector.spans();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["tools/call bash_execute", "tools/call read_file", "tools/call"]);
    assert_eq!(spans[0].trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(spans[0].parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert!(spans[1].parent_span_id.is_empty() && spans[1].trace_id != spans[0].trace_id);
    let told = texts(&spans[0].attributes);
    for (key, value) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "bash_execute"),
        ("gen_ai.operation.name", "execute_tool"),
        ("mcp.protocol.version", "2026-07-28"),
        ("network.transport", "tcp"),
        ("jsonrpc.request.id", "1"),
        ("client.address", "127.0.0.1"),
        ("error.type", "tool_error"),
    ] {
        assert!(told.contains(&(key.to_owned(), value.to_owned())), "{key}: {told:?}");
    }
    assert!(told.iter().all(|(key, _)| key != "mcp.session.id"), "{told:?}");
    let errors: Vec<_> = spans.iter().map(|span| span.status.as_ref().map(|status| status.code)).collect();
    assert_eq!(errors[..2], [Some(2), None]);
    let everything = format!("{spans:?}");
    assert!(!everything.contains("hunter2") && !everything.contains("exit 3"), "{everything}");

    // The last numbers are pushed at the end.
    let (metrics, about) = collector.metrics();
    assert!(about.contains(&("service.name".to_owned(), "nas".to_owned())), "{about:?}");
    assert!(metrics.iter().any(|metric| metric.name == "hayward_tool_calls_total"));
    assert!(collector.sent()[0].head.contains("authorization: basic c2vjcmv0lw9mlxrozs1jb2xsz"));
}

#[tokio::test]
async fn no_caller_sees_what_the_collector_is_shown_and_none_waits_for_it() {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start(Mood::Hangs).unwrap());
    let url = collector.url();
    let mut daemon = Daemon::start_with(BINARY, &dir.path().join("data"), &variables(&url)).unwrap();
    let env = daemon.call("rw", "bash_execute", json!({"command": "env"})).await.unwrap();
    assert!(!env.to_string().contains("c2VjcmV0"), "{env}");
    let said = json!({"command": "echo Basic c2VjcmV0LW9mLXRoZS1jb2xsZWN0b3I="});
    let said = daemon.call("rw", "bash_execute", said).await.unwrap();
    assert!(!said.to_string().contains("c2VjcmV0"), "{said}");
    for _ in 0..50 {
        daemon.call("ro", "read_file", json!({"file_path": "/etc/hostname"})).await.unwrap();
    }
    daemon.signal(Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
}

#[test]
fn what_is_not_spoken_is_refused_by_the_name_of_its_variable() {
    let mut serve = command(BINARY, ["serve", "--port", "0"]);
    serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
    serve.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").env("OTEL_TRACES_SAMPLER", "x");
    let run = serve.output().unwrap();
    assert_eq!(run.status.code(), Some(78), "{run:?}");
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    for expect in ["OTEL_EXPORTER_OTLP_PROTOCOL", "`grpc`", "http/protobuf", "OTEL_TRACES_SAMPLER"] {
        assert!(told.contains(expect), "{expect}: {told}");
    }
}
