//! Prompts of a project, and requests that become prompts.

use std::sync::Arc;

use axum::response::Response;
use hayward_api::document::is_builtin;
use hayward_auth::Verb;
use hayward_store::{Deletion, Key, ListScope, Resource};
use http::StatusCode;
use serde_json::{Value, json};

use crate::guarded::named;
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, json};
use crate::wire::finish::{begin, conflict, finish};
use crate::wire::kind;
use crate::wire::prepare::Prepared;
use crate::wire::show::shown;

/// Prompts of the project and of the whole system that the caller may see. What is built in is for the gate, not for this.
async fn prompts(asked: &Asked, project: &Resource) -> Result<Vec<Resource>, Refusal> {
    let (guarded, prompt) = (&asked.plane.guarded, kind("prompt")?);
    let name = project.metadata.name.as_str();
    let mut prompts = guarded.visible(&asked.caller, prompt, ListScope::Project(name)).await?;
    let of_system = guarded.visible(&asked.caller, prompt, ListScope::System).await?;
    let is_own = |found: &Resource| !is_builtin(prompt, found.metadata.name.as_str(), None);
    prompts.extend(of_system.into_iter().filter(is_own));
    let priority =
        |prompt: &Resource| prompt.spec.get("priority").and_then(Value::as_u64).unwrap_or_default();
    prompts.sort_by_key(|prompt| (std::cmp::Reverse(priority(prompt)), prompt.metadata.name.clone()));
    Ok(prompts)
}

/// `GET /projects/{id}/prompts/visible`.
pub(crate) async fn visible(asked: Asked) -> Result<Response, Refusal> {
    let (_, project) = asked.may_this(Verb::View).await?;
    let (prompt, request) = (kind("prompt")?, kind("promptrequest")?);
    let mut told: Vec<Value> =
        prompts(&asked, &project).await?.iter().map(|found| shown(prompt, found)).collect();
    if let Some(session) = asked.query.get("session") {
        let scope = ListScope::Project(project.metadata.name.as_str());
        let pending = asked.plane.guarded.visible(&asked.caller, request, scope).await?;
        let of_session = pending.iter().map(|found| shown(request, found)).filter(|found| {
            ["createdBySession", "session"]
                .iter()
                .any(|member| found.get(member).and_then(Value::as_str) == Some(session))
        });
        told.extend(of_session.map(|mut found| {
            found["pending"] = true.into();
            found
        }));
    }
    asked.look(async move { json(StatusCode::OK, &told) }).await
}

/// `GET /projects/{id}/prompt-index`.
pub(crate) async fn index(asked: Asked) -> Result<Response, Refusal> {
    let (_, project) = asked.may_this(Verb::View).await?;
    let prompts = prompts(&asked, &project).await?;
    asked
        .look(async move {
            let line = |prompt: &Resource| {
                let member = |name: &str| prompt.spec.get(name).cloned();
                json!({
                    "name": prompt.metadata.name, "project": prompt.metadata.scope, "priority": member("priority"),
                    "summary": member("summary"), "chapters": member("chapters"), "link": member("link"),
                })
            };
            json(StatusCode::OK, &prompts.iter().map(line).collect::<Vec<_>>())
        })
        .await
}

/// `POST /promptrequests/{id}/approve`: the request is gone and the prompt is there, or neither.
pub(crate) async fn approve(asked: Asked) -> Result<Response, Refusal> {
    let (may_delete, request) = asked.may_this(Verb::Delete).await?;
    let (prompt, from) = (kind("prompt")?, asked.kind()?);
    let (name, project) = named(&request);
    let may_create = asked.may_named(Verb::Create, prompt, (name, project)).await?;
    let (is_dry, if_match, plane) = (asked.query.is_dry_run()?, asked.if_match()?, Arc::clone(&asked.plane));
    // What becomes a prompt is what was read here, and nothing that somebody wrote since.
    let version = if_match.unwrap_or(request.metadata.resource_version);
    let mut wanted = json!({ "name": name, "project": project, "labels": request.metadata.labels });
    for member in ["content", "priority", "link"] {
        if let Some(value) = request.spec.get(member) {
            wanted[member] = value.clone();
        }
    }
    if project.is_none() {
        wanted.as_object_mut().map(|members| members.shift_remove("project"));
    }
    let prepared = Prepared::read(prompt, wanted)?;
    let said = [("name", name.into()), ("project", project.into())];
    let document = asked
        .change(said, async move {
            let (name, scope) = named(&request);
            let mut change = begin(&plane, &[&may_delete, &may_create]).await?;
            let key = Key { kind: from, scope, name };
            let deleted = change.delete(&may_delete, &key, Some(version), Deletion::Refuse).await;
            deleted.map_err(|error| conflict(error, if_match))?;
            let (made, _) = prepared.create(&mut change, &may_create, None).await?;
            finish(change, is_dry).await?;
            Ok(shown(prompt, &made))
        })
        .await?;
    json(StatusCode::CREATED, &document)
}
