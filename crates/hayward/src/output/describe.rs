//! One document at length: what everything has, then the sections of its kind, then how it is.

use std::fmt::Write as _;

use hayward_api::kinds::{Descriptor, Scope};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::columns::{pairs, text};
use super::path::at;
use super::table;
use crate::documents::name;

/// Members that have a place of their own.
const OWN: [&str; 12] = [
    "project",
    "labels",
    "annotations",
    "id",
    "generation",
    "version",
    "createdAt",
    "updatedAt",
    "ownerId",
    "builtin",
    "status",
    "kind",
];

/// A document at length.
pub(crate) fn describe(kind: &'static Descriptor, document: &Value) -> String {
    let now = Timestamp::now();
    let mut out = head(kind, document, now);
    let taken: Vec<&str> = kind.sections.iter().flat_map(|section| section.paths).copied().collect();
    let rest = document.as_object().into_iter().flatten().filter(|(member, _)| {
        let is_own = OWN.contains(&member.as_str()) || *member == kind.identity;
        let is_taken = taken.iter().any(|path| path.split(['.', '[']).next() == Some(member));
        !is_own && !is_taken
    });
    for (member, value) in rest {
        member_of(&mut out, 0, member, value, now);
    }
    for section in kind.sections {
        let found: Vec<(&str, &Value)> = section
            .paths
            .iter()
            .filter_map(|path| Some((*path, at(document, path).filter(|value| !is_empty(value))?)))
            .collect();
        if found.is_empty() {
            continue;
        }
        let _written = writeln!(out, "\n{}:", section.heading);
        for (path, value) in found {
            member_of(&mut out, 2, path, value, now);
        }
    }
    status(&mut out, document, now);
    out
}

/// A further section, of the members of an object.
pub(crate) fn section(heading: &str, members: &Value) -> String {
    let (mut out, now) = (format!("\n{heading}:\n"), Timestamp::now());
    for (member, value) in members.as_object().into_iter().flatten() {
        member_of(&mut out, 2, member, value, now);
    }
    out
}

fn head(kind: &Descriptor, document: &Value, now: Timestamp) -> String {
    let mut out = String::new();
    line(&mut out, 0, "Name", name(kind, document));
    line(&mut out, 0, "Kind", kind.name);
    if kind.scope != Scope::System {
        line(&mut out, 0, "Project", &text(document.get("project"), now));
    }
    for (heading, member) in [("Labels", "labels"), ("Annotations", "annotations")] {
        line(&mut out, 0, heading, &pairs(document.get(member)));
    }
    line(&mut out, 0, "ID", &text(document.get("id"), now));
    if document.get("builtin") == Some(&Value::Bool(true)) {
        line(&mut out, 0, "Built in", "yes; deleting it resets it");
    }
    for (heading, member) in [("Created", "createdAt"), ("Updated", "updatedAt")] {
        if let Some(moment) = document.get(member) {
            line(&mut out, 0, heading, &dated(Some(moment), now));
        }
    }
    let version = |member: &str| text(document.get(member), now);
    line(&mut out, 0, "Version", &format!("{} (generation {})", version("version"), version("generation")));
    out
}

fn line(out: &mut String, indent: usize, heading: &str, value: &str) {
    let heading = format!("{heading}:");
    let _written = writeln!(out, "{:indent$}{heading:<15} {value}", "");
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(entries) => entries.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// A member: what is simple on its line, lists of objects as tables, texts of several lines below.
fn member_of(out: &mut String, indent: usize, member: &str, value: &Value, now: Timestamp) {
    match value {
        value if is_empty(value) => {}
        Value::Array(entries) if entries.iter().all(Value::is_object) => {
            let _written = writeln!(out, "{:indent$}{member}:", "");
            indented(out, indent + 2, &objects(entries, now));
        }
        Value::Object(members) => {
            let _written = writeln!(out, "{:indent$}{member}:", "");
            for (name, value) in members {
                member_of(out, indent + 2, name, value, now);
            }
        }
        Value::String(long) if long.contains('\n') => {
            let _written = writeln!(out, "{:indent$}{member}:", "");
            indented(out, indent + 2, long);
        }
        value => line(out, indent, member, &dated(Some(value), now)),
    }
}

/// What a value is on one line; of a moment also when it is.
fn dated(value: Option<&Value>, now: Timestamp) -> String {
    let told = text(value, now);
    match value.and_then(Value::as_str) {
        Some(moment) if !moment.is_empty() && moment != told => format!("{moment} ({told})"),
        _ => told,
    }
}

fn indented(out: &mut String, indent: usize, lines: &str) {
    for one in lines.lines() {
        let _written = writeln!(out, "{:indent$}{one}", "");
    }
}

/// Objects as rows under the names of all their members; nested ones are written as paths.
fn objects(entries: &[Value], now: Timestamp) -> String {
    let flat: Vec<Map<String, Value>> = entries.iter().map(flattened).collect();
    let mut headings: Vec<&str> = Vec::new();
    for member in flat.iter().flat_map(Map::keys) {
        if !headings.contains(&member.as_str()) {
            headings.push(member);
        }
    }
    let upper: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
    let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
    let row = |entry: &Map<String, Value>| -> Vec<String> {
        headings.iter().map(|heading| dated(entry.get(*heading), now).replace('\n', " ")).collect()
    };
    table(&upper, &flat.iter().map(row).collect::<Vec<_>>())
}

fn flattened(entry: &Value) -> Map<String, Value> {
    let mut flat = Map::new();
    let mut pending = vec![(String::new(), entry)];
    while let Some((prefix, value)) = pending.pop() {
        match value {
            Value::Object(members) => {
                let path =
                    |name: &String| if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                pending.extend(members.iter().rev().map(|(name, value)| (path(name), value)));
            }
            value => drop(flat.insert(prefix, value.clone())),
        }
    }
    flat
}

fn status(out: &mut String, document: &Value, now: Timestamp) {
    let Some(Value::Object(status)) = document.get("status") else { return };
    if status.is_empty() {
        return;
    }
    *out += "\nStatus:\n";
    for (member, value) in status {
        member_of(out, 2, member, value, now);
    }
}

#[cfg(test)]
mod tests {
    use hayward_api::kinds::token;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_told_in_sections_and_tables() {
        let document = json!({
            "name": "ci", "role": "rw", "labels": {"a": "b"}, "fence": {"profile": "confined", "roots": ["/srv"]},
            "status": {"conditions": [{"type": "Ready", "status": "True", "message": "x"}]},
            "text": "two\nlines", "env": [{"name": "A", "valueFrom": {"secretRef": {"key": "k"}}}, {"name": "B", "value": "v"}],
        });
        let text = describe(&token::DESCRIPTOR, &document);
        for expect in [
            "Name:           ci\n",
            "Labels:         a=b\n",
            "\nFence:\n  fence:\n    profile:",
            "  NAME  VALUEFROM.SECRETREF.KEY  VALUE\n",
            "TYPE   STATUS  MESSAGE",
            "  two\n  lines\n",
        ] {
            assert!(text.contains(expect), "{expect:?} in\n{text}");
        }
    }

    #[test]
    fn a_moment_is_told_with_its_date_and_how_far_away_it_is() {
        let document = json!({"name": "ci", "expiresAt": "2999-01-31T00:00:00Z", "status": {"lastUsedAt": "2020-01-01T00:00:00Z"}});
        let text = describe(&token::DESCRIPTOR, &document);
        for expect in ["2999-01-31T00:00:00Z (in ", "2020-01-01T00:00:00Z ("] {
            assert!(text.contains(expect), "{expect:?} in\n{text}");
        }
    }
}
