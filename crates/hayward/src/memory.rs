//! What the process has of memory and nobody uses goes back to the system by and by: docs/reliability.md says how much that is.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(20);
/// Bytes by which the process may grow until something is given back: less isn't worth the wait of others.
const GROWTH: u64 = 4 << 20;

/// Gives back what nobody uses, until the shutdown.
pub(crate) fn give_back_until(shutdown: CancellationToken) {
    TaskTracker::new().spawn(async move {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, when nothing has been used yet.
        ticks.tick().await;
        let mut kept = 0;
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let Some(now) = resident() else { return };
            if has_grown(now, kept) {
                drop(tokio::task::spawn_blocking(hayward_sys::give_back_memory).await);
                kept = resident().unwrap_or(now);
            } else {
                kept = kept.min(now);
            }
        }
    });
}

fn has_grown(now: u64, kept: u64) -> bool {
    now > kept + GROWTH
}

/// Bytes of memory that this process has; none where the kernel doesn't say.
fn resident() -> Option<u64> {
    let said = std::fs::read_to_string("/proc/self/statm").ok()?;
    resident_of(&said, u64::try_from(rustix::param::page_size()).ok()?)
}

fn resident_of(said: &str, page: u64) -> Option<u64> {
    said.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_as_the_kernel_says() {
        assert_eq!(resident_of("9000 70 30 1 0 5 0\n", 4096), Some(70 * 4096));
        assert_eq!(resident_of("9000", 4096), None);
        assert!(resident().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn a_little_more_is_not_worth_the_wait() {
        assert!(has_grown(GROWTH + 1, 0) && !has_grown(GROWTH, 0) && !has_grown(5, 10));
    }
}
