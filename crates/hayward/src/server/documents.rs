//! Documents by their names, ids and patterns.

use futures_util::future::try_join_all;
use hayward_api::Code;
use hayward_api::kinds::Descriptor;
use hayward_client::{Client, Error, Selection, Target};
use serde_json::Value;

use crate::documents::name;
use crate::words::{self, Wanted};

/// What there is of what is wanted.
pub(crate) struct Found {
    pub(crate) documents: Vec<Value>,
    /// What the server says of each name that is none.
    pub(crate) missing: Vec<Error>,
}

/// The documents of one kind that are wanted, all of them.
pub(crate) async fn documents(
    client: &Client,
    wanted: &Wanted,
    selection: &Selection,
) -> Result<Vec<Value>, Error> {
    let Found { documents, missing } = found(client, wanted, selection).await?;
    missing.into_iter().next().map_or(Ok(documents), Err)
}

/// The documents of one kind that are wanted, as far as they are there.
pub(crate) async fn found(client: &Client, wanted: &Wanted, selection: &Selection) -> Result<Found, Error> {
    let Wanted { kind, names } = wanted;
    let selects = selection.labels.is_some() || selection.fields.is_some();
    if names.is_empty() || selects || names.iter().any(|name| words::is_pattern(name)) {
        let mut items = client.list(kind, selection).await?.items;
        if !names.is_empty() {
            items.retain(|document| is_wanted(kind, names, document));
        }
        return Ok(Found { documents: items, missing: Vec::new() });
    }
    let project = selection.project.as_deref();
    let each = names.iter().map(async |word| match client.get(Target { kind, word, project }).await {
        Err(error) if error.code() == Code::NotFound => Ok(Err(error)),
        other => other.map(Ok),
    });
    let mut found = Found { documents: Vec::new(), missing: Vec::new() };
    for one in try_join_all(each).await? {
        match one {
            Ok(document) => found.documents.push(document),
            Err(error) => found.missing.push(error),
        }
    }
    Ok(found)
}

/// Whether a document is one of these names, ids or patterns.
pub(crate) fn is_wanted(kind: &Descriptor, names: &[String], document: &Value) -> bool {
    let (own, id) = (name(kind, document), document.get("id").and_then(Value::as_str));
    names.iter().any(|name| words::matches(name, own) || Some(name.as_str()) == id)
}
