//! The real `curl`, as an operator would use it.

use anyhow::Context;

use crate::daemon::command;

/// What it came back with.
#[derive(Clone, Debug)]
pub struct Curled {
    /// What it exited with: 0 if there was an answer, whatever its status.
    pub exit_code: i32,
    /// The status of the answer; 0 without one.
    pub status: u16,
    /// The body.
    pub body: String,
    /// What it complained about.
    pub complaint: String,
}

/// Runs it with these arguments.
pub fn curl(args: &[&str]) -> anyhow::Result<Curled> {
    let common =
        ["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--write-out", "\n%{http_code}"];
    let output = command("curl", [&common, args].concat()).output().context("curl")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or((&text, ""));
    Ok(Curled {
        exit_code: output.status.code().unwrap_or(-1),
        status: status.parse().unwrap_or_default(),
        body: body.to_owned(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
