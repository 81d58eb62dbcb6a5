//! Checks arguments against the schema of a tool before they are decoded.
//!
//! Decoding alone would tell a model less: this names every argument that is missing, unknown (with the
//! name that was probably meant) or of the wrong type. The wording of the first line is that of the
//! seed's clients. An optional argument that is `null` counts as left out, because many clients fill
//! in `null`; a whole number written as `30.0` counts as `30`.

use std::fmt;

use hayward_api::error::did_you_mean;
use hayward_mcp::json::Raw;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What is wrong with arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentError {
    /// The arguments are no object.
    NotAnObject,
    /// A required one is missing.
    Missing {
        /// Its name.
        name: String,
    },
    /// One that the tool doesn't have.
    Unknown {
        /// Its name.
        name: String,
        /// The name that was probably meant, or else all names.
        hint: String,
    },
    /// One of the wrong type.
    WrongType {
        /// Its name.
        name: String,
        /// What was given, shortened.
        given: String,
        /// What it should be.
        expected: String,
    },
    /// One that isn't among the values that it may take.
    NotAmong {
        /// Its name.
        name: String,
        /// What was given, shortened.
        given: String,
        /// What it may be.
        choices: String,
    },
    /// What only decoding could see.
    Undecodable {
        /// What the decoder says.
        message: String,
    },
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("arguments must be an object; hint: send {\"name\": value, …}"),
            Self::Missing { name } => write!(f, "'{name}' is a required property"),
            Self::Unknown { name, hint } => {
                write!(f, "Additional properties are not allowed ('{name}' was unexpected); hint: {hint}")
            }
            Self::WrongType { name, given, expected } => {
                write!(f, "{name}: {given} is not of type '{expected}'; hint: send {expected}")
            }
            Self::NotAmong { name, given, choices } => {
                write!(f, "{name}: {given} is not one of {choices}")
            }
            Self::Undecodable { message } => f.write_str(message),
        }
    }
}

/// Checks and decodes.
pub(crate) fn parse<T: DeserializeOwned>(schema: &Raw, arguments: &Raw) -> Result<T, ArgumentError> {
    let undecodable = |error: serde_json::Error| ArgumentError::Undecodable { message: error.to_string() };
    // The straight way first: good arguments are the common case and need no second look.
    if let Ok(args) = arguments.view::<T>() {
        return Ok(args);
    }
    let schema: Value = schema.view().map_err(undecodable)?;
    let arguments: Value = arguments.view().map_err(undecodable)?;
    let checked = check(&schema, arguments)?;
    serde_json::from_value(Value::Object(checked)).map_err(undecodable)
}

/// Checks the arguments of a call against the schema of the tool; returns them without `null`s of
/// optional arguments.
pub fn check(schema: &Value, arguments: Value) -> Result<Map<String, Value>, ArgumentError> {
    let Value::Object(mut arguments) = arguments else {
        return Err(ArgumentError::NotAnObject);
    };
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    arguments.retain(|name, value| !value.is_null() || required.contains(&name.as_str()));
    if let Some(name) = required.iter().find(|name| !arguments.contains_key(**name)) {
        // A misspelt name explains a missing one best.
        return match arguments.keys().find(|given| !properties.contains_key(*given)) {
            Some(given) if did_you_mean(given, [*name]).is_some() => Err(unknown(given, properties)),
            _ => Err(ArgumentError::Missing { name: (*name).to_owned() }),
        };
    }
    for (name, value) in &mut arguments {
        let Some(property) = properties.get(name) else {
            return Err(unknown(name, properties));
        };
        check_value(name, property, value)?;
    }
    Ok(arguments)
}

fn unknown(name: &str, properties: &Map<String, Value>) -> ArgumentError {
    let hint = match did_you_mean(name, properties.keys().map(String::as_str)) {
        Some(meant) => format!("did you mean '{meant}'?"),
        None => format!("this tool takes {}", properties.keys().cloned().collect::<Vec<_>>().join(", ")),
    };
    ArgumentError::Unknown { name: name.to_owned(), hint }
}

fn check_value(name: &str, property: &Value, value: &mut Value) -> Result<(), ArgumentError> {
    let expected = property["type"].as_str().unwrap_or_default();
    make_whole(expected, value);
    if !is_of_type(expected, value) {
        let is_too_large = expected == "integer" && value.as_f64().is_some_and(|it| it.fract() == 0.0);
        return Err(ArgumentError::WrongType {
            name: name.to_owned(),
            given: render(value),
            expected: if is_too_large { "integer within ±(2^63 - 1)" } else { expected }.to_owned(),
        });
    }
    match property["enum"].as_array() {
        Some(choices) if !choices.contains(value) => Err(ArgumentError::NotAmong {
            name: name.to_owned(),
            given: render(value),
            choices: format!("[{}]", choices.iter().map(render).collect::<Vec<_>>().join(", ")),
        }),
        _ => Ok(()),
    }
}

/// `30.0` is the integer 30 (JSON Schema 2020-12, 6.1.1).
fn make_whole(expected: &str, value: &mut Value) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = value.as_f64().filter(|_| expected == "integer" && value.is_f64())
        && number.fract() == 0.0
        && number.abs() <= EXACT
    {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        let whole = number as i64;
        *value = whole.into();
    }
}

fn is_of_type(expected: &str, value: &Value) -> bool {
    match expected {
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

/// A value as the seed's clients know it from messages, shortened.
fn render(value: &Value) -> String {
    let text = match value {
        Value::Null => "None".to_owned(),
        Value::String(text) => format!("'{}'", text.escape_debug()),
        other => other.to_string(),
    };
    if text.chars().count() <= 80 { text } else { text.chars().take(80).chain("…".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "properties": {
                "pattern": {"type": "string"},
                "max": {"type": "integer"},
                "mode": {"type": "string", "enum": ["content", "files"]},
            },
            "required": ["pattern"],
        })
    }

    #[test]
    fn good_arguments_pass_and_null_counts_as_left_out() {
        let got = check(&schema(), json!({"pattern": "x", "max": 3.0, "mode": null})).unwrap();
        assert_eq!(Value::Object(got), json!({"pattern": "x", "max": 3}));
    }

    #[test]
    fn each_fault_is_named() {
        for (arguments, expect) in [
            (json!([]), "arguments must be an object"),
            (
                json!({"pattern": "x", "max": 9_223_372_036_854_775_808_u64}),
                "max: 9223372036854775808 is not of type 'integer within ±(2^63 - 1)'",
            ),
            (json!({}), "'pattern' is a required property"),
            (json!({"patern": "x"}), "did you mean 'pattern'?"),
            (json!({"pattern": "x", "zzzzzz": 1}), "this tool takes pattern, max, mode"),
            (json!({"pattern": "x", "max": 1.5}), "1.5 is not of type 'integer'"),
            (json!({"pattern": "x", "mode": "fles"}), "'fles' is not one of ['content', 'files']"),
        ] {
            let error = check(&schema(), arguments).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}
