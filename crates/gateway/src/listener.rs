//! Listeners: bytes in, bytes out, bounded on every side.

mod accept;
mod admin;
mod answer;
mod body;
mod client;
mod files;
mod guard;
pub mod http;
mod mcp;
mod pace;
mod places;
mod sse;
mod stall;
mod stdio;
mod threads;

pub use accept::serve;
pub use guard::Guard;
pub use http::{App, ROUTES, router};
pub use pace::Pace;
pub use sse::OldClients;
pub use stdio::{Local, serve_stdio};
pub use threads::Threads;
