//! What is counted: one set of atomics that feeds both `/metrics` and what is pushed to a collector.
//!
//! Counting takes a few nanoseconds and never waits. Every label comes from a table that is fixed when the
//! server starts, or from a closed set of words, so that no client decides how much memory is used; whatever
//! stands in no table is counted as `other`.

mod calls;
mod family;
mod histogram;
mod http;
mod process;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

pub use calls::{CallMeter, CallResult};
pub use family::{Family, Kind, Name, Point, Value};
pub use histogram::{BOUNDS, Counts, Histogram};
pub use http::{HttpMeters, Pending};
pub use text::CONTENT_TYPE;

use calls::CallMeters;

/// The beginning of our names when nothing else is said.
pub const DEFAULT_PREFIX: &str = "hayward_";

/// Reads a beginning of names of metrics: letters, digits and underscores, no digit first; or nothing.
pub fn parse_prefix(text: &str) -> Result<String, PrefixError> {
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.len() <= crate::limits::PREFIX_BYTES_MAX;
    if is_name { Ok(text.to_owned()) } else { Err(PrefixError) }
}

/// No name of a metric can begin like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a prefix of metrics has letters, digits and underscores, and no digit first, e.g. `mymcp_`")]
pub struct PrefixError;

/// What reads the numbers of a name: one for each word of its label, if it has one.
pub type Read = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// A number of ours that is read when it is asked for.
pub struct Observed {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// What it means.
    pub kind: Kind,
    /// What its numbers are told apart by.
    pub label: Option<&'static str>,
    /// Reads it.
    pub read: Read,
}

/// Everything that is counted in this process.
pub struct Meters {
    prefix: String,
    version: &'static str,
    started: SystemTime,
    calls: CallMeters,
    http: HttpMeters,
    audit_write_failures: AtomicU64,
    observed: Mutex<Vec<Observed>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self::new(DEFAULT_PREFIX, "0", &[])
    }
}

impl Meters {
    /// Nothing counted yet. Names of ours begin with `prefix`; `paths` are the templates of the routes that are served.
    pub fn new(prefix: &str, version: &'static str, paths: &[&'static str]) -> Self {
        Self {
            prefix: prefix.to_owned(),
            version,
            started: SystemTime::now(),
            calls: CallMeters::default(),
            http: HttpMeters::new(paths),
            audit_write_failures: AtomicU64::new(0),
            observed: Mutex::default(),
        }
    }

    /// The meter of a tool that there is; that of all others if there are too many already.
    pub fn tool(&self, name: &str) -> std::sync::Arc<CallMeter> {
        self.calls.tool(name)
    }

    /// The meter of calls whose name stands for no tool.
    pub fn other_tools(&self) -> &CallMeter {
        self.calls.other()
    }

    /// The meter of what isn't a call of a tool, by its method; none for one that isn't counted.
    pub fn method(&self, method: &str) -> Option<&Histogram> {
        self.calls.method(method)
    }

    /// Requests.
    pub fn http(&self) -> &HttpMeters {
        &self.http
    }

    /// Something could not be recorded.
    pub fn audit_write_failed(&self) {
        self.audit_write_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on this is told, too.
    pub fn observe(&self, observed: Observed) {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).push(observed);
    }

    /// Everything as it is now.
    pub fn families(&self) -> Vec<Family> {
        let mut families = Vec::from(self.calls.families());
        families.extend(self.http.families());
        families.extend(self.observed());
        let failures = self.audit_write_failures.load(Ordering::Relaxed);
        families.push(Family {
            name: Name::Ours("audit_write_failures_total"),
            help: "Records of calls that could not be written.",
            kind: Kind::Counter,
            points: vec![Point::plain(Value::Whole(failures))],
        });
        families.extend(process::families(self.started));
        families
    }

    fn observed(&self) -> Vec<Family> {
        let observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        let family = |it: &Observed| {
            let point = |(word, value): (&'static str, u64)| Point {
                labels: it.label.map(|label| (label, word.to_owned())).into_iter().collect(),
                value: Value::Whole(value),
            };
            let points = (it.read)().into_iter().map(point).collect();
            Family { name: Name::Ours(it.name), help: it.help, kind: it.kind, points }
        };
        observed.iter().map(family).collect()
    }

    /// Everything in the text format of Prometheus.
    pub fn text(&self) -> String {
        let labels =
            vec![("service_name", "hayward".to_owned()), ("service_version", self.version.to_owned())];
        let about = Family {
            name: Name::Common("target_info"),
            help: "What this is.",
            kind: Kind::Gauge,
            points: vec![Point { labels, value: Value::Whole(1) }],
        };
        let families = self.families().into_iter().chain([about]);
        families.fold(String::with_capacity(16 * 1024), |mut text, family| {
            text::write(&mut text, &self.prefix, &family);
            text
        })
    }

    /// When counting began.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// The version of the server.
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// The beginning of our names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn metered() -> Meters {
        let meters = Meters::new("hayward_", "1.2.3", &["/mcp", "/files/raw/{ticket}"]);
        let tool = meters.tool("read_file");
        tool.count("ro", CallResult::Ok, Duration::from_millis(3));
        tool.count("rw", CallResult::Error, Duration::from_secs(700));
        meters.other_tools().count("ro", CallResult::Denied, Duration::ZERO);
        meters.observe(Observed {
            name: "tokens_count",
            help: "Tokens.",
            kind: Kind::Gauge,
            label: Some("role"),
            read: Box::new(|| vec![("ro", 2), ("rw", 1)]),
        });
        meters.audit_write_failed();
        meters.http().begin("/mcp", "POST").answered(200);
        meters
    }

    #[test]
    fn the_text_has_every_family_once_with_its_type() {
        let text = metered().text();
        for expect in [
            "# TYPE hayward_tool_calls_total counter\n",
            "hayward_tool_calls_total{tool=\"read_file\",role=\"ro\",result=\"ok\"} 1\n",
            "hayward_tool_calls_total{tool=\"read_file\",role=\"rw\",result=\"error\"} 1\n",
            "hayward_tool_calls_total{tool=\"other\",role=\"ro\",result=\"denied\"} 1\n",
            "hayward_tool_duration_seconds_bucket{tool=\"read_file\",le=\"0.0025\"} 0\n",
            "hayward_tool_duration_seconds_bucket{tool=\"read_file\",le=\"0.005\"} 1\n",
            "hayward_tool_duration_seconds_bucket{tool=\"read_file\",le=\"600\"} 1\n",
            "hayward_tool_duration_seconds_bucket{tool=\"read_file\",le=\"+Inf\"} 2\n",
            "hayward_tool_duration_seconds_sum{tool=\"read_file\"} 700.003\n",
            "hayward_tool_duration_seconds_count{tool=\"read_file\"} 2\n",
            "hayward_http_requests_total{path=\"/mcp\",method=\"POST\",status=\"200\"} 1\n",
            "hayward_tokens_count{role=\"ro\"} 2\n",
            "hayward_audit_write_failures_total 1\n",
            "# TYPE http_server_active_requests gauge\nhttp_server_active_requests 0\n",
            "http_server_request_duration_seconds_count{http_route=\"/mcp\",http_request_method=\"POST\"} 1\n",
            "process_resident_memory_bytes ",
            "target_info{service_name=\"hayward\",service_version=\"1.2.3\"} 1\n",
        ] {
            assert!(text.contains(expect), "{expect}\n{text}");
        }
        let mut types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let all = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), all, "{text}");
    }

    #[test]
    fn another_prefix_is_that_of_our_names_only() {
        let text = Meters::new("mymcp_", "0", &[]).text();
        assert!(text.contains("mymcp_audit_write_failures_total 0") && text.contains("\nhttp_server_active"));
        assert!(!text.contains("hayward_"), "{text}");
    }

    #[test]
    fn a_prefix_that_no_name_begins_with_is_refused() {
        for good in ["", "hayward_", "_x9"] {
            assert_eq!(parse_prefix(good).as_deref(), Ok(good));
        }
        for bad in ["9x", "a-b", "a b", "ä", "a\n", &"x".repeat(65)] {
            assert_eq!(parse_prefix(bad), Err(PrefixError), "{bad:?}");
        }
    }

    #[test]
    fn names_of_clients_make_no_series() {
        let meters = Meters::new("hayward_", "0", &["/mcp"]);
        for at in 0..1000 {
            meters.http().begin(&format!("/nowhere/{at}"), &format!("M{at}")).answered(404);
            meters.other_tools().count("none", CallResult::Denied, Duration::ZERO);
        }
        let text = meters.text();
        assert!(
            text.contains(
                "hayward_http_requests_total{path=\"other\",method=\"other\",status=\"404\"} 1000\n"
            )
        );
        assert!(text.len() < 20_000, "{}", text.len());
    }

    #[test]
    fn beyond_a_number_of_tools_the_rest_is_counted_together() {
        let meters = Meters::default();
        for at in 0..crate::limits::TOOLS_MAX + 5 {
            meters.tool(&format!("tool_{at}")).count("rw", CallResult::Ok, Duration::ZERO);
        }
        let text = meters.text();
        assert!(text.contains("hayward_tool_calls_total{tool=\"other\",role=\"rw\",result=\"ok\"} 5\n"));
    }
}
