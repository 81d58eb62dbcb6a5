//! Following a list: lines of JSON, as things change, until the client leaves or may no more.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use hayward_api::Caller;
use hayward_api::kinds::Descriptor;
use hayward_auth::Visible;
use hayward_store::{Change, ListScope, Snapshot, Watch};
use serde_json::{Value, json};
use tokio::sync::watch as signal;
use tokio::time::{Instant, Interval, sleep_until};

use crate::guarded::{Allowed, named};
use crate::plane::{Plane, Watching};
use crate::refusal::Refusal;
use crate::wire::asked::Asked;
use crate::wire::lines::{Lines, heartbeat, place, streamed};
use crate::wire::page::Filter;
use crate::wire::show::{shown, shown_then};

/// How long statuses are let change further before they are looked at, as they seldom change alone.
const STATUS_PAUSE: Duration = Duration::from_millis(200);

/// `GET /{kind}?watch=true`.
pub(crate) async fn watch(asked: Asked, allowed: Allowed, filter: Filter) -> Result<Response, Refusal> {
    let (kind, from) = (asked.kind()?, asked.query.number("resourceVersion")?);
    if asked.query.get("fields").is_some() {
        return Err(Refusal::invalid("a watch tells whole documents").hint("leave out `fields`"));
    }
    let wants_statuses = asked.query.is_on("status")?;
    let (plane, caller) = (Arc::clone(&asked.plane), asked.caller.clone());
    let place = place(&asked)?;
    asked
        .look(async move {
            let shown = plane.guarded.shown_to(&caller, kind);
            let mut statuses = if wants_statuses {
                Some(Statuses::begin(&plane, kind, from.is_some()).await?)
            } else {
                None
            };
            let (waiting, from) = match from {
                Some(from) => (VecDeque::new(), from),
                None => beginning(&plane, &allowed, (kind, &filter), statuses.as_mut()).await?,
            };
            let changes = plane.guarded.watch(&allowed, from).await?;
            let ticks = heartbeat(&plane);
            let following = Following {
                rules: plane.snapshots.changed(),
                plane,
                caller,
                kind,
                filter,
                changes,
                shown,
                version: from,
                waiting,
                statuses,
                ticks,
                _place: place,
            };
            Ok(streamed(following))
        })
        .await
}

/// All there is, as if it had come just now.
async fn beginning(
    plane: &Plane,
    allowed: &Allowed,
    (kind, filter): (&'static Descriptor, &Filter),
    mut statuses: Option<&mut Statuses>,
) -> Result<(VecDeque<Bytes>, u64), Refusal> {
    let listed = plane.guarded.list(allowed, ListScope::All).await?;
    let documents = listed
        .items
        .iter()
        .map(|resource| (&resource.metadata.uid, shown(kind, resource), resource.metadata.resource_version));
    let mut lines = Vec::new();
    for (uid, document, version) in documents.filter(|(_, document, _)| filter.takes(document)) {
        lines.extend_from_slice(&line("ADDED", &document, version));
        if let Some(statuses) = &mut statuses {
            statuses.shown.insert(uid.clone());
        }
    }
    lines.extend_from_slice(&bookmark(listed.revision));
    Ok((VecDeque::from([lines.into()]), listed.revision))
}

/// Statuses that a watch has told, for one that tells of them.
struct Statuses {
    /// Says that some status is another one.
    changed: signal::Receiver<u64>,
    /// When each was written that was told, by the id of its resource.
    told: HashMap<String, String>,
    /// The ids of what its client knows of: a status may take something into a list, or out of it.
    shown: HashSet<String>,
    /// Whether its client knows of things that nobody here knows of: it went on with an earlier watch.
    goes_on: bool,
    /// When to look again; none while nothing is known to be another one.
    due: Option<Instant>,
}

impl Statuses {
    /// Begins before a list is told. A watch that goes on tells all, as nobody knows what its client was told.
    async fn begin(plane: &Plane, kind: &Descriptor, goes_on: bool) -> Result<Self, Refusal> {
        let changed = plane.guarded.status_changes();
        let told = if goes_on { HashMap::new() } else { plane.guarded.statuses(kind).await? };
        let shown = HashSet::new();
        Ok(Self { changed, told, shown, goes_on, due: goes_on.then(Instant::now) })
    }

    /// Waits until it is to be looked again. Cancellation-safe.
    async fn due(statuses: &mut Option<Self>) {
        let Some(statuses) = statuses else { return std::future::pending().await };
        if statuses.due.is_none() {
            if statuses.changed.changed().await.is_err() {
                return std::future::pending().await;
            }
            statuses.due = Some(Instant::now() + STATUS_PAUSE);
        }
        sleep_until(statuses.due.unwrap_or_else(Instant::now)).await;
    }
}

/// A watch that is open.
struct Following {
    plane: Arc<Plane>,
    caller: Caller,
    kind: &'static Descriptor,
    filter: Filter,
    changes: Watch,
    /// What the caller could see when it was last told of something.
    shown: Visible,
    /// The last revision that was seen.
    version: u64,
    /// Lines that nobody has taken yet.
    waiting: VecDeque<Bytes>,
    /// None if it tells of no status.
    statuses: Option<Statuses>,
    ticks: Interval,
    /// Says that there are other rules, or other credentials.
    rules: signal::Receiver<u64>,
    _place: Watching,
}

impl Lines for Following {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some(line);
            }
            let shutdown = self.plane.shutdown.clone();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                changed = self.rules.changed() => {
                    changed.ok()?;
                    self.may_still().then_some(())?;
                    self.look_anew().await?;
                }
                // A watch that can't go on ends: its client lists again.
                change = self.changes.next() => self.take(&*change.ok()?).await?,
                () = Statuses::due(&mut self.statuses) => self.look_at_statuses().await?,
                _ = self.ticks.tick() => {
                    self.may_still().then_some(())?;
                    self.waiting.push_back(bookmark(self.version));
                }
            }
        }
    }
}

impl Following {
    /// Whether its caller would get it now.
    fn may_still(&self) -> bool {
        let is_known = self.plane.snapshots.is_current(&self.caller);
        is_known && self.plane.guarded.some(&self.caller, hayward_auth::Verb::View, self.kind).is_ok()
    }

    /// Tells of what the caller may see since rules changed, and of what it may see no more; none if that can't be said.
    async fn look_anew(&mut self) -> Option<()> {
        let now = self.plane.guarded.shown_to(&self.caller, self.kind);
        let before = std::mem::replace(&mut self.shown, now);
        if before == self.shown {
            return Some(());
        }
        for resource in self.plane.guarded.stored(self.kind).await.ok()? {
            let (name, project) = named(&resource);
            let document = shown(self.kind, &resource);
            let word = match (before.shows(name, project), self.shown.shows(name, project)) {
                (false, true) => "ADDED",
                (true, false) => "DELETED",
                _ => continue,
            };
            if self.filter.takes(&document) {
                let is_taken = word == "ADDED";
                self.tell(&resource.metadata.uid, (!is_taken, is_taken), (&document, self.version));
            }
        }
        Some(())
    }

    /// Tells of what has another status than it had; none if that can't be said.
    async fn look_at_statuses(&mut self) -> Option<()> {
        let statuses = self.statuses.as_mut()?;
        statuses.due = None;
        let is_first = statuses.goes_on && statuses.told.is_empty();
        let now = self.plane.guarded.statuses(self.kind).await.ok()?;
        let before = std::mem::replace(&mut statuses.told, now);
        let news = statuses.told.iter().filter(|(uid, at)| before.get(*uid) != Some(at));
        let news: Vec<String> = news.map(|(uid, _)| uid.clone()).collect();
        for uid in news {
            let Some(resource) = self.plane.guarded.stored_by_uid(self.kind, &uid).await.ok()? else {
                continue;
            };
            let (name, project) = named(&resource);
            // What is newer than what was told of comes as a change, with its status.
            if resource.metadata.resource_version > self.version {
                continue;
            }
            let is_seen = self.plane.guarded.sees(&self.caller, self.kind, name, project);
            let document = shown(self.kind, &resource);
            let is_taken = is_seen && self.filter.takes(&document);
            // Whoever goes on knows what was there.
            let was_taken = self.was_shown(&uid) || (is_first && is_taken);
            self.tell(&uid, (was_taken, is_taken), (&document, self.version));
        }
        Some(())
    }

    /// Whether a client that is told of statuses knows of this.
    fn was_shown(&self, uid: &str) -> bool {
        self.statuses.as_ref().is_some_and(|statuses| statuses.shown.contains(uid))
    }

    /// Tells of something that was or wasn't in the list, and now is or isn't.
    fn tell(&mut self, uid: &str, (was_taken, is_taken): (bool, bool), (document, version): (&Value, u64)) {
        let word = match (was_taken, is_taken) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return,
        };
        self.waiting.push_back(line(word, document, version));
        if let Some(statuses) = &mut self.statuses {
            if is_taken {
                statuses.shown.insert(uid.to_owned());
            } else {
                statuses.shown.remove(uid);
            }
        }
    }

    /// Notes a change, if it is for this caller and this list; none if its status can't be said.
    async fn take(&mut self, change: &Change) -> Option<()> {
        self.version = change.revision;
        if change.kind != self.kind.name {
            return Some(());
        }
        let status = match &self.statuses {
            Some(_) => self.plane.guarded.status_of(&change.uid).await.ok()?,
            None => None,
        };
        let is_seen = self.plane.guarded.sees(&self.caller, self.kind, &change.name, change.scope.as_deref());
        let of = |snapshot: &Option<Snapshot>| -> Option<Value> {
            Some(shown_then(self.kind, snapshot.as_ref()?, status.as_ref()))
        };
        let is_meant = |document: &Option<Value>| {
            is_seen && document.as_ref().is_some_and(|document| self.filter.takes(document))
        };
        let (before, after) = (of(&change.before), of(&change.after));
        // What is gone has no status any more by which it was in the list.
        let was_taken = match &self.statuses {
            Some(statuses) if !statuses.goes_on => statuses.shown.contains(&change.uid),
            Some(_) | None => self.was_shown(&change.uid) || is_meant(&before),
        };
        let is_taken = is_meant(&after);
        if let Some(document) = if is_taken { after } else { before } {
            self.tell(&change.uid, (was_taken, is_taken), (&document, change.revision));
        }
        Some(())
    }
}

fn line(kind: &str, document: &Value, version: u64) -> Bytes {
    let mut line = json!({"type": kind, "object": document, "version": version}).to_string();
    line.push('\n');
    line.into()
}

/// Where a client can go on.
fn bookmark(version: u64) -> Bytes {
    line("BOOKMARK", &json!({}), version)
}
