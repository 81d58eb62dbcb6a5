//! Packages with an exact version: anything else may be another program tomorrow.

use hayward_api::definition::Runtime;
use hayward_api::package::{PackageError, pinned, separator};
use sha2::{Digest as _, Sha256};

use super::tree::hex;
use crate::placement::PlacementError;

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

    /// What starts its packages.
    fn runtime(self) -> Runtime {
        match self {
            Self::Node => Runtime::Node,
            Self::Python => Runtime::Python,
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
        match pinned(said, registry.runtime()) {
            Ok((name, version)) => Ok(Self { registry, name: name.to_owned(), version: version.to_owned() }),
            Err(PackageError::Name) => {
                let what = format!("`{}` is no name of a package", said.escape_debug());
                Err(PlacementError::unfit("process", what))
            }
            Err(PackageError::Unpinned { example }) => {
                Err(PlacementError::Unpinned { package: said.escape_debug().to_string(), example })
            }
        }
    }

    /// As it is said.
    pub(crate) fn said(&self) -> String {
        format!("{}{}{}", self.name, separator(self.registry.runtime()), self.version)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_exact_version_is_refused_with_a_way_out() {
        let error = Package::parse("x@^1.2.3", None).unwrap_err();
        assert!(
            matches!(error, PlacementError::Unpinned { .. }) && error.to_string().contains("`x@1.2.3`"),
            "{error}"
        );
        let error = Package::parse("../x@1.0.0", None).unwrap_err();
        assert!(matches!(error, PlacementError::Unfit { .. }), "{error}");
    }

    #[test]
    fn folders_of_packages_are_not_confused() {
        let key = |said| Package::parse(said, None).unwrap().key();
        assert!(key("@a/b@1.0.0").starts_with("a-b@1.0.0-"));
        assert_ne!(key("@a/b@1.0.0"), key("a-b@1.0.0"));
        assert!(!key("@a/b@1.0.0").contains('/'));
    }
}
