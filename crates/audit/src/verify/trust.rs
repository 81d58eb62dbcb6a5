//! Which keys' signatures count, and up to where.
//!
//! A key hands the record over to the next one in a checkpoint that both sign, and signs nothing behind it.
//!
//! ```text
//!  … signed by A | A: next_key B, and B takes over what is before | … signed by B
//!                  └── who trusts A, trusts B    └── who trusts B, trusts A up to here
//! ```
//!
//! From one key that is named both ways are gone, along one line: no key has two before it or two behind it, and none takes
//! over once it has signed something itself. So whoever has stolen A leads nobody who trusts B to a key of their own: one
//! that they pretend was before A counts up to A's own beginning, and all before B is fixed by what B has taken over.
//! Several keys that are named are all that count.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use crate::checkpoint::Checkpoint;
use crate::keys::PublicKey;

use super::lines::{CheckpointFile, Said};

/// The keys that count.
#[derive(Debug, Default)]
pub(super) struct Trust(Vec<Trusted>);

#[derive(Debug)]
struct Trusted {
    key: PublicKey,
    /// The last record that it may sign, if it has handed over.
    until: Option<u64>,
}

/// A key gave its place to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Handover {
    from: PublicKey,
    to: PublicKey,
    /// The record up to which the old one has signed.
    seq: u64,
}

/// What the files say of the keys, before it is decided which of them count.
#[derive(Debug, Default)]
struct Claims {
    /// Those into a key that has signed nothing before in the same file.
    handovers: BTreeSet<Handover>,
    /// The first record for which a key has signed.
    first: BTreeMap<PublicKey, u64>,
    /// The first record at which a key has handed over, to whomever.
    until: BTreeMap<PublicKey, u64>,
}

/// The line of the keys; none where two claim the same place.
#[derive(Debug, Default)]
struct Succession {
    after: BTreeMap<PublicKey, Option<PublicKey>>,
    before: BTreeMap<PublicKey, Option<PublicKey>>,
}

impl Trust {
    /// The keys that are named, and those that follow from them by what these files say.
    pub(super) fn new<'a>(named: &[PublicKey], files: impl IntoIterator<Item = &'a CheckpointFile>) -> Self {
        let mut claims = Claims::default();
        if !named.is_empty() {
            files.into_iter().for_each(|file| claims.read(file));
        }
        // One that is named twice is one.
        let mut keys: Vec<_> = named.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        if let &[only] = &keys[..] {
            let line = claims.succession();
            // Both end: on the way, the numbers of the records only grow, or only fall.
            keys.extend(iter::successors(line.after(only), |key| line.after(*key)));
            keys.extend(iter::successors(line.before(only), |key| line.before(*key)));
        }
        Self(keys.iter().map(|key| Trusted { key: *key, until: claims.until.get(key).copied() }).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which of these keys have signed nothing in these files that counts, nor taken over by something that does. Without this,
    /// whoever has stolen an old key could sign all of the record anew, and leave out that it had handed over.
    pub(super) fn silent<'a>(
        &self,
        named: &[PublicKey],
        files: impl IntoIterator<Item = &'a CheckpointFile>,
    ) -> BTreeSet<PublicKey> {
        let mut silent: BTreeSet<_> = named.iter().copied().collect();
        let lines = files.into_iter().flat_map(|file| file.lines.iter().flatten());
        for Said { checkpoint, is_handover, .. } in lines.filter(|said| self.counts(&said.checkpoint)) {
            silent.remove(&checkpoint.signer());
            if *is_handover {
                silent.remove(&checkpoint.signs_next());
            }
        }
        silent
    }

    /// Whether the key that has signed this could sign it then.
    pub(super) fn counts(&self, checkpoint: &Checkpoint) -> bool {
        let signer = checkpoint.signer();
        let may_sign = |trusted: &Trusted| {
            trusted.key == signer && trusted.until.is_none_or(|until| checkpoint.seq <= until)
        };
        self.0.iter().any(may_sign)
    }
}

impl Claims {
    /// Takes over what a file says, in the order in which it was written.
    fn read(&mut self, file: &CheckpointFile) {
        let mut has_signed = BTreeSet::new();
        for Said { checkpoint, is_handover, .. } in file.lines.iter().flatten() {
            let (from, to, seq) = (checkpoint.signer(), checkpoint.signs_next(), checkpoint.seq);
            has_signed.insert(from);
            lower(&mut self.first, from, seq);
            if *is_handover {
                lower(&mut self.until, from, seq);
                self.handovers.extend((!has_signed.contains(&to)).then_some(Handover { from, to, seq }));
            }
        }
    }

    /// What follows from the handovers that nothing else contradicts which the two keys have signed.
    fn succession(&self) -> Succession {
        let mut line = Succession::default();
        for Handover { from, to, seq } in &self.handovers {
            let is_first_of_it = self.until.get(from) == Some(seq);
            let is_before_it = self.first.get(to).is_none_or(|first| seq < first);
            if is_first_of_it && is_before_it {
                line.after.entry(*from).and_modify(|after| *after = None).or_insert(Some(*to));
                line.before.entry(*to).and_modify(|before| *before = None).or_insert(Some(*from));
            }
        }
        line
    }
}

impl Succession {
    /// The key that goes on behind this one.
    fn after(&self, key: PublicKey) -> Option<PublicKey> {
        let after = (*self.after.get(&key)?)?;
        (self.before.get(&after) == Some(&Some(key))).then_some(after)
    }

    /// The key in whose place this one came.
    fn before(&self, key: PublicKey) -> Option<PublicKey> {
        let before = (*self.before.get(&key)?)?;
        (self.after.get(&before) == Some(&Some(key))).then_some(before)
    }
}

/// Keeps the least number of a key.
fn lower(numbers: &mut BTreeMap<PublicKey, u64>, key: PublicKey, number: u64) {
    numbers.entry(key).and_modify(|least| *least = number.min(*least)).or_insert(number);
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::hex::{Hash, Hex, NodeId};

    /// Keys that were in use one after the other, and two of whoever has stolen one of them.
    const A: u8 = 1;
    const B: u8 = 2;
    const C: u8 = 3;
    const M: u8 = 8;
    const N: u8 = 9;

    /// Who signs for which record, and to whom that hands over.
    type Claim = (u8, u64, Option<u8>);

    const HONEST: [Claim; 8] = [
        (A, 3, None),
        (A, 5, None),
        (A, 7, Some(B)),
        (B, 9, None),
        (B, 11, None),
        (B, 13, Some(C)),
        (C, 15, None),
        (C, 17, None),
    ];

    fn said((signer, seq, to): Claim) -> Said {
        let checkpoint = Checkpoint {
            node: NodeId::ZERO,
            epoch: 1,
            seq,
            hash: Hash::ZERO,
            time: String::new(),
            records: 1,
            kept_from: 1,
            prev: Hash::ZERO,
            key: Hex([signer; 32]),
            next_key: to.map(|to| Hex([to; 32])),
        };
        Said { checkpoint, hash: Hash::ZERO, is_handover: to.is_some() }
    }

    fn file(claims: &[Claim]) -> CheckpointFile {
        CheckpointFile { path: PathBuf::new(), lines: claims.iter().map(|claim| Ok(said(*claim))).collect() }
    }

    /// The claims in these files that count for whoever knows these keys.
    fn counted(named: &[u8], files: &[&[Claim]]) -> Vec<Claim> {
        let named: Vec<PublicKey> = named.iter().map(|key| PublicKey::of(Hex([*key; 32]))).collect();
        let read: Vec<CheckpointFile> = files.iter().map(|claims| file(claims)).collect();
        let trust = Trust::new(&named, &read);
        let counts = |claim: &&Claim| trust.counts(&said(**claim).checkpoint);
        files.concat().iter().filter(counts).copied().collect()
    }

    /// That of an honest record with more behind it, nothing of that counts.
    fn assert_nothing_gained(more: &[Claim]) {
        for kept in [HONEST.len(), HONEST.len() - 1] {
            let all = [&HONEST[..kept], more].concat();
            for named in [B, C] {
                assert_eq!(counted(&[named], &[&all]), HONEST[..kept], "{more:?}");
            }
        }
    }

    #[test]
    fn any_key_of_a_line_leads_to_all_of_them_and_none_elsewhere() {
        for named in [A, B, C] {
            assert_eq!(counted(&[named], &[&HONEST]), HONEST);
            // A copy of some of them that was kept says nothing new.
            assert_eq!(counted(&[named], &[&HONEST, &HONEST[5..6], &HONEST[2..4]]).len(), 11);
        }
        assert_eq!(counted(&[A, C], &[&HONEST]), [&HONEST[..3], &HONEST[6..]].concat());
        assert_eq!(counted(&[M], &[&HONEST]), []);
        assert_eq!(counted(&[], &[&HONEST]), []);
    }

    #[test]
    fn a_key_that_pretends_to_have_been_before_a_stolen_one_does_not_count_behind_its_beginning() {
        for stolen in [A, B] {
            assert_nothing_gained(&[(M, 17, Some(stolen))]);
            assert_nothing_gained(&[(M, 15, None), (M, 16, None), (M, 17, Some(stolen))]);
            assert_nothing_gained(&[(N, 16, Some(M)), (M, 17, Some(stolen))]);
            // Of a small number, but behind what the stolen one has signed.
            assert_nothing_gained(&[(M, 1, Some(stolen)), (M, 17, None)]);
            // Of two, both or one may come too late.
            assert_nothing_gained(&[(M, 17, Some(stolen)), (N, 16, Some(stolen))]);
        }
        // Before the beginning, it counts up to there.
        let all = [&[(M, 1, None), (M, 2, Some(A))], &HONEST[..], &[(M, 17, None)]].concat();
        assert_eq!(counted(&[C], &[&all]), all[..10]);
    }

    #[test]
    fn of_two_that_claim_the_same_place_none_counts() {
        // Before a stolen key.
        let all = [&[(M, 1, Some(A)), (N, 2, Some(A))], &HONEST[..]].concat();
        assert_eq!(counted(&[C], &[&all]), HONEST);
        let all = [&HONEST[..3], &[(M, 8, Some(B))], &HONEST[3..]].concat();
        assert_eq!(counted(&[C], &[&all]), HONEST[3..]);
        // Behind it, at the same record.
        let all = [&HONEST[..3], &[(A, 7, Some(M))], &HONEST[3..]].concat();
        assert_eq!(counted(&[C], &[&all]), HONEST[3..]);
        // Before the honest one, whose place it takes; behind it, it never was.
        let all = [&HONEST[..2], &[(A, 6, Some(M))], &HONEST[2..]].concat();
        assert_eq!(counted(&[C], &[&all]), HONEST[3..]);
        assert_nothing_gained(&[(A, 17, Some(M)), (M, 18, None)]);
    }

    #[test]
    fn a_key_does_not_come_back() {
        assert_nothing_gained(&[(A, 17, None)]);
        assert_nothing_gained(&[(B, 18, Some(A)), (A, 19, None)]);
        let all = [&HONEST[..], &[(C, 18, Some(A)), (A, 19, None)]].concat();
        assert_eq!(counted(&[C], &[&all]), all[..9]);
    }
}
