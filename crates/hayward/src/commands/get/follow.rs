//! `hayward get -w`: what is there, then what changes, as long as somebody looks.

use std::time::Duration;

use anyhow::anyhow;
use hayward_api::Code;
use hayward_client::{Client, Event, EventKind, Selection, Statuses};
use serde_json::Value;

use super::{Args, meant};
use crate::documents::stripped;
use crate::failure::Failure;
use crate::output::columns::Columns;
use crate::output::documents::{DocumentForm, Shape, word, yaml};
use crate::output::{data, plain, safe_json, tell, written};
use crate::server::is_wanted;
use crate::words::{Wanted, usage};

/// Watches that may break one after the other without anything having come.
const FAILURES_MAX: u32 = 5;

/// Shows what happens to one kind.
pub(super) async fn follow(client: &Client, all: &[Wanted], args: &Args) -> Result<(), Failure> {
    let [wanted] = all else {
        return Err(usage("one kind can be watched at a time".to_owned()));
    };
    let selection = meant(args, Vec::new()).of(args.project.of(wanted.kind));
    let mut lines = Lines::new(wanted, args);
    let mut reached = Reached::default();
    loop {
        let failure = match round(client, wanted, &selection, &mut reached, &mut lines).await {
            Ok(()) => continue,
            Err(Round::Here(failure)) => return Err(failure),
            Err(Round::There(error)) => {
                // What it knew is not kept any more: everything is told once again.
                let is_gone =
                    matches!(&error, hayward_client::Error::Refused(problem) if problem.status == 410);
                reached.from = reached.from.filter(|_| !is_gone);
                if !is_gone && error.code() != Code::Unavailable {
                    return Err(error.into());
                }
                error.into()
            }
            Err(Round::Silent) => {
                let error = anyhow!("{} ended the watch without a word", client.address());
                Failure::unavailable(error).hint("the server's log may say why")
            }
        };
        let Some(pause) = reached.breaks.broke() else { return Err(failure) };
        tell(&plain(&format!("note: {}: watching again\n", failure.error)));
        tokio::time::sleep(pause).await;
    }
}

/// How far watching has come.
#[derive(Default)]
struct Reached {
    /// The version from which the next watch goes on.
    from: Option<u64>,
    breaks: Breaks,
}

/// Watches that broke one after the other since something came.
#[derive(Default)]
struct Breaks(u32);

impl Breaks {
    fn came(&mut self) {
        self.0 = 0;
    }

    /// How long to wait before the next watch; none if there have been enough.
    fn broke(&mut self) -> Option<Duration> {
        self.0 += 1;
        (self.0 <= FAILURES_MAX).then(|| Duration::from_secs(u64::from(self.0)))
    }
}

/// Why a round ended.
enum Round {
    Here(Failure),
    There(hayward_client::Error),
    /// The server ended it, and nothing had come.
    Silent,
}

/// Watches until the server ends it; that is well if anything had come.
async fn round(
    client: &Client,
    wanted: &Wanted,
    selection: &Selection,
    reached: &mut Reached,
    lines: &mut Lines<'_>,
) -> Result<(), Round> {
    let mut watch =
        client.watch(wanted.kind, selection, (reached.from, lines.statuses())).await.map_err(Round::There)?;
    let mut is_silent = true;
    while let Some(Event { kind, object, version }) = watch.next().await.map_err(Round::There)? {
        reached.breaks.came();
        is_silent = false;
        if version > 0 {
            reached.from = Some(version);
        }
        let is_meant = wanted.names.is_empty() || is_wanted(wanted.kind, &wanted.names, &object);
        if kind != EventKind::Bookmark && is_meant {
            lines.event(kind, &object).map_err(Round::Here)?;
        }
    }
    if is_silent { Err(Round::Silent) } else { Ok(()) }
}

/// What is written, event by event.
struct Lines<'a> {
    wanted: &'a Wanted,
    form: &'a DocumentForm,
    /// The project that a name means without saying so.
    project: Option<&'a str>,
    columns: Columns,
    has_headings: bool,
    widths: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(wanted: &'a Wanted, args: &'a Args) -> Self {
        let width = match args.output {
            DocumentForm::Plain(Shape::Table(width)) => width,
            _ => crate::output::columns::Width::Short,
        };
        let columns = Columns::new(wanted.kind, width, args.show_labels);
        let (project, has_headings) = (args.project.name(), !args.no_headers);
        Self { wanted, form: &args.output, project, columns, has_headings, widths: Vec::new() }
    }

    /// Whether what is written shows statuses: names alone don't.
    fn statuses(&self) -> Statuses {
        if matches!(self.form, DocumentForm::Plain(Shape::Name)) { Statuses::Untold } else { Statuses::Told }
    }

    fn event(&mut self, kind: EventKind, document: &Value) -> Result<(), Failure> {
        let descriptor = self.wanted.kind;
        let text = match self.form {
            DocumentForm::JsonPath(template) => template.render(&wrapped(kind, document)) + "\n",
            DocumentForm::Plain(Shape::Table(_)) => plain(&self.row(kind, document)),
            DocumentForm::Plain(Shape::Name) => {
                let deleted = if kind == EventKind::Deleted { " deleted" } else { "" };
                plain(&format!("{}{deleted}\n", word(descriptor, document, self.project)))
            }
            DocumentForm::Plain(Shape::Json) => {
                return written(
                    safe_json(&wrapped(kind, document), serde_json::to_string)
                        .and_then(|text| data(&(text + "\n"))),
                );
            }
            DocumentForm::Plain(Shape::Yaml) => {
                let text = yaml(&wrapped(kind, &stripped(descriptor, document)));
                return written(text.and_then(|text| data(&format!("---\n{text}"))));
            }
        };
        written(data(&text))
    }

    /// A row, as wide as those before it, and what happened.
    fn row(&mut self, kind: EventKind, document: &Value) -> String {
        let mut text = String::new();
        let (mut headings, mut row) =
            (self.columns.headings(), self.columns.row(document, jiff::Timestamp::now()));
        headings.push("EVENT");
        row.push(event(kind).to_owned());
        let is_first = self.widths.is_empty();
        self.widths.resize(row.len(), 0);
        for ((width, cell), heading) in self.widths.iter_mut().zip(&row).zip(&headings) {
            *width = (*width).max(cell.chars().count()).max(heading.len());
        }
        if is_first && self.has_headings {
            text += &self.line(headings.into_iter());
        }
        text + &self.line(row.iter().map(String::as_str))
    }

    fn line<'b>(&self, cells: impl Iterator<Item = &'b str>) -> String {
        let padded: Vec<String> =
            cells.zip(&self.widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    }
}

/// An event as a document: what happened, and to what.
fn wrapped(kind: EventKind, document: &Value) -> Value {
    serde_json::json!({ "type": event(kind).to_uppercase(), "object": document })
}

fn event(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Added => "added",
        EventKind::Modified => "modified",
        EventKind::Deleted => "deleted",
        EventKind::Bookmark => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_given_up_only_if_nothing_comes_between_its_breaks() {
        let mut breaks = Breaks::default();
        for _break in 0..3 * FAILURES_MAX {
            assert_eq!(breaks.broke(), Some(Duration::from_secs(1)));
            breaks.came();
        }
        let pauses: Vec<_> = std::iter::from_fn(|| breaks.broke()).map(|pause| pause.as_secs()).collect();
        assert_eq!(pauses, [1, 2, 3, 4, 5]);
        assert_eq!(breaks.broke(), None);
    }
}
