//! What the test command installed: other people's programs, named by the environment.

use std::path::PathBuf;

/// Where an installed tool is; none if it isn't there, which the test command may forbid.
#[expect(clippy::disallowed_methods, reason = "the test command says so in the environment")]
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name).map(PathBuf::from);
    assert!(path.is_some() || !is_required(), "`{name}` is not set");
    path
}

/// Says why a test is left out, or fails it where whatever it needs has to be there.
#[expect(clippy::print_stdout, reason = "what is skipped says why")]
pub fn leave_out(why: &str) {
    assert!(!is_required(), "{why}");
    println!("skipped: {why}");
}

/// Whether whatever a test needs has to be there.
#[expect(clippy::disallowed_methods, reason = "the test command says so in the environment")]
pub fn is_required() -> bool {
    std::env::var_os("HAYWARD_TEST_REQUIRED").is_some()
}
