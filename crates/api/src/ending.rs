//! How a call ended, in a word.

use serde::{Deserialize, Serialize};

/// The words for how a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It did what was asked.
    Ok,
    /// It ran and failed.
    Error,
    /// It was refused and had no effect.
    Denied,
    /// It was cancelled; part of it may have happened.
    Cancelled,
    /// Its time was over; part of it may have happened.
    Timeout,
    /// Nobody knows, because the process ended before the outcome was recorded.
    Unknown,
}
