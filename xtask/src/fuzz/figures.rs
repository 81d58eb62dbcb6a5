//! What a target says of itself at its end.

/// The figures of one run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// How many inputs were tried.
    pub(crate) executions: u64,
    /// How many edges of the code they reached together.
    pub(crate) edges: u64,
    /// The most memory that it took, in MiB.
    pub(crate) peak_mib: u64,
}

impl Figures {
    /// Reads what libFuzzer prints; none if it ended before its end.
    pub(crate) fn read(said: &str) -> Option<Self> {
        let statistic = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            line?.strip_prefix(':')?.trim().parse().ok()
        };
        Some(Self {
            executions: statistic("number_of_executed_units")?,
            edges: said.lines().filter_map(edges).next_back().unwrap_or_default(),
            peak_mib: statistic("peak_rss_mb")?,
        })
    }
}

/// `#1024  NEW  cov: 345 ft: 678 …`.
fn edges(line: &str) -> Option<u64> {
    let (_, behind) = line.strip_prefix('#')?.split_once("cov: ")?;
    behind.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "INFO: Seed: 1\n\
        #2\tINITED cov: 340 ft: 341 corp: 1/1b exec/s: 0 rss: 40Mb\n\
        #99\tDONE   cov: 345 ft: 678 corp: 9/99b exec/s: 9 rss: 41Mb\n\
        stat::number_of_executed_units: 99\n\
        stat::average_exec_per_sec:     9\n\
        stat::peak_rss_mb:              41\n";

    #[test]
    fn figures_are_the_last_ones() {
        let expect = Figures { executions: 99, edges: 345, peak_mib: 41 };
        assert_eq!(Figures::read(SAID), Some(expect));
    }

    #[test]
    fn a_run_without_its_end_has_no_figures() {
        let (begun, _) = SAID.split_once("stat::").unwrap();
        assert_eq!(Figures::read(begun), None);
    }
}
