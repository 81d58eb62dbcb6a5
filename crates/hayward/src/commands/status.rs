//! `hayward status`: whether the server answers, who one is there, how everything is.

use hayward_api::{Code, Error};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::output::age::rounded;
use crate::output::columns::text;
use crate::output::{Form, show, table as rows_under};
use crate::server::{ServerArgs, block_on};

/// Shows whether the server answers, who one is there, which versions meet, and how everything is.
///
/// Exits with 4 if the token is not valid, and with 5 if no server answers.
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
/// Somebody whose token is refused.
const UNKNOWN: &str = "unknown: the token is not valid";
/// What to do about it.
const RENEW: &str = "check HAYWARD_TOKEN and --token-file, or run `hayward login`";

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    block_on(async {
        client.alive().await?;
        let me = client.me().await;
        let is_invalid = matches!(&me, Err(error) if error.code() == Code::Unauthenticated);
        let invalid =
            if is_invalid && client.has_token() { me.as_ref().err().map(ToString::to_string) } else { None };
        let me = may_fail(me)?;
        let health = may_fail(client.health().await)?;
        let status = json!({
            "server": client.address().to_string(),
            "reachable": true,
            "clientVersion": env!("CARGO_PKG_VERSION"),
            "serverVersion": health.as_ref().and_then(|health| health.get("version")).cloned().unwrap_or(Value::Null),
            "user": me.as_ref().unwrap_or(&Value::Null),
            "health": health.as_ref().unwrap_or(&Value::Null),
        });
        show(args.output, &status, || table(&status, if invalid.is_some() { UNKNOWN } else { NOBODY }))?;
        match invalid {
            Some(told) => Err(Error::new(Code::Unauthenticated, told).with_hint(RENEW).into()),
            None => Ok(()),
        }
    })
}

/// What may not be asked is none, and no failure.
fn may_fail(asked: Result<Value, hayward_client::Error>) -> Result<Option<Value>, Failure> {
    match asked {
        Err(error) if matches!(error.code(), Code::Unauthenticated | Code::Forbidden | Code::NotFound) => {
            Ok(None)
        }
        asked => Ok(asked.map(Some)?),
    }
}

/// What is said for the members of a report on health.
const WORDS: [(&str, &str); 16] = [
    ("status", "Health"),
    ("uptimeSeconds", "Running for"),
    ("servers.total", "Servers"),
    ("servers.ready", "Servers ready"),
    ("servers.notReady", "Servers not ready"),
    ("servers.toolsWait", "Tools to approve of"),
    ("instances.total", "Instances"),
    ("instances.phases", "Instances by phase"),
    ("instances.health", "Instances by health"),
    ("requests", "Requests"),
    ("errors", "Errors"),
    ("errorRate", "Error rate"),
    ("manifests.status", "Manifests"),
    ("manifests.directory", "Manifests from"),
    ("manifests.objects", "Declared there"),
    ("manifests.at", "Applied"),
];

fn table(status: &Value, unknown: &str) -> String {
    let now = jiff::Timestamp::now();
    let member = |path: &str| text(crate::output::path::at(status, path), now);
    let who = match &status["user"] {
        Value::Null => unknown.to_owned(),
        me => who(me),
    };
    let line = |heading: &str, value: String| (heading.to_owned(), value);
    let mut lines = vec![
        line("Server", format!("{} (reachable)", member("server"))),
        line("Who", who),
        line("Client version", member("clientVersion")),
        line("Server version", member("serverVersion")),
    ];
    let health = status["health"].as_object().cloned().unwrap_or_default();
    let rest = flat(&health).into_iter().filter(|(name, _)| !name.ends_with("conditions"));
    lines.extend(rest.map(|(name, value)| (words(&name), told(&name, &value, now))));
    let width = lines.iter().map(|(heading, _)| heading.chars().count()).max().unwrap_or(0) + 3;
    let line = |(heading, value): &(String, String)| format!("{:<width$}{value}\n", format!("{heading}:"));
    lines.iter().map(line).collect::<String>() + &conditions(&health)
}

/// A member in words.
fn words(name: &str) -> String {
    if let Some((_, words)) = WORDS.iter().find(|(member, _)| *member == name) {
        return (*words).to_owned();
    }
    let mut words = String::new();
    for c in name.chars() {
        match c {
            '.' => words.push(' '),
            c if c.is_uppercase() => words.extend([' '].into_iter().chain(c.to_lowercase())),
            c if words.is_empty() => words.extend(c.to_uppercase()),
            c => words.push(c),
        }
    }
    words
}

fn told(name: &str, value: &Value, now: jiff::Timestamp) -> String {
    match (name, value.as_f64()) {
        ("uptimeSeconds", Some(_)) => value.as_u64().map_or_else(|| value.to_string(), rounded),
        ("instances.phases" | "instances.health", _) => counts(value),
        ("servers.notReady", _) => not_ready(value),
        ("errorRate", Some(share)) => format!("{:.1} %", share * 100.0),
        ("manifests.at", _) => format!("{} ago", text(Some(value), now)),
        _ => text(Some(value), now),
    }
}

/// `2 RUNNING, 1 ERROR`.
fn counts(value: &Value) -> String {
    let counts = value.as_object().into_iter().flatten().map(|(word, count)| format!("{count} {word}"));
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() { "-".to_owned() } else { counts.join(", ") }
}

/// `ha (Crashed), docs (Starting)`.
fn not_ready(value: &Value) -> String {
    let member = |server: &Value, name: &str| server[name].as_str().unwrap_or("-").to_owned();
    let servers = value.as_array().into_iter().flatten();
    let servers: Vec<String> =
        servers.map(|server| format!("{} ({})", member(server, "name"), member(server, "reason"))).collect();
    if servers.is_empty() { "-".to_owned() } else { servers.join(", ") }
}

/// Conditions of the server, each with what it says.
fn conditions(health: &Map<String, Value>) -> String {
    let now = jiff::Timestamp::now();
    let conditions = health.get("conditions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if conditions.is_empty() {
        return String::new();
    }
    let row = |condition: &Value| {
        ["type", "status", "reason", "message"].map(|member| text(condition.get(member), now)).to_vec()
    };
    let rows: Vec<Vec<String>> = conditions.iter().map(row).collect();
    format!("\nConditions:\n{}", rows_under(&["TYPE", "STATUS", "REASON", "MESSAGE"], &rows))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_line_up_and_conditions_say_what_they_mean() {
        let condition = json!({
            "type": "ManifestBroken", "status": "True", "reason": "Unreadable", "message": "`a.yaml`: no such member",
        });
        let status = json!({
            "server": "http://x", "clientVersion": "1", "serverVersion": "2",
            "user": {"kind": "user", "name": "ada", "role": "ADMIN"},
            "health": {
                "status": "degraded", "version": "2", "uptimeSeconds": 7205, "errorRate": 0.015,
                "somethingVeryLongThatIsNew": 1, "instances": {"total": 3, "phases": {"RUNNING": 2, "ERROR": 1}},
                "servers": {"total": 2, "notReady": [{"name": "ha", "reason": "Crashed"}]}, "conditions": [condition.clone()],
                "manifests": {"status": "degraded", "conditions": [condition]},
            },
        });
        let told = table(&status, NOBODY);
        let (head, below) = told.split_once("\n\n").unwrap();
        let column = |line: &str| {
            let colon = line.find(": ").unwrap();
            colon + 1 + line[colon + 1..].find(|c| c != ' ').unwrap()
        };
        let columns: Vec<usize> = head.lines().map(column).collect();
        assert!(columns.iter().all(|at| *at == columns[0]), "{told}");
        for expect in ["Running for:", "  2h", "1.5 %", "Something very long that is new:", "Instances:"] {
            assert!(head.contains(expect), "{expect}: {told}");
        }
        assert!(!told.contains("uptimeSeconds") && below.contains("`a.yaml`: no such member"), "{told}");
    }
}
