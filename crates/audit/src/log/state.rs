//! What is behind the lock: the file in use, the numbers, and which intents are open.

use std::io::{BufReader, Seek as _};
use std::time::Instant;

use crate::checkpoint::Checkpoint;
use crate::clock::ClockWatch;
use crate::error::AuditError;
use crate::file::RecordFile;
use crate::folder::Folder;
use crate::hex::NodeId;
use crate::keys::{Identity, Keys};
use crate::reader::{Head, read_line};
use crate::record::{
    Began, Draft, End, LEFT_OPEN, LEFT_OPEN_MESSAGE, MarkBody, Outcome, OutcomeBody, RecordKind,
};
use crate::recovery::{self, Found};
use crate::retention::Aside;

use super::failure::{Failure, Footing};
use super::queue::Entry;
use super::start::{self, Own, Start};
use super::{LogConfig, Sync};

/// Lines at the start of a file of which one must be a record.
const FIRST_LINES: usize = 16;

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) file: RecordFile,
    /// Why nothing is written at the moment.
    pub(crate) failure: Option<Failure>,
    /// How often a file was lost to a failure.
    pub(crate) losses: u64,
    /// When to try again to put a full file aside, if that failed.
    pub(crate) rotate_at: Option<Instant>,
    /// When it was last said that files are deleted before their time, or may have to be.
    pub(crate) warned_at: Option<Instant>,
    /// The last record that is on the disk with all before it, but for those that a mark names as unsynced.
    pub(crate) synced: Option<End>,
    /// The oldest record that is kept.
    pub(crate) kept_from: u64,
    /// Sees when the wall clock is set.
    pub(crate) clock: ClockWatch,
    /// The last record.
    end: End,
    /// Where in the file the last mark is.
    marked_at: u64,
    boot_id: String,
    /// The line that is being built; kept for its memory.
    line: Vec<u8>,
}

/// The next file, with the first record in it.
pub(crate) struct Begun {
    pub(crate) file: RecordFile,
    pub(super) end: End,
}

impl State {
    /// Opens the file in use and carries on where its last writer ended. Says who we are from now on if that is to be
    /// kept: when what was written here is on the disk and signed.
    pub(crate) fn open(
        folder: &Folder,
        config: &LogConfig,
        signed: Option<&Checkpoint>,
    ) -> Result<(Self, Option<Identity>), AuditError> {
        let (sync, keys) = (config.sync, config.keys.as_deref());
        folder.discard_next();
        let mut file = folder.current()?;
        let is_new = file.size == 0;
        let found = last_state(folder, &file, signed)?;
        let (start, fresh) = start(&found, keys, signed)?;
        tell(&start);
        if !file.ends_with_newline().map_err(AuditError::io("read", &file.path))? {
            file.append(b"\n")?;
        }
        let mut state = Self::new(file, start.end);
        state.synced = signed.map(Checkpoint::end);
        state.kept_from =
            first_kept(folder, &state.file)?.map_or(start.end.seq.saturating_add(1), |head| head.seq);
        state.mark(MarkBody {
            chain: start.chain,
            recovered: start.recovered,
            torn_bytes: found.torn.map_or(0, |(bytes, _)| bytes),
            torn_sha256: found.torn.map(|(_, hash)| hash),
            open: found.open.iter().copied().collect(),
            ..MarkBody::default()
        })?;
        for intent in &found.open {
            let said = config.left.get(intent).map(|left| format!("{LEFT_OPEN_MESSAGE}; {left}"));
            let outcome = Outcome { message: said.as_deref().or(LEFT_OPEN.message), ..LEFT_OPEN };
            state.append(&Draft::new(RecordKind::Outcome, &OutcomeBody::new(*intent, &outcome)))?;
        }
        if sync == Sync::Each {
            state.file.sync()?;
        }
        if is_new && sync != Sync::Off {
            folder.sync()?;
        }
        Ok((state, fresh))
    }

    fn new(file: RecordFile, end: End) -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            file,
            failure: None,
            losses: 0,
            rotate_at: None,
            warned_at: None,
            synced: None,
            kept_from: 0,
            clock: ClockWatch::start(),
            end,
            marked_at: 0,
            boot_id: boot_id.trim().to_owned(),
            line: Vec::new(),
        }
    }

    /// Carries all to the disk. What fails to be is not carried by another try: whoever calls this has to see to it that the
    /// file is not used any more.
    pub(super) fn carry(&mut self) -> Result<(), AuditError> {
        self.file.sync()?;
        self.synced = Some(self.end());
        Ok(())
    }

    /// The last record.
    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Whether the file in use can't be trusted any more, and no fresh one works yet.
    pub(crate) fn has_lost_its_file(&self) -> bool {
        self.failure.is_some_and(|failure| failure.footing == Footing::FreshFile)
    }

    pub(crate) fn append(&mut self, draft: &Draft) -> Result<(), AuditError> {
        let mut end = self.end;
        self.line.clear();
        draft.write_line(&mut self.line, &mut end);
        self.file.append(&self.line)?;
        self.end = end;
        Ok(())
    }

    /// Appends these records in one write, and returns the number of the first.
    pub(super) fn append_all(&mut self, entries: &[Entry]) -> Result<u64, AuditError> {
        let (first, mut end) = (self.end.seq.saturating_add(1), self.end);
        self.line.clear();
        for entry in entries {
            entry.draft.write_line(&mut self.line, &mut end);
        }
        self.file.append(&self.line)?;
        self.end = end;
        Ok(first)
    }

    /// Bytes since the last mark.
    pub(crate) fn unmarked(&self) -> u64 {
        self.file.size - self.marked_at
    }

    pub(crate) fn mark(&mut self, body: MarkBody) -> Result<(), AuditError> {
        self.marked_at = self.file.size;
        let draft = self.draft_mark(body);
        self.append(&draft)
    }

    fn draft_mark(&self, body: MarkBody) -> Draft {
        let (boot_id, kept_from) = (self.boot_id.clone(), self.kept_from);
        Draft::new(RecordKind::Mark, &MarkBody { boot_id, pid: std::process::id(), kept_from, ..body })
    }

    /// Makes the next file fit for use: with a mark, and on the disk if this is to be synced. The
    /// number of that mark is taken only when the file is.
    pub(crate) fn begin(
        &mut self,
        mut file: RecordFile,
        sync: Sync,
        reopened_after: Option<&'static str>,
        open: Vec<u64>,
    ) -> Result<Begun, AuditError> {
        file.reserve()?;
        // After a failure nobody knows what of the file before is on the disk.
        let unsynced_from =
            reopened_after.map(|_| self.synced.map_or(1, |synced| synced.seq.saturating_add(1)));
        let draft = self.draft_mark(MarkBody { reopened_after, unsynced_from, open, ..MarkBody::default() });
        let mut end = self.end;
        self.line.clear();
        draft.write_line(&mut self.line, &mut end);
        file.append(&self.line)?;
        if sync != Sync::Off {
            file.sync()?;
        }
        Ok(Begun { file, end })
    }

    /// Goes on in the file that was begun.
    pub(crate) fn adopt(&mut self, begun: Begun, sync: Sync) {
        self.file = begun.file;
        self.end = begun.end;
        self.marked_at = 0;
        if sync != Sync::Off {
            self.synced = Some(self.end);
        }
    }
}

/// Tells the log how the last writer ended, if not in peace.
fn tell(start: &Start) {
    match start.chain {
        Some(chain @ (Began::Damaged | Began::Lost)) => tracing::error!(
            ?chain,
            hint = "keep a copy as it is, and run `hayward audit verify`",
            "records that were signed are damaged or gone: the record goes on as another chain"
        ),
        Some(chain) => tracing::info!(?chain, "the record begins another chain"),
        None => {}
    }
    if let Some(seq) = start.recovered {
        tracing::warn!(seq, "the last process ended without a clean end: the record goes on after this one");
    }
}

/// Where to go on, as which node; and that node, if it is another one or has another chain than before.
fn start(
    found: &Found,
    keys: Option<&Keys>,
    signed: Option<&Checkpoint>,
) -> Result<(Start, Option<Identity>), AuditError> {
    let Some(keys) = keys else {
        let (node, epoch) = found.end.map_or((NodeId::ZERO, 0), |end| (end.node, end.epoch));
        return Ok((start::decide(found, signed, Own { node, epoch, moved_to: None }), None));
    };
    let (identity, is_moved) = keys.identity()?;
    let fresh = keys.fresh_identity();
    let moved_to = is_moved.then_some(fresh.node);
    let start = start::decide(found, signed, Own { node: identity.node, epoch: identity.epoch, moved_to });
    let kept = Identity { node: start.end.node, epoch: start.end.epoch, ..fresh };
    Ok((start, Some(kept).filter(|kept| *kept != identity)))
}

/// What the last writer left: in the file in use, or in the last ones before it.
fn last_state(folder: &Folder, file: &RecordFile, signed: Option<&Checkpoint>) -> Result<Found, AuditError> {
    let current = file.file.try_clone();
    let aside = folder.aside()?;
    let older =
        aside.iter().rev().map(|aside| folder.open_aside(aside.number).map_err(std::io::Error::other));
    recovery::scan(std::iter::once(current).chain(older), signed)
        .map_err(AuditError::io("read the end of", &folder.path))
}

/// The first record that is kept.
fn first_kept(folder: &Folder, current: &RecordFile) -> Result<Option<Head>, AuditError> {
    for Aside { number, .. } in folder.aside()? {
        if let Some(head) = first_of(&folder.open_aside(number)?) {
            return Ok(Some(head));
        }
    }
    Ok(first_of(&current.file))
}

/// The first record of a file.
pub(super) fn first_of(mut file: &std::fs::File) -> Option<Head> {
    file.rewind().ok()?;
    let (mut input, mut line) = (BufReader::new(file), Vec::new());
    (0..FIRST_LINES).find_map(|_| {
        read_line(&mut input, &mut line).ok()?;
        Head::parse(line.strip_suffix(b"\n")?)
    })
}
