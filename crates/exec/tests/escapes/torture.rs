//! Commands that try to outlive their end, and what is left of them.
//!
//! Each runs under each profile and containment until its deadline, with no grace. Whatever it
//! started bears a mark in its environment, and is looked for when the result is there.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hayward_exec::{
    Choice, Config, Confined, ExecError, Executor, Finished, Job, Limits, Profile, Quota, SupervisorCommand,
    Survivors,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a command is called, and its shell script. It has a directory of its own and a minute.
pub(crate) const ESCAPES: &[(&str, &str)] = &[
    ("fork twice", "( (sleep 60 &) & )"),
    ("leave the session", "setsid sleep 60 &"),
    ("leave it again and again", "setsid setsid -f setsid -f sleep 60"),
    ("ignore the hang-up", "nohup sleep 60 >/dev/null 2>&1 &"),
    ("disown", "[ -x /bin/bash ] && bash -c 'sleep 60 & disown -a; sleep 60 & disown' &"),
    (
        "become a daemon",
        "perl -MPOSIX -e 'fork and exit; setsid; fork and exit; chdir \"/\"; POSIX::close($_) for 0..9; sleep 60'",
    ),
    (
        "work in the background",
        "setsid sh -c 'while :; do sleep 0.02; setsid sleep 60 & done' >/dev/null 2>&1 &",
    ),
    (
        "fork on",
        "c='[ $1 -gt 0 ] && exec setsid -f sh -c \"$0\" \"$0\" $(($1 - 1))'; sh -c \"$c\" \"$c\" 3000 & ",
    ),
    ("stop its children", "for i in 1 2 3 4; do sleep 60 & kill -STOP $!; done"),
    ("stop itself", "setsid sleep 60 & kill -STOP $$"),
    (
        "ignore every signal",
        "trap '' HUP INT QUIT USR1 USR2 PIPE ALRM TERM TSTP TTIN TTOU; sleep 60 & sleep 60",
    ),
    ("answer with a fork", "trap 'setsid sleep 60 & setsid sleep 60 &' TERM; while :; do sleep 0.01; done"),
    ("lose its parent", "sh -c 'sleep 60 & exec true'; perl -e 'fork or do { sleep 60 }'"),
    (
        "take orphans in",
        "perl -e 'syscall(157, 36, 1, 0, 0, 0); system(\"(setsid sleep 60 &)\"); sleep 60' &",
    ),
    (
        "trace its parent",
        "perl -e '$p = getppid; $p = $1 if `cat /proc/$p/status` =~ /PPid:\\s+(\\d+)/; \
        syscall(101, 0x4206, $p, 0, 0); syscall(101, 0x4207, $p, 0, 0); sleep 60' &",
    ),
    ("stop its supervisor", "(while :; do kill -STOP $PPID; sleep 0.001; done) &"),
    ("close its files", "exec 0<&- 1>&- 2>&- 3>&-; sleep 60"),
    ("hold its pipes", "setsid sleep 60 & setsid sleep 60 >/dev/null & (exec 2>&-; setsid sleep 60 &)"),
    (
        "leave its cgroup",
        "for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do \
        (echo 0 >$f) 2>/dev/null; done; for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/unified/cgroup.procs; do \
        [ -w $f ] && echo $$ >$f; done; setsid sleep 60 &",
    ),
    (
        "make a cgroup",
        "for d in /sys/fs/cgroup /sys/fs/cgroup/unified; do c=$d$(sed -n 's/^0:://p' /proc/self/cgroup); \
        mkdir $c/inner && sh -c \"echo 0 >$c/inner/cgroup.procs; exec setsid sleep 60\" & done",
    ),
    ("become another user", "setpriv --reuid=65534 setsid sleep 60 & su -s /bin/sh nobody -c 'sleep 60' &"),
    ("use a setuid helper", "sudo -n sleep 60 & cp /bin/sleep s; chmod u+s s; ./s 60 &"),
    ("start without end", "perl -e 'for (1..2000) { if (!fork) { exec \"true\" } wait if $_ > 20 }' &"),
    ("leave zombies", "perl -e 'fork or exit for 1..200; sleep 60' & "),
    (
        "start from threads",
        "/usr/bin/python3 -c 'import threading as t,subprocess as s,time
for _ in range(20): t.Thread(target=lambda: s.run([\"setsid\",\"sleep\",\"60\"])).start()
time.sleep(60)' &",
    ),
    (
        "start by vfork",
        "/usr/bin/python3 -c 'import os
for _ in range(300): os.posix_spawn(\"/bin/true\",[\"true\"],os.environ)
os.posix_spawn(\"/bin/sleep\",[\"sleep\",\"60\"],os.environ,setsid=True)' &",
    ),
    (
        "run from memory",
        "/usr/bin/python3 -c 'import os
f=os.memfd_create(\"x\"); os.write(f,open(\"/bin/sleep\",\"rb\").read()); os.setsid() if os.fork()==0 else 0
os.execve(f,[\"x\",\"60\"],os.environ)' &",
    ),
    (
        "make namespaces",
        "unshare -m sleep 60 & unshare -Ur sleep 60 & unshare -Upf --mount-proc sleep 60 & unshare -n setsid sleep 60 &",
    ),
    ("be the first of a namespace", "unshare -Urpf sh -c 'trap \"\" TERM; (setsid sleep 60 &); sleep 60' &"),
    ("mount", "mkdir -p m; unshare -Urm sh -c 'mount -t tmpfs none m; cd m; exec setsid sleep 60' &"),
    (
        "overwrite programs",
        "cp /bin/sleep s; ./s 60 & (: >/proc/$!/exe) 2>/dev/null; (: >>/proc/$PPID/exe) 2>/dev/null; setsid ./s 60 &",
    ),
    ("lose its directory", "mkdir d; cd d; rmdir ../d; setsid sleep 60 &"),
    (
        "talk to the terminal",
        "perl -e 'ioctl(STDIN, 0x5412, \"x\"); open(T, \"+</dev/tty\"); ioctl(T, 0x5412, \"x\"); sleep 60' &",
    ),
    (
        "talk to sockets",
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack(\"S a*\", 1, \"\\0hayward\")); \
        connect(S, pack_sockaddr_un(\"/run/docker.sock\")); sleep 60' &",
    ),
    ("wait for nobody", "mkfifo f; (cat f &); (setsid sh -c ': >f' &); flock f sleep 60 &"),
    ("say much", "yes & yes >&2 & setsid yes &"),
    (
        "be busy",
        "for i in 1 2 3; do nice -n 19 sh -c 'while :; do :; done' & done; chrt -i 0 sh -c 'while :; do :; done' &",
    ),
    ("change its name", "perl -e '$0 = \"[kworker/0:0]\"; fork; sleep 60' &"),
    ("ask for a late end", "perl -e 'syscall(157, 1, 0, 0, 0, 0); setpgrp; fork; fork; sleep 60' &"),
    ("have many processes", "for i in $(seq 150); do sleep 60 & done"),
    (END_SUPERVISOR, "(setsid sleep 60 &); kill -9 $PPID"),
    (FORK_BOMB, "b() { b | b & }; b"),
];

/// Left out where the containment says that it doesn't hold this: no cgroup and no namespace.
const END_SUPERVISOR: &str = "end its supervisor";

/// Left out where the number of processes isn't bounded: the machine has other users.
const FORK_BOMB: &str = "fork without end";

/// Processes of one command: one of them never stops forking.
const PROCESSES: u64 = 200;

/// What is told of one command: a failure shouldn't be a flood.
const FAULTS_SHOWN_MAX: usize = 3;

/// Commands that took the longest, in a report.
const SLOWEST_SHOWN: usize = 4;

/// A profile and a containment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) containment: Choice,
    pub(crate) is_confined: bool,
}

/// All of them.
pub(crate) const WAYS: [Way; 6] = [
    Way { containment: Choice::Detect, is_confined: false },
    Way { containment: Choice::Detect, is_confined: true },
    Way { containment: Choice::Freeze, is_confined: false },
    Way { containment: Choice::Freezer, is_confined: false },
    Way { containment: Choice::Subreaper, is_confined: false },
    Way { containment: Choice::Subreaper, is_confined: true },
];

/// What became of all commands under one way.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// From a deadline until nothing was left, shortest first, and of which command.
    pub(crate) times: Vec<(Duration, &'static str)>,
    /// What was left, or wasn't as it should be.
    pub(crate) faults: Vec<String>,
}

impl Outcome {
    /// The time that this share of the commands needed at most, in percent.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let index = (self.times.len() * percent).div_ceil(100).saturating_sub(1);
        self.times.get(index).map(|(time, _)| *time).unwrap_or_default()
    }
}

/// Runs this many commands in one way, so many at once.
pub(crate) async fn torture(
    way: Way,
    commands: usize,
    lanes: usize,
    supervisor: SupervisorCommand,
) -> Outcome {
    let limits = Limits { grace_ms: 0, ..Limits::default() };
    let config = Config { supervisor, containment: way.containment, limits, protected: vec![], spool: None };
    let executor = Executor::new(config);
    if way.containment != Choice::Subreaper && executor.containment().path().is_none() {
        say(&format!("skipped {:?}: {}", way.containment, executor.containment()));
        return Outcome::default();
    }
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    for _ in 0..lanes {
        let (executor, next) = (executor.clone(), Arc::clone(&next));
        running.spawn(async move {
            let mut outcome = Outcome::default();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= commands {
                    return outcome;
                }
                attempt(&executor, way, n, &mut outcome).await;
            }
        });
    }
    let mut all = Outcome::default();
    while let Some(done) = running.join_next().await {
        let outcome = done.expect("a lane doesn't panic");
        all.times.extend(outcome.times);
        all.faults.extend(outcome.faults);
    }
    let home = executor.containment().path().map(Path::to_owned);
    executor.shutdown(Duration::from_millis(100)).await;
    all.faults.extend(home.filter(|home| home.exists()).map(|home| format!("{} is left", home.display())));
    all.times.sort_unstable();
    all
}

async fn attempt(executor: &Executor, way: Way, n: usize, outcome: &mut Outcome) {
    let escapes: Vec<_> = ESCAPES.iter().filter(|(name, _)| way.is_held(name, executor)).collect();
    let (name, script) = *escapes[n % escapes.len()];
    // A variable that is the job's under either profile.
    let mark = format!("mark-{}-{}-{n}-end", std::process::id(), way.number());
    let place = Place::new(&mark);
    let job = job(way, &mark, script, &place.path);
    let timeout = job.timeout;
    match executor.run(job, &CancellationToken::new()).await {
        Ok(Finished { duration, survivors, .. }) => {
            outcome.times.push((duration.saturating_sub(timeout), name));
            outcome.faults.extend(survivors.iter().map(|survivor| format!("{name}: {survivor:?}")));
        }
        // It may end its supervisor, which ends it.
        Err(ExecError::SupervisorLost) => {}
        Err(error) => outcome.faults.push(format!("{name}: {error:?}")),
    }
    outcome.faults.extend(marked(&mark).into_iter().map(|left| format!("{name}: left {left}")));
}

fn job(way: Way, mark: &str, script: &str, place: &Path) -> Job {
    let confined = || Confined { read_write: vec![place.to_owned()], ..Confined::default() };
    let profile = if way.is_confined { Profile::Confined(confined()) } else { Profile::Full };
    Job {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), format!("{script}\nsleep 60")],
        env: vec![
            ("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("TERM".to_owned(), mark.to_owned()),
        ],
        cwd: place.to_owned(),
        stdout_bytes_max: 1000,
        stderr_bytes_max: 1000,
        timeout: Duration::from_millis(350),
        survivors: Survivors::End,
        profile,
        quota: Quota { processes: Some(PROCESSES), ..Quota::default() },
        label: None,
    }
}

impl Way {
    fn is_held(self, name: &str, executor: &Executor) -> bool {
        match name {
            END_SUPERVISOR => self.is_confined || executor.containment().path().is_some(),
            FORK_BOMB => executor.containment().bounds().processes,
            _ => true,
        }
    }

    fn number(self) -> usize {
        WAYS.iter().position(|way| *way == self).unwrap_or(WAYS.len())
    }
}

/// A directory that goes.
struct Place {
    path: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a directory can be made");
        Self { path }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

/// The living processes that bear a mark.
fn marked(mark: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_marked = |path: &Path| {
        // A zombie has no environment.
        fs::read(path.join("environ"))
            .is_ok_and(|bytes| bytes.windows(mark.len()).any(|at| at == mark.as_bytes()))
    };
    let paths = entries.map(|entry| entry.path()).filter(|path| is_marked(path));
    let of = |path: PathBuf| {
        fs::read_to_string(path.join("comm")).ok().map(|name| format!("{}: {name}", path.display()))
    };
    paths.filter_map(of).take(FAULTS_SHOWN_MAX).collect()
}

/// Says something to standard error.
pub(crate) fn say(line: &str) {
    // Nobody may be listening.
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).ok();
}

/// Says what became of them.
pub(crate) fn report(way: Way, outcome: &Outcome) {
    let profile = if way.is_confined { "confined" } else { "full" };
    let (half, most, all) = (outcome.percentile(50), outcome.percentile(99), outcome.percentile(100));
    let line = format!(
        "{:?} {profile}: {} commands, from deadline to empty p50 {half:.0?} p99 {most:.0?} max {all:.0?}, {} faults",
        way.containment,
        outcome.times.len(),
        outcome.faults.len()
    );
    say(&line);
    for (time, name) in outcome.times.iter().rev().take(SLOWEST_SHOWN) {
        say(&format!("  {time:.0?} {name}"));
    }
}
