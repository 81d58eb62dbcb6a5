//! The page: `docs/benchmarks.md`.

use super::cases::Case;
use super::figures::{Goal, Measure, Row};
use super::gateway::{CALLS, Lasting};
use super::machine::Machine;
use super::start::Footprint;
use super::transfer::{self, Moved};
use super::{Pace, Results};

/// What stands before the figures.
const HEAD: &str = "\
# Benchmarks

<!-- Written by `cargo xtask bench`; edit `xtask/src/bench/report.rs`. -->

Measured side by side in one run: rounds A B C A B C …, medians over the rounds, every connection
with one call in flight, load from its own process over raw HTTP/1.1. Errors void a comparison.
Client and servers share the machine, so figures are comparable within this page only; what counts
are the ratios. Repeat it with:

```
cargo xtask bench
```

Compared with: `axum` (a bare JSON-RPC echo, or the same bytes served as they are: the ceiling of any
server on this stack; for sessions, a map of random ids by hand), `rmcp` 3.9 (the official Rust SDK with JSON
answers; for SSE answers and for sessions, as it is by default), `algony-mymcp` 3.1.0 (native) and 2.1.1
(Python) with their audit on. A session is `initialize`, `notifications/initialized`, `tools/list` and DELETE.
Hayward's record is on (that of the echo is written and not synced); neither files nor records are waited for, as
nobody here syncs them. `Hayward, strict` is Hayward as it is by default: a call that has an effect waits for the disk with its
intent and with its outcome, and files are synced (`dd` says what one wait takes). `CPU` is the server's processor time per answer (or session), children not counted.

Gateways stand before the same echo of either era, over HTTP or over the standard streams of a process (jailed by Hayward, as it is by
default; not so by the others). `direct` is that echo without a gateway: over HTTP, or a process with as many requests in flight. Client, gateway
and upstream share the cores, so about a third of `direct` is what any gateway can reach, and less of a process that is spoken to
directly, as all its requests come together. Compared with: the crate `mcp-proxy` 0.4.3, `supergateway` 4.0.0 of npm (a process per session) and `mcp-proxy`
0.13.0 of PyPI. Results are looked through for secrets in any case, as the daemon holds its own tokens; `Hayward, redacting` holds
a declared secret beside them.
";

/// The whole page.
pub(super) fn render(results: &Results, machine: &Machine) -> String {
    let head = [HEAD.to_owned(), facts(results, machine)];
    let cases = results.cases.iter().map(|(case, rows)| table(case, rows));
    let rest = [footprint(&results.start, loaded_mib(results)), transfers(&results.moved)];
    let parts = head.into_iter().chain(rest).chain(cases).chain(results.lasting.iter().map(lasting));
    parts.collect::<Vec<_>>().join("\n")
}

fn facts(results: &Results, machine: &Machine) -> String {
    let Machine { date, hardware, software, load } = machine;
    let Pace { rounds, sample, of_gateways } = results.pace;
    let (sample, of_gateways) = (sample.as_millis(), of_gateways.as_millis());
    format!(
        "| | |\n|---|---|\n| date | {date} |\n| machine | {hardware} |\n| compiler | {software} |\n\
         | load before | {load} |\n| rounds | {rounds} × {sample} ms; of gateways {rounds} × {of_gateways} ms |\n"
    )
}

/// The most memory that our binary held in any case.
fn loaded_mib(results: &Results) -> Option<f64> {
    let rows = results.cases.iter().flat_map(|(_, rows)| rows);
    rows.filter(|row| row.name == "Hayward").filter_map(|row| row.rss_mib).reduce(f64::max)
}

fn footprint(start: &Footprint, loaded_mib: Option<f64>) -> String {
    let line = |what: &str, value: f64, unit: &str, most: f64| {
        format!("| {what} | {value:.1} {unit} | ≤ {most:.0} {unit} | {} |", mark(value <= most))
    };
    let head = "## Footprint\n\n| what | Hayward | goal | |\n|---|---:|---:|---|".to_owned();
    let lines = [
        head,
        line("exec to first answer, existing data folder", start.ready_ms, "ms", 20.0),
        line("exec to first answer, fresh data folder", start.fresh_ms, "ms", 300.0),
        line("memory at rest", start.idle_mib, "MiB", 12.0),
        line("memory under load", loaded_mib.unwrap_or(f64::NAN), "MiB", 30.0),
        line("stripped binary", start.binary_mib, "MiB", 15.0),
        format!(
            "\nmymcp 3.1.0 in the same run: first answer {:.1} ms, memory at rest {:.1} MiB.\n",
            start.native_ms, start.native_idle_mib
        ),
    ];
    lines.join("\n")
}

/// Goals: 1.2 times as fast as mymcp, in 25 MiB.
fn transfers(moved: &[Moved]) -> String {
    let head = "## A large file, up and down (curl)\n\n| who | up MiB/s | down MiB/s | peak RSS MiB |\n|---|---:|---:|---:|";
    let line = |it: &Moved| format!("| {} | {:.0} | {:.0} | {:.1} |", it.name, it.up, it.down, it.peak_mib);
    let lines: Vec<String> = moved.iter().map(line).collect();
    let (Some(ours), Some(theirs)) = (moved.first(), moved.last()) else { return head.to_owned() };
    let goal = |what: &str, ratio: f64| {
        format!(
            "- {} : {}, {what}: **{ratio:.2}** (goal ≥ 1.2) {}",
            ours.name,
            theirs.name,
            mark(ratio >= 1.2)
        )
    };
    let over_tls = moved.iter().find(|it| it.name == transfer::TLS).map_or_else(String::new, |tls| {
        let ratio = (tls.up / ours.up, tls.down / ours.down);
        format!("- {} : {}: up {:.2}, down {:.2}", tls.name, ours.name, ratio.0, ratio.1)
    });
    let memory = mark(ours.peak_mib <= 25.0);
    [
        head.to_owned(),
        lines.join("\n"),
        String::new(),
        goal("up", ours.up / theirs.up),
        goal("down", ours.down / theirs.down),
        over_tls,
        format!("- {}, peak RSS: {:.1} MiB (goal ≤ 25 MiB) {memory}", ours.name, ours.peak_mib),
        String::new(),
    ]
    .join("\n")
}

/// What calls leave behind.
fn lasting(it: &Lasting) -> String {
    let Lasting { calls, before_mib, after_mib } = it;
    let percent = it.growth() * 100.0;
    format!(
        "## gateway, HTTP upstream, memory over many calls\n\n\
         {calls} calls, c=16, after as many as it takes to be warm: RSS {before_mib:.1} MiB before, {after_mib:.1} MiB after: \
         **{percent:+.1} %** (goal ≤ 5 % over {CALLS}) {}\n",
        mark(percent <= 5.0)
    )
}

fn table(case: &Case, rows: &[Row]) -> String {
    let head = format!(
        "## {}\n\n| who | {}/s | p50 ms | p99 ms | CPU µs | RSS MiB | errors |\n\
         |---|---:|---:|---:|---:|---:|---:|",
        case.title, case.counts
    );
    let goals = case.goals.iter().map(|goal| format!("- {}", verdict(goal, case.counts, rows)));
    let lines = std::iter::once(head).chain(rows.iter().map(line)).chain([String::new()]);
    lines.chain(goals).chain([String::new()]).collect::<Vec<_>>().join("\n")
}

fn line(row: &Row) -> String {
    let optional = |value: Option<f64>| value.map_or("–".to_owned(), |it| format!("{it:.1}"));
    let (p50, p99) = (row.p50_us / 1000.0, row.p99_us / 1000.0);
    let (cpu, rss) = (optional(row.cpu_us), optional(row.rss_mib));
    let Row { name, rps, errors, .. } = row;
    format!("| {name} | {rps:.0} | {p50:.3} | {p99:.3} | {cpu} | {rss} | {errors} |")
}

fn verdict(goal: &Goal, counts: &str, rows: &[Row]) -> String {
    let (ours, wanted) = (goal.ours, goal.wanted);
    let (what, sign, unit) = match goal.measure {
        Measure::Rps => (format!("{counts}/s"), "≥", ""),
        Measure::P50 => ("p50".to_owned(), "≤", ""),
        Measure::AddedP50Us => ("added p50".to_owned(), "≤", " µs"),
        Measure::CpuUs => ("CPU".to_owned(), "≤", " µs"),
        Measure::RssMib => ("RSS".to_owned(), "≤", " MiB"),
    };
    let who = if goal.measure.is_alone() { ours.to_owned() } else { format!("{ours} : {}", goal.theirs) };
    let Some((value, is_met)) = goal.judge(rows) else {
        return format!("{who}, {what}: no comparison (goal {sign} {wanted}{unit})");
    };
    let value = if unit.is_empty() { format!("{value:.2}") } else { format!("{value:.1}") };
    format!("{who}, {what}: **{value}{unit}** (goal {sign} {wanted}{unit}) {}", mark(is_met))
}

fn mark(is_met: bool) -> &'static str {
    if is_met { "✓" } else { "missed" }
}

#[cfg(test)]
mod tests {
    use super::super::subject::Sample;
    use super::*;

    #[test]
    fn goals_are_shown_with_their_ratio() {
        let row = |name: &str, rps| Row::of(name, &[Sample { rps, ..Sample::default() }]);
        let goal = Goal { ours: "a", theirs: "b", measure: Measure::Rps, wanted: 1.5 };
        let text = verdict(&goal, "calls", &[row("a", 30.0), row("b", 10.0)]);
        assert_eq!(text, "a : b, calls/s: **3.00** (goal ≥ 1.5) ✓");
        let text = verdict(&goal, "calls", &[row("a", 10.0), row("b", 10.0)]);
        assert_eq!(text, "a : b, calls/s: **1.00** (goal ≥ 1.5) missed");
        assert!(verdict(&goal, "calls", &[row("a", 10.0)]).contains("no comparison"));
        let sample = Sample { server_rss_kib: Some(20 << 10), ..Sample::default() };
        let rows = [Row::of("a", &[sample])];
        let text = verdict(&Goal::bound("a", Measure::RssMib, 30.0), "calls", &rows);
        assert_eq!(text, "a, RSS: **20.0 MiB** (goal ≤ 30 MiB) ✓");
    }
}
