//! The flags of `create KIND`, which follow from the schema of the kind: whatever a file can say, flags can say.
//!
//! ```text
//!  schema ─► members (shape.rs) ─► flags ─► a document (values.rs)
//! ```

mod shape;
mod values;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use hayward_api::kinds::{Descriptor, Scope, Sensitive};
use serde_json::{Map, Value};

pub(crate) use shape::{Member, Shape, members};
pub(crate) use values::{ask, assign, contents, line, new_password, structured, two_lines, typed};

use crate::failure::Failure;
use crate::words::usage;

/// What a member's flag begins with as the id of an argument, so that it is no other's.
const MEMBER: &str = "member.";

/// The name of what is made.
const NAME: &str = "resource-name";

/// The project of what is made, for kinds that have one.
pub(crate) fn project(kind: &Descriptor) -> Option<Arg> {
    let arg =
        Arg::new("project").long("project").short('p').value_name("PROJECT").env("HAYWARD_CLIENT_PROJECT");
    (kind.scope != Scope::System).then(|| arg.hide_env(true).help("Project that it belongs to"))
}

/// The command that makes a resource of a kind, with a flag for each of its members.
pub(crate) fn command(command: Command, kind: &'static Descriptor) -> Command {
    // A kind may have a member of this name.
    let mut command = command.disable_version_flag(true).arg(
        Arg::new(NAME).value_name(kind.identity.to_uppercase()).required(true).help("What it is called"),
    );
    for member in members(kind) {
        command = flags_of(&member).into_iter().fold(command, Command::arg);
    }
    command
        .arg(pair("label", "KEY=VALUE", "Label; may be repeated").short('l'))
        .arg(pair("annotation", "KEY=VALUE", "Annotation; may be repeated"))
        .arg(pair(
            "set",
            "PATH=VALUE",
            "Any member, however deep, e.g. `healthCheck.intervalSeconds=30`; may be repeated",
        ))
}

fn pair(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
}

/// The flags of a member.
fn flags_of(member: &Member) -> Vec<Arg> {
    let flag = member.flag();
    let arg = Arg::new(format!("{MEMBER}{}", member.name)).long(flag.clone()).help(member.doc.clone());
    let arg = if member.name == "description" { arg.short('d') } else { arg };
    let plural = member.plural();
    let arg = if plural == flag { arg } else { arg.alias(plural) };
    let many = |arg: Arg, value: &'static str| arg.value_name(value).action(ArgAction::Append);
    match &member.shape {
        Shape::Text if member.name == "content" => {
            let file = Arg::new("content-file")
                .long("content-file")
                .value_name("FILE")
                .conflicts_with(arg.get_id().clone());
            vec![arg.value_name("TEXT"), file.help("File that holds the content; `-` is standard input")]
        }
        Shape::Text => vec![arg.value_name("TEXT").allow_hyphen_values(true)],
        Shape::Number => vec![arg.value_name("N")],
        Shape::Switch => vec![
            arg.value_name("BOOL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(["true", "false"]),
        ],
        Shape::Choice(words) => {
            vec![
                arg.value_name("WORD")
                    .value_parser(PossibleValuesParser::new(words.clone()))
                    .ignore_case(true),
            ]
        }
        Shape::Texts => vec![many(arg, "TEXT").allow_hyphen_values(true)],
        Shape::Environment => vec![many(arg, "KEY=VALUE|KEY=secretRef:NAME/KEY")],
        Shape::Subjects => vec![many(arg, "KIND:NAME")],
        Shape::Bindings => vec![many(arg, "ROLE:RESOURCE[:NAME[:PROJECT]]")],
        Shape::Pairs => vec![many(arg, "KEY=VALUE")],
        Shape::Any => vec![arg.value_name("JSON|@FILE")],
        Shape::Sealed => {
            let file = Arg::new("data-file").long("data-file").value_name("FILE").action(ArgAction::Append);
            vec![
                many(arg, "KEY[=VALUE]").long_help(
                    "Value of a key; KEY=@FILE takes a file as it is, its last newline too; KEY alone asks. A value on the command line is seen by others",
                ),
                file.help("File of values: JSON, YAML or KEY=VALUE lines; `-` is standard input"),
            ]
        }
        Shape::Password => {
            let stdin = Arg::new("password-stdin").long("password-stdin").action(ArgAction::SetTrue);
            let file = Arg::new("password-file").long("password-file").value_name("FILE");
            vec![
                arg.value_name("PASSWORD")
                    .help("Password; asked for if left out. On the command line others see it"),
                stdin.help("Reads the password from standard input"),
                file.help("File that holds the password"),
            ]
        }
    }
}

/// The document that the flags say.
pub(crate) fn document(kind: &'static Descriptor, matches: &ArgMatches) -> Result<Value, Failure> {
    let mut document = Map::new();
    let name = matches.get_one::<String>(NAME).cloned().unwrap_or_default();
    document.insert(kind.identity.to_owned(), Value::String(name));
    let project = matches.try_get_one::<String>("project").ok().flatten();
    if let Some(project) = project.filter(|project| !project.is_empty()) {
        document.insert("project".to_owned(), Value::String(project.clone()));
    }
    for (flag, member) in [("label", "labels"), ("annotation", "annotations")] {
        let pairs = values::pairs(flag, &all(matches, flag))?;
        if !pairs.is_empty() {
            document.insert(member.to_owned(), Value::Object(pairs));
        }
    }
    let members = members(kind);
    let (passwords, others): (Vec<_>, Vec<_>) =
        members.iter().partition(|member| member.shape == Shape::Password);
    for member in others {
        if let Some(value) = values::value(member, &Given::of(member, matches))? {
            document.insert(member.name.clone(), value);
        }
    }
    let mut document = Value::Object(document);
    for assignment in all(matches, "set") {
        let (path, value) = assignment
            .split_once('=')
            .ok_or_else(|| usage(format!("`--set {assignment}` has no value")).hint("write PATH=VALUE"))?;
        assign(&mut document, path, typed(&members, path, value))?;
    }
    // A program has no password, and nobody is asked for one.
    let is_program = document.get("serviceAccount") == Some(&Value::Bool(true));
    for member in passwords {
        let given = Given::of(member, matches);
        if is_program && given.is_nothing() {
            continue;
        }
        if let Some(value) = values::value(member, &given)? {
            document[member.name.as_str()] = value;
        }
    }
    Ok(document)
}

fn all(matches: &ArgMatches, id: &str) -> Vec<String> {
    matches.try_get_many::<String>(id).ok().flatten().into_iter().flatten().cloned().collect()
}

/// What was given for a member.
struct Given {
    words: Vec<String>,
    files: Vec<String>,
    is_on_stdin: bool,
}

impl Given {
    fn of(member: &Member, matches: &ArgMatches) -> Self {
        let id = format!("{MEMBER}{}", member.name);
        let said =
            matches.value_source(&id).is_some_and(|source| source == clap::parser::ValueSource::CommandLine);
        let words = if said { all(matches, &id) } else { Vec::new() };
        let file = match &member.shape {
            Shape::Sealed => Some("data-file"),
            Shape::Password => Some("password-file"),
            Shape::Text if member.name == "content" => Some("content-file"),
            _ => None,
        };
        let files = file.map(|id| all(matches, id)).unwrap_or_default();
        let is_on_stdin = member.shape == Shape::Password && matches.get_flag("password-stdin");
        Self { words, files, is_on_stdin }
    }

    fn is_nothing(&self) -> bool {
        self.words.is_empty() && self.files.is_empty() && !self.is_on_stdin
    }
}

/// The shape of a member that holds a secret.
fn sensitive(kind: &Descriptor, name: &str) -> Option<Shape> {
    kind.sensitive.iter().find_map(|sensitive| match sensitive {
        Sensitive::Values(member) if *member == name => Some(Shape::Sealed),
        Sensitive::Password(member) if *member == name => Some(Shape::Password),
        Sensitive::Values(_) | Sensitive::Password(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use hayward_api::kinds::{KINDS, token};
    use serde_json::json;

    use super::*;

    fn said(kind: &'static Descriptor, words: &[&str]) -> Result<Value, String> {
        let matches = command(Command::new("x").no_binary_name(true), kind).try_get_matches_from(words);
        document(kind, &matches.map_err(|error| error.to_string())?)
            .map_err(|failure| failure.error.to_string())
    }

    #[test]
    fn every_member_of_every_kind_has_a_flag() {
        for kind in KINDS {
            let command = command(Command::new("x"), kind);
            command.clone().debug_assert();
            for member in members(kind) {
                assert!(
                    command.get_arguments().any(|arg| arg.get_long() == Some(&member.flag())),
                    "{}",
                    member.name
                );
            }
        }
    }

    #[test]
    fn flags_say_a_document() {
        let kind = &token::DESCRIPTOR;
        let words =
            ["ci", "--role", "RO", "--enabled=false", "-l", "a=b", "--set", "bounds.requestsPerMinute=60"];
        let words = [&words[..], &["--fence", "{\"profile\": \"confined\", \"roots\": [\"/srv\"]}"]].concat();
        let expect = json!({
            "name": "ci", "role": "ro", "enabled": false, "labels": {"a": "b"},
            "bounds": {"requestsPerMinute": 60}, "fence": {"profile": "confined", "roots": ["/srv"]},
        });
        assert_eq!(said(kind, &words).unwrap(), expect);
        assert!(said(kind, &["ci", "--set", "x"]).is_err());
        assert!(said(kind, &["ci", "--label", "x"]).is_err());
        assert!(said(kind, &["ci", "--role", "boss"]).is_err());
        assert!(said(kind, &["ci", "--fence", "{"]).is_err());
    }
}
