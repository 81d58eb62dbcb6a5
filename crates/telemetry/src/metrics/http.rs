//! Requests: how many, by route, method and status, and how long they took.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::calls::OTHER;
use super::{Family, Histogram, Kind, Name, Point, Value};

/// The methods that are told apart; the last one is for all others.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", OTHER];
/// The statuses that there are.
const STATUSES: std::ops::Range<u16> = 100..600;
const STATUS_COUNT: usize = (STATUSES.end - STATUSES.start) as usize;

/// What is counted of one route and method; made when it is first asked for.
#[derive(Debug)]
struct Slot {
    statuses: Box<[AtomicU64]>,
    duration: Histogram,
}

impl Slot {
    fn new() -> Self {
        let statuses = std::iter::repeat_with(AtomicU64::default).take(STATUS_COUNT).collect();
        Self { statuses, duration: Histogram::default() }
    }
}

/// What is counted of requests.
#[derive(Debug)]
pub struct HttpMeters {
    /// The templates of the routes; what isn't here is the last one.
    paths: Vec<&'static str>,
    slots: Vec<OnceLock<Slot>>,
    active: AtomicU64,
}

/// A request that is being answered. If it is dropped, it was not answered.
#[must_use = "a request counts as active until this is dropped"]
pub struct Pending<'a> {
    meters: &'a HttpMeters,
    slot: usize,
    since: Instant,
}

impl Pending<'_> {
    /// Counts the answer.
    pub fn answered(self, status: u16) {
        let slot = self.meters.slots[self.slot].get_or_init(Slot::new);
        if STATUSES.contains(&status) {
            slot.statuses[usize::from(status - STATUSES.start)].fetch_add(1, Ordering::Relaxed);
        }
        slot.duration.count(self.since.elapsed());
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.meters.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HttpMeters {
    pub(super) fn new(paths: &[&'static str]) -> Self {
        let paths: Vec<_> = paths.iter().copied().chain([OTHER]).collect();
        let slots = std::iter::repeat_with(OnceLock::new).take(paths.len() * METHODS.len()).collect();
        Self { paths, slots, active: AtomicU64::new(0) }
    }

    /// A request for this path came in: it is counted by the template that the path fits.
    pub fn begin(&self, path: &str, method: &str) -> Pending<'_> {
        self.active.fetch_add(1, Ordering::Relaxed);
        let at = |known: usize, fits: Option<usize>| fits.unwrap_or(known - 1);
        let path = at(self.paths.len(), self.paths.iter().position(|template| fits(template, path)));
        let method = at(METHODS.len(), METHODS.iter().position(|known| *known == method));
        Pending { meters: self, slot: path * METHODS.len() + method, since: Instant::now() }
    }

    fn used(&self) -> impl Iterator<Item = (&'static str, &'static str, &Slot)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| {
            Some((self.paths[at / METHODS.len()], METHODS[at % METHODS.len()], slot.get()?))
        })
    }

    pub(super) fn families(&self) -> [Family; 3] {
        let durations = self.used().map(|(path, method, slot)| Point {
            labels: vec![("http_route", path.to_owned()), ("http_request_method", method.to_owned())],
            value: Value::Durations(slot.duration.counts()),
        });
        [
            Family {
                name: Name::Ours("http_requests_total"),
                help: "Requests that were answered, by the template of their route.",
                kind: Kind::Counter,
                points: self.used().flat_map(|(path, method, slot)| statuses(path, method, slot)).collect(),
            },
            Family {
                name: Name::Common("http_server_active_requests"),
                help: "Requests that are being answered.",
                kind: Kind::Gauge,
                points: vec![Point::plain(Value::Whole(self.active.load(Ordering::Relaxed)))],
            },
            Family {
                name: Name::Common("http_server_request_duration_seconds"),
                help: "How long requests took until their answer, or its stream, began.",
                kind: Kind::Histogram,
                points: durations.collect(),
            },
        ]
    }
}

fn statuses<'a>(path: &'a str, method: &'a str, slot: &'a Slot) -> impl Iterator<Item = Point> + use<'a> {
    slot.statuses.iter().zip(STATUSES).filter_map(move |(count, status)| {
        let count = count.load(Ordering::Relaxed);
        let labels =
            vec![("path", path.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
        (count > 0).then_some(Point { labels, value: Value::Whole(count) })
    })
}

/// Whether a path fits a template, whose parts in braces stand for any.
fn fits(template: &str, path: &str) -> bool {
    if !template.contains('{') {
        return template == path;
    }
    let mut parts = path.split('/');
    let is_same = template.split('/').all(|wanted| {
        parts.next().is_some_and(|part| part == wanted || (wanted.starts_with('{') && !part.is_empty()))
    });
    is_same && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_counted_by_the_template_that_it_fits() {
        for (template, path, expect) in [
            ("/mcp", "/mcp", true),
            ("/mcp", "/mcp/", false),
            ("/files/raw/{ticket}", "/files/raw/secret", true),
            ("/files/raw/{ticket}", "/files/raw/", false),
            ("/files/raw/{ticket}", "/files/raw/a/b", false),
        ] {
            assert_eq!(fits(template, path), expect, "{template} {path}");
        }
    }

    #[test]
    fn what_is_dropped_unanswered_is_active_no_more_and_was_no_request() {
        let meters = HttpMeters::new(&["/mcp"]);
        let pending = meters.begin("/mcp", "GET");
        assert_eq!(meters.active.load(Ordering::Relaxed), 1);
        drop(pending);
        assert_eq!(meters.active.load(Ordering::Relaxed), 0);
        assert_eq!(meters.used().count(), 0);
    }
}
