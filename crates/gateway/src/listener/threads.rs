//! The threads that connections live on.
//!
//! A connection stays on one thread, with everything that its requests do at once. Beside one scheduler for
//! all threads that saves waking another thread for every request, and passing tasks around: a sixth of
//! what a short call costs.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Shorter than any timer of a request.
const TICK: Duration = Duration::from_secs(1);

/// Threads with a runtime each. Whatever a request has begun in the background needs its runtime until it
/// ends, so they outlast the listener; they end when this is dropped.
#[derive(Debug)]
pub struct Threads {
    threads: Vec<Thread>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    /// One for each connection, and one more.
    connections: Arc<()>,
    /// Fires when a connection comes.
    came: Arc<Notify>,
}

impl Threads {
    /// As many as the machine has cores for us.
    pub fn start() -> io::Result<Self> {
        let stop = CancellationToken::new();
        let count = thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..count).map(|_| Thread::start(stop.clone())).collect::<io::Result<_>>()?;
        Ok(Self { threads, _stop: stop.drop_guard() })
    }

    /// Serves a connection on the thread that has the fewest.
    pub(crate) fn spawn<F>(&self, tasks: &TaskTracker, connection: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let idlest = self.threads.iter().min_by_key(|thread| Arc::strong_count(&thread.connections));
        let Thread { runtime, connections, came } = idlest.expect("there is one for each core");
        let counted = Arc::clone(connections);
        let connection = async move {
            connection.await;
            drop(counted);
        };
        tasks.spawn_on(connection, runtime);
        came.notify_one();
    }
}

/// Keeps a timer while there are connections. A timer that is set to go off before all others makes the thread leave and
/// enter its wait once more; those of requests are later than this one, and don't.
async fn tick(connections: Weak<()>, came: Arc<Notify>) {
    loop {
        came.notified().await;
        while connections.strong_count() > 1 {
            tokio::time::sleep(TICK).await;
        }
    }
}

impl Thread {
    fn start(stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (connections, came) = (Arc::new(()), Arc::<Notify>::default());
        let ticking = tick(Arc::downgrade(&connections), Arc::clone(&came));
        thread::Builder::new().name("connections".to_owned()).spawn(move || {
            runtime.block_on(stop.run_until_cancelled(ticking));
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, connections, came })
    }
}
