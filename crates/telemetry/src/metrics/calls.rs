//! Calls: how many, by whom, how they ended, how long they took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Family, Histogram, Kind, Name, Point, Value};
use crate::limits::TOOLS_MAX;

/// The label of what stands in no table.
pub(super) const OTHER: &str = "other";

/// The words for who calls; the last one is for any that isn't here.
const ROLES: [&str; 6] = ["ro", "rw", "danger", "admin", "none", OTHER];
/// The words for how a call ended.
const RESULTS: [&str; 3] = ["ok", "error", "denied"];
/// What takes the road beside calls of tools.
const METHODS: [&str; 3] = ["resources/read", "prompts/get", "completion/complete"];

/// How a call ended, as dashboards tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// It did what was asked.
    Ok,
    /// It failed, was cancelled, or its time was over.
    Error,
    /// It was refused and had no effect.
    Denied,
}

/// What is counted of one tool.
#[derive(Debug, Default)]
pub struct CallMeter {
    calls: [[AtomicU64; RESULTS.len()]; ROLES.len()],
    duration: Histogram,
}

impl CallMeter {
    /// Counts a call by somebody with this role that ended like this after so long.
    pub fn count(&self, role: &str, result: CallResult, took: Duration) {
        let role = ROLES.iter().position(|known| *known == role).unwrap_or(ROLES.len() - 1);
        self.calls[role][result as usize].fetch_add(1, Ordering::Relaxed);
        self.duration.count(took);
    }

    fn points(&self, tool: &str) -> Vec<Point> {
        let mut points = Vec::new();
        for (role, results) in ROLES.iter().zip(&self.calls) {
            for (result, calls) in RESULTS.iter().zip(results) {
                let calls = calls.load(Ordering::Relaxed);
                if calls > 0 {
                    let labels = [("tool", tool), ("role", role), ("result", result)]
                        .map(|(key, word)| (key, word.to_owned()));
                    points.push(Point { labels: labels.into(), value: Value::Whole(calls) });
                }
            }
        }
        points
    }
}

/// What is counted of all tools, and of what takes the road beside them.
#[derive(Debug, Default)]
pub(super) struct CallMeters {
    tools: Mutex<Vec<(String, Arc<CallMeter>)>>,
    other: Arc<CallMeter>,
    methods: [Histogram; METHODS.len()],
}

impl CallMeters {
    pub(super) fn tool(&self, name: &str) -> Arc<CallMeter> {
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, meter)) = tools.iter().find(|(known, _)| known == name) {
            return Arc::clone(meter);
        }
        if tools.len() >= TOOLS_MAX {
            return Arc::clone(&self.other);
        }
        let meter = Arc::<CallMeter>::default();
        tools.push((name.to_owned(), Arc::clone(&meter)));
        meter
    }

    pub(super) fn other(&self) -> &CallMeter {
        &self.other
    }

    pub(super) fn method(&self, method: &str) -> Option<&Histogram> {
        METHODS.iter().position(|known| *known == method).map(|at| &self.methods[at])
    }

    pub(super) fn families(&self) -> [Family; 3] {
        let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all: Vec<_> = tools.into_iter().chain([(OTHER.to_owned(), Arc::clone(&self.other))]).collect();
        let calls = all.iter().flat_map(|(tool, meter)| meter.points(tool)).collect();
        let durations = all.iter().filter_map(|(tool, meter)| {
            let counts = meter.duration.counts();
            let labels = vec![("tool", tool.clone())];
            (counts.total() > 0).then_some(Point { labels, value: Value::Durations(counts) })
        });
        let methods = METHODS.iter().zip(&self.methods).filter_map(|(method, histogram)| {
            let counts = histogram.counts();
            let labels = vec![("method", (*method).to_owned())];
            (counts.total() > 0).then_some(Point { labels, value: Value::Durations(counts) })
        });
        [
            Family {
                name: Name::Ours("tool_calls_total"),
                help: "Calls of tools, by who called and how it ended.",
                kind: Kind::Counter,
                points: calls,
            },
            Family {
                name: Name::Ours("tool_duration_seconds"),
                help: "How long calls of tools took, from their arrival on the road to their recorded outcome.",
                kind: Kind::Histogram,
                points: durations.collect(),
            },
            Family {
                name: Name::Ours("method_duration_seconds"),
                help: "The same for reads of resources, prompts and completions.",
                kind: Kind::Histogram,
                points: methods.collect(),
            },
        ]
    }
}
