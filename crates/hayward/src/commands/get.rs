//! `hayward get`: resources in a table, as files, or by a template; once, or as they change.

mod follow;
mod seal;

use std::path::PathBuf;

use futures_util::future::try_join_all;
use hayward_api::Code;
use hayward_api::document::has;
use hayward_api::kinds::{Descriptor, MadeBy, Scope};
use hayward_client::{Client, Error};
use serde_json::Value;

use crate::failure::Failure;
use crate::output::columns::{Columns, text};
use crate::output::documents::{DocumentForm, Group, Shape, Showing, show};
use crate::output::path::at;
use crate::output::tell;
use crate::server::{Found, Meant, ProjectArg, ServerArgs, block_on, complete, found};
use crate::words::{self, Wanted};

/// Shows resources: all of a kind, or those that are named.
///
/// `hayward get servers`, `hayward get srv graf*`, `hayward get server/ha prompt/hello`, `hayward get servers,secrets`,
/// `hayward get all -p home -o yaml` (the project, its servers, and what belongs to it). What `-o yaml` and `-o json` show, `hayward apply -f` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// KIND [NAME…], KIND,KIND, KIND/NAME… or `all`; names may be ids or patterns such as `graf*`
    #[arg(required = true, value_name = "RESOURCE")]
    words: Vec<String>,

    /// Form: table, wide, json, yaml, name or jsonpath=TEMPLATE
    ///
    /// `json` and `yaml` are files for `apply`: lists by the plural of their kind, without what can't be written. Paths of
    /// `jsonpath` begin at the one resource that is named (`{.role}`), else at `items` (`{.items[*].name}`), and reach all
    /// that the server tells, `id` and `status` too.
    #[arg(long, short, env = "HAYWARD_CLIENT_OUTPUT", value_name = "FORM", default_value = "table", value_parser = str::parse::<DocumentForm>)]
    output: DocumentForm,

    #[command(flatten)]
    project: ProjectArg,

    /// Those with these labels, e.g. `team=a,env in (x,y),!old`
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<String>,

    /// Those with these members, e.g. `transport=STDIO`
    #[arg(long, value_name = "MEMBERS")]
    field_selector: Option<String>,

    /// Goes on showing what changes, until it is interrupted
    ///
    /// JSON, YAML and templates then get `{"type": "ADDED", "object": …}`, with MODIFIED and DELETED for what changes and
    /// goes; `-o name` writes `deleted` behind what is gone.
    #[arg(long, short)]
    watch: bool,

    /// Member by which rows are ordered, e.g. `createdAt`
    #[arg(long, value_name = "PATH")]
    sort_by: Option<String>,

    /// Shows labels as a column
    #[arg(long)]
    show_labels: bool,

    /// Leaves the headings of tables out
    #[arg(long)]
    no_headers: bool,

    /// Shows values of secrets, encrypted for the owner of the key in this file, instead of `***`
    #[arg(long, value_name = "KEYFILE")]
    seal_to: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let is_whole = args.words[0].eq_ignore_ascii_case(words::ALL);
    let mut all = match args.project.name().filter(|_| is_whole) {
        Some(project) => of_project(words::wanted(&args.words)?, project),
        None => args.project.wanted(&args.words)?,
    };
    if is_whole && args.output.is_applied() {
        // What follows from the rest is nobody's to apply.
        all.retain(|wanted| wanted.kind.made_by != MadeBy::Reconciliation);
    }
    let client = args.server.client()?;
    block_on(async {
        if args.watch {
            return follow::follow(&client, &all, args).await;
        }
        let (mut groups, mut missing) = fetch(&client, &all, args, is_whole).await?;
        if is_whole && (args.selector.is_some() || args.field_selector.is_some()) {
            // Nobody named the project: it is selected or not, like all else.
            missing.clear();
        }
        if let Some(keyfile) = &args.seal_to {
            seal::seal(&client, &mut groups, keyfile).await?;
        }
        let is_nothing = groups.iter().all(|group| group.documents.is_empty());
        if !is_nothing || missing.is_empty() {
            finish(groups, &all, args)?;
        }
        complete(missing)
    })
}

/// What `all` is of a project: itself, its servers, and what belongs to it.
fn of_project(all: Vec<Wanted>, project: &str) -> Vec<Wanted> {
    let of = |wanted: Wanted| match wanted.kind.name {
        "project" => Some(Wanted { names: vec![project.to_owned()], ..wanted }),
        "server" => Some(wanted),
        _ => Some(wanted).filter(|wanted| wanted.kind.scope != Scope::System),
    };
    all.into_iter().filter_map(of).collect()
}

fn finish(mut groups: Vec<Group>, all: &[Wanted], args: &Args) -> Result<(), Failure> {
    if let Some(path) = &args.sort_by {
        let mut documents = groups.iter().flat_map(|group| &group.documents).peekable();
        if documents.peek().is_some() && documents.all(|document| at(document, path).is_none()) {
            let failure = words::usage(format!("nothing that is shown has a member `{path}` to order it by"));
            return Err(failure.hint("`-o json` shows the members that there are"));
        }
        let now = jiff::Timestamp::UNIX_EPOCH;
        for group in &mut groups {
            group.documents.sort_by_cached_key(|document| match at(document, path) {
                Some(Value::String(moment)) => moment.clone(),
                Some(Value::Number(number)) => format!("{:020.3}", number.as_f64().unwrap_or_default()),
                other => text(other, now),
            });
        }
    }
    let is_one = matches!(all, [wanted] if wanted.one().is_some());
    let showing = Showing {
        form: &args.output,
        is_one,
        project: args.project.name(),
        has_labels: args.show_labels,
        has_headings: !args.no_headers,
    };
    if groups.iter().all(|group| group.documents.is_empty())
        && matches!(args.output, DocumentForm::Plain(Shape::Table(_)))
    {
        tell("nothing found\n");
        return Ok(());
    }
    show(&groups, &showing)
}

/// Those of what is wanted that are meant, with these members.
fn meant(args: &Args, only: Vec<String>) -> Meant<'_> {
    let (labels, fields) = (args.selector.as_deref(), args.field_selector.as_deref());
    Meant { project: &args.project, labels, fields, only }
}

/// The members that are shown of each; none if they are shown whole.
fn shown(args: &Args, kind: &'static Descriptor) -> Vec<String> {
    let shown = match args.output {
        DocumentForm::Plain(Shape::Table(width)) => Columns::new(kind, width, args.show_labels).members(),
        DocumentForm::Plain(Shape::Name) => Vec::new(),
        _ => return Vec::new(),
    };
    // Ids are meant wherever names are.
    let ordered = args.sort_by.as_deref().map(member);
    let mut only: Vec<String> = Vec::new();
    for member in shown.into_iter().chain(ordered).chain(["id"]).filter(|member| has(kind, member)) {
        if !only.iter().any(|known| known == member) {
            only.push(member.to_owned());
        }
    }
    only
}

/// The member in which a path begins.
fn member(path: &str) -> &str {
    let path = path.trim_start_matches('.');
    path.split(['.', '[']).next().unwrap_or(path)
}

/// What there is of a kind, or why it may not be seen.
type Seen = (&'static Descriptor, Result<Found, Error>);

/// Everything that is wanted, and what of it is missing. Of `all`, kinds that one may not see are left out, unless one may
/// see none.
async fn fetch(
    client: &Client,
    all: &[Wanted],
    args: &Args,
    is_whole: bool,
) -> Result<(Vec<Group>, Vec<Failure>), Failure> {
    let each = all.iter().map(async |wanted| {
        let found = match found(client, wanted, &meant(args, shown(args, wanted.kind))).await {
            // Whoever is not known at all has the same exit code, and sees nothing of anything.
            Err(error) if is_whole && error.code() == Code::Forbidden => Err(error),
            found => Ok(found?),
        };
        Ok::<_, Failure>((wanted.kind, found))
    });
    seen(try_join_all(each).await?)
}

/// What may be seen; the first refusal if that is nothing.
fn seen(all: Vec<Seen>) -> Result<(Vec<Group>, Vec<Failure>), Failure> {
    let (mut groups, mut missing, mut refused, mut left_out) = (Vec::new(), Vec::new(), None, Vec::new());
    for (kind, found) in all {
        match found {
            Ok(found) => {
                missing.extend(found.missing);
                groups.push(Group { kind, documents: found.documents });
            }
            Err(error) => {
                left_out.push(kind.plural);
                refused = refused.or(Some(error));
            }
        }
    }
    match refused {
        Some(error) if groups.is_empty() => return Err(error.into()),
        Some(_) => {
            tell(&format!("note: this is not all: you may not see {}\n", left_out.join(", ")));
        }
        None => {}
    }
    Ok((groups, missing))
}
