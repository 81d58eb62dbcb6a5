//! `cargo xtask test`: installs what the tests need, then runs all of them.
//!
//! Tests learn where the tools are from environment variables; `HAYWARD_TEST_REQUIRED` tells them
//! that a missing tool is a failure and no reason to skip.

use std::process::Command;

use anyhow::Result;

use crate::toolbox::{self, Disk, Node, Postgres, Python, docker};
use crate::{output, step, torture, workspace};

/// Programs that tests start, and their Debian packages; those of [`torture`] and [`docker`] come on top.
const PROGRAMS: [(&str, &str); 6] = [
    ("caddy", "caddy"),
    ("curl", "curl"),
    ("git", "git"),
    ("nginx", "nginx-light"),
    ("rg", "ripgrep"),
    ("strace", "strace"),
];

/// Which tests to run.
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Leave out the real clients: nothing is installed.
    #[arg(long)]
    fast: bool,
    /// Further arguments for `cargo nextest run`, such as `-E 'test(name)'`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    nextest: Vec<String>,
}

/// Runs the tests.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut nextest = toolbox::cargo_with_nextest()?;
    nextest.args(["nextest", "run", "--workspace"]).args(&arguments.nextest);
    let postgres = (!arguments.fast).then(|| Postgres::start(Disk::Unsynced)).transpose()?;
    if let Some(postgres) = &postgres {
        // Each test makes a database of its own there.
        nextest.env("HAYWARD_TEST_POSTGRES", postgres.url());
    }
    if arguments.fast {
        output::note("the real clients and the conformance suite are left out");
        nextest.args(["--exclude", "hayward-peers"]);
    } else {
        nextest.env("HAYWARD_TEST_REQUIRED", "1");
        bring_clients(&mut nextest)?;
    }
    if arguments.nextest.is_empty() {
        output::step("documentation tests");
        step::run(step::cargo().args(["test", "--quiet", "--workspace", "--doc"]))?;
    }
    output::step("tests");
    step::run(&mut nextest)
}

/// Installs the real clients and tells the tests where they are.
pub(crate) fn bring_clients(nextest: &mut Command) -> Result<()> {
    output::step("tools of the tests");
    toolbox::ensure_debian(&[&PROGRAMS[..], &torture::PROGRAMS, &docker::PROGRAMS].concat())?;
    let node = Node::install()?;
    let python = Python::clients()?;
    step::run(step::cargo().args(["build", "--quiet", "--package", "hayward-peers", "--bins"]))?;
    nextest.env("HAYWARD_TEST_NODE", node.program);
    nextest.env("HAYWARD_TEST_NODE_MODULES", node.modules);
    nextest.env("HAYWARD_TEST_PYTHON", python.program());
    nextest.env("HAYWARD_TEST_INTEROP", toolbox::interop());
    nextest.env("HAYWARD_TEST_PEERS", workspace::target().join("debug"));
    Ok(())
}
