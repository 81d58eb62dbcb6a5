//! Servers of the same name that are there already and are others: what is taken over replaces them.

use hayward_client::{Action, Applied, AppliedOne};
use serde_json::Value;

use super::plan::started;

/// Members that say what a server is.
const START: [&str; 4] = ["packageName", "dockerImage", "externalUrl", "command"];

/// A server that would be another one.
pub(super) struct Replaced {
    name: String,
    before: Value,
    after: Value,
}

impl Replaced {
    /// What is told of it before it is done.
    pub(super) fn note(&self) -> String {
        let what = |server: &Value| started(server).unwrap_or_else(|| "nothing".to_owned());
        let (name, before, after) = (&self.name, what(&self.before), what(&self.after));
        let kept: Vec<String> = secrets(&self.before)
            .filter(|secret| !secrets(&self.after).any(|other| other == *secret))
            .map(|secret| format!("; secret `{secret}`, to which it refers, stays"))
            .collect();
        let mut text = format!("server `{name}` is there already and is another one: ");
        text += &if before == after {
            format!("`{before}` starts with other arguments")
        } else {
            format!("`{before}` becomes `{after}`")
        };
        text + &kept.concat() + "; to keep both, give this one another name in the file"
    }
}

fn secrets(server: &Value) -> impl Iterator<Item = &str> {
    let env = server.get("env").and_then(Value::as_array).into_iter().flatten();
    let mut names: Vec<&str> =
        env.filter_map(|one| one.pointer("/valueFrom/secretRef/name")?.as_str()).collect();
    names.dedup();
    names.into_iter()
}

/// The servers that a trial would replace.
pub(super) fn find(trial: &Applied) -> Vec<Replaced> {
    trial.results.iter().filter_map(replaced).collect()
}

fn replaced(one: &AppliedOne) -> Option<Replaced> {
    let (Some(before), Some(after)) = (&one.before, &one.after) else { return None };
    let is_other = START.iter().any(|member| before.get(member) != after.get(member));
    let is_replaced = one.kind == "server" && one.action == Action::Updated && is_other;
    is_replaced.then(|| Replaced { name: one.name.clone(), before: before.clone(), after: after.clone() })
}

/// The word for what is done with one.
pub(super) fn word(one: &AppliedOne, replaced: &[Replaced]) -> &'static str {
    let is_one = one.kind == "server" && replaced.iter().any(|other| other.name == one.name);
    if is_one { "replaces another one" } else { one.action.as_str() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(before: Value, after: Value) -> AppliedOne {
        AppliedOne {
            kind: "server".to_owned(),
            name: "x".to_owned(),
            project: None,
            action: Action::Updated,
            before: Some(before),
            after: Some(after),
            token: None,
        }
    }

    #[test]
    fn a_server_that_starts_something_else_is_another_one() {
        let env = json!([{"name": "T", "valueFrom": {"secretRef": {"name": "x-env", "key": "T"}}}]);
        let docker = json!({"command": ["docker", "run", "a"], "env": env});
        let far = one(docker.clone(), json!({"externalUrl": "https://x.org/mcp?key=hush"}));
        let note = replaced(&far).map(|replaced| replaced.note()).unwrap_or_default();
        assert!(note.contains("`docker` becomes `https://x.org/mcp`") && note.contains("`x-env`"), "{note}");
        assert!(!note.contains("hush"));
        let other = one(docker.clone(), json!({"command": ["docker", "run", "b"], "env": env}));
        let note = replaced(&other).map(|replaced| replaced.note()).unwrap_or_default();
        assert!(note.contains("other arguments") && !note.contains("stays"), "{note}");
        let mut same = docker.clone();
        same["replicas"] = json!(2);
        assert!(replaced(&one(docker, same)).is_none());
        assert_eq!(word(&far, &[replaced(&far).unwrap()]), "replaces another one");
        assert_eq!(word(&far, &[]), "updated");
    }
}
