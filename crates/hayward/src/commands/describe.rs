//! `hayward describe`: resources at length.

mod live;

use hayward_api::kinds::Descriptor;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::output::describe::describe;
use crate::output::documents::{DocumentForm, Shape, yaml};
use crate::output::{data, plain, safe_json, written};
use crate::server::{Found, Meant, ProjectArg, ServerArgs, block_on, complete, found};
use crate::words::usage;

/// Shows resources at length: every member, in sections, and how each is.
///
/// A server says what of it is shown to clients and what isn't, an instance what the node knows that runs it.
///
/// `-o yaml` and `-o json` show all that the server tells, ids, versions and status included, and the kind, so that
/// `hayward apply -f` takes it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// KIND NAME… or KIND/NAME…; names may be ids or patterns
    #[arg(required = true, value_name = "RESOURCE")]
    words: Vec<String>,

    /// Form: table, json, yaml or jsonpath=TEMPLATE
    ///
    /// Paths of `jsonpath` begin at each resource, as `json` shows it: `{.status}`.
    #[arg(long, short, env = "HAYWARD_CLIENT_OUTPUT", value_name = "FORM", default_value = "table", value_parser = str::parse::<DocumentForm>)]
    output: DocumentForm,

    #[command(flatten)]
    project: ProjectArg,

    /// Those with these labels
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<String>,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let all = args.project.wanted(&args.words)?;
    let client = args.server.client()?;
    block_on(async {
        let meant = Meant {
            project: &args.project,
            labels: args.selector.as_deref(),
            fields: None,
            only: Vec::new(),
        };
        let (mut texts, mut missing) = (Vec::new(), Vec::new());
        for wanted in &all {
            let mut found: Found = found(&client, wanted, &meant).await?;
            missing.append(&mut found.missing);
            for mut document in found.documents {
                let text = match &args.output {
                    DocumentForm::JsonPath(template) => {
                        Ok(plain(&template.render(&titled(wanted.kind, document))) + "\n")
                    }
                    DocumentForm::Plain(Shape::Json) => {
                        safe_json(&titled(wanted.kind, document), serde_json::to_string_pretty)
                            .map(|text| text + "\n")
                    }
                    DocumentForm::Plain(Shape::Yaml) => yaml(&titled(wanted.kind, document)),
                    DocumentForm::Plain(Shape::Table(_)) => {
                        let live = live::sections(&client, wanted.kind, &mut document).await;
                        Ok(plain(&(describe(wanted.kind, &document) + &live)))
                    }
                    DocumentForm::Plain(Shape::Name) => {
                        return Err(usage("`describe` has no form `name`: `hayward get` has".to_owned()));
                    }
                };
                texts.push(text.map_err(anyhow::Error::from)?);
            }
        }
        let between = match &args.output {
            DocumentForm::Plain(Shape::Yaml) => "---\n",
            DocumentForm::Plain(Shape::Table(_)) => "\n\n",
            _ => "",
        };
        written(data(&texts.join(between)))?;
        complete(missing)
    })
}

/// The document with its kind in front, as it stands alone in a file.
fn titled(kind: &Descriptor, document: Value) -> Value {
    match document {
        Value::Object(members) => {
            let kind = ("kind".to_owned(), Value::String(kind.name.to_owned()));
            Value::Object(std::iter::once(kind).chain(members).collect::<Map<_, _>>())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use hayward_api::kinds::token;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_described_says_its_kind_as_a_file_does() {
        let titled = titled(&token::DESCRIPTOR, json!({"name": "ci", "role": "ro"}));
        assert_eq!(titled.to_string(), json!({"kind": "token", "name": "ci", "role": "ro"}).to_string());
    }
}
