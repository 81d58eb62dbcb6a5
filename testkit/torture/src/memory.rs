//! Little memory (a cgroup) and clients that send as much as they may, all at once.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::daemon::{Daemon, Started};
use crate::fault::Trial;
use crate::history::Verdict;
use crate::house::{House, Subject, Tokens};
use crate::programs::{holds_within, pause};
use crate::random::Random;
use crate::script::Deed;
use crate::tally::Tally;

/// What the daemon may take.
const LIMIT_BYTES: u64 = 256 << 20;
/// Clients at once: together they send three times as much.
const CLIENTS: usize = 24;
/// Bytes of each body: nearly as many as a body may have.
const BODY_BYTES: usize = 30 << 20;
/// How often each sends one.
const ROUNDS: usize = 3;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon calls are served when they have gone.
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);
/// How long what was in the cgroup may be seen there.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// Trees of cgroups that bound memory: the folder, and the files of the limit and of its events.
const TREES: [(&str, &str, &str); 2] = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
    ("/sys/fs/cgroup", "memory.max", "memory.events"),
];

/// A cgroup that is gone when it is dropped.
#[derive(Debug)]
struct Bound {
    folder: PathBuf,
    events: &'static str,
}

impl Bound {
    fn new() -> Result<Self> {
        let mut last = None;
        for (tree, limit, events) in TREES {
            let folder = Path::new(tree).join(format!("hayward-torture-{}", std::process::id()));
            let made = fs::create_dir(&folder).and_then(|()| {
                fs::write(folder.join(limit), LIMIT_BYTES.to_string()).inspect_err(|_| {
                    fs::remove_dir(&folder).ok();
                })
            });
            match made {
                Ok(()) => return Ok(Self { folder, events }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| std::io::ErrorKind::NotFound.into()))
            .context("memory can't be bounded here")
    }

    /// The words that run the command behind them in there.
    fn words(&self) -> [String; 4] {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.folder.display());
        ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]
    }

    /// Processes that the kernel has killed since there was no memory left.
    fn killed(&self) -> u64 {
        let events = fs::read_to_string(self.folder.join(self.events)).unwrap_or_default();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        holds_within(EMPTY_WITHIN, || fs::remove_dir(&self.folder).is_ok());
    }
}

/// Why memory can't be bounded here; none if it can.
pub fn missing() -> Option<String> {
    Bound::new().err().map(|error| format!("{error:#}"))
}

/// Lets many clients send much to a daemon that has little.
pub fn run(subject: &Subject, seed: u64, tell: &dyn Fn(&Trial)) -> Result<Vec<Trial>> {
    let bound = Bound::new()?;
    let name = format!("{} MiB of memory, {CLIENTS} clients with bodies of 30 MiB", LIMIT_BYTES >> 20);
    let mut tally = Tally { injected: 1, ..Tally::default() };
    let mut house = House::new(subject, Tokens::Stored)?;
    let Started::Ready(mut daemon) = house.begin(&bound.words())? else {
        anyhow::bail!("no start with little memory: {}", house.log());
    };
    house.play(&daemon, &mut Random::new(seed), 1, 6)?;
    flood(&house, &daemon);
    if bound.killed() > 0 || !daemon.is_running() {
        tally.violation(format!("{name}: {} processes were killed for want of memory", bound.killed()));
    }
    let began = Instant::now();
    while house.send(&daemon, Deed::Append)? != Verdict::Done {
        if began.elapsed() > RECOVERED_WITHIN {
            tally.violation(format!("{name}: no call is served again: {:?}", house.entries.last()));
            break;
        }
        pause(Duration::from_millis(20));
    }
    tally.slowest_recovery = began.elapsed();
    daemon.stop()?;
    house.settle(&mut tally, &name)?;
    tally.calls = u64::try_from(house.entries.len() + CLIENTS * ROUNDS).unwrap_or(0);
    let trial = Trial { name, tally };
    tell(&trial);
    Ok(vec![trial])
}

/// All clients at once. What they are answered doesn't matter: their calls write nothing that anybody looks for.
fn flood(house: &House, daemon: &Daemon) {
    let client = house.client(daemon);
    let nowhere = house.beside("nowhere").join("file").display().to_string();
    let (before, after) = (
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"write_file","arguments":{{"file_path":"{nowhere}","content":""#
        ),
        r#""}}}"#,
    );
    let body = [before.as_bytes(), &vec![b'x'; BODY_BYTES], after.as_bytes()].concat();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    // Who is hung up on comes again.
                    send(daemon.address, &client.credentials.rw, &body).ok();
                }
            });
        }
    });
}

fn send(address: SocketAddr, token: &str, body: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}
