//! Sums as lines of the table.

use std::time::Duration;

use hayward_torture::Tally;
use hayward_torture::fault::Trial;
use hayward_torture::house::READY_MAX;
use hayward_torture::power::Durability;

use crate::load::page::Line;

/// Of deaths.
pub(super) fn of_kills(tally: &Tally, wanted: u64) -> Vec<Line> {
    let (points, places) = (tally.points.len(), tally.places.len());
    let mut lines = vec![
        Line::goal("deaths", tally.injected.to_string(), &format!("≥ {wanted}"), tally.injected >= wanted),
        Line::shown(
            "deaths: system calls by kind and number / places, different ones",
            format!("{points} / {places}"),
        ),
    ];
    lines.extend(of_restarts("deaths", tally));
    lines
}

/// Of power cuts.
pub(super) fn of_cuts(tally: &Tally, wanted: u64, durability: Durability) -> Vec<Line> {
    let promised = match durability {
        Durability::Strict => "`strict`",
        Durability::Process => "`process`",
    };
    let mut lines = vec![Line::goal(
        format!("power cuts, durability {promised}"),
        tally.injected.to_string(),
        &format!("≥ {wanted}"),
        tally.injected >= wanted,
    )];
    lines.extend(of_restarts("power cuts", tally));
    lines
}

fn of_restarts(what: &str, tally: &Tally) -> Vec<Line> {
    let Tally { calls, unknown, torn, slowest_ready, .. } = tally;
    vec![
        violations(what, tally),
        Line::goal(
            format!("{what}: longest until a restart is ready"),
            shown(*slowest_ready),
            &format!("≤ {} s", READY_MAX.as_secs()),
            *slowest_ready <= READY_MAX,
        ),
        Line::shown(
            format!("{what}: calls / ended `unknown` / torn pieces recognised"),
            format!("{calls} / {unknown} / {torn}"),
        ),
    ]
}

/// Of a fault that came and went.
pub(super) fn of_trial(Trial { name, tally }: &Trial) -> Vec<Line> {
    let Tally { injected, calls, refused, slowest_recovery, .. } = tally;
    let figures = format!("{injected} / {calls} / {refused} / {}", shown(*slowest_recovery));
    let violations = violations(name, tally);
    let what = format!("{name}: faults / calls / refused unrecorded / until served again");
    vec![Line::shown(what, figures), violations]
}

fn violations(what: &str, tally: &Tally) -> Line {
    Line::goal(format!("{what}: violations"), tally.violations.to_string(), "0", tally.violations == 0)
}

fn shown(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::page::Mark;

    fn missed(lines: &[Line]) -> usize {
        lines.iter().filter(|line| line.mark == Mark::Missed).count()
    }

    #[test]
    fn one_violation_or_too_few_deaths_is_a_miss() {
        let mut tally = Tally { injected: 10, ..Tally::default() };
        assert_eq!((missed(&of_kills(&tally, 10)), missed(&of_kills(&tally, 11))), (0, 1));
        tally.violation("x");
        assert_eq!(missed(&of_cuts(&tally, 10, Durability::Strict)), 1);
        assert_eq!(missed(&of_trial(&Trial { name: "x".to_owned(), tally: tally.clone() })), 1);
        tally.ready_in(READY_MAX + Duration::from_millis(1));
        assert_eq!(missed(&of_kills(&tally, 10)), 2);
    }
}
