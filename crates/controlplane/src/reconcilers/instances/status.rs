//! What is written down of instances and their servers: pure functions of the world.

use hayward_api::kinds::Condition;
use hayward_runtime::placement::End;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::crashes::Crash;
use super::plan::desired;
use super::world::{Kept, Observed, Phase, Server, World};
use crate::limits::{CRASH_LOOP, STEADY};

/// Whether as many instances are ready as are to run.
const READY: &str = "Ready";
/// Why it is, if that is no other reason.
const ALL_READY: &str = "AllReady";
/// Whether instances crash again and again.
const CRASHES: &str = "CrashLoop";
/// Whether a value of a secret isn't there.
const SECRET: &str = "SecretMissing";
/// Whether somebody has to grant access to it.
pub(super) const ACCESS: &str = "AuthorizationRequired";
/// Whether what is stored of it can't be read.
pub(super) const UNREADABLE: &str = "SpecUnreadable";

/// The conditions of a server that are ours to say.
pub(super) const OURS: [&str; 5] = [READY, CRASHES, SECRET, ACCESS, UNREADABLE];

/// The status of an instance, which runs on the node of this name.
pub(super) fn of_instance(world: &World, kept: &Kept, node: &str) -> Option<Value> {
    let observed = world.observed.get(&kept.name)?;
    let server = world.servers.iter().find(|server| server.name == kept.server)?;
    let restarts = world.crashes.of(&server.uid, kept.replica).map_or(0, |crash| crash.all);
    let mut status = json!({
        "phase": phase(&observed.phase),
        "health": observed.health,
        "restarts": restarts,
        "node": node,
    });
    if let Ok(at) = Timestamp::from_second(observed.started_at_unix) {
        status["startedAt"] = at.to_string().into();
    }
    if let Some(reason) = reason(observed) {
        status["reason"] = reason.into();
    }
    Some(status)
}

fn phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::Starting => "STARTING",
        Phase::Running => "RUNNING",
        Phase::Stopping => "STOPPING",
        Phase::Ended { end: End::Stopped, .. } => "STOPPED",
        Phase::Ended { .. } => "ERROR",
    }
}

fn reason(observed: &Observed) -> Option<String> {
    match &observed.phase {
        Phase::Ended { end, .. } => how(end),
        Phase::Starting | Phase::Running | Phase::Stopping => observed.trouble.clone(),
    }
}

/// How an instance ended, in words; nothing of one that was stopped.
pub(super) fn how(end: &End) -> Option<String> {
    match end {
        End::Exited { code } => Some(format!("it exited with {code}")),
        End::Signaled { signal } => Some(format!("signal {signal} ended it")),
        End::OutOfMemory => Some("it used more memory than it may".to_owned()),
        End::Failed { why } => Some(why.clone()),
        End::Stopped => None,
    }
}

/// What is to be said of a server.
pub(super) fn of_server(world: &World, server: &Server, now: Instant) -> Vec<Condition> {
    let (replicas, _) = desired(server, world.demand.get(&server.name).copied(), now);
    let of_server = |kept: &&Kept| kept.server == server.name;
    let observed: Vec<&Observed> =
        world.kept.iter().filter(of_server).filter_map(|kept| world.observed.get(&kept.name)).collect();
    let ready =
        (0..replicas).filter(|replica| observed.iter().any(|it| it.replica == *replica && it.is_ready()));
    let ready = u32::try_from(ready.count()).unwrap_or(u32::MAX);
    // What crashed long ago is no reason any more: whoever runs steadily begins anew.
    let is_recent = |crash: &&Crash| now.saturating_duration_since(crash.retry_at) < STEADY;
    let crashed =
        world.crashes.worst(server).filter(|crash| server.version == Ok(crash.version)).filter(is_recent);
    let mut conditions = vec![is_ready(server, (ready, replicas), (&observed, crashed))];
    if let Some(problem) = &server.problem {
        conditions.push(Condition::new(problem.kind, "True", problem.reason, problem.message.clone()));
    } else if let Some(crash) = crashed.filter(|crash| crash.in_a_row >= CRASH_LOOP) {
        let (times, why) = (crash.in_a_row, &crash.why);
        let message = if crash.has_run {
            format!(
                "an instance crashed {times} times in a row, the last time as {why}: `hayward logs {}` may say more",
                server.name
            )
        } else {
            format!("an instance failed to start {times} times in a row: {why}")
        };
        conditions.push(Condition::new(CRASHES, "True", "Crashing", message));
    }
    let is_read = server.problem.as_ref().is_none_or(|problem| problem.kind != UNREADABLE);
    if let Err(missing) = &server.version
        && is_read
    {
        conditions.push(Condition::new(SECRET, "True", "NotResolved", missing.clone()));
    }
    conditions
}

fn is_ready(
    server: &Server,
    (ready, replicas): (u32, u32),
    (observed, crashed): (&[&Observed], Option<&Crash>),
) -> Condition {
    let counts = format!("{ready} of {replicas} instances are ready");
    if ready >= replicas {
        let (reason, message) = match (replicas, server.replicas) {
            (0, 0) => ("NoneWanted", "no instances are wanted".to_owned()),
            (0, _) => ("Idle", "nobody calls it: its instances start with the next call".to_owned()),
            _ => (ALL_READY, counts),
        };
        return Condition::new(READY, "True", reason, message);
    }
    let trouble = observed.iter().filter(|it| !it.is_ready()).find_map(|it| reason(it));
    // While it is tried again, what was the matter before is still what there is to know.
    let before =
        || crashed.map(|crash| format!("it is tried again ({} times so far): {}", crash.in_a_row, crash.why));
    let message = match trouble.or_else(before) {
        Some(trouble) => format!("{counts}: {trouble}"),
        None => counts,
    };
    let reason = if let Some(problem) = &server.problem {
        problem.reason
    } else if server.version.is_err() {
        "SecretMissing"
    } else if observed.iter().any(|it| it.is_unhealthy) {
        "Unhealthy"
    } else if crashed.is_some() || observed.iter().any(|it| it.has_crashed()) {
        "Crashed"
    } else {
        "Starting"
    };
    Condition::new(READY, "False", reason, message)
}

/// A status with these conditions of ours, and those of others as they are; its phase is `Ready`, or why it is another one.
pub(super) fn merged(before: Option<&Value>, conditions: &[Condition]) -> Value {
    let mut status = before.cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    let others = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let others = others.into_iter().filter(|it| !OURS.iter().any(|ours| it["type"] == **ours));
    let all: Vec<Value> = others.chain(conditions.iter().map(|condition| json!(condition))).collect();
    status["conditions"] = all.into();
    if let Some(ready) = conditions.iter().find(|it| it.kind == READY) {
        status["phase"] = if ready.reason == ALL_READY { READY } else { &ready.reason }.into();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::super::world::Problem;
    use super::*;

    fn observed(replica: u32, phase: Phase) -> Observed {
        Observed {
            server: "s".to_owned(),
            replica,
            version: 1,
            phase,
            is_unhealthy: false,
            health: "healthy",
            trouble: None,
            started_at_unix: 60,
        }
    }

    /// A server of two replicas, and these instances of it.
    fn world(instances: Vec<Observed>) -> World {
        let mut world = World::default();
        world.servers.push(Server {
            uid: "u".to_owned(),
            name: "s".to_owned(),
            generation: 1,
            version: Ok(1),
            replicas: 2,
            idle_seconds: None,
            is_ours: true,
            problem: None,
        });
        for (at, observed) in instances.into_iter().enumerate() {
            let (name, replica) = (format!("s-{at}"), observed.replica);
            let kept = Kept {
                uid: name.clone(),
                name: name.clone(),
                server: "s".to_owned(),
                owner: Some("u".to_owned()),
                replica,
                generation: 1,
            };
            world.kept.push(kept);
            world.observed.insert(name, observed);
        }
        world
    }

    fn said(world: &World) -> Vec<(String, String, String)> {
        let conditions = of_server(world, &world.servers[0], Instant::now()).into_iter();
        conditions.map(|it| (it.kind.into(), it.reason.into(), it.message.into())).collect()
    }

    #[track_caller]
    fn check(world: &World, expect: &[(&str, &str, &str)]) {
        let said = said(world);
        let said: Vec<_> =
            said.iter().map(|(kind, reason, message)| (&**kind, &**reason, &**message)).collect();
        assert_eq!(said, expect);
    }

    #[test]
    fn a_server_says_how_many_are_ready_and_what_is_in_the_way() {
        let ended = |end: End| Phase::Ended { end, lived_s: 1 };
        check(&world(vec![]), &[("Ready", "Starting", "0 of 2 instances are ready")]);
        let both = world(vec![observed(0, Phase::Running), observed(1, Phase::Running)]);
        check(&both, &[("Ready", "AllReady", "2 of 2 instances are ready")]);
        let one = world(vec![observed(0, Phase::Running), observed(1, ended(End::OutOfMemory))]);
        let message = "1 of 2 instances are ready: it used more memory than it may";
        check(&one, &[("Ready", "Crashed", message)]);
        let unwell = Observed { is_unhealthy: true, ..observed(1, Phase::Running) };
        let unwell = world(vec![observed(0, Phase::Running), unwell]);
        check(&unwell, &[("Ready", "Unhealthy", "1 of 2 instances are ready")]);
        // Two of one replica are not both replicas.
        let rolling = world(vec![observed(0, Phase::Running), observed(0, Phase::Running)]);
        check(&rolling, &[("Ready", "Starting", "1 of 2 instances are ready")]);
        let mut missing = world(vec![]);
        missing.servers[0].version = Err("no key".to_owned());
        check(
            &missing,
            &[
                ("Ready", "SecretMissing", "0 of 2 instances are ready"),
                ("SecretMissing", "NotResolved", "no key"),
            ],
        );
        let mut refused = world(vec![]);
        refused.servers[0].problem =
            Some(Problem { kind: ACCESS, reason: "NotAuthorized", message: "say so".to_owned() });
        check(
            &refused,
            &[
                ("Ready", "NotAuthorized", "0 of 2 instances are ready"),
                ("AuthorizationRequired", "NotAuthorized", "say so"),
            ],
        );
        let mut looping = world(vec![observed(0, Phase::Running), observed(1, Phase::Running)]);
        let (server, now) = (looping.servers[0].clone(), Instant::now());
        for name in ["a", "b", "c"] {
            looping.crashes.note(&server, (name, &observed(1, ended(End::Exited { code: 1 }))), (now, 0));
        }
        assert_eq!(said(&looping)[1].0, "CrashLoop");
        let status = of_instance(&looping, &looping.kept[1], "n").unwrap();
        let expect = json!({
            "phase": "RUNNING", "health": "healthy", "restarts": 3, "node": "n", "startedAt": "1970-01-01T00:01:00Z"});
        assert_eq!(status, expect);
    }

    #[test]
    fn what_others_say_of_a_server_stays() {
        let of = |kind: &'static str, status: &'static str| Condition::new(kind, status, "R", "m");
        let before = json!({"x": 1, "conditions": [of("CrashLoop", "True"), of("ManifestBroken", "True")]});
        let after = merged(Some(&before), &[of("Ready", "True")]);
        let both = [of("ManifestBroken", "True"), of("Ready", "True")];
        assert_eq!(after, json!({"x": 1, "conditions": both, "phase": "R"}));
        let ready = [Condition::new("Ready", "True", "AllReady", "m")];
        assert_eq!(merged(Some(&after), &ready)["phase"], "Ready");
        assert_eq!(merged(None, &[]), json!({"conditions": []}));
    }
}
