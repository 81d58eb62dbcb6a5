//! The description of the API (`OpenAPI` 3.1), made of the table of routes and the table of kinds.

use std::sync::LazyLock;

use hayward_api::kinds::{Descriptor, KINDS, Names};
use hayward_api::problem::{PROBLEM_JSON, Problem};
use http::Method;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::rest::{Access, Form, Gives, ROUTES, Route, Takes};

/// The description as it is served and committed.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
        text.push('\n');
        text
    });
    &TEXT
}

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in &*ROUTES {
        let path = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route, &mut generator);
    }
    let problem = generator.subschema_for::<Problem>();
    let documents: Vec<(String, Value)> = KINDS
        .iter()
        .flat_map(|kind| {
            let shown = shape(kind, &mut generator, Use::Shown);
            let taken = shape(kind, &mut generator, Use::Taken);
            [(title(kind), shown), (format!("{}Input", title(kind)), taken)]
        })
        .collect();
    let mut schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    schemas.extend(documents);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hayward", "version": "v1",
            "description": "Management of what is declared. Errors are problems (RFC 9457); lists are arrays.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "responses": { "Problem": {
                "description": "Why it was not done.",
                "content": { PROBLEM_JSON: { "schema": problem } },
            } },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut told = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.kind.map_or_else(|| route.operation.split('.').next().unwrap_or_default(), |kind| kind.plural)],
        "parameters": parameters(route),
        "responses": responses(route, generator),
    });
    if route.access == Access::Public {
        told["security"] = json!([]);
    }
    if let Some(body) = body(route, generator) {
        told["requestBody"] = body;
    }
    told
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        let about = if name == "id" { "The id, or the name." } else { "The name." };
        json!({"name": name, "in": "path", "required": true, "description": about, "schema": {"type": "string", "minLength": 1}})
    });
    let in_query = route.query.iter().map(|param| {
        let schema = match param.form {
            Form::Text => json!({"type": "string"}),
            Form::Number => json!({"type": "integer", "minimum": 0}),
            Form::Switch => json!({"type": "boolean"}),
            Form::Word(word) => json!({"const": word}),
        };
        json!({"name": param.name, "in": "query", "required": false, "description": param.about, "schema": schema})
    });
    let version = route.statuses.contains(&412).then(|| {
        json!({"name": "If-Match", "in": "header", "required": false, "schema": {"type": "string"},
            "description": "The `ETag` that it must still have."})
    });
    in_path.chain(in_query).chain(version).collect()
}

fn body(route: &Route, generator: &mut SchemaGenerator) -> Option<Value> {
    let of = |media: &[&str], schema: Value| {
        let content: Map<String, Value> =
            media.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect();
        Some(json!({ "required": true, "content": content }))
    };
    match (route.takes, route.kind) {
        (Takes::Nothing, _) => None,
        (Takes::Document, Some(kind)) => {
            of(&["application/json", "application/yaml"], reference(&format!("{}Input", title(kind))))
        }
        (Takes::Patch, _) => {
            of(&["application/merge-patch+json", "application/json"], json!({ "type": "object" }))
        }
        (Takes::Lists, _) => {
            let lists: Map<String, Value> = KINDS
                .iter()
                .map(|kind| {
                    (
                        kind.plural.to_owned(),
                        json!({"type": "array", "items": reference(&format!("{}Input", title(kind)))}),
                    )
                })
                .collect();
            of(&["application/json", "application/yaml"], json!({"type": "object", "properties": lists}))
        }
        (Takes::Object(schema), _) => of(&["application/json"], schema(generator).to_value()),
        (Takes::Document, None) => of(&["application/json"], json!({ "type": "object" })),
    }
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut told = Map::new();
    let document = || route.kind.map_or_else(|| json!({"type": "object"}), |kind| reference(&title(kind)));
    let json_of = |about: &str, schema: Value| json!({"description": about, "content": {"application/json": {"schema": schema}}});
    match route.gives {
        Gives::Nothing => {
            told.insert("204".into(), json!({"description": "It is done."}));
        }
        Gives::Document => {
            told.insert("200".into(), json_of("The resource.", document()));
        }
        Gives::Created => {
            let mut made = json_of("It was made.", document());
            made["links"] = links(route);
            told.insert("201".into(), made);
        }
        Gives::Documents => {
            let mut list = json_of("Those that may be seen.", json!({"type": "array", "items": document()}));
            list["content"]["application/x-ndjson"] = json!({"schema": {"type": "string"}});
            list["headers"] = json!({
                "X-Resource-Version": {"description": "Where a watch goes on.", "schema": {"type": "string"}},
                "Link": {"description": "The next part.", "schema": {"type": "string"}},
            });
            told.insert("200".into(), list);
        }
        Gives::Object(status, schema) => {
            told.insert(status.to_string(), json_of("The answer.", schema(generator).to_value()));
        }
        Gives::Later => {}
    }
    for status in statuses(route) {
        told.entry(status.to_string()).or_insert_with(|| json!({"$ref": "#/components/responses/Problem"}));
    }
    told.into()
}

/// Where what was made is found.
fn links(made: &Route) -> Value {
    let is_of = |kind: &Descriptor| made.kind.is_some_and(|made| made.name == kind.name);
    let single = ROUTES.iter().filter(|route| route.path.contains("{id}") && route.kind.is_some_and(is_of));
    let link = |route: &Route| {
        let link = json!({"operationId": route.operation, "parameters": {"id": "$response.body#/id"}});
        (route.operation.replace('.', "-"), link)
    };
    single.map(link).collect::<Map<_, _>>().into()
}

/// The statuses of what can go wrong.
fn statuses(route: &Route) -> Vec<u16> {
    // A query, a time, a pace, and what every server has.
    let mut statuses = vec![400, 401, 403, 404, 408, 413, 429, 500, 503, 504];
    if !matches!(route.takes, Takes::Nothing) || route.method == Method::POST {
        statuses.push(415);
    }
    statuses.extend(route.statuses);
    statuses.sort_unstable();
    statuses
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The name of a kind as types are called.
fn title(kind: &Descriptor) -> String {
    let mut letters = kind.name.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// What a document is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Shown,
    Taken,
}

/// A document of a kind: the members of its spec, and those that every document has.
fn shape(kind: &Descriptor, generator: &mut SchemaGenerator, wanted: Use) -> Value {
    let spec = (kind.schema)(generator).to_value();
    let spec = resolved(spec, generator);
    let mut properties = Map::new();
    let mut name = json!({"type": "string", "description": "Its name."});
    if kind.names == Names::Plain {
        name["pattern"] = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$".into();
    }
    properties.insert(kind.identity.into(), name);
    if kind.scope != hayward_api::kinds::Scope::System {
        properties.insert(
            "project".into(),
            json!({"type": "string", "description": "The project that it belongs to."}),
        );
    }
    for (member, about) in [("labels", "What selectors ask for."), ("annotations", "Notes.")] {
        let texts =
            json!({"type": "object", "additionalProperties": {"type": "string"}, "description": about});
        properties.insert(member.into(), texts);
    }
    let members = spec.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let required: Vec<Value> = match wanted {
        Use::Shown => vec![kind.identity.into(), "id".into()],
        Use::Taken => {
            let of_spec = spec.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            [Value::from(kind.identity)].into_iter().chain(of_spec).collect()
        }
    };
    if wanted == Use::Shown {
        for (member, schema) in [
            ("id", json!({"type": "string"})),
            ("generation", json!({"type": "integer"})),
            ("version", json!({"type": "integer"})),
            ("createdAt", json!({"type": "string"})),
            ("updatedAt", json!({"type": "string"})),
            ("ownerId", json!({"type": "string"})),
            ("builtin", json!({"type": "boolean"})),
            ("status", json!({"type": "object"})),
        ] {
            properties.insert(member.into(), schema);
        }
    }
    properties.extend(members);
    let mut shape = json!({
        "type": "object", "description": kind.about, "properties": properties, "required": required,
    });
    if wanted == Use::Taken {
        shape["additionalProperties"] = false.into();
    }
    shape
}

/// A schema that stands for another one is that one.
fn resolved(schema: Value, generator: &mut SchemaGenerator) -> Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    match name.and_then(|name| generator.definitions().get(name)) {
        Some(definition) => definition.clone(),
        None => schema,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_is_referred_to_that_is_not_there() {
        let document = document();
        for route in &*ROUTES {
            let told = &document["paths"][&route.path][route.method.as_str().to_lowercase()];
            assert_eq!(told["operationId"], route.operation.as_str(), "{}", route.path);
            assert!(told["responses"]["500"].is_object());
        }
        let text = document.to_string();
        for name in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
