//! What projects have beside what every kind has.

use std::sync::Arc;

use axum::response::Response;
use hayward_api::Code;
use hayward_api::kinds;
use hayward_api::kinds::project::ProjectSpec;
use hayward_auth::Verb;
use hayward_store::{ListScope, Resource};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::attach::{attach as attach_to, detach as detach_from, servers as attached};
use crate::plane::Reached;
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

/// `GET /projects/{id}/mcp-config`: how Claude Code reaches the project, all of its servers at once. The token stays where it
/// is: the client takes it from the environment.
pub(crate) async fn mcp_config(asked: Asked) -> Result<Response, Refusal> {
    let (_, project) = asked.may_this(Verb::Expose).await?;
    enforced(&project)?;
    let url = base(&asked)?;
    let name = project.metadata.name;
    asked.look(async move { json(StatusCode::OK, &config(&url, name.as_str())) }).await
}

/// Where the caller reaches this server: as the operator says, or as it did just now.
fn base(asked: &Asked) -> Result<String, Refusal> {
    let Reached { url, scheme } = &asked.plane.reached;
    if let Some(url) = url {
        return Ok(url.clone());
    }
    let host = asked.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| {
        let refusal = Refusal::new(Code::Conflict, "nobody knows where clients reach this server");
        refusal.hint("start it with `--public-url`")
    })?;
    Ok(format!("{scheme}://{host}"))
}

/// A `.mcp.json` with this project of the server at this address.
fn config(url: &str, project: &str) -> Value {
    let entry = json!({
        "type": "http", "url": format!("{url}/projects/{project}/mcp"),
        "headers": { "Authorization": "Bearer ${HAYWARD_TOKEN}" },
    });
    json!({ "mcpServers": { project: entry } })
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
    fn a_client_gets_the_address_of_the_project_and_a_variable_for_its_token() {
        let config = config("https://nas.example.org/base", "home");
        let entry = json!({
            "type": "http", "url": "https://nas.example.org/base/projects/home/mcp",
            "headers": {"Authorization": "Bearer ${HAYWARD_TOKEN}"}});
        assert_eq!(config, json!({"mcpServers": {"home": entry}}));
    }
}
