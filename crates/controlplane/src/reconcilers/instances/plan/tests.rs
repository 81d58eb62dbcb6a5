//! What is planned, in worlds that are written down.

use hayward_runtime::placement::End;

use super::super::crashes::Crashes;
use super::super::world::Phase;
use super::*;

const NOW_VERSION: u64 = 2;
const OLD_VERSION: u64 = 1;

/// A world with one server of this many replicas.
struct Scene {
    world: World,
    now: Instant,
}

impl Scene {
    fn of(replicas: u32) -> Self {
        let server = Server {
            uid: "u".to_owned(),
            name: "s".to_owned(),
            generation: 1,
            version: Ok(NOW_VERSION),
            replicas,
            idle_seconds: None,
            is_ours: true,
            problem: None,
        };
        Self { world: World { servers: vec![server], ..World::default() }, now: Instant::now() }
    }

    fn server(&mut self) -> &mut Server {
        &mut self.world.servers[0]
    }

    /// An instance that the store and the fleet know.
    fn with(mut self, name: &str, replica: u32, version: u64, phase: Phase) -> Self {
        self = self.kept(name, replica);
        let observed = Observed {
            server: "s".to_owned(),
            replica,
            version,
            phase,
            is_unhealthy: false,
            health: "unknown",
            trouble: None,
            started_at_unix: 0,
        };
        self.world.observed.insert(name.to_owned(), observed);
        self
    }

    fn kept(mut self, name: &str, replica: u32) -> Self {
        self.world.kept.push(Kept {
            uid: format!("uid-{name}"),
            name: name.to_owned(),
            server: "s".to_owned(),
            owner: Some("u".to_owned()),
            replica,
            generation: 1,
        });
        self
    }

    fn left(mut self, name: &str, replica: u32) -> Self {
        self = self.kept(name, replica);
        self.world.left.insert(name.to_owned());
        self
    }

    fn unhealthy(mut self, name: &str) -> Self {
        self.world.observed.get_mut(name).unwrap().is_unhealthy = true;
        self
    }

    fn crashed(mut self, name: &str) -> Self {
        let (observed, server) = (self.world.observed[name].clone(), self.world.servers[0].clone());
        self.world.crashes.note(&server, (name, &observed), (self.now, u8::MAX));
        self
    }

    #[track_caller]
    fn expect(&self, actions: &[&str]) -> Option<Instant> {
        let Plan { actions: planned, look_at } = plan(&self.world, self.now);
        let planned: Vec<String> = planned.iter().map(word).collect();
        assert_eq!(planned, actions);
        look_at
    }
}

fn word(action: &Action) -> String {
    match action {
        Action::Create { server, replica } => format!("create {server} {replica}"),
        Action::Adopt { server, name, replica } => format!("adopt {server} {name} {replica}"),
        Action::Stop { name } => format!("stop {name}"),
        Action::Forget { name } => format!("forget {name}"),
        Action::Delete { name } => format!("delete {name}"),
    }
}

fn crash(lived_s: u64) -> Phase {
    Phase::Ended { end: End::Exited { code: 1 }, lived_s }
}

fn stopped() -> Phase {
    Phase::Ended { end: End::Stopped, lived_s: 1 }
}

#[test]
fn as_many_run_as_are_wanted() {
    Scene::of(2).expect(&["create u 0", "create u 1"]);
    Scene::of(2).with("a", 1, NOW_VERSION, Phase::Starting).expect(&["create u 0"]);
    let both =
        Scene::of(2).with("a", 0, NOW_VERSION, Phase::Running).with("b", 1, NOW_VERSION, Phase::Starting);
    assert_eq!(both.expect(&[]), None);
    Scene::of(1)
        .with("a", 0, NOW_VERSION, Phase::Running)
        .with("b", 1, NOW_VERSION, Phase::Running)
        .expect(&["stop b"]);
    Scene::of(0).with("a", 0, NOW_VERSION, Phase::Stopping).expect(&[]);
    Scene::of(0).with("a", 0, NOW_VERSION, stopped()).expect(&["delete a", "forget a"]);
    // Of two of the same replica, the one that is ready stays.
    Scene::of(1)
        .with("a", 0, NOW_VERSION, Phase::Starting)
        .with("b", 0, NOW_VERSION, Phase::Running)
        .expect(&["stop a"]);
}

#[test]
fn what_nobody_runs_is_replaced_and_what_nobody_wants_is_gone() {
    Scene::of(1).kept("a", 0).expect(&["delete a", "create u 0"]);
    let mut gone = Scene::of(1).kept("a", 0).with("b", 1, NOW_VERSION, Phase::Running);
    gone.world.servers.clear();
    gone.expect(&["delete a", "delete b", "stop b"]);
    // A server that was deleted and made anew is another one.
    let mut anew = Scene::of(1).with("a", 0, NOW_VERSION, Phase::Running);
    anew.server().uid = "v".to_owned();
    anew.expect(&["create v 0", "delete a", "stop a"]);
    let mut stray = Scene::of(0).with("a", 0, NOW_VERSION, stopped());
    stray.world.kept.clear();
    stray.expect(&["forget a"]);
}

#[test]
fn what_a_dead_daemon_left_is_gone_on_with_if_it_is_wanted() {
    Scene::of(2).left("a", 0).expect(&["adopt u a 0", "create u 1"]);
    Scene::of(1).left("a", 0).left("b", 0).left("c", 1).expect(&["adopt u a 0", "delete b", "delete c"]);
    let mut unknown = Scene::of(1).left("a", 0);
    unknown.server().version = Err("a secret is missing".to_owned());
    unknown.expect(&["delete a"]);
    let mut elsewhere = Scene::of(1).left("a", 0);
    elsewhere.server().is_ours = false;
    elsewhere.expect(&[]);
}

#[test]
fn what_runs_elsewhere_is_left_to_whoever_runs_it() {
    let mut scene = Scene::of(1).kept("a", 0).with("b", 1, NOW_VERSION, Phase::Running);
    scene.server().is_ours = false;
    scene.expect(&["stop b"]);
}

#[test]
fn another_version_takes_the_place_of_each_replica_once_it_is_ready_and_one_after_the_other() {
    let old =
        || Scene::of(2).with("a", 0, OLD_VERSION, Phase::Running).with("b", 1, OLD_VERSION, Phase::Running);
    old().expect(&["create u 0"]);
    old().with("c", 0, NOW_VERSION, Phase::Starting).expect(&[]);
    old().with("c", 0, NOW_VERSION, Phase::Running).unhealthy("c").expect(&[]);
    old().with("c", 0, NOW_VERSION, Phase::Running).expect(&["stop a"]);
    let half = Scene::of(2)
        .with("a", 0, OLD_VERSION, Phase::Stopping)
        .with("b", 1, OLD_VERSION, Phase::Running)
        .with("c", 0, NOW_VERSION, Phase::Running);
    half.expect(&["create u 1"]);
    // An old one that ended by itself is not waited for.
    Scene::of(1).with("a", 0, OLD_VERSION, crash(5)).expect(&["delete a", "forget a", "create u 0"]);
}

#[test]
fn the_old_one_stays_while_the_new_one_fails() {
    let failing = Scene::of(2)
        .with("a", 0, OLD_VERSION, Phase::Running)
        .with("b", 1, OLD_VERSION, Phase::Running)
        .with("c", 0, NOW_VERSION, crash(0))
        .crashed("c");
    let retry = failing.expect(&[]).unwrap();
    assert_eq!(retry - failing.now, Duration::from_secs(1));
    let mut later = failing;
    later.now = retry;
    later.expect(&["delete c", "forget c", "create u 0"]);
}

#[test]
fn what_crashed_is_seen_until_its_pause_is_over_and_then_replaced() {
    let mut scene = Scene::of(1).with("a", 0, NOW_VERSION, crash(3)).crashed("a");
    let retry = scene.expect(&[]).unwrap();
    scene.now = retry;
    assert_eq!(scene.expect(&["delete a", "forget a", "create u 0"]), None);
    // Another version has no pause.
    let mut other = Scene::of(1).with("a", 0, NOW_VERSION, crash(3)).crashed("a");
    other.server().version = Ok(3);
    other.expect(&["delete a", "forget a", "create u 0"]);
    // What was stopped did not crash.
    Scene::of(1).with("a", 0, NOW_VERSION, stopped()).expect(&["delete a", "forget a", "create u 0"]);
}

#[test]
fn pauses_grow_with_each_crash_until_one_ran_for_long() {
    let scene = Scene::of(1).with("a", 0, NOW_VERSION, crash(3));
    let (server, now) = (scene.world.servers[0].clone(), scene.now);
    let mut crashes = Crashes::default();
    let mut crashes_after = |name: &str, lived_s: u64| {
        let observed = Observed { phase: crash(lived_s), ..scene.world.observed["a"].clone() };
        crashes.note(&server, (name, &observed), (now, u8::MAX));
        let crash = crashes.of("u", 0).unwrap();
        ((crash.retry_at - now).as_secs(), crash.in_a_row, crash.all)
    };
    assert_eq!(crashes_after("a", 3), (1, 1, 1));
    assert_eq!(crashes_after("a", 3), (1, 1, 1), "one is noted once");
    assert_eq!(crashes_after("b", 3), (2, 2, 2));
    assert_eq!(crashes_after("c", 599), (4, 3, 3));
    assert_eq!(crashes_after("d", 600), (1, 1, 4));
    crashes.keep(&[]);
    assert_eq!(crashes, Crashes::default());
}

#[test]
fn without_a_secret_nothing_starts_and_what_runs_stays() {
    let mut scene = Scene::of(2).with("a", 0, OLD_VERSION, Phase::Running);
    scene.server().version = Err("secret `s` is not there".to_owned());
    scene.expect(&[]);
    let mut crashed = Scene::of(1).with("a", 0, OLD_VERSION, crash(3));
    crashed.server().version = Err("secret `s` is not there".to_owned());
    crashed.expect(&["delete a", "forget a"]);
}

#[test]
fn what_nobody_calls_is_stopped_and_starts_with_the_next_call() {
    let mut scene = Scene::of(1).with("a", 0, NOW_VERSION, Phase::Running);
    scene.server().idle_seconds = Some(60);
    let start = scene.now;
    scene.world.demand.insert("s".to_owned(), start);
    assert_eq!(scene.expect(&[]), Some(start + Duration::from_mins(1)));
    scene.now = start + Duration::from_mins(1);
    assert_eq!(scene.expect(&["stop a"]), None);
    let mut called = Scene::of(1);
    called.server().idle_seconds = Some(60);
    called.expect(&[]);
    called.world.demand.insert("s".to_owned(), called.now);
    called.expect(&["create u 0"]);
}
