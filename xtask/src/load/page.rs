//! The page: `docs/load.md`, one dated table for each run, newest first. What tortures the server keeps one like it.

use std::fmt;

use crate::bench::machine::Machine;

/// What stands before the tables.
pub(crate) const HEAD: &str = "\
# Load

<!-- Written by `cargo xtask load`; edit `xtask/src/load/page.rs`. -->

What the server stands beside being fast, newest first. A release build of the listener with an echo behind
it and its record on (written, not synced), and the clients in a process of their own, on one machine.
Repeat it with:

```
cargo xtask load
```

It needs 12,000 file descriptors in a process (`ulimit -Hn`); the soft limit is raised by itself.

- Idle sessions are opened and left alone, and at the end each is ended by its id, so that a server
  that forgot some is found out. `sessions_max` is raised by a hundred for the callers' own; with standing
  streams `connections_max` as well.
- Latency is that of ordinary callers of both eras beside the crowd. It counts from the moment at which a call
  was due, so a hold-up can't be hidden by being asked less. `connected` callers keep their connection,
  `connecting` ones come anew for each call, and give up after 30 s.
- Slow peers show another credential than the callers. They come one millisecond after the other, send one
  byte in 10 s (of a head, of a body), or ask for 8 MiB and read nothing; one that is hung up on comes again at once.
  Once there are fewer places for connections than peers (4,096), and once a place for each.
- A change is asked for by a call; the time runs from asking until the last subscription has the news.
- Clients with the same request ids also use the same progress tokens. They take JSON, events, or either by turns;
  limits of running calls are raised to let all of them call at once.
- The control plane is the daemon as it is by default, syncing. 200 writers read one of 20 servers and put it back with its
  count one higher, at both nodes by turns, while two others are changed in one step again and again, lists are
  compared, and each node is followed by a watch. Beside two nodes somebody else holds what every change needs for 150 ms
  at a time. A command is timed from its start to its end, 21 times, beside `curl` for the same.
";

/// How a figure compares with its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// As wanted.
    Met,
    /// Not as wanted.
    Missed,
    /// Nothing is wanted of it.
    None,
}

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// The figure, with its unit.
    pub(crate) figure: String,
    /// What is wanted of it.
    pub(crate) goal: String,
    /// Whether it is so.
    pub(crate) mark: Mark,
}

impl Line {
    /// A figure of which something is wanted.
    pub(crate) fn goal(what: impl Into<String>, figure: impl Into<String>, goal: &str, is_met: bool) -> Self {
        let mark = if is_met { Mark::Met } else { Mark::Missed };
        Self { what: what.into(), figure: figure.into(), goal: goal.to_owned(), mark }
    }

    /// A figure that is only shown.
    pub(crate) fn shown(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { what: what.into(), figure: figure.into(), goal: String::new(), mark: Mark::None }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, figure, goal, mark } = self;
        let mark = match mark {
            Mark::Met => "✓",
            Mark::Missed => "missed",
            Mark::None => "",
        };
        write!(f, "| {what} | {figure} | {goal} | {mark} |")
    }
}

/// The table of one run.
pub(crate) fn section(machine: &Machine, lines: &[Line]) -> String {
    let Machine { date, hardware, software, load } = machine;
    let head = format!(
        "## {date}\n\n{hardware}, {software}, load before {load}.\n\n| what | figure | goal | |\n|---|---:|---:|---|\n"
    );
    lines.iter().fold(head, |text, line| format!("{text}{line}\n"))
}

/// The page with this head, and with this table in front of the older ones and instead of one of the same day.
pub(crate) fn with(head: &str, old: &str, date: &str, section: &str) -> String {
    let older = old.split("\n## ").skip(1).filter(|older| !older.starts_with(date));
    let older = older.map(|older| format!("\n## {}\n", older.trim_end()));
    format!("{head}\n{section}{}", older.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(date: &str, figure: &str) -> String {
        format!("## {date}\n\nfigures: {figure}\n")
    }

    #[test]
    fn tables_are_kept_newest_first_and_one_a_day() {
        let first = with(HEAD, "", "2026-01-01", &table("2026-01-01", "a"));
        let second = with(HEAD, &first, "2026-01-02", &table("2026-01-02", "b"));
        assert!(second.starts_with(HEAD));
        let again = with(HEAD, &second, "2026-01-02", &table("2026-01-02", "c"));
        let tables = again.strip_prefix(HEAD).unwrap();
        assert_eq!(tables, format!("\n{}\n{}", table("2026-01-02", "c"), table("2026-01-01", "a")));
    }

    #[test]
    fn a_line_says_what_was_wanted() {
        let line = Line::goal("p99", "7.0 ms", "< 50 ms", true);
        assert_eq!(line.to_string(), "| p99 | 7.0 ms | < 50 ms | ✓ |");
        let line = Line::goal("p99", "70.0 ms", "< 50 ms", false);
        assert_eq!(line.to_string(), "| p99 | 70.0 ms | < 50 ms | missed |");
        assert_eq!(Line::shown("a", "b").to_string(), "| a | b |  |  |");
    }
}
