//! The async runtime, and the signals that end the process.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;

/// How long threads that hang in the kernel may hold up the end of the process.
const LINGER: Duration = Duration::from_secs(1);

/// Runs a command on a runtime of its own.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if !hayward_sys::keep_little_memory(threads) {
        tracing::warn!("the allocator keeps what it likes: more memory may be held than is in use");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(LINGER);
    result
}

/// Runs a command that asks a server, on this thread alone: others would take longer to start than the answer.
pub(crate) fn block_on_here<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let result = runtime.block_on(command);
    // A look-up of a name that hangs holds nothing up.
    runtime.shutdown_background();
    result
}

/// Fires at the first SIGTERM or SIGINT. A second one ends the process at once, as it would without us.
pub(crate) fn shutdown_signal() -> Result<CancellationToken, Failure> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let shutdown = CancellationToken::new();
    let fired = shutdown.clone();
    TaskTracker::new().spawn(async move {
        for round in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            fired.cancel();
            if round == 1 {
                let _kill =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            }
        }
    });
    Ok(shutdown)
}

/// SIGHUP, which no longer ends the process: it asks for what lies in files to be read again.
pub(crate) fn reload_signal() -> Result<Signal, Failure> {
    Ok(signal(SignalKind::hangup()).context("failed to listen for SIGHUP")?)
}
