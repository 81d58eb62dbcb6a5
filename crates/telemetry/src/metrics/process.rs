//! This process, as the kernel sees it.

use std::time::SystemTime;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::{Family, Kind, Name, Point, Value};

/// What can be told; what the kernel doesn't say is left out.
pub(super) fn families(started: SystemTime) -> Vec<Family> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |key| number(&status, key).map(|kib| Value::Whole(kib * 1024));
    let threads = number(&status, "Threads:").map(Value::Whole);
    let gauge = Kind::Gauge;
    [
        ("process_cpu_seconds_total", "Processor time of this process.", Kind::Counter, Some(cpu())),
        ("process_resident_memory_bytes", "Memory that is in use.", gauge, bytes("VmRSS:")),
        ("process_virtual_memory_bytes", "Address space that is in use.", gauge, bytes("VmSize:")),
        ("process_threads", "Threads of this process.", gauge, threads),
        ("process_open_fds", "Files that are open.", gauge, open_files()),
        (
            "process_max_fds",
            "Files that may be open.",
            gauge,
            getrlimit(Resource::Nofile).current.map(Value::Whole),
        ),
        ("process_start_time_seconds", "When it started, in seconds since 1970.", gauge, unix(started)),
    ]
    .into_iter()
    .filter_map(|(name, help, kind, value)| {
        Some(Family { name: Name::Common(name), help, kind, points: vec![Point::plain(value?)] })
    })
    .collect()
}

fn cpu() -> Value {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let whole = std::time::Duration::from_secs(time.tv_sec.unsigned_abs());
    Value::Number((whole + std::time::Duration::from_nanos(time.tv_nsec.unsigned_abs())).as_secs_f64())
}

fn unix(time: SystemTime) -> Option<Value> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| Value::Number(since.as_secs_f64()))
}

fn open_files() -> Option<Value> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // The folder itself is open meanwhile.
    u64::try_from(count.saturating_sub(1)).ok().map(Value::Whole)
}

fn number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}
