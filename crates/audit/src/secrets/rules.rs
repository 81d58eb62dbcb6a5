//! Rules for what looks like a secret that we don't hold.
//!
//! One automaton finds the keywords of all rules; only at a keyword is its rule asked, from there on and for a
//! bounded number of bytes. Expressions are anchored and linear, so no text is slow. A rule says what it takes
//! and, where a shape alone says little, what a value must be like.

mod shape;
mod table;

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::bytes::Regex;

use table::{RULES, Rule};

use crate::limits::{KEY_BLOCK_BYTES, RULE_BYTES};

/// Which rules are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSet(u32);

impl RuleSet {
    /// Every rule: for the record, for logs and labels.
    pub const ALL: Self = Self(u32::MAX >> (32 - RULES.len()));
    /// No rule: only secrets that are held are looked for.
    pub const NONE: Self = Self(0);

    /// The names of all rules, in the order of the table.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RULES.iter().map(|rule| rule.name)
    }

    /// The same with this rule, or nothing if there is none of this name.
    pub fn with(self, name: &str) -> Option<Self> {
        Some(Self(self.0 | bit(name)?))
    }

    /// The same without this rule, or nothing if there is none of this name.
    pub fn without(self, name: &str) -> Option<Self> {
        Some(Self(self.0 & !bit(name)?))
    }

    /// Whether no rule is asked.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn has(self, rule: usize) -> bool {
        self.0 >> rule & 1 == 1
    }
}

fn bit(name: &str) -> Option<u32> {
    RuleSet::names().position(|it| it == name).map(|index| 1 << index)
}

/// What a rule takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) rule: &'static str,
    pub(super) range: Range<usize>,
}

/// What these rules take from a text.
pub(super) fn hits(text: &[u8], rules: RuleSet) -> Vec<Hit> {
    if rules.is_empty() {
        return Vec::new();
    }
    let (compiled, mut hits) = (&*COMPILED, Vec::<Hit>::new());
    for keyword in compiled.keywords.find_overlapping_iter(text) {
        let index = compiled.owners[keyword.pattern().as_usize()];
        let is_covered =
            hits.last().is_some_and(|last| keyword.start() < last.range.end && last.rule == BLOCK);
        if rules.has(index) && !is_covered {
            hits.extend(hit(text, keyword.start(), &RULES[index], &compiled.expressions[index]));
        }
    }
    hits
}

/// The rule that takes whole blocks, in which no other one has anything to do.
const BLOCK: &str = RULES[0].name;
/// Bytes that are looked at first.
const FIRST_LOOK_BYTES: usize = 512;

fn hit(text: &[u8], at: usize, rule: &Rule, expression: &Regex) -> Option<Hit> {
    if !rule.edge.allows(&text[..at]) {
        return None;
    }
    let value_in = |bytes_max: usize| {
        let window = &text[at..text.len().min(at + bytes_max)];
        let captures = expression.captures(window)?;
        let value = captures.name("v").or_else(|| captures.get(0))?;
        let is_through = value.end() < window.len() || window.len() < bytes_max;
        Some((value.range(), is_through, (rule.accepts)(value.as_bytes(), &window[value.end()..])))
    };
    // Most values are short, and what isn't accepted by its start isn't worth to be read to its end.
    let (value, accepted) = match value_in(FIRST_LOOK_BYTES) {
        Some((value, is_through, accepted)) if is_through || !accepted => (value, accepted),
        _ if rule.name == BLOCK => value_in(KEY_BLOCK_BYTES).map(|(value, _, accepted)| (value, accepted))?,
        _ => value_in(RULE_BYTES).map(|(value, _, accepted)| (value, accepted))?,
    };
    accepted.then(|| Hit { rule: rule.name, range: at + value.start..at + value.end })
}

/// The table, ready for use.
struct Compiled {
    keywords: AhoCorasick,
    /// The rule of each keyword.
    owners: Vec<usize>,
    expressions: Vec<Regex>,
}

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let keywords = RULES
        .iter()
        .enumerate()
        .flat_map(|(index, rule)| rule.keywords.iter().map(move |keyword| (*keyword, index)));
    let (keywords, owners): (Vec<_>, Vec<_>) = keywords.unzip();
    let mut automaton = AhoCorasick::builder();
    automaton.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA));
    let expression = |rule: &Rule| Regex::new(&format!(r"\A(?-u:{})", rule.expression));
    Compiled {
        keywords: automaton.build(keywords).expect("the table is small"),
        owners,
        expressions: RULES.iter().map(|rule| expression(rule).expect("the table is tested")).collect(),
    }
});

#[cfg(test)]
mod tests;
