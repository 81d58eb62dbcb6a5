//! The paths that a file names: `a::b::c`, in code, in imports and inside of macros.
//!
//! It reads tokens and no types: `use std::process as p; p::Command` is seen, a re-export through
//! another crate is not. Clippy's `disallowed_methods` sees those.

use std::collections::HashMap;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A path and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathUse {
    /// Its segments, the first one resolved through the imports of the file.
    pub(crate) segments: Vec<String>,
    /// Its line.
    pub(crate) line: usize,
}

impl PathUse {
    /// Whether the path is `prefix` (`a::b`) or lies under it.
    pub(crate) fn starts_with(&self, prefix: &str) -> bool {
        let wanted: Vec<_> = prefix.split("::").collect();
        self.segments.len() >= wanted.len()
            && self.segments.iter().zip(&wanted).all(|(own, wanted)| own == wanted)
    }
}

/// All paths in `tokens`.
pub(crate) fn of(tokens: TokenStream) -> Vec<PathUse> {
    let mut collector = Collector::default();
    collector.stream(tokens, &[]);
    collector.resolve()
}

#[derive(Default)]
struct Collector {
    found: Vec<PathUse>,
    /// Imported name → what it stands for.
    names: HashMap<String, Vec<String>>,
    in_import: bool,
}

impl Collector {
    fn stream(&mut self, tokens: TokenStream, prefix: &[String]) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.token(&tokens, at, prefix);
        }
    }

    /// Reads what starts at `at`, returns where the next thing starts.
    fn token(&mut self, tokens: &[TokenTree], at: usize, prefix: &[String]) -> usize {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "use" && !is_colon(tokens.get(at + 1)) => {
                self.in_import = true;
                at + 1
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' => {
                self.in_import = false;
                at + 1
            }
            TokenTree::Ident(_) => self.path(tokens, at, prefix),
            TokenTree::Group(group) => {
                self.stream(group.stream(), prefix);
                at + 1
            }
            _ => at + 1,
        }
    }

    /// Reads a path: `a`, `a::b`, `a::{b, c::d}`, `a::b as c`, `a::*`.
    fn path(&mut self, tokens: &[TokenTree], start: usize, prefix: &[String]) -> usize {
        let mut segments = prefix.to_vec();
        let mut at = start;
        while let Some(TokenTree::Ident(segment)) = tokens.get(at) {
            segments.push(segment.to_string());
            at += 1;
            if !(is_colon(tokens.get(at)) && is_colon(tokens.get(at + 1))) {
                return self.finish(tokens, start, at, segments);
            }
            at += 2;
        }
        if let Some(TokenTree::Group(group)) = tokens.get(at).filter(|it| is_braced(it)) {
            self.braces(group, &segments);
            return at + 1;
        }
        self.finish(tokens, start, at, segments)
    }

    fn braces(&mut self, group: &Group, segments: &[String]) {
        self.stream(group.stream(), segments);
    }

    fn finish(&mut self, tokens: &[TokenTree], start: usize, at: usize, mut segments: Vec<String>) -> usize {
        if segments.last().is_some_and(|last| last == "self") && segments.len() > 1 {
            segments.pop();
        }
        let line = tokens[start].span().start().line;
        let (name, next) = match (tokens.get(at), tokens.get(at + 1)) {
            (Some(TokenTree::Ident(word)), Some(TokenTree::Ident(name)))
                if word == "as" && self.in_import =>
            {
                (name.to_string(), at + 2)
            }
            _ => (segments.last().cloned().unwrap_or_default(), at),
        };
        if self.in_import {
            self.names.insert(name, segments.clone());
        }
        // A lone word is a name of anything, and no path, unless it is imported.
        if self.in_import || segments.len() > 1 {
            self.found.push(PathUse { segments, line });
        }
        next
    }

    fn resolve(self) -> Vec<PathUse> {
        let Self { found, names, .. } = self;
        let resolve = |mut path: PathUse| {
            if let Some(full) = path.segments.first().and_then(|first| names.get(first)) {
                let rest = path.segments.split_off(1);
                path.segments = full.iter().cloned().chain(rest).collect();
            }
            path
        };
        found.into_iter().map(resolve).collect()
    }
}

fn is_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':')
}

fn is_braced(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &str, names: &str) -> bool {
        of(code.parse().unwrap()).iter().any(|path| path.starts_with(names))
    }

    #[test]
    fn sees_a_path_however_it_is_named() {
        let spellings = [
            "fn f() { std::process::Command::new(x); }",
            "use std::process::Command;",
            "use std::{fs, process::{Command, Stdio}};",
            "use std::process; fn f() { process::Command::new(x); }",
            "use std::process as p; fn f() { p::Command::new(x); }",
            "use std::process::{self as p}; fn f() { p::Command::new(x); }",
            "use std::process::Command as Run;",
            "fn f() { select! { _ = std::process::Command::new(x) => {} } }",
            "struct A { command: ::std::process::Command }",
        ];
        for code in spellings {
            assert!(check(code, "std::process::Command"), "{code}");
        }
    }

    #[test]
    fn leaves_other_paths_alone() {
        for code in ["use std::process::Stdio;", "use crate::Command;", "fn f(a: Command) {}"] {
            assert!(!check(code, "std::process::Command"), "{code}");
        }
    }

    #[test]
    fn a_lone_word_is_no_path() {
        assert!(check("use axum as a;", "axum") && check("fn f() { axum::serve() }", "axum"));
        assert!(!check("struct A { axum: B } fn f(a: A) { a.axum.c() }", "axum"));
    }

    #[test]
    fn knows_the_line() {
        let paths = of("\n\nuse a::b;".parse().unwrap());
        assert_eq!(paths, [PathUse { segments: vec!["a".into(), "b".into()], line: 3 }]);
    }
}
