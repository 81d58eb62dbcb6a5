//! `hayward status`: whether the server answers, who one is there, how everything is.

use hayward_api::Code;
use hayward_client::Error;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::output::columns::text;
use crate::output::{Form, show};
use crate::server::{ServerArgs, block_on};

/// Shows whether the server answers, who one is there, which versions meet, and how everything is.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Form of the output
    #[arg(long, short, value_enum, default_value = "table")]
    output: Form,

    #[command(flatten)]
    server: ServerArgs,
}

/// Somebody who is known nowhere.
const NOBODY: &str = "nobody: run `hayward login`";

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    block_on(async {
        client.alive().await?;
        let me = may_fail(client.me().await)?;
        let health = may_fail(client.health().await)?;
        let status = json!({
            "server": client.address().to_string(),
            "reachable": true,
            "clientVersion": env!("CARGO_PKG_VERSION"),
            "serverVersion": health.as_ref().and_then(|health| health.get("version")).cloned().unwrap_or(Value::Null),
            "user": me.as_ref().unwrap_or(&Value::Null),
            "health": health.as_ref().unwrap_or(&Value::Null),
        });
        show(args.output, &status, || table(&status))
    })
}

/// What may not be asked is none, and no failure.
fn may_fail(asked: Result<Value, Error>) -> Result<Option<Value>, Failure> {
    match asked {
        Err(error) if matches!(error.code(), Code::Unauthenticated | Code::Forbidden | Code::NotFound) => {
            Ok(None)
        }
        asked => Ok(asked.map(Some)?),
    }
}

fn table(status: &Value) -> String {
    let now = jiff::Timestamp::now();
    let member = |path: &str| text(crate::output::path::at(status, path), now);
    let who = match &status["user"] {
        Value::Null => NOBODY.to_owned(),
        me => who(me),
    };
    let mut lines = vec![
        ("Server", format!("{} (reachable)", member("server"))),
        ("Who", who),
        ("Client", member("clientVersion")),
        ("Version", member("serverVersion")),
    ];
    let health = status["health"].as_object().cloned().unwrap_or_default();
    let rest = flat(&health);
    lines.extend(rest.iter().map(|(name, value)| (name.as_str(), text(Some(value), now))));
    let line = |(heading, value): &(&str, String)| format!("{:<16}{value}", format!("{heading}:"));
    lines.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// `user ada@example.org (ADMIN), acted as by root@example.org`.
fn who(me: &Value) -> String {
    let member = |name: &str| me.get(name).and_then(Value::as_str);
    let role = member("role").or_else(|| me.get("user")?.get("role")?.as_str());
    let mut told = format!("{} {}", member("kind").unwrap_or("user"), member("name").unwrap_or("-"));
    if let Some(role) = role {
        told += &format!(" ({role})");
    }
    if let Some(other) = member("impersonator") {
        told += &format!(", acted as by {other}");
    }
    told
}

/// Members of objects one level down, named by both.
fn flat(members: &Map<String, Value>) -> Vec<(String, Value)> {
    let inner = |(name, value): (&String, &Value)| match value {
        Value::Object(below) => {
            below.iter().map(|(inner, value)| (format!("{name}.{inner}"), value.clone())).collect()
        }
        value => vec![(name.clone(), value.clone())],
    };
    members.iter().filter(|(name, _)| *name != "version").flat_map(inner).collect()
}
