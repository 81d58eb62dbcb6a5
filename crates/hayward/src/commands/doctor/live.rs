//! What a running server answers, asked as its clients ask it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::Value;

use super::{Check, Verdict};
use crate::failure::Failure;
use crate::remote::ask::{Answer, Ask, ask, trusted};
use crate::remote::{Url, token_of};
use crate::stack::VERSION;

/// Seconds that two clocks may be apart.
const CLOCKS_APART: i64 = 30;

/// What a client says first.
const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"hayward-doctor","version":"1"}}}"#;

/// Which server is asked, and as whom.
#[derive(clap::Args)]
pub(super) struct Live {
    /// Asks a running server at this address instead of looking at this machine: health, version, TLS, clock, tokens
    #[arg(long, env = "HAYWARD_URL", value_name = "URL", value_parser = Url::parse)]
    pub(super) url: Option<Url>,

    /// Asks there only whether it answers: for checks that come again and again, since nothing of it is in the record
    #[arg(long, requires = "url")]
    health_only: bool,

    /// File that holds a token to try there
    #[arg(long, env = "HAYWARD_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// File of certificates to trust there, in the place of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Live {
    /// What the server at this address answers.
    pub(super) async fn checks(&self, url: &Url) -> Result<Vec<Check>, Failure> {
        let token = self.token_file.as_deref().map(token_of).transpose()?;
        let trusted =
            trusted(self.ca_file.as_deref()).map_err(|why| Failure::configuration(anyhow::anyhow!(why)))?;
        let asking = Asking { url, trusted };
        let health = match asking.get("/health", None).await {
            Ok(health) => health,
            Err(why) => {
                let hint = way_out(&why);
                return Ok(vec![Check::new("health", Verdict::Failed, why).hint(hint), elsewhere(url)]);
            }
        };
        if self.health_only {
            return Ok(vec![is_healthy(&health)]);
        }
        let mut checks =
            vec![is_healthy(&health), asking.version().await, encryption(url, &health), clock(&health)];
        checks.push(asking.stranger().await);
        match token {
            Some(token) => checks.push(asking.holder(&token).await),
            None => checks
                .push(Check::new("token", Verdict::Ok, "none was tried").hint("name one with --token-file")),
        }
        checks.push(elsewhere(url));
        Ok(checks)
    }
}

/// What was not looked at: a variable that names a server is easily forgotten.
fn elsewhere(url: &Url) -> Check {
    let told = format!("not looked at, nor its data directory and database: `{}` was asked", url.at(""));
    Check::new("machine", Verdict::Ok, told).hint("leave out --url and unset HAYWARD_URL to look at it")
}

/// What to do about a server that can't be asked.
fn way_out(why: &str) -> &'static str {
    match why {
        _ if !why.starts_with("TLS failed") => "is it started, and is this its address?",
        _ if why.contains("CaUsedAsEndEntity") => {
            "its certificate is one of an authority: make one with `basicConstraints=critical,CA:FALSE`"
        }
        _ if why.contains("InvalidContentType") => "if it speaks no TLS, ask with http://",
        _ => "for a certificate of your own give --ca-file",
    }
}

struct Asking<'a> {
    url: &'a Url,
    trusted: Arc<ClientConfig>,
}

impl Asking<'_> {
    async fn get(&self, route: &str, token: Option<&str>) -> Result<Answer, String> {
        ask(self.url, &self.trusted, &Ask { method: "GET", route, token, body: None }).await
    }

    async fn hello(&self, token: Option<&str>) -> Result<Answer, String> {
        ask(self.url, &self.trusted, &Ask { method: "POST", route: "/mcp", token, body: Some(HELLO) }).await
    }

    async fn version(&self) -> Check {
        let answer = self.get("/version", None).await;
        let found = answer.ok().and_then(|answer| serde_json::from_str::<Value>(&answer.body).ok());
        match found.as_ref().and_then(|body| body["version"].as_str()) {
            Some(found) if found == VERSION => Check::new("version", Verdict::Ok, found),
            Some(found) => Check::new("version", Verdict::Warning, format!("{found}, and this is {VERSION}")),
            None => Check::new("version", Verdict::Failed, "it tells none")
                .hint("something else than Hayward answers there"),
        }
    }

    /// Whoever has no token gets nothing.
    async fn stranger(&self) -> Check {
        match self.hello(None).await {
            Ok(answer) if answer.status == 401 => {
                Check::new("strangers", Verdict::Ok, "who has no token is refused")
            }
            Ok(answer) if answer.status == 200 => {
                Check::new("strangers", Verdict::Failed, "who has no token is served")
                    .hint("is something in front that adds one?")
            }
            Ok(answer) => {
                Check::new("strangers", Verdict::Warning, format!("status {} without a token", answer.status))
            }
            Err(why) => Check::new("strangers", Verdict::Failed, why),
        }
    }

    async fn holder(&self, token: &str) -> Check {
        let good = |detail: &str| Check::new("token", Verdict::Ok, detail);
        match self.hello(Some(token)).await {
            Ok(answer) if answer.status == 200 => good("it is accepted, and calls tools"),
            Ok(answer) if [401, 403].contains(&answer.status) => match self
                .get("/admin/tokens", Some(token))
                .await
            {
                Ok(answer) if answer.status == 200 => good("it is accepted, and administers tokens"),
                _ => Check::new("token", Verdict::Failed, format!("it is refused: status {}", answer.status))
                    .hint("it is unknown there, disabled, expired or revoked"),
            },
            Ok(answer) => Check::new("token", Verdict::Failed, format!("status {}", answer.status)),
            Err(why) => Check::new("token", Verdict::Failed, why),
        }
    }
}

fn is_healthy(answer: &Answer) -> Check {
    let is_ok = answer.status == 200 && answer.body.contains("\"ok\"");
    if is_ok {
        return Check::new("health", Verdict::Ok, "it answers");
    }
    Check::new("health", Verdict::Failed, format!("status {}", answer.status))
        .hint("421 and 403 say that it doesn't know this name: see `--allowed-host`")
}

fn encryption(url: &Url, answer: &Answer) -> Check {
    match &answer.tls {
        Some(agreed) => Check::new("tls", Verdict::Ok, agreed.clone()),
        None if url.is_loopback() => Check::new("tls", Verdict::Ok, "none, and it stays on this machine"),
        None => Check::new("tls", Verdict::Warning, "none: tokens cross the network in clear")
            .hint("serve with TLS, or put it behind a proxy that does"),
    }
}

/// Whether its clock and ours agree: tokens expire by the clock.
fn clock(answer: &Answer) -> Check {
    let theirs = answer.header("date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let Some(theirs) = theirs else { return Check::new("clock", Verdict::Ok, "it tells no time") };
    let apart = (theirs.timestamp().as_second() - jiff::Timestamp::now().as_second()).abs();
    if apart <= CLOCKS_APART {
        return Check::new("clock", Verdict::Ok, format!("{apart} s from ours"));
    }
    Check::new("clock", Verdict::Warning, format!("{apart} s from ours"))
        .hint("tokens expire, and records are dated, by the clock")
}
