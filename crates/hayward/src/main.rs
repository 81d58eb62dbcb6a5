//! The binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    hayward::run(Vec::new)
}
