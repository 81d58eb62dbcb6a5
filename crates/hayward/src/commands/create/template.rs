//! `--from-template`: what a template says of a server, with what the flags say in its place.

use clap::{Arg, ArgMatches, Command};
use hayward_api::kinds::template::address;
use hayward_api::kinds::{Descriptor, find};
use hayward_client::{Client, Target};
use serde_json::{Value, json};

use crate::documents::stripped;
use crate::failure::Failure;
use crate::words::usage;

/// The kind that templates are for.
const SERVER: &str = "server";

/// Members of a template that say what it is, and not what its servers are.
const OF_TEMPLATE: [&str; 4] = ["name", "version", "labels", "annotations"];

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
    let (word, version) = address(named);
    let live = client.get(Target { kind: template_kind, word, project: None }).await?;
    let template = stripped(template_kind, &live);
    let found = template.get("version").and_then(Value::as_str).unwrap_or_default();
    if version.is_some_and(|wanted| wanted != found) {
        return Err(usage(format!(
            "template `{word}` has version `{found}`, not `{}`",
            version.unwrap_or_default()
        )));
    }
    let source = json!({ "template": word, "version": found, "snapshot": template });
    let mut server = merged(&template, said)?;
    if let Some(members) = server.as_object_mut() {
        members.insert("source".to_owned(), source);
    }
    Ok(server)
}

/// The template with what was said in the place of its members; of the environment, variable by variable.
fn merged(template: &Value, said: Value) -> Result<Value, Failure> {
    let mut members = template.as_object().cloned().unwrap_or_default();
    members.retain(|member, _| !OF_TEMPLATE.contains(&member.as_str()));
    let variables = members.shift_remove("env");
    let Value::Object(mut said) = said else { return Ok(Value::Object(members)) };
    let env = environment(variables.as_ref(), said.shift_remove("env").as_ref())?;
    members.extend(said);
    if !env.is_empty() {
        members.insert("env".to_owned(), Value::Array(env));
    }
    Ok(Value::Object(members))
}

fn entries(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// What was said, and of the template what has a value; what has to be said and wasn't is an error.
fn environment(template: Option<&Value>, said: Option<&Value>) -> Result<Vec<Value>, Failure> {
    let is_said = |name: &Value| entries(said).any(|entry| entry.get("name") == Some(name));
    let mut env = Vec::new();
    for variable in entries(template) {
        let name = variable.get("name").unwrap_or(&Value::Null);
        if is_said(name) {
            continue;
        }
        let value = variable.get("value").or_else(|| variable.get("defaultValue"));
        match (value, variable.get("valueFrom")) {
            (_, Some(from)) => env.push(json!({ "name": name, "valueFrom": from })),
            (Some(value), None) => env.push(json!({ "name": name, "value": value })),
            (None, None) if variable.get("required") == Some(&Value::Bool(true)) => {
                let shown = name.as_str().unwrap_or_default();
                let about =
                    variable.get("description").and_then(Value::as_str).unwrap_or("it has no default");
                return Err(usage(format!("the template needs a value of `{shown}`: {about}"))
                    .hint(format!("say `--env {shown}=…`, or `--env {shown}=secretRef:NAME/KEY`")));
            }
            (None, None) => {}
        }
    }
    env.extend(entries(said).cloned());
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_has_the_say_over_the_template() {
        let template = json!({"name": "t", "version": "1.0.0", "packageName": "p", "env": [
            {"name": "A", "defaultValue": "1"}, {"name": "B", "required": true}, {"name": "C", "description": "x"}]});
        let said = json!({"name": "ha", "replicas": 2, "env": [{"name": "B", "value": "3"}]});
        let expect = json!({"packageName": "p", "name": "ha", "replicas": 2,
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]});
        assert_eq!(merged(&template, said).unwrap(), expect);
        let failure = merged(&template, json!({"name": "ha"})).unwrap_err();
        assert!(failure.error.to_string().contains("`B`") && failure.hint.is_some());
    }
}
