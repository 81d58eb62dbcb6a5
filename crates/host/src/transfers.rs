//! Transfers: bytes of files that go past the calls, under tickets that `prepare_upload` and `prepare_download` make.
//!
//! A ticket is good for one file, in one direction, until it expires, for whoever has it; it does what its maker may
//! do, and what that is, is looked at again when it is redeemed. A transfer that breaks off leaves its ticket where it
//! was, so that it can go on from there; one that has come to its end, or was refused for what it carries, uses it up.

mod download;
mod mint;
mod tickets;
mod upload;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hayward_api::Principal;
use hayward_tool::{
    BoxFuture, Caller, Claim, Cx, Direction, Incoming, Part, Received, Source, TicketView, ToolError,
    TransferError, Transfers,
};
use tokio::sync::mpsc;

use crate::fs::{Fs, FsError};
use crate::host::Host;
use crate::limits::{Limits, size};
use crate::threads::Threads;
pub(crate) use download::{digest, find};
pub(crate) use mint::{Minted, lifetime, mint, switched_off};
use tickets::Taken;
pub(crate) use tickets::{Order, Tickets};

/// Where clients send and fetch bytes.
#[derive(Clone, Debug, Default)]
pub struct TransferConfig {
    /// The address that every client reaches this server under, without `/` at its end; none if nobody has said.
    pub public_url: Option<String>,
    /// The address that clients on this machine reach it under, for examples.
    pub local_url: Option<String>,
}

/// What all transfers share.
pub(crate) struct Desk {
    pub(crate) config: TransferConfig,
    pub(crate) tickets: Arc<Tickets>,
    /// Tickets that may be out at once.
    tickets_max: usize,
    places: Arc<Places>,
    /// Of their own, so that slow peers hold up no file tool.
    threads: Threads,
}

impl Desk {
    pub(crate) fn new(config: TransferConfig, limits: &Limits) -> Self {
        let places = size(limits.transfers_max);
        Self {
            config,
            tickets: Arc::default(),
            tickets_max: size(limits.transfer_tickets_max),
            places: Arc::new(Places {
                each_max: places.div_ceil(2),
                all_max: places,
                taken: Mutex::default(),
            }),
            threads: Threads::new(places),
        }
    }

    /// The same desk with these addresses, under these limits.
    pub(crate) fn under(&self, config: TransferConfig, limits: &Limits) -> Self {
        Self {
            config,
            tickets: Arc::clone(&self.tickets),
            tickets_max: size(limits.transfer_tickets_max),
            places: Arc::clone(&self.places),
            threads: self.threads.clone(),
        }
    }
}

/// Transfers under way: so many, and of one credential half of them.
struct Places {
    all_max: usize,
    each_max: usize,
    taken: Mutex<HashMap<String, usize>>,
}

/// The place of one transfer; free again when this is dropped.
struct Place {
    places: Arc<Places>,
    credential: String,
}

impl Places {
    fn enter(this: &Arc<Self>, credential: &str) -> Option<Place> {
        let mut taken = this.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let theirs = taken.get(credential).copied().unwrap_or_default();
        if all >= this.all_max || theirs >= this.each_max {
            return None;
        }
        taken.insert(credential.to_owned(), theirs + 1);
        Some(Place { places: Arc::clone(this), credential: credential.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(theirs) = taken.get_mut(&self.credential) {
            *theirs -= 1;
        }
        taken.retain(|_, theirs| *theirs > 0);
    }
}

/// Redeems the tickets of a host.
pub struct HostTransfers(Arc<Host>);

impl HostTransfers {
    /// Those of this host.
    pub fn new(host: Arc<Host>) -> Self {
        Self(host)
    }

    fn desk(&self) -> Result<&Desk, TransferError> {
        self.0.desk.as_ref().ok_or(TransferError::Disabled)
    }
}

impl Transfers for HostTransfers {
    fn look(&self, ticket: &str) -> Result<TicketView, TransferError> {
        self.desk()?.tickets.look(ticket)
    }

    fn claim(&self, ticket: &str, direction: Direction) -> Result<Box<dyn Claim>, TransferError> {
        let desk = self.desk()?;
        let taken = Tickets::take(&desk.tickets, ticket, direction)?;
        let transfers_max = self.0.limits.transfers_max;
        // Without a place, the ticket goes back.
        let caller = taken.order.caller.clone();
        let place = Places::enter(&desk.places, &caller.principal.credential)
            .ok_or(TransferError::Busy { transfers_max })?;
        Ok(Box::new(Redemption { host: Arc::clone(&self.0), caller, taken, file: None, _place: place }))
    }
}

/// A ticket that is being redeemed.
struct Redemption {
    host: Arc<Host>,
    caller: Caller,
    taken: Taken,
    /// The file of a download, once it is open.
    file: Option<Arc<std::fs::File>>,
    _place: Place,
}

impl Redemption {
    /// Runs blocking work on the files that the maker of the ticket reaches.
    async fn on_files<T, F>(&self, cx: &Cx, work: F) -> Result<T, TransferError>
    where
        T: Send + 'static,
        F: FnOnce(&Fs, &Cx) -> Result<T, TransferError> + Send + 'static,
    {
        let desk = self.host.desk.as_ref().ok_or(TransferError::Disabled)?;
        let (fs, principal) = (self.host.fs.clone(), Arc::clone(&self.caller.principal));
        let work = move |cx: &Cx| {
            let reached = fs.reaching(&principal.fence).map_err(refused);
            Ok(reached.and_then(|fs| work(&fs, cx)))
        };
        match desk.threads.run(cx, work).await {
            Ok(done) => done,
            // It was told to stop, and didn't answer.
            Err(_) if cx.stop().is_some() => Err(TransferError::StreamAborted { bytes: 0 }),
            Err(error) => Err(error.into()),
        }
    }
}

impl Claim for Redemption {
    fn principal(&self) -> &Arc<Principal> {
        &self.caller.principal
    }

    fn path(&self) -> &str {
        &self.taken.order.shown
    }

    fn received(&self) -> u64 {
        self.taken.received()
    }

    fn sha256(&self) -> Option<[u8; 32]> {
        self.taken.order.sha256
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.host.limits.transfer_timeout_ms)
    }

    fn open<'a>(&'a mut self, cx: &'a Cx) -> BoxFuture<'a, Result<Source, TransferError>> {
        Box::pin(async move {
            let order = Arc::clone(&self.taken.order);
            let (file, source) = self.on_files(cx, move |fs, _| download::open(fs, &order)).await?;
            if !self.taken.is_same(&source.version) {
                return Err(TransferError::FileChanged);
            }
            self.file = Some(Arc::new(file));
            Ok(source)
        })
    }

    fn spend(&mut self, bytes: u64) -> Result<(), TransferError> {
        self.taken.spend(bytes)
    }

    fn send<'a>(
        &'a mut self,
        cx: &'a Cx,
        range: std::ops::Range<u64>,
        chunks: mpsc::Sender<Bytes>,
    ) -> BoxFuture<'a, Result<bool, TransferError>> {
        Box::pin(async move {
            let Some(file) = self.file.clone() else { return Err(TransferError::FileChanged) };
            let work = move |_: &Fs, cx: &Cx| download::send(&file, range, &chunks, cx);
            let ended = self.on_files(cx, work).await;
            self.taken.has_sent(&ended);
            ended
        })
    }

    fn receive<'a>(
        &'a mut self,
        cx: &'a Cx,
        part: Part,
        chunks: mpsc::Receiver<Incoming>,
    ) -> BoxFuture<'a, Result<Received, TransferError>> {
        Box::pin(async move {
            let order = Arc::clone(&self.taken.order);
            let half = self.taken.half(part)?;
            // What it leaves comes back also when it fails.
            let work = move |fs: &Fs, cx: &Cx| Ok(upload::receive(fs, cx, &order, (half, part), chunks));
            match self.on_files(cx, work).await {
                Ok((half, ended)) => {
                    self.taken.has_received(half, &ended);
                    ended
                }
                Err(error) => {
                    self.taken.is_lost();
                    Err(error)
                }
            }
        })
    }
}

/// Why a path can't be transferred to or from.
fn refused(error: FsError) -> TransferError {
    let what = error.to_string();
    match error {
        FsError::Protected { .. }
        | FsError::Outside { .. }
        | FsError::ReadOnlyRoot { .. }
        | FsError::OtherUser { .. } => TransferError::PathProtected { what },
        FsError::NotFound { .. }
        | FsError::IsDirectory { .. }
        | FsError::NotRegular { .. }
        | FsError::NotADirectory { .. } => TransferError::PathNotFound { what },
        FsError::Exists { .. } => TransferError::FileExists,
        FsError::Stopped { .. } => TransferError::StreamAborted { bytes: 0 },
        error => TransferError::Refused(Box::new(ToolError::from(error))),
    }
}

/// The same where bytes are written: what the machine refuses is told as that.
fn not_written(error: FsError) -> TransferError {
    match refused(error) {
        TransferError::Refused(error) => TransferError::WriteFailed { what: error.message },
        TransferError::PathNotFound { what } => TransferError::WriteFailed { what },
        other => other,
    }
}

/// The same where bytes are read.
fn not_read(error: FsError) -> TransferError {
    match refused(error) {
        TransferError::Refused(error) => TransferError::ReadFailed { what: error.message },
        other => other,
    }
}
