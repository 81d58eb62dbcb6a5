//! One resource: shown, deleted.

use std::sync::Arc;

use axum::response::Response;
use hayward_auth::{Operation, Verb};
use hayward_store::{Deletion, Key, PublicKey};
use http::StatusCode;

use crate::guarded::named;
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, nothing};
use crate::wire::finish::{answer, begin, conflict, finish};
use crate::wire::seen::{tell_seen, tell_unknown};

/// `GET /{kind}/{id}`.
pub(crate) async fn get(asked: Asked) -> Result<Response, Refusal> {
    let kind = asked.kind()?;
    let (allowed, mut resource) = asked.may_this(Verb::View).await?;
    if let Some(project) = asked.project() {
        asked.project_there(project).await?;
    }
    let seal_to = asked.query.get("sealTo").map(str::parse::<PublicKey>).transpose()?;
    if seal_to.is_some() {
        // Sealed or not, the values leave: that is what a backup is.
        asked.may_operate(Operation::Backup).await?;
    }
    let plane = Arc::clone(&asked.plane);
    asked
        .look(async move {
            if let Some(to) = seal_to {
                resource.spec["data"] = plane.guarded.seal(&allowed, &resource, &to).await?;
            }
            plane.guarded.tell_password(&mut resource).await?;
            match kind.name {
                "server" => tell_seen(&plane, &mut resource),
                "project" => tell_unknown(&plane, &mut resource),
                _ => {}
            }
            answer(StatusCode::OK, kind, &resource, None)
        })
        .await
}

/// `DELETE /{kind}/{id}`. The store knows what is built in, and makes that what it was.
pub(crate) async fn delete(asked: Asked) -> Result<Response, Refusal> {
    let kind = asked.kind()?;
    let (allowed, resource) = asked.may_this(Verb::Delete).await?;
    let (if_match, is_dry) = (asked.if_match()?, asked.query.is_dry_run()?);
    let deletion = if asked.query.is_on("detach")? { Deletion::Detach } else { Deletion::Refuse };
    let plane = Arc::clone(&asked.plane);
    let name = resource.metadata.name.as_str().into();
    asked
        .change([("name", name)], async move {
            let (name, scope) = named(&resource);
            let mut change = begin(&plane, &[&allowed]).await?;
            let deleted = change.delete(&allowed, &Key { kind, scope, name }, if_match, deletion).await;
            deleted.map_err(|error| conflict(error, if_match))?;
            finish(change, is_dry).await
        })
        .await?;
    Ok(nothing())
}
