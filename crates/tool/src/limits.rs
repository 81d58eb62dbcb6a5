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
