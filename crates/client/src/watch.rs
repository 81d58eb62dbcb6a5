//! A watch: what happens to the resources of a kind, as it happens.

use hayward_api::kinds::Descriptor;
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::client::{Ask, Client};
use crate::error::Error;
use crate::lines::Lines;
use crate::resources::Selection;

/// What happens, as it comes.
pub struct Watch(Lines);

/// Something that happened.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// What.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The document; nothing in a bookmark.
    #[serde(default)]
    pub object: Value,
    /// From when a later watch goes on.
    #[serde(default)]
    pub version: u64,
}

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventKind {
    /// It was made, or was there already.
    Added,
    /// It was changed.
    Modified,
    /// It was deleted, or is not to be seen any more.
    Deleted,
    /// Nothing: so far it is all told.
    Bookmark,
}

/// Whether a watch tells where nothing but a status changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statuses {
    /// As [`EventKind::Modified`], without a new version.
    Told,
    /// Not at all.
    Untold,
}

impl Client {
    /// Watches a kind from a version on; without one, what is there comes first.
    pub async fn watch(
        &self,
        kind: &Descriptor,
        selection: &Selection,
        (from, statuses): (Option<u64>, Statuses),
    ) -> Result<Watch, Error> {
        let mut url = self.list_url(kind, selection);
        url.query_pairs_mut().append_pair("watch", "true");
        if statuses == Statuses::Told {
            url.query_pairs_mut().append_pair("status", "true");
        }
        if let Some(version) = from {
            url.query_pairs_mut().append_pair("resourceVersion", &version.to_string());
        }
        let response = self.send(Ask::new(Method::GET, url)).await?;
        Ok(Watch(Lines::new(response, self.address().to_string())))
    }
}

impl Watch {
    /// What happens next; none when the server ends the watch. Cancellation-safe.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        self.0.next().await
    }
}
