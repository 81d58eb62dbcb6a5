//! Where clients come in: each endpoint shows some servers, under names of its own.

use std::fmt;
use std::sync::Arc;

/// An endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/mcp`: this machine, and what the project `default` has.
    #[default]
    Default,
    /// `/servers/NAME/mcp`: one server, whose names stay as they are.
    Server(Arc<str>),
    /// `/projects/NAME/mcp`: the servers of a project.
    Project(Arc<str>),
}

/// Bytes of a name in a path, more than any resource has.
const NAME_BYTES_MAX: usize = 256;

/// The project that `/mcp` shows beside this machine.
pub(crate) const DEFAULT_PROJECT: &str = "default";

impl Endpoint {
    /// The endpoint that a path is of, and what is asked for there, e.g. `mcp`; none for any other path. The names of
    /// resources need no escapes; one that no resource can have is that of an endpoint that isn't there.
    pub(crate) fn of_path(path: &str) -> Option<(Self, &str)> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let (kind, name, rest) = (parts.next()?, parts.next(), parts.next());
        if parts.next().is_some() {
            return None;
        }
        let is_name = |name: &&str| (1..=NAME_BYTES_MAX).contains(&name.len());
        match (kind, name, rest) {
            ("servers", Some(name), Some(rest)) if is_name(&name) => Some((Self::Server(name.into()), rest)),
            ("projects", Some(name), Some(rest)) if is_name(&name) => {
                Some((Self::Project(name.into()), rest))
            }
            (rest, None, None) => Some((Self::Default, rest)),
            _ => None,
        }
    }

    /// The one server that is there, if it is one.
    pub(crate) fn server(&self) -> Option<&str> {
        match self {
            Self::Server(name) => Some(name),
            Self::Default | Self::Project(_) => None,
        }
    }

    /// The project whose rules hold there.
    pub(crate) fn project(&self) -> Option<&str> {
        match self {
            Self::Default => Some(DEFAULT_PROJECT),
            Self::Server(_) => None,
            Self::Project(name) => Some(name),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("/mcp"),
            Self::Server(name) => write!(f, "/servers/{name}/mcp"),
            Self::Project(name) => write!(f, "/projects/{name}/mcp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_of_one_endpoint_or_of_none() {
        for (path, endpoint, asked) in [
            ("/mcp", Endpoint::Default, "mcp"),
            ("/sse", Endpoint::Default, "sse"),
            ("/servers/ha.1/mcp", Endpoint::Server("ha.1".into()), "mcp"),
            ("/projects/home/sse", Endpoint::Project("home".into()), "sse"),
        ] {
            assert_eq!(Endpoint::of_path(path), Some((endpoint, asked)), "{path}");
        }
        for bad in [
            "",
            "mcp",
            "/a/mcp",
            "/servers//mcp",
            "/servers/a",
            "/servers/a/b/mcp",
            &format!("/servers/{}/mcp", "x".repeat(257)),
            "/Servers/a/mcp",
        ] {
            assert!(Endpoint::of_path(bad).is_none_or(|(_, asked)| asked != "mcp"), "{bad}");
        }
    }
}
