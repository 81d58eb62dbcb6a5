//! Documents in the form that was asked for.

use std::str::FromStr;

use hayward_api::kinds::{Descriptor, MadeBy, Scope};
use serde_json::{Map, Value, json};

use super::columns::{Columns, Width};
use super::jsonpath::Template;
use super::{data, plain, safe_json, table, written};
use crate::documents::{name, project, stripped};
use crate::failure::Failure;

/// The forms of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Table(Width),
    Json,
    Yaml,
    Name,
}

/// A form, perhaps with its template.
#[derive(Clone, Debug)]
pub(crate) enum DocumentForm {
    Plain(Shape),
    JsonPath(std::sync::Arc<Template>),
}

/// The words of forms.
pub(crate) const FORMS: [&str; 6] = ["table", "wide", "json", "yaml", "name", "jsonpath="];

impl DocumentForm {
    /// Whether `apply` takes what is written so.
    pub(crate) fn is_applied(&self) -> bool {
        matches!(self, Self::Plain(Shape::Json | Shape::Yaml))
    }
}

impl FromStr for DocumentForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(template) = text.strip_prefix("jsonpath=") {
            return Template::parse(template).map(|template| Self::JsonPath(template.into()));
        }
        Ok(Self::Plain(match text {
            "table" | "text" => Shape::Table(Width::Short),
            "wide" => Shape::Table(Width::Wide),
            "json" => Shape::Json,
            "yaml" => Shape::Yaml,
            "name" => Shape::Name,
            _ => return Err(format!("use {}TEMPLATE", FORMS.join(", "))),
        }))
    }
}

/// Resources of one kind.
pub(crate) struct Group {
    pub(crate) kind: &'static Descriptor,
    pub(crate) documents: Vec<Value>,
}

/// How groups are shown.
pub(crate) struct Showing<'a> {
    pub(crate) form: &'a DocumentForm,
    /// Whether one was asked for by its name, so that paths begin at it.
    pub(crate) is_one: bool,
    /// The project that a name means without saying so.
    pub(crate) project: Option<&'a str>,
    pub(crate) has_labels: bool,
    pub(crate) has_headings: bool,
}

/// Writes groups of documents.
pub(crate) fn show(groups: &[Group], showing: &Showing<'_>) -> Result<(), Failure> {
    let shape = match showing.form {
        DocumentForm::JsonPath(template) => {
            let text = template.render(&root(groups, showing.is_one));
            return written(data(&(text + "\n")));
        }
        DocumentForm::Plain(shape) => *shape,
    };
    match shape {
        Shape::Table(width) => tables(groups, width, showing),
        Shape::Json => {
            let text = safe_json(&lists(groups), serde_json::to_string_pretty);
            written(text.and_then(|text| data(&(text + "\n"))))
        }
        Shape::Yaml => written(yaml(&lists(groups)).and_then(|text| data(&text))),
        Shape::Name => {
            let title = |kind: &Descriptor, document: &Value| word(kind, document, showing.project) + "\n";
            let lines =
                groups.iter().flat_map(|group| group.documents.iter().map(|one| title(group.kind, one)));
            written(data(&plain(&lines.collect::<String>())))
        }
    }
}

/// `prompt/hello`, for another command that means this project without saying so. What is of another one has its id there,
/// since its name means something else.
pub(crate) fn word(kind: &Descriptor, document: &Value, meant: Option<&str>) -> String {
    let is_elsewhere = kind.scope != Scope::System && project(kind, document) != meant;
    let id = document.get("id").and_then(Value::as_str).filter(|_| is_elsewhere);
    format!("{}/{}", kind.name, id.unwrap_or(name(kind, document)))
}

/// What paths begin at: the one document, or all as `items`.
fn root(groups: &[Group], is_one: bool) -> Value {
    let documents: Vec<&Value> = groups.iter().flat_map(|group| &group.documents).collect();
    match documents[..] {
        [one] if is_one => one.clone(),
        _ => json!({ "items": documents }),
    }
}

/// Documents as files have them: in lists by the plural of their kinds, without what can't be written. Of what nobody writes, all.
pub(crate) fn lists(groups: &[Group]) -> Value {
    let list = |group: &Group| {
        let is_written = group.kind.made_by != MadeBy::Reconciliation;
        let one = |document: &Value| {
            if is_written { stripped(group.kind, document) } else { document.clone() }
        };
        let documents = group.documents.iter().map(one);
        (group.kind.plural.to_owned(), Value::Array(documents.collect()))
    };
    Value::Object(groups.iter().map(list).collect::<Map<_, _>>())
}

fn tables(groups: &[Group], width: Width, showing: &Showing<'_>) -> Result<(), Failure> {
    let table_of = |group: &Group| {
        let columns = Columns::new(group.kind, width, showing.has_labels);
        let now = jiff::Timestamp::now();
        let rows: Vec<Vec<String>> =
            group.documents.iter().map(|document| columns.row(document, now)).collect();
        let text = table(&columns.headings(), &rows);
        if showing.has_headings {
            text
        } else {
            text.split_once('\n').map_or(text.clone(), |(_, rows)| rows.to_owned())
        }
    };
    let several = groups.len() > 1;
    let titled = |group: &Group| {
        let table = table_of(group);
        if several { format!("{}\n{table}", group.kind.plural) } else { table }
    };
    let tables: Vec<String> = groups.iter().filter(|group| !group.documents.is_empty()).map(titled).collect();
    written(data(&plain(&tables.join("\n"))))
}

/// A value as YAML which is read again as the same value, and steers no terminal.
pub(crate) fn yaml(value: &Value) -> std::io::Result<String> {
    let text = serde_saphyr::to_string(value).map_err(std::io::Error::other)?;
    // JSON is YAML, too, and can say what YAML would write as it is.
    if plain(&text) == text {
        Ok(text)
    } else {
        safe_json(value, serde_json::to_string_pretty).map(|text| text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_read_again_as_what_it_was() {
        for value in [
            json!({"a": "yes", "b": "no", "c": "1.0", "d": "0x1f", "e": "null", "f": "~", "g": "2026-01-01", "h": "012"}),
            json!({"a": "x\ny\n", "b": "x\ny", "c": "\n", "d": " lead", "e": "trail ", "f": "a: b # c", "g": ""}),
            json!({"a": "tab\there", "b": "\u{1b}[2J", "c": "\u{202e}", "d": "\u{feff}x", "e": "\r\n", "f": "\u{85}\u{2028}"}),
            json!({"a": {}, "b": [], "c": [[], {}], "d": [{"e": [1, 2.5, -3, true, null]}], "***": "***"}),
            json!({"a": "- x", "b": "? x", "c": "@x", "d": "`x", "e": "%x", "f": "!x", "g": "&x", "h": "*x", "i": "|", "j": ">"}),
            json!({"y": 1, "n": 2, "on": 3, "": 4, "a b": 5, "1": 6, "null": 7, "<<": 8}),
            json!({"big": 18_446_744_073_709_551_615_u64, "small": -9_223_372_036_854_775_808_i64, "f": 1e300}),
        ] {
            let text = yaml(&value).unwrap();
            assert_eq!(plain(&text), text);
            let read: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(read, value, "{text}");
        }
    }

    #[test]
    fn what_can_be_applied_is_shown_for_that_and_all_of_what_cannot() {
        let document = json!({"id": "x", "name": "a", "status": {"phase": "RUNNING"}});
        let of = |kind| {
            let kind = hayward_api::kinds::find(kind).unwrap();
            let shown = lists(&[Group { kind, documents: vec![document.clone()] }]);
            shown[kind.plural][0].clone()
        };
        assert_eq!(of("instance"), document);
        assert_eq!(of("server"), json!({"name": "a"}));
    }

    #[test]
    fn a_form_is_one_of_those_that_there_are() {
        assert!(matches!("wide".parse(), Ok(DocumentForm::Plain(Shape::Table(Width::Wide)))));
        assert!(matches!("jsonpath={.a}".parse(), Ok(DocumentForm::JsonPath(_))));
        for bad in ["", "xml", "jsonpath={", "JSON"] {
            assert!(bad.parse::<DocumentForm>().is_err(), "{bad}");
        }
    }
}
