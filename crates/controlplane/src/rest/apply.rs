//! `POST /apply`: everything as the lists say, in one change: all of it or nothing.
//!
//! ```text
//! lists ─► read each ─► begin ─► for each: live? merged with what was applied last ─► prune ─► verify ─► intent ─► commit ─► outcome
//! ```
//!
//! The intent is written when it is known what becomes of each object, and before any of it has happened. If the time of the
//! request is over by then, nothing happens; after it, it goes on to its end, and the answer says that it may.

mod lists;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::Response;
use hayward_api::selector::Labels;
use hayward_api::{Caller, Code};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::managers;
use crate::plane::Plane;
use crate::ports::{Effect, Managed, recorded};
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, json};
use crate::wire::finish::finish;
pub(crate) use lists::{Item, Lists};
use plan::Planning;

/// The manager of whoever says none.
const MANAGER: &str = "apply";

/// How something is applied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applying {
    /// Whoever applies: what it applied earlier is its own to prune.
    pub(crate) manager: String,
    /// Whether what it applied earlier and doesn't any more is deleted.
    pub(crate) prune: Prune,
    pub(crate) is_dry: bool,
    /// The project of what says none and can have one.
    pub(crate) project: Option<String>,
    /// Set when it is begun: from then on it goes on, whoever waits.
    pub(crate) begun: Arc<AtomicBool>,
    /// Set when the record has heard of it.
    pub(crate) noted: Arc<AtomicBool>,
}

/// What is deleted of what was applied earlier.
#[derive(Clone, Debug, Default)]
pub(crate) enum Prune {
    #[default]
    Nothing,
    Everything,
    /// What has these labels.
    With(Labels),
}

/// What came of an object.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Applied {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) project: Option<String>,
    pub(crate) action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Value>,
    /// A token that was made, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

/// What happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Created,
    Updated,
    Unchanged,
    Deleted,
    /// It is gone from the directory of manifests, and others refer to it.
    Kept,
    /// A token of the directory of manifests that isn't there: nobody would see its secret.
    LeftOut,
}

/// `POST /apply`.
pub(crate) async fn apply(asked: Asked) -> Result<Response, Refusal> {
    asked.known().await?;
    let lists = Lists::read(&asked).await?;
    let labels = asked.query.get("labelSelector").map(Labels::parse).transpose()?;
    let manager = asked.query.get("manager").map(managers::checked).transpose()?;
    let prune = if asked.query.is_on("prune")? {
        if labels.is_none() && manager.is_none() {
            let refusal = Refusal::invalid("`prune` says nothing of what may be deleted");
            return Err(refusal.hint("give `labelSelector`, or a `manager` of your own"));
        }
        labels.map_or(Prune::Everything, Prune::With)
    } else {
        Prune::Nothing
    };
    let applying = Applying {
        manager: manager.unwrap_or(MANAGER).to_owned(),
        prune,
        is_dry: asked.query.is_dry_run()?,
        project: asked.project().map(ToOwned::to_owned),
        begun: Arc::clone(&asked.begun),
        noted: Arc::clone(&asked.noted),
    };
    let who = (&asked.caller, asked.caller.clone());
    let (version, results) = run(&asked.plane, who, &applying, lists).await?;
    let version = version.filter(|_| !applying.is_dry);
    json(StatusCode::OK, &json!({ "version": version, "results": results }))
}

/// Applies lists: who may it is, and who the record names.
pub(crate) async fn run(
    plane: &Arc<Plane>,
    (caller, recorded_as): (&Caller, Caller),
    applying: &Applying,
    lists: Lists,
) -> Result<(Option<u64>, Vec<Applied>), Refusal> {
    let max = usize::try_from(plane.limits.apply_objects_max).unwrap_or(usize::MAX);
    let mut items = lists.prepared(applying, max)?;
    make_ready(plane, (caller, &recorded_as), applying, &mut items).await?;
    let mut planning = Planning::begin(plane, (caller, &recorded_as), applying).await?;
    for item in items {
        planning.take(item).await?;
    }
    planning.prune().await?;
    let (mut change, results) = planning.ended();
    // What can't be done is told before anything is recorded as begun.
    change.check().await?;
    let version = change.revision();
    let managed = Managed {
        name: "apply".to_owned(),
        arguments: told(applying, &results),
        effect: if applying.is_dry { Effect::Look } else { Effect::Change },
    };
    let is_dry = applying.is_dry;
    let work = async move { finish(change, is_dry).await.map_err(|refusal| refusal.error) };
    applying.begun.store(!is_dry, Ordering::Relaxed);
    applying.noted.store(true, Ordering::Relaxed);
    recorded(&*plane.record, recorded_as, managed, work).await?;
    Ok((Some(version), results))
}

/// Makes what is dear ready, when it is decided that the caller may make or change everything that it names. What hashing
/// takes is bounded by count and by time.
async fn make_ready(
    plane: &Plane,
    who: (&Caller, &Caller),
    applying: &Applying,
    items: &mut [Item],
) -> Result<(), Refusal> {
    if !items.iter().any(|item| item.prepared.is_dear()) {
        return Ok(());
    }
    let (passwords, max) =
        (items.iter().filter(|item| item.prepared.has_password()).count(), plane.limits.apply_passwords_max);
    if u64::try_from(passwords).unwrap_or(u64::MAX) > max {
        let message = format!("{passwords} passwords at once: apply up to {max}");
        return Err(Refusal::new(Code::TooLarge, message));
    }
    let mut planning = Planning::begin(plane, who, applying).await?;
    let mut live = Vec::with_capacity(items.len());
    for item in &*items {
        live.push(planning.decide(item).await?.filter(|_| item.prepared.is_dear()));
    }
    drop(planning);
    let work = async {
        for (Item { prepared, place, .. }, live) in items.iter_mut().zip(&live) {
            prepared
                .ready_for(plane, live.as_ref(), applying.is_dry)
                .await
                .map_err(|refusal| Refusal::from(refusal.error.at(place)))?;
        }
        Ok(())
    };
    let patience = Duration::from_millis(plane.limits.answer_timeout_ms);
    let late = |_| Err(Refusal::new(Code::Timeout, "hashing these passwords takes longer than it may"));
    timeout(patience, work).await.unwrap_or_else(late)
}

/// What the record says: what changes comes first, in case that it is more than a record may hold.
fn told(applying: &Applying, results: &[Applied]) -> Value {
    let of = |action: Action| -> Vec<String> {
        let those = results.iter().filter(|result| result.action == action);
        those
            .map(|it| match &it.project {
                Some(project) => format!("{}/{project}/{}", it.kind, it.name),
                None => format!("{}/{}", it.kind, it.name),
            })
            .collect()
    };
    json!({
        "manager": applying.manager, "dryRun": applying.is_dry, "objects": results.len(),
        "deleted": of(Action::Deleted), "created": of(Action::Created), "updated": of(Action::Updated),
        "unchanged": of(Action::Unchanged),
    })
}
