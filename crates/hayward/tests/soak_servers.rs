//! The real binary in front of servers that die, freeze, flood and lie, with two hundred clients of both eras, and killed
//! itself in the middle: each call has one outcome, and afterwards nothing is left.
//!
//! `HAYWARD_TEST_SOAK_SECONDS` says for how long (`cargo xtask ci --full`: minutes); else some seconds.
//! `HAYWARD_TEST_SOAK_SEED` is the seed of an earlier run, which each run prints.
#![cfg(test)]

#[path = "gateway/rig.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod rig;

#[path = "soak_servers/clients.rs"]
mod clients;
#[path = "soak_servers/holdings.rs"]
mod holdings;
#[path = "soak_servers/ledger.rs"]
mod ledger;
#[path = "soak_servers/torment.rs"]
mod torment;
#[path = "soak_servers/world.rs"]
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clients::{Course, Entry};
use holdings::holdings;
use tokio::task::JoinSet;
use torment::Torment;
use world::{SERVERS, World};

/// How many clients there are.
const CLIENTS: usize = 200;

/// What the daemon may take at most, in a build for tests.
const RESIDENT_KIB_MAX: u64 = 256 * 1024;

/// How much it may have grown since it was warm, once it ran for long.
const GROWN_KIB_MAX: u64 = 24 * 1024;

/// How long a run has to be for growth to say something.
const LONG: Duration = Duration::from_mins(1);

#[expect(
    clippy::disallowed_methods,
    reason = "how the test command says for how long, and again with which seed"
)]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    number("HAYWARD_TEST_SOAK_SEED").unwrap_or_else(|| u64::from(now.subsec_nanos()) ^ now.as_secs())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_misbehave_cost_their_own_calls_and_leave_nothing() {
    let duration = Duration::from_secs(number("HAYWARD_TEST_SOAK_SECONDS").unwrap_or(8));
    let seed = seed();
    eprintln!("HAYWARD_TEST_SOAK_SEED={seed} for {duration:?}");
    let mut world = World::start(seed).await;
    let calm = holdings(world.daemon().pid());

    let course = Arc::new(Course::new(world.daemon().address, world.tokens().await, seed));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(clients::run(Arc::clone(&course), number));
    }
    let mut torment = Torment::new(seed, duration >= LONG);
    let began = Instant::now();
    torment.go_on(&mut world, began + duration * 2 / 5).await;

    // In the middle of everything.
    let before = world.processes();
    course.down();
    world.kill();
    world.are_gone(&before).await;
    world.restart();
    course.up();
    torment.go_on(&mut world, began + duration * 3 / 5).await;
    let warm = holdings(world.daemon().pid());
    torment.go_on(&mut world, began + duration).await;

    course.end();
    let entries: Vec<Entry> = clients.join_all().await.into_iter().flatten().collect();
    let noted = world.cgroups();
    world.recover().await;
    let end = world.settled(&calm).await;
    eprintln!("{}", ledger::summary(&entries));
    eprintln!("{:?}: calm {calm:?}, warm {warm:?}, end {end:?}, {torment}", began.elapsed());
    assert!(end.resident_kib <= RESIDENT_KIB_MAX, "{warm:?} {end:?}");
    if duration >= LONG {
        assert!(end.resident_kib <= warm.resident_kib + GROWN_KIB_MAX, "{warm:?} {end:?}");
    }
    assert_eq!(world.processes().len(), world::PROCESSES, "each copy runs once");

    let left = world.stop();
    assert_eq!(left, [""; 0], "something is left");
    assert_eq!(holdings::existing(&noted), [""; 0], "cgroups are left");
    let wrong = ledger::violations(&entries, &world.record(), course.outage());
    assert!(wrong.is_empty(), "{} violations, of which {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    let answered = |server: &str| entries.iter().any(|entry| entry.server == server && entry.is_done());
    assert!(SERVERS.iter().all(|server| answered(server.name)), "a server has never answered");
    world.verify();
}
