//! Revisions of the protocol, and the two eras that they fall into.
//!
//! *Legacy* (up to 2025-11-25) begins with `initialize`; *modern* (2026-07-28) carries everything in
//! each request. One process serves both; which one a request is of, its own content says.

use std::fmt;

use crate::json::{ArrayWriter, Raw};

/// A released revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2024-11-05.
    V2024_11_05,
    /// 2025-03-26.
    V2025_03_26,
    /// 2025-06-18.
    V2025_06_18,
    /// 2025-11-25.
    V2025_11_25,
    /// 2026-07-28, the first stateless one.
    V2026_07_28,
}

/// The two ways of speaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Begins with `initialize`.
    Legacy,
    /// Every request stands for itself.
    Modern,
}

impl Revision {
    /// Every revision that we speak, newest first.
    pub const ALL: [Self; 5] =
        [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26, Self::V2024_11_05];

    /// The newest revision that begins with `initialize`.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;

    /// The newest revision that is stateless.
    pub const NEWEST_MODERN: Self = Self::V2026_07_28;

    /// What a legacy HTTP request without a version header speaks (2025-11-25, basic/transports).
    pub const ASSUMED_LEGACY: Self = Self::V2025_03_26;

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision of this name, if we speak it.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == name)
    }

    /// The era that it belongs to.
    pub const fn era(self) -> Era {
        match self {
            Self::V2024_11_05 | Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
            Self::V2026_07_28 => Era::Modern,
        }
    }

    /// The names of the modern ones, newest first, as a JSON array.
    pub fn modern_names() -> Raw {
        Self::names(|revision| revision.era() == Era::Modern)
    }

    /// The names of those that are wanted, newest first: an array of strings.
    pub fn names(is_wanted: impl Fn(Self) -> bool) -> Raw {
        let mut names = ArrayWriter::new(80);
        for revision in Self::ALL.into_iter().filter(|revision| is_wanted(*revision)) {
            names.push_str(revision.as_str());
        }
        names.end()
    }

    /// What `initialize` answers: the revision asked for if it is a legacy one that we speak,
    /// else the newest of those.
    pub fn negotiate(asked: &str) -> Self {
        Self::find(asked).filter(|revision| revision.era() == Era::Legacy).unwrap_or(Self::NEWEST_LEGACY)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initialize_never_negotiates_the_stateless_revision() {
        assert_eq!(Revision::negotiate("2025-06-18"), Revision::V2025_06_18);
        assert_eq!(Revision::negotiate("2024-11-05"), Revision::V2024_11_05);
        for other in ["2026-07-28", "1999-01-01", "", "2025-06-18 "] {
            assert_eq!(Revision::negotiate(other), Revision::V2025_11_25, "{other}");
        }
    }

    #[test]
    fn every_revision_is_found_by_its_name() {
        for revision in Revision::ALL {
            assert_eq!(Revision::find(revision.as_str()), Some(revision));
        }
        assert_eq!(Revision::find("draft"), None);
    }
}
