//! What was counted, at one moment: the form between the atomics and whoever is told.

use super::Counts;

/// The name of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Ours: it begins with the prefix of the server.
    Ours(&'static str),
    /// One that many servers have.
    Common(&'static str),
}

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It comes and goes.
    Gauge,
    /// Durations in seconds, by bucket.
    Histogram,
}

/// All numbers of one name.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name.
    pub name: Name,
    /// What it says.
    pub help: &'static str,
    /// What its numbers mean.
    pub kind: Kind,
    /// One for each set of labels.
    pub points: Vec<Point>,
}

/// A number with its labels.
#[derive(Clone, Debug)]
pub struct Point {
    /// In the order in which they are told.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: Value,
}

/// The number.
#[derive(Clone, Debug)]
pub enum Value {
    /// A whole one.
    Whole(u64),
    /// Another one.
    Number(f64),
    /// Durations.
    Durations(Counts),
}

impl Point {
    /// A number without labels.
    pub fn plain(value: Value) -> Self {
        Self { labels: Vec::new(), value }
    }
}

impl Family {
    /// Its whole name.
    pub fn full_name(&self, prefix: &str) -> String {
        match self.name {
            Name::Ours(name) => format!("{prefix}{name}"),
            Name::Common(name) => name.to_owned(),
        }
    }
}
