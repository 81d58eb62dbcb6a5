//! Running programs: the only place of xtask that starts one, and the stopwatch of a long task.

use std::ffi::OsStr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{output, workspace};

/// A command that starts in the workspace root.
#[expect(clippy::disallowed_methods, reason = "the one place of xtask that makes a command")]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root());
    command
}

/// Cargo, without the variables that this run of xtask inherited from Cargo: build scripts watch
/// some of them, and would run again each time that xtask is called from another place.
pub(crate) fn cargo() -> Command {
    let mut cargo = command(workspace::variable("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in workspace::variable_names() {
        if is_of_this_run(&name.to_string_lossy()) {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn is_of_this_run(name: &str) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    name == "OUT_DIR" || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Runs to the end, showing what it prints.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("failed to start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs to the end and returns what it wrote to stdout.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = output_of(command)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", shown(command), output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end and returns all of it, whatever its end was.
pub(crate) fn output_of(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("failed to start {}", shown(command)))
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    format!("`{}`", words.join(" "))
}

/// Runs named steps, keeps going after a failure, and shows at the end what took how long.
#[derive(Default)]
pub(crate) struct Stopwatch {
    steps: Vec<(String, Duration, Option<anyhow::Error>)>,
}

impl Stopwatch {
    /// Runs one step and records its time and outcome.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        output::step(name);
        let start = Instant::now();
        let error = work().err();
        if let Some(error) = &error {
            output::error(error);
        }
        self.steps.push((name.to_owned(), start.elapsed(), error));
    }

    /// Shows the table; fails if a step failed.
    pub(crate) fn finish(self) -> Result<()> {
        output::step("steps");
        for (name, time, error) in &self.steps {
            let mark = if error.is_some() { "FAILED" } else { "ok" };
            output::note(format!("{:>7.1} s  {mark:6}  {name}", time.as_secs_f64()));
        }
        let failed: Vec<_> = self.steps.iter().filter(|step| step.2.is_some()).map(|step| &*step.0).collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}
