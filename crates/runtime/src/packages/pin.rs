//! Packages with an exact version: anything else may be another program tomorrow.

use hayward_api::definition::Runtime;
use sha2::{Digest as _, Sha256};

use super::tree::hex;
use crate::placement::PlacementError;

/// Characters of a package and its version: what npm takes, and more than the Python index does.
const NAME_CHARS_MAX: usize = 214;

/// Characters of the readable part of the name of a folder.
const READABLE_CHARS_MAX: usize = 80;

/// One version of one package.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Package {
    /// Whose package it is.
    pub(crate) registry: Registry,
    /// Its name, with its scope.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
}

/// Where a package comes from, and so how it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Registry {
    /// The registry of npm.
    Node,
    /// The Python index.
    Python,
}

impl Registry {
    pub(crate) const ALL: [Self; 2] = [Self::Node, Self::Python];

    /// The name of its folder.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    /// What stands between a name and its version.
    fn separator(self) -> &'static str {
        match self {
            Self::Node => "@",
            Self::Python => "==",
        }
    }
}

impl Package {
    /// Reads `name@1.2.3` of npm, or `name==1.2.3` of Python.
    pub(crate) fn parse(said: &str, runtime: Option<Runtime>) -> Result<Self, PlacementError> {
        let registry = match runtime {
            None | Some(Runtime::Node) => Registry::Node,
            Some(Runtime::Python) => Registry::Python,
        };
        let (name, version) = split(registry, said);
        if !is_name(registry, name) {
            let what = format!("`{}` is no name of a package", said.escape_debug());
            return Err(PlacementError::unfit("process", what));
        }
        match version.filter(|version| is_exact(registry, version)) {
            Some(version) => Ok(Self { registry, name: name.to_owned(), version: version.to_owned() }),
            None => Err(PlacementError::Unpinned {
                package: said.escape_debug().to_string(),
                example: format!("{name}{}1.2.3", registry.separator()),
            }),
        }
    }

    /// As it is said.
    pub(crate) fn said(&self) -> String {
        format!("{}{}{}", self.name, self.registry.separator(), self.version)
    }

    /// The name of its folder: readable, and nobody else's.
    pub(crate) fn key(&self) -> String {
        let plain = |at: char| if at.is_ascii_alphanumeric() || "-_.@".contains(at) { at } else { '-' };
        let said = format!("{}@{}", self.name.trim_start_matches('@'), self.version);
        let readable: String = said.chars().map(plain).take(READABLE_CHARS_MAX).collect();
        let digest = Sha256::digest(self.said());
        let short = hex(&digest[..6]);
        format!("{readable}-{short}")
    }
}

fn split(registry: Registry, said: &str) -> (&str, Option<&str>) {
    let at = match registry {
        // The first of a scoped name is its scope's.
        Registry::Node => said.char_indices().skip(1).find(|(_, it)| *it == '@').map(|(at, _)| at),
        Registry::Python => said.find(['=', '<', '>', '~', '!', ' ', '[', '@', ';']),
    };
    let Some(at) = at else { return (said, None) };
    (&said[..at], said[at..].strip_prefix(registry.separator()))
}

fn is_name(registry: Registry, name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|it: char| it.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
    };
    let is_name = match (registry, name.strip_prefix('@')) {
        (Registry::Node, Some(scoped)) => {
            scoped.split_once('/').is_some_and(|(scope, name)| is_part(scope) && is_part(name))
        }
        (Registry::Node | Registry::Python, _) => is_part(name),
    };
    is_name && name.len() <= NAME_CHARS_MAX
}

/// Whether it is one version, and no range, tag, file or address.
fn is_exact(registry: Registry, version: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+!_".contains(&byte));
    let begins_well = match registry {
        Registry::Node => {
            let core = version.split(['-', '+']).next().unwrap_or_default();
            core.split('.').count() == 3 && core.split('.').all(is_number)
        }
        Registry::Python => version.starts_with(|it: char| it.is_ascii_digit()),
    };
    is_plain && begins_well && version.len() <= NAME_CHARS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(said: &str, runtime: Runtime) -> Result<(String, String), PlacementError> {
        Package::parse(said, Some(runtime)).map(|it| (it.name, it.version))
    }

    #[test]
    fn a_package_has_an_exact_version() {
        for (said, runtime, name, version) in [
            ("left-pad@1.3.0", Runtime::Node, "left-pad", "1.3.0"),
            ("@scope/name@2026.1.14", Runtime::Node, "@scope/name", "2026.1.14"),
            ("x@1.0.0-rc.1+b", Runtime::Node, "x", "1.0.0-rc.1+b"),
            ("mcp-server-time==2026.1.26", Runtime::Python, "mcp-server-time", "2026.1.26"),
            ("x==1!2.0.post1", Runtime::Python, "x", "1!2.0.post1"),
        ] {
            assert_eq!(parse(said, runtime).unwrap(), (name.to_owned(), version.to_owned()), "{said}");
        }
    }

    #[test]
    fn what_may_be_another_program_tomorrow_is_refused_with_a_way_out() {
        for (said, runtime, example) in [
            ("x", Runtime::Node, "`x@1.2.3`"),
            ("@s/x", Runtime::Node, "`@s/x@1.2.3`"),
            ("x@latest", Runtime::Node, "`x@1.2.3`"),
            ("x@^1.2.3", Runtime::Node, "`x@1.2.3`"),
            ("x@1.2", Runtime::Node, "`x@1.2.3`"),
            ("x@file:../y", Runtime::Node, "`x@1.2.3`"),
            ("x@npm:y@1.0.0", Runtime::Node, "`x@1.2.3`"),
            ("x", Runtime::Python, "`x==1.2.3`"),
            ("x>=1", Runtime::Python, "`x==1.2.3`"),
            ("x==1.*", Runtime::Python, "`x==1.2.3`"),
            ("x===1.0", Runtime::Python, "`x==1.2.3`"),
            ("x @ https://y.example/x.whl", Runtime::Python, "`x==1.2.3`"),
        ] {
            let error = parse(said, runtime).unwrap_err();
            assert!(matches!(error, PlacementError::Unpinned { .. }), "{said}: {error}");
            assert!(error.to_string().contains(example), "{said}: {error}");
        }
        for (said, runtime) in [
            ("", Runtime::Node),
            ("--prefix=/@1.0.0", Runtime::Node),
            ("../x@1.0.0", Runtime::Node),
            ("@s@1.0.0", Runtime::Node),
            ("@s/x/y@1.0.0", Runtime::Node),
            ("-r==1.0", Runtime::Python),
        ] {
            let error = parse(said, runtime).unwrap_err();
            assert!(matches!(error, PlacementError::Unfit { .. }), "{said}: {error}");
        }
    }

    #[test]
    fn folders_of_packages_are_not_confused() {
        let key = |said| Package::parse(said, None).unwrap().key();
        assert!(key("@a/b@1.0.0").starts_with("a-b@1.0.0-"));
        assert_ne!(key("@a/b@1.0.0"), key("a-b@1.0.0"));
        assert!(!key("@a/b@1.0.0").contains('/'));
    }
}
