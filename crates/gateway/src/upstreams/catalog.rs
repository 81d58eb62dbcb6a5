//! What was declared, as the road reads it: which servers there are, and what each endpoint shows of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hayward_api::definition::{Placement, ToolOverride};
use hayward_api::kinds::project::{NameStyle, ProjectSpec};
use hayward_api::kinds::server::{RESERVED, ServerSpec};
use hayward_audit::secrets::Redaction;
use hayward_mcp::state::digest;
use hayward_store::ToolPin;

use super::names::prefix_of;
use super::server::Server;
use crate::endpoint::{DEFAULT_PROJECT, Endpoint};

/// What was declared.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Servers: name, uid, and what was said of them.
    pub servers: Vec<(String, String, ServerSpec)>,
    /// Projects: name, and what was said of them.
    pub projects: Vec<(String, ProjectSpec)>,
    /// What was approved of servers that have not said anything yet, by uid.
    pub approved: HashMap<String, Vec<ToolPin>>,
}

/// All servers, and what each endpoint shows.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) servers: HashMap<Arc<str>, Arc<Server>>,
    pub(crate) entries: HashMap<Endpoint, Arc<Entry>>,
    /// What endpoints would show that are not served, and why they aren't.
    pub(crate) unserved: HashMap<Endpoint, (Arc<Entry>, &'static str)>,
}

/// What one endpoint shows.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its servers, in order.
    pub(crate) attached: Vec<Attached>,
    /// How names are put together.
    pub(crate) style: NameStyle,
    /// What its clients are told first.
    pub(crate) prompt: Option<String>,
    /// Changes with whatever it shows.
    version: AtomicU64,
}

/// A server at an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    pub(crate) server: Arc<Server>,
    /// What its names begin with; none where they stay as they are.
    pub(crate) prefix: Option<Arc<str>>,
    /// What is otherwise for some of its tools there.
    pub(crate) tools: Arc<BTreeMap<String, ToolOverride>>,
}

/// Gives out versions, each once.
static VERSIONS: AtomicU64 = AtomicU64::new(1);

impl Entry {
    fn new(attached: Vec<Attached>, style: NameStyle, prompt: Option<String>) -> Self {
        Self { attached, style, prompt, version: AtomicU64::new(VERSIONS.fetch_add(1, Ordering::Relaxed)) }
    }

    /// What tells it from how it was before, and from every other entry.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// It shows something else from now on.
    pub(crate) fn touch(&self) {
        self.version.store(VERSIONS.fetch_add(1, Ordering::Relaxed), Ordering::Release);
    }

    /// Whether it shows this server.
    pub(crate) fn has(&self, server: &str) -> bool {
        self.attached.iter().any(|attached| &*attached.server.name == server)
    }

    fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&Attached, &Attached)| {
            Arc::ptr_eq(&one.server, &other.server) && one.prefix == other.prefix && one.tools == other.tools
        };
        self.style == other.style
            && self.prompt == other.prompt
            && self.attached.len() == other.attached.len()
            && self.attached.iter().zip(&other.attached).all(same)
    }
}

impl Catalog {
    /// What was declared, on top of what is known: a server that is as it was stays what it is.
    pub(crate) fn of(declared: Declared, before: &Self, redaction: &Redaction) -> Self {
        let mut servers: HashMap<Arc<str>, Arc<Server>> = HashMap::with_capacity(declared.servers.len());
        for (name, uid, spec) in declared.servers {
            if RESERVED.contains(&name.as_str()) && spec.placement != Some(Placement::Builtin) {
                tracing::warn!(
                    server = name,
                    "the name is that of a toolset of ours, so the server is not reached"
                );
                continue;
            }
            let known = before.servers.get(&*name).filter(|known| *known.uid == *uid);
            let server = match known {
                Some(known) if known.spec == spec => Arc::clone(known),
                known => {
                    let approved = declared.approved.get(&uid).map_or(&[][..], Vec::as_slice);
                    let before = known.map(|known| &**known);
                    Arc::new(Server::new((&name, &uid), spec, before, (approved, redaction)))
                }
            };
            servers.insert(Arc::clone(&server.name), server);
        }
        let (mut entries, mut unserved) = (HashMap::new(), HashMap::new());
        for server in servers.values() {
            let attached = Attached { server: Arc::clone(server), prefix: None, tools: Arc::default() };
            let entry = Entry::new(vec![attached], NameStyle::Underscore, None);
            entries.insert(Endpoint::Server(Arc::clone(&server.name)), entry);
        }
        for (name, spec) in declared.projects {
            if let Some(why) = spec.why_not_served() {
                let entry = Arc::new(project(&spec, &servers));
                unserved.insert(Endpoint::Project(name.into()), (entry, why));
                continue;
            }
            if name == DEFAULT_PROJECT {
                // It is reached under its name as well.
                entries.insert(Endpoint::Default, project(&spec, &servers));
            }
            entries.insert(Endpoint::Project(name.into()), project(&spec, &servers));
        }
        let kept = |(endpoint, entry): (Endpoint, Entry)| {
            let known = before.entries.get(&endpoint).filter(|known| known.is_same(&entry));
            let entry = known.map_or_else(|| Arc::new(entry), Arc::clone);
            (endpoint, entry)
        };
        Self { servers, entries: entries.into_iter().map(kept).collect(), unserved }
    }

    /// The endpoints that show something else than before, or are new or gone.
    pub(crate) fn changed_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Endpoint> {
        let is_other = |(endpoint, entry): &(&Endpoint, &Arc<Entry>)| {
            before.entries.get(*endpoint).is_none_or(|known| !Arc::ptr_eq(known, entry))
        };
        let gone = before.entries.keys().filter(|endpoint| !self.entries.contains_key(*endpoint));
        self.entries.iter().filter(is_other).map(|(endpoint, _)| endpoint).chain(gone)
    }
}

fn project(spec: &ProjectSpec, servers: &HashMap<Arc<str>, Arc<Server>>) -> Entry {
    let mut taken: Vec<String> = Vec::new();
    let mut attached = Vec::new();
    for name in &spec.servers {
        let Some(server) = servers.get(name.as_str()) else { continue };
        let said = spec.server_overrides.get(name);
        let prefix = said.and_then(|said| said.prefix.clone()).unwrap_or_else(|| match spec.name_style {
            Some(NameStyle::Slash) => name.clone(),
            Some(NameStyle::Underscore) | None => prefix_of(name),
        });
        let prefix = free(&prefix, name, &taken);
        taken.push(prefix.clone());
        attached.push(Attached {
            server: Arc::clone(server),
            prefix: Some(prefix.into()),
            tools: Arc::new(said.map(|said| said.tools.clone()).unwrap_or_default()),
        });
    }
    Entry::new(attached, spec.name_style.unwrap_or_default(), spec.prompt.clone())
}

/// A prefix that nobody has: whoever is second under one would be mistaken for the first.
fn free(prefix: &str, server: &str, taken: &[String]) -> String {
    let (mut free, mut round) = (prefix.to_owned(), 0_u32);
    while taken.contains(&free) {
        let digest = digest(server, prefix, &round.to_be_bytes());
        free = format!("{prefix}-{:02x}{:02x}", digest[0], digest[1]);
        round += 1;
    }
    free
}

#[cfg(test)]
mod tests {
    use hayward_audit::secrets::{Secret, Secrets, TagKey};
    use hayward_store::PendingTool;
    use serde_json::json;

    use super::*;

    fn catalog(declared: Declared, before: &Catalog) -> Catalog {
        Catalog::of(declared, before, &Secrets::new(TagKey::new([7; 32])).current())
    }

    fn declared(servers: &[(&str, &str)], projects: &[(&str, serde_json::Value)]) -> Declared {
        let server = |(name, command): &(&str, &str)| {
            let spec = serde_json::from_value(json!({"command": [command]})).unwrap();
            ((*name).to_owned(), format!("uid-{name}"), spec)
        };
        let project = |(name, spec): &(&str, serde_json::Value)| {
            ((*name).to_owned(), serde_json::from_value(spec.clone()).unwrap())
        };
        Declared {
            servers: servers.iter().map(server).collect(),
            projects: projects.iter().map(project).collect(),
            approved: HashMap::new(),
        }
    }

    fn prefixes(catalog: &Catalog, endpoint: &Endpoint) -> Vec<String> {
        let entry = &catalog.entries[endpoint];
        entry.attached.iter().map(|it| it.prefix.as_deref().unwrap_or("-").to_owned()).collect()
    }

    #[test]
    fn every_server_has_an_endpoint_and_so_has_every_project_that_is_served() {
        let of = declared(
            &[("a", "x"), ("b.c", "y")],
            &[
                ("home", json!({"servers": ["b.c", "a", "gone"]})),
                ("default", json!({"servers": ["a"], "serverOverrides": {"a": {"prefix": "q"}}})),
                ("gated", json!({"servers": ["a"], "gated": true})),
            ],
        );
        let catalog = super::tests::catalog(of, &Catalog::default());
        let project = |name: &str| Endpoint::Project(name.into());
        assert_eq!(prefixes(&catalog, &Endpoint::Server("a".into())), ["-"]);
        assert_eq!(prefixes(&catalog, &project("home")), ["b_c", "a"]);
        assert_eq!(prefixes(&catalog, &Endpoint::Default), ["q"]);
        assert_eq!(prefixes(&catalog, &project("default")), ["q"]);
        assert!(!catalog.entries.contains_key(&project("gated")), "what it asks for isn't done");
        assert!(catalog.unserved[&project("gated")].1.contains("accept: [NotEnforced]"));
        assert_eq!(catalog.unserved.len(), 1);
    }

    #[test]
    fn two_servers_never_share_a_prefix() {
        let of = declared(&[("a.b", "x"), ("a_b", "x")], &[("p", json!({"servers": ["a.b", "a_b"]}))]);
        let catalog = super::tests::catalog(of, &Catalog::default());
        let prefixes = prefixes(&catalog, &Endpoint::Project("p".into()));
        assert!(prefixes[0] == "a_b" && prefixes[1].starts_with("a_b-"), "{prefixes:?}");
    }

    #[test]
    fn a_server_of_others_does_not_bear_the_name_of_a_toolset_of_ours() {
        let of = declared(&[("host", "x"), ("a", "x")], &[("default", json!({"servers": ["host", "a"]}))]);
        let catalog = super::tests::catalog(of, &Catalog::default());
        assert!(!catalog.servers.contains_key("host"));
        assert_eq!(prefixes(&catalog, &Endpoint::Default), ["a"]);
    }

    #[test]
    fn what_stays_as_it_was_is_the_same_and_what_changed_is_told() {
        let projects = [("p", json!({"servers": ["a"]})), ("q", json!({"servers": ["b"]}))];
        let before = catalog(declared(&[("a", "x"), ("b", "x")], &projects), &Catalog::default());
        let after = catalog(declared(&[("a", "y"), ("b", "x")], &projects), &before);
        let mut changed: Vec<String> = after.changed_since(&before).map(ToString::to_string).collect();
        changed.sort();
        assert_eq!(changed, ["/projects/p/mcp", "/servers/a/mcp"]);
        assert!(Arc::ptr_eq(&before.servers["b"], &after.servers["b"]));
        let fewer = catalog(declared(&[("b", "x")], &projects[1..]), &after);
        assert_eq!(fewer.changed_since(&after).count(), 2);
    }

    #[test]
    fn what_was_approved_is_shown_without_secrets_until_its_server_speaks_and_stays_where_it_is_away() {
        let secrets = Secrets::new(TagKey::new([7; 32]));
        secrets.hold([Secret::new("s", b"correct-horse-battery").unwrap()]).unwrap();
        let of = |command: &str, approved: &[&str]| {
            let pin = |name: &&str| {
                let text =
                    json!({"name": name, "inputSchema": {}, "description": "It says correct-horse-battery."});
                ToolPin {
                    name: (*name).to_owned(),
                    digest: Some("x".to_owned()),
                    definition: Some(text.to_string()),
                    pending: (*name == "waits").then(|| PendingTool {
                        digest: "y".to_owned(),
                        definition: text.to_string(),
                        why: "it is not what was approved any more".to_owned(),
                    }),
                }
            };
            let approved = HashMap::from([("uid-a".to_owned(), approved.iter().map(pin).collect())]);
            Declared { approved, ..declared(&[("a", command)], &[]) }
        };
        let shown = |catalog: &Catalog| {
            let lists = catalog.servers["a"].lists();
            let text: Vec<_> = lists.offered.iter().map(|it| it.definition.as_str().to_owned()).collect();
            (text.join(" "), lists.stale.as_ref().map(ToString::to_string).unwrap_or_default())
        };
        let first = Catalog::of(of("x", &["t", "waits"]), &Catalog::default(), &secrets.current());
        let (text, stale) = shown(&first);
        assert!(
            text.contains(r#""name":"t""#) && !text.contains("horse") && stale.contains("started"),
            "{text}"
        );
        // What was in quarantine is so still.
        assert!(!text.contains("waits"), "{text}");
        let kept_back = &first.servers["a"].lists().kept_back;
        assert_eq!((kept_back.len(), kept_back[0].name.as_str()), (1, "waits"));
        assert!(!kept_back[0].definition.contains("horse"));
        assert_eq!(first.servers["a"].mark_gone("it is away").len(), 0);
        assert_eq!(shown(&first), (text.clone(), "it is away".to_owned()));
        // Declared anew before it ever spoke, it shows the same, by what is said of it now.
        let again = Catalog::of(of("y", &["t", "waits"]), &first, &secrets.current());
        assert!(!Arc::ptr_eq(&first.servers["a"], &again.servers["a"]));
        assert_eq!(shown(&again), (text, stale));
        assert_eq!(shown(&Catalog::of(of("y", &[]), &Catalog::default(), &secrets.current())).0, "");
    }
}
