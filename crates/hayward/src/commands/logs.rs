//! `hayward logs`: what an instance of a server prints.

use std::io;

use anyhow::anyhow;
use hayward_api::Code;
use hayward_api::kinds::{instance, server};
use hayward_client::{Client, LogPart, Selection, Target};
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{data, plain, tell, written};
use crate::server::{ServerArgs, block_on};

/// Shows what a server prints beside its protocol: the last lines of one of its instances.
///
/// Of a server with several instances it is the first one, unless `--index` says another. What would steer a terminal is
/// taken out.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Server or instance
    name: String,

    /// Goes on with what comes, until the instance ends
    #[arg(long, short)]
    follow: bool,

    /// Only so many of the last lines
    #[arg(long, short, value_name = "LINES")]
    tail: Option<u64>,

    /// Which of the copies of the server, from 0
    #[arg(long, short, value_name = "REPLICA")]
    index: Option<u32>,

    /// Those of the instance that ended before this one
    #[arg(long, conflicts_with = "follow")]
    previous: bool,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    block_on(async {
        let instance = meant(&client, args).await?;
        let part = LogPart { tail: args.tail, is_previous: args.previous };
        if !args.follow {
            let lines = client.logs(&instance, part).await?;
            if lines.is_empty() {
                silent(&client, &instance).await;
            }
            return written(lines.iter().try_for_each(|line| shown(&line.text)));
        }
        let mut lines = client.follow_logs(&instance, part).await?;
        while let Some(line) = lines.next().await? {
            written(shown(&line.text))?;
        }
        ended(&client, &instance).await;
        Ok(())
    })
}

/// Tells of an instance that printed nothing how it is.
async fn silent(client: &Client, id: &str) {
    let (phase, reason) = state(client, id).await;
    let phase = phase.map(|phase| format!("; it is {phase}")).unwrap_or_default();
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    tell(&(plain(&format!("note: nothing was printed{phase}{reason}")) + "\n"));
}

/// Tells how an instance ended whose log is at its end, or that it isn't known why there is no more of it.
async fn ended(client: &Client, id: &str) {
    let told = match client.get(Target { kind: &instance::DESCRIPTOR, word: id, project: None }).await {
        Err(error) if error.code() == Code::NotFound => "the instance has ended".to_owned(),
        Ok(found) if is_over(&found) => {
            let reason = found.pointer("/status/reason").and_then(Value::as_str);
            format!(
                "the instance has ended{}",
                reason.map(|reason| format!(": {reason}")).unwrap_or_default()
            )
        }
        Ok(_) | Err(_) => "nothing more of the log came; the instance may run on".to_owned(),
    };
    tell(&(plain(&format!("note: {told}")) + "\n"));
}

/// Whether an instance has ended, or is about to.
fn is_over(instance: &Value) -> bool {
    let phase = instance.pointer("/status/phase").and_then(Value::as_str);
    phase.is_some_and(|phase| ["STOPPED", "STOPPING", "ERROR"].contains(&phase))
}

/// What an instance does, and what is the matter with it, if it is still known.
async fn state(client: &Client, id: &str) -> (Option<String>, Option<String>) {
    let found = client.get(Target { kind: &instance::DESCRIPTOR, word: id, project: None }).await;
    let of = |path: &str| found.as_ref().ok()?.pointer(path)?.as_str().map(ToOwned::to_owned);
    (of("/status/phase"), of("/status/reason"))
}

/// Why a server has no instances, in its own words.
async fn why_none(client: &Client, server: &str) -> Option<String> {
    let found = client.get(Target { kind: &server::DESCRIPTOR, word: server, project: None }).await.ok()?;
    let conditions = found.pointer("/status/conditions")?.as_array()?;
    let ready = conditions.iter().find(|it| it["type"] == "Ready")?;
    ready.get("message")?.as_str().map(|why| format!("server `{server}` has no instances now: {why}"))
}

/// The id of the instance that is meant.
async fn meant(client: &Client, args: &Args) -> Result<String, Failure> {
    let kind = &instance::DESCRIPTOR;
    let selection = Selection { fields: Some(format!("server={}", args.name)), ..Selection::default() };
    let listed = match client.list(kind, &selection).await {
        // A name that is no word of a selector is no server's.
        Err(error) if error.code() == Code::Invalid => Vec::new(),
        listed => listed?.items,
    };
    if let Some(found) = pick(&listed, args.index) {
        return Ok(found);
    }
    if !listed.is_empty() {
        let replica = args.index.unwrap_or_default();
        return Err(none(&format!("server `{}` has no instance {replica} now", args.name)));
    }
    match client.get(Target { kind, word: &args.name, project: None }).await {
        Ok(found) => Ok(text(&found, "id").unwrap_or_else(|| args.name.clone())),
        Err(error) if error.code() == Code::NotFound => {
            let nobody = || format!("no server with instances, and no instance, is called `{}`", args.name);
            Err(none(&why_none(client, &args.name).await.unwrap_or_else(nobody)))
        }
        Err(error) => Err(error.into()),
    }
}

fn none(told: &str) -> Failure {
    let error = anyhow!(plain(told));
    Failure { error, hint: None, exit_code: Code::NotFound.exit_code() }
        .hint("`hayward get instances` shows which there are, and `hayward describe server` why not")
}

/// Of this replica, or of the first one, the newest instance; one that has ended only if there is no other.
fn pick(instances: &[Value], replica: Option<u32>) -> Option<String> {
    let number = |instance: &Value| instance.get("replica").and_then(Value::as_u64).unwrap_or_default();
    let is_meant = |instance: &&Value| replica.is_none_or(|replica| u64::from(replica) == number(instance));
    let meant = instances.iter().filter(is_meant);
    let rank = |instance: &&Value| {
        (number(instance), is_over(instance), std::cmp::Reverse(text(instance, "createdAt")))
    };
    meant.min_by_key(rank).and_then(|instance| text(instance, "id"))
}

fn text(document: &Value, member: &str) -> Option<String> {
    document.get(member).and_then(Value::as_str).map(ToOwned::to_owned)
}

/// A line, without what steers a terminal.
fn shown(line: &str) -> io::Result<()> {
    data(&(plain(&without_colours(line)).replace('\n', " ") + "\n"))
}

/// The text without the sequences by which programs colour what they print, and with blanks for tabs.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !(c.is_ascii_digit() || c == ';'));
        if let Some(end) = end.filter(|end| part[*end..].starts_with('m')) {
            out.push_str(&part[end + 1..]);
        } else {
            out.push_str("\u{1b}[");
            out.push_str(part);
        }
    }
    out.replace('\t', "    ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_instance_of_the_first_replica_is_meant_and_one_that_is_over_last() {
        let one = |id: &str, replica: u32, phase: &str, at: &str| json!({"id": id, "replica": replica, "createdAt": at, "status": {"phase": phase}});
        let all = [
            one("second", 1, "RUNNING", "2026-01-01T00:00:09Z"),
            one("old", 0, "STOPPING", "2026-01-01T00:00:09Z"),
            one("older", 0, "RUNNING", "2026-01-01T00:00:01Z"),
            one("new", 0, "STARTING", "2026-01-01T00:00:05Z"),
        ];
        assert_eq!(pick(&all, None).as_deref(), Some("new"));
        assert_eq!(pick(&all, Some(1)).as_deref(), Some("second"));
        assert_eq!(pick(&all[1..2], None).as_deref(), Some("old"));
        assert_eq!((pick(&all, Some(7)), pick(&[], None)), (None, None));
    }

    #[test]
    fn colours_go_and_what_steers_otherwise_is_no_colour() {
        assert_eq!(without_colours("\u{1b}[1;32mok\u{1b}[0m\tdone"), "ok    done");
        let steering = plain(&without_colours("a\u{1b}[2Jb\u{1b}]0;t\u{7}"));
        assert!(!steering.contains('\u{1b}') && !steering.contains('\u{7}'), "{steering:?}");
    }
}
