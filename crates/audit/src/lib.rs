//! The record: an intent before every effect, an outcome before every reply.
//!
//! A call that can't be recorded is refused, so this crate fails closed: after a write or a sync
//! that fails it takes nothing, and tries again at most every [`limits::RETRY_AFTER`] until the
//! cause is gone. What is written survives the death of the process at once, and the death of the
//! machine when the sync that begins [`limits::SYNC_DELAY`] later is through.
//!
//! One line of JSON per record, in `record.jsonl`, and in older files `record.1.jsonl`, …:
//!
//! | `type` | says |
//! |---|---|
//! | `mark` | which intents are open here; stands at the start of each file, every so often, and where the wall clock was set |
//! | `intent` | who is about to do what, with which arguments |
//! | `outcome` | how the intent of that number ended |
//! | `denied` | what was asked for and refused, intent and outcome in one |
//!
//! Each record names the hash of the one before (`prev`) and its own (`hash`, over the bytes of the line before that
//! member), across files and restarts: one chain per `node` and `epoch`. What is on the disk is signed now and then
//! ([`Checkpoint`]), and [`verify`] checks all of it, offline. Where a chain can't be whole through no fault of anybody, a
//! mark says so in the chain itself, with the hash of whatever it explains; `docs/guides/record.md` has the table.
//!
//! `seq` is the order of the records. `time` and `mono_ns` are taken a little earlier, before the
//! record waits for its turn, so that of two records written at once the later may be the older.
//!
//! After a failure the record goes on with a mark whose `reopened_after` names the step that
//! failed; calls that ran meanwhile keep their intents, and those that ended meanwhile have the
//! outcome `unknown`. When the disk was full, it goes on in the same file. After anything else, a
//! failed sync above all, the file is put aside and never written again, since what the kernel
//! couldn't carry to the disk may be gone from its cache too: what stands before such a mark may
//! be incomplete after a power loss. The chain goes on from the last record that was written, not from the last that was
//! synced, since calls were told that it is recorded; the last synced one is signed first, and the mark names
//! the first that may be missing (`unsynced_from`).
//!
//! A full file is put aside; if that fails (no descriptor, no room), the old one is written on and
//! it is tried again. Files put aside are deleted, oldest first, only if there are more than
//! `audit.files_kept` *and* they are older than `audit.files_kept_ms_min`, so that nobody can wash
//! the record away by filling it; or if all of them together exceed `audit.files_kept_bytes_max`,
//! which the log warns of. With keys, a file goes only if a checkpoint vouches for where the rest begins, and after one has
//! said that it may be gone. What one call can write is bounded by [`limits::ARGUMENTS_BYTES`], and
//! by [`limits::DENIED_ARGUMENTS_BYTES`] if it is refused.
//!
//! Nothing here decides what is recorded, and no secret comes this far: arguments enter through
//! [`redact`] only.

mod calls;
mod checkpoint;
mod clock;
mod error;
mod escape;
mod export;
mod file;
mod files;
mod folder;
mod follow;
mod hex;
mod keys;
pub mod limits;
mod log;
mod mask;
mod mirror;
mod reader;
mod record;
mod recovery;
pub mod redact;
mod retention;
mod seal;
pub mod secrets;
mod syncer;
mod verify;
mod walk;

pub use calls::{Call, Calls, Filter};
pub use checkpoint::{CHECKPOINTS, Checkpoint, newest_checkpoint};
pub use error::AuditError;
pub use escape::{escaped, is_control};
pub use export::{PUBLIC_KEY, export};
pub use files::record_files;
pub use follow::Follow;
pub use hex::{Hash, Hex, NodeId, NotHex};
pub use keys::{Keys, NoPublicKey, PublicKey};
pub use log::{Log, LogConfig, Prune, Queued, Seq, Sync};
pub use mirror::Mirror;
pub use reader::{Line, Record, Records, read_records};
pub use record::{Began, Intent, Moved, Outcome, PartOf, Reached, RecordKind, Sent};
pub use redact::Redacted;
pub use verify::{CheckpointFile, Evidence, Finding, Note, Report, verify};
