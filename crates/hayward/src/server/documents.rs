//! Documents by their names, ids and patterns.

use futures_util::future::try_join_all;
use hayward_api::kinds::Descriptor;
use hayward_client::{Client, Error, Selection, Target};
use serde_json::Value;

use crate::documents::name;
use crate::words::{self, Wanted};

/// The documents of one kind that are wanted.
pub(crate) async fn documents(
    client: &Client,
    wanted: &Wanted,
    selection: &Selection,
) -> Result<Vec<Value>, Error> {
    let Wanted { kind, names } = wanted;
    let selects = selection.labels.is_some() || selection.fields.is_some();
    if names.is_empty() || selects || names.iter().any(|name| words::is_pattern(name)) {
        let mut items = client.list(kind, selection).await?.items;
        if !names.is_empty() {
            items.retain(|document| is_wanted(kind, names, document));
        }
        return Ok(items);
    }
    let project = selection.project.as_deref();
    let each = names.iter().map(|word| client.get(Target { kind, word, project }));
    try_join_all(each).await
}

/// Whether a document is one of these names, ids or patterns.
pub(crate) fn is_wanted(kind: &Descriptor, names: &[String], document: &Value) -> bool {
    let (own, id) = (name(kind, document), document.get("id").and_then(Value::as_str));
    names.iter().any(|name| words::matches(name, own) || Some(name.as_str()) == id)
}
