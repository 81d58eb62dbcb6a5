//! Rule `words`: nothing is left for later.

use super::source::Source;
use super::tree::Tree;
use super::{Finding, Rule};

pub(crate) const RULE: Rule = Rule {
    name: "words",
    holds: "the code makes no promises: what it does not do yet is an issue, not a remark",
    check,
};

/// Words of unfinished work, spelled apart so that this file passes its own rule.
const PROMISES: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("st", "ub")];

fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources.iter().flat_map(of_source).collect()
}

fn of_source(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    let found = lines.filter_map(|(index, line)| {
        let word = words(line).find(|word| PROMISES.iter().any(|it| is_promise(word, it)))?;
        Some(Finding::new(&source.path, index + 1, format!("says `{word}`")))
    });
    found.collect()
}

/// The three shouted ones are looked for as they are shouted, the last one in any case.
fn is_promise(word: &str, promise: &str) -> bool {
    word == promise || (promise == PROMISES[3] && word.eq_ignore_ascii_case(promise))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|it: char| !it.is_alphanumeric() && it != '_').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn promises_are_found_as_whole_words() {
        for word in PROMISES {
            let text = format!("//! A {word}.");
            assert_eq!(check(&RULE, &[("crates/a/src/b.rs", &text)]).len(), 1, "{word}");
            let text = format!("//! A{word}B {word}_c.");
            assert_eq!(check(&RULE, &[("crates/a/src/b.rs", &text)]), [""; 0], "{word}");
        }
    }
}
