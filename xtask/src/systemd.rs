//! `cargo xtask systemd`: `serve` as a service of a real systemd, used from another machine.
//!
//! ```text
//!  host (Debian 12, systemd is its pid 1) ◄── TLS ── client
//!      hayward, mymcp 2.1.1
//! ```
//!
//! Both are containers of an engine of our own, on a network of their own. A trial begins by installing the service and ends
//! without it, so that each can be played alone; one that can't go on is a miss like any other, and the next one is played.
//! Whatever is missing here (root, a kernel with bridges) is a failure.

mod certificates;
mod house;
mod rpc;
mod service;
mod sheet;
mod trials;

use anyhow::{Result, bail};

use crate::bench::machine;
use crate::load::page::{self, Mark};
use crate::output;
use house::House;
use sheet::Sheet;

/// Which trials.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only trials with this in their name.
    #[arg(long, default_value = "")]
    only: String,
}

/// Plays the trials and prints the table.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    play(&arguments.only)
}

/// Plays all of them.
pub(crate) fn check() -> Result<()> {
    play("")
}

fn play(only: &str) -> Result<()> {
    let machine = machine::describe()?;
    let house = House::build()?;
    let mut lines = Vec::new();
    for trial in trials::ALL.iter().filter(|trial| trial.name.contains(only)) {
        output::step(trial.name);
        let mut sheet = Sheet::of(trial.name);
        if let Err(error) = (trial.play)(&house, &mut sheet) {
            sheet.broke_off(&error);
            house.tell();
            house.clear()?;
        }
        sheet.lines.iter().for_each(output::note);
        lines.extend(sheet.lines);
    }
    drop(house);
    output::line(page::section(&machine, &lines));
    let missed: Vec<_> = lines.iter().filter(|line| line.mark == Mark::Missed).collect();
    if lines.is_empty() {
        bail!("no trial has `{only}` in its name");
    }
    if !missed.is_empty() {
        bail!("missed: {}", missed.iter().map(|line| &*line.what).collect::<Vec<_>>().join("; "));
    }
    Ok(())
}
