//! `cargo xtask bench`: speed side by side with other servers, in one run on one machine.
//!
//! ```text
//!  rig (what runs) ─► cases (what is asked, of whom, and the goals) ─► rounds A B C A B C …
//!                                                        medians, ratios ─► docs/benchmarks.md
//! ```
//!
//! Absolute figures move with the machine and its neighbours; what counts are the ratios of one
//! run. Load comes from its own process, without an SDK. It brings what it compares with.

mod cases;
mod corpus;
mod figures;
mod gateway;
mod http;
pub(crate) mod machine;
mod report;
mod rig;
pub(crate) mod server;
mod start;
mod subject;
mod transfer;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{output, workspace};
use cases::Case;
use figures::Row;
use gateway::{Gateway, Gateways, Lasting};
use rig::Rig;

/// How to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One short round, printed and not written to `docs/benchmarks.md`.
    #[arg(long)]
    quick: bool,
    /// How often each case is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Only cases with this in their title; printed and not written.
    #[arg(long, default_value = "")]
    only: String,
}

impl Arguments {
    /// The shortest run.
    pub(crate) fn quick() -> Self {
        Self { quick: true, rounds: 1, only: String::new() }
    }

    fn pace(&self) -> Pace {
        if self.quick {
            let sample = Duration::from_millis(500);
            return Pace { rounds: 1, sample, of_gateways: sample };
        }
        let (sample, of_gateways) = (Duration::from_millis(1500), Duration::from_secs(1));
        Pace { rounds: self.rounds, sample, of_gateways }
    }
}

/// How long and how often.
#[derive(Clone, Copy)]
struct Pace {
    rounds: u32,
    sample: Duration,
    /// The same where gateways are called, who are many.
    of_gateways: Duration,
}

impl Pace {
    fn at_gateways(self) -> Self {
        Self { sample: self.of_gateways, ..self }
    }
}

/// Everything that was measured.
struct Results {
    pace: Pace,
    cases: Vec<(Case, Vec<Row>)>,
    start: start::Footprint,
    moved: Vec<transfer::Moved>,
    lasting: Option<Lasting>,
}

/// Measures and reports.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let pace = arguments.pace();
    let machine = machine::describe()?;
    let rig = Rig::build()?;
    let start = start::measure(&rig, pace.rounds)?;
    let running = rig.start()?;
    let moved = transfer::measure(&running, pace.rounds, arguments.quick)?;
    let is_wanted = gateway::is_wanted(&arguments.only);
    let gateways = is_wanted.then(|| Gateways::start(&running.rig)).transpose()?;
    let of_gateways =
        gateways.iter().flat_map(|gateways| Gateway { rig: &running.rig, running: gateways }.cases());
    let all = running.cases().into_iter().map(|case| (case, pace));
    let all = all.chain(of_gateways.map(|case| (case, pace.at_gateways())));
    let mut cases = Vec::new();
    for (case, pace) in all.filter(|(case, _)| case.title.contains(&arguments.only)) {
        output::step(&case.title);
        let rows = measure(&case, pace)?;
        for row in &rows {
            output::note(row);
        }
        cases.push((case, rows));
    }
    let lasting =
        gateways.as_ref().map(|it| gateway::measure(&running.rig, it, arguments.quick)).transpose()?;
    let results = Results { pace, cases, start, moved, lasting };
    publish(&report::render(&results, &machine), arguments)
}

/// Rounds A B C A B C …, so that a busy moment hits all of them.
fn measure(case: &Case, pace: Pace) -> Result<Vec<Row>> {
    let mut samples = vec![Vec::new(); case.subjects.len()];
    for _round in 0..pace.rounds {
        for (subject, samples) in case.subjects.iter().zip(&mut samples) {
            let sample = subject.sample(case.connections, pace.sample);
            samples.push(sample.with_context(|| format!("failed to measure {}", subject.name))?);
        }
    }
    let named = case.subjects.iter().zip(&samples);
    Ok(named.map(|(subject, samples)| Row::of(&subject.name, samples)).collect())
}

fn publish(page: &str, arguments: &Arguments) -> Result<()> {
    if arguments.quick || !arguments.only.is_empty() {
        output::line(page);
        return Ok(());
    }
    let path = workspace::root().join("docs/benchmarks.md");
    std::fs::write(&path, page).context("failed to write `docs/benchmarks.md`")?;
    output::note("wrote docs/benchmarks.md");
    Ok(())
}
