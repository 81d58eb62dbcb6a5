//! `hayward patch`: members of a resource, without an editor.

use clap::ValueEnum;
use hayward_api::kinds::{Descriptor, Sensitive};
use hayward_client::Write;
use serde_json::{Value, json};

use crate::documents::shown;
use crate::failure::Failure;
use crate::flags::{assign, contents, members, structured, typed};
use crate::output::path::{Step, steps};
use crate::output::{data, plain, tell, written};
use crate::server::{ProjectArg, ServerArgs, block_on, target};
use crate::words::usage;
use crate::writing::{Trial, TrialArg};

/// Changes members of a resource: `hayward patch server ha replicas=2 description=null`.
///
/// A value is JSON if it can be (numbers, true, lists), else text; `null` takes a member away. A list is changed as a whole.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// KIND NAME or KIND/NAME, then PATH=VALUE for each member
    #[arg(required = true, value_name = "RESOURCE PATH=VALUE")]
    words: Vec<String>,

    /// How it is merged; `merge` is that of RFC 7396
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value = "merge")]
    how: How,

    /// Patch as JSON or YAML, instead of PATH=VALUE or beside it; @FILE reads a file, @- standard input
    #[arg(long, value_name = "JSON|@FILE")]
    patch: Option<String>,

    #[command(flatten)]
    trial: TrialArg,

    #[command(flatten)]
    project: ProjectArg,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(ValueEnum, Clone, Copy)]
enum How {
    Merge,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let How::Merge = args.how;
    let is_resource = |word: &&String| !word.contains('=');
    let named: Vec<String> = args.words.iter().take_while(is_resource).cloned().collect();
    let (kind, name) = args.project.one(&named)?;
    let mut patch = match &args.patch {
        Some(text) => given(kind, text)?,
        None => json!({}),
    };
    let members = members(kind);
    for word in &args.words[named.len()..] {
        let (path, value) = word
            .split_once('=')
            .ok_or_else(|| usage(format!("`{word}` has no `=`")).hint("write PATH=VALUE"))?;
        let has_index =
            steps(path).is_some_and(|steps| steps.iter().any(|step| matches!(step, Step::Index(_))));
        if has_index {
            return Err(usage(format!("`{path}` is an entry of a list, which is changed as a whole"))
                .hint("give the whole list as JSON, or use `hayward edit`"));
        }
        let value = typed(&members, path, value);
        let mut alone = json!({});
        assign(&mut alone, path, value.clone())?;
        warn(kind, &alone);
        assign(&mut patch, path, value)?;
    }
    if patch.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(usage("nothing is to be changed".to_owned()).hint("write PATH=VALUE"));
    }
    let trial = args.trial.trial();
    if trial == Trial::Client {
        let text = serde_json::to_string_pretty(&patch).map_err(anyhow::Error::from)?;
        return written(data(&plain(&(text + "\n"))));
    }
    let client = args.server.client()?;
    let write = Write { is_trial: trial == Trial::Server, precondition: None };
    block_on(async {
        let target = target(&client, (kind, &name), &args.project).await?;
        let document = client.patch(target, &patch, write).await?;
        let how = if write.is_trial { " (tried, not done)" } else { "" };
        written(data(&plain(&format!("{} patched{how}\n", shown(kind, &document)))))
    })
}

/// The patch that `--patch` is, or that stands in the file which it names.
fn given(kind: &Descriptor, word: &str) -> Result<Value, Failure> {
    let file = word.strip_prefix('@');
    let text = file.map_or_else(|| Ok(word.to_owned()), contents)?;
    let patch = structured::<Value>(&text)
        .filter(Value::is_object)
        .ok_or_else(|| usage("`--patch` is no object of JSON or YAML".to_owned()))?;
    if file.is_none() {
        warn(kind, &patch);
    }
    Ok(patch)
}

/// Warns if what stands on the command line is a secret.
fn warn(kind: &Descriptor, patch: &Value) {
    if let Some(what) = shown_secret(kind, patch) {
        tell(&format!("warning: {what} on the command line is seen by others: use --patch @FILE\n"));
    }
}

/// What a patch shows that is a secret. That one is taken away, or kept, is none.
fn shown_secret(kind: &Descriptor, patch: &Value) -> Option<&'static str> {
    let is_said = |value: &Value| value.as_str().is_none_or(|text| text != "***") && !value.is_null();
    kind.sensitive.iter().find_map(|sensitive| match sensitive {
        Sensitive::Password(member) => patch.get(member).is_some_and(is_said).then_some("a password"),
        Sensitive::Values(member) => {
            let values = patch.get(member)?.as_object()?;
            values.values().any(is_said).then_some("a secret")
        }
    })
}

#[cfg(test)]
mod tests {
    use hayward_api::kinds::{secret, server, user};

    use super::*;

    #[test]
    fn a_patch_shows_a_secret_if_it_says_one() {
        let (user, secret) = (&user::DESCRIPTOR, &secret::DESCRIPTOR);
        assert_eq!(shown_secret(user, &json!({"password": "x"})), Some("a password"));
        assert_eq!(shown_secret(secret, &json!({"data": {"A": "***", "B": "x"}})), Some("a secret"));
        for (kind, patch) in [
            (user, json!({"name": "x"})),
            (user, json!({"password": null})),
            (secret, json!({"data": {"A": "***", "B": null}})),
            (secret, json!({"labels": {"data": "x"}})),
            (&server::DESCRIPTOR, json!({"data": {"A": "x"}, "password": "x"})),
        ] {
            assert_eq!(shown_secret(kind, &patch), None, "{}: {patch}", kind.name);
        }
    }
}
