//! Errors in log lines, with all their sources.
//!
//! An error of ours doesn't say its source, and the formatters of the library ask for nothing else:
//! without this a log would say that a step failed and never why.

use std::error::Error;
use std::fmt::{self, Debug, Display};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::{MakeVisitor, VisitFmt, VisitOutput};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Fields as text, errors among them with their sources.
pub(crate) struct TextFields<M>(pub(crate) M);

impl<'w, M: MakeVisitor<Writer<'w>>> MakeVisitor<Writer<'w>> for TextFields<M> {
    type Visitor = TextVisitor<M::Visitor>;

    fn make_visitor(&self, target: Writer<'w>) -> Self::Visitor {
        TextVisitor(self.0.make_visitor(target))
    }
}

pub(crate) struct TextVisitor<V>(V);

impl<V: Visit> Visit for TextVisitor<V> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.record_debug(field, value);
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        self.0.record_debug(field, &chain(error));
    }
}

impl<V: VisitOutput<fmt::Result>> VisitOutput<fmt::Result> for TextVisitor<V> {
    fn finish(self) -> fmt::Result {
        self.0.finish()
    }
}

impl<V: VisitFmt> VisitFmt for TextVisitor<V> {
    fn writer(&mut self) -> &mut dyn fmt::Write {
        self.0.writer()
    }
}

/// Lines of JSON, errors in their fields with their sources.
///
/// The formatter of the library doesn't let its visitor be replaced: in the rare line that has an error,
/// the field is written over.
pub(crate) struct JsonEvents<F>(pub(crate) F);

impl<S, N, F> FormatEvent<S, N> for JsonEvents<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut errors = Errors::default();
        event.record(&mut errors);
        if errors.0.is_empty() {
            return self.0.format_event(ctx, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        let mut line: Value = serde_json::from_str(&line).map_err(|_| fmt::Error)?;
        for (name, text) in errors.0 {
            line["fields"][name] = text.into();
        }
        writeln!(writer, "{line}")
    }
}

#[derive(Default)]
struct Errors(Vec<(&'static str, String)>);

impl Visit for Errors {
    fn record_debug(&mut self, _field: &Field, _value: &dyn Debug) {}

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        self.0.push((field.name(), chain(error).to_string()));
    }
}

fn chain(error: &dyn Error) -> impl Debug + Display {
    fmt::from_fn(move |f| {
        write!(f, "{error}")?;
        let mut source = error.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    })
}
