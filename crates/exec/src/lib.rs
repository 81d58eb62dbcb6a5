//! The only place that starts a process, and the place that sees every process end.
//!
//! ```text
//!  Executor::run ──► a turn ──► a supervisor ──► the job ──► its descendants
//!   (server)         (limit)    (re-exec of us,   (main       (wherever they
//!                                subreaper, own    process)    fork to)
//!                                cgroup v2 leaf)
//! ```
//!
//! The server never forks a job itself. A *supervisor* does: a small process that starts one
//! job at a time, is the parent that every orphan of the job falls back to, and ends all of
//! them when the server says so or is gone. So a job can't outlive its deadline, its caller
//! or its server, however it forks. After a clean job the supervisor serves the next one.
//!
//! What this crate must not do: decide whether a command may run (that is policy), interpret
//! output, or read the server's own environment on behalf of a job.

mod assess;
mod cgroup;
mod containment;
mod conversation;
mod course;
mod environment;
mod error;
mod executor;
mod foreground;
mod job;
pub mod limits;
mod memory;
mod open_files;
mod output;
mod pool;
mod processes;
mod profile;
mod program;
mod quota;
mod spool;
mod stage;
mod supervise;
mod supervisor;
pub mod system;
mod wire;

pub use assess::{Assessment, Fence, Held, State};
pub use cgroup::{Bounds, Layout};
pub use containment::{Choice, Containment, End};
pub use conversation::Conversation;
pub use environment::inherited;
pub use error::ExecError;
pub use executor::{Config, Executor};
pub use foreground::edit;
pub use job::{Captured, Ending, Fate, Finished, Job, Survivor, Survivors};
pub use limits::Limits;
pub use memory::memory_bytes_max;
pub use open_files::raise_open_files;
pub use profile::{Confined, Network, Profile, User};
pub use quota::{Exhausted, Quota};
pub use spool::{Label, Leftover, Spool};
pub use supervise::supervise;
pub use supervisor::SupervisorCommand;
