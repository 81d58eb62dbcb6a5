//! `hayward config`: shows what is set and who said so, and changes the file.
//!
//! Works whatever is wrong with the file, since this is what mends it. Values of secrets are never shown.

mod claude;
pub(super) mod edit;
mod setup;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Subcommand, ValueEnum};
use hayward_api::{Code, Error};
use serde_json::{Map, Value, json};

use crate::config::keys::{Keys, Takes};
use crate::config::layers::{Layers, Origin, Setting, Sources, check, sources};
use crate::failure::Failure;
use crate::output::{self, safe_json, written, yaml};

/// Shows and changes the configuration.
///
/// Every flag of `serve` and `stdio`, every limit, and what commands take that ask a server (`client.url`, `client.output`,
/// `client.project`, `client.ca`, `client.token_file`) has one name: `log.level` in the file, `HAYWARD_LOG_LEVEL` in the
/// environment, `--log-level` on the command line. A flag wins over the environment, which wins over the file.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Shows every key with its value; in TOML, what is shown can be a file
    View {
        /// Form of the output
        #[arg(long, short, value_enum, default_value = "toml")]
        output: ViewForm,
        /// Says beside each value where it came from
        #[arg(long)]
        show_origin: bool,
    },
    /// Sets a key in the file; comments and order stay
    Set {
        /// Its name, e.g. `log.level` or `gateway.calls_max`
        key: String,
        /// Its value; several of a list
        #[arg(required = true, allow_hyphen_values = true)]
        values: Vec<String>,
    },
    /// Writes .mcp.json, so that Claude Code reaches the servers of a project
    Claude(claude::ClaudeArgs),
    /// Prints which file is read
    Path,
    /// Makes a first file, asking on a terminal
    Setup(setup::SetupArgs),
}

/// The forms of a view.
#[derive(ValueEnum, Clone, Copy)]
enum ViewForm {
    Json,
    Yaml,
    Toml,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let root = crate::line();
    let keys = Keys::of(&root);
    let words: Vec<_> = std::env::args_os().collect();
    let sources = sources(&words, crate::config::environment().collect());
    match args.action {
        Action::View { output, show_origin } => view(&root, &keys, &sources, output, show_origin),
        Action::Set { key, values } => {
            let path = file(&sources)?;
            set(&root, &keys, &path, &key, &values)?;
            output::tell(&format!("set in {}\n", path.display()));
            Ok(())
        }
        Action::Claude(args) => claude::run(&args),
        Action::Path => written(output::data(&format!("{}\n", file(&sources)?.display()))),
        Action::Setup(args) => setup::run(&args, &root, &keys, &file(&sources)?),
    }
}

fn file(sources: &Sources) -> Result<PathBuf, Failure> {
    sources.file.clone().ok_or_else(|| {
        let error = anyhow!("no file of the configuration: neither `--config` nor `HOME` is set");
        Failure::configuration(error).hint("name one with `--config` or `HAYWARD_CONFIG`")
    })
}

fn set(
    root: &clap::Command,
    keys: &Keys,
    path: &std::path::Path,
    spelled: &str,
    values: &[String],
) -> Result<(), Failure> {
    let invalid =
        |message: String| Failure { exit_code: Failure::USAGE, ..Error::new(Code::Invalid, message).into() };
    let key = keys.find(spelled).ok_or_else(|| invalid(keys.unknown(spelled)))?;
    if values.len() > 1 && !matches!(key.takes, Takes::Many(..)) {
        return Err(invalid(format!("`{}` takes one value", key.name)));
    }
    check(root, key, values).map_err(invalid)?;
    edit::set(path, key, values)
}

/// Every key with what it is.
fn all(keys: &Keys, layers: &Layers) -> Vec<Setting> {
    let of = |key: &crate::config::keys::Key| {
        let said = layers.settings.iter().find(|setting| setting.key.name == key.name).cloned();
        said.unwrap_or_else(|| Setting {
            key: key.clone(),
            values: key.default.clone(),
            origin: Origin::Default,
        })
    };
    keys.iter().map(of).collect()
}

fn view(
    root: &clap::Command,
    keys: &Keys,
    sources: &Sources,
    form: ViewForm,
    show_origin: bool,
) -> Result<(), Failure> {
    let layers = Layers::read(root, keys, sources);
    for note in &layers.notes {
        output::tell(&format!("note: {}\n", output::plain(note)));
    }
    let settings = all(keys, &layers);
    let text = match form {
        ViewForm::Toml => Ok(output::plain(&toml(&settings, show_origin))),
        ViewForm::Json => {
            safe_json(&object(&settings, show_origin), serde_json::to_string_pretty).map(|text| text + "\n")
        }
        ViewForm::Yaml => yaml(&object(&settings, show_origin)),
    };
    written(text.and_then(|text| output::data(&text)))?;
    // What is right is shown all the same.
    layers.sound().map(drop)
}

/// A setting as a value of JSON, a secret masked; null if it has none.
fn value(setting: &Setting) -> Value {
    if setting.key.is_secret && !setting.values.is_empty() {
        return json!("***");
    }
    let words: Vec<Value> = setting.values.iter().map(|word| typed(word)).collect();
    match (&setting.key.takes, words) {
        (Takes::Many(..), words) => Value::Array(words),
        (_, mut words) => words.pop().unwrap_or(Value::Null),
    }
}

/// A word as what it looks like; whatever reads it takes it as text, too.
fn typed(word: &str) -> Value {
    match word.parse::<i64>() {
        Ok(number) if number.to_string() == word => json!(number),
        _ if word == "true" || word == "false" => json!(word == "true"),
        _ => json!(word),
    }
}

fn object(settings: &[Setting], show_origin: bool) -> Value {
    let shown = |setting: &Setting| {
        if show_origin {
            json!({ "value": value(setting), "origin": setting.origin.to_string() })
        } else {
            value(setting)
        }
    };
    let members: Map<String, Value> =
        settings.iter().map(|setting| (setting.key.name.clone(), shown(setting))).collect();
    Value::Object(members)
}

/// One line for each key; one without a value is a comment.
fn toml(settings: &[Setting], show_origin: bool) -> String {
    let line = |setting: &Setting| {
        let name = setting.key.path().join(".");
        let origin = if show_origin { format!(" # {}", setting.origin) } else { String::new() };
        match value(setting) {
            Value::Null => format!("# {name} ={origin}\n"),
            value => format!("{name} = {}{origin}\n", edit::written(&value)),
        }
    };
    settings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{Change, Key};

    fn setting(name: &str, values: &[&str], takes: Takes) -> Setting {
        let key = Key {
            name: name.to_owned(),
            variable: String::new(),
            takes,
            default: Vec::new(),
            is_secret: name.ends_with("token"),
            change: Change::Restart,
        };
        let values = values.iter().map(ToString::to_string).collect();
        Setting { key, values, origin: Origin::Default }
    }

    #[test]
    fn values_are_shown_as_what_they_look_like_and_secrets_are_not() {
        let one = || Takes::One;
        let settings = [
            setting("port", &["9000"], one()),
            setting("shell", &["/bin/\"sh"], one()),
            setting("the.token", &["hush"], one()),
            setting("none", &[], one()),
            setting("paths", &["/a", "007"], Takes::Many(Some(','))),
        ];
        let expect =
            "port = 9000\nshell = '/bin/\"sh'\nthe.token = \"***\"\n# none =\npaths = [\"/a\", \"007\"]\n";
        assert_eq!(toml(&settings, false), expect);
        let shown = object(&settings, true);
        assert_eq!(shown["the.token"], json!({ "value": "***", "origin": "default" }));
        assert_eq!(shown["none"]["value"], Value::Null);
    }
}
