//! File descriptors: a crowd of connections needs as many at both ends.

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process, and those that it starts, have as many descriptors as they may; fails if these are
/// fewer than `needed`.
pub(super) fn raise(needed: u64) -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    ensure!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "{needed} file descriptors are needed and {} allowed; hint: raise the hard limit (`ulimit -Hn`)",
        maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("failed to raise `RLIMIT_NOFILE`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_taken_and_more_is_refused() {
        raise(1).unwrap();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        if let Some(maximum) = maximum {
            assert!(raise(maximum + 1).unwrap_err().to_string().contains("hint"));
        }
    }
}
