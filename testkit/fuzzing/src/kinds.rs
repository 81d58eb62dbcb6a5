//! Target `kinds`: documents of every kind. The input is a line with the name of a kind, and a document in JSON.

use hayward_api::document::{self, Document};
use hayward_api::kinds::{Descriptor, KINDS, find};
use hayward_api::metadata::Metadata;
use hayward_api::names::ResourceName;
use hayward_api::selector::{Fields, Labels};
use serde_json::Value;

use crate::headers::line;

pub(crate) fn check(input: &[u8]) {
    let (word, rest) = line(input);
    let Ok(value) = serde_json::from_slice::<Value>(rest) else {
        return check_selectors(&String::from_utf8_lossy(rest));
    };
    let named = std::str::from_utf8(word).ok().and_then(|word| find(word.trim()));
    let kinds = named.map_or(KINDS, |kind| {
        KINDS.iter().find(|it| it.name == kind.name).map_or(KINDS, std::slice::from_ref)
    });
    for kind in kinds {
        match document::read(kind, value.clone()) {
            Ok(document) => check_document(kind, &value, &document),
            Err(error) => assert!(!error.message.is_empty() && error.message.len() < 4096, "{error:?}"),
        }
    }
}

/// Whatever is accepted is canonical, is shown as what it is, and is read as that again.
fn check_document(kind: &Descriptor, written: &Value, document: &Document) {
    let meta = Metadata {
        uid: "u".to_owned(),
        name: ResourceName::parse(document.name.clone()).expect("a name that was accepted"),
        scope: document
            .project
            .clone()
            .map(|name| ResourceName::parse(name).expect("a project that was accepted")),
        generation: 1,
        resource_version: 1,
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        updated_at: String::new(),
        labels: document.labels.clone(),
        annotations: document.annotations.clone(),
        owner: None,
    };
    let mut shown = document::show(kind, &meta, document.spec.clone(), None);
    document::strip(kind, &mut shown);
    let again = document::read(kind, shown.clone()).expect("what was shown is read");
    assert_eq!(again.spec.to_string(), document.spec.to_string());
    assert_eq!((&again.name, &again.project), (&document.name, &document.project));
    assert_eq!((&again.labels, &again.annotations), (&document.labels, &document.annotations));
    let same = document::merge3(kind, Some(&shown), &shown, &shown);
    assert_eq!(same.to_string(), shown.to_string());
    assert!((kind.references)(&document.spec).iter().all(|reference| find(reference.kind).is_some()));
    assert!((kind.conditions)(&document.spec).len() < 10);
    let mut patched = shown.clone();
    document::merge(&mut patched, written);
}

/// A selector that is read never means everything without saying so.
fn check_selectors(text: &str) {
    if let Ok(labels) = Labels::parse(text) {
        let is_negative = text.contains('!') || text.contains("notin");
        assert!(is_negative || !labels.matches(&std::collections::BTreeMap::new()), "{text}");
    }
    for kind in KINDS {
        if Fields::parse(kind, text).is_ok() {
            assert!(text.contains('='), "{text}");
        }
    }
}
