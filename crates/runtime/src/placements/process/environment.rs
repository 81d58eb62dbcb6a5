//! The environment of a process: what is said for it, but nothing that turns a program into another one.

use std::path::Path;

use crate::folder::PATH;
use crate::placement::PlacementError;

/// What a server can't say: it would load code into whatever starts, or start something else.
const REFUSED: [&str; 6] = ["NODE_OPTIONS", "NODE_PATH", "PATH", "BASH_ENV", "ENV", "HOME"];

/// The same, by how a name begins.
const REFUSED_PREFIXES: [&str; 3] = ["LD_", "PYTHON", "GIT_"];

/// The same, in upper and lower case: npm doesn't tell them apart.
const REFUSED_PREFIX_ANY_CASE: &str = "npm_config_";

/// Refuses what a server can't say.
pub(super) fn check(said: &[(String, String)]) -> Result<(), PlacementError> {
    match said.iter().find(|(name, _)| is_refused(name)) {
        Some((name, _)) => {
            let what = format!("variable `{}` can turn a program into another one", name.escape_debug());
            Err(PlacementError::unfit("process", what))
        }
        None => Ok(()),
    }
}

/// What is said for an instance, beside what every program needs.
pub(super) fn of(home: &Path, said: &[(String, String)]) -> Vec<(String, String)> {
    let home = home.to_string_lossy().into_owned();
    let own = [("HOME", home), ("PATH", PATH.to_owned()), ("LANG", "C.UTF-8".to_owned())];
    let is_unsaid = |(name, _): &(&str, String)| said.iter().all(|(said, _)| said != name);
    let own = own.into_iter().filter(is_unsaid).map(|(name, value)| (name.to_owned(), value));
    own.chain(said.iter().cloned()).collect()
}

fn is_refused(name: &str) -> bool {
    let npm = name.get(..REFUSED_PREFIX_ANY_CASE.len());
    REFUSED.contains(&name)
        || REFUSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || npm.is_some_and(|start| start.eq_ignore_ascii_case(REFUSED_PREFIX_ANY_CASE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), "x".to_owned())]
    }

    #[test]
    fn what_turns_a_program_into_another_one_is_refused_by_its_name() {
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "NODE_OPTIONS",
            "NODE_PATH",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "PATH",
            "BASH_ENV",
            "ENV",
            "GIT_SSH_COMMAND",
            "HOME",
            "npm_config_registry",
            "NPM_CONFIG_REGISTRY",
        ] {
            let error = check(&said(name)).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
        for name in ["TOKEN", "NODE_ENV", "LANG", "ENVIRONMENT", "MY_PATH", "ünpm_config"] {
            assert!(check(&said(name)).is_ok(), "{name}");
        }
    }
}
