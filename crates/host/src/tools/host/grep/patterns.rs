//! Compiled patterns, the last ones kept: compiling one often takes longer than searching with it, and
//! agents ask for the same text in one place after another.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use grep_regex::{Error, RegexMatcher, RegexMatcherBuilder};

use crate::limits::{KEPT_PATTERNS_MAX, Limits, size};

/// Compiles patterns and keeps the small ones among the last.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// The last used is the first.
    kept: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    pattern: String,
    ignores_case: bool,
    matcher: RegexMatcher,
}

impl Patterns {
    /// The matcher of a pattern. A large one is compiled anew each time, so that what is kept is bounded.
    pub(super) fn compile(
        &self,
        pattern: &str,
        ignores_case: bool,
        limits: &Limits,
    ) -> Result<RegexMatcher, Error> {
        if let Some(matcher) = self.find(pattern, ignores_case) {
            return Ok(matcher);
        }
        match matcher_within(pattern, ignores_case, size(limits.grep_kept_regex_bytes_max)) {
            Ok(matcher) => {
                self.keep(Kept { pattern: pattern.to_owned(), ignores_case, matcher: matcher.clone() });
                Ok(matcher)
            }
            Err(_) => matcher_within(pattern, ignores_case, size(limits.grep_regex_bytes_max)),
        }
    }

    fn find(&self, pattern: &str, ignores_case: bool) -> Option<RegexMatcher> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|it| it.pattern == pattern && it.ignores_case == ignores_case)?;
        let found = kept.remove(at)?;
        let matcher = found.matcher.clone();
        kept.push_front(found);
        Some(matcher)
    }

    fn keep(&self, new: Kept) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front(new);
        kept.truncate(KEPT_PATTERNS_MAX);
    }
}

fn matcher_within(pattern: &str, ignores_case: bool, bytes_max: usize) -> Result<RegexMatcher, Error> {
    let mut builder = RegexMatcherBuilder::new();
    builder.multi_line(true).line_terminator(Some(b'\n')).case_insensitive(ignores_case);
    builder.size_limit(bytes_max).dfa_size_limit(bytes_max);
    builder.build(pattern)
}

#[cfg(test)]
mod tests {
    use grep_matcher::Matcher;

    use super::*;

    fn kept(patterns: &Patterns) -> Vec<String> {
        patterns.kept.lock().unwrap().iter().map(|kept| kept.pattern.clone()).collect()
    }

    #[test]
    fn the_last_patterns_are_kept_and_case_makes_another() {
        let (patterns, limits) = (Patterns::default(), Limits::default());
        for number in 0..=KEPT_PATTERNS_MAX {
            patterns.compile(&number.to_string(), false, &limits).unwrap();
        }
        assert_eq!(kept(&patterns).len(), KEPT_PATTERNS_MAX);
        assert!(!kept(&patterns).contains(&"0".to_owned()), "the oldest has gone");
        patterns.compile("1", false, &limits).unwrap();
        assert_eq!(kept(&patterns)[0], "1", "what is used again stays");
        let (strict, loose) = (patterns.compile("a", false, &limits), patterns.compile("a", true, &limits));
        assert!(!strict.unwrap().is_match(b"A").unwrap());
        assert!(loose.unwrap().is_match(b"A").unwrap());
    }

    #[test]
    fn large_patterns_serve_but_are_not_kept_and_larger_ones_are_refused() {
        let (patterns, mut limits) = (Patterns::default(), Limits::default());
        limits.grep_kept_regex_bytes_max = 1_000;
        assert!(patterns.compile("[a-z]{200}", false, &limits).is_ok());
        assert!(kept(&patterns).is_empty());
        assert!(patterns.compile("(x{1000}){1000}", false, &limits).is_err());
        assert!(patterns.compile("[", false, &limits).is_err());
    }
}
