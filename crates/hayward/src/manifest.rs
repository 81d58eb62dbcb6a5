//! Files that say what there is to be: YAML or JSON, keyed lists or single documents, several in a file.
//!
//! Everything is read and checked before anything is sent, and all faults are told together, each with its file and line.

mod node;
mod source;

use anyhow::anyhow;
use hayward_api::kinds::{Descriptor, KINDS, find};
use hayward_api::metadata::API_VERSION;
use hayward_client::FieldFault;
use serde_json::{Map, Value};

pub(crate) use node::{Node, read as read_nodes};
use source::Source;
pub(crate) use source::sources;

use crate::documents;
use crate::failure::Failure;
use crate::output::path::{Step, steps};
use crate::server::ProjectArg;
use crate::words;

/// Faults that are told at once.
const FAULTS_MAX: usize = 50;

/// Members under which Kubernetes has what stands side by side here.
const NESTED: [&str; 2] = ["metadata", "spec"];

/// What to write instead of them.
const FLAT: &str =
    "write what is below them beside `kind`, e.g. `{kind: server, name: ha, packageName: x, replicas: 2}`";

/// A document of a file.
pub(crate) struct Manifest {
    pub(crate) kind: &'static Descriptor,
    /// What it says, as it was written.
    pub(crate) document: Value,
    file: String,
    node: Node,
}

impl Manifest {
    pub(crate) fn name(&self) -> &str {
        documents::name(self.kind, &self.document)
    }

    /// Where a member stands, or what is nearest to it.
    fn place(&self, path: &str) -> String {
        format!("{}:{}", self.file, self.node.line_of(path))
    }
}

/// What is wrong with files.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, place: &str, what: &str) {
        self.0.push(format!("{place}: {what}"));
    }

    fn sound(mut self) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let more = self.0.len().saturating_sub(FAULTS_MAX);
        self.0.truncate(FAULTS_MAX);
        if more > 0 {
            self.0.push(format!("and {more} more"));
        }
        let error = anyhow!("nothing was sent, since something is wrong:\n  {}", self.0.join("\n  "));
        Err(Failure { error, hint: None, exit_code: 1 })
    }
}

/// Whether a file may hold nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Empty {
    Taken,
    /// Where what isn't said is deleted: what should have written the file may have failed.
    Refused,
}

impl Empty {
    /// Nothing is deleted because of a file without a word.
    pub(crate) fn where_pruned(prunes: bool) -> Self {
        if prunes { Self::Refused } else { Self::Taken }
    }
}

/// The documents of these files and directories, `-` being standard input.
pub(crate) fn read(places: &[String], project: &ProjectArg, empty: Empty) -> Result<Vec<Manifest>, Failure> {
    let mut faults = Faults::default();
    let mut manifests = Vec::new();
    for source in sources(places)? {
        read_source(source, empty, &mut manifests, &mut faults);
    }
    for manifest in &mut manifests {
        check(manifest, project, &mut faults);
    }
    twice(&manifests, &mut faults);
    faults.sound()?;
    Ok(manifests)
}

/// The one document that this text says of a kind, in a list, alone, or without saying its kind.
pub(crate) fn read_one(file: &str, text: &str, kind: &'static Descriptor) -> Result<Manifest, Failure> {
    let mut faults = Faults::default();
    let mut manifests = Vec::new();
    let source = Source { name: file.to_owned(), text: text.to_owned() };
    read_source(source, Empty::Taken, &mut manifests, &mut faults);
    for manifest in &mut manifests {
        check(manifest, &ProjectArg::default(), &mut faults);
    }
    faults.sound()?;
    match manifests.pop() {
        Some(manifest) if manifests.is_empty() && std::ptr::eq(manifest.kind, kind) => Ok(manifest),
        _ => Err(words::usage(format!("{file}: one {} is to stand here, and nothing else", kind.name))),
    }
}

fn read_source(source: Source, empty: Empty, manifests: &mut Vec<Manifest>, faults: &mut Faults) {
    let Source { name, text } = source;
    let nodes = match node::read(&text) {
        Ok(nodes) => nodes,
        Err(fault) => return faults.0.push(format!("{name}:{fault}")),
    };
    if empty == Empty::Refused && nodes.iter().all(Node::is_null) {
        return faults
            .add(&name, "it holds nothing, so nothing is pruned: write e.g. `servers: []` if none is left");
    }
    for node in nodes {
        read_document(&name, node, manifests, faults);
    }
}

fn read_document(file: &str, node: Node, manifests: &mut Vec<Manifest>, faults: &mut Faults) {
    if node.is_null() {
        return;
    }
    let place = format!("{file}:{}", node.line);
    let Some(members) = node.members() else {
        return faults.add(&place, "a document has members: write e.g. `servers:` and a list below");
    };
    if let Some((_, version)) = members.iter().find(|(name, _)| name == "apiVersion")
        && version.text() != Some(API_VERSION)
    {
        faults.add(&place, &format!("`apiVersion` is not `{API_VERSION}`"));
    }
    if let Some((_, word)) = members.iter().find(|(name, _)| name == "kind") {
        match word.text().and_then(|word| find(&word.to_lowercase())) {
            Some(kind) => manifests.push(manifest(file, kind, node)),
            None => {
                faults.add(&format!("{file}:{}", word.line), &unknown_kind(word.text().unwrap_or_default()));
            }
        }
        return;
    }
    if let Some(identity) = lone(members) {
        let what = format!(
            "`kind` is missing beside `{identity}`: write e.g. `kind: server`, or lists such as `servers:`"
        );
        return faults.add(&place, &what);
    }
    for (word, list) in node.into_members() {
        if word != "apiVersion" {
            read_list(file, &word, list, manifests, faults);
        }
    }
}

/// The member that names what a document without a kind is about.
fn lone(members: &[(String, Node)]) -> Option<&str> {
    let is_identity = |word: &str| KINDS.iter().any(|kind| kind.identity == word);
    let named = members.iter().find(|(word, node)| is_identity(word) && node.text().is_some());
    named.map(|(word, _)| word.as_str())
}

fn read_list(file: &str, word: &str, list: Node, manifests: &mut Vec<Manifest>, faults: &mut Faults) {
    let place = format!("{file}:{}", list.line);
    let Some(kind) = find(word) else { return faults.add(&place, &unknown_kind(word)) };
    if list.is_null() {
        return;
    }
    let Some(entries) = list.into_entries() else {
        return faults.add(&place, &format!("`{word}` is no list: write `- {}: …` below", kind.identity));
    };
    for entry in entries {
        if entry.members().is_none() {
            faults.add(&format!("{file}:{}", entry.line), &format!("an entry of `{word}` has members"));
            continue;
        }
        manifests.push(manifest(file, kind, entry));
    }
}

fn unknown_kind(word: &str) -> String {
    match words::meant(word) {
        Some(meant) => format!("no kind is called `{word}`: did you mean `{meant}`?"),
        None => format!(
            "no kind is called `{word}`: the kinds are {}",
            KINDS.iter().map(|kind| kind.plural).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn manifest(file: &str, kind: &'static Descriptor, node: Node) -> Manifest {
    let mut document = node.value();
    if let Some(members) = document.as_object_mut() {
        members.shift_remove("kind");
        members.shift_remove("apiVersion");
    }
    Manifest { kind, document, file: file.to_owned(), node }
}

/// What can be seen to be wrong without a server; and the project of what says none.
fn check(manifest: &mut Manifest, project: &ProjectArg, faults: &mut Faults) {
    let kind = manifest.kind;
    if let (Some(project), Some(members)) = (project.of_document(kind), manifest.document.as_object_mut()) {
        let said = members.entry("project").or_insert(Value::Null);
        if said.is_null() {
            *said = Value::String(project.to_owned());
        }
    }
    if let Some(member) = NESTED.into_iter().find(|member| is_nested(kind, &manifest.document, member)) {
        let what = format!("{}: documents are flat here, without `metadata` and `spec`: {FLAT}", kind.name);
        return faults.add(&manifest.place(member), &what);
    }
    if let Err(error) = documents::check(kind, &manifest.document) {
        let place = manifest.place(error.field.as_deref().unwrap_or_default());
        let hint = error.hint.map_or(String::new(), |hint| format!(" ({hint})"));
        let title = match manifest.name() {
            "" => kind.name.to_owned(),
            name => format!("{} `{name}`", kind.name),
        };
        let path = error.field.filter(|path| !error.message.contains(&format!("`{path}`")));
        let path = path.map_or(String::new(), |path| format!("`{path}`: "));
        faults.add(&place, &format!("{title}: {path}{}{hint}", error.message));
    }
}

/// Whether a document has one of the members that those of Kubernetes have.
fn is_nested(kind: &Descriptor, document: &Value, member: &str) -> bool {
    let is_ours = hayward_api::document::members(kind).iter().any(|own| own == member);
    !is_ours && document.get(member).is_some_and(Value::is_object)
}

fn twice(manifests: &[Manifest], faults: &mut Faults) {
    let mut seen = std::collections::HashMap::new();
    for manifest in manifests {
        let project = documents::project(manifest.kind, &manifest.document);
        if let Some(first) = seen.insert((manifest.kind.name, project, manifest.name()), manifest) {
            let what =
                format!("{} `{}` stands at {} already", manifest.kind.name, manifest.name(), first.place(""));
            faults.add(&manifest.place(""), &what);
        }
    }
}

/// Documents in lists by the plural of their kinds, as they are sent.
pub(crate) fn lists(manifests: &[Manifest]) -> Value {
    let mut lists = Map::new();
    for manifest in manifests {
        let list = lists.entry(manifest.kind.plural).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(manifest.document.clone());
        }
    }
    Value::Object(lists)
}

/// The same failure, with the file and the line of each member that the server named.
pub(crate) fn placed(manifests: &[Manifest], error: hayward_client::Error) -> Failure {
    let faults: Vec<String> = error.faults().iter().map(|fault| placed_fault(manifests, fault)).collect();
    let (code, hint, told) = (error.code(), error.hint(), error.to_string());
    let is_told = matches!(error.faults(), [fault] if fault.message == told);
    let error = match (faults.is_empty(), place_of(manifests, &told)) {
        (true, None) => return error.into(),
        (true, Some(place)) => anyhow!("{place}: {told}"),
        // One fault says all of it.
        (false, _) if is_told => anyhow!(faults.concat()),
        (false, _) => anyhow!("{told}\n  {}", faults.join("\n  ")),
    };
    Failure { error, hint, exit_code: code.exit_code() }
}

/// Where that stands of which a message speaks: `` server `x`: `env[0].name` … ``.
fn place_of(manifests: &[Manifest], message: &str) -> Option<String> {
    let mut words = message.split('`');
    let (kind, name) = (words.next()?.trim(), words.next()?);
    let manifest = manifests.iter().find(|manifest| manifest.kind.name == kind && manifest.name() == name)?;
    let path = words.nth(1).unwrap_or_default();
    Some(manifest.place(path))
}

fn placed_fault(manifests: &[Manifest], fault: &FieldFault) -> String {
    let FieldFault { field, message } = fault;
    let told = || format!("{field}: {message}");
    let Some(steps) = steps(field) else { return told() };
    let (Some(Step::Member(plural)), Some(Step::Index(index))) = (steps.first(), steps.get(1)) else {
        return told();
    };
    let of_kind = |manifest: &&Manifest| manifest.kind.plural == *plural;
    let Some(manifest) = manifests.iter().filter(of_kind).nth(*index) else { return told() };
    let inner = field.split_once('.').map_or("", |(_, inner)| inner);
    let member = if inner.is_empty() { String::new() } else { format!("{inner}: ") };
    format!("{}: {} `{}`: {member}{message}", manifest.place(inner), manifest.kind.name, manifest.name())
}

/// The files that documents stand in.
#[derive(clap::Args)]
pub(crate) struct FilesArg {
    /// File, directory or `-` for standard input, YAML or JSON; may be repeated. Of a directory, its own files are read and
    /// none below
    #[arg(long = "filename", short = 'f', value_name = "FILE", required = true)]
    files: Vec<String>,
}

impl FilesArg {
    pub(crate) fn read(&self, project: &ProjectArg, empty: Empty) -> Result<Vec<Manifest>, Failure> {
        read(&self.files, project, empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Manifest>, String> {
        read_as(text, Empty::Taken)
    }

    fn read_as(text: &str, empty: Empty) -> Result<Vec<Manifest>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.yaml");
        std::fs::write(&path, text).unwrap();
        let read = read(&[path.display().to_string()], &ProjectArg::default(), empty);
        read.map_err(|failure| failure.error.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn documents_stand_in_lists_or_alone_and_several_in_a_file() {
        let text = "tokens:\n- name: a\n  role: ro\n- name: b\n  role: rw\n---\napiVersion: hayward/v1\nkind: token\nname: c\nrole: ro\n---\n";
        let manifests = read_text(text).unwrap();
        let names: Vec<_> = manifests.iter().map(Manifest::name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(lists(&manifests)["tokens"][2], serde_json::json!({"name": "c", "role": "ro"}));
        assert_eq!(manifests[1].place("role"), format!("{}:5", manifests[1].file));
        assert_eq!(read_text("{\"tokens\": [{\"name\": \"a\", \"role\": \"ro\"}]}").unwrap().len(), 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file_and_line_and_what_was_meant() {
        for (text, expect) in [
            ("tokens:\n- name: a\n  role: [\n", "f.yaml:"),
            ("tokns:\n- name: a\n", "f.yaml:2: no kind is called `tokns`: did you mean `tokens`?"),
            ("tokens:\n- nam: a\n  role: ro\n", "f.yaml:2: token: `name` is missing"),
            ("tokens:\n  name: a\n", "f.yaml:2: `tokens` is no list"),
            ("tokens:\n- a\n", "f.yaml:2: an entry of `tokens` has members"),
            ("kind: tokan\nname: a\n", "f.yaml:1: no kind is called `tokan`: did you mean `token`?"),
            ("apiVersion: v2\nkind: token\nname: a\nrole: ro\n", "`apiVersion` is not `hayward/v1`"),
            (
                "tokens:\n- {name: a, role: ro}\n- {name: a, role: rw}\n",
                "f.yaml:3: token `a` stands at f.yaml:2 already",
            ),
            ("tokens:\n- name: a\n  name: b\n", "f.yaml:3"),
            ("tokens:\n- name: a\n  role: boss\n", "token `a`:"),
            ("just text", "f.yaml:1: a document has members"),
            ("tokens:\n- name: a\n  name: b\n", "f.yaml:3:3: `name` is given twice"),
            ("{\"tokens\": [],\n\"tokens\": []}", "f.yaml:2:1: `tokens` is given twice"),
            (
                "name: a\npackageName: x\n",
                "f.yaml:1: `kind` is missing beside `name`: write e.g. `kind: server`",
            ),
            ("server: a\nproject: p\n", "f.yaml:1: `kind` is missing beside `server`"),
            ("tokens:\n- name: a\n  role: boss\n", "token `a`: `role`: unknown word `boss`"),
            (
                "servers:\n- name: a\n  packageName: x\n  healthCheck: {tool: x, intervall: 5}\n",
                "server `a`: `healthCheck.intervall`: unknown member `intervall`",
            ),
            ("kind: Server\nmetadata:\n  name: a\nspec: {}\n", "server: documents are flat here"),
        ] {
            let told = read_text(text).map(|_| ()).unwrap_err();
            assert!(told.contains(expect), "{text:?} tells {told:?}");
        }
    }

    #[test]
    fn a_file_without_a_word_prunes_nothing_and_an_empty_list_says_that_none_is_left() {
        for empty in ["", "\n", "# nothing\n", "---\n---\n"] {
            assert!(
                read_as(empty, Empty::Refused)
                    .err()
                    .is_some_and(|told| told.contains("f.yaml: it holds nothing"))
            );
            assert!(read_as(empty, Empty::Taken).unwrap().is_empty());
        }
        for said in ["servers: []\n", "---\nservers: []\n"] {
            assert!(read_as(said, Empty::Refused).unwrap().is_empty(), "{said}");
        }
    }

    #[test]
    fn what_a_server_says_of_a_member_gets_its_line() {
        let manifests = read_text("tokens:\n- name: a\n  role: ro\n- name: b\n  role: rw\n").unwrap();
        let fault = FieldFault { field: "tokens[1].role".into(), message: "no".into() };
        assert!(placed_fault(&manifests, &fault).contains("f.yaml:5: token `b`: role: no"));
        let told = place_of(&manifests, "token `b`: `role` is odd");
        assert!(told.is_some_and(|place| place.ends_with("f.yaml:5")));
        let odd = FieldFault { field: "x".into(), message: "no".into() };
        assert_eq!(placed_fault(&manifests, &odd), "x: no");
    }
}
