//! A directory as the truth: what its files say is applied, and what vanishes from it is deleted.
//!
//! A file that can't be read as what it should be changes nothing: what came from it stays as it was last good, and carries
//! the condition `ManifestBroken`. While there is one, nothing is deleted, as it may say what is missing elsewhere.

mod files;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hayward_api::kinds::Condition;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Caller, Error, Principal, Source, Tier};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::plane::Plane;
use crate::rest::{Applying, Lists, Prune};
use files::{Looked, Read};

/// How often the directory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a failure waits until it is tried again, with nothing changed: this at first, and twice as long each time.
const RETRY: Duration = Duration::from_secs(10);
/// How long at most.
const RETRY_MAX: Duration = Duration::from_mins(5);
/// Who applies.
pub(crate) const MANAGER: &str = "manifests";
/// The condition of what came from a file that can't be read any more.
pub(crate) const BROKEN: &str = "ManifestBroken";

/// How applying went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All files are in force.
    Applied,
    /// Some are, and others are broken.
    Partly,
    /// All that could be read is in force but for what can't be: what is gone and others refer to, and tokens that aren't there.
    Kept,
    /// Nothing changed.
    Failed,
}

/// What is told of the directory.
#[derive(Default)]
pub(crate) struct Told {
    shown: Mutex<Option<Value>>,
    applied: AtomicU64,
    partly: AtomicU64,
    failed: AtomicU64,
}

impl Told {
    /// How it is; none if there is no directory.
    pub(crate) fn shown(&self) -> Option<Value> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, outcome: Outcome, told: Value) {
        let counter = match outcome {
            Outcome::Applied => &self.applied,
            Outcome::Partly | Outcome::Kept => &self.partly,
            Outcome::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }
}

impl Plane {
    /// How often the directory was applied, by what came of it.
    pub fn manifests_applied(&self) -> [(&'static str, u64); 3] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let told = &self.manifests;
        [("ok", count(&told.applied)), ("partly", count(&told.partly)), ("error", count(&told.failed))]
    }
}

/// A directory that is followed.
pub struct Manifests {
    plane: Arc<Plane>,
    dir: PathBuf,
}

impl Manifests {
    /// This directory.
    pub fn new(plane: Arc<Plane>, dir: PathBuf) -> Self {
        Self { plane, dir }
    }

    /// Applies it, and again whenever it changes, until the shutdown.
    pub async fn follow(self, shutdown: CancellationToken) {
        let (mut applied, mut seen, mut retry) = (None, None, None::<tokio::time::Instant>);
        let mut wait = RETRY;
        loop {
            let looked = self.look().await;
            let is_at_rest = seen.as_ref() == Some(&looked);
            seen = Some(looked.clone());
            let is_due = retry.is_some_and(|at| at <= tokio::time::Instant::now());
            // Twice the same: somebody may be in the middle of writing.
            let is_new = is_at_rest && applied.as_ref() != Some(&looked);
            if is_new || is_due {
                let outcome = self.apply().await;
                wait = if is_new { RETRY } else { (wait * 2).min(RETRY_MAX) };
                retry = matches!(outcome, Outcome::Failed | Outcome::Kept)
                    .then(|| tokio::time::Instant::now() + wait);
                applied = Some(looked);
            }
            let pause = tokio::time::sleep(LOOK_INTERVAL);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn look(&self) -> Looked {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || files::look(&dir)).await.unwrap_or_default()
    }

    /// Applies what the directory says now.
    pub async fn apply(&self) -> Outcome {
        let dir = self.dir.clone();
        let read = tokio::task::spawn_blocking(move || files::read(&dir)).await;
        let Ok(Ok(Read { good, broken })) = read else {
            let error = match read {
                Ok(Err(error)) => error.to_string(),
                _ => "it can't be read".to_owned(),
            };
            return self.failed(&error, &[]);
        };
        if good.is_empty() && broken.is_empty() && self.plane.guarded.has_applied(MANAGER).await {
            // As a folder looks that isn't mounted.
            let error =
                "there is no manifest any more; `servers: []` in a file says that nothing is to be there";
            return self.failed(error, &[]);
        }
        let mut lists = Lists::default();
        for (file, list) in good {
            lists.append(&file, list);
        }
        let count = lists.len();
        // What a broken file says nobody knows: what is missing elsewhere may be meant to be there.
        let prune = if broken.is_empty() { Prune::Everything } else { Prune::Nothing };
        let applying = Applying { manager: MANAGER.to_owned(), prune, ..Applying::default() };
        let (decided, recorded) = (operator(), recorded());
        let result = crate::rest::apply_lists(&self.plane, (&decided, recorded), &applying, lists).await;
        let kept = match result {
            Ok(kept) => kept,
            Err(error) => return self.failed(&describe(&error), &broken),
        };
        self.plane.guarded.tell_broken(MANAGER, &conditions(&broken)).await.ok();
        self.done(count, &broken, &kept)
    }

    fn done(&self, count: usize, broken: &[(String, Error)], kept: &[String]) -> Outcome {
        for (file, error) in broken {
            tracing::error!(
                file,
                error = describe(error),
                "a manifest is broken: what came from it stays as it was, and nothing is deleted"
            );
        }
        tracing::info!(objects = count, broken = broken.len(), dir = %self.dir.display(), "manifests were applied");
        let outcome = match (broken, kept) {
            (_, [_, ..]) => Outcome::Kept,
            ([_, ..], []) => Outcome::Partly,
            ([], []) => Outcome::Applied,
        };
        let kept = (!kept.is_empty()).then(|| {
            let kept = kept.join("; ");
            tracing::warn!(kept, "not all is as the manifests say");
            kept
        });
        self.plane.manifests.tell(outcome, self.told(kept.as_deref(), broken, count));
        outcome
    }

    fn failed(&self, error: &str, broken: &[(String, Error)]) -> Outcome {
        tracing::error!(error, dir = %self.dir.display(), "manifests are not applied: everything stays as it was");
        self.plane.manifests.tell(Outcome::Failed, self.told(Some(error), broken, 0));
        Outcome::Failed
    }

    fn told(&self, error: Option<&str>, broken: &[(String, Error)], count: usize) -> Value {
        let mut told = conditions(broken).into_iter().map(|(_, condition)| condition).collect::<Vec<_>>();
        told.extend(
            error.map(|error| Condition::new("ManifestsApplied", "False", "Refused", error.to_owned())),
        );
        let is_ok = broken.is_empty() && error.is_none();
        json!({
            "status": if is_ok { "ok" } else { "degraded" }, "directory": self.dir, "objects": count,
            "at": Timestamp::now().to_string(), "conditions": told,
        })
    }
}

/// What is said of what came from each file.
fn conditions(broken: &[(String, Error)]) -> Vec<(String, Condition)> {
    let condition = |(file, error): &(String, Error)| {
        let message = format!("`{file}`: {}", describe(error));
        (file.clone(), Condition::new(BROKEN, "True", "Unreadable", message))
    };
    broken.iter().map(condition).collect()
}

fn describe(error: &Error) -> String {
    let place = error.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
    let hint = error.hint.as_ref().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    format!("{place}{}{hint}", error.message)
}

/// Whoever keeps the directory is the operator, who may everything.
fn operator() -> Caller {
    let name = MANAGER.to_owned();
    let principal =
        Principal { kind: PrincipalKind::Admin, credential: name.clone(), name, ..Principal::anonymous() };
    caller(principal)
}

/// How the record names it: it is no credential.
fn recorded() -> Caller {
    caller(Principal::local(MANAGER, Tier::Read))
}

fn caller(principal: Principal) -> Caller {
    let request_id = format!("manifests-{}", Timestamp::now().as_millisecond());
    Caller { principal: Arc::new(principal), source: Source::peer(None), request_id: request_id.into() }
}
