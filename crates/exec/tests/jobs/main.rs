//! Real jobs on real supervisors, each test in both containments.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::print_stderr, reason = "what is skipped says why")]

mod confined;
mod conversations;
mod endings;
mod fixture;
mod nonsense;
mod open_files;
mod output;
mod pool;
mod quotas;
mod refusals;
mod server_death;
mod survivors;

/// Makes two tests of each function: in a cgroup, and without one.
macro_rules! in_both_containments {
    ($($name:ident)*) => {
        mod cgroup_v2 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::fixture::with(hayward_exec::Choice::Detect, super::$name).await;
            })*
        }
        mod subreaper {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::fixture::with(hayward_exec::Choice::Subreaper, super::$name).await;
            })*
        }
    };
}
pub(crate) use in_both_containments;
