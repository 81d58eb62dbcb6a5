//! What runs: a daemon, six servers of three copies each, and what is to be left of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hayward_testkit::chaos::{Elsewhere, Program};
use hayward_testkit::daemon::{Daemon, command};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::holdings::{Holdings, cgroups_of, holdings};
use crate::rig::{PATIENCE, Rig};

/// One of the servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declared {
    pub(crate) name: &'static str,
    is_modern: bool,
    /// Whether it runs elsewhere.
    pub(crate) is_http: bool,
}

const fn declared(name: &'static str, is_modern: bool, is_http: bool) -> Declared {
    Declared { name, is_modern, is_http }
}

pub(crate) const SERVERS: [Declared; 6] = [
    declared("la", false, false),
    declared("lb", false, false),
    declared("ma", true, false),
    declared("mb", true, false),
    declared("lh", false, true),
    declared("mh", true, true),
];

const REPLICAS: usize = 3;

/// How many processes of servers run below the daemon when all is well.
pub(crate) const PROCESSES: usize = 4 * REPLICAS;

/// Credentials that the clients share, so that none of them has too many calls at once.
const TOKENS: usize = 8;

/// Descriptors and processes that come and go: kept connections, idle supervisors.
const SLACK: usize = 64;

pub(crate) struct World {
    rig: Rig,
    program: Program,
    /// The servers that run elsewhere, in their order.
    elsewhere: Vec<Elsewhere>,
    seed: u64,
    /// Makes another version of a server.
    round: u64,
    cgroups: BTreeSet<PathBuf>,
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl World {
    pub(crate) async fn start(seed: u64) -> Self {
        let binary = Path::new(env!("CARGO_BIN_EXE_hayward"));
        let program = Program::install(&binary.with_file_name("examples/chaos")).unwrap();
        let rig = Rig::start();
        let mut world =
            Self { rig, program, elsewhere: Vec::new(), seed, round: 0, cgroups: BTreeSet::new() };
        for server in SERVERS.iter().filter(|server| server.is_http) {
            let args = world.args(*server);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let elsewhere = Elsewhere::start(&world.program, world.rig.folder.path(), &args).unwrap();
            world.elsewhere.push(elsewhere);
        }
        for server in SERVERS {
            world.declare(server).await;
        }
        let servers = SERVERS.map(|server| server.name);
        world.rig.declare("projects", "all", json!({ "servers": servers })).await;
        world.answer().await;
        world
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        &self.rig.daemon
    }

    pub(crate) async fn tokens(&self) -> Vec<String> {
        let mut tokens = Vec::new();
        for _ in 0..TOKENS {
            tokens.push(self.rig.token("rw", &SERVERS.map(|server| server.name), &["all"]).await);
        }
        tokens
    }

    fn args(&self, server: Declared) -> Vec<String> {
        let seed = server.name.bytes().fold(self.seed, |seed, byte| seed.rotate_left(8) ^ u64::from(byte));
        let mut args: Vec<String> = ["--percent", "10", "--seed"].map(str::to_owned).into();
        args.push(seed.to_string());
        args.extend(server.is_modern.then(|| "--modern".to_owned()));
        args
    }

    /// Declares a server; each time it is another version.
    pub(crate) async fn declare(&mut self, server: Declared) {
        self.round += 1;
        let replicas = u32::try_from(REPLICAS).unwrap();
        let mut spec = json!({"replicas": replicas, "timeoutSeconds": 2});
        if server.is_http {
            let https: Vec<_> = SERVERS.iter().filter(|other| other.is_http).collect();
            let at = https.iter().position(|other| other.name == server.name).unwrap();
            spec["externalUrl"] = json!(self.elsewhere[at].url());
            spec["headers"] = json!([{"name": "X-Round", "value": self.round.to_string()}]);
        } else {
            spec["command"] = json!([self.program.path()]);
            spec["args"] = json!(self.args(server));
            spec["env"] = json!([{"name": "ROUND", "value": self.round.to_string()}]);
            spec["healthCheck"] = json!({"intervalSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2});
        }
        self.rig.declare("servers", server.name, spec).await;
    }

    /// The processes of servers below the daemon.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let is_elsewhere = |pid: &Pid| {
            let command = std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            command.is_ok_and(|command| command.contains("--http"))
        };
        self.program.processes().into_iter().filter(|pid| !is_elsewhere(pid)).collect()
    }

    /// The servers that run elsewhere.
    pub(crate) fn elsewhere(&mut self) -> &mut [Elsewhere] {
        &mut self.elsewhere
    }

    /// Notes the cgroups in which servers are now.
    pub(crate) fn look(&mut self) {
        for pid in self.processes() {
            self.cgroups.extend(cgroups_of(pid));
        }
    }

    /// Calls a tool of a server as the administrator of the soak, not as a client of it.
    pub(crate) fn call(&self, token: String, server: &str, fault: &str) -> impl Future<Output = ()> + use<> {
        let arguments = json!({"fault": fault, "mark": "torment"});
        let params = json!({"name": "act", "arguments": arguments});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
        let (address, path) = (self.rig.daemon.address, format!("/servers/{server}/mcp"));
        async move {
            let headers = [("authorization", &*format!("Bearer {token}"))];
            let calling = hayward_testkit::client::post(address, &path, &headers, &body);
            drop(tokio::time::timeout(PATIENCE, calling).await);
        }
    }

    pub(crate) async fn token(&self) -> String {
        self.rig.token("rw", &SERVERS.map(|server| server.name), &[]).await
    }

    /// Kills the daemon as nothing that it could notice would.
    pub(crate) fn kill(&mut self) {
        self.look();
        self.rig.daemon.signal(Signal::KILL).unwrap();
        self.rig.daemon.wait().unwrap();
    }

    /// Waits until none of these processes is there any more.
    pub(crate) async fn are_gone(&self, processes: &[Pid]) {
        until("processes outlive the daemon that started them", || {
            let there = self.program.processes();
            !processes.iter().any(|pid| there.contains(pid))
        })
        .await;
    }

    pub(crate) fn restart(&mut self) {
        let (data, port) = (self.rig.folder.path().join("data"), self.rig.daemon.address.port());
        self.rig.daemon = Daemon::start_on(env!("CARGO_BIN_EXE_hayward"), &data, port).unwrap();
    }

    /// All servers are as they should be: another version of each begins without the pauses of the one before.
    pub(crate) async fn recover(&mut self) {
        for elsewhere in &mut self.elsewhere {
            elsewhere.start_again().unwrap();
        }
        for server in SERVERS {
            self.declare(server).await;
        }
        self.answer().await;
    }

    /// Waits until each server answers a call.
    async fn answer(&self) {
        let token = self.token().await;
        for server in SERVERS {
            let path = format!("/servers/{}/mcp", server.name);
            let arguments = json!({"fault": "none", "mark": "well"});
            let started = Instant::now();
            loop {
                let answer = self.rig.call(&path, &token, "act", arguments.clone()).await;
                if answer["result"]["content"][0]["text"] == "well" {
                    break;
                }
                if started.elapsed() > PATIENCE {
                    let seen = self.rig.manage("GET", &format!("servers/{}", server.name), "").await.body;
                    panic!("{} does not answer: {answer} {seen}", server.name);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let all = |instances: &Value| {
            let instances = instances.as_array().cloned().unwrap_or_default();
            let runs = instances.iter().filter(|it| it["status"]["phase"] == "RUNNING").count();
            (runs, instances.len()) == (SERVERS.len() * REPLICAS, SERVERS.len() * REPLICAS)
        };
        self.rig.until("instances", all).await;
    }

    /// What the daemon holds once it has come to rest.
    pub(crate) async fn settled(&self, calm: &Holdings) -> Holdings {
        let pid = self.rig.daemon.pid();
        let is_at_rest = || {
            let now = holdings(pid);
            let is_grown = |now: usize, calm: usize, slack: usize| now > calm + slack;
            !is_grown(now.descriptors, calm.descriptors, SLACK)
                && !is_grown(now.children, calm.children, SLACK / 4)
                && !is_grown(now.threads, calm.threads, SLACK / 4)
        };
        let started = Instant::now();
        while !is_at_rest() {
            assert!(started.elapsed() < PATIENCE, "before: {calm:?}, now: {:?}", holdings(pid));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        until("more processes than copies", || self.processes().len() == PROCESSES).await;
        let homes = self.homes();
        assert_eq!(homes.len(), PROCESSES, "{homes:?}");
        holdings(pid)
    }

    pub(crate) fn cgroups(&mut self) -> BTreeSet<PathBuf> {
        self.look();
        self.cgroups.clone()
    }

    fn listed(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.rig.folder.path().join("data").join(folder));
        entries.into_iter().flatten().map(|entry| entry.unwrap().path().display().to_string()).collect()
    }

    fn homes(&self) -> Vec<String> {
        self.listed("instances")
    }

    /// Ends the daemon, and says what is left of it.
    pub(crate) fn stop(&mut self) -> Vec<String> {
        let pid = self.rig.daemon.pid();
        self.rig.daemon.signal(Signal::TERM).unwrap();
        self.rig.daemon.wait().unwrap();
        let mut left = self.homes();
        left.extend(self.listed("spool"));
        left.extend(self.processes().iter().map(|pid| format!("process {pid:?}")));
        left.extend(crate::holdings::below(pid).iter().map(|pid| format!("supervisor {pid}")));
        left
    }

    /// The folder of the record.
    pub(crate) fn record(&self) -> PathBuf {
        self.rig.folder.path().join("data/audit")
    }

    /// Has the binary itself verify the record.
    pub(crate) fn verify(&self) {
        let data = self.rig.folder.path().join("data");
        let args = ["audit", "verify", "--data-dir", data.to_str().unwrap()];
        let output = command(env!("CARGO_BIN_EXE_hayward"), args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
