//! Following changes, from a revision on.
//!
//! ```text
//!  a commit here ───────────────────────┐
//!  a commit elsewhere, told or looked for ┴─► one reader per process ─► the last few thousand changes, shared by all watches
//!                                                                       a watch that is further behind reads by itself
//! ```
//!
//! Changes are read from history, in order; what is sent between tasks only says "look again". So a
//! slow watch costs no memory, and one that comes back late resumes or is told to list. What can't be read is told to every
//! watch, which then ends: whoever holds it looks at what there is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dialect;
use crate::error::StoreError;
use crate::history::{Change, changes, fitting};
use crate::limits::{POLL, RETRY, SHARED_BYTES, SHARED_CHANGES, SILENCE, WATCH_BATCH, WATCH_BATCH_BYTES};
use crate::sql::{Pool, query};

/// What all watches of a process share.
pub(crate) struct Feed {
    readers: Pool,
    shared: Mutex<Shared>,
    head: watch::Sender<Head>,
    wake: Notify,
    /// How often a status was another one.
    statuses: watch::Sender<u64>,
    /// Whether the reader runs: nobody pays for it before the first watch.
    is_running: OnceCell<()>,
}

/// How far the reader is.
#[derive(Clone, Copy, Default)]
struct Head {
    /// The last revision that was read.
    revision: u64,
    /// How often the database was silent for too long.
    silences: u64,
}

/// The last changes.
#[derive(Default)]
struct Shared {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// The last revision that was read.
    head: u64,
}

impl Shared {
    /// None of them, at this revision.
    fn at(head: u64) -> Self {
        Self { head, ..Self::default() }
    }

    fn push(&mut self, change: Arc<Change>) {
        self.bytes += change.bytes;
        self.changes.push_back(change);
        while self.changes.len() > SHARED_CHANGES || self.bytes > SHARED_BYTES {
            let Some(oldest) = self.changes.pop_front() else { return };
            self.bytes -= oldest.bytes;
        }
    }
}

impl Feed {
    pub(crate) fn new(readers: Pool) -> Arc<Self> {
        let (shared, head) = (Mutex::default(), watch::Sender::new(Head::default()));
        let (wake, statuses, is_running) = (Notify::new(), watch::Sender::new(0), OnceCell::new());
        Arc::new(Self { readers, shared, head, wake, statuses, is_running })
    }

    /// Says that there are changes to read.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Says whenever a status is another one, here or, once there is a watch, in another process.
    pub(crate) fn statuses(&self) -> watch::Receiver<u64> {
        self.statuses.subscribe()
    }

    /// Says that a status is another one.
    pub(crate) fn status_changed(&self) {
        self.statuses.send_modify(|count| *count += 1);
    }

    /// Starts the reader, at the first time.
    async fn start(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let start = async || {
            let head = last(&self.readers).await?;
            self.locked(|shared| shared.head = head);
            self.is_at(head);
            for task in [Task::Read, Task::Hear] {
                let (feed, stop) = (Arc::clone(self), stop.clone());
                tasks.spawn(async move {
                    let run = async {
                        match task {
                            Task::Read => feed.read_on().await,
                            Task::Hear => feed.hear().await,
                        }
                    };
                    stop.run_until_cancelled(run).await
                });
            }
            Ok(())
        };
        self.is_running.get_or_try_init(start).await.copied()
    }

    /// Reads whatever comes, for ever. What can't be read now is read later; if that takes long, all watches end.
    async fn read_on(&self) {
        let mut silent_since: Option<Instant> = None;
        loop {
            if self.read().await.is_ok() {
                silent_since = None;
                self.wait().await;
                continue;
            }
            if silent_since.get_or_insert_with(Instant::now).elapsed() >= SILENCE {
                self.head.send_modify(|head| head.silences += 1);
                silent_since = None;
            }
            sleep(RETRY).await;
        }
    }

    fn is_at(&self, revision: u64) {
        self.head.send_modify(|head| head.revision = revision);
    }

    async fn wait(&self) {
        match self.readers {
            Pool::Sqlite(_) => self.wake.notified().await,
            // What nobody told of is found all the same, a little later.
            Pool::Postgres(_) => drop(timeout(POLL, self.wake.notified()).await),
        }
    }

    /// Hears of the changes of other processes, for ever; returns if there can be none.
    async fn hear(&self) {
        loop {
            match dialect::listener(&self.readers).await {
                Ok(None) => return,
                Ok(Some(mut listener)) => {
                    self.missed();
                    loop {
                        match listener.try_recv().await {
                            Ok(Some(told)) if told.payload() == dialect::STATUS => self.status_changed(),
                            Ok(Some(_)) => self.wake(),
                            // It listens again on another connection.
                            Ok(None) => self.missed(),
                            Err(_) => break,
                        }
                    }
                }
                Err(_) => {}
            }
            sleep(RETRY).await;
        }
    }

    /// While nobody listened, something may have happened.
    fn missed(&self) {
        self.wake();
        self.status_changed();
    }

    /// Reads what came since it last did.
    async fn read(&self) -> Result<(), StoreError> {
        loop {
            let head = self.locked(|shared| shared.head);
            let read = match read(&self.readers, head).await {
                // It was so long without a database that the next ones are forgotten, or one of them can't be read, as a newer
                // program wrote it: whoever waits for them reads by itself, and so is told.
                Err(StoreError::Compacted { .. } | StoreError::Corrupt { .. }) => {
                    let now = last(&self.readers).await?;
                    self.locked(|shared| *shared = Shared::at(now));
                    self.is_at(now);
                    continue;
                }
                read => read?,
            };
            let Some(newest) = read.back().map(|change| change.revision) else {
                return self.look_back(head).await;
            };
            self.locked(|shared| {
                shared.head = newest;
                for change in read {
                    shared.push(change);
                }
            });
            self.is_at(newest);
        }
    }

    /// Where another server took the place of the database, it may know less than this one did: then all watches end.
    async fn look_back(&self, head: u64) -> Result<(), StoreError> {
        if matches!(self.readers, Pool::Sqlite(_)) {
            return Ok(());
        }
        let now = last(&self.readers).await?;
        if now < head {
            self.locked(|shared| *shared = Shared::at(now));
            self.head.send_modify(|at| *at = Head { revision: now, silences: at.silences + 1 });
        }
        Ok(())
    }

    /// The changes after a revision; none if they aren't shared any more.
    fn after(&self, revision: u64) -> Option<VecDeque<Arc<Change>>> {
        self.locked(|shared| {
            if revision >= shared.head {
                return Some(VecDeque::new());
            }
            shared.changes.front().filter(|first| first.revision <= revision + 1)?;
            let known = shared.changes.partition_point(|change| change.revision <= revision);
            Some(shared.changes.iter().skip(known).take(WATCH_BATCH).cloned().collect())
        })
    }

    fn locked<T>(&self, look: impl FnOnce(&mut Shared) -> T) -> T {
        look(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Clone, Copy)]
enum Task {
    Read,
    Hear,
}

/// Changes of any kind, one after the other, without end.
pub struct Watch {
    feed: Arc<Feed>,
    /// The last revision that was read.
    read: u64,
    head: watch::Receiver<Head>,
    /// Silences of the database that it began after.
    silences: u64,
    stop: CancellationToken,
    waiting: VecDeque<Arc<Change>>,
}

impl Watch {
    pub(crate) async fn open(
        feed: &Arc<Feed>,
        from: u64,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, StoreError> {
        feed.start(tasks, stop).await?;
        let head = feed.head.subscribe();
        if !is_kept_after(&feed.readers, from).await? {
            return Err(StoreError::Compacted { from });
        }
        let silences = head.borrow().silences;
        let (feed, stop) = (Arc::clone(feed), stop.clone());
        Ok(Self { feed, read: from, head, silences, stop, waiting: VecDeque::new() })
    }

    /// The next change; waits for it. Fails if what comes next can't be read, or if the database has been silent for long.
    /// Cancellation-safe: a change that wasn't returned comes again.
    pub async fn next(&mut self) -> Result<Arc<Change>, StoreError> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Ok(change);
            }
            // Before reading, so that a change right after the read wakes at once.
            if self.head.borrow_and_update().silences != self.silences {
                return Err(StoreError::at("follow changes")(sqlx::Error::PoolTimedOut));
            }
            self.fill().await?;
            if self.waiting.is_empty() {
                let changed = self.stop.run_until_cancelled(self.head.changed()).await;
                if !matches!(changed, Some(Ok(()))) {
                    return Err(StoreError::at("wait for changes")(sqlx::Error::PoolClosed));
                }
            }
        }
    }

    async fn fill(&mut self) -> Result<(), StoreError> {
        self.waiting = match self.feed.after(self.read) {
            Some(changes) => changes,
            None => read(&self.feed.readers, self.read).await?,
        };
        self.read = self.waiting.back().map_or(self.read, |last| last.revision);
        Ok(())
    }
}

/// The last revision that was given out.
async fn last(readers: &Pool) -> Result<u64, StoreError> {
    let row = query("SELECT value FROM revision").fetch_one(readers).await;
    let value: i64 = row.and_then(|row| row.at(0)).map_err(StoreError::at("read the revision"))?;
    Ok(value.cast_unsigned())
}

/// Whether everything after this revision is kept or still to come.
async fn is_kept_after(readers: &Pool, from: u64) -> Result<bool, StoreError> {
    let row = query("SELECT value = $1 OR EXISTS (SELECT 1 FROM history WHERE revision = $2) FROM revision")
        .bind(i64::try_from(from).unwrap_or(i64::MAX))
        .bind(i64::try_from(from).unwrap_or(i64::MAX).saturating_add(1))
        .fetch_one(readers)
        .await;
    row.and_then(|row| row.at(0)).map_err(StoreError::at("read the revision"))
}

/// The next changes after a revision.
async fn read(readers: &Pool, after: u64) -> Result<VecDeque<Arc<Change>>, StoreError> {
    let next = query(fitting!("ASC", "$3", "revision > $1 ORDER BY revision LIMIT $2"))
        .bind(after)
        .bind(WATCH_BATCH)
        .bind(WATCH_BATCH_BYTES);
    let read = changes(next, readers).await?;
    let is_all_there = read.is_empty() || read[0].revision == after + 1;
    // Logins are forgotten apart from all else, so one that is kept says nothing of what comes after it.
    let next =
        read.into_iter().zip(after + 1..).take_while(|(change, revision)| change.revision == *revision);
    let next: VecDeque<_> = next.map(|(change, _)| Arc::new(change)).collect();
    if is_all_there { Ok(next) } else { Err(StoreError::Compacted { from: after }) }
}
