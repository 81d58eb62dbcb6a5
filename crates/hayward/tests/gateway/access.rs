//! A server that wants OAuth: who may use it is asked of a person once, and from then on it is used, renewed, and told when it
//! was taken back.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_util::future::join_all;
use hayward_testkit::daemon::command as command_of;
use serde_json::{Value, json};
use url::Url;

use crate::issuer::{Issuer, Lie, get};
use crate::rig::{Rig, text};

/// `hayward authorize`, which waits for somebody.
struct Asking {
    child: Child,
    /// What is to be opened.
    url: String,
}

/// What came of it: how it exited, and what it said.
type Outcome = (Option<i32>, String);

impl Asking {
    /// Begins, and reads which address is to be opened.
    fn begin(rig: &Rig, words: &[&str]) -> Self {
        let mut child = command(rig, &[&["authorize", "s"], words].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        if url.is_empty() {
            let mut said = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
            panic!("{said}");
        }
        Self { child, url: url.trim().to_owned() }
    }

    /// Waits until it is over.
    fn end(self) -> Outcome {
        let output = self.child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code(), said)
    }

    /// Pastes this.
    fn paste(mut self, address: &str) -> Outcome {
        writeln!(self.child.stdin.take().unwrap(), "{address}").unwrap();
        self.end()
    }
}

fn command(rig: &Rig, words: &[&str]) -> Command {
    let mut command = command_of(env!("CARGO_BIN_EXE_hayward"), words);
    command
        .env("HAYWARD_URL", format!("http://{}", rig.daemon.address))
        .env("HAYWARD_TOKEN", rig.daemon.token("admin"))
        .env("HOME", rig.folder.path());
    command
}

/// The conditions of the server, by type: status and reason.
fn condition<'a>(server: &'a Value, kind: &str) -> Option<&'a Value> {
    server["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == kind)
}

fn is(server: &Value, kind: &str, reason: &str) -> bool {
    condition(server, kind).is_some_and(|it| it["reason"] == reason)
}

/// A daemon that knows the server, which nobody has granted access to.
async fn unauthorized() -> (Issuer, Rig) {
    let (issuer, rig) = (Issuer::start(), Rig::start());
    rig.declare("servers", "s", json!({"externalUrl": issuer.upstream})).await;
    rig.until("servers/s", |it| is(it, "AuthorizationRequired", "NotAuthorized")).await;
    (issuer, rig)
}

async fn granted(issuer: &Issuer, rig: &Rig) {
    let asking = Asking::begin(rig, &[]);
    let back = issuer.agree(&asking.url);
    let (status, page) = get(&back);
    assert!(status == 200 && page.contains("Access was granted."), "{page}");
    let (code, said) = asking.end();
    assert!(code == Some(0) && said.contains("renewed by itself; kept as secret `s.oauth`"), "{said}");
    rig.until("servers/s", |it| is(it, "Ready", "AllReady")).await;
}

/// Waits until its tool answers again, by whichever of its instances.
async fn says(rig: &Rig, token: &str) {
    let started = std::time::Instant::now();
    loop {
        let answer = secret(rig, token).await;
        if answer["result"]["content"][0]["text"] == "said" {
            return;
        }
        assert!(started.elapsed() < crate::rig::PATIENCE, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn secret(rig: &Rig, token: &str) -> Value {
    rig.call("/servers/s/mcp", token, "secret", json!({})).await
}

/// Whether a text stands anywhere below a folder.
pub(crate) fn holds(folder: &Path, needle: &str) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => holds(&path, needle),
            kind if kind.is_file() => {
                fs::read(&path).unwrap().windows(needle.len()).any(|bytes| bytes == needle.as_bytes())
            }
            _ => false,
        }
    })
}

#[tokio::test]
async fn access_is_granted_once_renewed_without_a_person_and_told_when_it_is_taken_back() {
    let (issuer, mut rig) = unauthorized().await;
    let server = rig.manage("GET", "servers/s", "").await.json();
    let said = condition(&server, "AuthorizationRequired").unwrap()["message"].as_str().unwrap().to_owned();
    assert!(said.contains("run `hayward authorize s`"), "{said}");
    assert!(is(&server, "Ready", "NotAuthorized"), "{server}");

    granted(&issuer, &rig).await;
    let server = rig.manage("GET", "servers/s", "").await.json();
    assert_eq!(condition(&server, "AuthorizationRequired"), None, "{server}");
    let token = rig.token("rw", &["s"], &[]).await;
    rig.shows("/servers/s/mcp", &token, &["secret"]).await;
    assert_eq!(text(&secret(&rig, &token).await), "said");

    // However many find that it is over, it is renewed once.
    issuer.expire();
    let all = join_all((0..8).map(|_| secret(&rig, &token))).await;
    assert!(all.iter().all(|answer| text(answer) == "said"), "{all:?}");
    assert_eq!((issuer.renewals(), issuer.calls()), (1, 9));

    // What was renewed is what is kept: a daemon that starts anew goes on with it.
    let start = rig.stop();
    start(&mut rig);
    rig.until("servers/s", |it| is(it, "Ready", "AllReady")).await;
    issuer.expire();
    says(&rig, &token).await;
    assert_eq!(issuer.renewals(), 2);

    // No secret of it lies anywhere as it is.
    for secret in issuer.secrets() {
        assert!(!holds(rig.folder.path(), &secret), "{secret}");
    }

    issuer.revoke();
    let refused = secret(&rig, &token).await;
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    assert!(
        refused.to_string().contains("hayward authorize s") && !refused.to_string().contains("retry later"),
        "{refused}"
    );
    let server = rig.until("servers/s", |it| is(it, "AuthorizationRequired", "Revoked")).await;
    let said = condition(&server, "AuthorizationRequired").unwrap()["message"].as_str().unwrap();
    assert!(said.contains("invalid_grant") && said.contains("hayward authorize s"), "{said}");

    granted(&issuer, &rig).await;
    rig.until("servers/s", |it| condition(it, "AuthorizationRequired").is_none()).await;
    says(&rig, &token).await;

    // Who takes the secret away takes access away, and with the server goes what was granted for it.
    assert_eq!(rig.manage("DELETE", "secrets/s.oauth", "").await.status, 204);
    rig.until("servers/s", |it| is(it, "AuthorizationRequired", "NotAuthorized")).await;
    granted(&issuer, &rig).await;
    assert_eq!(rig.manage("DELETE", "servers/s", "").await.status, 204);
    assert_eq!(rig.manage("GET", "secrets/s.oauth", "").await.status, 404);
}

#[tokio::test]
async fn what_lives_shortly_is_not_renewed_at_once_and_a_renewal_makes_nobody_ask_for_lists() {
    let (issuer, rig) = unauthorized().await;
    issuer.grants_for(29);
    granted(&issuer, &rig).await;
    let token = rig.token("rw", &["s"], &[]).await;
    rig.shows("/servers/s/mcp", &token, &["secret"]).await;
    let settled = || tokio::time::sleep(std::time::Duration::from_millis(1500));
    settled().await;
    let lists = issuer.lists();
    assert_eq!(text(&secret(&rig, &token).await), "said");
    assert_eq!(issuer.renewals(), 0);
    issuer.expire();
    assert_eq!(text(&secret(&rig, &token).await), "said");
    settled().await;
    assert_eq!((issuer.renewals(), issuer.lists()), (1, lists));
}

#[tokio::test]
async fn what_is_no_answer_to_the_question_gives_nobody_access() {
    let (issuer, rig) = unauthorized().await;
    let paste = |change: &dyn Fn(&Url) -> String| {
        let asking = Asking::begin(&rig, &["--paste"]);
        let back = issuer.agree(&asking.url);
        asking.paste(&change(&back))
    };
    let replaced = |url: &Url, name: &str, value: &str| {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let mut url = url.clone();
        let mut query = url.query_pairs_mut();
        query.clear();
        for (key, known) in &pairs {
            query.append_pair(key, if key == name { value } else { known });
        }
        drop(query);
        url.to_string()
    };
    for (name, value, told) in [
        ("state", "guessed", "`state` is not one that is waited for"),
        ("iss", "https://bank.example", "another authorization server"),
        ("code", "code-0-guessed", "invalid_grant"),
    ] {
        let (code, said) = paste(&|back| replaced(back, name, value));
        assert!(code != Some(0) && said.contains(told), "{name}: {said}");
    }
    // An answer is good once.
    let asking = Asking::begin(&rig, &["--paste"]);
    let back = issuer.agree(&asking.url);
    let query = json!({"query": back.query()}).to_string();
    assert_eq!(rig.manage("POST", "servers/s/authorization/answer", &query).await.status, 200);
    let again = rig.manage("POST", "servers/s/authorization/answer", &query).await;
    assert_eq!(again.status, 400, "{}", again.body);
    assert_ne!(asking.paste(back.as_str()).0, Some(0));
    rig.until("servers/s", |it| is(it, "Ready", "AllReady")).await;

    // Whoever lies about whom they are gets nobody there.
    issuer.revoke();
    issuer.lies(Lie::Issuer);
    let (code, said) = paste(&|back| back.to_string());
    assert!(code != Some(0) && said.contains("another authorization server"), "{said}");
    issuer.lies(Lie::Resource);
    let body = json!({"redirectUri": "http://127.0.0.1:1/callback"}).to_string();
    let refused = rig.manage("POST", "servers/s/authorization", &body).await;
    assert!(refused.status == 502 && refused.body.contains("bank.example"), "{}", refused.body);
    issuer.lies(Lie::None);
    for elsewhere in ["https://evil.example/callback", "http://10.0.0.1/callback"] {
        let body = json!({"redirectUri": elsewhere}).to_string();
        let refused = rig.manage("POST", "servers/s/authorization", &body).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
    }
    // Only the issuer that was said is asked.
    rig.declare(
        "servers",
        "s",
        json!({"externalUrl": issuer.upstream, "oauth": {"issuer": "http://127.0.0.1:9"}}),
    )
    .await;
    rig.until("servers/s", |it| it["oauth"]["issuer"] == "http://127.0.0.1:9").await;
    let started = std::time::Instant::now();
    loop {
        let refused = rig.manage("POST", "servers/s/authorization", &body).await;
        if refused.status == 409 && refused.body.contains("only `http://127.0.0.1:9`") {
            break;
        }
        assert!(started.elapsed() < crate::rig::PATIENCE, "{}", refused.body);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn whoever_may_not_write_secrets_grants_no_access() {
    let (issuer, rig) = unauthorized().await;
    let admin = rig.daemon.token("admin").to_owned();
    let made = rig
        .daemon
        .send("POST", "/api/v1/users", &admin, &json!({"email": "ci", "serviceAccount": true}).to_string())
        .await
        .unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    let rule = |bindings: Value| {
        json!({"rbac": [{"name": "r", "subjects": [{"kind": "ServiceAccount", "name": "ci"}], "roleBindings": bindings}]}).to_string()
    };
    let token = json!({"name": "t-ci", "role": "account", "account": "ci"});
    let token = rig.daemon.send("POST", "/api/v1/tokens", &admin, &token.to_string()).await.unwrap();
    let token = token.json()["token"].as_str().unwrap_or_else(|| panic!("{}", token.body)).to_owned();
    let body = json!({"redirectUri": "http://127.0.0.1:1/callback"}).to_string();
    let servers = json!({"role": "edit", "resource": "servers"});
    for (bindings, status) in
        [(json!([servers]), 403), (json!([servers, {"role": "edit", "resource": "secrets"}]), 200)]
    {
        let applied = rig.manage("POST", "apply", &rule(bindings)).await;
        assert!(applied.status < 300, "{}", applied.body);
        let asked = rig.daemon.send("POST", "/api/v1/servers/s/authorization", &token, &body).await.unwrap();
        assert_eq!(asked.status, status, "{}", asked.body);
    }
    drop(issuer);
}
