//! Trials: what a server must stand beside being fast.
//!
//! | trial | what it shows |
//! |---|---|
//! | `sessions` | a crowd of idle sessions costs little memory and no one's time |
//! | `slow` | peers that dribble or don't read keep nobody else from being served |
//! | `listeners` | news reaches a crowd of subscriptions at once |
//! | `nodes` | what was acknowledged by one of several nodes is there, whole, and told by all of them |
//! | `followers` | a crowd of watches costs little memory, and all of them hear of a change at once |
//! | `markers` | no answer goes to another client, though all of them use the same request ids |

mod callers;
pub mod followers;
pub mod listeners;
pub mod markers;
pub mod nodes;
pub mod sessions;
pub mod slow;

pub use callers::Heard;

use crate::process::Usage;

/// Memory of a server, in MiB: now, and the most that it ever was.
#[expect(clippy::cast_precision_loss, reason = "memory in KiB fits a float")]
fn memory_mib(process: u32) -> anyhow::Result<(f64, f64)> {
    let usage = Usage::of(process)?;
    Ok((usage.rss_kib as f64 / 1024.0, usage.rss_most_kib as f64 / 1024.0))
}

/// The part of `count` that is left to one of several.
fn share_of(count: usize, number: usize, of: usize) -> usize {
    count / of + usize::from(number < count % of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for count in [0, 1, 31, 32, 33, 10_000] {
            let shares: Vec<_> = (0..32).map(|number| share_of(count, number, 32)).collect();
            assert_eq!(shares.iter().sum::<usize>(), count);
            assert!(shares.iter().all(|share| share.abs_diff(count / 32) <= 1));
        }
    }
}
