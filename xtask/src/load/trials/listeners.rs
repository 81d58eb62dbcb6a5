//! A crowd of subscriptions.

use anyhow::Result;
use serde::Deserialize;

use super::super::page::Line;
use super::super::rig::Rig;
use super::{Size, count, words};

const ALL_MS: f64 = 20.0;

/// In milliseconds. The names are those that the trial prints.
#[derive(Deserialize)]
struct Heard {
    all_p50: f64,
    all_longest: f64,
    call_p50: f64,
}

pub(super) fn play(rig: &Rig, size: &Size) -> Result<Vec<Line>> {
    let server = rig.server(&[])?;
    let listeners = size.clients.to_string();
    let heard: Heard = rig.trial(&server, &words(["listeners", "--listeners", &listeners]))?;
    Ok(lines(&heard, size))
}

fn lines(heard: &Heard, size: &Size) -> Vec<Line> {
    let who = format!("a change reaches all of {} subscriptions", count(size.clients));
    let Heard { all_p50, all_longest, call_p50 } = heard;
    let figure = format!("{all_p50:.1} / {all_longest:.1} ms");
    vec![
        Line::goal(
            format!("{who}: p50 / longest"),
            figure,
            &format!("p50 ≤ {ALL_MS:.0} ms"),
            *all_p50 <= ALL_MS,
        ),
        Line::shown(format!("{who}: of which the call that changes it, p50"), format!("{call_p50:.1} ms")),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::page::Mark;
    use super::*;

    #[test]
    fn news_that_takes_too_long_is_a_miss() {
        let mark =
            |all_p50| lines(&Heard { all_p50, all_longest: 30.0, call_p50: 1.0 }, &Size::full())[0].mark;
        assert_eq!((mark(20.0), mark(20.1)), (Mark::Met, Mark::Missed));
    }
}
