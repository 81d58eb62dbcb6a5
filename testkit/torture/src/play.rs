//! Clients: each sends its calls one after the other, all clients at once.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Result;

use crate::history::{Entry, Promise};
use crate::http::{self, Answer, NoAnswer};
use crate::script::{Call, Deed};
use crate::world::{self, World};

/// A token of nobody's.
const NOBODY: &str = "hwd_rw_AAAAAAAAAAAAxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// Tokens that calls are made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Makes and revokes tokens.
    pub admin: String,
    /// May change the world.
    pub rw: String,
    /// May read.
    pub ro: String,
}

/// A daemon, and who calls it.
#[derive(Clone, Debug)]
pub struct Client<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// The tokens.
    pub credentials: &'a Credentials,
    /// Where calls leave something.
    pub world: &'a World,
    /// Which of its lives.
    pub life: usize,
}

impl Client<'_> {
    /// Plays all tracks at once, until nobody listens any more; in the order of the tracks.
    pub fn play(&self, tracks: &[Vec<Call>]) -> Result<Vec<Entry>> {
        for call in tracks.iter().flatten() {
            self.prepare(call)?;
        }
        let play = |track: &[Call]| {
            let mut entries = Vec::new();
            for call in track {
                let entry = self.send(call);
                let was_sent = entry.was_sent();
                entries.push(entry);
                if !was_sent {
                    break;
                }
            }
            entries
        };
        let played = std::thread::scope(|scope| {
            let clients: Vec<_> = tracks.iter().map(|track| scope.spawn(move || play(track))).collect();
            clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        Ok(played.into_iter().flat_map(|entries| entries.expect("a client doesn't panic")).collect())
    }

    /// What has to be there before the call.
    pub fn prepare(&self, call: &Call) -> Result<()> {
        match call.deed {
            Deed::Edit => world::prepare(&self.world.edited(&call.marker)),
            Deed::Read => world::prepare(&self.world.read(&call.marker)),
            _ => Ok(()),
        }
    }

    /// Sends one call and waits for its end.
    pub fn send(&self, call: &Call) -> Entry {
        let reply = self.ask(call);
        Entry { call: call.clone(), life: self.life, ended: Instant::now(), reply, promise: Promise::ALL }
    }

    fn ask(&self, call: &Call) -> Result<Answer, NoAnswer> {
        let Credentials { admin, rw, ro } = self.credentials;
        let arguments = call.arguments(self.world);
        match call.deed {
            Deed::Create => {
                http::send(self.address, ("POST", "/admin/tokens"), admin, &arguments.to_string())
            }
            Deed::Declare => {
                http::send(self.address, ("POST", "/api/v1/apply"), admin, &arguments.to_string())
            }
            Deed::Revoke => {
                let path = format!("/admin/tokens/{}", call.marker);
                http::send(self.address, ("DELETE", &path), admin, "")
            }
            deed => {
                let token = match deed {
                    Deed::Denied | Deed::Read => ro,
                    Deed::Stranger => NOBODY,
                    _ => rw,
                };
                let params = serde_json::json!({"name": call.tool(), "arguments": arguments});
                http::ask(self.address, token, "tools/call", &params)
            }
        }
    }
}
