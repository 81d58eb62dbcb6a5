//! The placements.

pub mod docker;
pub mod process;
pub mod remote;
