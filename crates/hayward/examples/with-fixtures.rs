//! The binary with the fixtures of the conformance suite beside its own tools: the same front door, judged by
//! the suite.

use std::process::ExitCode;

fn main() -> ExitCode {
    hayward::run(|| vec![hayward_testkit::fixture::conformance()])
}
