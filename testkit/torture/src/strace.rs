//! `strace`: counts system calls, ends a daemon in one of them, or lets them fail.
//!
//! It counts for each thread by itself. What a daemon starts is let go at its `exec`, so that it is the daemon that a
//! fault hits, and no command.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::programs::{self, holds_within};

/// System calls that change files or say that they have reached the disk, and those that begin it.
pub const CALLS: [&str; 15] = [
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "linkat",
    "unlink",
    "unlinkat",
    "ftruncate",
    "openat",
];

/// How long it may take to attach, or to let go.
const ATTACH_WITHIN: Duration = Duration::from_secs(20);

/// Why processes can't be traced here; none if they can.
pub fn missing() -> Option<String> {
    if !programs::has("strace") {
        return Some("`strace` is not installed".to_owned());
    }
    let tried = programs::run(&["strace", "-f", "-qq", "-o", "/dev/null", "true"]);
    tried.err().map(|error| format!("no process may be traced: {error}"))
}

/// The words that trace the command behind them: each of these calls is noted in `trace`.
pub(crate) fn counting(trace: &Path) -> Vec<String> {
    wrap(&[&format!("trace={}", CALLS.join(","))], trace)
}

/// The words that kill the command behind them when one of its threads begins its `nth` call of this kind.
pub(crate) fn killing(call: &str, nth: u64, trace: &Path) -> Vec<String> {
    injecting(call, "signal=KILL", nth, trace)
}

/// The words that let this become (as `-e inject=` says it) of the `nth` call of this kind that one of the threads of the
/// command behind them makes.
pub(crate) fn injecting(call: &str, way: &str, nth: u64, trace: &Path) -> Vec<String> {
    wrap(&[&format!("trace={call}"), &format!("inject={call}:{way}:when={nth}")], trace)
}

fn wrap(expressions: &[&str], trace: &Path) -> Vec<String> {
    let mut words = ["strace", "-f", "-b", "execve", "-qq", "-y", "-s", "0", "-e", "signal=none"]
        .map(ToOwned::to_owned)
        .to_vec();
    for expression in expressions {
        words.extend(["-e".to_owned(), (*expression).to_owned()]);
    }
    words.extend(["-o".to_owned(), trace.display().to_string(), "--".to_owned()]);
    words
}

/// For each kind of call, how many of it the thread made that made the most.
pub(crate) fn counts(trace: &Path) -> Result<BTreeMap<String, u64>> {
    let text = fs::read(trace).context("failed to read a trace")?;
    Ok(count(&String::from_utf8_lossy(&text)))
}

fn count(trace: &str) -> BTreeMap<String, u64> {
    let mut by_thread: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (thread, call, _) in trace.lines().filter_map(begun) {
        *by_thread.entry((call, thread)).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((call, _), count) in by_thread {
        let entry: &mut u64 = most.entry(call.to_owned()).or_default();
        *entry = count.max(*entry);
    }
    most
}

/// The thread, the call and its arguments, of a line that begins a call.
fn begun(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, rest) = line.trim_start().split_once(' ')?;
    let (call, arguments) = rest.trim_start().split_once('(')?;
    let is_call = call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_call.then_some((thread, call, arguments))
}

/// On what the last call of a trace was made: the name of a file, without its numbers.
pub(crate) fn place(trace: &Path) -> Option<String> {
    let text = fs::read(trace).ok()?;
    let text = String::from_utf8_lossy(&text);
    let (_, call, arguments) = text.lines().rev().find_map(begun)?;
    Some(format!("{call} {}", object(arguments)))
}

fn object(arguments: &str) -> String {
    // A path in quotes is what is opened or renamed; else it is what the descriptor stands for.
    let quoted = arguments.split('"').nth(1).filter(|path| !path.is_empty());
    let descriptor = arguments.split_once('<').and_then(|(_, rest)| rest.split('>').next());
    let path = quoted.or(descriptor).unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut object = String::new();
    for char in name.chars().map(|char| if char.is_ascii_digit() { '#' } else { char }) {
        if !(char == '#' && object.ends_with('#')) {
            object.push(char);
        }
    }
    object
}

/// Faults in a daemon that runs, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Injection {
    strace: Child,
    trace: PathBuf,
}

impl Injection {
    /// Lets these calls of a process fail in this way (as `-e inject=` says it), if they are made on one of these paths
    /// (on anything if there is none). What it tells goes to files in `folder`.
    pub(crate) fn begin(
        pid: u32,
        (calls, way): (&[&str], &str),
        paths: &[PathBuf],
        folder: &Path,
    ) -> Result<Self> {
        let (trace, log) = (folder.join("trace"), &folder.join("strace.log"));
        let mut words = ["strace", "-f", "-b", "execve", "-s", "0"].map(ToOwned::to_owned).to_vec();
        words.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
        for path in paths {
            words.extend(["-P".to_owned(), path.display().to_string()]);
        }
        for call in calls {
            words.extend(["-e".to_owned(), format!("inject={call}:{way}")]);
        }
        words.extend(["-o".to_owned(), trace.display().to_string(), "-p".to_owned(), pid.to_string()]);
        let told = File::create(log).context("failed to make a log")?;
        let strace = programs::command(&words).stdout(Stdio::null()).stderr(told).spawn();
        let mut injection = Self { strace: strace.context("failed to start `strace`")?, trace };
        let is_attached = || fs::read_to_string(log).is_ok_and(|told| told.contains("attached"));
        ensure!(
            holds_within(ATTACH_WITHIN, is_attached) && matches!(injection.strace.try_wait(), Ok(None)),
            "`strace` can't attach: {}",
            fs::read_to_string(log).unwrap_or_default()
        );
        Ok(injection)
    }

    /// Lets go of it; returns how many calls have failed.
    pub(crate) fn end(mut self) -> Result<u64> {
        self.let_go()?;
        let trace = fs::read(&self.trace).context("failed to read a trace")?;
        let failed = String::from_utf8_lossy(&trace).matches("(INJECTED)").count();
        Ok(u64::try_from(failed).unwrap_or(u64::MAX))
    }

    fn let_go(&mut self) -> Result<()> {
        if let Some(pid) = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).ok();
        }
        programs::reap(&mut self.strace, ATTACH_WITHIN).context("`strace` doesn't let go")?;
        Ok(())
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        if matches!(self.strace.try_wait(), Ok(None)) {
            self.let_go().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
7 write(3</data/audit/record.12.jsonl>, \"\"..., 100) = 100
7 write(3</data/a>, \"\"..., 100 <unfinished ...>
8 write(4<socket:[123]>, \"\"..., 1) = 1
7 <... write resumed>) = 100
8 +++ exited with 0 +++
9 openat(AT_FDCWD</>, \"/data/hayward.db-wal\", O_RDWR) = ?
";

    #[test]
    fn each_thread_counts_for_itself() {
        assert_eq!(count(TRACE), [("openat".to_owned(), 1), ("write".to_owned(), 2)].into());
    }

    #[test]
    fn a_place_is_a_call_and_a_name_without_numbers() {
        let (_, _, arguments) = begun(TRACE.lines().next().unwrap()).unwrap();
        assert_eq!(object(arguments), "record.#.jsonl");
        let (_, call, arguments) = begun(TRACE.lines().last().unwrap()).unwrap();
        assert_eq!((call, object(arguments).as_str()), ("openat", "hayward.db-wal"));
        assert_eq!(begun("8 +++ exited with 0 +++"), None);
        assert_eq!(object("4<socket:[123]>, \"\"..., 1) = 1"), "socket:[#]");
    }
}
