//! `serverattachments`: which servers are attached to which projects. The lists of projects are the truth.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use hayward_api::document;
use hayward_api::kinds::Descriptor;
use hayward_api::names::ResourceName;
use hayward_api::{Code, Metadata};
use hayward_auth::Verb;
use hayward_store::Resource;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::attach::{attach, detach, servers};
use crate::guarded::Allowed;
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, json, nothing};
use crate::wire::page::{Filter, Page};

/// An attachment as a document.
pub(super) fn shown(kind: &Descriptor, project: &Resource, server: &str) -> Result<Value, Refusal> {
    let name = ResourceName::parse(server).map_err(|error| Refusal::invalid(error.to_string()))?;
    let metadata = Metadata {
        uid: format!("{}.{server}", project.metadata.uid),
        name,
        scope: Some(project.metadata.name.clone()),
        generation: 1,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        owner: None,
        ..project.metadata.clone()
    };
    Ok(document::show(kind, &metadata, json!({}), None))
}

/// An attachment with these members only, and what it is about.
fn some_of(document: &Value, only: &[String]) -> Value {
    let is_meant =
        |member: &str| ["server", "project"].contains(&member) || only.iter().any(|it| it == member);
    let members = document.as_object().into_iter().flatten().filter(|(member, _)| is_meant(member));
    members.map(|(member, value)| (member.clone(), value.clone())).collect::<Map<_, _>>().into()
}

/// `GET /serverattachments`.
pub(crate) async fn list(asked: Asked) -> Result<Response, Refusal> {
    let allowed = asked.may_some(Verb::View).await?;
    if asked.query.is_on("watch")? {
        let refusal = Refusal::invalid("attachments are not watched");
        return Err(refusal.hint("watch projects: their `servers` are what is attached"));
    }
    let (kind, mut filter, page) = (asked.kind()?, Filter::of(&asked).await?, Page::of(&asked)?);
    let of_server = filter.take_server();
    let (plane, caller) = (Arc::clone(&asked.plane), asked.caller.clone());
    asked
        .look(async move {
            let projects = plane.guarded.projects_of_attachments(&allowed).await?;
            let mut rows = Vec::new();
            for project in &projects.items {
                let name = project.metadata.name.as_str();
                let is_meant = |server: &String| {
                    of_server.as_ref().is_none_or(|wanted| server == wanted)
                        && plane.guarded.sees(&caller, kind, server, Some(name))
                };
                for server in servers(project).into_iter().filter(is_meant) {
                    rows.push(((name, server.clone()), shown(kind, project, &server)?));
                }
            }
            rows.sort_by(|a, b| a.0.cmp(&b.0));
            let rows =
                rows.iter().map(|((project, server), document)| ((*project, server.as_str()), document));
            let mut writing = page.begin();
            writing.write(rows, |document, body| {
                let written = match page.only() {
                    None => serde_json::to_writer(body, document),
                    Some(only) => serde_json::to_writer(body, &some_of(document, only)),
                };
                written.map_err(|_| Refusal::invalid("a list can't be written"))?;
                Ok(filter.takes(document))
            })?;
            Ok(page.answer(writing, projects.revision))
        })
        .await
}

/// `POST /serverattachments {server, project}`.
pub(crate) async fn create(asked: Asked) -> Result<Response, Refusal> {
    let kind = asked.kind()?;
    let some = asked.may_some(Verb::Create).await?;
    let is_dry = asked.query.is_dry_run()?;
    let mut value = asked.value().await?;
    if let (Some(members), Some(project)) = (value.as_object_mut(), asked.project()) {
        members.entry("project").or_insert_with(|| project.into());
    }
    if let Some(word) = value.get("server").and_then(Value::as_str).map(ToOwned::to_owned) {
        value["server"] = asked.server_name(&word).await?.into();
    }
    if let Some(word) = value.get("project").and_then(Value::as_str).map(ToOwned::to_owned) {
        value["project"] = asked.plane.guarded.project_name(&asked.caller, &word).await.into();
    }
    let document = document::read(kind, value)?;
    let word = document.project.clone().ok_or_else(|| Refusal::invalid("`project` is missing"))?;
    let server = document.name;
    let found = asked.plane.guarded.project_of_attachment(&some, &word).await;
    // An id stands for its project only to whoever may; to others it is a word like any other.
    let project = match &found {
        Ok(found) => {
            let name = found.metadata.name.as_str();
            let decided = asked.plane.guarded.named(&asked.caller, Verb::Create, kind, (&server, Some(name)));
            if decided.is_ok() { name.to_owned() } else { word }
        }
        Err(_) => word,
    };
    let allowed = asked.may_named(Verb::Create, kind, (&server, Some(&project))).await?;
    let found = found?;
    asked.may_one(Verb::View, crate::wire::kind("server")?, (&server, None)).await?;
    let said = [("server", server.clone().into()), ("project", project.into())];
    let plane = Arc::clone(&asked.plane);
    let document = asked
        .change(said, async move {
            let project = attach(&plane, &allowed, (&found, &server), is_dry).await?;
            shown(kind, &project, &server)
        })
        .await?;
    let mut response = json(StatusCode::CREATED, &document)?;
    let location = format!("{}/{}", asked.route.path, document["id"].as_str().unwrap_or_default());
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /serverattachments/{id}`.
pub(crate) async fn get(asked: Asked) -> Result<Response, Refusal> {
    let (_, project, server) = this(&asked, Verb::View).await?;
    let kind = asked.kind()?;
    asked.look(async move { json(StatusCode::OK, &shown(kind, &project, &server)?) }).await
}

/// `DELETE /serverattachments/{id}`.
pub(crate) async fn delete(asked: Asked) -> Result<Response, Refusal> {
    let (allowed, project, server) = this(&asked, Verb::Delete).await?;
    let (is_dry, plane) = (asked.query.is_dry_run()?, Arc::clone(&asked.plane));
    let said = [("server", server.clone().into()), ("project", project.metadata.name.as_str().into())];
    asked.change(said, async move { detach(&plane, &allowed, (&project, &server), is_dry).await }).await?;
    Ok(nothing())
}

/// The attachment that the path means: `PROJECT_ID.SERVER`, or a server of the `project` of the query.
async fn this(asked: &Asked, verb: Verb) -> Result<(Allowed, Resource, String), Refusal> {
    let kind = asked.kind()?;
    let some = asked.may_some(verb).await?;
    let word = asked.part("id");
    let missing =
        || Refusal::new(Code::NotFound, format!("{} `{}` not found", kind.name, word.escape_debug()));
    let (project, server) = match (asked.project(), word.split_once('.')) {
        (Some(project), _) => (project, word),
        (None, Some(split)) => split,
        (None, None) => return Err(missing().hint("name its project: `?project=NAME`")),
    };
    let unless_missing = |refusal: Refusal| match refusal.error.code {
        Code::NotFound => missing(),
        _ => refusal,
    };
    let project = asked.plane.guarded.project_of_attachment(&some, project).await;
    let project = project.map_err(|error| unless_missing(error.into()))?;
    let name = project.metadata.name.as_str();
    let server = &*asked.server_name(server).await.map_err(unless_missing)?;
    let is_there = servers(&project).iter().any(|known| known == server);
    if !is_there || !asked.plane.guarded.sees(&asked.caller, kind, server, Some(name)) {
        return Err(missing());
    }
    let allowed = asked.may_named(verb, kind, (server, Some(name))).await?;
    Ok((allowed, project.clone(), server.to_owned()))
}
