//! F16: instances that say much, hear no signal, or leave somebody behind. What an executor does about jobs
//! that try to outlive their end is tested where it is (`exec`, `tests/escapes`); here it is what is left of an instance.

use std::time::{Duration, Instant};

use hayward_runtime::placement::End;

use crate::rig::{ANSWER, REFUSE, Rig, call, ended, runs, server, wanted};

/// What an instance does before it answers its first call. `$MARK` is what whoever it leaves behind can be found by.
const ESCAPES: [(&str, &str); 7] = [
    ("yes", "yes >&2 & sleep $MARK &"),
    ("deaf", "trap '' HUP INT TERM; (trap '' TERM; sleep $MARK) &"),
    ("daemon", "( (setsid sleep $MARK &) & ); setsid -f setsid -f sleep $MARK"),
    ("holder", "setsid sleep $MARK & (exec 2>&-; setsid sleep $MARK &)"),
    ("stopped", "sleep $MARK & left=$!; (sleep 0.2; kill -STOP $left) &"),
    ("forker", "trap 'setsid sleep $MARK & setsid sleep $MARK &' TERM; setsid sleep $MARK &"),
    ("many", "for i in $(seq 100); do sleep $MARK & done"),
];

/// Beyond the grace of a signal, on a machine that is busy with other tests.
const LATE: Duration = Duration::from_secs(3);

/// Processes that an instance left behind.
fn survivors(mark: &str) -> Vec<String> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let commands = pids.filter_map(|path| std::fs::read(path.join("cmdline")).ok());
    let commands = commands.map(|command| String::from_utf8_lossy(&command).replace('\0', " "));
    commands.filter(|command| command.trim() == format!("sleep {mark}")).collect()
}

/// Starts an instance that does this, has it answer, and gives what finds what it left behind.
async fn escaped(rig: &Rig, name: &str, script: &str, after: &str) -> String {
    let mark = format!("86{}.{}", std::process::id(), name.len() * 10_000 + script.len() * 10 + after.len());
    let script = format!("{}\n{ANSWER}\n{after}", script.replace("$MARK", &mark));
    rig.fleet.start(wanted(name, name, &server(REFUSE, &script)));
    let instance = rig.fleet.instance(name).unwrap();
    call(&*runs(&instance).await).await.unwrap();
    mark
}

#[tokio::test]
async fn f16_whatever_an_instance_leaves_behind_ends_when_it_is_stopped() {
    let rig = Rig::new();
    let mut times = Vec::new();
    for (name, script) in ESCAPES {
        let mark = escaped(&rig, name, script, "").await;
        let began = Instant::now();
        // What it began may need a moment to be there; it is there before it is to be gone.
        while survivors(&mark).is_empty() && began.elapsed() < LATE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!survivors(&mark).is_empty(), "{name}: nothing tried to outlive it");
        let began = Instant::now();
        rig.fleet.stop(name);
        assert_eq!(ended(&rig.fleet.instance(name).unwrap()).await, End::Stopped, "{name}");
        times.push((began.elapsed(), name));
        assert_eq!(survivors(&mark), [""; 0], "{name}");
    }
    times.sort();
    assert!(times.last().unwrap().0 <= Duration::from_millis(300) + LATE, "{times:?}");
    rig.end().await;
}

#[tokio::test]
async fn f16_whatever_an_instance_leaves_behind_ends_with_it_when_it_ends_by_itself() {
    let rig = Rig::new();
    for (name, script) in ESCAPES {
        let mark = escaped(&rig, name, script, "exit 7").await;
        let began = Instant::now();
        let end = ended(&rig.fleet.instance(name).unwrap()).await;
        assert!(matches!(end, End::Exited { code: 7 }), "{name}: {end:?}");
        assert!(began.elapsed() <= Duration::from_secs(5) + LATE, "{name}: {:?}", began.elapsed());
        assert_eq!(survivors(&mark), [""; 0], "{name}");
    }
    rig.end().await;
}
