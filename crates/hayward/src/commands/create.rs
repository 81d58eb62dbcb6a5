//! `hayward create`: a resource from flags, which follow from the schema of its kind.

mod template;

use clap::{Arg, ArgMatches, Command, FromArgMatches};
use hayward_api::kinds::{Descriptor, KINDS, MadeBy, find};
use hayward_client::Write;
use serde_json::Value;

use crate::documents;
use crate::failure::Failure;
use crate::flags;
use crate::output::documents::{DocumentForm, Shape};
use crate::output::documents::{Group, Showing, show};
use crate::output::{data, plain, tell, written};
use crate::server::{ServerArgs, block_on};
use crate::words::usage;
use crate::writing::{Trial, TrialArg, warn};

/// What was said of one resource that is to be made.
pub(crate) struct Args {
    matches: ArgMatches,
}

impl clap::Args for Args {
    fn augment_args(command: Command) -> Command {
        let command = ServerArgs::augment_args(command);
        let command = TrialArg::augment_args(command);
        let output = Arg::new("output").long("output").short('o').value_name("FORM");
        let output =
            output.help("Form in which what was made is shown: json, yaml, name or jsonpath=TEMPLATE");
        command
            .arg(output.value_parser(str::parse::<DocumentForm>))
            .mut_args(|arg| arg.global(true))
            .about("Makes a resource from flags: one for each member of its kind")
            .long_about(
                "Makes a resource from flags: one for each member of its kind, and `--set PATH=VALUE` for what lies deeper. \
                 Whatever `hayward apply -f` can say, they can say. See `hayward create KIND --help`.",
            )
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand_value_name("KIND")
            .subcommand_help_heading("Kinds")
            // Schemas take longer than many an answer: they are made for the kind that was named only.
            .subcommands(KINDS.iter().map(|kind| of_kind(kind)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn of_kind(kind: &'static Descriptor) -> Command {
    let words = [kind.plural, kind.route].into_iter().chain(kind.aliases.iter().copied());
    let mut aliases: Vec<&str> = words.filter(|word| *word != kind.name).collect();
    aliases.sort_unstable();
    aliases.dedup();
    let command = Command::new(kind.name).about(kind.about).aliases(aliases).args(flags::project(kind));
    command.defer(|command| match find(command.get_name()) {
        Some(kind) if kind.made_by == MadeBy::Anybody => template::flag(flags::command(command, kind), kind),
        _ => command
            .arg(Arg::new("any").num_args(0..).allow_hyphen_values(true).trailing_var_arg(true).hide(true)),
    })
}

impl FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { matches: matches.clone() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.matches = matches.clone();
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let Some((kind, matches)) =
        args.matches.subcommand().and_then(|(word, matches)| Some((find(word)?, matches)))
    else {
        return Err(usage("this takes a kind".to_owned()));
    };
    if kind.made_by == MadeBy::Reconciliation {
        return Err(usage(format!("{} are made by the server itself, from what others want", kind.plural))
            .hint(
                "an instance follows from its server: `hayward patch server NAME replicas=2` makes another",
            ));
    }
    let read = |error: clap::Error| usage(error.to_string());
    let server = ServerArgs::from_arg_matches(matches).map_err(read)?;
    let trial = TrialArg::from_arg_matches(matches).map_err(read)?.trial();
    let form = matches.get_one::<DocumentForm>("output").cloned();
    let said = flags::document(kind, matches)?;
    block_on(async {
        let client = server.client()?;
        let document = template::filled(&client, kind, matches, said).await?;
        if trial == Trial::Client {
            documents::check(kind, &document)?;
            return told(kind, document, form.as_ref(), " (checked here)");
        }
        let write = Write { is_trial: trial == Trial::Server, precondition: None };
        let made = client.create(kind, &document, write).await?;
        warn(kind, &made);
        told(kind, made, form.as_ref(), if write.is_trial { " (tried, not made)" } else { "" })
    })
}

/// Tells what was made; a token, which is kept nowhere, on standard output.
fn told(
    kind: &'static Descriptor,
    mut document: Value,
    form: Option<&DocumentForm>,
    how: &str,
) -> Result<(), Failure> {
    let token = document.as_object_mut().and_then(|members| members.shift_remove("token"));
    let token = token.and_then(|token| token.as_str().map(str::to_owned));
    match form {
        Some(form) if !matches!(form, DocumentForm::Plain(Shape::Table(_))) => {
            let project = documents::project(kind, &document).map(str::to_owned);
            let groups = [Group { kind, documents: vec![document] }];
            let project = project.as_deref();
            show(&groups, &Showing { form, is_one: true, project, has_labels: false, has_headings: true })?;
        }
        _ => {
            let line = format!("{} created{how}\n", crate::documents::shown(kind, &document));
            match token {
                Some(_) => tell(&plain(&line)),
                None => written(data(&plain(&line)))?,
            }
        }
    }
    match token {
        Some(token) => {
            tell("the token is shown this once, and kept nowhere:\n");
            written(data(&plain(&format!("{token}\n"))))
        }
        None => Ok(()),
    }
}
