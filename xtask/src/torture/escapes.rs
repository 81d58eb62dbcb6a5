//! Commands that try to outlive their end: the example of `exec`, and what it says.

use anyhow::{Result, bail};

use crate::load::page::Line;
use crate::{output, step};

/// What nearly all may take from their deadline until nothing is left.
const P99_MAX_MS: f64 = 250.0;

/// What became of the commands held in one way.
#[derive(Debug, PartialEq)]
struct Way {
    name: String,
    commands: u64,
    p50: String,
    p99: String,
    faults: u64,
}

/// Runs so many in each way.
pub(super) fn play(count: u64) -> Result<Vec<Line>> {
    let mut cargo = step::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "hayward-exec", "--example", "escapes", "--"]);
    let ended = step::output_of(cargo.arg(count.to_string()))?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    said.lines().for_each(output::note);
    let ways: Vec<Way> = said.lines().filter_map(Way::read).collect();
    if ways.is_empty() {
        bail!("the escapes said nothing of what became of them: {said}");
    }
    Ok(ways.iter().flat_map(Way::lines).chain(left_out(&said)).collect())
}

/// Ways that this machine has not.
fn left_out(said: &str) -> impl Iterator<Item = Line> {
    let skipped = said.lines().filter_map(|line| line.strip_prefix("skipped "));
    skipped.map(|why| Line::shown("escapes", format!("left out: {why}"))).collect::<Vec<_>>().into_iter()
}

impl Way {
    /// Of a line like `Detect full: 9 commands, from deadline to empty p50 1ms p99 2ms max 3ms, 0 faults`.
    fn read(line: &str) -> Option<Self> {
        let (name, rest) = line.split_once(": ")?;
        let (commands, rest) = rest.split_once(" commands, from deadline to empty p50 ")?;
        let (p50, rest) = rest.split_once(" p99 ")?;
        let (p99, rest) = rest.split_once(" max ")?;
        let faults = rest.split_once(", ")?.1.strip_suffix(" faults")?;
        Some(Self {
            name: name.to_owned(),
            commands: commands.parse().ok()?,
            p50: p50.to_owned(),
            p99: p99.to_owned(),
            faults: faults.parse().ok()?,
        })
    }

    fn lines(&self) -> Vec<Line> {
        let Self { name, commands, p50, p99, faults } = self;
        if *commands == 0 {
            return Vec::new();
        }
        let is_soon = milliseconds(p99).is_some_and(|p99| p99 <= P99_MAX_MS);
        let times = format!("{p50} / {p99}");
        vec![
            Line::goal(
                format!("{commands} escapes, {name}: from deadline until empty, p50 / p99"),
                times,
                "p99 ≤ 250 ms",
                is_soon,
            ),
            Line::goal(format!("{commands} escapes, {name}: left"), faults.to_string(), "0", *faults == 0),
        ]
    }
}

/// Of a time as `Duration` shows it.
fn milliseconds(time: &str) -> Option<f64> {
    let of = |suffix: &str, factor: f64| Some(time.strip_suffix(suffix)?.parse::<f64>().ok()? * factor);
    of("ms", 1.0).or_else(|| of("µs", 0.001)).or_else(|| of("ns", 0.000_001)).or_else(|| of("s", 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::page::Mark;

    const LINE: &str =
        "Detect full: 1000 commands, from deadline to empty p50 12ms p99 40ms max 1s, 0 faults";

    fn marks(line: &str) -> Vec<Mark> {
        Way::read(line).unwrap().lines().iter().map(|line| line.mark).collect()
    }

    #[test]
    fn what_takes_too_long_or_is_left_is_a_miss() {
        assert_eq!(marks(LINE), [Mark::Met, Mark::Met]);
        assert_eq!(marks(&LINE.replace("40ms", "251ms")), [Mark::Missed, Mark::Met]);
        assert_eq!(marks(&LINE.replace("40ms", "1s")), [Mark::Missed, Mark::Met]);
        assert_eq!(marks(&LINE.replace("0 faults", "1 faults")), [Mark::Met, Mark::Missed]);
        assert_eq!(Way::read("  12ms fork twice"), None);
    }

    #[test]
    fn times_are_read_as_they_are_shown() {
        for (text, expect) in
            [("250ms", Some(250.0)), ("2s", Some(2000.0)), ("500µs", Some(0.5)), ("x", None)]
        {
            assert_eq!(milliseconds(text), expect, "{text}");
        }
    }
}
