//! A crowd of idle sessions.

use anyhow::Result;
use serde::Deserialize;

use super::super::page::Line;
use super::super::rig::Rig;
use super::{Heard, Size, count, words};

const PER_SECOND: usize = 500;
const P99_MS: f64 = 50.0;
const MEMORY_MIB: f64 = 300.0;
/// Sessions and connections beside those of the crowd.
const FURTHER: usize = 100;

/// The names are those that the trial prints.
#[derive(Deserialize)]
struct Stood {
    stream_status: Option<u16>,
    streams_open: usize,
    sessions_kept: usize,
    calls: Heard,
    rss_idle_mib: f64,
    rss_most_mib: f64,
}

/// Nothing is held open.
pub(super) fn alone(rig: &Rig, size: &Size) -> Result<Vec<Line>> {
    play(rig, size, &format!("{} idle sessions", count(size.sessions)), &[])
}

/// Each has a standing stream, if the server offers any.
pub(super) fn with_streams(rig: &Rig, size: &Size) -> Result<Vec<Line>> {
    play(rig, size, &format!("{} sessions with a standing stream each", count(size.sessions)), &["--streams"])
}

fn play(rig: &Rig, size: &Size, who: &str, more: &[&str]) -> Result<Vec<Line>> {
    let mut limits = vec![format!("gateway.sessions_max={}", size.sessions + FURTHER)];
    if !more.is_empty() {
        for key in ["connections_max", "streams_max", "streams_per_principal_max"] {
            limits.push(format!("gateway.{key}={}", size.sessions + FURTHER));
        }
    }
    let server = rig.server(&limits)?;
    let (sessions, seconds) = (size.sessions.to_string(), size.session_seconds.to_string());
    let (rate, pid) = (PER_SECOND.to_string(), server.endpoint.pid.to_string());
    let mut all = words(["sessions", "--sessions", &sessions, "--seconds", &seconds]);
    all.extend(words(["--per-second", &rate, "--pid", &pid]));
    all.extend(more.iter().map(ToString::to_string));
    Ok(lines(&rig.trial(&server, &all)?, who, size))
}

fn lines(stood: &Stood, who: &str, size: &Size) -> Vec<Line> {
    if let Some(status) = stood.stream_status.filter(|status| *status != 200) {
        return vec![Line::shown(who, format!("not offered: `GET /mcp` answers {status}"))];
    }
    let (idle, most, wanted) = (stood.rss_idle_mib, stood.rss_most_mib, count(size.sessions));
    let memory = format!("{idle:.1} / {most:.1} MiB");
    let is_small = most <= MEMORY_MIB;
    let mut lines = vec![Line::goal(
        format!("{who}: memory before the callers / most"),
        memory,
        &format!("≤ {MEMORY_MIB:.0} MiB"),
        is_small,
    )];
    lines.extend(stood.calls.lines(&format!("{who}, {PER_SECOND} calls/s of others"), P99_MS));
    let all = |kept: usize| kept == size.sessions;
    let kept = stood.sessions_kept;
    lines.push(Line::goal(format!("{who}: still there at the end"), count(kept), &wanted, all(kept)));
    if stood.stream_status.is_some() {
        let open = stood.streams_open;
        lines.push(Line::goal(format!("{who}: streams open at the end"), count(open), &wanted, all(open)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::super::page::Mark;
    use super::*;

    fn stood(stream_status: Option<u16>, kept: usize) -> Stood {
        let calls = Heard { calls: 1, ..Heard::default() };
        Stood {
            stream_status,
            streams_open: kept,
            sessions_kept: kept,
            calls,
            rss_idle_mib: 1.0,
            rss_most_mib: 2.0,
        }
    }

    #[test]
    fn a_session_or_stream_that_is_gone_is_a_miss() {
        let size = Size::full();
        let missed =
            |stood: &Stood| lines(stood, "x", &size).iter().filter(|line| line.mark == Mark::Missed).count();
        assert_eq!(missed(&stood(None, 10_000)), 0);
        assert_eq!(missed(&stood(None, 9_999)), 1);
        assert_eq!(missed(&stood(Some(200), 9_999)), 2);
    }

    #[test]
    fn streams_that_are_not_offered_are_said_and_not_judged() {
        let said = lines(&stood(Some(405), 0), "x", &Size::full());
        assert_eq!(said.len(), 1);
        assert!(said[0].mark == Mark::None && said[0].figure.contains("405"));
    }
}
