//! The placements.

pub mod process;
pub mod remote;
