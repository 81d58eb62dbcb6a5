//! A pattern as a little machine: which of its parts may match next, as a set of bits.
//!
//! Each directory is visited once with the set of parts that its names are held against, so a literal
//! start of a pattern is entered and not searched, and `**` never visits a directory twice. Pure.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::fs::AbsPath;
use crate::limits::{GLOB_BRACES_MAX, PATTERN_PARTS_MAX, has_too_many_braces};

/// What makes a part of a pattern match more than one name.
const WILDCARDS: [char; 4] = ['*', '?', '[', '{'];

/// A parsed pattern.
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// Whether it starts at `/` whatever the base is.
    is_absolute: bool,
    /// Whether it ends with a slash: only directories match.
    pub(super) wants_directory: bool,
}

enum Part {
    /// A name as it stands.
    Name(CString),
    /// A name with wildcards; the flag says whether it may match names that start with a dot.
    Names(GlobSet, bool),
    /// `**`: any number of directories.
    AnyDepth,
}

/// Parts of a pattern, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts(u64);

/// How a name matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// Not.
    No,
    /// As what it is.
    Whole,
    /// As the directory above a last `**`, if it is one.
    AsDirectory,
}

/// Why a text is no pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternDefect {
    #[error("contains a NUL byte")]
    Nul,
    #[error("has more than {PATTERN_PARTS_MAX} components")]
    TooLong,
    #[error("has more than {GLOB_BRACES_MAX} opening braces")]
    TooManyBraces,
    #[error("is not valid: {reason}")]
    Invalid { reason: String },
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternDefect> {
        let mut parts = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty()) {
            // Two in a row mean what one means.
            if !(part == "**" && matches!(parts.last(), Some(Part::AnyDepth))) {
                parts.push(Part::parse(part)?);
            }
        }
        if parts.len() > PATTERN_PARTS_MAX {
            return Err(PatternDefect::TooLong);
        }
        let is_absolute = text.starts_with('/');
        Ok(Self { parts, is_absolute, wants_directory: text.is_empty() || text.ends_with('/') })
    }

    /// Where a search begins: at the base, or at `/` if the pattern does.
    pub(super) fn base(&self, base: &AbsPath) -> AbsPath {
        if self.is_absolute { AbsPath::root() } else { base.clone() }
    }

    /// What may match in the base.
    pub(super) fn start(&self) -> Parts {
        self.with_skipped(Parts(1))
    }

    /// Whether what was reached with these parts matches as it is, as the base of `**` does.
    pub(super) fn is_end(&self, parts: Parts) -> bool {
        parts.0 & (1 << self.parts.len()) != 0
    }

    /// What may match beneath a name, if that is a directory; and how the name itself matches.
    pub(super) fn step(&self, parts: Parts, name: &CStr) -> (Parts, Match) {
        let is_hidden = name.to_bytes().first() == Some(&b'.');
        let mut next = 0;
        for (index, part) in self.active(parts) {
            match part {
                Part::AnyDepth if !is_hidden => next |= 1 << index,
                Part::Name(own) if own.as_c_str() == name => next |= 2 << index,
                Part::Names(set, dotted) if *dotted == is_hidden && matches(set, name) => {
                    next |= 2 << index;
                }
                _ => {}
            }
        }
        let reached = Parts(next);
        let next = self.with_skipped(reached);
        let is_match = match () {
            () if self.is_end(reached) || (self.is_below_last(parts) && !is_hidden) => Match::Whole,
            () if self.is_end(next) => Match::AsDirectory,
            () => Match::No,
        };
        (next, is_match)
    }

    /// Whether a last `**` has been reached: all beneath matches.
    fn is_below_last(&self, parts: Parts) -> bool {
        let last = self.active(parts).last();
        last.is_some_and(|(index, part)| index + 1 == self.parts.len() && matches!(part, Part::AnyDepth))
    }

    /// The parts that may match next.
    fn active(&self, parts: Parts) -> impl Iterator<Item = (usize, &Part)> {
        let parts_of_pattern = self.parts.iter().enumerate();
        parts_of_pattern.filter(move |(index, _)| parts.0 & (1 << index) != 0)
    }

    /// The names to look for if no other can match: nothing needs to be listed then.
    pub(super) fn names(&self, parts: Parts) -> Option<Vec<&CStr>> {
        let names = self.active(parts).map(|(_, part)| match part {
            Part::Name(name) => Some(name.as_c_str()),
            Part::Names(..) | Part::AnyDepth => None,
        });
        names.collect()
    }

    /// Whether anything can match beneath.
    pub(super) fn goes_on(&self, parts: Parts) -> bool {
        self.active(parts).next().is_some()
    }

    /// Whether any depth is among the parts.
    pub(super) fn is_any_depth(&self, parts: Parts) -> bool {
        self.active(parts).any(|(_, part)| matches!(part, Part::AnyDepth))
    }

    /// `**` may match no directory at all.
    fn with_skipped(&self, mut parts: Parts) -> Parts {
        for (index, part) in self.parts.iter().enumerate() {
            if parts.0 & (1 << index) != 0 && matches!(part, Part::AnyDepth) {
                parts.0 |= 2 << index;
            }
        }
        parts
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, PatternDefect> {
        if text == "**" {
            return Ok(Self::AnyDepth);
        }
        if has_too_many_braces(text) {
            return Err(PatternDefect::TooManyBraces);
        }
        if !text.contains(WILDCARDS) {
            return CString::new(text).map(Self::Name).map_err(|_| PatternDefect::Nul);
        }
        // Braces may also be meant as they stand, as in a file name.
        let literal = text.replace('{', "[{]").replace('}', "[}]");
        let forms = [Some(text), text.contains(['{', '}']).then_some(literal.as_str())];
        let mut set = GlobSetBuilder::new();
        let mut defect = None;
        for form in forms.into_iter().flatten() {
            match GlobBuilder::new(form).literal_separator(true).backslash_escape(false).build() {
                Ok(glob) => drop(set.add(glob)),
                Err(error) => defect = Some(error),
            }
        }
        let invalid = |error: globset::Error| PatternDefect::Invalid { reason: error.kind().to_string() };
        match set.build().map_err(invalid)? {
            set if set.is_empty() => Err(defect.map_or(PatternDefect::TooLong, invalid)),
            set => Ok(Self::Names(set, text.starts_with('.'))),
        }
    }
}

/// The directories that an absolute pattern names before its first wildcard or its last component, and what
/// is left of it beneath them; none if it isn't absolute.
pub(super) fn split_start(pattern: &str) -> (Option<&str>, &str) {
    if !pattern.starts_with('/') {
        return (None, pattern);
    }
    let trimmed = pattern.trim_end_matches('/');
    let wild = pattern.find(WILDCARDS).unwrap_or(pattern.len());
    let Some(at) = trimmed[..wild.min(trimmed.len())].rfind('/') else {
        return (Some("/"), "");
    };
    (Some(if at == 0 { "/" } else { &pattern[..at] }), &pattern[at + 1..])
}

fn matches(set: &GlobSet, name: &CStr) -> bool {
    set.is_match(OsStr::from_bytes(name.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the pattern matches the path, walked part by part.
    fn is_match(pattern: &str, path: &str) -> bool {
        let pattern = Pattern::parse(pattern).unwrap();
        let mut parts = pattern.start();
        let mut found = if pattern.is_end(parts) { Match::AsDirectory } else { Match::No };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            (parts, found) = pattern.step(parts, &CString::new(name).unwrap());
        }
        found != Match::No
    }

    #[test]
    fn patterns_match_as_in_python() {
        for (pattern, path) in [
            ("*", "a"),
            ("*.py", "x.py"),
            ("**/*.py", "x.py"),
            ("**/*.py", "a/b/x.py"),
            ("a/**", "a/b/c"),
            ("a/**", "a"),
            ("**", ""),
            ("a/**/b/**/c", "a/x/b/b/y/c"),
            (".*", ".hidden"),
            ("**/.git/*", "a/.git/config"),
            ("[!a]x", "bx"),
            ("a?c", "abc"),
            ("x**y", "xzzy"),
            ("*.{rs,toml}", "Cargo.toml"),
            ("a{b}c", "a{b}c"),
            ("*{", "x{"),
            ("a\\*", "a\\b"),
            ("", ""),
        ] {
            assert!(is_match(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn what_python_leaves_out_does_not_match() {
        for (pattern, path) in [
            ("*", ".hidden"),
            ("**/*.py", ".venv/x.py"),
            ("**", "a/.b"),
            ("*.py", "a/x.py"),
            ("*", ""),
            ("a/*", "a"),
            ("*.PY", "x.py"),
            ("**/a", "a/b"),
            ("a?c", "a/c"),
        ] {
            assert!(!is_match(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn an_absolute_pattern_starts_where_its_wildcards_do() {
        for (pattern, expect) in [
            ("/srv/a/**/*.py", (Some("/srv/a"), "**/*.py")),
            ("/srv/a*/x", (Some("/srv"), "a*/x")),
            ("/srv/a", (Some("/srv"), "a")),
            ("/srv/a/", (Some("/srv"), "a/")),
            ("//srv//*", (Some("//srv/"), "*")),
            ("/*", (Some("/"), "*")),
            ("/srv", (Some("/"), "srv")),
            ("/", (Some("/"), "")),
            ("srv/*", (None, "srv/*")),
            ("", (None, "")),
        ] {
            assert_eq!(split_start(pattern), expect, "{pattern}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        assert!(matches!(Pattern::parse("[a").err(), Some(PatternDefect::Invalid { .. })));
        assert_eq!(Pattern::parse(&"*/".repeat(61)).err(), Some(PatternDefect::TooLong));
        assert_eq!(Pattern::parse("a\0").err(), Some(PatternDefect::Nul));
    }
}
