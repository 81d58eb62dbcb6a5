//! Checkpoints: signed words on how far the record had come.
//!
//! A chain alone shows what was changed in its middle, but not that its end was cut off or written anew. A
//! checkpoint says: at this time the record of this number had this hash, and all before it was on the disk. It is
//! signed, and names the hash of the checkpoint before. Whoever keeps a copy elsewhere can hold the record to it.
//!
//! One line of JSON each, in `checkpoints.jsonl` beside the record; they are never deleted. The signature is over
//! the bytes of the line before its last member.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::AuditError;
use crate::hex::{Hash, Hex, NodeId};
use crate::keys::{Keys, NextKey, PublicKey};
use crate::limits::CHECKPOINT_BYTES;
use crate::reader::read_line;
use crate::record::End;
use crate::seal;

/// The file of the checkpoints.
pub const CHECKPOINTS: &str = "checkpoints.jsonl";

/// What a node has signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The node that wrote the record.
    pub node: NodeId,
    /// The epoch of its chain.
    pub epoch: u64,
    /// The last record that it speaks of.
    pub seq: u64,
    /// The hash of that record.
    pub hash: Hash,
    /// When it was signed, by the clock of the machine.
    pub time: String,
    /// Records since the checkpoint before.
    pub records: u64,
    /// The oldest record that is kept: those before it were deleted by the node itself.
    pub kept_from: u64,
    /// The hash of the line of the checkpoint before; zeros if there is none.
    pub prev: Hash,
    /// What checks the signature. Whoever doesn't know the node's key from elsewhere has no proof by it.
    pub key: Hex<32>,
    /// What checks the signatures from the next checkpoint on, if this one hands the record over to another key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<Hex<32>>,
}

/// A line that is no checkpoint of the holder of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has no end, or is none of a checkpoint.
    NotACheckpoint,
    /// The signature isn't one of this key over these bytes.
    NotSigned,
}

impl Checkpoint {
    pub(crate) fn end(&self) -> End {
        End { node: self.node, epoch: self.epoch, seq: self.seq, hash: self.hash }
    }

    /// The signed line, with its newline.
    pub(crate) fn signed(&self, keys: &Keys) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("digits and numbers go into memory");
        line.pop();
        seal::close(&mut line, 0, seal::SIGNATURE, |text| keys.sign(text));
        line
    }

    /// The line that hands the record over to this key, signed by it as well, with its newline.
    pub(crate) fn handed_over(self, keys: &Keys, next: &NextKey) -> Vec<u8> {
        let next_key = Some(next.public().digits());
        let mut line =
            serde_json::to_vec(&Self { next_key, ..self }).expect("digits and numbers go into memory");
        line.pop();
        seal::close(&mut line, 0, seal::ACCEPTANCE, |text| next.accept(text));
        // Without its end: the last member is still to come.
        line.truncate(line.len() - 2);
        seal::close(&mut line, 0, seal::SIGNATURE, |text| keys.sign(text));
        line
    }

    /// Reads a line, with its newline, that hands the record over; none unless both keys have signed it.
    pub(crate) fn check_handover(line: &[u8]) -> Option<Self> {
        let (text, signature, checkpoint) = parse(line)?;
        let closed = [text, b"}"].concat();
        let (accepted, acceptance) = seal::split(&closed, seal::ACCEPTANCE)?;
        let is_signed = checkpoint.signer().has_signed(text, &signature)
            && checkpoint.next_key.is_some()
            && checkpoint.signs_next().has_accepted(accepted, &acceptance);
        is_signed.then_some(checkpoint)
    }

    /// Reads a line, with its newline, and checks that the key which it names has signed it: whose that is, is for the
    /// caller to say.
    pub(crate) fn check(line: &[u8]) -> Result<Self, Refused> {
        let (text, signature, checkpoint) = parse(line).ok_or(Refused::NotACheckpoint)?;
        if checkpoint.signer().has_signed(text, &signature) {
            Ok(checkpoint)
        } else {
            Err(Refused::NotSigned)
        }
    }

    /// The key that has signed it.
    pub(crate) fn signer(&self) -> PublicKey {
        PublicKey::of(self.key)
    }

    /// The key that signs the one behind it.
    pub(crate) fn signs_next(&self) -> PublicKey {
        PublicKey::of(self.next_key.unwrap_or(self.key))
    }
}

fn parse(line: &[u8]) -> Option<(&[u8], Hex<64>, Checkpoint)> {
    let line = line.strip_suffix(b"\n")?;
    let (text, signature) = seal::split(line, seal::SIGNATURE)?;
    let checkpoint = serde_json::from_slice(line).ok()?;
    Some((text, signature, checkpoint))
}

/// The name of a line of a checkpoint, which the next one says.
pub(crate) fn line_hash(line: &[u8]) -> Hash {
    Hash::of(line.strip_suffix(b"\n").unwrap_or(line))
}

/// The last checkpoint in a file of our own, and its line. Its signature isn't checked: a start goes on wherever the files
/// say, and `verify` judges them.
pub(crate) fn last(file: &File) -> io::Result<Option<(Checkpoint, Vec<u8>)>> {
    let size = file.metadata()?.len();
    let start = size.saturating_sub(4 * CHECKPOINT_BYTES);
    let mut tail = vec![0; usize::try_from(size - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut tail, start)?;
    let mut lines = tail.split_inclusive(|byte| *byte == b'\n').rev();
    Ok(lines.find_map(|line| Some((parse(line)?.2, line.to_vec()))))
}

/// The checkpoint of this record, if it is in this file. The file is in the order of the numbers, so that it is
/// found by halving.
pub(crate) fn find(file: &File, seq: u64) -> io::Result<Option<Checkpoint>> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    // Invariant: a line of that checkpoint begins in `low..high`, if there is one.
    while low < high {
        let middle = low + (high - low) / 2;
        match line_from(file, middle)? {
            Some((begins, ends, checkpoint)) if begins < high => match checkpoint.seq.cmp(&seq) {
                std::cmp::Ordering::Equal => return Ok(Some(checkpoint)),
                std::cmp::Ordering::Less => low = ends,
                std::cmp::Ordering::Greater => high = middle,
            },
            _ => high = middle,
        }
    }
    Ok(None)
}

/// The first whole checkpoint that begins at this place or behind it: from where to where, and what it says.
fn line_from(file: &File, at: u64) -> io::Result<Option<(u64, u64, Checkpoint)>> {
    // The line before ends here or later.
    let mut begins = at.saturating_sub(1);
    let mut buffer = vec![0; usize::try_from(4 * CHECKPOINT_BYTES).map_err(io::Error::other)?];
    let count = file.read_at(&mut buffer, begins)?;
    let mut lines = buffer[..count].split_inclusive(|byte| *byte == b'\n');
    if at > 0 {
        begins += lines.next().map_or(0, <[u8]>::len) as u64;
    }
    for line in lines {
        let ends = begins + line.len() as u64;
        if let Some((_, _, checkpoint)) = parse(line) {
            return Ok(Some((begins, ends, checkpoint)));
        }
        begins = ends;
    }
    Ok(None)
}

/// The newest checkpoint of a folder, as the line that it is; none if there is none yet.
pub fn newest_checkpoint(dir: &Path) -> Result<Option<String>, AuditError> {
    let path = dir.join(CHECKPOINTS);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(AuditError::io("open", &path))?,
    };
    let (mut input, mut line, mut newest) = (BufReader::new(file), Vec::new(), None);
    while read_line(&mut input, &mut line).map_err(AuditError::io("read", &path))? > 0 {
        if parse(&line).is_some() {
            newest = Some(String::from_utf8_lossy(&line).into_owned());
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn checkpoint(keys: &Keys, seq: u64) -> Checkpoint {
        Checkpoint {
            node: NodeId::ZERO,
            epoch: 1,
            seq,
            hash: Hash::of(&seq.to_be_bytes()),
            time: String::new(),
            records: 1,
            kept_from: 1,
            prev: Hash::ZERO,
            key: keys.public().digits(),
            next_key: None,
        }
    }

    #[test]
    fn what_was_signed_is_read_again_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let line = checkpoint(&keys, 7).signed(&keys);
        assert_eq!(Checkpoint::check(&line), Ok(checkpoint(&keys, 7)));
        for index in 0..line.len() {
            let mut bad = line.clone();
            bad[index] ^= 1;
            assert!(Checkpoint::check(&bad).is_err(), "{index}");
            assert!(Checkpoint::check(&line[..index]).is_err(), "{index}");
        }
        let other = Keys::open(&dir.path().join("other")).unwrap();
        assert_eq!(Checkpoint::check(&checkpoint(&keys, 7).signed(&other)), Err(Refused::NotSigned));
    }

    #[test]
    fn one_of_many_is_found_and_so_is_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        assert_eq!((last(&file).unwrap(), find(&file, 1).unwrap()), (None, None));
        for seq in (1..200).map(|index| index * 3) {
            if seq == 300 {
                file.write_all(b"{\"torn\n").unwrap();
            }
            file.write_all(&checkpoint(&keys, seq).signed(&keys)).unwrap();
        }
        file.write_all(b"{\"node\":\"").unwrap();
        assert_eq!(last(&file).unwrap().unwrap().0.seq, 597);
        for seq in 0..610 {
            let found = find(&file, seq).unwrap().map(|found| found.seq);
            assert_eq!(found, Some(seq).filter(|seq| *seq > 0 && *seq < 600 && seq % 3 == 0), "{seq}");
        }
    }
}
