//! What would be applied: documents in lists by kind, and what is to be said about them.

use std::collections::{BTreeMap, BTreeSet};

use hayward_api::kinds::{Descriptor, find};
use serde_json::{Map, Value, json};

use super::exposed::filled_in;
use super::suspicion::is_secret;
use crate::documents::{check, name};
use crate::words::ordered;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 100;

/// What would be applied. It has no `Debug`, since it holds secrets.
#[derive(Default)]
pub(super) struct Plan {
    /// Documents by the name of their kind.
    documents: BTreeMap<&'static str, Vec<Value>>,
    pub(super) notes: Vec<String>,
    names: BTreeSet<(String, String)>,
    /// Secrets that were made for servers: server, secret.
    made: Vec<(String, String)>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.documents.values().all(Vec::is_empty)
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Adds a document of a kind that there is.
    pub(super) fn add(&mut self, kind: &str, document: Value) {
        if let Some(kind) = find(kind) {
            self.documents.entry(kind.name).or_default().push(document);
        }
    }

    /// A name that resources may have, made of this one, and which no other of the kind has.
    pub(super) fn named(&mut self, kind: &str, wanted: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let base: String = wanted.trim().chars().map(plain).take(NAME_CHARS_MAX - 4).collect();
        let base = base.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let base = if base.is_empty() { kind } else { base }.to_owned();
        let mut name = base.clone();
        let mut count = 2;
        while !self.names.insert((kind.to_owned(), name.to_lowercase())) {
            name = format!("{base}-{count}");
            count += 1;
        }
        if name != wanted {
            self.note(format!("{kind} `{wanted}` is called `{name}`"));
        }
        name
    }

    /// The environment of a server: what looks like a secret goes into one, to which it refers.
    pub(super) fn environment(&mut self, server: &str, variables: &Map<String, Value>) -> Vec<Value> {
        self.entries((server, "env"), variables, is_secret)
    }

    /// The headers of a server: the same, and what shows who asks is a secret whatever it looks like.
    pub(super) fn headers(&mut self, server: &str, headers: &Map<String, Value>) -> Vec<Value> {
        // Whoever writes a header by hand mostly says who he is by it, under whatever name.
        let is_plain = |key: &str| {
            let key = key.to_ascii_lowercase();
            ["accept", "content-", "user-agent", "origin", "referer", "x-request-id"]
                .iter()
                .any(|it| key.starts_with(it))
        };
        let mut kept = Map::new();
        for (key, value) in headers {
            if hayward_api::kinds::server::is_own_header(key) {
                self.note(format!(
                    "server `{server}`: the header `{key}` is said by the protocol, and is left out"
                ));
            } else {
                kept.insert(key.clone(), value.clone());
            }
        }
        self.entries((server, "headers"), &kept, |key, text| !is_plain(key) || is_secret(key, text))
    }

    fn entries(
        &mut self,
        (server, of): (&str, &str),
        variables: &Map<String, Value>,
        is_secret: impl Fn(&str, &str) -> bool,
    ) -> Vec<Value> {
        let (mut env, mut sealed) = (Vec::new(), Map::new());
        for (key, value) in variables {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => {
                    self.note(format!("server `{server}`: `{key}` is no text, and is left out"));
                    continue;
                }
            };
            if let Some(parts) = filled_in(&text) {
                self.note(format!(
                    "server `{server}`: `{key}` is left out: its client fills in {parts}, and nobody does here; \
                     put it into a secret, and refer to it with `hayward edit server {server}`"
                ));
            } else if is_secret(key, &text) {
                sealed.insert(key.clone(), Value::String(text));
            } else {
                env.push(json!({ "name": key, "value": text }));
            }
        }
        if !sealed.is_empty() {
            let secret = self.named_quietly("secret", &format!("{server}-{of}"));
            let refer = |key: &String| json!({ "name": key, "valueFrom": { "secretRef": { "name": secret, "key": key } } });
            env.extend(sealed.keys().map(refer));
            self.add("secret", json!({ "name": secret, "data": sealed }));
            self.made.push((server.to_owned(), secret));
        }
        env
    }

    /// A name that nobody has given, and so nobody has to be told of.
    fn named_quietly(&mut self, kind: &str, wanted: &str) -> String {
        let told = self.notes.len();
        let name = self.named(kind, wanted);
        self.notes.truncate(told);
        name
    }

    /// Leaves out what no server would take, and says so.
    pub(super) fn check(&mut self) {
        for (word, documents) in &mut self.documents {
            let Some(kind) = find(word) else { continue };
            documents.retain(|document| match check(kind, document) {
                Ok(()) => true,
                Err(error) => {
                    let name = name(kind, document);
                    let hint = error.hint.map_or(String::new(), |hint| format!(" ({hint})"));
                    self.notes.push(format!("{} `{name}` is left out: {}{hint}", kind.name, error.message));
                    false
                }
            });
        }
        self.drop_orphans();
    }

    /// Leaves out the secrets that were made for servers which are left out.
    fn drop_orphans(&mut self) {
        let servers = self.documents.get("server").map(Vec::as_slice).unwrap_or_default();
        let is_there = |wanted: &str| servers.iter().any(|server| server["name"] == wanted);
        let orphans: Vec<&String> =
            self.made.iter().filter(|(server, _)| !is_there(server)).map(|(_, secret)| secret).collect();
        let Some(secrets) = self.documents.get("secret") else { return };
        let is_kept = |secret: &&Value| !orphans.iter().any(|orphan| secret["name"] == orphan.as_str());
        let kept = secrets.iter().filter(is_kept).cloned().collect();
        self.documents.insert("secret", kept);
    }

    /// All documents as a file has them, what others refer to first.
    pub(super) fn lists(&self) -> Value {
        let list = |kind: &Descriptor| {
            let documents = self.documents.get(kind.name).filter(|documents| !documents.is_empty())?;
            Some((kind.plural.to_owned(), Value::Array(documents.clone())))
        };
        Value::Object(ordered().into_iter().filter_map(list).collect())
    }

    /// One line for each document; of secrets the keys only.
    pub(super) fn shown(&self) -> String {
        let mut text = String::new();
        for kind in ordered() {
            for document in self.documents.get(kind.name).into_iter().flatten() {
                let detail = match kind.name {
                    "server" => start(document),
                    "secret" => keys(document),
                    _ => String::new(),
                };
                text += &format!("{}/{}{detail}\n", kind.name, name(kind, document));
            }
        }
        text
    }
}

/// How a server starts.
fn start(server: &Value) -> String {
    started(server).map_or(String::new(), |what| format!("  {what}"))
}

/// What starts as a server, or where it is: of an address nothing that may be a secret.
pub(super) fn started(server: &Value) -> Option<String> {
    let member = |name: &str| server.get(name).and_then(Value::as_str);
    let program = server.get("command").and_then(|words| words.get(0)).and_then(Value::as_str);
    let what = ["packageName", "dockerImage"].into_iter().find_map(member).map(str::to_owned);
    what.or_else(|| member("externalUrl").map(address)).or_else(|| program.map(str::to_owned))
}

fn address(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = plain.split_once("://") else { return plain.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn keys(secret: &Value) -> String {
    let data = secret.get("data").and_then(Value::as_object);
    let keys: Vec<&str> = data.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    format!("  {}", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_valid_and_stay_apart() {
        let mut plan = Plan::default();
        assert_eq!(plan.named("server", "home assistant"), "home-assistant");
        assert_eq!(plan.named("server", "home/assistant"), "home-assistant-2");
        assert_eq!(plan.named("server", "@äx"), "x");
        assert_eq!(plan.named("server", "日本"), "server");
        assert_eq!(plan.named("secret", "x"), "x");
        assert!(plan.named("server", &"x".repeat(300)).len() <= NAME_CHARS_MAX);
        assert_eq!(plan.notes.len(), 5);
    }

    #[test]
    fn what_looks_like_a_secret_becomes_one() {
        let mut plan = Plan::default();
        let variables = json!({"API_TOKEN": "hush", "LEVEL": "debug", "ASK": "${input:x}", "ODD": []});
        let env = plan.environment("ha", variables.as_object().unwrap());
        let expect = json!([
            {"name": "LEVEL", "value": "debug"},
            {"name": "API_TOKEN", "valueFrom": {"secretRef": {"name": "ha-env", "key": "API_TOKEN"}}},
        ]);
        assert_eq!(Value::Array(env), expect);
        assert_eq!(plan.lists()["secrets"][0]["data"], json!({"API_TOKEN": "hush"}));
        assert!(!plan.shown().contains("hush") && !plan.notes.join("").contains("hush"));
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_a_secret() {
        for (url, expect) in [
            ("https://x.org/mcp?key=hush#hush", "https://x.org/mcp"),
            ("https://u:hush@x.org/mcp", "https://x.org/mcp"),
            ("https://x.org/@x/mcp", "https://x.org/@x/mcp"),
            ("https://x.org", "https://x.org"),
        ] {
            assert_eq!(started(&json!({ "externalUrl": url })).as_deref(), Some(expect));
        }
    }

    #[test]
    fn a_secret_goes_with_the_server_that_it_was_made_for() {
        let mut plan = Plan::default();
        let variables = json!({"TOKEN": "hush"});
        for (name, url) in [("a", "https://x.org/mcp"), ("b", "https://u:hush@x.org/mcp")] {
            let env = plan.environment(name, variables.as_object().unwrap());
            plan.add("server", json!({"name": name, "externalUrl": url, "env": env}));
        }
        plan.add("secret", json!({"name": "own", "data": {"k": "v"}}));
        plan.check();
        let lists = plan.lists();
        let names: Vec<&Value> =
            lists["secrets"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["a-env", "own"]);
        assert!(
            matches!(&plan.notes[..], [note] if note.contains("server `b` is left out") && !note.contains("hush"))
        );
    }
}
