//! What each manager applied last, as a resource keeps it: `{"managers": {NAME: {"file": …, "document": …}}}`. Earlier it was
//! that of whoever came last: `{"manager": NAME, "file": …, "document": …}`.

use serde_json::{Map, Value, json};

/// What this manager applied last, with the file that it came from.
pub(crate) fn last<'a>(applied: Option<&'a Value>, manager: &str) -> Option<&'a Value> {
    let applied = applied?;
    match applied.get("managers") {
        Some(managers) => managers.get(manager),
        None => Some(applied).filter(|applied| applied.get("manager").is_some_and(|name| name == manager)),
    }
}

/// The same after this manager applied a document; what others applied stays.
pub(crate) fn with(applied: Option<&Value>, manager: &str, file: Option<&str>, document: &Value) -> Value {
    let mut managers = all(applied);
    managers.insert(manager.to_owned(), json!({ "file": file, "document": document }));
    json!({ "managers": managers })
}

fn all(applied: Option<&Value>) -> Map<String, Value> {
    let Some(applied) = applied else { return Map::new() };
    if let Some(managers) = applied.get("managers").and_then(Value::as_object) {
        return managers.clone();
    }
    let manager = applied.get("manager").and_then(Value::as_str);
    let entry = json!({ "file": applied.get("file"), "document": applied.get("document") });
    manager.map(|manager| (manager.to_owned(), entry)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_manager_applied_stays_when_another_applies_and_the_old_form_still_reads() {
        let old = json!({"manager": "a", "file": "a.yaml", "document": {"name": "x"}});
        assert_eq!(last(Some(&old), "a").unwrap()["file"], "a.yaml");
        assert_eq!(last(Some(&old), "b"), None);
        let both = with(Some(&old), "b", None, &json!({"name": "y"}));
        assert_eq!(last(Some(&both), "a").unwrap()["document"], json!({"name": "x"}));
        assert_eq!(last(Some(&both), "a").unwrap()["file"], "a.yaml");
        assert_eq!(last(Some(&both), "b").unwrap()["document"], json!({"name": "y"}));
        assert_eq!((last(Some(&both), "c"), last(None, "a")), (None, None));
        let named_badly = with(None, "managers", None, &json!({}));
        assert!(
            last(Some(&named_badly), "managers").is_some() && last(Some(&named_badly), "manager").is_none()
        );
    }
}
