//! Making and changing one resource.

use std::sync::Arc;

use axum::response::Response;
use hayward_api::document;
use hayward_api::kinds::Descriptor;
use hayward_auth::Verb;
use hayward_store::{Resource, StoreError};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::guarded::{Allowed, named};
use crate::plane::Plane;
use crate::refusal::Refusal;
use crate::wire::asked::Asked;
use crate::wire::finish::{answer, begin, conflict, finish};
use crate::wire::prepare::Prepared;
use crate::wire::show::shown;

/// `POST /{kind}`.
pub(crate) async fn create(asked: Asked) -> Result<Response, Refusal> {
    let kind = asked.kind()?;
    asked.may_some(Verb::Create).await?;
    let is_dry = asked.query.is_dry_run()?;
    let value = placed(kind, asked.value().await?, None, asked.project());
    let mut prepared = Prepared::read(kind, value)?;
    let allowed = asked.may_named(Verb::Create, kind, prepared.named()).await?;
    prepared.ready_for(&asked.plane, None, is_dry).await?;
    let plane = Arc::clone(&asked.plane);
    let said = [("name", prepared.name.clone().into()), ("project", prepared.project.clone().into())];
    let (resource, token) = asked
        .change(said, async move {
            let mut change = begin(&plane, &[&allowed]).await?;
            let made = prepared.create(&mut change, &allowed, None).await?;
            finish(change, is_dry).await?;
            Ok(made)
        })
        .await?;
    let token = token.filter(|_| !is_dry);
    let mut response = answer(StatusCode::CREATED, kind, &resource, token.as_ref())?;
    let location = format!("{}/{}", asked.route.path, resource.metadata.uid);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `PUT /{kind}/{id}`.
pub(crate) async fn replace(asked: Asked) -> Result<Response, Refusal> {
    let kind = asked.kind()?;
    let (allowed, resource) = asked.may_this(Verb::Edit).await?;
    let (if_match, is_dry) = (asked.if_match()?, asked.query.is_dry_run()?);
    let (name, project) = named(&resource);
    let value = placed(kind, asked.value().await?, Some(name), project);
    let mut prepared = Prepared::read(kind, value)?;
    is_same(&prepared, &resource)?;
    prepared.ready_for(&asked.plane, Some(&resource), is_dry).await?;
    let plane = Arc::clone(&asked.plane);
    let resource = asked
        .change([("name", name.into())], async move {
            let mut change = begin(&plane, &[&allowed]).await?;
            let version = if_match.or(prepared.version);
            let resource = change.update(&allowed, version, &prepared.desired(None)).await;
            let resource = resource.map_err(|error| conflict(error, if_match))?;
            finish(change, is_dry).await?;
            Ok(resource)
        })
        .await?;
    answer(StatusCode::OK, kind, &resource, None)
}

/// `PATCH /{kind}/{id}`.
pub(crate) async fn patch(asked: Asked) -> Result<Response, Refusal> {
    let kind = asked.kind()?;
    let (allowed, resource) = asked.may_this(Verb::Edit).await?;
    let (if_match, is_dry) = (asked.if_match()?, asked.query.is_dry_run()?);
    let patch = asked.value().await?;
    let version = document::version(kind, &patch)?;
    let plane = Arc::clone(&asked.plane);
    let name = resource.metadata.name.as_str().into();
    let resource = asked
        .change([("name", name)], async move {
            patched(&plane, (&allowed, &resource), patch, (if_match, version, is_dry)).await
        })
        .await?;
    answer(StatusCode::OK, kind, &resource, None)
}

/// Patches what there is now: read in the change itself, so that nothing comes between.
async fn patched(
    plane: &Plane,
    (allowed, resource): (&Allowed, &Resource),
    mut patch: Value,
    (if_match, version, is_dry): (Option<u64>, Option<u64>, bool),
) -> Result<Resource, Refusal> {
    let kind = resource.descriptor()?;
    let (name, project) = named(resource);
    // What takes long is done before others have to wait.
    let password = Prepared::password_of(plane, kind, name, (&mut patch, is_dry)).await?;
    let mut change = begin(plane, &[allowed]).await?;
    let live = change.find(kind, project, name).await?;
    let live = live.ok_or_else(|| StoreError::NotFound { kind: kind.name, name: name.to_owned() })?;
    let current = live.metadata.resource_version;
    if if_match.or(version).is_some_and(|version| version != current) {
        let error = StoreError::Conflict { kind: kind.name, name: name.to_owned(), current };
        return Err(conflict(error, if_match));
    }
    let document = document::patch(kind, &shown(kind, &live), &patch)?;
    let mut prepared = Prepared::of(kind, document).with(password);
    is_same(&prepared, resource)?;
    prepared.ready_for(plane, Some(&live), is_dry).await?;
    let resource = change.update(allowed, Some(current), &prepared.desired(None)).await?;
    finish(change, is_dry).await?;
    Ok(resource)
}

/// A document with the name and the project that the request names, where it says none itself.
fn placed(kind: &Descriptor, mut value: Value, name: Option<&str>, project: Option<&str>) -> Value {
    if let Some(members) = value.as_object_mut() {
        if let Some(name) = name {
            members.entry(kind.identity).or_insert_with(|| name.into());
        }
        if let Some(project) = project.filter(|_| kind.scope != hayward_api::kinds::Scope::System) {
            members.entry("project").or_insert_with(|| project.into());
        }
    }
    value
}

/// A resource keeps its name.
fn is_same(prepared: &Prepared, resource: &Resource) -> Result<(), Refusal> {
    if prepared.named() == named(resource) {
        return Ok(());
    }
    let (kind, name) = (prepared.kind, &resource.metadata.name);
    let message = format!("the {} is `{name}`, and the document is of `{}`", kind.name, prepared.name);
    Err(Refusal::invalid(message).hint("names and projects don't change: make another one, and delete this"))
}
