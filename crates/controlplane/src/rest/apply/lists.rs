//! What is to be applied, as somebody wrote it: keyed lists, or documents that name their kind.

use std::collections::HashSet;

use hayward_api::error::did_you_mean;
use hayward_api::kinds::{self, Descriptor, KINDS, Kept, MadeBy, Scope};
use hayward_api::{Code, Error};
use serde_json::Value;

use super::Applying;
use crate::refusal::Refusal;
use crate::wire::asked::Asked;
use crate::wire::asked::yaml_options;
use crate::wire::prepare::Prepared;

/// Objects to apply.
#[derive(Default)]
pub(crate) struct Lists(Vec<Wanted>);

/// One of them as it was written.
struct Wanted {
    kind: &'static Descriptor,
    value: Value,
    /// Where it stands, e.g. `servers[2]`.
    place: String,
    file: Option<String>,
}

/// One of them, ready.
pub(crate) struct Item {
    pub(crate) prepared: Prepared,
    /// The members that were written, defaults and aliases apart.
    pub(crate) said: HashSet<String>,
    pub(crate) place: String,
    pub(crate) file: Option<String>,
}

impl Lists {
    /// The body of a request: JSON, or YAML with any number of documents.
    pub(crate) async fn read(asked: &Asked) -> Result<Self, Refusal> {
        let mut lists = Self::default();
        if !asked.is_yaml() {
            lists.add(asked.value().await?, None)?;
            return Ok(lists);
        }
        let parse = move |body: &[u8]| {
            let text = std::str::from_utf8(body).map_err(|_| Refusal::invalid("the body is not UTF-8"))?;
            lists.add_text(text, None)?;
            Ok(lists)
        };
        asked.parsed(parse).await
    }

    /// Adds the documents of a text in YAML, of which JSON is a part. Says whether there is any.
    pub(crate) fn add_text(&mut self, text: &str, file: Option<&str>) -> Result<bool, Error> {
        let mut documents: Vec<Value> =
            serde_saphyr::from_multiple_with_options(text, yaml_options(text.len()))
                .map_err(|error| Error::new(Code::Invalid, format!("it is not YAML: {error}")))?;
        documents.retain(|document| !document.is_null());
        let has_some = !documents.is_empty();
        documents.into_iter().try_for_each(|document| self.add(document, file))?;
        Ok(has_some)
    }

    /// Adds one document: lists by the plural of their kinds, or one that names its kind.
    fn add(&mut self, document: Value, file: Option<&str>) -> Result<(), Error> {
        let Value::Object(mut members) = document else {
            let error = Error::new(Code::Invalid, "what is applied is an object");
            return Err(error.with_hint("write keyed lists, e.g. `servers: [{name: …}]`"));
        };
        let file = file.map(ToOwned::to_owned);
        if let Some(kind) = members.get("kind").and_then(Value::as_str).map(known).transpose()? {
            self.0.push(Wanted { kind, value: members.into(), place: kind.name.to_owned(), file });
            return Ok(());
        }
        members.shift_remove("apiVersion");
        for (word, list) in members {
            let kind = known(&word)?;
            let Value::Array(list) = list else {
                return Err(Error::new(Code::Invalid, format!("`{word}` is not a list")).at(&word));
            };
            self.0.extend(list.into_iter().enumerate().map(|(at, value)| Wanted {
                kind,
                value,
                place: format!("{word}[{at}]"),
                file: file.clone(),
            }));
        }
        Ok(())
    }

    /// All of them, in the order in which kinds refer to each other; the first that is wrong is told with its place.
    pub(crate) fn prepared(self, applying: &Applying, max: usize) -> Result<Vec<Item>, Refusal> {
        if self.0.len() > max {
            let message = format!("{} objects at once: apply up to {max}", self.0.len());
            let refusal = Refusal::new(Code::TooLarge, message);
            return Err(
                refusal.hint("apply them in parts, or raise `controlplane.apply_objects_max` of the server")
            );
        }
        let mut items = Vec::with_capacity(self.0.len());
        for Wanted { kind, mut value, place, file } in self.0 {
            if kind.made_by == MadeBy::Reconciliation {
                let error = Error::new(Code::Invalid, format!("{} are made by reconciliation", kind.plural));
                return Err(error.with_hint("set `replicas` of their server").at(&place).into());
            }
            if let (Some(members), Some(project)) = (value.as_object_mut(), &applying.project)
                && kind.scope != Scope::System
            {
                members.entry("project").or_insert_with(|| project.as_str().into());
            }
            let members = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
            let said = members.map(|(name, _)| name.clone()).collect();
            let prepared = Prepared::read(kind, value);
            let prepared = prepared.map_err(|refusal| Refusal::from(refusal.error.at(&place)))?;
            items.push(Item { prepared, said, place, file });
        }
        items.sort_by_key(|item| (item.prepared.kind.kept == Kept::InProjects, item.prepared.kind.order));
        unique(&items)?;
        Ok(items)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts those of a file behind, and the file before each of their places.
    pub(crate) fn append(&mut self, file: &str, other: Self) {
        let of_file = |wanted: Wanted| Wanted { place: format!("{file}: {}", wanted.place), ..wanted };
        self.0.extend(other.0.into_iter().map(of_file));
    }

    /// Those of a file alone, checked as far as they can be by themselves.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for wanted in &self.0 {
            let read = hayward_api::document::read(wanted.kind, wanted.value.clone());
            read.map_err(|error| error.at(&wanted.place))?;
        }
        Ok(())
    }
}

/// The kind that a word means.
fn known(word: &str) -> Result<&'static Descriptor, Error> {
    kinds::find(word).ok_or_else(|| {
        let error = Error::new(Code::Invalid, format!("unknown kind `{}`", word.escape_debug())).at(word);
        match did_you_mean(word, KINDS.iter().map(|kind| kind.plural)) {
            Some(meant) => error.with_hint(format!("did you mean `{meant}`?")),
            None => error.with_hint("write keyed lists, e.g. `servers: [{name: …}]`"),
        }
    })
}

/// Nothing is said twice.
fn unique(items: &[Item]) -> Result<(), Error> {
    let mut seen = std::collections::HashMap::new();
    for item in items {
        let (name, project) = item.prepared.named();
        if let Some(first) = seen.insert((item.prepared.kind.name, project, name), &item.place) {
            let message =
                format!("{} `{name}` is said twice, at {first} and {}", item.prepared.kind.name, item.place);
            return Err(Error::new(Code::Invalid, message).at(&item.place));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_single_documents_are_read_and_what_is_neither_is_told() {
        let mut lists = Lists::default();
        lists
            .add_text("servers:\n- name: a\n  command: [x]\n---\nkind: secret\nname: s\n---\n", None)
            .unwrap();
        let places: Vec<_> = lists.0.iter().map(|wanted| (wanted.kind.name, wanted.place.as_str())).collect();
        assert_eq!(places, [("server", "servers[0]"), ("secret", "secret")]);
        for (bad, hint) in [
            ("serverz: []", "did you mean `servers`?"),
            ("[]", "write keyed lists, e.g. `servers: [{name: …}]`"),
            ("x", "write keyed lists, e.g. `servers: [{name: …}]`"),
        ] {
            let error = Lists::default().add_text(bad, None).unwrap_err();
            assert_eq!(error.hint.as_deref(), Some(hint), "{bad}");
        }
        assert!(Lists::default().add_text("servers: {}", None).is_err());
        assert!(Lists::default().add_text("servers: [", None).is_err());
    }
}
