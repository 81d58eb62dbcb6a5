//! What words of the command line say, as values of documents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal, Read};

use anyhow::{Context, anyhow};
use serde_json::{Map, Value, json};

use super::{Given, Member, Shape};
use crate::failure::Failure;
use crate::output;
use crate::output::path::{Step, steps};
use crate::words::usage;

/// Bytes of a file that holds values.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Operations that the role `run` is for; its other bindings are of resources.
const OPERATIONS: [&str; 6] = ["impersonate", "backup", "restore", "audit-purge", "logs", "define-commands"];

/// The value of a member; none if nothing was said of it.
pub(super) fn value(member: &Member, given: &Given) -> Result<Option<Value>, Failure> {
    let flag = member.flag();
    let words = &given.words;
    if member.shape == Shape::Password {
        return password(given).map(|password| Some(Value::String(password)));
    }
    if words.is_empty() && given.files.is_empty() {
        return Ok(None);
    }
    let first = || words.first().cloned().unwrap_or_default();
    Ok(Some(match &member.shape {
        Shape::Text => match given.files.first() {
            Some(file) => Value::String(contents(file)?),
            None => Value::String(first()),
        },
        Shape::Choice(choices) => {
            let word = first();
            let meant = choices.iter().find(|choice| choice.eq_ignore_ascii_case(&word));
            Value::String(meant.cloned().unwrap_or(word))
        }
        Shape::Number => number(&flag, &first())?,
        Shape::Switch => json!(first() == "true"),
        Shape::Texts => json!(words),
        Shape::Pairs => Value::Object(pairs(&flag, words)?),
        Shape::Environment => {
            words.iter().map(|word| environment(word)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Shape::Subjects => words.iter().map(|word| subject(word)).collect::<Result<Vec<_>, _>>()?.into(),
        Shape::Bindings => words.iter().map(|word| binding(word)).collect::<Result<Vec<_>, _>>()?.into(),
        Shape::Any => any(&flag, &first())?,
        Shape::Sealed => Value::Object(sealed(words, &given.files)?),
        Shape::Password => return Ok(None),
    }))
}

fn number(flag: &str, word: &str) -> Result<Value, Failure> {
    let number = serde_json::from_str::<Value>(word).ok().filter(Value::is_number);
    number.ok_or_else(|| usage(format!("`--{flag} {word}` is no number")))
}

/// JSON or YAML, in the word itself or in the file that it names behind `@`.
fn any(flag: &str, word: &str) -> Result<Value, Failure> {
    let text = match word.strip_prefix('@') {
        Some(file) => contents(file)?,
        None => word.to_owned(),
    };
    structured(&text)
        .ok_or_else(|| usage(format!("`--{flag}` is neither JSON nor YAML")).hint("write JSON, or @FILE"))
}

/// JSON or YAML, in which words of yes and no are text, as in files.
pub(crate) fn structured<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).ok()
}

/// `a=b` of each word.
pub(super) fn pairs(flag: &str, words: &[String]) -> Result<Map<String, Value>, Failure> {
    let pair = |word: &String| {
        let (name, value) = word
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| usage(format!("`--{flag} {word}` has no `=`")).hint("write KEY=VALUE"))?;
        Ok((name.to_owned(), Value::String(value.to_owned())))
    };
    words.iter().map(pair).collect()
}

/// `KEY=value`, or `KEY=secretRef:NAME/KEY`.
fn environment(word: &str) -> Result<Value, Failure> {
    let (name, value) = word.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        usage(format!("`--env {word}` has no `=`")).hint("write KEY=VALUE or KEY=secretRef:NAME/KEY")
    })?;
    let Some(reference) = value.strip_prefix("secretRef:") else {
        return Ok(json!({ "name": name, "value": value }));
    };
    let (secret, key) = reference
        .split_once('/')
        .filter(|(secret, key)| !secret.is_empty() && !key.is_empty())
        .ok_or_else(|| {
            usage(format!("`--env {word}` refers to no key of a secret")).hint("write KEY=secretRef:NAME/KEY")
        })?;
    Ok(json!({ "name": name, "valueFrom": { "secretRef": { "name": secret, "key": key } } }))
}

/// `User:ada@example.org`, with the kind in any case.
fn subject(word: &str) -> Result<Value, Failure> {
    const KINDS: [&str; 3] = ["User", "Group", "ServiceAccount"];
    let (kind, name) = word.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
        usage(format!("`--subject {word}` is no KIND:NAME"))
            .hint("write e.g. User:ada@example.org or Group:ops")
    })?;
    let meant = KINDS.iter().find(|known| known.eq_ignore_ascii_case(kind));
    let kind = meant.ok_or_else(|| {
        usage(format!("`--subject {word}`: no subject is a `{kind}`"))
            .hint(format!("write {}", KINDS.join(", ")))
    })?;
    Ok(json!({ "kind": kind, "name": name }))
}

/// `edit:servers`, `view:servers:ha`, `view:prompts::home` (of a project), `run:impersonate`.
fn binding(word: &str) -> Result<Value, Failure> {
    let wrong = || {
        usage(format!("`--role-binding {word}` is no ROLE:RESOURCE[:NAME[:PROJECT]]"))
            .hint("write e.g. view:servers, edit:servers:ha, edit:*::home, or run:impersonate")
    };
    let parts: Vec<&str> = word.split(':').collect();
    // Only the name may be left out, before a project.
    if parts.iter().enumerate().any(|(at, part)| part.is_empty() && !(at == 2 && parts.len() == 4)) {
        return Err(wrong());
    }
    match parts[..] {
        ["run", action] if OPERATIONS.contains(&action) => Ok(json!({ "role": "run", "action": action })),
        ["run", "action", action] => Ok(json!({ "role": "run", "action": action })),
        [role, resource] => Ok(json!({ "role": role, "resource": resource })),
        [role, resource, name] => Ok(json!({ "role": role, "resource": resource, "name": name })),
        [role, resource, "", project] => {
            Ok(json!({ "role": role, "resource": resource, "project": project }))
        }
        [role, resource, name, project] => {
            Ok(json!({ "role": role, "resource": resource, "name": name, "project": project }))
        }
        _ => Err(wrong()),
    }
}

/// `KEY=value`, `KEY=@FILE`, `KEY` (which is asked for), and files of such.
fn sealed(words: &[String], files: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut values = Map::new();
    for file in files {
        values.append(&mut values_of(file)?);
    }
    for word in words {
        let (key, value) = match word.split_once('=') {
            // As it is, with its last newline: what reads a private key may need it.
            Some((key, file)) if file.starts_with('@') => (key, contents(&file[1..])?),
            Some((key, value)) => {
                output::tell(
                    "warning: a secret on the command line is seen by others: use KEY=@FILE, KEY alone, or --data-file\n",
                );
                (key, value.to_owned())
            }
            None => (word.as_str(), ask(&format!("{word}: "))?),
        };
        values.insert(key.to_owned(), Value::String(value));
    }
    Ok(values)
}

/// Lines of KEY=VALUE, else JSON or YAML with texts as members: each as it is written, numbers too.
fn values_of(file: &str) -> Result<Map<String, Value>, Failure> {
    let text = contents(file)?;
    if let Some(values) = lines_of(&text) {
        return Ok(values);
    }
    // What holds nothing but comments is an empty map, too.
    if let Some(members) = structured::<BTreeMap<String, String>>(&text).filter(|members| !members.is_empty())
    {
        return Ok(members.into_iter().map(|(key, value)| (key, Value::String(value))).collect());
    }
    Err(match structured::<Value>(&text) {
        Some(Value::Object(members)) if !members.is_empty() => {
            usage(format!("`{file}` has values that are no text")).hint("put each of them in quotes")
        }
        _ => usage(format!("`{file}` is no JSON, no YAML and no lines of KEY=VALUE")),
    })
}

/// The values of a text that has lines of KEY=VALUE and nothing else.
fn lines_of(text: &str) -> Option<Map<String, Value>> {
    let (entries, faults) = crate::config::file::variables(text);
    if !faults.is_empty() || entries.is_empty() {
        return None;
    }
    let pair = |entry: crate::config::file::Entry| match entry.value {
        Ok(crate::config::file::Given::One(value)) => Some((entry.spelled, Value::String(value))),
        _ => None,
    };
    Some(entries.into_iter().filter_map(pair).collect())
}

fn password(given: &Given) -> Result<String, Failure> {
    if let Some(word) = given.words.first() {
        output::tell(
            "warning: a password on the command line is seen by others: use --password-stdin or --password-file\n",
        );
        return Ok(word.clone());
    }
    if let Some(file) = given.files.first() {
        return Ok(line(contents(file)?));
    }
    if given.is_on_stdin {
        return Ok(line(contents("-")?));
    }
    new_password()
}

/// The first line of a text.
pub(crate) fn line(text: String) -> String {
    text.lines().next().map(str::to_owned).unwrap_or(text)
}

/// The two lines of standard input, which hold these.
pub(crate) fn two_lines(first: &str, second: &str) -> Result<(String, String), Failure> {
    let text = contents("-")?;
    let mut lines = text.lines().map(str::to_owned);
    lines.next().zip(lines.next()).ok_or_else(|| {
        usage("standard input has to have two lines".to_owned())
            .hint(format!("write {first} on the first, {second} on the second"))
    })
}

/// Asks twice for a password that is new.
pub(crate) fn new_password() -> Result<String, Failure> {
    let first = ask("Password: ")?;
    if ask("Again: ")? == first { Ok(first) } else { Err(usage("the two are different".to_owned())) }
}

/// Asks on the terminal, without showing what is typed.
pub(crate) fn ask(prompt: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(usage(format!(
            "there is no terminal to ask on for `{}`",
            prompt.trim_end_matches([':', ' '])
        ))
        .hint("give it by file or standard input, see --help"));
    }
    Ok(rpassword::prompt_password(prompt).context("failed to ask on the terminal")?)
}

/// The text of a file, all of it and as it is; `-` is standard input.
pub(crate) fn contents(file: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let most = FILE_BYTES_MAX + 1;
    let read = if file == "-" {
        io::stdin().take(most).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|opened| opened.take(most).read_to_string(&mut text))
    };
    let bytes = read.with_context(|| format!("failed to read `{file}`"))?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes == most) {
        return Err(anyhow!("`{file}` is longer than {FILE_BYTES_MAX} bytes").into());
    }
    Ok(text)
}

/// What a word says of the member at a path: text where the schema has text, else JSON if it is any, else text.
pub(crate) fn typed(members: &[Member], path: &str, word: &str) -> Value {
    let member = members.iter().find(|member| member.name == path);
    match member.map(|member| &member.shape) {
        Some(Shape::Text | Shape::Password) if word != "null" => Value::String(word.to_owned()),
        Some(Shape::Choice(choices)) => {
            let meant = choices.iter().find(|choice| choice.eq_ignore_ascii_case(word));
            meant.map_or_else(|| loose(word), |choice| Value::String(choice.clone()))
        }
        _ => loose(word),
    }
}

fn loose(word: &str) -> Value {
    serde_json::from_str(word).unwrap_or_else(|_| Value::String(word.to_owned()))
}

/// Puts a value at a path, making the objects and lists that it leads through.
pub(crate) fn assign(document: &mut Value, path: &str, value: Value) -> Result<(), Failure> {
    let wrong = |what: &str| usage(format!("`{path}` {what}")).hint("write e.g. `a.b` or `a[0].b`");
    let mut place = document;
    for step in steps(path).ok_or_else(|| wrong("is no path"))? {
        place = match step {
            Step::Member(name) => {
                if place.is_null() {
                    *place = json!({});
                }
                let members =
                    place.as_object_mut().ok_or_else(|| wrong("leads through what is no object"))?;
                members.entry(name).or_insert(Value::Null)
            }
            Step::Index(index) => {
                if place.is_null() {
                    *place = json!([]);
                }
                let entries = place.as_array_mut().ok_or_else(|| wrong("leads through what is no list"))?;
                if index == entries.len() {
                    entries.push(Value::Null);
                }
                entries.get_mut(index).ok_or_else(|| wrong("leaves a gap in a list"))?
            }
        };
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_makes_what_it_leads_through() {
        let mut document = json!({"a": 1});
        assign(&mut document, "b.c[0].d", json!(2)).unwrap();
        assign(&mut document, "b.c[1]", json!("x")).unwrap();
        assert_eq!(document, json!({"a": 1, "b": {"c": [{"d": 2}, "x"]}}));
        for bad in ["a.b", "b[0]", "b.c[7]", "", "b..c"] {
            assert!(assign(&mut document, bad, json!(1)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_environment_holds_values_and_references() {
        assert_eq!(environment("A=b=c").unwrap(), json!({"name": "A", "value": "b=c"}));
        let reference = json!({"name": "A", "valueFrom": {"secretRef": {"name": "s", "key": "K"}}});
        assert_eq!(environment("A=secretRef:s/K").unwrap(), reference);
        for bad in ["A", "=b", "A=secretRef:s", "A=secretRef:/k"] {
            assert!(environment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subjects_and_bindings_are_what_roles_speak_of() {
        assert_eq!(subject("user:a@b").unwrap(), json!({"kind": "User", "name": "a@b"}));
        assert_eq!(
            binding("view:servers:ha").unwrap(),
            json!({"role": "view", "resource": "servers", "name": "ha"})
        );
        assert_eq!(binding("run:logs").unwrap(), json!({"role": "run", "action": "logs"}));
        assert_eq!(binding("run:servers").unwrap(), json!({"role": "run", "resource": "servers"}));
        assert!(subject("dog:rex").is_err() && subject("User").is_err());
        assert!(binding("view").is_err() && binding("view:").is_err() && binding("::").is_err());
    }

    #[test]
    fn a_binding_may_be_of_a_project() {
        let whole = json!({"role": "edit", "resource": "*", "project": "home"});
        assert_eq!(binding("edit:*::home").unwrap(), whole);
        let named = json!({"role": "view", "resource": "prompts", "name": "p", "project": "home"});
        assert_eq!(binding("view:prompts:p:home").unwrap(), named);
        for bad in ["edit:*::", "edit::p:home", "edit:*:p:home:x", "view:servers:"] {
            assert!(binding(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_word_is_what_the_schema_says_and_else_what_it_looks_like() {
        let members = [Member { name: "description".into(), doc: String::new(), shape: Shape::Text }];
        assert_eq!(typed(&members, "description", "12"), json!("12"));
        assert_eq!(typed(&members, "description", "null"), json!(null));
        assert_eq!(typed(&members, "other", "12"), json!(12));
        assert_eq!(typed(&[], "x", "[1]"), json!([1]));
        assert_eq!(typed(&[], "x", "a b"), json!("a b"));
    }

    #[test]
    fn files_of_values_are_json_yaml_or_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f").display().to_string();
        for text in ["{\"A\": \"x\", \"B\": 1}", "A: x\nB: 1\n", "A=x\nB=1\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Value::Object(values_of(&path).unwrap()), json!({"A": "x", "B": "1"}), "{text}");
        }
        for bad in ["{\"A\": {}}", "A: null", "A:\n", "A: x\nA: y\n", "[]", "{}", "# a\n", "just text", ""] {
            std::fs::write(&path, bad).unwrap();
            assert!(values_of(&path).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_of_files_are_the_text_that_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f").display().to_string();
        let odd = ["00123", "1.10", "yes", "true", "0x1f", "12345678901234567890123", "0o17", "1e3", "~x"];
        for value in odd {
            for text in [format!("A: {value}\n"), format!("A={value}\n"), format!("A: \"{value}\"\n")] {
                std::fs::write(&path, &text).unwrap();
                assert_eq!(Value::Object(values_of(&path).unwrap()), json!({"A": value}), "{text}");
            }
        }
        for (text, expect) in [
            ("{\"A\": 1.10, \"B\": false}", json!({"A": "1.10", "B": "false"})),
            ("AUTH=Authorization: Bearer x\n", json!({"AUTH": "Authorization: Bearer x"})),
            ("A: |\n  x=y\n  z\n", json!({"A": "x=y\nz\n"})),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Value::Object(values_of(&path).unwrap()), expect, "{text}");
        }
    }

    #[test]
    fn a_value_of_a_file_is_every_byte_of_it_and_a_password_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f").display().to_string();
        for text in ["-----END KEY-----\n", "x", "x\n\n", "x\r\n", "\n", ""] {
            std::fs::write(&path, text).unwrap();
            let values = sealed(&[format!("K=@{path}")], &[]).unwrap();
            assert_eq!(Value::Object(values), json!({"K": text}));
        }
        for (text, expect) in
            [("hush\n", "hush"), ("hush", "hush"), ("hush\r\n", "hush"), ("hush \n\n", "hush ")]
        {
            std::fs::write(&path, text).unwrap();
            let given = Given { words: Vec::new(), files: vec![path.clone()], is_on_stdin: false };
            assert_eq!(password(&given).unwrap(), expect, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_is_too_long_or_no_text_is_refused_and_not_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f").display().to_string();
        let most = usize::try_from(FILE_BYTES_MAX).unwrap();
        std::fs::write(&path, vec![b'a'; most]).unwrap();
        assert_eq!(contents(&path).unwrap().len(), most);
        for bad in [vec![b'a'; most + 1], vec![0xff, 0xfe]] {
            std::fs::write(&path, bad).unwrap();
            assert!(contents(&path).is_err());
        }
    }

    #[test]
    fn words_of_yes_and_no_are_text_in_what_is_structured() {
        assert_eq!(structured::<Value>("{a: yes, b: true}"), Some(json!({"a": "yes", "b": true})));
        assert_eq!(structured::<Value>("{"), None);
    }
}
