//! The lines of a file of checkpoints. It is read once, since it may be a pipe, and each signature is checked once.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, Refused, line_hash};
use crate::error::AuditError;
use crate::hex::Hash;
use crate::reader::read_line;

/// A file of checkpoints, as it was when it was read.
#[derive(Debug)]
pub struct CheckpointFile {
    pub(super) path: PathBuf,
    pub(super) lines: Vec<Line>,
}

/// What a line is.
pub(super) type Line = Result<Said, NotSaid>;

/// A checkpoint that the key which it names has signed: whether that one counts, is not said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) checkpoint: Checkpoint,
    /// The hash of the line.
    pub(super) hash: Hash,
    /// Whether it hands the record over, signed by both keys.
    pub(super) is_handover: bool,
}

/// A line that is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotSaid {
    /// It has no end.
    Piece,
    Refused(Refused),
}

impl CheckpointFile {
    /// Reads a copy that was kept elsewhere, from a file or a pipe. Fails if there is no checkpoint in it: whoever names
    /// one wants the record to be held to it.
    pub fn kept(path: &Path) -> Result<Self, AuditError> {
        let file = Self::read(path)?;
        let is_none =
            |line: &Line| matches!(line, Err(NotSaid::Piece | NotSaid::Refused(Refused::NotACheckpoint)));
        if file.lines.iter().all(is_none) {
            let why = "no checkpoint is in it, which is a whole line with its newline";
            return Err(AuditError::Unfit { path: path.to_owned(), why });
        }
        Ok(file)
    }

    /// Reads a file, of whatever is in it.
    pub(super) fn read(path: &Path) -> Result<Self, AuditError> {
        let file = File::open(path).map_err(AuditError::io("open", path))?;
        let (mut input, mut line, mut lines) = (BufReader::new(file), Vec::new(), Vec::new());
        while read_line(&mut input, &mut line).map_err(AuditError::io("read", path))? > 0 {
            lines.push(Said::parse(&line));
        }
        Ok(Self { path: path.to_owned(), lines })
    }
}

impl Said {
    fn parse(line: &[u8]) -> Line {
        match Checkpoint::check(line) {
            Ok(checkpoint) => {
                let is_handover = checkpoint.next_key.is_some() && Checkpoint::check_handover(line).is_some();
                Ok(Self { checkpoint, hash: line_hash(line), is_handover })
            }
            Err(_) if !line.ends_with(b"\n") => Err(NotSaid::Piece),
            Err(refused) => Err(NotSaid::Refused(refused)),
        }
    }
}
