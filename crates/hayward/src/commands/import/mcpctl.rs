//! mcpctl: files of its `apply`, and its backups in JSON. Both are lists by kind, or documents that say theirs; what
//! differs is told.

use hayward_api::document;
use hayward_api::kinds::{Descriptor, find};
use serde_json::{Map, Value, json};

use super::clients;
use super::exposed;
use super::plan::Plan;

/// Members that hold lists, and the kinds of what is in them.
const LISTS: [(&str, &str); 12] = [
    ("secrets", "secret"),
    ("servers", "server"),
    ("templates", "template"),
    ("projects", "project"),
    ("users", "user"),
    ("groups", "group"),
    ("rbac", "rbac"),
    ("rbacBindings", "rbac"),
    ("rbacDefinitions", "rbac"),
    ("prompts", "prompt"),
    ("promptrequests", "promptrequest"),
    ("serverattachments", "serverattachment"),
];

/// Members of a backup that are about itself, and instances, which follow from servers.
const ABOUT: [&str; 7] =
    ["version", "mcpctlVersion", "createdAt", "encrypted", "encryptedSecrets", "apiVersion", "instances"];

/// Members that mean nothing here.
const DROPPED: [&str; 8] =
    ["createdAt", "updatedAt", "version", "ownerId", "id", "repositoryUrl", "passwordHash", "provider"];

/// Members that are called otherwise here: kind, old name, new name.
const RENAMED: [(&str, &str, &str); 5] = [
    ("project", "serverNames", "servers"),
    ("prompt", "projectName", "project"),
    ("promptrequest", "projectName", "project"),
    ("prompt", "linkTarget", "link"),
    ("group", "memberEmails", "members"),
];

/// The old word of projects for `proxyModel`, whose values the kind itself knows.
const OLD_MODEL: &str = "proxyMode";

pub(super) fn read(file: &Value, plan: &mut Plan) -> Result<(), String> {
    if let Some(list) = file.as_array().filter(|list| !list.is_empty() && list.iter().all(says_its_kind)) {
        return list.iter().try_for_each(|one| read(one, plan));
    }
    let none = || "it has no lists by kind, e.g. `servers:`".to_owned();
    let members = file.as_object().ok_or_else(none)?;
    if !is_one(file) && clients::meant(file).is_some() {
        return Err(none());
    }
    if says_its_kind(file) {
        read_one(members, plan);
        return Ok(());
    }
    if members.get("encryptedSecrets").is_some_and(|sealed| !sealed.is_null()) {
        plan.note("its secrets are encrypted with a password of mcpctl, and are left out: make a backup without one");
    }
    for (member, list) in members {
        let kind = LISTS.iter().find(|(name, _)| name == member).and_then(|(_, kind)| find(kind));
        match (kind, list.as_array()) {
            (Some(kind), Some(entries)) => entries.iter().for_each(|entry| take(kind, entry, plan)),
            (Some(_), None) => plan.note(format!("`{member}` is no list, and is left out")),
            (None, _) if ABOUT.contains(&member.as_str()) => {}
            (None, _) => plan.note(format!("`{member}` is not taken over")),
        }
    }
    Ok(())
}

/// Whether a file is one of mcpctl.
pub(super) fn is_one(file: &Value) -> bool {
    let has_list = |(name, _): &(&str, &str)| file.get(name).is_some_and(Value::is_array);
    says_its_kind(file) || LISTS.iter().any(has_list)
}

fn says_its_kind(document: &Value) -> bool {
    document.get("kind").is_some_and(Value::is_string)
}

/// A document that is one resource, and says of which kind.
fn read_one(members: &Map<String, Value>, plan: &mut Plan) {
    let mut entry = members.clone();
    entry.shift_remove("apiVersion");
    let word = entry.shift_remove("kind").and_then(|word| word.as_str().map(str::to_lowercase));
    let word = word.unwrap_or_default();
    match find(&word).filter(|kind| LISTS.iter().any(|(_, name)| *name == kind.name)) {
        Some(kind) => take(kind, &Value::Object(entry), plan),
        None if ABOUT.contains(&format!("{word}s").as_str()) => {}
        None => plan.note(format!("a document of kind `{word}` is not taken over")),
    }
}

fn take(kind: &'static Descriptor, entry: &Value, plan: &mut Plan) {
    let Some(mut entry) = entry.as_object().cloned() else {
        return plan.note(format!("a {} is no object, and is left out", kind.name));
    };
    rename(kind, &mut entry);
    let wanted = entry.get(kind.identity).and_then(Value::as_str).unwrap_or_default().to_owned();
    // Prompts of two projects may have one name; an address of mail is what it is.
    let is_plain = kind.identity == "name" && !entry.contains_key("project");
    let name = if is_plain { plan.named(kind.name, &wanted) } else { wanted };
    entry.insert(kind.identity.to_owned(), json!(name));
    if kind.name == "server" {
        environment(&name, &mut entry, plan);
    }
    if kind.name == "user" && !entry.contains_key("password") {
        plan.note(format!("user `{name}` has no password here, and can't log in before they get one"));
    }
    leave_out(kind, &name, &mut entry, plan);
    let document = Value::Object(entry);
    if kind.name == "server" {
        exposed::tell(&name, &document, plan);
    }
    plan.add(kind.name, document);
}

fn rename(kind: &Descriptor, entry: &mut Map<String, Value>) {
    for (_, old, new) in RENAMED.iter().filter(|(of, ..)| *of == kind.name) {
        if let Some(value) = entry.shift_remove(*old) {
            entry.entry(*new).or_insert(value);
        }
    }
    let is_own = |member: &String| document::members(kind).contains(member);
    // A backup says of what was never set that it is empty.
    let is_said = |value: &Value| !value.is_null() && value != "";
    entry.retain(|member, value| is_said(value) && (is_own(member) || !DROPPED.contains(&member.as_str())));
    if entry.contains_key("proxyModel") {
        entry.shift_remove(OLD_MODEL);
    }
    if let Some(Value::String(command)) = entry.get("command") {
        let words: Vec<&str> = command.split_whitespace().collect();
        let words = json!(words);
        entry.insert("command".to_owned(), words);
    }
}

/// Values that look like secrets become secrets; references stay.
fn environment(name: &str, entry: &mut Map<String, Value>, plan: &mut Plan) {
    let env = match entry.shift_remove("env") {
        None => return,
        Some(Value::Array(env)) => env,
        Some(Value::Object(variables)) => {
            variables.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
        }
        Some(_) => return plan.note(format!("server `{name}`: its `env` is no list, and is left out")),
    };
    if env.iter().any(|one| !one.get("name").is_some_and(Value::is_string)) {
        plan.note(format!("server `{name}`: what has no `name` in its `env` is left out"));
    }
    let is_plain = |one: &Value| one.get("valueFrom").is_none_or(Value::is_null);
    let is_named = |one: &Value| one.get("name").is_some_and(Value::is_string);
    let (plain, refers): (Vec<Value>, Vec<Value>) = env.into_iter().filter(is_named).partition(is_plain);
    let pair = |one: &Value| Some((one["name"].as_str()?.to_owned(), one.get("value")?.clone()));
    let variables: Map<String, Value> = plain.iter().filter_map(pair).collect();
    let refer = |one: &Value| json!({ "name": one["name"], "valueFrom": one["valueFrom"] });
    let mut env: Vec<Value> = refers.iter().map(refer).collect();
    env.extend(plan.environment(name, &variables));
    if !env.is_empty() {
        entry.insert("env".to_owned(), Value::Array(env));
    }
}

/// Leaves members out that the kind doesn't have, and says so.
fn leave_out(kind: &'static Descriptor, name: &str, entry: &mut Map<String, Value>, plan: &mut Plan) {
    let common = [kind.identity, "project", "labels", "annotations"];
    let is_known =
        |member: &String| common.contains(&member.as_str()) || document::members(kind).contains(member);
    let is_known = |member: &String| is_known(member) || (kind.name == "project" && member == OLD_MODEL);
    entry.retain(|member, _| {
        let is_known = is_known(member);
        if !is_known {
            plan.note(format!("{} `{name}`: `{member}` is not taken over", kind.name));
        }
        is_known
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_not_said_and_the_old_word_for_a_model_stays() {
        let backup = json!({
            "servers": [{"name": "ha", "description": "", "packageName": "p", "dockerImage": "", "externalUrl": ""}],
            "projects": [
                {"name": "home", "description": "", "proxyMode": "filtered", "serverNames": ["ha"]},
                {"name": "both", "proxyMode": "filtered", "proxyModel": "default"},
            ],
        });
        let mut plan = Plan::default();
        read(&backup, &mut plan).unwrap();
        plan.check();
        assert!(plan.notes.is_empty(), "{:?}", plan.notes);
        let lists = plan.lists();
        assert_eq!(lists["servers"][0], json!({"name": "ha", "packageName": "p"}));
        assert_eq!(lists["projects"][0]["proxyMode"], "filtered");
        assert_eq!(lists["projects"][1], json!({"name": "both", "proxyModel": "default"}));
    }

    #[test]
    fn a_backup_becomes_resources_and_what_is_lost_is_told() {
        let backup = json!({
            "version": "1", "mcpctlVersion": "0.1", "createdAt": "x", "encrypted": false, "strange": 1,
            "secrets": [{"name": "ha", "data": {"T": "hush"}}],
            "servers": [{
                "name": "ha", "packageName": "p", "dockerImage": null, "transport": "STDIO", "replicas": 1,
                "repositoryUrl": null, "env": [
                    {"name": "T", "valueFrom": {"secretRef": {"name": "ha", "key": "T"}}},
                    {"name": "API_KEY", "value": "hush"}]}],
            "projects": [{"name": "home", "proxyMode": "filtered", "serverNames": ["ha"], "llmProvider": null}],
            "users": [{"email": "a@b.org", "name": "A", "role": "ADMIN", "provider": null}],
            "groups": [{"name": "ops", "memberEmails": ["a@b.org"]}],
            "rbacBindings": [{
                "name": "r", "subjects": [{"kind": "User", "name": "a@b.org"}],
                "roleBindings": [{"role": "edit", "resource": "*"}]}],
            "prompts": [{"name": "p", "projectName": null, "content": "x", "priority": 5}],
        });
        let mut plan = Plan::default();
        read(&backup, &mut plan).unwrap();
        plan.check();
        let lists = plan.lists();
        assert_eq!(lists["groups"][0]["members"], json!(["a@b.org"]), "{:?}", plan.notes);
        assert_eq!(lists["projects"][0]["servers"], json!(["ha"]), "{:?}", plan.notes);
        assert_eq!(lists["servers"][0]["env"][1]["valueFrom"]["secretRef"]["name"], "ha-env");
        assert_eq!(lists["secrets"].as_array().map(Vec::len), Some(2));
        assert!(lists["rbac"][0]["name"] == "r" && lists["prompts"][0]["name"] == "p");
        let notes = plan.notes.join("\n");
        assert!(notes.contains("`strange`") && notes.contains("no password"), "{notes}");
        assert!(read(&json!([]), &mut Plan::default()).is_err());
    }

    #[test]
    fn documents_that_say_their_kind_are_taken_over_alone_and_in_a_list() {
        let server = json!({"apiVersion": "v1", "kind": "Server", "name": "a", "command": "x --token t"});
        for file in [server.clone(), json!([server])] {
            let mut plan = Plan::default();
            read(&file, &mut plan).unwrap();
            plan.check();
            assert_eq!(plan.lists()["servers"][0]["command"], json!(["x", "--token", "t"]));
            assert!(matches!(&plan.notes[..], [note] if note.contains("`--token`")), "{:?}", plan.notes);
        }
        let mut plan = Plan::default();
        read(&json!({"kind": "instance", "name": "a"}), &mut plan).unwrap();
        assert!(plan.is_empty() && plan.notes.is_empty());
        read(&json!({"kind": "pod", "name": "a"}), &mut plan).unwrap();
        assert!(plan.notes[0].contains("`pod`"));
        assert!(is_one(&server) && is_one(&json!({"users": []})) && !is_one(&json!({"servers": {}})));
    }

    #[test]
    fn an_environment_is_a_list_or_an_object_and_what_is_neither_is_told() {
        let read_env = |env: Value| {
            let mut plan = Plan::default();
            read(&json!({"servers": [{"name": "a", "command": "x", "env": env}]}), &mut plan).unwrap();
            (plan.lists()["servers"][0]["env"].clone(), plan.notes.join("\n"))
        };
        let expect = json!([{"name": "A", "value": "b"}]);
        assert_eq!(read_env(json!({"A": "b"})), (expect.clone(), String::new()));
        assert_eq!(read_env(json!([{"name": "A", "value": "b"}])), (expect, String::new()));
        assert!(read_env(json!("A=b")).1.contains("is no list"));
        assert!(read_env(json!([{"value": "b"}])).1.contains("has no `name`"));
    }
}
