//! The environment of a job: what it inherits from the server's, by allow-list.
//!
//! An allow-list, because a server's environment holds tokens, and a job's output goes to a
//! model. The caller passes the variables in: this crate reads no environment.

use crate::profile::Network;

/// Where programs are found when the server has no `PATH` itself.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that are passed on.
const ALLOWED: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR"];

/// Variables that start so are passed on.
const ALLOWED_PREFIXES: &[&str] = &["LC_", "XDG_"];

/// Variables that are passed on in upper and lower case: tools don't agree which one they read.
const ALLOWED_ANY_CASE: &[&str] = &["http_proxy", "https_proxy", "no_proxy", "all_proxy"];

/// The part of `variables` that a job inherits, with a `PATH` in any case.
pub fn inherited(variables: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut kept: Vec<_> = variables.into_iter().filter(|(name, _)| is_allowed(name)).collect();
    if !kept.iter().any(|(name, value)| name == "PATH" && !value.is_empty()) {
        kept.retain(|(name, _)| name != "PATH");
        kept.push(("PATH".to_owned(), PATH_DEFAULT.to_owned()));
    }
    kept
}

/// What of that a confined job keeps: nothing that names what is outside of its roots, or that
/// makes a program load something. `PATH` stays: what it leads to is what the job may read.
const CONFINED: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM"];

/// The environment of a confined job: of what its caller said, what can't turn a program against it.
pub(crate) fn confined(variables: &[(String, String)], network: Network) -> Vec<(String, String)> {
    let is_kept = |name: &str| {
        let is_proxy = is_any_case(name, ALLOWED_ANY_CASE) && network == Network::Shared;
        CONFINED.contains(&name) || name.starts_with("LC_") || is_proxy
    };
    variables.iter().filter(|(name, _)| is_kept(name)).cloned().collect()
}

fn is_any_case(name: &str, lower: &[&str]) -> bool {
    lower.iter().any(|lower| *lower == name || lower.to_uppercase() == name)
}

fn is_allowed(name: &str) -> bool {
    ALLOWED.contains(&name)
        || ALLOWED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || is_any_case(name, ALLOWED_ANY_CASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &[(&str, &str)]) -> Vec<String> {
        let given = given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        inherited(given).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_a_shell_needs_is_inherited() {
        let given = [
            ("PATH", "/bin"),
            ("HOME", "/root"),
            ("LC_ALL", "C"),
            ("XDG_RUNTIME_DIR", "/run"),
            ("HTTPS_PROXY", "p"),
            ("no_proxy", "q"),
        ];
        assert_eq!(names(&given), given.map(|(name, _)| name));
    }

    #[test]
    fn what_may_be_secret_is_not() {
        let secret = [
            "HAYWARD_TOKEN",
            "MYMCP_ADMIN_TOKEN",
            "SSH_AUTH_SOCK",
            "AWS_SECRET_ACCESS_KEY",
            "LD_PRELOAD",
            "Http_Proxy",
            "path",
        ];
        for name in secret {
            assert_eq!(names(&[("PATH", "/bin"), (name, "x")]), ["PATH"], "{name}");
        }
    }

    #[test]
    fn a_confined_job_keeps_nothing_that_loads_or_leads_elsewhere() {
        let given = |name: &str| vec![(name.to_owned(), "x".to_owned())];
        for name in ["PATH", "HOME", "LANG", "LC_ALL", "TZ"] {
            assert_eq!(confined(&given(name), Network::None), given(name), "{name}");
        }
        let refused = [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "NODE_OPTIONS",
            "PYTHONPATH",
            "PERL5LIB",
            "BASH_ENV",
            "ENV",
            "GIT_SSH_COMMAND",
            "XDG_RUNTIME_DIR",
            "TMPDIR",
            "https_proxy",
        ];
        for name in refused {
            assert_eq!(confined(&given(name), Network::None), [], "{name}");
        }
        assert_eq!(confined(&given("https_proxy"), Network::Shared), given("https_proxy"));
    }

    #[test]
    fn there_is_always_a_path() {
        for given in [&[][..], &[("PATH", "")][..]] {
            let given = given.iter().map(|(n, v): &(&str, &str)| ((*n).into(), (*v).into()));
            assert_eq!(inherited(given), [("PATH".to_owned(), PATH_DEFAULT.to_owned())]);
        }
    }
}
