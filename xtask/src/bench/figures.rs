//! From samples to figures: medians over rounds, and the ratios that goals speak of.

use std::fmt;

use super::subject::Sample;

/// The medians of one contender in one case.
pub(crate) struct Row {
    /// The contender.
    pub(crate) name: String,
    /// Answers per second.
    pub(crate) rps: f64,
    /// Median latency in microseconds.
    pub(crate) p50_us: f64,
    /// 99th percentile in microseconds.
    pub(crate) p99_us: f64,
    /// Processor time of the server per answer in microseconds.
    pub(crate) cpu_us: Option<f64>,
    /// Memory of the server under this load, in MiB.
    pub(crate) rss_mib: Option<f64>,
    /// Errors of all rounds, and the first one.
    pub(crate) errors: u64,
    /// What the first error was.
    pub(crate) first_error: Option<String>,
}

impl Row {
    /// The medians of these samples.
    pub(crate) fn of(name: &str, samples: &[Sample]) -> Self {
        let over = |pick: fn(&Sample) -> Option<f64>| median(samples.iter().filter_map(pick));
        #[expect(clippy::cast_precision_loss, reason = "memory in KiB fits a float")]
        let mib = |sample: &Sample| sample.server_rss_kib.map(|kib| kib as f64 / 1024.0);
        Self {
            name: name.to_owned(),
            rps: over(|it| Some(it.rps)).unwrap_or_default(),
            p50_us: over(|it| Some(it.p50_us)).unwrap_or_default(),
            p99_us: over(|it| Some(it.p99_us)).unwrap_or_default(),
            cpu_us: over(|it| it.server_cpu_us),
            rss_mib: over(mib),
            errors: samples.iter().map(|it| it.errors).sum(),
            first_error: samples.iter().find_map(|it| it.first_error.clone()),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, rps, p50) = (&self.name, self.rps, self.p50_us / 1000.0);
        write!(f, "{name:28} {rps:>10.0} /s   p50 {p50:>8.3} ms")?;
        match &self.first_error {
            Some(error) => write!(f, "   {} errors: {error}", self.errors),
            None => Ok(()),
        }
    }
}

/// What a goal compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Throughput, ours by theirs: more is better.
    Rps,
    /// Median latency, ours by theirs: less is better.
    P50,
    /// Median latency, ours beyond theirs, in microseconds.
    AddedP50Us,
    /// Processor time of ours for each answer, in microseconds.
    CpuUs,
    /// Memory of ours, in MiB.
    RssMib,
}

impl Measure {
    /// Whether nobody else has a part in it.
    pub(crate) fn is_alone(self) -> bool {
        matches!(self, Self::CpuUs | Self::RssMib)
    }
}

/// What is wanted of a ratio.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    /// Our contender.
    pub(crate) ours: &'static str,
    /// The one that it is compared with; itself, if nobody else has a part in it.
    pub(crate) theirs: &'static str,
    /// In what.
    pub(crate) measure: Measure,
    /// The least (throughput) or greatest (everything else) that is good enough.
    pub(crate) wanted: f64,
}

impl Goal {
    /// At most so much of something, whatever others need.
    pub(crate) fn bound(ours: &'static str, measure: Measure, wanted: f64) -> Self {
        Self { ours, theirs: ours, measure, wanted }
    }

    /// What came out and whether it is good enough; `None` if a contender is missing or made errors.
    pub(crate) fn judge(&self, rows: &[Row]) -> Option<(f64, bool)> {
        let row = |name: &str| rows.iter().find(|row| row.name == name && row.errors == 0);
        let (ours, theirs) = (row(self.ours)?, row(self.theirs)?);
        let value = match self.measure {
            Measure::Rps => {
                let ratio = ours.rps / theirs.rps;
                return Some((ratio, ratio >= self.wanted));
            }
            Measure::P50 => ours.p50_us / theirs.p50_us,
            Measure::AddedP50Us => ours.p50_us - theirs.p50_us,
            Measure::CpuUs => ours.cpu_us?,
            Measure::RssMib => ours.rss_mib?,
        };
        Some((value, value <= self.wanted))
    }
}

/// The middle value.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, rps: f64, errors: u64) -> Row {
        let sample = Sample { rps, p50_us: 1000.0 / rps, errors, ..Sample::default() };
        Row::of(name, &[sample])
    }

    fn goal(measure: Measure, wanted: f64) -> Goal {
        Goal { ours: "a", theirs: "b", measure, wanted }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn goals_are_met_or_missed() {
        let rows = [row("a", 20.0, 0), row("b", 10.0, 0)];
        assert_eq!(goal(Measure::Rps, 2.0).judge(&rows), Some((2.0, true)));
        assert_eq!(goal(Measure::Rps, 2.1).judge(&rows), Some((2.0, false)));
        assert_eq!(goal(Measure::P50, 0.5).judge(&rows), Some((0.5, true)));
        assert_eq!(goal(Measure::P50, 0.4).judge(&rows), Some((0.5, false)));
    }

    #[test]
    fn bounds_are_of_one_contender_and_need_its_figure() {
        let sample = Sample { server_cpu_us: Some(50.0), p50_us: 120.0, ..Sample::default() };
        let rows = [Row::of("a", &[sample]), row("b", 50.0, 0)];
        assert_eq!(Goal::bound("a", Measure::CpuUs, 60.0).judge(&rows), Some((50.0, true)));
        assert_eq!(Goal::bound("a", Measure::CpuUs, 40.0).judge(&rows), Some((50.0, false)));
        assert_eq!(Goal::bound("a", Measure::RssMib, 30.0).judge(&rows), None);
        assert_eq!(goal(Measure::AddedP50Us, 100.0).judge(&rows), Some((100.0, true)));
        assert_eq!(goal(Measure::AddedP50Us, 99.0).judge(&rows), Some((100.0, false)));
    }

    #[test]
    fn errors_void_the_comparison() {
        let rows = [row("a", 20.0, 1), row("b", 10.0, 0)];
        assert_eq!(goal(Measure::Rps, 2.0).judge(&rows), None);
        assert_eq!(goal(Measure::Rps, 2.0).judge(&rows[1..]), None);
    }
}
