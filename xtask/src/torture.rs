//! `cargo xtask torture`: the release binary under faults that are really injected.
//!
//! ```text
//!  kill (every N-th system call) ─┐
//!  power (a disk that is cut off) ┼─► what held, and what didn't ─► a dated table in docs/reliability.md
//!  fault (a disk that fails)      │
//!  escapes (commands that flee)  ─┘
//! ```
//!
//! What is injected and what has to hold afterwards lies in `testkit/torture`, and a short form of it in the tests. One
//! violation fails the run, after its table was written.

mod escapes;
mod head;
mod lines;

use anyhow::{Result, bail};
use hayward_torture::kill::{self, Kills};
use hayward_torture::power::{self, Cuts, Durability};
use hayward_torture::{Subject, Tally, clock, fault, memory, open_files, rotation, strace};

use crate::bench::machine;
use crate::load::page::{self, Line, Mark};
use crate::{output, step, toolbox, workspace};

/// Programs that inject faults, and their Debian packages.
pub(crate) const PROGRAMS: [(&str, &str); 8] = [
    ("strace", "strace"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("prlimit", "util-linux"),
    ("perl", "perl"),
    ("faketime", "faketime"),
];

/// The long form.
const LONG: Arguments = Arguments {
    kill: 2_000,
    power: 100,
    fault: 1,
    escapes: 1_000,
    seed: 1,
    only: String::new(),
    process: false,
};

/// Kills at once: one waits for its disk while the other one computes.
const LANES: u64 = 2;

/// How much of it: 0 leaves a kind out.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Deaths, each at the N-th system call of a kind.
    #[arg(long, default_value_t = LONG.kill)]
    kill: u64,
    /// Power cuts.
    #[arg(long, default_value_t = LONG.power)]
    power: u64,
    /// Rounds of all faults of the disk and of the system.
    #[arg(long, default_value_t = LONG.fault)]
    fault: u64,
    /// Commands that try to outlive their end, in each way of holding them.
    #[arg(long, default_value_t = LONG.escapes)]
    escapes: u64,
    /// What chance is made of.
    #[arg(long, default_value_t = LONG.seed)]
    seed: u64,
    /// Of all faults only those of system calls with this in their name
    #[arg(long, default_value_t)]
    only: String,
    /// Hold the record of changes to what `process` durability promises only.
    #[arg(long)]
    process: bool,
}

impl Arguments {
    /// Whether nothing is less than in the long form.
    fn is_long(&self) -> bool {
        self.only.is_empty()
            && self.kill >= LONG.kill
            && self.power >= LONG.power
            && self.fault >= LONG.fault
            && self.escapes >= LONG.escapes
    }

    /// As a person would type it.
    fn shown(&self) -> String {
        let Self { kill, power, fault, escapes, seed, process, .. } = self;
        let process = if *process { " --process" } else { "" };
        format!(
            "cargo xtask torture --kill {kill} --power {power} --fault {fault} --escapes {escapes} --seed {seed}{process}"
        )
    }
}

/// Tortures; what is not shorter than the long form is written down.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let machine = machine::describe()?;
    let lines = play(arguments)?;
    let section = page::section(&machine, &lines);
    if arguments.is_long() {
        let path = workspace::root().join("docs/reliability.md");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let section = section.replacen("\n\n", &format!("\n\n`{}`\n\n", arguments.shown()), 1);
        std::fs::write(&path, page::with(head::HEAD, &old, &machine.date, &section))?;
        output::note("wrote docs/reliability.md");
    } else {
        output::line(section);
    }
    verdict(&lines)
}

/// A short form.
pub(crate) fn check() -> Result<()> {
    run(&Arguments { kill: 400, power: 20, escapes: 0, ..LONG })
}

fn play(arguments: &Arguments) -> Result<Vec<Line>> {
    output::step("release build");
    toolbox::ensure_debian(&PROGRAMS)?;
    step::run(step::cargo().args(["build", "--release", "--package", "hayward", "--bins"]))?;
    let subject = Subject { binary: workspace::target().join("release/hayward") };
    let mut lines = Vec::new();
    lines.extend(kills(&subject, arguments)?);
    lines.extend(cuts(&subject, arguments)?);
    lines.extend(faults(&subject, arguments)?);
    if arguments.escapes > 0 {
        output::step("escapes");
        lines.extend(escapes::play(arguments.escapes)?);
    }
    Ok(lines)
}

fn kills(subject: &Subject, arguments: &Arguments) -> Result<Vec<Line>> {
    let Arguments { kill: count, seed, .. } = *arguments;
    if count == 0 {
        return Ok(Vec::new());
    }
    output::step("kills");
    if let Some(why) = strace::missing() {
        bail!("nobody can be killed: {why}");
    }
    let tally = kill::run(subject, Kills { count, seed, lanes: LANES }, &|tally| told("deaths", tally))?;
    Ok(lines::of_kills(&tally, count))
}

fn cuts(subject: &Subject, arguments: &Arguments) -> Result<Vec<Line>> {
    let Arguments { power: count, seed, process, .. } = *arguments;
    if count == 0 {
        return Ok(Vec::new());
    }
    output::step("power cuts");
    if let Some(why) = power::missing() {
        bail!("the power can't be cut: {why}");
    }
    let durability = if process { Durability::Process } else { Durability::Strict };
    let tally = power::run(subject, Cuts { count, seed, durability, grace: power::GRACE }, &|tally| {
        told("power cuts", tally);
    })?;
    Ok(lines::of_cuts(&tally, count, durability))
}

fn faults(subject: &Subject, arguments: &Arguments) -> Result<Vec<Line>> {
    let Arguments { fault: rounds, seed, .. } = *arguments;
    let mut lines = Vec::new();
    for round in 0..rounds {
        output::step("faults");
        let seed = seed.wrapping_add(round);
        let tell = |trial: &fault::Trial| told(&trial.name, &trial.tally);
        let mut trials = fault::run(subject, &arguments.only, seed, &tell)?;
        lines.extend(trials.drain(..).flat_map(|trial| lines::of_trial(&trial)));
        if !arguments.only.is_empty() {
            continue;
        }
        trials.extend(fault::fill_disks(subject, seed, &tell)?);
        trials.extend(open_files::run(subject, seed, &tell)?);
        trials.extend(rotation::run(subject, &tell)?);
        match memory::missing() {
            None => trials.extend(memory::run(subject, seed, &tell)?),
            Some(why) => lines.push(Line::shown("little memory", format!("left out: {why}"))),
        }
        match clock::missing() {
            None => trials.extend(clock::run(subject, seed, &tell)?),
            Some(why) => lines.push(Line::shown("the wall clock jumps", format!("left out: {why}"))),
        }
        lines.extend(trials.iter().flat_map(lines::of_trial));
    }
    Ok(lines)
}

/// Says how far it is, and what is wrong.
fn told(what: &str, tally: &Tally) {
    let Tally { injected, missed, calls, violations, .. } = tally;
    output::note(format!("{what}: {injected} ({missed} missed), {calls} calls, {violations} violations"));
    for told in &tally.told {
        output::note(format!("  {told}"));
    }
}

fn verdict(lines: &[Line]) -> Result<()> {
    let missed: Vec<_> = lines.iter().filter(|line| line.mark == Mark::Missed).collect();
    if !missed.is_empty() {
        bail!("missed: {}", missed.iter().map(|line| &*line.what).collect::<Vec<_>>().join("; "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shorter_than_the_long_form_is_not_written_down() {
        assert!(LONG.is_long() && Arguments { kill: 4_000, seed: 7, ..LONG }.is_long());
        for short in [
            Arguments { kill: 999, ..LONG },
            Arguments { power: 0, ..LONG },
            Arguments { fault: 0, ..LONG },
            Arguments { escapes: 1, ..LONG },
        ] {
            assert!(!short.is_long(), "{short:?}");
        }
    }

    #[test]
    fn the_command_says_all_that_repeats_it() {
        let shown = Arguments { process: true, seed: 9, ..LONG }.shown();
        assert!(shown.contains("--kill 2000") && shown.ends_with("--seed 9 --process"), "{shown}");
    }
}
