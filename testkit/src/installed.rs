//! What the test command installed: other people's programs, named by the environment.

use std::path::PathBuf;

/// Where an installed tool is; none if it isn't there, which the test command may forbid.
#[expect(clippy::disallowed_methods, reason = "the test command says so in the environment")]
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name).map(PathBuf::from);
    assert!(path.is_some() || !is_required(), "`{name}` is not set");
    path
}

/// Whether whatever a test needs has to be there: then it fails where it would be left out.
#[expect(clippy::disallowed_methods, reason = "the test command says so in the environment")]
pub fn is_required() -> bool {
    std::env::var_os("HAYWARD_TEST_REQUIRED").is_some()
}
