//! The trace that a request is part of stands in the log lines of its call. Alone in its process: there is one log.
#![cfg(test)]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use hayward_testkit::fixture;
use hayward_testkit::modern::Modern;
use hayward_testkit::server::Server;
use serde_json::json;

/// A log in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Memory {
    /// The lines that tell of the broken tool; the log is empty then.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        text.lines().filter(|line| line.contains("it is broken")).map(ToOwned::to_owned).collect()
    }
}

#[tokio::test]
async fn a_trace_stands_in_the_log_and_garbage_does_not() {
    let memory = Memory::default();
    let writer = memory.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = Server::start(fixture::guarded()).await.unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (given, is_told) in [
        (json!(trace), true),
        (json!("-".repeat(55)), false),
        (json!(format!("{trace}\nINFO forged")), false),
        (json!(trace.to_uppercase()), false),
        (json!(trace.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32))), false),
        (json!(1), false),
        (json!({"a": trace}), false),
    ] {
        for tool in ["breaks", "breaks_as_task"] {
            let params = json!({"name": tool, "_meta": {"traceparent": given}});
            client.result("tools/call", params).await.unwrap();
            let lines = loop {
                let lines = memory.take();
                if !lines.is_empty() {
                    break lines;
                }
                tokio::task::yield_now().await;
            };
            assert_eq!(lines.len(), 1);
            assert_eq!(lines[0].contains("traceparent"), is_told, "{given}: {lines:?}");
            assert_eq!(lines[0].contains(trace), is_told, "{given}: {lines:?}");
        }
    }
}
