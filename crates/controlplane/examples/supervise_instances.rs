//! A supervisor, for the tests of this crate: the binary is its own otherwise.

use std::process::ExitCode;

fn main() -> ExitCode {
    hayward_exec::supervise()
}
