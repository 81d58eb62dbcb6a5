//! The record: an intent before every effect, an outcome before every reply.
//!
//! A call that can't be recorded is refused, so this crate fails closed: after the first write or
//! sync that fails it takes nothing more until it is reopened. What is written survives the death
//! of the process at once, and the death of the machine within [`limits::SYNC_WITHIN`].
//!
//! One line of JSON per record, in `record.jsonl`, and in older files `record.1.jsonl`, …:
//!
//! | `type` | says |
//! |---|---|
//! | `mark` | which intents were open here; stands at the start of each file and every so often |
//! | `intent` | who is about to do what, with which arguments |
//! | `outcome` | how the intent of that number ended |
//! | `denied` | what was asked for and refused, intent and outcome in one |
//!
//! Nothing here decides what is recorded, and no secret comes this far: arguments enter through
//! [`redact`] only.

mod error;
mod file;
pub mod limits;
mod log;
mod reader;
mod record;
mod recovery;
pub mod redact;
mod syncer;

pub use error::AuditError;
pub use log::{Log, LogConfig, Seq, Sync};
pub use reader::{Line, Record, Records, read_records};
pub use record::{Intent, Outcome, RecordKind};
pub use redact::Redacted;
