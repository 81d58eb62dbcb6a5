//! Tickets: made by a call, found by their text alone, used up by a transfer that ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hayward_api::Code;
use hayward_tool::{Caller, Direction, Part, Received, TicketView, ToolError, TransferError};

use super::upload::Half;
use crate::fs::{AbsPath, Overwrite};
use crate::limits::{
    HALF_UPLOADS_EACH_MAX, HALF_UPLOADS_LOOK, HALF_UPLOADS_MAX, RESENT_BYTES_MIN, TICKET_BYTES,
    TICKET_REMEMBERED,
};

/// What a ticket is for.
pub(crate) struct Order {
    pub(crate) direction: Direction,
    pub(crate) path: AbsPath,
    /// The path as its maker wrote it.
    pub(crate) shown: String,
    pub(crate) caller: Caller,
    /// Bytes that an upload may have; those that a download has when it is ordered.
    pub(crate) bytes_max: u64,
    pub(crate) overwrite: Overwrite,
    /// What an upload has to be; what a download was.
    pub(crate) sha256: Option<[u8; 32]>,
    /// The version of the file that a digest was told of.
    pub(crate) version: Option<String>,
}

/// All tickets.
#[derive(Default)]
pub(crate) struct Tickets {
    entries: Mutex<HashMap<Arc<str>, Entry>>,
    /// Somebody looks after what broke off.
    has_keeper: AtomicBool,
}

struct Entry {
    order: Arc<Order>,
    expires: Instant,
    state: State,
}

enum State {
    /// It can be taken; what came of it so far is here.
    Ready(Progress),
    /// Somebody has it.
    Taken,
    /// It was used up.
    Used,
}

#[derive(Default)]
struct Progress {
    /// What has come of an upload.
    half: Option<Half>,
    /// Bytes of a download that were sent, those that were sent again counted.
    sent: u64,
    /// The version of the file of a download when it was first opened.
    version: Option<String>,
}

impl Tickets {
    /// Makes a ticket that is good for this long, if no more than so many are out.
    pub(crate) fn make(&self, order: Order, ttl: Duration, out_max: usize) -> Result<Arc<str>, ToolError> {
        let mut random = [0; TICKET_BYTES];
        getrandom::fill(&mut random)
            .map_err(|error| ToolError::internal(format!("no randomness for a ticket: {error}")))?;
        let ticket: Arc<str> = URL_SAFE_NO_PAD.encode(random).into();
        let mut entries = self.sweep();
        let of_caller = order.credential();
        let (mut out, mut theirs) = (0, 0);
        for entry in entries.values().filter(|entry| entry.is_out()) {
            out += 1;
            theirs += usize::from(entry.order.credential() == of_caller);
        }
        // Nobody takes the places of all others.
        if out >= out_max || theirs >= out_max.div_ceil(2) {
            let message = "as many tickets as may be are out already";
            return Err(ToolError::new("TooManyTickets", Code::RateLimited, message)
                .suggest("Use those that you have, or wait until they expire"));
        }
        if entries.len() >= 2 * out_max {
            // What is over is remembered for the sake of a better word only.
            entries.retain(|_, entry| entry.is_out());
        }
        let state = State::Ready(Progress::default());
        entries.insert(
            Arc::clone(&ticket),
            Entry { order: Arc::new(order), expires: Instant::now() + ttl, state },
        );
        Ok(ticket)
    }

    /// What its holder may know of it.
    pub(super) fn look(&self, ticket: &str) -> Result<TicketView, TransferError> {
        let entries = self.sweep();
        let entry = entries.get(ticket).ok_or(TransferError::TicketNotFound)?;
        let received = match &entry.state {
            State::Ready(_) if entry.is_over() => return Err(TransferError::TicketExpired),
            State::Ready(progress) => progress.half.as_ref().map_or(0, Half::bytes),
            State::Taken => return Err(TransferError::TicketInUse),
            State::Used => return Err(TransferError::TicketUsed),
        };
        let order = &entry.order;
        Ok(TicketView { direction: order.direction, received, bytes_max: order.bytes_max })
    }

    /// Takes it, for one transfer.
    pub(super) fn take(this: &Arc<Self>, ticket: &str, direction: Direction) -> Result<Taken, TransferError> {
        let mut entries = this.sweep();
        let (name, entry) = match entries.get_key_value(ticket) {
            Some((name, _)) => {
                (Arc::clone(name), entries.get_mut(ticket).ok_or(TransferError::TicketNotFound)?)
            }
            None => return Err(TransferError::TicketNotFound),
        };
        match entry.state {
            State::Taken => return Err(TransferError::TicketInUse),
            State::Used => return Err(TransferError::TicketUsed),
            State::Ready(_) => {}
        }
        if entry.is_over() {
            return Err(TransferError::TicketExpired);
        }
        if entry.order.direction != direction {
            return Err(TransferError::WrongMethod(entry.order.direction));
        }
        let State::Ready(progress) = std::mem::replace(&mut entry.state, State::Taken) else {
            return Err(TransferError::TicketUsed);
        };
        let order = Arc::clone(&entry.order);
        drop(entries);
        Ok(Taken { tickets: Arc::clone(this), ticket: name, order, progress, is_used_up: false })
    }

    /// Gives it back, or notes that it is used up.
    fn put_back(this: &Arc<Self>, ticket: &str, progress: Progress, is_used_up: bool) {
        let mut entries = this.lock();
        let Some(entry) = entries.get(ticket) else { return };
        let credential = entry.order.credential().to_owned();
        let is_half = progress.half.is_some() && !is_used_up;
        let dropped = if is_half { make_room(&mut entries, &credential) } else { Room::Enough };
        let has_room = !matches!(dropped, Room::None);
        if let Some(entry) = entries.get_mut(ticket) {
            let can_go_on = !is_used_up && (has_room || !is_half);
            entry.state = if can_go_on { State::Ready(progress) } else { State::Used };
        }
        // What goes may be large, and takes its time.
        drop(entries);
        drop(dropped);
        if is_half {
            keep(this);
        }
    }

    /// Without what is long over. What expired is remembered for a while, so that its holder is told so.
    fn sweep(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        let (mut entries, now) = (self.lock(), Instant::now());
        entries.retain(|_, entry| now < entry.expires + TICKET_REMEMBERED);
        entries
    }

    /// Takes the halves of what is over: bytes that nobody can add to any more take up the disk. Says whether others
    /// are left.
    fn take_over(&self) -> (Vec<Half>, bool) {
        let (mut over, mut is_any_left) = (Vec::new(), false);
        for entry in self.lock().values_mut() {
            let is_over = entry.is_over();
            if let State::Ready(progress) = &mut entry.state {
                if is_over {
                    over.extend(progress.half.take());
                }
                is_any_left |= progress.half.is_some();
            }
        }
        (over, is_any_left)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        // Every change is one step, so a panic leaves nothing half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one more upload that broke off can be kept.
enum Room {
    Enough,
    /// Of this one of the same caller, nothing is left.
    Made(#[expect(dead_code, reason = "it is there to be dropped")] Option<Half>),
    None,
}

/// Makes room among those of this caller, who has no more than a share.
fn make_room(entries: &mut HashMap<Arc<str>, Entry>, credential: &str) -> Room {
    let all = entries.values().filter(|entry| entry.is_half()).count();
    let mut theirs: Vec<&mut Entry> = entries
        .values_mut()
        .filter(|entry| entry.is_half() && entry.order.credential() == credential)
        .collect();
    if all < HALF_UPLOADS_MAX && theirs.len() < HALF_UPLOADS_EACH_MAX {
        return Room::Enough;
    }
    theirs.sort_by_key(|entry| entry.expires);
    match theirs.into_iter().next() {
        Some(oldest) => match std::mem::replace(&mut oldest.state, State::Used) {
            State::Ready(progress) => Room::Made(progress.half),
            State::Taken | State::Used => Room::None,
        },
        None => Room::None,
    }
}

/// Frees what halves of uploads take up when their tickets are over, also if nobody asks for a ticket then. One task at
/// most, which ends when there are none.
fn keep(tickets: &Arc<Tickets>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if tickets.has_keeper.swap(true, Ordering::Relaxed) {
        return;
    }
    let tickets = Arc::downgrade(tickets);
    runtime.spawn(async move {
        loop {
            tokio::time::sleep(HALF_UPLOADS_LOOK).await;
            let Some(tickets) = tickets.upgrade() else { return };
            let (over, is_any_left) = tickets.take_over();
            tokio::task::spawn_blocking(move || drop(over)).await.ok();
            if !is_any_left {
                tickets.has_keeper.store(false, Ordering::Relaxed);
                // Who came between the look and this is looked after by the next one that breaks off, or expires unseen.
                if !tickets.take_over().1 || tickets.has_keeper.swap(true, Ordering::Relaxed) {
                    return;
                }
            }
        }
    });
}

impl Order {
    /// Who made it.
    fn credential(&self) -> &str {
        &self.caller.principal.credential
    }
}

impl Entry {
    fn is_over(&self) -> bool {
        Instant::now() >= self.expires
    }

    /// Whether it is good for something.
    fn is_out(&self) -> bool {
        !matches!(self.state, State::Used) && !self.is_over()
    }

    fn is_half(&self) -> bool {
        matches!(&self.state, State::Ready(Progress { half: Some(_), .. }))
    }
}

/// A ticket that somebody has. Goes back when this is dropped.
pub(super) struct Taken {
    tickets: Arc<Tickets>,
    ticket: Arc<str>,
    pub(super) order: Arc<Order>,
    progress: Progress,
    is_used_up: bool,
}

impl Taken {
    /// Bytes of the upload that have come so far.
    pub(super) fn received(&self) -> u64 {
        self.progress.half.as_ref().map_or(0, Half::bytes)
    }

    /// What a part of an upload goes on with: nothing, if it begins anew.
    pub(super) fn half(&mut self, part: Part) -> Result<Option<Half>, TransferError> {
        let received = self.received();
        let bytes_max = self.order.bytes_max;
        if part.total.or(part.bytes).is_some_and(|bytes| bytes > bytes_max) {
            self.is_used_up = true;
            return Err(TransferError::SizeExceeded { bytes_max });
        }
        if part.offset != 0 && part.offset != received {
            return Err(TransferError::OffsetMismatch { received });
        }
        Ok(self.progress.half.take().filter(|_| part.offset != 0))
    }

    /// Notes the version of the file of a download: a ticket serves one.
    pub(super) fn is_same(&mut self, version: &str) -> bool {
        self.progress.version.get_or_insert_with(|| version.to_owned()) == version
    }

    /// Nobody knows what has become of the transfer: its ticket is good for nothing more.
    pub(super) fn is_lost(&mut self) {
        self.is_used_up = true;
    }

    /// What a part of an upload has left.
    pub(super) fn has_received(&mut self, half: Option<Half>, ended: &Result<Received, TransferError>) {
        self.progress.half = half;
        self.is_used_up = match ended {
            Ok(received) => received.is_whole,
            Err(TransferError::StreamAborted { .. } | TransferError::BadLength { .. }) => false,
            Err(_) => true,
        };
    }

    /// Counts bytes of a download before they are sent: its ticket is no way to fetch a file time and again.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), TransferError> {
        let allowed = self.order.bytes_max.saturating_mul(2).max(RESENT_BYTES_MIN);
        self.progress.sent = self.progress.sent.saturating_add(bytes);
        if self.progress.sent > allowed.max(bytes) {
            self.is_used_up = true;
            return Err(TransferError::TicketUsed);
        }
        Ok(())
    }

    /// What a part of a download has left.
    pub(super) fn has_sent(&mut self, ended: &Result<bool, TransferError>) {
        self.is_used_up = match ended {
            Ok(is_end) => *is_end,
            Err(TransferError::StreamAborted { .. }) => false,
            Err(_) => true,
        };
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let progress = std::mem::take(&mut self.progress);
        Tickets::put_back(&self.tickets, &self.ticket, progress, self.is_used_up);
    }
}
