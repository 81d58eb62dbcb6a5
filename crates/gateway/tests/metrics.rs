//! `/metrics`: who reads it, and what it counts.
#![cfg(test)]

use hayward_testkit::client::{Answer, request, send_raw};
use hayward_testkit::fixture;
use hayward_testkit::modern::Modern;
use hayward_testkit::server::Server;
use serde_json::json;

async fn get(server: &Server, token: Option<&str>) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    send_raw(server.address, &request("GET", server.address, "/metrics", &headers, "")).await.unwrap()
}

async fn text(server: &Server) -> String {
    let answer = get(server, Some(&server.metrics_token)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.body
}

#[tokio::test]
async fn only_the_token_for_metrics_reads_them_and_without_one_they_are_off() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    for wrong in [None, Some("x"), Some(&*server.rw_token), Some(&server.admin_token), Some(&server.ro_token)]
    {
        let answer = get(&server, wrong).await;
        assert_eq!((answer.status, answer.json()), (401, json!({"detail": "Unauthorized"})), "{wrong:?}");
    }
    assert!(text(&server).await.contains("hayward_tokens_count{role=\"metrics\"} 1\n"));
    server.revoke(&server.metrics_token).unwrap();
    for token in [None, Some(&*server.metrics_token), Some(&server.rw_token)] {
        assert_eq!(get(&server, token).await.status, 503);
    }
}

#[tokio::test]
async fn calls_and_requests_are_counted_under_names_that_no_client_chooses() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    for _ in 0..3 {
        client.call("test_simple_text", json!({})).await.unwrap();
    }
    for name in ["nowhere_1", "nowhere_2"] {
        client.ask("tools/call", json!({"name": name, "arguments": {}})).await.unwrap();
        let path = format!("/files/raw/{name}");
        send_raw(server.address, &request("GET", server.address, &path, &[], "")).await.unwrap();
    }
    let text = text(&server).await;
    for expect in [
        "hayward_tool_calls_total{tool=\"test_simple_text\",role=\"rw\",result=\"ok\"} 3\n",
        "hayward_tool_duration_seconds_count{tool=\"test_simple_text\"} 3\n",
        "hayward_tool_calls_total{tool=\"other\",role=\"rw\",result=\"denied\"} 2\n",
        "hayward_http_requests_total{path=\"/files/raw/{ticket}\",method=\"GET\",status=\"404\"} 2\n",
        "hayward_audit_write_failures_total 0\n",
        // The one that asks.
        "http_server_active_requests 1\n",
    ] {
        assert!(text.contains(expect), "{expect}\n{text}");
    }
    assert!(!text.contains("nowhere"), "{text}");
}
