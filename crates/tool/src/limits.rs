//! Limits of the contract between gateway and toolsets.

hayward_api::limits! {
    /// Limits of the contract.
    pub struct Limits("tool") {
        /// Bytes that one result may hold; a larger one becomes an error that says so.
        result_bytes_max: Bytes = 33_554_432 in 65_536..=268_435_456,
    }
}

/// Progress messages that may wait for a slow reader before new ones are dropped.
pub const PROGRESS_QUEUE: usize = 64;

/// Changes that may wait for a slow listener before it is told that it missed some.
pub const CHANGES_QUEUE: usize = 256;

/// Suggestions that a completion may hold (2025-11-25, server/utilities/completion).
pub const COMPLETIONS_MAX: usize = 100;
