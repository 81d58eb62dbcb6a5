//! A supervisor on its own, for the tests of this crate; the product carries it as a hidden
//! subcommand of its one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    hayward_exec::supervise()
}
