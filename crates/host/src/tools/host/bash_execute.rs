//! `bash_execute`: runs a shell command to its end, whatever that is.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hayward_api::{Code, Fence, Tier};
use hayward_exec::{
    Captured, Ending, ExecError, Exhausted, Fate, Finished, Job, Label, Quota, Survivor, Survivors,
};
use hayward_tool::{
    Annotations, Caller, Cx, Ending as Word, Progress, Recorded, Stop, ToolError, TypedTool, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, interval_at};

use super::{clamp, path_of};
use crate::fence;
use crate::host::Host;
use crate::limits::{PROGRESS_EVERY, size};

/// What ending a command and its descendants may take after its time is over.
const LADDER: Duration = Duration::from_secs(30);

/// Characters of standard error that the record keeps.
const RECORD_CHARS: usize = 200;

/// The tool.
pub(crate) struct BashExecute(pub(crate) Arc<Host>);

/// Run a shell command (/bin/sh -c) and return its output and exit code. Each call is a new shell: no
/// directory, variable or function outlives it, and there is no terminal and no input. When its time
/// is over, it is ended with all processes that it started, and the output so far is returned.
/// Processes that it leaves behind are ended too, unless background is true.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BashExecuteArgs {
    /// The command.
    command: String,
    /// Seconds that it may run (default 30, at most 600).
    #[serde(default)]
    timeout: Option<i64>,
    /// Absolute path of the directory that it runs in (default /).
    #[serde(default)]
    working_dir: Option<String>,
    /// Bytes of stdout and of stderr to return, each (default 102400, at most 1048576).
    #[serde(default)]
    max_output_bytes: Option<i64>,
    /// Let processes live on that the command leaves behind (default false). Set it to start a daemon,
    /// and redirect the daemon's output to a file: `nohup x >log 2>&1 &`
    #[serde(default)]
    background: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct BashExecuteOutput {
    /// Standard output.
    stdout: String,
    /// Standard error.
    stderr: String,
    /// The exit code; minus the signal's number if a signal ended the command; -1 after a timeout.
    exit_code: i32,
    /// Whether the command was ended because its time was over.
    timed_out: bool,
    /// Processes that the command had left behind, and what became of them; absent if none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    survivors: Vec<Left>,
    /// What the command ran out of: memory, processes; absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    exhausted: Vec<&'static str>,
}

/// A process that a command had left behind.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Left {
    /// Its process id.
    pid: i32,
    /// Its command line, shortened.
    command: String,
    /// What became of it: ended, left (it lives on) or stuck (it hangs in the kernel).
    fate: &'static str,
}

impl TypedTool for BashExecute {
    const NAME: &'static str = "bash_execute";
    const TITLE: &'static str = "Run command";
    const TIER: Tier = Tier::Operate;
    const ANNOTATIONS: Annotations =
        Annotations { read_only: false, destructive: true, idempotent: false, open_world: true };
    type Args = BashExecuteArgs;
    type Output = BashExecuteOutput;

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.0.limits.bash_timeout_ms_max) + LADDER
    }

    fn verdict(&self, output: &BashExecuteOutput) -> Verdict {
        if output.timed_out {
            let said = output.stderr.lines().next_back().unwrap_or_default();
            Verdict::failed(Word::Timeout, "TimeoutError", said)
        } else if output.exit_code != 0 && !output.exhausted.is_empty() {
            let said = output.stderr.lines().next_back().unwrap_or_default();
            Verdict::failed(Word::Error, "QuotaExceeded", said)
        } else if output.exit_code != 0 {
            let said: String = output.stderr.chars().take(RECORD_CHARS).collect();
            let said = if said.is_empty() { "Non-zero exit code".to_owned() } else { said };
            Verdict::failed(Word::Error, format!("ExitCode:{}", output.exit_code), said)
        } else {
            Verdict::ok()
        }
    }

    async fn run(
        &self,
        cx: &Cx,
        caller: &Caller,
        args: BashExecuteArgs,
    ) -> Result<BashExecuteOutput, ToolError> {
        let (job, seconds) = self.job(&caller.principal.fence, args)?;
        let job = Job { timeout: job.timeout.min(cx.remaining()), label: label(cx), ..job };
        let (working_dir, bytes_max, quota) = (job.cwd.clone(), job.stdout_bytes_max, job.effective_quota());
        let finished = tokio::select! {
            finished = self.0.executor.run(job, cx.cancellation()) => finished,
            never = report(cx) => match never {},
        };
        let finished = finished.map_err(|error| not_run(&error, &working_dir))?;
        output(finished, seconds, bytes_max, quota)
    }
}

impl BashExecute {
    /// The job of a call, and the seconds that it may take.
    fn job(&self, fence: &Fence, args: BashExecuteArgs) -> Result<(Job, u64), ToolError> {
        let limits = &self.0.limits;
        refuse_unrunnable(&args.command, size(limits.bash_command_bytes_max))?;
        if args.background && fence.is_confined() {
            let message = "the commands of this token leave no process behind: background is not possible";
            return Err(ToolError::new("PermissionDenied", Code::Forbidden, message)
                .suggest("Leave out background, and let the work end within the timeout"));
        }
        let timeout_ms = args.timeout.map_or(limits.bash_timeout_ms, |seconds| {
            u64::try_from(seconds).unwrap_or(0).max(1).saturating_mul(1_000)
        });
        let timeout_ms = timeout_ms.min(limits.bash_timeout_ms_max);
        let output_bytes =
            clamp(args.max_output_bytes, limits.bash_output_bytes, limits.bash_output_bytes_max);
        let job = Job {
            program: self.0.shell.to_string_lossy().into_owned(),
            args: vec!["-c".to_owned(), args.command],
            env: self.0.env.clone(),
            cwd: working_dir(args.working_dir.as_deref())?,
            stdout_bytes_max: size(output_bytes),
            stderr_bytes_max: size(output_bytes),
            timeout: Duration::from_millis(timeout_ms),
            survivors: if args.background { Survivors::Leave } else { Survivors::End },
            profile: fence::profile(fence),
            quota: fence::quota(fence, limits),
            label: None,
        };
        Ok((job, timeout_ms.div_ceil(1_000)))
    }
}

/// What the command is called if it outlives us: by it, its call is found in the record.
fn label(cx: &Cx) -> Option<Label> {
    cx.recorded().map(|Recorded { intent, request_id }| Label::of_call(*intent, request_id))
}

/// Tells whoever listens that the command still runs; never ends.
async fn report(cx: &Cx) -> std::convert::Infallible {
    if !cx.has_listener() {
        return std::future::pending().await;
    }
    let since = Instant::now();
    let mut ticks = interval_at(since + PROGRESS_EVERY, PROGRESS_EVERY);
    loop {
        ticks.tick().await;
        let progress = since.elapsed().as_secs_f64();
        let message = Some(format!("running for {progress:.0} s"));
        cx.report(Progress::Step { progress, total: None, message });
    }
}

fn refuse_unrunnable(command: &str, bytes_max: usize) -> Result<(), ToolError> {
    if command.contains('\0') {
        let error = ToolError::new("InvalidArgument", Code::Invalid, "command contains a NUL byte");
        return Err(error.suggest("Remove the NUL byte; use printf '\\0' to make one"));
    }
    if command.len() > bytes_max {
        let message = format!("command is {} bytes, max is {bytes_max}", command.len());
        let error = ToolError::new("CommandTooLong", Code::TooLarge, message);
        return Err(error.suggest("Write it to a file with write_file and run that"));
    }
    Ok(())
}

/// The directory of a command. An empty one doesn't exist, as for the seed.
fn working_dir(given: Option<&str>) -> Result<PathBuf, ToolError> {
    match given {
        None => Ok(PathBuf::from("/")),
        Some("") => Err(no_directory("")),
        Some(given) => Ok(path_of("working_dir", given)?.as_path().to_owned()),
    }
}

fn no_directory(path: &str) -> ToolError {
    ToolError::new("FileNotFoundError", Code::NotFound, format!("Working directory not found: {path}"))
        .suggest("Check that the working_dir path exists")
}

fn output(
    finished: Finished,
    seconds: u64,
    bytes_max: usize,
    quota: Quota,
) -> Result<BashExecuteOutput, ToolError> {
    let mut stderr = text_of(&finished.stderr, bytes_max);
    let timed_out = finished.ending == Ending::TimedOut;
    let exit_code = match finished.ending {
        Ending::Exited { code } => code,
        Ending::Signaled { signal } => -signal,
        Ending::TimedOut => -1,
        Ending::Cancelled => return Err(Stop::Cancelled.into()),
    };
    for (_, note) in shortages(finished.exhausted, quota) {
        add_line(&mut stderr, &note);
    }
    if timed_out {
        add_line(&mut stderr, &format!("Command timed out after {seconds}s"));
    }
    Ok(BashExecuteOutput {
        stdout: text_of(&finished.stdout, bytes_max),
        stderr,
        exit_code,
        timed_out,
        survivors: finished.survivors.into_iter().map(Left::from).collect(),
        exhausted: shortages(finished.exhausted, quota).map(|(what, _)| what).collect(),
    })
}

/// What a command ran out of, and how it is told.
fn shortages(exhausted: Exhausted, quota: Quota) -> impl Iterator<Item = (&'static str, String)> {
    let up_to =
        |bound: Option<u64>, unit: &str| bound.map(|bound| format!(" ({bound} {unit})")).unwrap_or_default();
    let memory = exhausted.memory.then(|| {
        let bound = up_to(quota.memory_bytes, "bytes");
        ("memory", format!("Command used up its memory{bound}: the kernel ended processes of it"))
    });
    let processes = exhausted.processes.then(|| {
        let bound = up_to(quota.processes, "at once");
        ("processes", format!("Command used up its processes and threads{bound}: some were not started"))
    });
    memory.into_iter().chain(processes)
}

/// Adds a line of ours to what a command wrote.
fn add_line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
}

/// What was kept of a stream, with a note if there was more.
fn text_of(stream: &Captured, bytes_max: usize) -> String {
    let mut text = String::from_utf8_lossy(&stream.bytes).into_owned();
    if stream.is_truncated() {
        let total = stream.bytes_total;
        write!(text, "\n[TRUNCATED: total {total} bytes, showing first {bytes_max} bytes]")
            .expect("a string takes everything");
    }
    text
}

impl From<Survivor> for Left {
    fn from(survivor: Survivor) -> Self {
        let fate = match survivor.fate {
            Fate::Ended => "ended",
            Fate::Left => "left",
            Fate::Stuck => "stuck",
        };
        Self { pid: survivor.pid, command: survivor.command, fate }
    }
}

/// Why a command has no result, in the words of the seed where it has some.
fn not_run(error: &ExecError, working_dir: &std::path::Path) -> ToolError {
    let shown = working_dir.display();
    let new = |code, kind| ToolError::new(code, kind, error.to_string());
    let told = match error {
        ExecError::WorkingDirNotFound { .. } => return no_directory(&shown.to_string()),
        ExecError::NotADirectory { .. } => {
            ToolError::new("NotADirectoryError", Code::Invalid, format!("{shown} is not a directory"))
        }
        ExecError::PermissionDenied { path } => {
            let message = format!("Permission denied: {}", path.display());
            return ToolError::new("PermissionError", Code::Unavailable, message)
                .suggest("Check directory permissions");
        }
        ExecError::WorkingDirRelative { .. } => new("InvalidPath", Code::Invalid),
        ExecError::NulByte { .. } => new("InvalidArgument", Code::Invalid),
        ExecError::ArgumentsTooLong => new("CommandTooLong", Code::TooLarge),
        ExecError::TooManyProcesses { .. }
        | ExecError::TooManyFiles { .. }
        | ExecError::Busy { .. }
        | ExecError::TooManyConversations { .. } => new("Busy", Code::Unavailable),
        ExecError::ShuttingDown => new("ShuttingDown", Code::Unavailable),
        ExecError::ProgramNotFound { .. } | ExecError::NotStarted { .. } => new("OSError", Code::Unavailable),
        ExecError::ProfileInvalid { .. } | ExecError::RootRefused { .. } | ExecError::RootProtected => {
            new("InvalidProfile", Code::Invalid)
        }
        ExecError::NotConfined { .. } => new("NotConfined", Code::Unsupported),
        ExecError::SupervisorLost => new("CommandLost", Code::Internal),
        ExecError::SupervisorFailed { .. } => {
            let mut detail = error.to_string();
            if let Some(source) = std::error::Error::source(error) {
                detail = format!("{detail}: {source}");
            }
            return ToolError::internal(detail);
        }
    };
    told.suggest(error.hint().unwrap_or("Look into the server's log"))
}
