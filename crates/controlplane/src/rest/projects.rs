//! What projects have beside what every kind has.

use std::sync::Arc;

use axum::response::Response;
use hayward_api::Code;
use hayward_api::kinds;
use hayward_api::kinds::project::ProjectSpec;
use hayward_auth::Verb;
use hayward_store::{ListScope, Resource};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::attach::{attach as attach_to, detach as detach_from, servers as attached};
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, json, nothing};
use crate::wire::kind;
use crate::wire::show::shown;

/// The servers of a project that the caller may see, by the order of the project.
async fn visible_servers(asked: &Asked, project: &Resource) -> Result<Vec<Resource>, Refusal> {
    let servers = asked.plane.guarded.visible(&asked.caller, kind("server")?, ListScope::System).await?;
    let names = attached(project);
    let by_name =
        |name: &String| servers.iter().find(|server| server.metadata.name.as_str() == name).cloned();
    Ok(names.iter().filter_map(by_name).collect())
}

/// What a project asks for and isn't enforced: it is not handed out as if it were.
fn enforced(project: &Resource) -> Result<(), Refusal> {
    if project.spec::<ProjectSpec>()?.is_served() {
        return Ok(());
    }
    let conditions = (project.descriptor()?.conditions)(&project.spec);
    let reason = conditions.into_iter().find(|condition| condition.kind == kinds::NOT_ENFORCED);
    let reason = reason.map(|condition| condition.message).unwrap_or_default();
    let message = format!("project `{}` is not served: {reason}", project.metadata.name);
    Err(Refusal::new(Code::Conflict, message).hint("accept that by name: `accept: [NotEnforced]`"))
}

/// `GET /projects/{id}/mcp-config`: each server as Claude Code starts it by itself.
pub(crate) async fn mcp_config(asked: Asked) -> Result<Response, Refusal> {
    let (_, project) = asked.may_this(Verb::Expose).await?;
    enforced(&project)?;
    let servers = visible_servers(&asked, &project).await?;
    asked
        .look(async move {
            let entries: Map<String, Value> = servers
                .iter()
                .filter_map(|server| Some((server.metadata.name.to_string(), client_entry(&server.spec)?)))
                .collect();
            json(StatusCode::OK, &json!({ "mcpServers": entries }))
        })
        .await
}

/// A server as an entry of `.mcp.json`; none if no client can start it. Values of secrets stay where they are: the client
/// takes them from variables of the same name.
fn client_entry(spec: &Value) -> Option<Value> {
    let text = |member: &str| spec.get(member).and_then(Value::as_str);
    if let Some(url) = text("externalUrl") {
        let kind = if text("transport") == Some("SSE") { "sse" } else { "http" };
        return Some(json!({ "type": kind, "url": url }));
    }
    let list = |member: &str| -> Vec<Value> {
        spec.get(member).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let env = environment(&list("env"));
    let (command, args) = match (text("dockerImage"), text("packageName")) {
        (Some(image), _) => {
            let mut args: Vec<Value> = ["run", "-i", "--rm"].map(Value::from).into();
            args.extend(env.keys().flat_map(|name| [Value::from("-e"), name.clone().into()]));
            args.push(image.into());
            args.extend(list("command"));
            (Value::from("docker"), args)
        }
        (None, Some(package)) if text("runtime") == Some("python") => ("uvx".into(), vec![package.into()]),
        (None, Some(package)) => ("npx".into(), vec!["-y".into(), package.into()]),
        (None, None) => {
            let mut command = list("command").into_iter();
            (command.next()?, command.collect())
        }
    };
    let args: Vec<Value> = args.into_iter().chain(list("args")).collect();
    Some(json!({ "type": "stdio", "command": command, "args": args, "env": env }))
}

fn environment(entries: &[Value]) -> Map<String, Value> {
    let entry = |entry: &Value| {
        let name = entry.get("name")?.as_str()?.to_owned();
        let value = entry.get("value").cloned().unwrap_or_else(|| format!("${{{name}}}").into());
        Some((name, value))
    };
    entries.iter().filter_map(entry).collect()
}

/// `GET /projects/{id}/instructions`.
pub(crate) async fn instructions(asked: Asked) -> Result<Response, Refusal> {
    let (_, project) = asked.may_this(Verb::View).await?;
    enforced(&project)?;
    let servers = visible_servers(&asked, &project).await?;
    asked
        .look(async move {
            let servers: Vec<Value> = servers
                .iter()
                .map(|server| json!({ "name": server.metadata.name, "description": server.spec.get("description") }))
                .collect();
            let prompt = project.spec.get("prompt").and_then(Value::as_str).unwrap_or_default();
            json(StatusCode::OK, &json!({ "prompt": prompt, "servers": servers }))
        })
        .await
}

/// `GET /projects/{id}/servers`.
pub(crate) async fn servers(asked: Asked) -> Result<Response, Refusal> {
    let (_, project) = asked.may_this(Verb::View).await?;
    let (servers, kind) = (visible_servers(&asked, &project).await?, kind("server")?);
    asked
        .look(async move {
            let servers: Vec<Value> = servers.iter().map(|server| shown(kind, server)).collect();
            json(StatusCode::OK, &servers)
        })
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attach {
    server: String,
}

/// `POST /projects/{id}/servers {"server": NAME}`.
pub(crate) async fn attach(asked: Asked) -> Result<Response, Refusal> {
    let (allowed, project) = asked.may_this(Verb::Edit).await?;
    let Attach { server } = asked.object().await?;
    let (_, server) = asked.may_one(Verb::View, kind("server")?, (&server, None)).await?;
    let (is_dry, plane, server) = (asked.query.is_dry_run()?, Arc::clone(&asked.plane), server.metadata.name);
    let shown = json!({ "project": project.metadata.name, "server": server });
    asked
        .change([("server", server.as_str().into())], async move {
            attach_to(&plane, &allowed, (&project, server.as_str()), is_dry).await
        })
        .await?;
    json(StatusCode::CREATED, &shown)
}

/// `DELETE /projects/{id}/servers/{server}`.
pub(crate) async fn detach(asked: Asked) -> Result<Response, Refusal> {
    let (allowed, project) = asked.may_this(Verb::Edit).await?;
    let server = asked.server_name(asked.part("server")).await?;
    let (is_dry, plane) = (asked.query.is_dry_run()?, Arc::clone(&asked.plane));
    let said = [("server", server.as_str().into())];
    asked
        .change(said, async move { detach_from(&plane, &allowed, (&project, &server), is_dry).await })
        .await?;
    Ok(nothing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_what_a_client_can_start_and_secrets_stay_where_they_are() {
        let env = json!([{"name": "A", "value": "x"}, {"name": "T", "valueFrom": {"secretRef": {"name": "s", "key": "k"}}}]);
        let package = client_entry(&json!({"packageName": "@a/b", "args": ["-v"], "env": env})).unwrap();
        assert_eq!(package["command"], "npx");
        assert_eq!(package["args"], json!(["-y", "@a/b", "-v"]));
        assert_eq!(package["env"], json!({"A": "x", "T": "${T}"}));
        let image = client_entry(&json!({"dockerImage": "a/b:1", "env": env})).unwrap();
        assert_eq!(image["args"], json!(["run", "-i", "--rm", "-e", "A", "-e", "T", "a/b:1"]));
        let remote = client_entry(&json!({"externalUrl": "https://x/mcp", "transport": "SSE"})).unwrap();
        assert_eq!(remote, json!({"type": "sse", "url": "https://x/mcp"}));
        assert_eq!(client_entry(&json!({"placement": "builtin"})), None);
    }
}
