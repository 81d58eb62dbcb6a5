//! Lines of the log as records for a collector: the same ones that go to stderr, with the same secrets taken out.
//!
//! What the pushing itself logs is left out: a collector that fails must not be told of it forever.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::Batch;
use super::queue::Queue;
use crate::Filter;
use crate::limits::{OTLP_FIELDS_MAX, OTLP_TEXT_BYTES_MAX};

/// Crates whose lines are about the pushing.
const OWN: [&str; 6] = ["hayward_telemetry", "hayward_egress", "hyper", "hyper_util", "reqwest", "rustls"];

/// Where lines of the log are told.
pub struct Logs {
    pub(super) queue: Queue<Line>,
}

/// A line that waits to be pushed.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) at: SystemTime,
    pub(super) level: Level,
    pub(super) target: &'static str,
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, String)>,
}

impl Logs {
    pub(super) fn new(batch: Batch) -> Self {
        Self { queue: Queue::new(batch) }
    }
}

/// Tells lines of the log, each text through the filter.
pub(crate) struct LogLayer {
    pub(crate) logs: Arc<Logs>,
    pub(crate) filter: Arc<OnceLock<Filter>>,
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let root = metadata.target().split("::").next().unwrap_or_default();
        if OWN.contains(&root) {
            return;
        }
        let mut texts = Texts { filter: self.filter.get(), message: String::new(), fields: Vec::new() };
        event.record(&mut texts);
        self.logs.queue.push(Line {
            at: SystemTime::now(),
            level: *metadata.level(),
            target: metadata.target(),
            message: texts.message,
            fields: texts.fields,
        });
    }
}

/// What an event says.
struct Texts<'a> {
    filter: Option<&'a Filter>,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Texts<'_> {
    fn put(&mut self, field: &Field, text: String) {
        let mut text = match self.filter {
            Some(filter) => String::from_utf8_lossy(&filter(text.as_bytes())).into_owned(),
            None => text,
        };
        text.truncate(text.floor_char_boundary(OTLP_TEXT_BYTES_MAX));
        if field.name() == "message" {
            self.message = text;
        } else if self.fields.len() < OTLP_FIELDS_MAX {
            self.fields.push((field.name(), text));
        }
    }
}

impl Visit for Texts<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            // Writing to a string can't fail.
            let _written = write!(text, ": {error}");
            source = error.source();
        }
        self.put(field, text);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn told(filter: Option<Filter>, event: impl FnOnce()) -> Vec<Line> {
        let batch = Batch { queue_max: 10, batch_max: 10, delay: Duration::ZERO };
        let (logs, held) = (Arc::new(Logs::new(batch)), Arc::<OnceLock<Filter>>::default());
        if let Some(filter) = filter {
            held.set(filter).ok().unwrap();
        }
        let layer = LogLayer { logs: Arc::clone(&logs), filter: held };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), event);
        logs.queue.take()
    }

    #[test]
    fn a_line_keeps_its_level_message_and_fields() {
        let lines = told(None, || {
            let error = std::io::Error::from_raw_os_error(28);
            tracing::warn!(target: "hayward_gateway::road", count = 3, error = &error as &dyn std::error::Error, "lost");
        });
        assert_eq!((lines[0].level, lines[0].target), (Level::WARN, "hayward_gateway::road"));
        assert_eq!(lines[0].message, "lost");
        assert_eq!(lines[0].fields[0], ("count", "3".to_owned()));
        assert!(lines[0].fields[1].1.starts_with("No space left"), "{:?}", lines[0].fields);
    }

    #[test]
    fn no_secret_is_told_and_no_text_is_long() {
        let hide: Filter =
            Box::new(|text| String::from_utf8_lossy(text).replace("secret", "tag").into_bytes());
        let lines = told(Some(hide), || {
            tracing::warn!(target: "x", said = "a secret", long = "ä".repeat(10_000), "my secret");
        });
        assert_eq!(lines[0].message, "my tag");
        assert_eq!(lines[0].fields[0].1, "a tag");
        assert_eq!(lines[0].fields[1].1.len(), OTLP_TEXT_BYTES_MAX);
    }

    #[test]
    fn what_the_pushing_says_of_itself_is_not_pushed() {
        let lines = told(None, || {
            tracing::warn!(target: "hayward_telemetry::otlp::deliver", "a collector takes nothing");
            tracing::warn!(target: "hyper_util::client", "connecting");
        });
        assert!(lines.is_empty(), "{lines:?}");
    }
}
