//! Where a log goes on, from what the last writer left. Pure decisions.

use crate::checkpoint::Checkpoint;
use crate::hex::{Hash, NodeId};
use crate::record::{Began, End};
use crate::recovery::Found;

/// Which chain we write, and whether the folder of the keys was copied or moved since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) node: NodeId,
    pub(super) epoch: u64,
    /// The id to take if it was: nobody else has it.
    pub(super) moved_to: Option<NodeId>,
}

/// Where a log goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The place behind which the first record goes.
    pub(super) end: End,
    /// Why its chain is another one than before.
    pub(super) chain: Option<Began>,
    /// The last record that is whole, if the last writer did not end in peace.
    pub(super) recovered: Option<u64>,
}

/// Decides where to go on. Without keys, `own` is what the record itself says, if it says anything.
pub(super) fn decide(found: &Found, signed: Option<&Checkpoint>, own: Own) -> Start {
    let Some(end) = found.end else {
        return begin(found, signed, own);
    };
    let is_torn = found.torn.is_some() || signed.is_some_and(|signed| signed.end() != end);
    let recovered = is_torn.then_some(end.seq);
    let chain = why_another(end, signed, own);
    let seq = signed.map_or(end.seq, |signed| signed.seq.max(end.seq));
    let next = |node, epoch| Start { end: End { node, epoch, seq, hash: end.hash }, chain, recovered };
    match (chain, own.moved_to) {
        (None, _) => next(end.node, end.epoch),
        (Some(Began::Moved), Some(node)) => next(node, 1),
        (Some(_), moved_to) => next(moved_to.unwrap_or(own.node), own.epoch.max(end.epoch).saturating_add(1)),
    }
}

/// Why what is written from here on is no part of that chain.
fn why_another(end: End, signed: Option<&Checkpoint>, own: Own) -> Option<Began> {
    let is_damaged = signed.is_some_and(|signed| signed.seq >= end.seq && signed.end() != end);
    if is_damaged {
        return Some(Began::Damaged);
    }
    if own.moved_to.is_some() {
        return Some(Began::Moved);
    }
    // A start that was cut off may have begun the next epoch and not have kept that.
    let is_ours = own.node == end.node && (own.epoch..=own.epoch.saturating_add(1)).contains(&end.epoch);
    (!is_ours).then_some(Began::Foreign)
}

/// A chain without anything to go on from.
fn begin(found: &Found, signed: Option<&Checkpoint>, own: Own) -> Start {
    let chain = match (signed, found.last_seq) {
        (None, 0) if own.epoch == 0 => Began::First,
        (None, 1..) => Began::Unchained,
        _ => Began::Lost,
    };
    let node = own.moved_to.unwrap_or(own.node);
    let epoch = own.epoch.saturating_add(1);
    let seq = signed.map_or(0, |signed| signed.seq).max(found.last_seq);
    let hash = signed.map_or(Hash::ZERO, |signed| signed.hash);
    Start { end: End { node, epoch, seq, hash }, chain: Some(chain), recovered: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(epoch: u64, seq: u64) -> End {
        End { node: NodeId::ZERO, epoch, seq, hash: Hash::of(&seq.to_be_bytes()) }
    }

    fn signed(end: End) -> Checkpoint {
        let End { node, epoch, seq, hash } = end;
        let time = String::new();
        Checkpoint {
            node,
            epoch,
            seq,
            hash,
            time,
            records: 1,
            kept_from: 1,
            prev: Hash::ZERO,
            key: Hash::ZERO,
            next_key: None,
        }
    }

    fn check(
        found: Option<u64>,
        at: Option<End>,
        own: Own,
        epoch_seq: (u64, u64),
        chain: Option<Began>,
    ) -> Start {
        let found = match found {
            Some(seq) => Found { last_seq: seq, end: Some(end(3, seq)), ..Found::default() },
            None => Found::default(),
        };
        let start = decide(&found, at.map(signed).as_ref(), own);
        assert_eq!(((start.end.epoch, start.end.seq), start.chain), (epoch_seq, chain));
        start
    }

    const OWN: Own = Own { node: NodeId::ZERO, epoch: 3, moved_to: None };

    #[test]
    fn a_chain_goes_on_where_it_ended_and_tells_peace_from_a_crash() {
        let start = check(Some(9), Some(end(3, 9)), OWN, (3, 9), None);
        assert_eq!((start.recovered, start.end.hash), (None, end(3, 9).hash));
        assert_eq!(check(Some(9), Some(end(3, 8)), OWN, (3, 9), None).recovered, Some(9));
        assert_eq!(
            check(Some(9), None, OWN, (3, 9), None).recovered,
            None,
            "without keys nobody signs an end"
        );
    }

    #[test]
    fn a_chain_that_lost_what_was_signed_goes_on_as_another_and_gives_no_number_twice() {
        check(Some(9), Some(end(3, 20)), OWN, (4, 20), Some(Began::Damaged));
        let rewritten = End { hash: Hash::ZERO, ..end(3, 9) };
        check(Some(9), Some(rewritten), OWN, (4, 9), Some(Began::Damaged));
        let start = check(None, Some(end(3, 20)), OWN, (4, 20), Some(Began::Lost));
        assert_eq!(start.end.hash, end(3, 20).hash);
        check(None, None, OWN, (4, 0), Some(Began::Lost));
    }

    #[test]
    fn a_first_start_begins_a_chain_behind_whatever_is_there() {
        let fresh = Own { epoch: 0, ..OWN };
        check(None, None, fresh, (1, 0), Some(Began::First));
        let old = Found { last_seq: 7, ..Found::default() };
        let start = decide(&old, None, fresh);
        assert_eq!((start.end.seq, start.chain), (7, Some(Began::Unchained)));
    }

    #[test]
    fn a_copy_is_a_node_of_its_own_and_strange_files_are_no_part_of_our_chain() {
        let moved_to = Some(Hash::of(b"x")).map(|hash| crate::hex::Hex(hash.0[..16].try_into().unwrap()));
        let start = check(Some(9), Some(end(3, 9)), Own { moved_to, ..OWN }, (1, 9), Some(Began::Moved));
        assert_eq!(Some(start.end.node), moved_to);
        check(Some(9), None, Own { epoch: 1, ..OWN }, (4, 9), Some(Began::Foreign));
        check(Some(9), None, Own { epoch: 2, ..OWN }, (3, 9), None);
    }
}
