//! Following a list: lines of JSON, as things change, until the client leaves or may no more.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use hayward_api::Caller;
use hayward_api::kinds::Descriptor;
use hayward_auth::Visible;
use hayward_store::{Change, ListScope, Snapshot, Watch};
use serde_json::{Value, json};
use tokio::sync::watch as signal;
use tokio::time::Interval;

use crate::guarded::{Allowed, named};
use crate::plane::{Plane, Watching};
use crate::refusal::Refusal;
use crate::wire::asked::Asked;
use crate::wire::lines::{Lines, heartbeat, place, streamed};
use crate::wire::page::Filter;
use crate::wire::show::{shown, shown_then};

/// `GET /{kind}?watch=true`.
pub(crate) async fn watch(asked: Asked, allowed: Allowed, filter: Filter) -> Result<Response, Refusal> {
    let (kind, from) = (asked.kind()?, asked.query.number("resourceVersion")?);
    if asked.query.get("fields").is_some() {
        return Err(Refusal::invalid("a watch tells whole documents").hint("leave out `fields`"));
    }
    let (plane, caller) = (Arc::clone(&asked.plane), asked.caller.clone());
    let place = place(&asked)?;
    asked
        .look(async move {
            let shown = plane.guarded.shown_to(&caller, kind);
            let (waiting, from) = match from {
                Some(from) => (VecDeque::new(), from),
                None => beginning(&plane, &allowed, (kind, &filter)).await?,
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
) -> Result<(VecDeque<Bytes>, u64), Refusal> {
    let listed = plane.guarded.list(allowed, ListScope::All).await?;
    let documents =
        listed.items.iter().map(|resource| (shown(kind, resource), resource.metadata.resource_version));
    let mut lines = Vec::new();
    for (document, version) in documents.filter(|(document, _)| filter.takes(document)) {
        lines.extend_from_slice(&line("ADDED", &document, version));
    }
    lines.extend_from_slice(&bookmark(listed.revision));
    Ok((VecDeque::from([lines.into()]), listed.revision))
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
                change = self.changes.next() => self.take(&*change.ok()?),
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
                self.waiting.push_back(line(word, &document, self.version));
            }
        }
        Some(())
    }

    /// Notes a change, if it is for this caller and this list.
    fn take(&mut self, change: &Change) {
        self.version = change.revision;
        if change.kind != self.kind.name {
            return;
        }
        let is_seen = self.plane.guarded.sees(&self.caller, self.kind, &change.name, change.scope.as_deref());
        let taken = |snapshot: &Option<Snapshot>| -> Option<Value> {
            let document = shown_then(self.kind, snapshot.as_ref()?);
            (is_seen && self.filter.takes(&document)).then_some(document)
        };
        let line = match (taken(&change.before), taken(&change.after)) {
            (None, Some(after)) => line("ADDED", &after, change.revision),
            (Some(_), Some(after)) => line("MODIFIED", &after, change.revision),
            (Some(before), None) => line("DELETED", &before, change.revision),
            (None, None) => return,
        };
        self.waiting.push_back(line);
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
