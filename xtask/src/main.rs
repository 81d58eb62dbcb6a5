//! All automation, in one place and one language: `cargo xtask <task>`.
//!
//! One file per task. What a task needs of the outside (a tool, a package, a port) it brings or
//! names; nothing has to be prepared by hand. It must not hold product code: what the binary
//! needs lives in `crates/`.

mod bench;
mod ci;
mod coverage;
mod dist;
mod fuzz;
mod generate;
mod load;
mod new;
mod output;
mod run;
mod step;
mod systemd;
mod test;
mod tidy;
mod toolbox;
mod torture;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Hayward's automation.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check everything a change has to pass: format, walls, dependencies, lints, tests.
    Ci(ci::Arguments),
    /// Run every test, after installing what the tests need.
    Test(test::Arguments),
    /// Check the walls and conventions that the compiler doesn't.
    Tidy(tidy::Arguments),
    /// Rewrite the generated files (references, schemas).
    Generate,
    /// Measure speed side by side with other servers and write `docs/benchmarks.md`.
    Bench(bench::Arguments),
    /// Feed every parser of the protocol with what a fuzzer makes up and write `docs/fuzzing.md`.
    Fuzz(fuzz::Arguments),
    /// Count the lines that the tests run of what trust rests on and write `docs/coverage.md`.
    Coverage,
    /// Put the server on trial (crowds, slow peers) and add the figures to `docs/load.md`.
    Load(load::Arguments),
    /// Kill the server, cut its power and let its disk fail, and write what held to `docs/reliability.md`.
    Torture(torture::Arguments),
    /// Live as a service of a real systemd: install, serve over TLS, upgrade, take over from mymcp, remove.
    Systemd(systemd::Arguments),
    /// Make the packages: a static binary in a tarball, a Debian package, what an image is built of.
    Dist(dist::Arguments),
    /// Build and run the server.
    Run(run::Arguments),
    /// Start a new part from its recipe.
    New(new::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Ci(arguments) => ci::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Tidy(arguments) => tidy::run(&arguments),
        Task::Generate => generate::run(),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Coverage => coverage::run(),
        Task::Load(arguments) => load::run(&arguments),
        Task::Torture(arguments) => torture::run(&arguments),
        Task::Systemd(arguments) => systemd::run(&arguments),
        Task::Dist(arguments) => dist::run(&arguments),
        Task::Run(arguments) => run::run(&arguments),
        Task::New(arguments) => new::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
