//! What a confined job can do, and what it can't, with namespaces and without.

use std::ffi::OsString;
use std::fs;
use std::iter;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use hayward_exec::{
    Assessment, Choice, Config, Confined, Ending, ExecError, Fence, Job, Network, Profile, State,
    SupervisorCommand, Survivors, User,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::fixture::{Fixture, alive, as_nobody, config, marker, sh, until, with_config};

/// A root to write to, one to read from, a protected directory in each and beside them, and a file
/// that is none of the job's business.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        // Not in a place that only the owner of the build may enter.
        let place =
            Self { folder: tempfile::Builder::new().prefix("confined").tempdir_in("/var/tmp").unwrap() };
        fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["write", "read", "data", "above/data"] {
            fs::create_dir_all(place.path(folder)).unwrap();
        }
        fs::set_permissions(place.path("write"), fs::Permissions::from_mode(0o777)).unwrap();
        for file in ["outside", "read/file", "data/key", "above/data/key"] {
            fs::write(place.path(file), "content\n").unwrap();
            fs::set_permissions(place.path(file), fs::Permissions::from_mode(0o666)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn confined(&self) -> Confined {
        let (read_write, read_only) = (vec![self.path("write")], vec![self.path("read")]);
        Confined { read_write, read_only, ..Confined::default() }
    }

    fn job(&self, confined: Confined, script: &str) -> Job {
        // Names of the place, so that scripts can be read.
        let script = format!("P={}; {script}", self.folder.path().display());
        let job = Job { profile: Profile::Confined(confined), cwd: self.path("write"), ..sh(&script) };
        Job { stdout_bytes_max: 1 << 16, stderr_bytes_max: 1 << 16, ..job }
    }

    fn config(&self, base: Config) -> Config {
        Config { protected: vec![self.path("data"), self.path("above/data")], ..base }
    }
}

/// The ways in which a job can be confined on this machine.
fn ways(folder: &TempDir) -> Vec<(&'static str, Config)> {
    let mut ways = vec![("as we are", config(Choice::Detect)), ("by subreaper", config(Choice::Subreaper))];
    ways.extend(as_nobody(folder, &[]).map(|config| ("as nobody", config)));
    ways.extend(
        as_nobody(folder, &[]).map(|config| ("as nobody without namespaces", without_namespaces(config))),
    );
    ways.push(("without namespaces", without_namespaces(config(Choice::Subreaper))));
    ways.push(("without mounts", without_mounts(config(Choice::Detect))));
    ways.extend(as_nobody(folder, &[]).map(|config| ("as nobody without mounts", without_mounts(config))));
    ways
}

/// Supervisors that may make namespaces and mount nothing in them, as where a policy forbids it. It is
/// Landlock here: whoever is under any rule for files mounts nothing.
fn without_mounts(config: Config) -> Config {
    // Making sockets is forbidden everywhere; linking between directories, which any rule forbids, is not.
    let script = "my $set = pack('QQ', 512 | 8192, 0); my $rules = syscall(444, $set, 16, 0); \
        sysopen(my $top, '/', 0x200000); my $rule = pack('Ql', 8192, fileno $top); \
        exit 1 if syscall(445, $rules, 1, $rule, 0) != 0; \
        exit 1 if syscall(446, $rules, 0) != 0; exec @ARGV";
    let before = ["/usr/bin/setpriv", "--no-new-privs", "/usr/bin/perl", "-e", script, "--"];
    wrapped(config, &before)
}

/// The same supervisor, started by this command.
fn wrapped(config: Config, before: &[&str]) -> Config {
    let SupervisorCommand { program, args } = config.supervisor;
    let mut all: Vec<OsString> = iter::once(program.into()).chain(args).collect();
    let supervisor = all.pop().into_iter();
    let mut all = all.into_iter().chain(before.iter().map(Into::into)).chain(supervisor);
    let program = all.next().unwrap().into();
    Config { supervisor: SupervisorCommand { program, args: all.collect() }, ..config }
}

/// Supervisors that may make no namespace, as in most containers: their user namespace allows none
/// below it, and they don't have the capability that the others need.
fn without_namespaces(config: Config) -> Config {
    let script = "echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-sys_admin \"$@\"";
    wrapped(config, &["/usr/bin/unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"])
}

/// Runs this in every way, each in a place of its own.
async fn in_every_way(test: impl AsyncFn(&Fixture, &Place, &str)) {
    let folder = tempfile::tempdir().unwrap();
    for (way, base) in ways(&folder) {
        let place = Place::new();
        let config = place.config(base);
        with_config(config, async |cx: Fixture| test(&cx, &place, way).await).await;
    }
}

/// Scripts that must succeed.
const ALLOWED: &[(&str, &str)] = &[
    ("write to a root", "echo a >a; mkdir d; mv a d/b; ln d/b c; ln -s c e; test \"$(cat e)\" = a; rm -r d"),
    ("read a root", "test \"$(cat $P/read/file)\" = content; ls $P/read"),
    ("read the system", "test -s /etc/passwd; ls /usr /bin >/dev/null; test -n \"$(sed -n 1p /etc/passwd)\""),
    ("use devices", "echo a >/dev/null; head -c 8 /dev/urandom | wc -c; head -c 1 /dev/zero >z; : </dev/null"),
    ("use pipes and jobs", "seq 1000 | sort -rn | head -1 | grep -q 1000; sleep 0.01 & wait $!; echo a | tee b"),
    ("keep files private", "touch f; test \"$(stat -c %a f)\" = 600"),
    ("have no files of ours", "test \"$(ls /proc/self/fd | wc -l)\" = 4"),
    ("go first when memory is short", "test $(cat /proc/self/oom_score_adj) -gt 0"),
    ("signal itself", "sleep 100 & kill $!; ! wait $!; trap 'echo got >t' USR1; kill -USR1 $$; test -s t"),
    ("see itself", "test -r /proc/self/status; cat /proc/self/cmdline >/dev/null; ls /proc/self/fd >/dev/null"),
    ("run what it wrote", "printf '#!/bin/sh\\nexit 7\\n' >x; chmod +x x; ./x || test $? = 7"),
    ("run perl", "[ ! -x /usr/bin/perl ] || perl -e 'open(F,\">\",\"p\");print F 6*7;close F;die unless -s \"p\"'"),
    (
        "run python",
        "[ ! -x /usr/bin/python3 ] || /usr/bin/python3 -c 'import subprocess,threading,socket
t=threading.Thread(target=lambda:open(\"y\",\"w\").write(\"1\"));t.start();t.join()
assert subprocess.check_output([\"cat\",\"y\"])==b\"1\";a,b=socket.socketpair();a.send(b\"x\");assert b.recv(1)==b\"x\"'",
    ),
    (
        "compile",
        "[ ! -x /usr/bin/cc ] || { export TMPDIR=$P/write; printf 'int main(){return 5;}' >m.c; cc -o m m.c && ! ./m; }",
    ),
    ("have a clean environment", "test -z \"$LD_PRELOAD$BASH_ENV$PYTHONPATH$TMPDIR\"; test -n \"$PATH\""),
    ("leave no core", "test \"$(ulimit -c)\" = 0; test $(ulimit -n) -le 1024"),
];

/// Scripts that must fail.
const REFUSED: &[(&str, &str)] = &[
    ("read outside", "cat $P/outside"),
    ("read a home", "ls /root"),
    (
        "read secrets",
        "cat /etc/shadow || find /etc ! -perm -o=r ! -type d ! -type c -exec cat {} + | grep -q .",
    ),
    ("read a protected path", "cat $P/data/key"),
    ("list a protected path", "ls $P/data"),
    ("go through a link", "ln -s $P/data/key k; cat k"),
    ("go through a hard link", "ln $P/data/key k && cat k"),
    ("go through dots", "cat ../data/key"),
    ("go through proc", "cat /proc/self/root$P/data/key"),
    ("go through the first process", "cat /proc/1/root$P/outside"),
    ("go through any process", "cat /proc/[0-9]*/root$P/outside /proc/[0-9]*/cwd/$P/outside"),
    ("read the memory of another", "head -c 1 /proc/1/mem"),
    ("read the environment of another", "test -n \"$(cat /proc/1/environ)\""),
    ("write outside", "echo a >>$P/outside"),
    ("write to the system", "touch /usr/x || echo a >>/etc/passwd"),
    ("write where it reads", "echo a >>$P/read/file"),
    ("make beside", "mkdir $P/more"),
    ("move out", "touch a; mv a $P/read/a"),
    ("truncate outside", "truncate -s 0 $P/outside"),
    ("overwrite its program", "cp /bin/true /proc/self/exe || echo a >/proc/self/exe"),
    ("overwrite the program of another", "echo a >/proc/1/exe"),
    ("mount", "mount -t tmpfs none $P/write"),
    ("unmount", "umount $P/write"),
    ("make a namespace", "unshare -U true"),
    ("make a namespace as root", "unshare -Ur true"),
    ("make a mount namespace", "unshare -m true"),
    ("enter a namespace", "nsenter -t 1 -m true"),
    ("change its root", "chroot / true"),
    ("load a module", "[ -x /usr/bin/perl ] && perl -e 'exit(syscall(313,0,\"\",0)==-1?1:0)'"),
    ("become root", "[ -x /usr/bin/sudo ] && sudo -n true"),
    ("become another", "setpriv --reuid=1 true"),
    ("make a device", "mknod d b 254 0 && cat d"),
    ("give a file away", "touch f; chown 1 f"),
    (
        "leave its cgroup",
        "echo $$ >/sys/fs/cgroup/cgroup.procs || echo $$ >/sys/fs/cgroup/unified/cgroup.procs",
    ),
    ("set a kernel setting", "echo 1 >/proc/sys/kernel/core_pattern"),
    ("kill everybody else", "kill -0 $DAEMON && grep -q jobs /proc/$DAEMON/cmdline"),
    (
        "connect",
        "[ -x /usr/bin/perl ] && perl -MIO::Socket::INET -e \
      'exit(IO::Socket::INET->new(PeerAddr=>\"127.0.0.1\",PeerPort=>$ENV{PORT})?0:1)'",
    ),
    (
        "listen",
        "[ -x /usr/bin/perl ] && perl -MIO::Socket::INET -e \
      'exit(IO::Socket::INET->new(Listen=>1,LocalPort=>0)?0:1)'",
    ),
    (
        "reach a unix socket outside",
        "[ -x /usr/bin/perl ] && perl -MIO::Socket::UNIX -e \
      'exit(IO::Socket::UNIX->new(Peer=>\"$ARGV[0]/socket\")?0:1)' $P",
    ),
    ("use io_uring", "[ -x /usr/bin/perl ] && perl -e 'my $p=\"\\0\"x120; exit(syscall(425,1,$p)==-1?1:0)'"),
    ("trace", "[ -x /usr/bin/perl ] && perl -e 'exit(syscall(101,16,getppid(),0,0)==-1?1:0)'"),
    ("bound another process", "[ -x /usr/bin/prlimit ] && prlimit --pid $DAEMON --nofile=64:64"),
    (
        "make others wait for a file of the system",
        "[ -x /usr/bin/perl ] && perl -e 'open(F,\"<\",\"/etc/hostname\");exit(fcntl(F,1024,1)?0:1)'",
    ),
    ("ask for a key", "[ -x /usr/bin/perl ] && perl -e 'exit(syscall(250,0,-3,0)==-1?1:0)'"),
];

#[tokio::test]
async fn what_a_job_needs_works() {
    in_every_way(async |cx, place, way| {
        for (what, script) in ALLOWED {
            fs::remove_dir_all(place.path("write")).ok();
            fs::create_dir(place.path("write")).unwrap();
            fs::set_permissions(place.path("write"), fs::Permissions::from_mode(0o777)).unwrap();
            let mut job = place.job(place.confined(), &format!("set -e; {script}"));
            job.env.push(("LD_PRELOAD".to_owned(), "/nonexistent".to_owned()));
            let finished = cx.run(job).await;
            let finished = finished.unwrap_or_else(|error| unreachable!("{way}: {what}: {error:?}"));
            let said = String::from_utf8_lossy(&finished.stderr.bytes).into_owned();
            assert_eq!(finished.ending, Ending::Exited { code: 0 }, "{way}: {what}: {said}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_it_has_no_business_with_is_refused() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    in_every_way(async |cx, place, way| {
        let _unix = UnixListener::bind(place.path("socket")).unwrap();
        fs::set_permissions(place.path("socket"), fs::Permissions::from_mode(0o777)).unwrap();
        for (what, script) in REFUSED {
            let script = format!("export DAEMON={} PORT={port}; {script}", std::process::id());
            let finished = cx.run(place.job(place.confined(), &script)).await;
            let finished = finished.unwrap_or_else(|error| unreachable!("{way}: {what}: {error:?}"));
            let is_refused = matches!(finished.ending, Ending::Exited { code } if code != 0);
            assert!(is_refused, "{way}: {what}: {finished:?}");
            assert!(!finished.stdout.bytes.starts_with(b"content"), "{way}: {what}");
        }
        for file in ["outside", "read/file", "data/key"] {
            assert_eq!(fs::read_to_string(place.path(file)).unwrap(), "content\n", "{way}: {file}");
        }
    })
    .await;
}

#[tokio::test]
async fn exit_codes_and_signals_come_through() {
    in_every_way(async |cx, place, way| {
        for (script, ending) in [
            ("exit 0", Ending::Exited { code: 0 }),
            ("exit 137", Ending::Exited { code: 137 }),
            ("kill -9 $$", Ending::Signaled { signal: 9 }),
            ("kill -PIPE $$", Ending::Signaled { signal: 13 }),
        ] {
            let finished = cx.run(place.job(place.confined(), script)).await.unwrap();
            assert_eq!(finished.ending, ending, "{way}: {script}");
        }
        let missing = Job { program: "no-such-program".to_owned(), ..place.job(place.confined(), "") };
        let error = cx.run(missing).await.unwrap_err();
        assert!(matches!(error, ExecError::ProgramNotFound { .. }), "{way}: {error:?}");
        let elsewhere = Job { cwd: "/opt".into(), ..place.job(place.confined(), "") };
        assert!(cx.run(elsewhere).await.is_err() || way.contains("without"), "{way}");
    })
    .await;
}

#[tokio::test]
async fn a_job_that_leaves_somebody_leaves_nobody() {
    in_every_way(async |cx, place, way| {
        let sleep = marker();
        let script = format!("(setsid sleep {sleep} >/dev/null 2>&1 &) ; exit 3");
        let finished = cx.run(place.job(place.confined(), &script)).await.unwrap();
        assert_eq!(finished.ending, Ending::Exited { code: 3 }, "{way}");
        assert_eq!(alive(&sleep), 0, "{way}");
        let leaving = Job { survivors: Survivors::Leave, ..place.job(place.confined(), "exit 0") };
        let error = cx.run(leaving).await.unwrap_err();
        assert!(matches!(error, ExecError::ProfileInvalid { .. }), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_confined_job_may_tidy_up_at_its_deadline() {
    in_every_way(async |cx, place, way| {
        let script = "trap 'echo tidy >tidy; exit 0' TERM; echo ready >ready; while :; do sleep 0.01; done";
        let job = place.job(place.confined(), script);
        let job = Job { timeout: std::time::Duration::from_millis(700), ..job };
        let finished = cx.run(job).await.unwrap();
        assert_eq!(finished.ending, Ending::TimedOut, "{way}");
        assert!(place.path("write/tidy").exists(), "{way}: {finished:?}");
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_keeper_is_killed_is_killed() {
    in_every_way(async |cx, place, way| {
        let sleep = marker();
        let job = place.job(place.confined(), &format!("exec sleep {sleep}"));
        let kill = async {
            until("it runs", || named(&sleep).is_some()).await;
            let keeper = parent(&named(&sleep).unwrap());
            kill_process(Pid::from_raw(keeper).unwrap(), Signal::KILL).unwrap();
        };
        let (finished, ()) = tokio::join!(cx.run(job), kill);
        match finished {
            Ok(finished) => assert_eq!(finished.ending, Ending::Signaled { signal: 9 }, "{way}"),
            // So early that nobody had heard of its start.
            Err(error) => assert!(matches!(error, ExecError::SupervisorLost), "{way}: {error:?}"),
        }
        assert_eq!(alive(&sleep), 0, "{way}");
    })
    .await;
}

/// The folder in `/proc` of the sleeper of this marker.
fn named(marker: &str) -> Option<PathBuf> {
    let line = format!("sleep\0{marker}\0");
    let mut paths = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    paths.find(|path| fs::read(path.join("cmdline")).is_ok_and(|read| read == line.as_bytes()))
}

fn parent(path: &Path) -> i32 {
    let status = fs::read_to_string(path.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn roots_that_cannot_be_granted_are_refused() {
    in_every_way(async |cx, place, way| {
        let refused = async |root: &Path| {
            let confined = Confined { read_write: vec![root.to_owned()], ..Confined::default() };
            let job = Job { cwd: "/usr".into(), ..place.job(confined, "exit 0") };
            cx.run(job).await.map(|finished| finished.ending)
        };
        symlink("/", place.path("all")).unwrap();
        for root in [Path::new("/proc/self"), Path::new("/dev"), &place.path("none"), &place.path("all")] {
            let outcome = refused(root).await;
            assert!(matches!(outcome, Err(ExecError::RootRefused { .. })), "{way}: {root:?}: {outcome:?}");
        }
        symlink(place.path("data"), place.path("alias")).unwrap();
        let outcome = refused(&place.path("alias")).await;
        assert!(matches!(outcome, Err(ExecError::RootRefused { .. })), "{way}: a link: {outcome:?}");
        for root in [place.path("data"), place.path("data/key")] {
            let outcome = refused(&root).await;
            assert!(matches!(outcome, Err(ExecError::RootProtected)), "{way}: {root:?}: {outcome:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn from_other_paths_the_next_job_is_kept_by_the_same_executor() {
    let place = Place::new();
    with_config(place.config(config(Choice::Subreaper)), async |cx: Fixture| {
        let confined = || Confined { read_only: vec![place.folder.path().to_owned()], ..place.confined() };
        let reads = async |cx: &Fixture, file: &str| {
            let job = place.job(confined(), &format!("cat $P/{file}"));
            let finished = cx.run(job).await.unwrap();
            finished.ending == Ending::Exited { code: 0 }
        };
        let other = Fixture { executor: cx.executor.protecting(vec![place.path("read")]) };
        assert!(!reads(&cx, "data/key").await && reads(&cx, "read/file").await);
        assert!(reads(&other, "data/key").await && !reads(&other, "read/file").await);
    })
    .await;
}

#[tokio::test]
async fn what_lies_above_a_protected_path_stays_where_it_is() {
    in_every_way(async |cx, place, way| {
        let confined = Confined { read_write: vec![place.folder.path().to_owned()], ..Confined::default() };
        let scripts = [
            "mv $P/above $P/moved && exit 1; exit 42",
            "cat $P/moved/data/key $P/above/data/key && exit 1; exit 42",
        ];
        for script in scripts {
            match cx.run(place.job(confined.clone(), script)).await {
                Ok(finished) => {
                    assert_eq!(finished.ending, Ending::Exited { code: 42 }, "{way}: {finished:?}");
                }
                Err(ExecError::RootProtected) => assert!(way.contains("without"), "{way}"),
                Err(error) => panic!("{way}: {error:?}"),
            }
        }
        assert!(place.path("above/data/key").exists(), "{way}");
    })
    .await;
}

#[tokio::test]
async fn a_link_in_the_place_of_a_root_leads_nowhere() {
    in_every_way(async |cx, place, way| {
        let inner = place.path("write/x/inner");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(place.path("write/x"), fs::Permissions::from_mode(0o777)).unwrap();
        let confined = Confined { read_only: vec![inner], ..place.confined() };
        let swap = "cd $P/write; mv x y && mkdir x && ln -s $P x/inner";
        let finished = cx.run(place.job(confined.clone(), swap)).await.unwrap();
        assert_eq!(finished.ending, Ending::Exited { code: 0 }, "{way}: {finished:?}");
        let outcome = cx.run(place.job(confined, "cat $P/write/x/inner/outside")).await;
        assert!(matches!(outcome, Err(ExecError::RootRefused { .. })), "{way}: {outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn memory_that_others_share_is_out_of_reach() {
    in_every_way(async |cx, place, way| {
        let made = cx.run(sh("ipcmk -M 64 -p 0666 | grep -o '[0-9]*$'")).await.unwrap();
        let id = String::from_utf8(made.stdout.bytes).unwrap();
        let id = id.trim();
        let read = format!("[ -x /usr/bin/perl ] && perl -e 'my $b;exit(shmread({id},$b,0,1)?0:1)'");
        let outside = cx.run(sh(&read)).await.unwrap();
        let confined = cx.run(place.job(place.confined(), &read)).await.unwrap();
        cx.run(sh(&format!("ipcrm -m {id}"))).await.unwrap();
        assert_eq!(outside.ending, Ending::Exited { code: 0 }, "{way}: {outside:?}");
        assert_ne!(confined.ending, Ending::Exited { code: 0 }, "{way}");
    })
    .await;
}

#[tokio::test]
async fn a_protected_path_within_a_root_is_held_or_the_root_is_refused() {
    in_every_way(async |cx, place, way| {
        let confined = Confined { read_write: vec![place.folder.path().to_owned()], ..Confined::default() };
        let script = "echo a >$P/outside || exit 1; chmod 755 $P/data; mv $P/data $P/moved; rm -rf $P/data;
            ln $P/data/key k; cat $P/data/key $P/moved/key k && exit 1; echo a >$P/data/new && exit 1; exit 42";
        match cx.run(place.job(confined.clone(), script)).await {
            Ok(finished) => assert_eq!(finished.ending, Ending::Exited { code: 42 }, "{way}: {finished:?}"),
            Err(error) => assert!(way.contains("without"), "{way}: {error:?}"),
        }
        assert_eq!(fs::read_to_string(place.path("data/key")).unwrap(), "content\n", "{way}");
        // To read around it is possible in either case.
        let confined = Confined { read_only: confined.read_write, ..place.confined() };
        let script = "cat $P/outside || exit 1; cat $P/data/key || exit 42";
        let finished = cx.run(place.job(confined, script)).await.unwrap();
        assert_eq!(finished.ending, Ending::Exited { code: 42 }, "{way}: {finished:?}");
    })
    .await;
}

#[tokio::test]
async fn a_network_is_there_if_it_is_granted() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let script = format!(
        "[ ! -x /usr/bin/perl ] || perl -MIO::Socket::INET -e \
         'exit(IO::Socket::INET->new(PeerAddr=>\"127.0.0.1\",PeerPort=>{port})?0:1)'"
    );
    in_every_way(async |cx, place, way| {
        let confined = Confined { network: Network::Shared, ..place.confined() };
        let finished = cx.run(place.job(confined, &script)).await.unwrap();
        assert_eq!(finished.ending, Ending::Exited { code: 0 }, "{way}: {finished:?}");
    })
    .await;
}

#[tokio::test]
async fn root_can_run_a_job_as_somebody_else() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let place = Place::new();
    with_config(place.config(config(Choice::Detect)), async |cx: Fixture| {
        let confined = Confined { user: Some(User { uid: 1234, gid: 2345 }), ..place.confined() };
        let script = "test \"$(id -u) $(id -g) $(id -G)\" = '1234 2345 2345' && touch mine";
        let finished = cx.run(place.job(confined, script)).await.unwrap();
        assert_eq!(finished.ending, Ending::Exited { code: 0 }, "{finished:?}");
        let made = fs::metadata(place.path("write/mine")).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (1234, 2345, 0o600));
    })
    .await;
}

#[tokio::test]
async fn an_assessment_says_what_was_tried() {
    in_every_way(async |cx, place, way| {
        let full = cx.executor.assess(&Profile::Full).await.unwrap();
        let confined = cx.executor.assess(&Profile::Confined(place.confined())).await.unwrap();
        eprintln!("{way}: {confined:#?}");
        check_assessments(&full, &confined, way);
    })
    .await;
}

fn check_assessments(full: &Assessment, confined: &Assessment, way: &str) {
    let always = [
        Fence::Reads,
        Fence::Writes,
        Fence::Network,
        Fence::Sockets,
        Fence::Privileges,
        Fence::SystemCalls,
        Fence::Protected,
    ];
    for fence in always {
        assert_eq!(confined.state(fence), Some(State::Held), "{way}: {fence:?}");
    }
    assert_eq!(full.state(Fence::Reads), Some(State::Absent), "{way}");
    assert_eq!(full.state(Fence::Network), Some(State::Absent), "{way}");
    if !way.contains("without") {
        for fence in [Fence::Attributes, Fence::Processes] {
            assert_eq!(confined.state(fence), Some(State::Held), "{way}: {fence:?}");
        }
    }
}

#[tokio::test]
async fn its_environment_is_what_its_profile_keeps_and_its_stages_have_none() {
    in_every_way(async |cx, place, way| {
        let given =
            [("PATH", "/usr/bin:/bin"), ("LANG", "C"), ("HAYWARD_TOKEN", "secret"), ("BASH_ENV", "/x")];
        let env: Vec<_> = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let job =
            Job { program: "env".to_owned(), args: vec!["-0".to_owned()], ..place.job(place.confined(), "") };
        let finished = cx.run(Job { env: env.clone(), ..job }).await.unwrap();
        assert_eq!(finished.stdout.bytes, b"LANG=C\0PATH=/usr/bin:/bin\0", "{way}: {finished:?}");

        let sleep = marker();
        let job = Job { env, ..place.job(place.confined(), &format!("exec sleep {sleep}")) };
        let look = async {
            until("it runs", || named(&sleep).is_some()).await;
            let job = named(&sleep).unwrap();
            let stages = stages_above(&job);
            assert!(!stages.is_empty(), "{way}");
            for stage in stages {
                // Who isn't root may not look.
                let environment = fs::read(stage.join("environ")).unwrap_or_default();
                assert_eq!(environment, b"", "{way}");
            }
            kill_process(Pid::from_raw(number(&job)).unwrap(), Signal::KILL).unwrap();
        };
        let (finished, ()) = tokio::join!(cx.run(job), look);
        assert_eq!(finished.unwrap().ending, Ending::Signaled { signal: 9 }, "{way}");
    })
    .await;
}

/// The folders in `/proc` of the stages of this job.
fn stages_above(job: &Path) -> Vec<PathBuf> {
    let above = |path: &PathBuf| Some(PathBuf::from(format!("/proc/{}", parent(path))));
    let is_stage = |path: &PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("\0stage=")
    };
    iter::successors(above(&job.to_owned()), above).take_while(is_stage).collect()
}

/// The process of a folder in `/proc`.
fn number(path: &Path) -> i32 {
    path.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_root_may_be_a_file_and_what_lies_beside_it_is_not_seen() {
    in_every_way(async |cx, place, way| {
        fs::write(place.path("beside"), "content\n").unwrap();
        let code = async |confined: &Confined, script: &str| {
            let finished = cx.run(place.job(confined.clone(), script)).await.unwrap();
            finished.ending
        };
        let read = Confined { read_only: vec![place.path("outside")], ..place.confined() };
        let write =
            Confined { read_write: vec![place.path("write"), place.path("outside")], ..Confined::default() };
        let good = Ending::Exited { code: 0 };
        assert_eq!(code(&read, "test \"$(cat $P/outside)\" = content").await, good, "{way}");
        assert_ne!(code(&read, "echo more >>$P/outside").await, good, "{way}");
        assert_ne!(code(&read, "cat $P/beside").await, good, "{way}");
        assert_eq!(fs::read_to_string(place.path("outside")).unwrap(), "content\n", "{way}");
        assert_eq!(code(&write, "echo more >>$P/outside").await, good, "{way}");
        assert_ne!(code(&write, "cat $P/beside").await, good, "{way}");
        assert_eq!(fs::read_to_string(place.path("outside")).unwrap(), "content\nmore\n", "{way}");
    })
    .await;
}

#[tokio::test]
async fn a_root_that_is_granted_twice_is_written_to() {
    in_every_way(async |cx, place, way| {
        let roots = vec![place.path("write")];
        let confined = Confined { read_write: roots.clone(), read_only: roots, ..Confined::default() };
        let finished = cx.run(place.job(confined, "echo a >a && cat a")).await.unwrap();
        assert_eq!(finished.stdout.bytes, b"a\n", "{way}: {finished:?}");
    })
    .await;
}
