//! Nothing of a job is left after its deadline, however it tries: each attempt once in each way.
//! `cargo run --release -p hayward-exec --example escapes -- 1000` makes a thousand of each.

mod torture;

use hayward_exec::SupervisorCommand;
use torture::{ESCAPES, WAYS, report, torture};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outlives_its_deadline() {
    for way in WAYS {
        let supervisor = SupervisorCommand { program: env!("CARGO_BIN_EXE_supervise").into(), args: vec![] };
        let outcome = torture(way, ESCAPES.len(), 6, supervisor).await;
        report(way, &outcome);
        assert_eq!(outcome.faults, [""; 0], "{way:?}");
    }
}
