//! Paths into documents, e.g. `env[0].valueFrom.secretRef`.

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Member(&'a str),
    Index(usize),
}

/// The steps of a path; none if it is malformed.
pub(crate) fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if name.is_empty() {
            return None;
        }
        steps.push(Step::Member(name));
        while let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = after;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(steps)
}

/// What stands there.
pub(crate) fn at<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    steps(path)?.into_iter().try_fold(document, |value, step| match step {
        Step::Member(name) => value.get(name),
        Step::Index(index) => value.get(index),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_into_objects_and_lists() {
        let document = json!({"env": [{"name": "A", "valueFrom": {"secretRef": {"key": "k"}}}]});
        assert_eq!(at(&document, "env[0].valueFrom.secretRef.key"), Some(&json!("k")));
        assert_eq!(at(&document, "env[1]"), None);
        for bad in ["", "a..b", "a[", "a[x]", "a[0]b", "[0]"] {
            assert_eq!(steps(bad), None, "{bad}");
        }
    }
}
