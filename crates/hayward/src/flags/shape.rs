//! The members of a kind, as its schema tells them: what each is called, what it is for, what it takes.

use hayward_api::kinds::Descriptor;
use serde_json::{Map, Value};

/// References that are followed from one schema to the next.
const HOPS_MAX: usize = 16;

/// A member of a spec.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) shape: Shape,
}

/// What a member takes, in the words of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Number,
    Switch,
    Choice(Vec<String>),
    /// A list of texts.
    Texts,
    /// An object whose values are texts.
    Pairs,
    /// The environment of a server: values, and references to secrets.
    Environment,
    /// Who a binding is for.
    Subjects,
    /// What a binding allows.
    Bindings,
    /// Values that are sealed.
    Sealed,
    /// A password, of which a digest is kept.
    Password,
    /// Anything, as JSON.
    Any,
}

impl Member {
    /// The flag: `--package-name` of `packageName`, `--server` of `servers`.
    pub(crate) fn flag(&self) -> String {
        let plural = self.plural();
        let is_list = matches!(self.shape, Shape::Texts | Shape::Subjects | Shape::Bindings);
        match plural.strip_suffix('s') {
            Some(one) if is_list && !one.ends_with('s') => one.to_owned(),
            _ => plural,
        }
    }

    /// The flag as the member itself is called.
    pub(super) fn plural(&self) -> String {
        let mut flag = String::new();
        for c in self.name.chars() {
            if c.is_ascii_uppercase() {
                flag.push('-');
            }
            flag.push(c.to_ascii_lowercase());
        }
        flag
    }
}

/// Every member of a kind, in the order of its schema.
pub(crate) fn members(kind: &'static Descriptor) -> Vec<Member> {
    let mut generator = schemars::SchemaGenerator::default();
    let schema = (kind.schema)(&mut generator).to_value();
    let definitions = generator.take_definitions(true);
    let schema = resolved(&schema, &definitions);
    let properties = schema.get("properties").and_then(Value::as_object);
    let member = |(name, property): (&String, &Value)| {
        let shape = super::sensitive(kind, name).unwrap_or_else(|| shape(name, property, &definitions));
        Member { name: name.clone(), doc: doc(property), shape }
    };
    properties.into_iter().flatten().map(member).collect()
}

/// What stands behind references, and behind "or nothing".
fn resolved<'a>(schema: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    let mut schema = schema;
    for _hop in 0..HOPS_MAX {
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
        if let Some(found) = reference.and_then(|name| definitions.get(name)) {
            schema = found;
            continue;
        }
        let choices = ["anyOf", "oneOf"].iter().find_map(|word| schema.get(word)).and_then(Value::as_array);
        let real = choices.map(|choices| {
            choices
                .iter()
                .filter(|choice| choice.get("type").is_none_or(|kind| kind != "null"))
                .collect::<Vec<_>>()
        });
        match real.as_deref() {
            Some([one]) => schema = one,
            _ => return schema,
        }
    }
    schema
}

/// The first sentence of what a member is for.
fn doc(property: &Value) -> String {
    let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
    let first = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    first.strip_suffix('.').map_or(first.clone(), str::to_owned)
}

fn shape(name: &str, property: &Value, definitions: &Map<String, Value>) -> Shape {
    match name {
        "env" => return Shape::Environment,
        "subjects" => return Shape::Subjects,
        "roleBindings" => return Shape::Bindings,
        _ => {}
    }
    let schema = resolved(property, definitions);
    if let Some(words) = choices(schema) {
        return Shape::Choice(words);
    }
    match kind_of(schema) {
        Some("string") => Shape::Text,
        Some("integer" | "number") => Shape::Number,
        Some("boolean") => Shape::Switch,
        Some("array") => {
            let items = schema.get("items").map(|items| resolved(items, definitions));
            if items.and_then(kind_of) == Some("string") { Shape::Texts } else { Shape::Any }
        }
        Some("object") => {
            let values = schema.get("additionalProperties").map(|values| resolved(values, definitions));
            if values.and_then(kind_of) == Some("string") { Shape::Pairs } else { Shape::Any }
        }
        _ => Shape::Any,
    }
}

/// The type, null aside.
fn kind_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ => None,
    }
}

/// The words of a closed choice.
fn choices(schema: &Value) -> Option<Vec<String>> {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().filter(|value| !value.is_null()).map(word).collect();
    }
    let each = |choice: &Value| match choice.get("const") {
        Some(one) => word(one).map(|word| vec![word]),
        None => choices(choice),
    };
    let lists: Option<Vec<Vec<String>>> = schema.get("oneOf")?.as_array()?.iter().map(each).collect();
    lists.map(|lists| lists.concat()).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use hayward_api::kinds::token;

    use super::*;

    #[test]
    fn the_schema_says_what_each_member_takes() {
        let members = members(&token::DESCRIPTOR);
        let shape =
            |name: &str| members.iter().find(|member| member.name == name).map(|member| member.shape.clone());
        assert!(matches!(shape("role"), Some(Shape::Choice(words)) if words.contains(&"ro".to_owned())));
        assert_eq!(shape("enabled"), Some(Shape::Switch));
        assert_eq!(shape("expiresAt"), Some(Shape::Text));
        assert_eq!(shape("fence"), Some(Shape::Any));
        assert!(members.iter().all(|member| !member.doc.is_empty()));
    }

    #[test]
    fn flags_are_spelled_as_flags_are_and_lists_take_one_at_a_time() {
        let flag = |name: &str, shape| Member { name: name.into(), doc: String::new(), shape }.flag();
        assert_eq!(flag("packageName", Shape::Text), "package-name");
        assert_eq!(flag("servers", Shape::Texts), "server");
        assert_eq!(flag("replicas", Shape::Number), "replicas");
        assert_eq!(flag("roleBindings", Shape::Bindings), "role-binding");
    }
}
