//! Documents as rows: the name, the columns of their kind, the age.

use std::borrow::Cow;

use hayward_api::kinds::{Column, Descriptor, Scope};
use jiff::Timestamp;
use serde_json::Value;

use super::age::age;
use super::path::at;

/// Characters of a cell, unless all is to be shown.
const CELL_CHARS_MAX: usize = 60;

/// What stands where there is nothing.
const NOTHING: &str = "-";

/// How wide a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// What people look at.
    Short,
    /// All columns, whole.
    Wide,
}

/// The table of a kind.
pub(crate) struct Columns {
    kind: &'static Descriptor,
    width: Width,
    has_labels: bool,
}

impl Columns {
    pub(crate) fn new(kind: &'static Descriptor, width: Width, has_labels: bool) -> Self {
        Self { kind, width, has_labels }
    }

    /// Whether the project is shown beside what the kind itself shows.
    fn has_project(&self) -> bool {
        self.kind.scope != Scope::System && self.kind.columns.iter().all(|column| column.path != "project")
    }

    fn own(&self) -> impl Iterator<Item = &'static Column> {
        let width = self.width;
        self.kind.columns.iter().filter(move |column| width == Width::Wide || !column.is_wide)
    }

    /// What stands above.
    pub(crate) fn headings(&self) -> Vec<&'static str> {
        let name = match self.kind.identity {
            "email" => "EMAIL",
            "server" => "SERVER",
            _ => "NAME",
        };
        let project = self.has_project().then_some("PROJECT");
        let wide = (self.width == Width::Wide).then_some("ID");
        let labels = self.has_labels.then_some("LABELS");
        let own = self.own().map(|column| column.heading);
        std::iter::once(name).chain(project).chain(own).chain(["AGE"]).chain(wide).chain(labels).collect()
    }

    /// The members that stand in it.
    pub(crate) fn members(&self) -> Vec<&'static str> {
        let labels = self.has_labels.then_some("labels");
        let own = self.own().map(|column| column.path.split('.').next().unwrap_or(column.path));
        own.chain(["createdAt"]).chain(labels).collect()
    }

    /// One row, as it is at this moment.
    pub(crate) fn row(&self, document: &Value, now: Timestamp) -> Vec<String> {
        let member = |path: &str| self.cell(all_at(document, path).as_deref(), now);
        let project = self.has_project().then(|| member("project"));
        let wide = (self.width == Width::Wide).then(|| member("id"));
        let labels = self.has_labels.then(|| pairs(at(document, "labels")));
        let own = self.own().map(|column| member(column.path));
        std::iter::once(member(self.kind.identity))
            .chain(project)
            .chain(own)
            .chain([member("createdAt")])
            .chain(wide)
            .chain(labels)
            .collect()
    }

    fn cell(&self, value: Option<&Value>, now: Timestamp) -> String {
        let text = text(value, now).replace(['\n', '\t', '\r'], " ");
        if self.width == Width::Wide || text.chars().nth(CELL_CHARS_MAX).is_none() {
            return text;
        }
        text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
    }
}

/// What stands at a path; where it leads through a list, what stands there in its entries, each once.
fn all_at<'a>(document: &'a Value, path: &str) -> Option<Cow<'a, Value>> {
    path.split('.').try_fold(Cow::Borrowed(document), |value, member| match value {
        Cow::Borrowed(Value::Array(entries)) => Some(Cow::Owned(in_each(entries, member))),
        Cow::Borrowed(other) => other.get(member).map(Cow::Borrowed),
        Cow::Owned(Value::Array(entries)) => Some(Cow::Owned(in_each(&entries, member))),
        Cow::Owned(other) => other.get(member).cloned().map(Cow::Owned),
    })
}

/// What a member is in the entries of a list, each once; of lists, their entries.
fn in_each(entries: &[Value], member: &str) -> Value {
    let found = entries.iter().filter_map(|entry| entry.get(member));
    let found = found.flat_map(|found| found.as_array().map_or(std::slice::from_ref(found), Vec::as_slice));
    let mut seen: Vec<Value> = Vec::new();
    for value in found {
        if !seen.contains(value) {
            seen.push(value.clone());
        }
    }
    seen.into()
}

/// What a value is on one line: of a list its entries, of an object its keys, of a moment how far away it is.
pub(crate) fn text(value: Option<&Value>, now: Timestamp) -> String {
    match value {
        None | Some(Value::Null) => NOTHING.to_owned(),
        Some(Value::String(text)) if text.is_empty() => NOTHING.to_owned(),
        Some(Value::String(text)) => age(text, now).unwrap_or_else(|| text.clone()),
        Some(Value::Array(entries)) if entries.is_empty() => NOTHING.to_owned(),
        Some(Value::Array(entries)) => entries.iter().map(entry).collect::<Vec<_>>().join(","),
        Some(Value::Object(members)) if members.is_empty() => NOTHING.to_owned(),
        Some(Value::Object(members)) => members.keys().cloned().collect::<Vec<_>>().join(","),
        Some(other) => other.to_string(),
    }
}

/// An entry of a list: an object by its name, or by all that it holds.
fn entry(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => match members.get("name").and_then(Value::as_str) {
            Some(name) if !members.contains_key("kind") && !members.contains_key("role") => name.to_owned(),
            _ => members.values().map(entry).collect::<Vec<_>>().join(":"),
        },
        other => other.to_string(),
    }
}

/// `a=b,c=d`.
pub(crate) fn pairs(value: Option<&Value>) -> String {
    let members = value.and_then(Value::as_object).filter(|members| !members.is_empty());
    let Some(members) = members else { return NOTHING.to_owned() };
    let pair = |(name, value): (&String, &Value)| format!("{name}={}", entry(value));
    members.iter().map(pair).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use hayward_api::kinds::token;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_the_columns_of_its_kind() {
        let columns = Columns::new(&token::DESCRIPTOR, Width::Short, true);
        let row = columns.row(
            &json!({"name": "ci", "role": "ro", "enabled": true, "labels": {"a": "b"}}),
            Timestamp::now(),
        );
        assert_eq!(columns.headings().len(), row.len());
        assert_eq!((&*row[0], row.last().map(String::as_str)), ("ci", Some("a=b")));
        assert!(columns.headings().contains(&"ROLE") && columns.headings().contains(&"AGE"));
    }

    #[test]
    fn a_row_tells_the_age_at_its_own_moment() {
        let columns = Columns::new(&token::DESCRIPTOR, Width::Short, false);
        let document = json!({"name": "ci", "role": "ro", "createdAt": "2026-01-01T00:00:00Z"});
        for (now, expect) in [("2026-01-01T00:00:05Z", "5s"), ("2026-01-01T00:10:00Z", "10m")] {
            assert_eq!(columns.row(&document, now.parse().unwrap()).last().unwrap(), expect);
        }
    }

    #[test]
    fn a_path_leads_through_lists() {
        let document =
            json!({"subjects": [{"name": "a"}, {"name": "b"}], "rules": [{"tools": ["x", "y"]}, {}]});
        let text = |path: &str| text(all_at(&document, path).as_deref(), Timestamp::now());
        assert_eq!((&*text("subjects.name"), &*text("rules.tools"), &*text("none.x")), ("a,b", "x,y", "-"));
    }

    #[test]
    fn what_stands_at_a_path_several_times_is_shown_once() {
        let document = json!({"roleBindings": [{"role": "run"}, {"role": "edit"}, {"role": "run"}]});
        let roles = all_at(&document, "roleBindings.role");
        assert_eq!(text(roles.as_deref(), Timestamp::now()), "run,edit");
    }

    #[test]
    fn values_are_told_on_one_line() {
        let now = Timestamp::now();
        for (value, expect) in [
            (json!(null), "-"),
            (json!([]), "-"),
            (json!(["a", "b"]), "a,b"),
            (json!([{"name": "A", "value": "x"}]), "A"),
            (json!([{"kind": "User", "name": "a@b"}]), "User:a@b"),
            (json!({"x": 1, "y": 2}), "x,y"),
            (json!(3), "3"),
        ] {
            assert_eq!(text(Some(&value), now), expect);
        }
    }
}
