//! Commands that try to outlive their end, many of them: how long it takes until nothing is left,
//! and whether nothing is. Fails if something was left, or if it took too long.
//!
//! `cargo run --release -p hayward-exec --example escapes -- 1000`

#[path = "../tests/escapes/torture.rs"]
mod torture;

use std::process::ExitCode;
use std::time::Duration;

use hayward_exec::{SupervisorCommand, supervise};
use torture::{WAYS, report, torture};

const SUPERVISE: &str = "supervise";

/// Commands in each way, if nothing is said.
const COMMANDS: usize = 1_000;

/// As many at once as leave the machine some time for itself.
const LANES: usize = 4;

/// What nearly all of them may take from their deadline until nothing is left.
const P99_MAX: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some(SUPERVISE) {
        return supervise();
    }
    let commands = argument.and_then(|count| count.parse().ok()).unwrap_or(COMMANDS);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    if runtime.block_on(run(commands)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(commands: usize) -> bool {
    let mut is_good = true;
    for way in WAYS {
        let program = "/proc/self/exe".into();
        let supervisor = SupervisorCommand { program, args: vec![SUPERVISE.into()] };
        let outcome = torture(way, commands, LANES, supervisor).await;
        report(way, &outcome);
        is_good &= outcome.faults.is_empty() && outcome.percentile(99) <= P99_MAX;
        for fault in &outcome.faults {
            torture::say(fault);
        }
    }
    is_good
}
