//! Listeners: bytes in, bytes out, bounded on every side.

mod accept;
mod addresses;
mod admin;
mod answer;
mod body;
mod client;
mod door;
mod files;
mod guard;
pub mod http;
pub mod management;
mod mcp;
mod metrics;
mod pace;
mod places;
mod proxies;
mod sse;
mod stall;
mod stdio;
mod threads;
mod tls;

pub use accept::{Front, serve};
pub use door::Door;
pub use files::ranges;
pub use guard::Guard;
pub use http::{App, ROUTES, router};
pub(crate) use http::{closed, is_caller};
pub use pace::Pace;
pub use proxies::{Forwarded, Proxies, Trusted};
pub use sse::OldClients;
pub use stdio::{InForce, Local, serve_stdio};
pub use threads::Threads;
pub use tls::{Tls, TlsFault, TlsFiles};
