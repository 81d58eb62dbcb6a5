//! The real binary under faults that are really injected, and what has to hold afterwards.
//!
//! ```text
//!  script (a mix of calls) ─► play (clients) ─► daemon ◄── fault: strace, a power cut, a full disk
//!                               │                 │
//!                    history of replies        record, world, tokens
//!                               └──────► check ◄──┘   after a restart, offline
//! ```
//!
//! None of our crates is used: what the record says is read from its lines, and what a client gets
//! from the bytes of its answer. What can't be injected here is said, never passed over.

pub mod check;
pub mod clock;
pub mod daemon;
pub mod fault;
pub mod history;
pub mod house;
pub mod http;
pub mod kill;
pub mod memory;
pub mod namespace;
pub mod open_files;
pub mod play;
pub mod power;
pub mod programs;
pub mod random;
pub mod record;
pub mod rotation;
pub mod script;
pub mod strace;
pub mod tally;
pub mod world;

pub use house::Subject;
pub use tally::Tally;
