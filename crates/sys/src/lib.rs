//! Calls into the C library that no safe crate makes, and that measurement has shown to be needed: docs/reliability.md.
//!
//! `unsafe` is forbidden everywhere else.

/// Has the allocator give the system back what it keeps and nobody uses. Whether it gave anything back.
///
/// glibc learns from large blocks that are freed to keep ever more for the next ones (`M_MMAP_THRESHOLD` of `mallopt(3)` is dynamic),
/// and keeps what is free between blocks in use. Other C libraries give it back by themselves: there nothing is done.
///
/// Takes as long as there is to give back: milliseconds for hundreds of mebibytes. Meanwhile other threads may wait for memory.
pub fn give_back_memory() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "the C library has no safe interface")]
        // SAFETY: `malloc_trim(3)` may be called at any time from any thread, takes a number of bytes to keep at the top of the heap, and
        // touches no memory that is in use.
        let given = unsafe { libc::malloc_trim(0) };
        given == 1
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
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
    fn what_is_free_between_blocks_in_use_is_given_back() {
        const BLOCK: usize = 64 * 1024;
        let mut blocks: Vec<Vec<u8>> = (0..1024).map(|_| vec![1; BLOCK]).collect();
        // Every eighth stays, so that the top of the heap is in use.
        let kept: Vec<Vec<u8>> =
            blocks.drain(..).enumerate().filter_map(|(at, it)| (at % 8 == 7).then_some(it)).collect();
        let before = resident();
        assert!(give_back_memory() || cfg!(not(target_env = "gnu")));
        let given = before.saturating_sub(resident()) * 4096;
        assert!(given > 512 * BLOCK || cfg!(not(target_env = "gnu")), "{given} bytes");
        assert!(kept.iter().all(|block| block.iter().all(|byte| *byte == 1)));
    }
}
