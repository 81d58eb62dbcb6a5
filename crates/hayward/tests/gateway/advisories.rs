//! What befell other gateways and control planes, tried here: each test bears the name of the advisory
//! (docs/advisories.md).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hayward_testkit::client::{Answer, request, send_raw};
use serde_json::{Value, json};

use crate::rig::{Rig, python, text};

/// Sends a request with these headers and no others.
async fn send(rig: &Rig, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    send_raw(rig.daemon.address, &request(method, rig.daemon.address, path, headers, body)).await.unwrap()
}

fn list() -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string()
}

/// `LiteLLM`: whoever had a key could have the gateway start a program, by way of a route that was meant for trying.
#[tokio::test]
async fn cve_2026_42271_and_cve_2026_30623_a_token_starts_no_program() {
    let rig = Rig::start();
    let marker = rig.folder.path().join("started");
    let server = json!({"name": "evil", "command": ["touch", marker]});
    let token = rig.token("rw", &["evil"], &[]).await;
    let bearer = format!("Bearer {token}");
    let proxied = json!({"serverId": "evil", "method": "tools/list", "command": ["touch", marker]});
    for (method, path, body) in [
        ("POST", "/api/v1/servers", server.clone()),
        ("PUT", "/api/v1/servers/evil", server.clone()),
        ("POST", "/api/v1/apply", json!({"servers": [server.clone()]})),
        ("POST", "/api/v1/apply?dryRun=server", json!({"servers": [server]})),
        ("POST", "/api/v1/mcp/proxy", proxied),
    ] {
        let answer = send(&rig, method, path, &[("authorization", &bearer)], &body.to_string()).await;
        assert!((400..500).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
    }
    assert_eq!(rig.manage("GET", "servers", "").await.json(), json!([]));
    assert_eq!(rig.manage("GET", "instances", "").await.json(), json!([]));
    assert!(!marker.exists());
}

/// nginx-ui: one of two ways in lacked the check, and an empty list of addresses let everybody in. Sliver: no check at all.
#[tokio::test]
async fn cve_2026_33032_and_cve_2026_34227_every_way_in_asks_who_it_is() {
    let rig = Rig::start();
    rig.declare("servers", "a", python("")).await;
    rig.declare("projects", "home", json!({"servers": ["a"]})).await;
    let nothing = rig.token("rw", &[], &[]).await;
    let ways = [
        "/mcp",
        "/sse",
        "/messages?sessionId=x",
        "/servers/a/mcp",
        "/servers/a/sse",
        "/projects/home/mcp",
        "/projects/home/sse",
        "/api/v1/servers",
        "/api/v1/mcp/proxy",
        "/admin/tokens",
        "/metrics",
    ];
    for path in ways {
        for method in ["GET", "POST", "DELETE"] {
            let body = if method == "POST" { list() } else { String::new() };
            let headers = [("accept", "application/json, text/event-stream")];
            let answer = send(&rig, method, path, &headers, &body).await;
            assert!(matches!(answer.status, 401 | 403 | 404 | 405), "{method} {path}: {}", answer.status);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {path}");
        }
    }
    // Who is let in to nothing is let in to nothing, and not to everything.
    for path in ["/servers/a/mcp", "/projects/home/mcp"] {
        assert!(rig.ask(path, &nothing, "tools/list", json!({})).await["error"].is_object(), "{path}");
    }
    // A page of another site gets no answer that it could read, and no way to ask with what the browser has.
    let preflight = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let answer = send(&rig, "OPTIONS", "/mcp", &preflight, "").await;
    assert!(
        answer.status >= 400 && answer.header("access-control-allow-origin").is_none(),
        "{}",
        answer.status
    );
}

/// Docker's gateway: a page could rebind its own name to this machine, and then ask the transport that nobody had thought of.
#[tokio::test]
async fn cve_2025_64443_no_transport_answers_under_a_name_of_others() {
    let rig = Rig::start();
    rig.declare("servers", "a", python("")).await;
    let token = rig.token("rw", &["a"], &[]).await;
    let bearer = format!("Bearer {token}");
    let evil = [("host", "evil.example"), ("origin", "http://evil.example")];
    for path in [
        "/mcp",
        "/sse",
        "/messages?sessionId=x",
        "/servers/a/mcp",
        "/servers/a/sse",
        "/api/v1/mcp/proxy",
        "/healthz",
    ] {
        for one in evil {
            let headers =
                [("authorization", bearer.as_str()), ("accept", "text/event-stream, application/json"), one];
            let method = if path.ends_with("sse") || path == "/healthz" { "GET" } else { "POST" };
            let body = if method == "POST" { list() } else { String::new() };
            let answer = send(&rig, method, path, &headers, &body).await;
            assert!(matches!(answer.status, 403 | 421), "{path} {one:?}: {}", answer.status);
        }
    }
}

/// Kuadrant: headers that gateways say to each other, with a key that everybody knew, led past the check.
#[tokio::test]
async fn ghsa_g53w_w6mj_hrpp_no_header_leads_past_the_check() {
    let rig = Rig::start();
    rig.declare("servers", "a", python("")).await;
    let token = rig.token("rw", &[], &[]).await;
    let bearer = format!("Bearer {token}");
    for more in [
        ("mcp-init-host", "a"),
        ("router-key", "secret-api-key"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-user", "admin"),
        ("x-original-url", "/servers/a/mcp"),
    ] {
        let without = send(&rig, "POST", "/servers/a/mcp", &[more], &list()).await;
        assert_eq!(without.status, 401, "{more:?}");
        let with = send(&rig, "POST", "/servers/a/mcp", &[("authorization", &bearer), more], &list()).await;
        assert_eq!(with.status, 404, "{more:?}");
    }
}

/// Obot: every user reached every server.
#[tokio::test]
async fn ghsa_vw82_7fv8_r6gp_a_server_is_reached_by_those_who_were_let_in() {
    let rig = Rig::start();
    rig.declare("servers", "a", python("")).await;
    rig.declare("servers", "b", python("")).await;
    let (of_a, of_b) = (rig.token("rw", &["a"], &[]).await, rig.token("rw", &["b"], &[]).await);
    rig.shows("/servers/a/mcp", &of_a, &["echo"]).await;
    rig.shows("/servers/b/mcp", &of_b, &["echo"]).await;
    for (path, token) in [("/servers/a/mcp", &of_b), ("/servers/b/mcp", &of_a)] {
        assert!(rig.call(path, token, "echo", json!({})).await["error"].is_object(), "{path}");
    }
}

/// `ContextForge`: a token of one environment was good in another; and what was no id of a server meant all of them.
#[tokio::test]
async fn ghsa_vgf8_3685_66j9_a_token_is_good_where_it_was_made_and_no_odd_name_means_everything() {
    let (rig, other) = (Rig::start(), Rig::start());
    rig.declare("servers", "a", python("")).await;
    let token = rig.token("rw", &["a"], &[]).await;
    rig.shows("/servers/a/mcp", &token, &["echo"]).await;
    assert!(other.ask("/mcp", &token, "tools/list", json!({})).await["result"].is_null());
    let bearer = format!("Bearer {token}");
    for name in ["*", "..", ".", "%2e%2e", "a%00", "zz-not-hex", "A", "a,b", "null", "0", "a%2f..%2fb"] {
        let path = format!("/servers/{name}/mcp");
        let answer = send(&rig, "POST", &path, &[("authorization", &bearer)], &list()).await;
        assert!(answer.status >= 400, "{path}: {} {}", answer.status, answer.body);
    }
}

/// GitHub's server: one client's state was every client's; and a member that was missing ended it.
#[tokio::test]
async fn cve_2026_48529_and_cve_2026_47427_callers_share_nothing_and_no_message_ends_it() {
    let rig = Rig::start();
    let mut spec = python(
        "STATE = []\ndef call(n, a, p):\n    STATE.append(a['who'])\n    return text(json.dumps(STATE))",
    );
    spec["sharing"] = json!("principal");
    rig.declare("servers", "a", spec).await;
    let (one, two) = (rig.token("rw", &["a"], &[]).await, rig.token("rw", &["a"], &[]).await);
    let path = "/servers/a/mcp";
    rig.shows(path, &one, &["echo"]).await;
    let call = async |token: &str, who: &str| rig.call(path, token, "echo", json!({"who": who})).await;
    let ((first, second), third) =
        (tokio::join!(call(&one, "one"), call(&two, "two")), call(&one, "one").await);
    assert_eq!(
        [text(&first), text(&second), text(&third)],
        [r#"["one"]"#, r#"["two"]"#, r#"["one", "one"]"#]
    );
    let bearer = format!("Bearer {one}");
    for params in [
        "null",
        "{}",
        "[]",
        "1",
        r#"{"name":null}"#,
        r#"{"name":"echo","arguments":null}"#,
        r#"{"name":"echo","_meta":null}"#,
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let answer = send(&rig, "POST", path, &[("authorization", &bearer)], &body).await;
        assert!(answer.status < 500, "{params}: {} {}", answer.status, answer.body);
    }
    assert_eq!(text(&call(&two, "two").await), r#"["two", "two"]"#);
}

/// `ToolHive`: a server in its jail reached the control plane of this machine, which asked nobody who comes from there.
#[tokio::test]
async fn ghsa_qg2g_g9w3_m5h8_a_server_that_reaches_us_is_nobody_to_us() {
    let rig = Rig::start();
    let address = rig.daemon.address;
    let more = format!(
        "import urllib.request, urllib.error
def call(n, a, p):
    told = []
    for path in ('/api/v1/servers', '/admin/tokens', '/metrics', '/mcp'):
        try:
            told.append(urllib.request.urlopen('http://{address}' + path, timeout=20).status)
        except urllib.error.HTTPError as error:
            told.append(error.code)
    return text(json.dumps(told))"
    );
    let mut spec = python(&more);
    spec["network"] = json!("shared");
    rig.declare("servers", "a", spec).await;
    let token = rig.token("rw", &["a"], &[]).await;
    rig.shows("/servers/a/mcp", &token, &["echo"]).await;
    let told: Vec<u16> =
        serde_json::from_str(text(&rig.call("/servers/a/mcp", &token, "echo", json!({})).await)).unwrap();
    assert!(told.len() == 4 && told.iter().all(|status| matches!(status, 401 | 403 | 404 | 405)), "{told:?}");
}

/// `ContextForge`, `ToolHive` (CVE-2026-58196): a server far away sends us on to where only we can go.
#[tokio::test]
async fn cve_2026_58196_no_server_sends_us_to_another_address() {
    let (inside, asked) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(AtomicUsize::new(0)));
    let target = inside.local_addr().unwrap();
    let counting = Arc::clone(&asked);
    thread::spawn(move || {
        for _ in inside.incoming() {
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", outside.local_addr().unwrap());
    let (told, heard) = std::sync::mpsc::sync_channel(16);
    thread::spawn(move || {
        for mut stream in outside.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            drop(stream.read(&mut head));
            let answer = format!(
                "HTTP/1.1 307 T\r\nlocation: http://{target}/latest/meta-data\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).ok();
            told.send(()).ok();
        }
    });
    let rig = Rig::start();
    rig.declare("servers", "far", json!({"externalUrl": url})).await;
    tokio::task::spawn_blocking(move || heard.recv_timeout(crate::rig::PATIENCE).unwrap()).await.unwrap();
    let failed = |it: &Value| it["status"]["conditions"].to_string().contains("307");
    rig.until("servers/far", failed).await;
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody came");
}
