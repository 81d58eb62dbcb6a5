//! A crowd of slow peers.

use anyhow::Result;
use serde::Deserialize;

use super::super::page::Line;
use super::super::rig::Rig;
use super::{Heard, Size, count, words};

/// For how many slow peers there is one call a second: 50 beside 5,000.
const PER_CALL: usize = 100;
const P99_MS: f64 = 100.0;
/// The default places for connections, and for how many peers there are as many: a smaller crowd gets fewer.
const PLACES: (usize, usize) = (4_096, 5_000);

/// The names are those that the trial prints.
#[derive(Deserialize)]
struct Stood {
    kept: Heard,
    anew: Heard,
    hung_up: usize,
    unconnected: usize,
    descriptors_most: usize,
    rss_most_mib: f64,
}

/// More slow peers (with their `heads`, their `bodies`, or as `readers`) than the server has places for
/// connections.
pub(super) fn beyond_places(rig: &Rig, size: &Size, kind: &str) -> Result<Vec<Line>> {
    let who = format!("{} slow {kind}", count(size.slow));
    play(rig, size, kind, (&who, size.slow * PLACES.0 / PLACES.1))
}

/// As many, and a place for each.
pub(super) fn with_places(rig: &Rig, size: &Size, kind: &str) -> Result<Vec<Line>> {
    let who = format!("{} slow {kind}, a place for each", count(size.slow));
    play(rig, size, kind, (&who, size.slow * 2))
}

fn play(rig: &Rig, size: &Size, kind: &str, (who, places): (&str, usize)) -> Result<Vec<Line>> {
    let server = rig.server(&[format!("gateway.connections_max={places}")])?;
    let (connections, seconds) = (size.slow.to_string(), size.slow_seconds.to_string());
    let pid = server.endpoint.pid.to_string();
    let mut all = words(["slow", "--kind", kind, "--connections", &connections, "--seconds", &seconds]);
    let rate = size.slow.div_ceil(PER_CALL).to_string();
    all.extend(words(["--per-second", &rate, "--pid", &pid]));
    let stood: Stood = rig.trial(&server, &all)?;
    Ok(lines(&stood, who))
}

fn lines(stood: &Stood, who: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(stood.kept.lines(&format!("{who}, connected callers"), P99_MS));
    lines.extend(stood.anew.lines(&format!("{who}, connecting callers"), P99_MS));
    let ends = format!("{} / {}", count(stood.hung_up), count(stood.unconnected));
    lines.push(Line::shown(format!("{who}: hung up on / could not connect"), ends));
    let descriptors = count(stood.descriptors_most);
    let holds = format!("{descriptors} / {:.1} MiB", stood.rss_most_mib);
    lines.push(Line::shown(format!("{who}: most descriptors / memory of the server"), holds));
    lines
}
