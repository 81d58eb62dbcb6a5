//! Many clients with the same request ids.

use anyhow::Result;
use serde::Deserialize;

use super::super::page::Line;
use super::super::rig::Rig;
use super::{Size, count, words};

/// The names are those that the trial prints.
#[derive(Deserialize)]
struct Tally {
    own: usize,
    foreign: usize,
    first_foreign: Option<String>,
    errors: usize,
    first_error: Option<String>,
    as_json: usize,
    as_events: usize,
    notices: usize,
    seconds: f64,
}

pub(super) fn play(rig: &Rig, size: &Size) -> Result<Vec<Line>> {
    let at_once = 2 * size.clients;
    let keys = ["gateway.calls_max", "gateway.calls_per_principal_max"];
    let server = rig.server(&keys.map(|key| format!("{key}={at_once}")))?;
    let (clients, calls) = (size.clients.to_string(), size.calls.to_string());
    let tally: Tally = rig.trial(&server, &words(["markers", "--clients", &clients, "--calls", &calls]))?;
    Ok(lines(&tally, size))
}

fn lines(tally: &Tally, size: &Size) -> Vec<Line> {
    let who = format!("{} calls of {} clients with the same ids", count(size.calls), count(size.clients));
    let said = |number: usize, first: &Option<String>| match first {
        Some(first) => format!("{} ({first})", count(number)),
        None => count(number),
    };
    let Tally { own, foreign, errors, as_json, as_events, notices, seconds, .. } = tally;
    let forms = format!("{} / {} / {}", count(*as_json), count(*as_events), count(*notices));
    vec![
        Line::goal(format!("{who}: own answers"), count(*own), &count(size.calls), *own == size.calls),
        Line::goal(
            format!("{who}: cross deliveries"),
            said(*foreign, &tally.first_foreign),
            "0",
            *foreign == 0,
        ),
        Line::goal(format!("{who}: errors"), said(*errors, &tally.first_error), "0", *errors == 0),
        Line::shown(format!("{who}: as JSON / as events / notices of progress"), forms),
        Line::shown(format!("{who}: time"), format!("{seconds:.0} s")),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::page::Mark;
    use super::*;

    #[test]
    fn one_cross_delivery_is_a_miss() {
        let size = Size::full();
        let mut tally = Tally {
            own: size.calls,
            foreign: 0,
            first_foreign: None,
            errors: 0,
            first_error: None,
            as_json: 1,
            as_events: 1,
            notices: 1,
            seconds: 1.0,
        };
        assert!(lines(&tally, &size).iter().all(|line| line.mark != Mark::Missed));
        (tally.own, tally.foreign) = (size.calls - 1, 1);
        assert_eq!(lines(&tally, &size).iter().filter(|line| line.mark == Mark::Missed).count(), 2);
    }
}
