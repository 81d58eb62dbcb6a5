//! What happened to a resource, and making it what it was.

use std::sync::Arc;

use axum::response::Response;
use hayward_api::Code;
use hayward_api::kinds::Descriptor;
use hayward_auth::Verb;
use hayward_store::{Change, Snapshot, StoreError};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::guarded::Allowed;
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, json};
use crate::wire::finish::{answer, begin, conflict, finish};
use crate::wire::show::shown_then;

/// `GET /{kind}/{id}/history`. What is deleted has a history, too.
pub(crate) async fn history(asked: Asked) -> Result<Response, Refusal> {
    let allowed = may_see_some(&asked).await?;
    let (kind, plane) = (asked.kind()?, Arc::clone(&asked.plane));
    let (word, project) = (asked.part("id").to_owned(), asked.project().map(ToOwned::to_owned));
    asked
        .look(async move {
            let changes = plane.guarded.history(&allowed, (&word, project.as_deref())).await?;
            // What is there, and was not touched for long, has none any more.
            if changes.is_empty() && !plane.guarded.is_visible(&allowed, (&word, project.as_deref())).await {
                return Err(missing(kind, &word));
            }
            let told: Vec<Value> = changes.iter().map(|change| told(kind, change)).collect();
            json(StatusCode::OK, &told)
        })
        .await
}

/// Whoever may see nothing of the kind hears what whoever shows one hears: that it isn't there.
async fn may_see_some(asked: &Asked) -> Result<Allowed, Refusal> {
    match asked.may_some(Verb::View).await {
        Err(refusal) if refusal.error.code == Code::Forbidden => {
            Err(missing(asked.kind()?, asked.part("id")))
        }
        decided => decided,
    }
}

fn missing(kind: &Descriptor, word: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("{} `{}` not found", kind.name, word.escape_debug()))
}

fn told(kind: &Descriptor, change: &Change) -> Value {
    let document =
        |snapshot: &Option<Snapshot>| snapshot.as_ref().map(|snapshot| shown_then(kind, snapshot, None));
    json!({
        "version": change.revision, "change": change.change.as_str(), "actor": change.actor, "at": change.at,
        "before": document(&change.before), "after": document(&change.after),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revert {
    to: u64,
}

/// `POST /{kind}/{id}/revert {"to": VERSION}`.
pub(crate) async fn revert(asked: Asked) -> Result<Response, Refusal> {
    let kind = asked.kind()?;
    asked.known().await?;
    let live = match asked.may_this(Verb::Edit).await {
        Ok(found) => Some(found),
        // It may have been deleted: then it is made again, which is for whoever may make it.
        Err(refusal) if refusal.error.code == Code::NotFound => None,
        Err(refusal) => return Err(refusal),
    };
    let word = asked.part("id").to_owned();
    let (proof, name, project) = if let Some((allowed, resource)) = &live {
        let project = resource.metadata.scope.as_ref().map(ToString::to_string);
        (allowed.clone(), resource.metadata.name.to_string(), project)
    } else {
        let gone = last(&asked, &word).await?;
        (asked.may_named(Verb::Create, kind, (&gone.0, gone.1.as_deref())).await?, gone.0, gone.1)
    };
    let Revert { to } = asked.object().await?;
    let (is_dry, if_match, plane) = (asked.query.is_dry_run()?, asked.if_match()?, Arc::clone(&asked.plane));
    let word = live.as_ref().map_or(word, |(_, resource)| resource.metadata.uid.clone());
    let resource = asked
        .change([("name", name.into())], async move {
            let mut change = begin(&plane, &[&proof]).await?;
            if let Some(version) = if_match {
                let live = change.find(kind, project.as_deref(), &word).await?;
                let current = live.map_or(0, |live| live.metadata.resource_version);
                if current != version {
                    return Err(conflict(
                        StoreError::Conflict { kind: kind.name, name: word, current },
                        if_match,
                    ));
                }
            }
            let mut resource = change.revert(&proof, (kind, &word, project.as_deref()), to).await?;
            finish(change, is_dry).await?;
            // It has happened, whatever else can be told of it.
            plane.guarded.tell_password(&mut resource).await.ok();
            Ok(resource)
        })
        .await?;
    answer(StatusCode::OK, kind, &resource, None)
}

/// The name and the project of what was deleted, if whoever asks may see it.
async fn last(asked: &Asked, word: &str) -> Result<(String, Option<String>), Refusal> {
    let (kind, allowed) = (asked.kind()?, may_see_some(asked).await?);
    let last = asked.plane.guarded.last_change(&allowed, (word, asked.project())).await?;
    last.map(|change| (change.name, change.scope)).ok_or_else(|| missing(kind, word))
}
