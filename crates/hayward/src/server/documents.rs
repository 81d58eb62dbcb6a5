//! Documents by their names, ids and patterns: the one place where it is decided which a command means.

use anyhow::anyhow;
use futures_util::future::try_join_all;
use hayward_api::Code;
use hayward_api::kinds::{Descriptor, Scope};
use hayward_client::{Client, Error, Selection, Target};
use serde_json::Value;

use super::ProjectArg;
use crate::documents::name;
use crate::failure::Failure;
use crate::output::{self, plain, tell};
use crate::words::{self, Wanted};

/// Which of those that are wanted are meant.
pub(crate) struct Meant<'a> {
    pub(crate) project: &'a ProjectArg,
    /// Those with these labels.
    pub(crate) labels: Option<&'a str>,
    /// Those with these members.
    pub(crate) fields: Option<&'a str>,
    /// Only these members of each, where many are listed; all if there are none.
    pub(crate) only: Vec<String>,
}

impl Meant<'_> {
    /// The same for the server, of this project.
    pub(crate) fn of(&self, project: Option<&str>) -> Selection {
        let [project, labels, fields] = [project, self.labels, self.fields].map(|it| it.map(str::to_owned));
        Selection { project, labels, fields, only: self.only.clone() }
    }

    fn selects(&self) -> bool {
        self.labels.is_some() || self.fields.is_some()
    }
}

/// What there is of what is wanted.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) documents: Vec<Value>,
    /// That there is no such thing, of each name that is none; patterns may stand for nothing.
    pub(crate) missing: Vec<Failure>,
}

/// The documents of one kind that are wanted, as far as they are there.
pub(crate) async fn found(client: &Client, wanted: &Wanted, meant: &Meant<'_>) -> Result<Found, Error> {
    let Wanted { kind, names } = wanted;
    let project = meant.project.of(kind);
    if names.is_empty() {
        return Ok(Found { documents: all(client, kind, meant).await?, missing: Vec::new() });
    }
    let is_attached = kind.scope == Scope::System && project.is_some();
    if !meant.selects() && !is_attached && !names.iter().any(|name| words::is_pattern(name)) {
        return each(client, wanted, project).await;
    }
    let (patterns, exact): (Vec<String>, Vec<String>) =
        names.iter().cloned().partition(|name| words::is_pattern(name));
    let mut documents = client.list(kind, &meant.of(project)).await?.items;
    // A pattern is a list of what it stands for: of servers, those of the project that is configured.
    let is_narrower = !patterns.is_empty() && meant.project.listed(kind) != project;
    let among = if is_narrower { Some(all(client, kind, meant).await?) } else { None };
    let id = |document: &Value| document.get("id").cloned();
    documents.retain(|document| {
        is_wanted(kind, &exact, document)
            || is_wanted(kind, &patterns, document)
                && among.as_ref().is_none_or(|among| among.iter().any(|it| id(it) == id(document)))
    });
    let is_missing = |name: &&String| {
        let one = std::slice::from_ref(*name);
        !words::is_pattern(name) && !documents.iter().any(|document| is_wanted(kind, one, document))
    };
    let missing = names.iter().filter(is_missing).map(|name| absent(kind, name, project, meant)).collect();
    Ok(Found { documents, missing })
}

/// All of a kind. Where the project of the configuration is none, no server is attached to it, and that is told.
async fn all(client: &Client, kind: &Descriptor, meant: &Meant<'_>) -> Result<Vec<Value>, Error> {
    let project = meant.project.listed(kind);
    match client.list(kind, &meant.of(project)).await {
        Err(error) if error.code() == Code::NotFound && project != meant.project.of(kind) => {
            let told = format!("note: {error}, which is configured: `-p ''` means all {}\n", kind.plural);
            tell(&plain(&told));
            Ok(Vec::new())
        }
        listed => Ok(listed?.items),
    }
}

/// The documents of these names and ids, asked for one by one.
async fn each(client: &Client, wanted: &Wanted, project: Option<&str>) -> Result<Found, Error> {
    let Wanted { kind, names } = wanted;
    let each = names.iter().map(async |word| match client.get(Target { kind, word, project }).await {
        Err(error) if error.code() == Code::NotFound => Ok(Err(error)),
        other => other.map(Ok),
    });
    let mut found = Found::default();
    for one in try_join_all(each).await? {
        match one {
            Ok(document) => found.documents.push(document),
            Err(error) => found.missing.push(error.into()),
        }
    }
    Ok(found)
}

/// That a name is none of those that are meant, which need not say that there is no such thing.
fn absent(kind: &Descriptor, name: &str, project: Option<&str>, meant: &Meant<'_>) -> Failure {
    let within = project.map_or(String::new(), |project| format!(" in project `{project}`"));
    let selected = if meant.selects() { " with what is selected" } else { "" };
    let error = anyhow!("{} `{name}` not found{within}{selected}", kind.name);
    let failure = Failure { error, hint: None, exit_code: Code::NotFound.exit_code() };
    let is_attached = kind.scope == Scope::System && project.is_some();
    if is_attached {
        failure.hint("if it is there, it is not attached to it: leave out `-p`")
    } else {
        failure
    }
}

/// The one resource that a command is about. A server belongs to no project: it has to be attached to the one that was said.
pub(crate) async fn target<'a>(
    client: &Client,
    (kind, word): (&'static Descriptor, &'a str),
    project: &'a ProjectArg,
) -> Result<Target<'a>, Failure> {
    let within = project.of(kind);
    if kind.scope != Scope::System || within.is_none() {
        return Ok(Target { kind, word, project: within });
    }
    let meant = Meant { project, labels: None, fields: None, only: Vec::new() };
    let wanted = Wanted { kind, names: vec![word.to_owned()] };
    let missing = found(client, &wanted, &meant).await?.missing.pop();
    missing.map_or(Ok(Target { kind, word, project: None }), Err)
}

/// Fails if something is missing, when all else was shown: with the last, behind those that are told here.
pub(crate) fn complete(mut missing: Vec<Failure>) -> Result<(), Failure> {
    let last = missing.pop();
    for failure in &missing {
        output::failure(failure);
    }
    last.map_or(Ok(()), Err)
}

/// Whether a document is one of these names, ids or patterns.
pub(crate) fn is_wanted(kind: &Descriptor, names: &[String], document: &Value) -> bool {
    let (own, id) = (name(kind, document), document.get("id").and_then(Value::as_str));
    names.iter().any(|name| words::matches(name, own) || Some(name.as_str()) == id)
}
