//! `--from-template`: what a template says of a server, with what the flags say in its place.

use clap::{Arg, ArgMatches, Command};
use hayward_api::kinds::{Descriptor, find};
use hayward_client::{Client, Target};
use serde_json::Value;

use crate::documents::stripped;
use crate::failure::Failure;
use crate::words::usage;

/// The kind that templates are for.
const SERVER: &str = "server";

/// Members of a template that say what it is, and not what its servers are.
const OF_TEMPLATE: [&str; 5] = ["name", "version", "labels", "annotations", "source"];

/// The flag, for servers.
pub(super) fn flag(command: Command, kind: &Descriptor) -> Command {
    if kind.name != SERVER {
        return command;
    }
    let flag = Arg::new("from-template").long("from-template").value_name("NAME[:VERSION]");
    command.arg(flag.help("Template whose members it takes over; flags beside it have the say"))
}

/// The document, filled up from the template that was named, if one was.
pub(super) async fn filled(
    client: &Client,
    kind: &Descriptor,
    matches: &ArgMatches,
    said: Value,
) -> Result<Value, Failure> {
    let named = matches.try_get_one::<String>("from-template").ok().flatten();
    let (Some(named), Some(template_kind)) = (named.filter(|_| kind.name == SERVER), find("template")) else {
        return Ok(said);
    };
    let (word, version) = match named.split_once(':') {
        Some((word, version)) => (word, Some(version)),
        None => (named.as_str(), None),
    };
    let live = client.get(Target { kind: template_kind, word, project: None }).await?;
    let template = stripped(template_kind, &live);
    let found = spec_version(&template);
    if let Some(wanted) = version
        && found != Some(wanted)
    {
        let found = found.unwrap_or("none");
        return Err(usage(format!("template `{word}` has version `{found}`, not `{wanted}`")));
    }
    Ok(merged(template, said))
}

/// The version that the template says of itself.
fn spec_version(template: &Value) -> Option<&str> {
    ["templateVersion", "version"].iter().find_map(|member| template.get(member).and_then(Value::as_str))
}

/// The template with what was said in the place of its members; of the environment, variable by variable.
fn merged(template: Value, said: Value) -> Value {
    let (Value::Object(mut members), Value::Object(said)) = (template, said) else { return Value::Null };
    members.retain(|member, _| !OF_TEMPLATE.contains(&member.as_str()) && member != "templateVersion");
    for (member, value) in said {
        match (members.get_mut(&member), value) {
            (Some(Value::Array(entries)), Value::Array(said)) if member == "env" => {
                let names = |entry: &Value| entry.get("name").cloned();
                entries.retain(|entry| !said.iter().any(|one| names(one) == names(entry)));
                entries.extend(said);
            }
            (_, value) => drop(members.insert(member, value)),
        }
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_said_has_the_say_over_the_template() {
        let template = json!({"name": "t", "packageName": "p", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
        let said = json!({"name": "ha", "replicas": 2, "env": [{"name": "B", "value": "3"}]});
        let expect = json!({"packageName": "p", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}], "name": "ha", "replicas": 2});
        assert_eq!(merged(template, said), expect);
    }
}
