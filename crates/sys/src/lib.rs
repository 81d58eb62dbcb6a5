//! Calls into the C library that no safe crate makes, and that measurement has shown to be needed: docs/ci-full.md.
//!
//! `unsafe` is forbidden everywhere else.

/// A block of at least so many bytes is given back to the system as soon as it is free.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 1 << 20;
/// Arenas for each thread that runs: those of connections have their own, beside the runtime's and the record's.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_PER_THREAD: usize = 4;

/// Has the allocator keep little that nobody uses, for the rest of the process; `threads` is how many run at the same time. Whether
/// it agreed.
///
/// glibc learns from large blocks that are freed to keep ever larger ones (the thresholds of `mallopt(3)` are dynamic), and does so in
/// eight arenas for each processor. In fewer it keeps less, but where threads that are busy share one, they wait for each other: with
/// as many as processors, that was a twelfth of the samples of a busy gateway (docs/performance.md). Other C libraries give memory
/// back by themselves: there nothing is done.
///
/// Before there are other threads: what they have by then stays where it is.
#[must_use]
pub fn keep_little_memory(threads: usize) -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let arenas = i32::try_from((ARENAS_PER_THREAD * threads).clamp(8, 64)).unwrap_or(64);
        [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE), (libc::M_ARENA_MAX, arenas)]
            .into_iter()
            .all(|(parameter, value)| set(parameter, value))
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    {
        let _threads = threads;
        true
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(parameter: i32, value: i32) -> bool {
    #[expect(unsafe_code, reason = "the C library has no safe interface")]
    // SAFETY: `mallopt(3)` takes two numbers and no pointer. It sets plain integers of the allocator under its lock; whoever allocates
    // meanwhile goes by the old ones or the new ones, which are both sound. What it doesn't know, it refuses.
    let agreed = unsafe { libc::mallopt(parameter, value) };
    agreed == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of memory that this process has, as the kernel counts them.
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn large_blocks_that_are_free_are_not_kept_however_often_there_were_some() {
        const BLOCK: usize = 4 << 20;
        assert!(keep_little_memory(2));
        // What would teach the allocator to keep them.
        for _ in 0..8 {
            drop(vec![1_u8; BLOCK]);
        }
        let before = resident();
        let blocks: Vec<Vec<u8>> = (0..32).map(|_| vec![1; BLOCK]).collect();
        assert!(resident() - before > 31 * BLOCK / 4096);
        // The last one stays, which keeps the top of a heap where it is.
        let last = blocks.into_iter().last();
        assert!(resident().saturating_sub(before) < 4 * BLOCK / 4096, "they are kept");
        drop(last);
    }
}
