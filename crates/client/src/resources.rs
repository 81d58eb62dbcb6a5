//! Resources: looked at, made, changed, deleted, applied.

use hayward_api::kinds::Descriptor;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::client::{Ask, Client};
use crate::error::Error;
use crate::limits::PAGES_MAX;
use crate::link;

/// Which of a kind are meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those of this project; all if there is none.
    pub project: Option<String>,
    /// Those with these labels.
    pub labels: Option<String>,
    /// Those with these members.
    pub fields: Option<String>,
    /// Only these members of each, with its name and its project; all if there are none.
    pub only: Vec<String>,
}

/// One resource.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Its kind.
    pub kind: &'static Descriptor,
    /// Its name or its id.
    pub word: &'a str,
    /// The project that it belongs to.
    pub project: Option<&'a str>,
}

/// How something is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Write {
    /// Whether the server only says what it would do.
    pub is_trial: bool,
    /// The version that has to be there still.
    pub precondition: Option<u64>,
}

/// Documents, and the version of all that they stand for.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// From when a watch goes on; none if it wasn't told.
    pub version: Option<u64>,
    /// The documents.
    pub items: Vec<Value>,
}

/// One change of a resource.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The version that it led to.
    pub version: u64,
    /// What was done.
    pub change: String,
    /// By whom.
    #[serde(default)]
    pub actor: Value,
    /// When.
    pub at: String,
    /// What was there; nothing before it was made.
    #[serde(default)]
    pub before: Value,
    /// What is there since; nothing after it was deleted.
    #[serde(default)]
    pub after: Value,
}

/// How documents are applied.
#[derive(Clone, Debug, Default)]
pub struct Applying {
    /// Whether the server only says what it would do.
    pub is_trial: bool,
    /// Whether what isn't there any more is deleted, of those with these labels.
    pub prune: Option<String>,
    /// Who applies.
    pub manager: Option<String>,
}

/// What came of applying.
#[derive(Clone, Deserialize, Serialize)]
pub struct Applied {
    /// The version that it led to.
    #[serde(default)]
    pub version: Option<u64>,
    /// What came of each.
    pub results: Vec<AppliedOne>,
}

/// What came of applying one document. It has no `Debug`, since it may hold a token.
#[derive(Clone, Deserialize, Serialize)]
pub struct AppliedOne {
    /// The name of its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The project that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What was done.
    pub action: Action,
    /// What was there; only of a trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What would be there; only of a trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// The token that was made, which is shown this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// What is done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// It was so already.
    Unchanged,
    /// It was deleted.
    Deleted,
}

impl Action {
    /// The word that is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

impl Client {
    /// All resources of a kind that are meant, however many pages they fill.
    pub async fn list(&self, kind: &Descriptor, selection: &Selection) -> Result<Listed, Error> {
        let mut listed = Listed::default();
        let mut next: Option<String> = None;
        for _page in 0..PAGES_MAX {
            let mut url = self.list_url(kind, selection);
            if let Some(token) = &next {
                url.query_pairs_mut().append_pair("continue", token);
            }
            let shown = url.to_string();
            let response = self.send(Ask::new(Method::GET, url)).await?;
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            next = header("link").and_then(link::next);
            listed.version =
                listed.version.or(header("x-resource-version").and_then(|text| text.parse().ok()));
            let mut items: Vec<Value> = self.read(shown, response).await?;
            listed.items.append(&mut items);
            if next.is_none() {
                break;
            }
        }
        Ok(listed)
    }

    pub(crate) fn list_url(&self, kind: &Descriptor, selection: &Selection) -> Url {
        let mut url = self.route(&[kind.route]);
        let Selection { project, labels, fields, only } = selection;
        let pairs = [("project", project), ("labelSelector", labels), ("fieldSelector", fields)];
        for (name, value) in pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            url.query_pairs_mut().append_pair(name, value);
        }
        if !only.is_empty() {
            url.query_pairs_mut().append_pair("fields", &only.join(","));
        }
        url
    }

    /// One resource.
    pub async fn get(&self, target: Target<'_>) -> Result<Value, Error> {
        self.fetch(Ask::new(Method::GET, self.target_url(target, &[]))).await
    }

    /// One resource, and its version for a later precondition, which the server tells beside it.
    pub async fn get_versioned(&self, target: Target<'_>) -> Result<(Value, Option<u64>), Error> {
        let url = self.target_url(target, &[]);
        let shown = url.to_string();
        let response = self.send(Ask::new(Method::GET, url)).await?;
        let tag = response.headers().get("etag").and_then(|value| value.to_str().ok());
        let version = tag.and_then(|tag| tag.trim_start_matches("W/").trim_matches('"').parse().ok());
        Ok((self.read(shown, response).await?, version))
    }

    /// A secret, its values sealed to this public key (X25519, base64).
    pub async fn sealed(&self, target: Target<'_>, key: &str) -> Result<Value, Error> {
        let mut url = self.target_url(target, &[]);
        url.query_pairs_mut().append_pair("sealTo", key);
        self.fetch(Ask::new(Method::GET, url)).await
    }

    fn target_url(&self, target: Target<'_>, below: &[&str]) -> Url {
        let segments = [&[target.kind.route, target.word][..], below].concat();
        let mut url = self.route(&segments);
        if let Some(project) = target.project {
            url.query_pairs_mut().append_pair("project", project);
        }
        url
    }

    /// Makes a resource; what was made, with what is shown this once only.
    pub async fn create(&self, kind: &Descriptor, document: &Value, write: Write) -> Result<Value, Error> {
        self.write(Method::POST, self.route(&[kind.route]), Some(document), write).await
    }

    /// Puts a document in the place of a resource.
    pub async fn replace(&self, target: Target<'_>, document: &Value, write: Write) -> Result<Value, Error> {
        self.write(Method::PUT, self.target_url(target, &[]), Some(document), write).await
    }

    /// Changes members of a resource (RFC 7396).
    pub async fn patch(&self, target: Target<'_>, patch: &Value, write: Write) -> Result<Value, Error> {
        self.write(Method::PATCH, self.target_url(target, &[]), Some(patch), write).await
    }

    /// Deletes a resource.
    pub async fn delete(&self, target: Target<'_>, write: Write) -> Result<(), Error> {
        self.remove(self.target_url(target, &[]), write).await
    }

    /// Deletes a resource, and takes it out of what refers to it.
    pub async fn detach(&self, target: Target<'_>, write: Write) -> Result<(), Error> {
        let mut url = self.target_url(target, &[]);
        url.query_pairs_mut().append_pair("detach", "true");
        self.remove(url, write).await
    }

    async fn remove(&self, url: Url, write: Write) -> Result<(), Error> {
        let ask = writing(Method::DELETE, url, None, write);
        // What it answers, if anything, is of no matter.
        self.send(ask).await.map(drop)
    }

    async fn write(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
        write: Write,
    ) -> Result<Value, Error> {
        self.fetch(writing(method, url, body, write)).await
    }

    /// Every change of a resource, the first one first.
    pub async fn history(&self, target: Target<'_>) -> Result<Vec<Change>, Error> {
        self.fetch(Ask::new(Method::GET, self.target_url(target, &["history"]))).await
    }

    /// Makes a resource what it was at a version.
    pub async fn revert(&self, target: Target<'_>, version: u64, write: Write) -> Result<Value, Error> {
        let body = json!({ "to": version });
        self.write(Method::POST, self.target_url(target, &["revert"]), Some(&body), write).await
    }

    /// Applies documents, in lists by the plural of their kinds: all of them or none.
    pub async fn apply(&self, lists: &Value, applying: &Applying) -> Result<Applied, Error> {
        let mut url = self.route(&["apply"]);
        let Applying { is_trial, prune, manager } = applying;
        let pairs = [
            is_trial.then_some(("dryRun", "server")),
            prune.as_ref().map(|_| ("prune", "true")),
            prune.as_ref().map(|labels| ("labelSelector", labels.as_str())),
            manager.as_ref().map(|manager| ("manager", manager.as_str())),
        ];
        for (name, value) in pairs.into_iter().flatten() {
            url.query_pairs_mut().append_pair(name, value);
        }
        self.fetch(Ask::new(Method::POST, url).json(lists)).await
    }
}

fn writing(method: Method, mut url: Url, body: Option<&Value>, write: Write) -> Ask {
    if write.is_trial {
        url.query_pairs_mut().append_pair("dryRun", "server");
    }
    let is_patch = method == Method::PATCH;
    let mut ask = Ask::new(method, url);
    if let Some(body) = body {
        ask = ask.json(body);
    }
    ask.if_match = write.precondition;
    if is_patch {
        ask.content_type = "application/merge-patch+json";
    }
    ask
}
