//! What is written down of instances and their servers: pure functions of the world.

use hayward_api::kinds::Condition;
use hayward_runtime::placement::End;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::plan::desired;
use super::world::{Kept, Observed, Phase, Server, World};
use crate::limits::CRASH_LOOP;

/// Whether as many instances are ready as are to run.
const READY: &str = "Ready";
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
fn how(end: &End) -> Option<String> {
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
    let mut conditions = vec![is_ready(server, (ready, replicas), &observed)];
    let crashes = world.crashes.worst(server);
    if let Some(problem) = &server.problem {
        conditions.push(Condition::new(problem.kind, "True", problem.reason, problem.message.clone()));
    } else if crashes >= CRASH_LOOP {
        let message = format!("an instance crashed {crashes} times in a row: look at its log");
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

fn is_ready(server: &Server, (ready, replicas): (u32, u32), observed: &[&Observed]) -> Condition {
    let counts = format!("{ready} of {replicas} instances are ready");
    if ready >= replicas {
        let (reason, message) = match (replicas, server.replicas) {
            (0, 0) => ("NoneWanted", "no instances are wanted".to_owned()),
            (0, _) => ("Idle", "nobody calls it: its instances start with the next call".to_owned()),
            _ => ("AllReady", counts),
        };
        return Condition::new(READY, "True", reason, message);
    }
    let trouble = observed.iter().filter(|it| !it.is_ready()).find_map(|it| reason(it));
    let message = trouble.map_or_else(|| counts.clone(), |trouble| format!("{counts}: {trouble}"));
    let reason = if let Some(problem) = &server.problem {
        problem.reason
    } else if server.version.is_err() {
        "SecretMissing"
    } else if observed.iter().any(|it| it.has_crashed()) {
        "Crashed"
    } else if observed.iter().any(|it| it.is_unhealthy) {
        "Unhealthy"
    } else {
        "Starting"
    };
    Condition::new(READY, "False", reason, message)
}

/// A status with these conditions of ours, and those of others as they are.
pub(super) fn merged(before: Option<&Value>, conditions: &[Condition]) -> Value {
    let mut status = before.cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    let others = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let others = others.into_iter().filter(|it| !OURS.iter().any(|ours| it["type"] == **ours));
    let all: Vec<Value> = others.chain(conditions.iter().map(|condition| json!(condition))).collect();
    status["conditions"] = all.into();
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
        assert_eq!(after, json!({"x": 1, "conditions": [of("ManifestBroken", "True"), of("Ready", "True")]}));
        assert_eq!(merged(None, &[]), json!({"conditions": []}));
    }
}
