//! What a record and its check cost. The figures are printed; only a build with optimisation says anything:
//! `HAYWARD_MEASURE=200000 cargo test --release -p hayward-audit measures -- --nocapture`.

use super::*;

/// Calls, if nothing is said.
const CALLS: u32 = 500;

#[expect(clippy::disallowed_methods, reason = "how the test is told to go on for longer")]
fn calls() -> u32 {
    std::env::var("HAYWARD_MEASURE").ok().and_then(|text| text.parse().ok()).unwrap_or(CALLS)
}

/// Nanoseconds that this process has had of a CPU.
fn cpu_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

#[test]
fn what_a_call_and_its_check_cost() {
    let rig = Rig::new();
    let limits = Limits { file_bytes_max: 64 << 20, ..Limits::default() };
    let log = Log::open(&rig.audit(), LogConfig { limits, ..rig.config() }).unwrap();
    let since = cpu_ns();
    (0..calls()).for_each(|_| call(&log));
    let cost = (cpu_ns() - since) / u64::from(calls());
    drop(log);
    println!("{cost} ns of CPU for the two records of a call");
    let since = cpu_ns();
    let report = rig.verify();
    let seconds = Duration::from_nanos(cpu_ns() - since).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure to be read")]
    let (records, bytes) = (report.records as f64, report.bytes as f64);
    println!(
        "{:.0} records/s and core, {:.0} MB/s, {:.0} bytes each",
        records / seconds,
        bytes / seconds / 1e6,
        bytes / records
    );
    assert!(report.is_sound && report.records > u64::from(2 * calls()), "{report:#?}");
}
