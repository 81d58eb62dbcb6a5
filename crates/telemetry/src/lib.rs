//! What the daemon tells of itself: logs, metrics, traces.
//!
//! Logs are lines on stderr, as text or JSON.
//!
//! Never on stdout, which belongs to protocol frames and to data. What a value holds can't forge a
//! line or talk to the terminal (RUSTSEC-2025-0055): text goes through `escape`, JSON through its
//! own escapes. Settings come from the caller; no environment variable is read here.

mod escape;
pub mod limits;
pub mod metrics;
pub mod otlp;
mod sources;

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, OnceLock};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::{MakeWriter, format};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::escape::Escaped;
use crate::otlp::{LogLayer, Logs};
use crate::sources::{JsonEvents, TextFields};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged, and how.
#[derive(Clone)]
pub struct Config {
    /// A level (`info`), or directives (`info,hayward_gateway=debug`).
    pub level: String,
    /// How lines look.
    pub format: Format,
    /// Colours, for a terminal; text only.
    pub ansi: bool,
    /// Where the same lines are told for a collector.
    pub logs: Option<Arc<Logs>>,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The level makes no sense.
    #[error("log level `{level}` is not one")]
    Level {
        /// As it was given.
        level: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The process logs already.
    #[error("logging was started before")]
    Started,
}

/// While it lives, panics are log lines too.
#[must_use = "panics are logged only as long as this lives"]
pub struct Logging {
    filter: Arc<OnceLock<Filter>>,
    set_level: SetLevel,
}

/// Puts another level in force.
type SetLevel = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// What a line becomes before it is written.
pub type Filter = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

impl Logging {
    /// From now on every line goes through this before it is written, so that no secret gets there. The first one
    /// stays.
    pub fn filter(&self, filter: Filter) {
        // A second one would come from a second server in the process, which there isn't.
        drop(self.filter.set(filter));
    }

    /// From now on what is logged is what this level says.
    ///
    /// # Errors
    /// [`InitError::Level`] if it makes no sense; then nothing changes.
    pub fn set_level(&self, level: &str) -> Result<(), InitError> {
        (self.set_level)(levels(level)?);
        Ok(())
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(panic::take_hook());
        }
    }
}

/// Whether a level, or directives, could be logged by.
///
/// # Errors
/// [`InitError::Level`] if not.
pub fn check_level(level: &str) -> Result<(), InitError> {
    levels(level).map(drop)
}

fn levels(level: &str) -> Result<EnvFilter, InitError> {
    EnvFilter::try_new(level).map_err(|source| InitError::Level { level: level.to_owned(), source })
}

/// Starts logging to stderr, once in a process.
pub fn init(config: &Config) -> Result<Logging, InitError> {
    let filter = Arc::<OnceLock<Filter>>::default();
    let lines = Arc::clone(&filter);
    let writer = move || Lines { out: io::stderr(), filter: Arc::clone(&lines) };
    let logs = config.logs.clone().map(|logs| LogLayer { logs, filter: Arc::clone(&filter) });
    let (subscriber, set_level) = subscriber(config, writer, logs)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::Started)?;
    panic::set_hook(Box::new(log_panic));
    Ok(Logging { filter, set_level })
}

/// What writes whole lines, each of them in one piece.
struct Lines<W> {
    out: W,
    filter: Arc<OnceLock<Filter>>,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.filter.get() {
            Some(filter) => self.out.write_all(&filter(line))?,
            None => self.out.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("no message");
    tracing::error!(location, message, "panicked");
}

fn subscriber<W>(
    config: &Config,
    writer: W,
    logs: Option<LogLayer>,
) -> Result<(Box<dyn Subscriber + Send + Sync>, SetLevel), InitError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(levels(&config.level)?).with_writer(writer);
    Ok(match config.format {
        Format::Text => {
            let fields = format::debug_fn(|writer, field, value| {
                let value = Escaped(value);
                match field.name() {
                    "message" => write!(writer, "{value}"),
                    name => write!(writer, "{name}={value}"),
                }
            });
            let builder = builder.with_ansi(config.ansi).fmt_fields(TextFields(fields.delimited(" ")));
            let builder = builder.with_filter_reloading();
            let levels = builder.reload_handle();
            (Box::new(builder.finish().with(logs)), Box::new(move |level| drop(levels.reload(level))))
        }
        Format::Json => {
            let builder = builder.with_ansi(false).json().map_event_format(JsonEvents);
            let builder = builder.with_filter_reloading();
            let levels = builder.reload_handle();
            (Box::new(builder.finish().with(logs)), Box::new(move |level| drop(levels.reload(level))))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing::subscriber::with_default;

    use super::*;

    const EVIL: &str = "a\u{1b}[31m\nINFO forged\r\u{9b}2J\u{202e}\u{7}";

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn config(format: Format, ansi: bool) -> Config {
        Config { level: "info".to_owned(), format, ansi, logs: None }
    }

    fn logged(config: &Config, event: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let (subscriber, _) = subscriber(config, move || writer.clone(), None).unwrap();
        with_default(subscriber, event);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn evil_events() {
        let span = tracing::error_span!("call", tool = %EVIL);
        let _entered = span.enter();
        tracing::info!(shown = %EVIL, debugged = ?EVIL, plain = EVIL, "message {EVIL}");
    }

    #[test]
    fn no_value_can_forge_a_line_or_talk_to_the_terminal() {
        for format in [Format::Text, Format::Json] {
            let text = logged(&config(format, false), evil_events);
            let line = text.strip_suffix('\n').unwrap();
            assert!(line.contains("forged") && line.contains("message a"), "{line}");
            let bad = |c: char| c.is_ascii_control() || (format == Format::Text && escape::is_hostile(c));
            assert!(!line.contains(bad), "{format:?}: {line:?}");
        }
    }

    #[test]
    fn colours_are_ours_only() {
        let text = logged(&config(Format::Text, true), evil_events);
        assert!(text.contains('\u{1b}'), "{text:?}");
        assert!(!text.contains("\u{1b}[31m"), "{text:?}");
    }

    #[test]
    fn fields_stand_apart_and_keep_their_text() {
        let text = logged(&config(Format::Text, false), || {
            tracing::info!(path = %"/ä b", count = 3, "done");
        });
        assert!(text.ends_with("done path=/ä b count=3\n"), "{text}");
    }

    #[test]
    fn another_level_is_in_force_at_once_and_a_senseless_one_never() {
        for format in [Format::Text, Format::Json] {
            let memory = Memory::default();
            let writer = memory.clone();
            let (subscriber, set_level) =
                subscriber(&config(format, false), move || writer.clone(), None).unwrap();
            let logging = Logging { filter: Arc::default(), set_level };
            let say = |word: &str| tracing::debug!("{word}");
            with_default(subscriber, || {
                say("first");
                logging.set_level("debug").unwrap();
                say("second");
                assert!(logging.set_level("a=b=c").is_err() && check_level("a=b=c").is_err());
                say("third");
                logging.set_level("error").unwrap();
                say("fourth");
            });
            let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
            let has = |word| text.contains(word);
            assert!(has("second") && has("third") && !has("first") && !has("fourth"), "{text}");
        }
    }

    #[test]
    fn below_the_level_nothing_is_logged() {
        let text = logged(&config(Format::Text, false), || {
            tracing::debug!("quiet");
            tracing::warn!("loud");
        });
        assert!(!text.contains("quiet") && text.contains("loud"), "{text}");
    }

    #[test]
    fn a_line_goes_through_the_filter_from_then_on() {
        let (memory, filter) = (Memory::default(), Arc::<OnceLock<Filter>>::default());
        let (out, lines) = (memory.clone(), Arc::clone(&filter));
        let writer = move || Lines { out: out.clone(), filter: Arc::clone(&lines) };
        let (subscriber, set_level) = subscriber(&config(Format::Text, false), writer, None).unwrap();
        with_default(subscriber, || {
            tracing::info!("a secret before");
            Logging { filter, set_level }
                .filter(Box::new(|line| String::from_utf8_lossy(line).replace("secret", "tag").into_bytes()));
            tracing::info!("a secret after");
        });
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("a secret before\n") && text.ends_with("a tag after\n"), "{text}");
    }

    #[test]
    fn a_level_that_makes_no_sense_is_refused_by_name() {
        let bad = Config { level: "hayward=lout".to_owned(), ..config(Format::Text, false) };
        let error = subscriber(&bad, io::stderr, None).err().unwrap();
        assert!(error.to_string().starts_with("log level `hayward=lout` is not one"), "{error}");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("failed to write `{EVIL}`")]
    struct Failed(#[source] io::Error);

    fn failure(format: Format) -> String {
        logged(&config(format, false), || {
            let error = Failed(io::Error::from_raw_os_error(28));
            tracing::error!(error = &error as &dyn std::error::Error, count = 3, "lost");
        })
    }

    #[test]
    fn an_error_in_text_is_shown_with_its_sources() {
        let text = failure(Format::Text);
        let line = text.strip_suffix('\n').unwrap();
        assert!(line.contains("lost error=failed to write `a"), "{line}");
        assert!(line.ends_with("`: No space left on device (os error 28) count=3"), "{line}");
        assert!(!line.contains(escape::is_hostile), "{line:?}");
    }

    #[test]
    fn an_error_in_json_is_shown_with_its_sources() {
        let text = failure(Format::Json);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = format!("failed to write `{EVIL}`: No space left on device (os error 28)");
        assert_eq!(line["fields"]["error"], expected);
        assert_eq!((line["level"].as_str(), line["fields"]["count"].as_i64()), (Some("ERROR"), Some(3)));
    }

    #[test]
    fn logging_starts_once_and_panics_become_log_lines() {
        let guard = init(&config(Format::Json, false)).unwrap();
        assert!(matches!(init(&config(Format::Text, false)), Err(InitError::Started)));
        let text = logged(&config(Format::Json, false), || {
            panic::catch_unwind(|| panic!("{EVIL}")).unwrap_err();
        });
        assert!(text.contains("panicked") && text.contains("lib.rs"), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
        drop(guard);
    }
}
