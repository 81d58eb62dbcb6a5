//! A resource of every kind, twice over, and every way to name one in a request to a route.
//!
//! What nobody may see here is called [`THERE`], is of the project of that name, and is as real as what isn't called so: whoever
//! is granted it gets it. So a refusal is one because of the grant alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hayward_api::kinds::{Descriptor, KINDS, Kept, MadeBy, Scope, samples};
use hayward_api::names::is_uid;
use hayward_controlplane::rest::{Route, Takes};
use serde_json::{Value, json};

use super::rig::Rig;

/// What is there. Words that stand in no text of ours, so that they can be taken out of answers.
pub(crate) const THERE: &str = "unseen-1";
/// What is there, too, and in another project.
pub(crate) const MINE: &str = "mine-1";
/// What isn't there, as a name and as a uid.
pub(crate) const NOWHERE: &str = "absent-1";
pub(crate) const NO_UID: &str = "0198c6a2-5b1e-7c3d-9e4f-0a1b2c3d4e5f";
/// A server that is attached to no project.
pub(crate) const SPARE: &str = "spare-1";
/// Nobody waits for having failed, and everybody for a server that doesn't answer.
const PATIENT: [&str; 4] =
    ["--limit", "gateway.failure_delay_ms_max=0", "--limit", "runtime.handshake_timeout_ms=600000"];
/// What samples name beside each other.
const BESIDE: [(&str, &str); 2] = [("/users", "ci"), ("/servers", "docs")];

/// A daemon in which there is a resource of every kind.
pub(crate) struct World {
    pub(crate) rig: Rig,
    /// By kind and name.
    made: HashMap<(&'static str, String), Made>,
}

#[derive(Clone)]
struct Made {
    id: String,
    /// Its name, if that is another one than it was to have: nobody names instances.
    name: Option<String>,
    version: u64,
}

/// How a request names what it is about.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// Its name.
    pub(crate) name: &'static str,
    /// What stands for it in the path.
    pub(crate) word: String,
    /// The project of the query.
    pub(crate) project: Option<String>,
}

impl World {
    /// Nobody waits in it for having failed.
    pub(crate) async fn new() -> Self {
        let rig = Rig::start_with(&PATIENT);
        let mut world = Self { rig, made: HashMap::new() };
        let admin = world.rig.admin().to_owned();
        for (path, name) in BESIDE {
            let body =
                if path == "/users" { json!({"email": name, "serviceAccount": true}) } else { resting(name) };
            assert_eq!(world.rig.post(path, &admin, body).await.status, 201);
        }
        assert_eq!(world.rig.post("/servers", &admin, resting(SPARE)).await.status, 201);
        for name in [THERE, MINE] {
            for kind in KINDS.iter().copied() {
                let made = world.make(kind, name).await;
                world.made.insert((kind.name, name.to_owned()), made);
            }
            let invite = world.rig.post("/auth/invites", &admin, json!({"email": name})).await;
            assert_eq!(invite.status, 201, "{}", invite.body);
        }
        let invites = world.rig.get("/auth/invites", &admin).await.json();
        for invite in invites.as_array().unwrap() {
            let id = invite["id"].as_str().unwrap().to_owned();
            let name = invite["email"].as_str().unwrap().to_owned();
            world.made.insert(("invite", name), Made { id, name: None, version: 0 });
        }
        world
    }

    /// Makes one of this kind.
    async fn make(&self, kind: &'static Descriptor, name: &str) -> Made {
        let document = match (kind.kept, kind.made_by) {
            // It was made with its project.
            (Kept::InProjects, _) => {
                let id = format!("{}.{name}", self.made[&("project", name.to_owned())].id);
                return Made { id, name: None, version: 0 };
            }
            (_, MadeBy::Reconciliation) => return self.reconciled(kind, name).await,
            // It never answers, and is waited for: its instance stays as it is.
            _ if kind.name == "server" => json!({"name": name, "command": ["sleep", "1000"]}),
            _ => document(kind, name, name),
        };
        let path = format!("/{}", kind.route);
        let made = self.rig.post(&path, self.rig.admin(), document).await;
        assert_eq!(made.status, 201, "{path}: {}", made.body);
        // Templates have a `version` of their own.
        let version = made.header("etag").unwrap().trim_matches('"').parse().unwrap();
        Made { id: made.json()["id"].as_str().unwrap().to_owned(), name: None, version }
    }

    /// The one of what nobody asks for that was made for the server of this name.
    async fn reconciled(&self, kind: &'static Descriptor, name: &str) -> Made {
        let started = Instant::now();
        loop {
            let path = format!("/{}?serverId={name}", kind.route);
            let listed = self.rig.get(&path, self.rig.admin()).await.json();
            let text = |member: &str| listed[0][member].as_str().map(ToOwned::to_owned);
            if let (Some(id), version) = (text("id"), listed[0]["version"].as_u64()) {
                return Made { id, name: text(kind.identity), version: version.unwrap() };
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{name} has none: {listed}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Bindings of this role to everything that is called so, and to what follows from it.
    pub(crate) fn bindings(&self, role: &str, name: &str) -> Vec<Value> {
        let of = |resource: &str, name: &str| json!({"role": role, "resource": resource, "name": name});
        let named = self.made.iter().filter(|((_, of), _)| of == name);
        let others = named.filter_map(|((kind, _), made)| Some((kind, made.name.as_ref()?)));
        let others = others.map(|(kind, name)| of(kind, name));
        std::iter::once(of("*", name)).chain(others).collect()
    }

    /// Every way in which a route names this.
    pub(crate) fn ways(&self, route: &Route, name: &'static str) -> Vec<Way> {
        let way = |word: &str, project: Option<&str>| {
            let (word, project) = (word.to_owned(), project.map(ToOwned::to_owned));
            Way { name, word, project }
        };
        let Some(kind) = route.kind else { return vec![way(name, None)] };
        let noun = if route.path.contains("/invites/") { "invite" } else { kind.name };
        let made = &self.made[&(noun, name.to_owned())];
        let (id, own) = (made.id.as_str(), made.name.as_deref().unwrap_or(name));
        let has_one = route.path.contains("{id}");
        let words = match noun {
            _ if !has_one => vec![name],
            "invite" => vec![id],
            _ => vec![own, id],
        };
        let has_project = route.query.iter().any(|param| param.name == "project")
            && (has_one || kind.scope != Scope::System || kind.name == "server");
        let mut projects = vec![None];
        if has_project {
            projects.extend([Some(name), Some(self.made[&("project", name.to_owned())].id.as_str())]);
        }
        let all = words.iter().flat_map(|word| projects.iter().map(|project| way(word, *project)));
        // An attachment is named by its id, or by its server and its project.
        let is_meant =
            |way: &Way| !has_one || kind.kept == Kept::Stored || (way.word == id) == way.project.is_none();
        all.filter(is_meant).collect()
    }

    /// What a request on this way says.
    pub(crate) fn body(&self, route: &Route, way: &Way) -> Value {
        match (route.takes, route.kind, route.operation.as_str()) {
            (Takes::Nothing, ..) => Value::Null,
            (Takes::Document, Some(kind), _) => {
                let mut body = document(kind, way.name, if way.name == MINE { MINE } else { THERE });
                if !route.path.contains("{id}") && way.project.is_some() {
                    body.as_object_mut().unwrap().remove("project");
                }
                body
            }
            (Takes::Patch, ..) => json!({"labels": {"team": "home"}}),
            (_, _, "servers.tools.approve") => json!({"digest": "0"}),
            (_, _, "servers.authorization.begin") => json!({"redirectUri": "http://127.0.0.1:1/callback"}),
            (_, _, "servers.authorization.answer") => json!({"query": "state=s&code=c"}),
            (_, _, "projects.servers.attach") => json!({"server": SPARE}),
            (_, _, "auth.impersonate") => json!({"email": "bob@example.org"}),
            (_, _, "auth.invite") => json!({"email": way.name}),
            (_, _, "audit.claim") => {
                json!({"eventKind": "gate_decision", "timestamp": "2026-01-01T00:00:00Z"})
            }
            (_, Some(kind), _) => {
                let name = if way.name == MINE { MINE } else { THERE };
                json!({"to": self.made[&(kind.name, name.to_owned())].version})
            }
            _ => json!({}),
        }
    }

    /// What the administrator sees of everything that is there.
    pub(crate) async fn seen(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for kind in KINDS {
            let mut listed = self.rig.get(&format!("/{}", kind.route), self.rig.admin()).await.json();
            // How it is, changes by itself.
            for document in listed.as_array_mut().into_iter().flatten() {
                document.as_object_mut().unwrap().remove("status");
            }
            all.push(listed);
        }
        all.push(self.rig.get("/auth/invites", self.rig.admin()).await.json());
        all
    }
}

impl Way {
    /// The path that names it, with this in the query beside.
    pub(crate) fn path(&self, route: &Route, query: &[(&str, &str)]) -> String {
        let path = route.path.replace("{id}", &self.word).replace("{server}", self.name);
        let path = path.replace("{namespace}", self.name).replace("{name}", "tool");
        let mut path = path.strip_prefix("/api/v1").unwrap_or(&path).to_owned();
        let project = self.project.iter().map(|project| ("project", project.as_str()));
        for (at, (name, value)) in project.chain(query.iter().copied()).enumerate() {
            path += &format!("{}{name}={value}", if at == 0 { '?' } else { '&' });
        }
        path
    }

    /// The same of what isn't there, and in a project that isn't.
    pub(crate) fn absent(&self) -> Vec<Self> {
        let absent = |word: &str| if is_uid(word) { NO_UID } else { NOWHERE }.to_owned();
        let word = match self.word.split_once('.') {
            Some(_) => format!("{NO_UID}.{NOWHERE}"),
            None => absent(&self.word),
        };
        let elsewhere =
            self.project.as_deref().map(|project| Self { project: Some(absent(project)), ..self.clone() });
        [Self { name: NOWHERE, word, ..self.clone() }].into_iter().chain(elsewhere).collect()
    }
}

/// A server that nothing runs of.
fn resting(name: &str) -> Value {
    json!({"name": name, "command": ["serve"], "replicas": 0})
}

/// A document of this name: the sample of its kind, with what else samples name being called so.
pub(crate) fn document(kind: &Descriptor, name: &str, others: &str) -> Value {
    let mut document = renamed(samples::sample(kind), others);
    document[kind.identity] = name.into();
    document
}

fn renamed(value: Value, name: &str) -> Value {
    match value {
        Value::String(word) if KINDS.iter().any(|kind| samples::sample(kind)[kind.identity] == word) => {
            name.into()
        }
        // A folder that is there on every machine.
        Value::String(path) if path.starts_with("/srv") => "/usr".into(),
        Value::Array(values) => values.into_iter().map(|value| renamed(value, name)).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(member, value)| (member, renamed(value, name))).collect()
        }
        value => value,
    }
}
