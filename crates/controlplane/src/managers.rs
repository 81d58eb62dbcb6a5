//! What each manager applied last, as a resource keeps it: `{"managers": {NAME: {"file": …, "document": …}}}`. Earlier it was
//! that of whoever came last: `{"manager": NAME, "file": …, "document": …}`.

use hayward_api::names::ResourceName;
use hayward_api::{Code, Error};
use serde_json::{Map, Value, json};

use crate::limits::MANAGERS_MAX;
use crate::manifests;

/// The name of a manager as somebody says it. That of the directory of manifests is its own.
pub(crate) fn checked(manager: &str) -> Result<&str, Error> {
    let wrong = |message: String| Err(Error::new(Code::Invalid, message).at("manager"));
    if manager == manifests::MANAGER {
        let message =
            format!("`{manager}` is whoever follows the directory of manifests: choose another name");
        return wrong(message);
    }
    match ResourceName::parse(manager) {
        Ok(_) => Ok(manager),
        Err(error) => wrong(format!("`manager`: {error}")),
    }
}

/// What this manager applied last, with the file that it came from.
pub(crate) fn last<'a>(applied: Option<&'a Value>, manager: &str) -> Option<&'a Value> {
    let applied = applied?;
    match applied.get("managers") {
        Some(managers) => managers.get(manager),
        None => Some(applied).filter(|applied| applied.get("manager").is_some_and(|name| name == manager)),
    }
}

/// The same after this manager applied a document; what others applied stays. There is a bound to how many they are.
pub(crate) fn with(
    applied: Option<&Value>,
    manager: &str,
    file: Option<&str>,
    document: &Value,
) -> Result<Value, Error> {
    let mut managers = all(applied);
    if managers.len() >= MANAGERS_MAX && !managers.contains_key(manager) {
        let error = Error::new(Code::Invalid, format!("{MANAGERS_MAX} managers apply this already"));
        return Err(error.at("manager").with_hint("apply as one of them"));
    }
    managers.insert(manager.to_owned(), json!({ "file": file, "document": document }));
    Ok(json!({ "managers": managers }))
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
        let both = with(Some(&old), "b", None, &json!({"name": "y"})).unwrap();
        assert_eq!(last(Some(&both), "a").unwrap()["document"], json!({"name": "x"}));
        assert_eq!(last(Some(&both), "a").unwrap()["file"], "a.yaml");
        assert_eq!(last(Some(&both), "b").unwrap()["document"], json!({"name": "y"}));
        assert_eq!((last(Some(&both), "c"), last(None, "a")), (None, None));
        let named_badly = with(None, "managers", None, &json!({})).unwrap();
        assert!(
            last(Some(&named_badly), "managers").is_some() && last(Some(&named_badly), "manager").is_none()
        );
    }

    #[test]
    fn the_directory_has_its_own_name_and_managers_are_bounded() {
        assert_eq!(checked("ci").unwrap(), "ci");
        for bad in ["manifests", "", "a b", &"x".repeat(300)] {
            assert_eq!(checked(bad).unwrap_err().field.as_deref(), Some("manager"), "{bad}");
        }
        let mut applied = None;
        for number in 0..MANAGERS_MAX {
            applied = Some(with(applied.as_ref(), &format!("m{number}"), None, &json!({})).unwrap());
        }
        assert_eq!(with(applied.as_ref(), "another", None, &json!({})).unwrap_err().code, Code::Invalid);
        with(applied.as_ref(), "m0", None, &json!({})).unwrap();
    }
}
