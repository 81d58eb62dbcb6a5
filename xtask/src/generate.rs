//! `cargo xtask generate`: rewrites what is generated and committed.
//!
//! Each generated file is owned by a test whose name ends in `_is_fresh`: it compares, and with
//! `HAYWARD_UPDATE=1` it rewrites. So there is one generator per file, and no way to forget it.

use anyhow::Result;

use crate::test::bring_clients;
use crate::{step, toolbox};

/// Runs the owners of generated files in rewriting mode.
pub(crate) fn run() -> Result<()> {
    let mut cargo = toolbox::cargo_with_nextest()?;
    cargo.args(["nextest", "run", "--workspace", "--no-tests", "pass"]);
    cargo.args(["-E", "test(/_is_fresh$/)"]);
    // One of them tells what the conformance suite finds.
    bring_clients(&mut cargo)?;
    step::run(cargo.env("HAYWARD_UPDATE", "1"))
}
