//! `hayward history`: every change of a resource, who made it and when.

use hayward_client::Change;
use jiff::Timestamp;
use serde_json::Value;

use crate::documents::stripped;
use crate::failure::Failure;
use crate::output::age::age;
use crate::output::diff::unified;
use crate::output::{Form, data, plain, show, table, written};
use crate::server::{ProjectArg, ServerArgs, block_on, target};

/// What stands for a version before a resource was made, or after it was deleted.
const NOTHING: &str = "nothing";

/// Shows every change of a resource: who made it, when, and to which version it led.
///
/// `hayward revert` takes one of these versions.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// KIND NAME or KIND/NAME
    #[arg(required = true, value_name = "RESOURCE")]
    words: Vec<String>,

    /// Form of the output
    #[arg(long, short, value_enum, default_value = "table")]
    output: Form,

    /// Shows what each change was, line by line
    #[arg(long)]
    diff: bool,

    #[command(flatten)]
    project: ProjectArg,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (kind, name) = args.project.one(&args.words)?;
    let client = args.server.client()?;
    block_on(async {
        let target = target(&client, (kind, &name), &args.project).await?;
        let changes = client.history(target).await?;
        if args.diff {
            for change in &changes {
                let head =
                    format!("version {} {} by {}\n", change.version, change.change, actor(&change.actor));
                let plainly =
                    |value: &Value| if value.is_null() { Value::Null } else { stripped(kind, value) };
                let (from, to) = headings(&format!("{}/{name}", kind.name), change, &changes);
                let text = unified((&from, &to), &plainly(&change.before), &plainly(&change.after));
                written(text.and_then(|text| data(&plain(&(head + &text + "\n")))))?;
            }
            return Ok(());
        }
        show(args.output, &changes, || rows(&changes))
    })
}

/// What a difference is between: the version before and the one that a change led to.
fn headings(name: &str, change: &Change, all: &[Change]) -> (String, String) {
    let version = |version: u64| format!("{name} version {version}");
    let earlier = all.iter().map(|other| other.version).filter(|other| *other < change.version).max();
    let from = match earlier {
        _ if change.before.is_null() => NOTHING.to_owned(),
        Some(earlier) => version(earlier),
        None => format!("{name} before version {}", change.version),
    };
    (from, if change.after.is_null() { NOTHING.to_owned() } else { version(change.version) })
}

fn rows(changes: &[Change]) -> String {
    let now = Timestamp::now();
    let row = |change: &Change| {
        let when = age(&change.at, now).map_or_else(|| change.at.clone(), |age| format!("{age} ago"));
        vec![change.version.to_string(), change.change.clone(), actor(&change.actor), when, members(change)]
    };
    table(&["VERSION", "CHANGE", "BY", "WHEN", "MEMBERS"], &changes.iter().map(row).collect::<Vec<_>>())
}

/// Who it was: their name, and what they are.
fn actor(actor: &Value) -> String {
    match actor {
        Value::String(name) => name.clone(),
        Value::Object(members) => {
            let member =
                |names: &[&str]| names.iter().find_map(|name| members.get(*name).and_then(Value::as_str));
            let name = member(&["name", "subject", "id"]).unwrap_or("-");
            member(&["kind", "type"]).map_or_else(|| name.to_owned(), |kind| format!("{kind} {name}"))
        }
        _ => "-".to_owned(),
    }
}

/// The members that a change touched.
fn members(change: &Change) -> String {
    let (Value::Object(before), Value::Object(after)) = (&change.before, &change.after) else {
        return "-".to_owned();
    };
    let aside = ["version", "generation", "updatedAt", "status"];
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let touched: Vec<&str> = names
        .filter(|name| before.get(*name) != after.get(*name) && !aside.contains(&name.as_str()))
        .map(String::as_str)
        .collect();
    if touched.is_empty() { "-".to_owned() } else { touched.join(",") }
}
