//! What is different between two documents, line by line.

use serde_json::Value;
use similar::TextDiff;

use super::documents::yaml;

/// Lines around a difference.
const CONTEXT: usize = 3;

/// The unified difference of two documents under these headings, null for one that isn't there; empty if there is none.
pub(crate) fn unified((from, to): (&str, &str), before: &Value, after: &Value) -> std::io::Result<String> {
    let text = |value: &Value| if value.is_null() { Ok(String::new()) } else { yaml(value) };
    let (before, after) = (text(before)?, text(after)?);
    let diff = TextDiff::from_lines(&before, &after);
    Ok(diff.unified_diff().context_radius(CONTEXT).header(from, to).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let text = unified(
            ("live/server/a", "wanted/server/a"),
            &json!({"name": "a", "replicas": 1}),
            &json!({"name": "a", "replicas": 2}),
        );
        let text = text.unwrap();
        assert!(
            text.contains("-replicas: 1\n+replicas: 2\n") && text.starts_with("--- live/server/a\n"),
            "{text}"
        );
        assert_eq!(unified(("x", "y"), &json!({"a": 1}), &json!({"a": 1})).unwrap(), "");
        assert!(unified(("x", "y"), &Value::Null, &json!({"a": 1})).unwrap().contains("+a: 1"));
    }
}
