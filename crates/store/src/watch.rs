//! Following changes, from a revision on.
//!
//! ```text
//!  a commit here ───────────────────────┐
//!  a commit elsewhere, told or looked for ┴─► one reader per process ─► the last few thousand changes, shared by all watches
//!                                                                       a watch that is further behind reads by itself
//! ```
//!
//! Changes are read from history, in order; what is sent between tasks only says "look again". So a
//! slow watch costs no memory, and one that comes back late resumes or is told to list.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dialect;
use crate::error::StoreError;
use crate::history::Change;
use crate::limits::{POLL, RETRY, SHARED_CHANGES, WATCH_BATCH};
use crate::sql::{Pool, query};

/// What all watches of a process share.
pub(crate) struct Feed {
    readers: Pool,
    shared: Mutex<Shared>,
    /// The last revision that was read.
    head: watch::Sender<u64>,
    wake: Notify,
    /// Whether the reader runs: nobody pays for it before the first watch.
    is_running: OnceCell<()>,
}

/// The last changes, without a gap.
#[derive(Default)]
struct Shared {
    changes: VecDeque<Arc<Change>>,
    /// The last revision that was read.
    head: u64,
}

impl Feed {
    pub(crate) fn new(readers: Pool) -> Arc<Self> {
        let (shared, head) = (Mutex::default(), watch::Sender::new(0));
        Arc::new(Self { readers, shared, head, wake: Notify::new(), is_running: OnceCell::new() })
    }

    /// Says that there are changes to read.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Starts the reader, at the first time.
    async fn start(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let start = async || {
            let head = last(&self.readers).await?.0;
            self.locked(|shared| shared.head = head);
            self.head.send_replace(head);
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

    /// Reads whatever comes, for ever. What can't be read now is read later.
    async fn read_on(&self) {
        loop {
            match self.read().await {
                Ok(()) => self.wait().await,
                Err(_) => sleep(RETRY).await,
            }
        }
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
                    while listener.recv().await.is_ok() {
                        self.wake();
                    }
                }
                Err(_) => {}
            }
            // While nobody listened, something may have happened.
            self.wake();
            sleep(RETRY).await;
        }
    }

    /// Reads what came since it last did.
    async fn read(&self) -> Result<(), StoreError> {
        loop {
            let head = self.locked(|shared| shared.head);
            let read = match read(&self.readers, head).await {
                // It was so long without a database that the next ones are forgotten: whoever waits for them is told.
                Err(StoreError::Compacted { .. }) => {
                    let (now, _) = last(&self.readers).await?;
                    self.locked(|shared| *shared = Shared { changes: VecDeque::new(), head: now });
                    self.head.send_replace(now);
                    continue;
                }
                read => read?,
            };
            let Some(newest) = read.back().map(|change| change.revision) else { return Ok(()) };
            self.locked(|shared| {
                shared.head = newest;
                shared.changes.extend(read);
                let surplus = shared.changes.len().saturating_sub(SHARED_CHANGES);
                shared.changes.drain(..surplus);
            });
            self.head.send_replace(newest);
        }
    }

    /// The changes after a revision; none if they aren't shared any more.
    fn after(&self, revision: u64) -> Option<VecDeque<Arc<Change>>> {
        self.locked(|shared| {
            if revision >= shared.head {
                return Some(VecDeque::new());
            }
            let first = shared.changes.front()?.revision;
            let known = usize::try_from((revision + 1).checked_sub(first)?).ok()?;
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
    head: watch::Receiver<u64>,
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
        let (current, oldest) = last(&feed.readers).await?;
        // Nothing is lost if the next revision is either kept or still to come.
        if from > current || from + 1 < oldest.unwrap_or(current + 1) {
            return Err(StoreError::Compacted { from });
        }
        Ok(Self { feed: Arc::clone(feed), read: from, head, stop: stop.clone(), waiting: VecDeque::new() })
    }

    /// The next change; waits for it. Cancellation-safe: a change that wasn't returned comes again.
    pub async fn next(&mut self) -> Result<Arc<Change>, StoreError> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Ok(change);
            }
            // Before reading, so that a change right after the read wakes at once.
            self.head.borrow_and_update();
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

/// The last revision that was given out, and the oldest that is kept.
async fn last(readers: &Pool) -> Result<(u64, Option<u64>), StoreError> {
    let row = query("SELECT value, (SELECT MIN(revision) FROM history) AS oldest FROM revision")
        .fetch_one(readers)
        .await
        .map_err(StoreError::at("read the revision"))?;
    let read = || Ok((row.get::<i64>("value")?, row.get::<Option<i64>>("oldest")?));
    let (value, oldest) = read().map_err(StoreError::at("read the revision"))?;
    Ok((value.cast_unsigned(), oldest.map(i64::cast_unsigned)))
}

/// The next changes after a revision.
async fn read(readers: &Pool, after: u64) -> Result<VecDeque<Arc<Change>>, StoreError> {
    let rows = query("SELECT * FROM history WHERE revision > $1 ORDER BY revision LIMIT $2")
        .bind(after)
        .bind(WATCH_BATCH as u64)
        .fetch_all(readers)
        .await
        .map_err(StoreError::at("read history"))?;
    let changes: VecDeque<_> =
        rows.iter().map(|row| Change::from_row(row).map(Arc::new)).collect::<Result<_, _>>()?;
    match changes.front() {
        Some(first) if first.revision != after + 1 => Err(StoreError::Compacted { from: after }),
        _ => Ok(changes),
    }
}
