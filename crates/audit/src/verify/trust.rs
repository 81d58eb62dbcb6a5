//! Which keys' signatures count, and up to where.
//!
//! A key hands the record over to the next one in a checkpoint that both sign, and signs nothing behind it.
//!
//! ```text
//!  … signed by A | A: next_key B, and B takes over what is before | … signed by B
//!                  └── who trusts A, trusts B    └── who trusts B, trusts A up to here
//! ```
//!
//! From one key that is named both ways are gone, but no bend: whoever has stolen A can hand over to a key of their own,
//! and who trusts B is not led there by way of A. Several that are named are all that count.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::checkpoint::{Checkpoint, Refused};
use crate::error::AuditError;
use crate::keys::PublicKey;
use crate::reader::read_line;

use super::Evidence;

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
#[derive(Debug)]
struct Handover {
    from: PublicKey,
    to: PublicKey,
    /// The record up to which the old one has signed.
    seq: u64,
}

impl Trust {
    /// The keys that are named, and those that follow from them by what these files say.
    pub(super) fn new(evidence: &Evidence) -> Result<Self, AuditError> {
        let mut handovers = Vec::new();
        if !evidence.keys.is_empty() {
            for path in &evidence.checkpoints {
                find(path, &mut handovers)?;
            }
        }
        Ok(Self::of(&evidence.keys, &handovers))
    }

    fn of(named: &[PublicKey], handovers: &[Handover]) -> Self {
        let mut keys = named.to_vec();
        if let [only] = named {
            keys.extend(reached(*only, handovers, |handover| (handover.from, handover.to)));
            keys.extend(reached(*only, handovers, |handover| (handover.to, handover.from)));
        }
        let until = |key: &PublicKey| {
            let theirs =
                handovers.iter().filter(|handover| handover.from == *key && keys.contains(&handover.to));
            theirs.map(|handover| handover.seq).min()
        };
        Self(keys.iter().map(|key| Trusted { key: *key, until: until(key) }).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a line of a checkpoint, with its newline, and checks who has signed it.
    pub(super) fn check(&self, line: &[u8]) -> Result<Checkpoint, Refused> {
        let checkpoint = Checkpoint::check(line)?;
        let signer = checkpoint.signer();
        let may_sign = |trusted: &Trusted| {
            trusted.key == signer && trusted.until.is_none_or(|until| checkpoint.seq <= until)
        };
        if self.0.iter().any(may_sign) { Ok(checkpoint) } else { Err(Refused::NotSigned) }
    }
}

/// The keys that are reached from this one, step by step.
fn reached(
    from: PublicKey,
    handovers: &[Handover],
    step: impl Fn(&Handover) -> (PublicKey, PublicKey),
) -> Vec<PublicKey> {
    let mut all = vec![from];
    let mut done = 0;
    while let Some(at) = all.get(done).copied() {
        done += 1;
        for (_, to) in handovers.iter().map(&step).filter(|(from, _)| *from == at) {
            if !all.contains(&to) {
                all.push(to);
            }
        }
    }
    all.split_off(1)
}

/// The handovers in a file, each signed by both keys.
fn find(path: &Path, handovers: &mut Vec<Handover>) -> Result<(), AuditError> {
    let file = File::open(path).map_err(AuditError::io("open", path))?;
    let (mut input, mut line) = (BufReader::new(file), Vec::new());
    while read_line(&mut input, &mut line).map_err(AuditError::io("read", path))? > 0 {
        if Checkpoint::may_hand_over(&line)
            && let Some(checkpoint) = Checkpoint::check_handover(&line)
        {
            let (from, to) = (checkpoint.signer(), checkpoint.signs_next());
            handovers.push(Handover { from, to, seq: checkpoint.seq });
        }
    }
    Ok(())
}
