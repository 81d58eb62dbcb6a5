//! Every form of every secret, found in one pass.
//!
//! One automaton knows all forms. It is run only from where the [`prefilter`](super::prefilter) says that a form
//! can begin, up to where no form of which a whole window was seen can go on. That takes linear time whatever
//! the text is, and nearly none in a text without secrets.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous::NFA;

use super::encodings::{Edges, Forms};
use super::prefilter::{Prefilter, WINDOW};

/// The forms of all secrets.
pub(super) struct Matcher {
    automaton: NFA,
    prefilter: Prefilter,
    /// For each state of the automaton, how many bytes of a form it stands for.
    depths: Vec<u16>,
    owners: Vec<Owner>,
    root: StateID,
}

/// Whose form it is.
#[derive(Clone, Copy)]
struct Owner {
    secret: u32,
    edges: Edges,
}

/// A form in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    /// The index of the secret.
    pub(super) secret: usize,
    pub(super) edges: Edges,
}

impl Matcher {
    /// A matcher for the forms of these secrets, or nothing if there are too many. A form that two of them
    /// share is the first one's.
    pub(super) fn new(secrets: &[Forms]) -> Option<Self> {
        let mut owners = BTreeMap::new();
        for (secret, forms) in (0_u32..).zip(secrets) {
            for (form, edges) in forms.iter() {
                owners.entry(form).or_insert(Owner { secret, edges });
            }
        }
        let automaton = NFA::builder().prefilter(false).build(owners.keys()).ok()?;
        let root = automaton.start_state(Anchored::No).ok()?;
        Some(Self {
            prefilter: Prefilter::new(owners.keys().copied()),
            depths: depths(&automaton, root, owners.keys().copied())?,
            owners: owners.into_values().collect(),
            automaton,
            root,
        })
    }

    /// Every form in this text that is none's end, in the order of their ends.
    pub(super) fn find(&self, text: &[u8]) -> Vec<Found> {
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some(start) = self.prefilter.find(text, from) {
            from = self.run(text, start, &mut found);
        }
        found
    }

    /// Whether there is any.
    pub(super) fn has_any(&self, text: &[u8]) -> bool {
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some(start) = self.prefilter.find(text, from).filter(|_| found.is_empty()) {
            from = self.run(text, start, &mut found);
        }
        !found.is_empty()
    }

    /// Where in this text a form may begin that isn't through at its end.
    pub(super) fn open(&self, text: &[u8]) -> usize {
        let start = text.len().saturating_sub(self.automaton.max_pattern_len());
        let state = text[start..].iter().fold(self.root, |state, byte| self.step(state, *byte));
        text.len() - self.depth(state)
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.automaton.memory_usage()
            + self.prefilter.bytes()
            + self.depths.len() * size_of::<u16>()
            + self.owners.len() * size_of::<Owner>()
    }

    /// Runs the automaton from a start, and returns from where on to look for the next one.
    fn run(&self, text: &[u8], start: usize, found: &mut Vec<Found>) -> usize {
        let mut state = self.root;
        for (at, byte) in text.iter().enumerate().skip(start) {
            state = self.step(state, *byte);
            if self.automaton.is_match(state) {
                // The first pattern of a state is its longest.
                self.push(state, at + 1, found);
            }
            let depth = self.depth(state);
            if depth < WINDOW && at + 1 >= start + WINDOW {
                return at + 1 - depth;
            }
        }
        text.len()
    }

    fn push(&self, state: StateID, end: usize, found: &mut Vec<Found>) {
        let pattern = self.automaton.match_pattern(state, 0);
        let owner = self.owners[pattern.as_usize()];
        let range = end - self.automaton.pattern_len(pattern)..end;
        found.push(Found { range, secret: owner.secret as usize, edges: owner.edges });
    }

    fn step(&self, state: StateID, byte: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, byte)
    }

    fn depth(&self, state: StateID) -> usize {
        self.depths.get(state.as_usize()).map_or(0, |depth| usize::from(*depth))
    }
}

/// How many bytes each state stands for: the way to it along a form. Nothing if a form is too long.
fn depths<'f>(automaton: &NFA, root: StateID, forms: impl Iterator<Item = &'f [u8]>) -> Option<Vec<u16>> {
    let mut depths = Vec::new();
    for form in forms {
        let mut state = root;
        for (depth, byte) in (1..).zip(form) {
            state = automaton.next_state(Anchored::No, state, *byte);
            let index = state.as_usize();
            if index >= depths.len() {
                depths.resize(index + 1, 0);
            }
            depths[index] = u16::try_from(depth).ok()?;
        }
    }
    depths.shrink_to_fit();
    Some(depths)
}

#[cfg(test)]
mod tests {
    use super::super::encodings::forms;
    use super::*;

    fn matcher(secrets: &[&str]) -> Matcher {
        Matcher::new(&secrets.iter().map(|it| forms(it.as_bytes())).collect::<Vec<_>>()).unwrap()
    }

    fn check(secrets: &[&str], text: &str, expect: &[(Range<usize>, usize)]) {
        let found = matcher(secrets).find(text.as_bytes());
        let found: Vec<_> = found.into_iter().map(|it| (it.range, it.secret)).collect();
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn secrets_are_found_wherever_they_begin_and_end() {
        check(&["abcdefgh"], "abcdefgh", &[(0..8, 0)]);
        check(&["abcdefgh"], "abcabcdefghabcdefghabcd", &[(3..11, 0), (11..19, 0)]);
        check(&["abcdefgh", "abcdefghij"], "-abcdefghij", &[(1..9, 0), (1..11, 1)]);
        check(&["abcdefgh12", "gh12345678"], "abcdefgh12345678", &[(0..10, 0), (6..16, 1)]);
        check(&["abcdefgh"], "abcdefg habcdefg", &[]);
        check(&[], "abcdefgh", &[]);
    }

    #[test]
    fn the_start_of_a_secret_at_the_end_of_a_text_is_open() {
        let matcher = matcher(&["abcdefgh", "efgh0123456789"]);
        for (text, open) in
            [("xyabc", 2), ("xy", 2), ("", 0), ("-abcdefgh", 1), ("abcdefgh0", 4), ("abc-", 4)]
        {
            assert_eq!(matcher.open(text.as_bytes()), open, "{text}");
        }
    }
}
