//! What a process has used, from `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time and memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Processor time so far.
    pub(crate) cpu: Duration,
    /// Resident memory now, in KiB.
    pub(crate) rss_kib: u64,
    /// The most that it ever was, in KiB.
    pub(crate) rss_most_kib: u64,
}

impl Usage {
    /// Reads the usage of a process; its children that are gone are not counted.
    pub(crate) fn of(process: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{process}/{name}");
            std::fs::read_to_string(&path).with_context(|| format!("failed to read `{path}`"))
        };
        let cpu = cpu_of(&read("stat")?).context("`/proc/PID/stat` has an unknown form")?;
        let status = read("status")?;
        let rss_kib = kib_of(&status, "VmRSS:").context("`/proc/PID/status` has no `VmRSS`")?;
        let rss_most_kib = kib_of(&status, "VmHWM:").context("`/proc/PID/status` has no `VmHWM`")?;
        Ok(Self { cpu, rss_kib, rss_most_kib })
    }
}

/// User and system time are fields 14 and 15; field 2 is the name, which may hold spaces.
fn cpu_of(stat: &str) -> Option<Duration> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis(ticks * 1000 / per_second))
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(process: u32) -> Result<usize> {
    let path = format!("/proc/{process}/fd");
    Ok(std::fs::read_dir(&path).with_context(|| format!("failed to list `{path}`"))?.count())
}

fn kib_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_itself() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_kib > 100 && usage.rss_most_kib >= usage.rss_kib);
        assert!(descriptors(std::process::id()).unwrap() > 2);
    }

    #[test]
    fn a_name_with_spaces_and_brackets_is_no_trap() {
        let stat = "1 (a) b) S 1 1 1 0 -1 0 0 0 0 0 30 20 0 0";
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(50 * 1000 / ticks)));
        assert_eq!(cpu_of("nonsense"), None);
    }

    #[test]
    fn memory_is_in_kib() {
        assert_eq!(kib_of("Name:\tx\nVmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(kib_of("Name:\tx\n", "VmRSS:"), None);
    }
}
