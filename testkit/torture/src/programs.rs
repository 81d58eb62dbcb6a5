//! The only place of the torture that starts programs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Where programs are looked for, by us and by what we start.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How often to look at something that will change.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A command of these words, with none of the environment's settings and no input.
///
/// # Panics
/// If there is no word.
#[expect(clippy::disallowed_methods, reason = "tests start programs")]
pub(crate) fn command<S: AsRef<OsStr>>(words: &[S]) -> Command {
    let (program, args) = words.split_first().expect("a command has a word");
    let mut command = Command::new(program);
    command.args(args).env_clear().env("PATH", PATH).stdin(Stdio::null());
    command
}

/// Whether this program can be found.
pub fn has(name: &str) -> bool {
    PATH.split(':').any(|folder| Path::new(folder).join(name).is_file())
}

/// Runs to the end; fails with what it said if it fails.
pub(crate) fn run<S: AsRef<OsStr>>(words: &[S]) -> Result<String> {
    finish(&mut command(words))
}

/// The same with a command that was made ready.
pub(crate) fn finish(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| format!("failed to start {shown}"))?;
    if !output.status.success() {
        bail!("{shown} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the condition holds within this time.
pub(crate) fn holds_within(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if started.elapsed() > patience {
            return false;
        }
        pause(LOOK_EVERY);
    }
}

/// Lets time pass, where time is what is to pass.
pub(crate) fn pause(time: Duration) {
    let until = Instant::now() + time;
    while let Some(rest) = until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
        std::thread::park_timeout(rest);
    }
}

/// Waits for its end; kills it if it doesn't come.
pub(crate) fn reap(child: &mut Child, patience: Duration) -> Result<std::process::ExitStatus> {
    let mut ended = None;
    holds_within(patience, || {
        ended = child.try_wait().ok().flatten();
        ended.is_some()
    });
    if let Some(status) = ended {
        return Ok(status);
    }
    child.kill().context("failed to kill what doesn't end")?;
    child.wait().context("failed to wait for what was killed")?;
    bail!("it did not end within {} s", patience.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_passed_on_and_its_failure_told() {
        assert_eq!(run(&["echo", "a b"]).unwrap(), "a b\n");
        assert!(run(&["sh", "-c", "echo no >&2; exit 3"]).unwrap_err().to_string().contains("no"));
        assert!(has("sh") && !has("no-such-program"));
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let mut child = command(&["sleep", "60"]).spawn().unwrap();
        assert!(reap(&mut child, Duration::from_millis(20)).is_err());
        assert!(child.try_wait().unwrap().is_some());
    }
}
