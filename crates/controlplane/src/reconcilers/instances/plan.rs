//! What is to be done so that what runs is what is wanted: a pure function of the world.
//!
//! ```text
//!  no instance          ──► create
//!  left by a dead one   ──► adopt; what can't be adopted ends, and another one is created
//!  crashed              ──► after a pause: delete, create
//!  of an older version  ──► create the new one beside it; once that is ready, stop the old one; then the next replica
//!  too many, or unknown ──► stop; once it is gone, delete
//! ```

use std::cmp::Reverse;
use std::time::Duration;

use tokio::time::Instant;

use super::world::{Kept, Observed, Server, World};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Write down an instance of the server of this uid, and start it.
    Create {
        /// The server.
        server: String,
        /// Which of the copies it is.
        replica: u32,
    },
    /// Go on with an instance of the store that a daemon that died has left.
    Adopt {
        /// Its server.
        server: String,
        /// Its name.
        name: String,
        /// Which of the copies it is.
        replica: u32,
    },
    /// Have an instance of the fleet end.
    Stop {
        /// Its name.
        name: String,
    },
    /// Forget an instance of the fleet that is gone.
    Forget {
        /// Its name.
        name: String,
    },
    /// Delete an instance of the store.
    Delete {
        /// Its name.
        name: String,
    },
}

/// What is to be done now, and when to look again although nothing happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// In this order.
    pub(super) actions: Vec<Action>,
    /// When the passing of time alone makes a difference.
    pub(super) look_at: Option<Instant>,
}

/// What is to be done.
pub(super) fn plan(world: &World, now: Instant) -> Plan {
    let mut plan = Plan::default();
    for server in &world.servers {
        if server.is_ours {
            Planner { world, server, now, plan: &mut plan }.run();
        }
    }
    for kept in &world.kept {
        if !world.servers.iter().any(|server| is_of(kept, server)) {
            plan.delete(&kept.name);
        }
    }
    let is_kept = |name: &str| {
        let kept = world.kept.iter().find(|kept| kept.name == name);
        kept.is_some_and(|kept| world.servers.iter().any(|server| server.is_ours && is_of(kept, server)))
    };
    let mut strays: Vec<_> = world.observed.iter().filter(|(name, _)| !is_kept(name)).collect();
    strays.sort_by_key(|(name, _)| *name);
    for (name, observed) in strays {
        plan.take_out(name, observed);
    }
    plan
}

/// How many copies of a server are to run, and until when if nobody calls it.
pub(super) fn desired(server: &Server, wanted_at: Option<Instant>, now: Instant) -> (u32, Option<Instant>) {
    let Some(idle) = server.idle_seconds else { return (server.replicas, None) };
    let until = wanted_at.map(|at| at + Duration::from_secs(idle.into()));
    match until {
        Some(until) if until > now => (server.replicas, Some(until)),
        _ => (0, None),
    }
}

fn is_of(kept: &Kept, server: &Server) -> bool {
    kept.server == server.name && kept.owner.as_ref().is_none_or(|uid| *uid == server.uid)
}

impl Plan {
    fn delete(&mut self, name: &str) {
        self.actions.push(Action::Delete { name: name.to_owned() });
    }

    fn forget(&mut self, name: &str) {
        self.actions.push(Action::Forget { name: name.to_owned() });
    }

    /// Has an instance of the fleet be gone.
    fn take_out(&mut self, name: &str, observed: &Observed) {
        if observed.is_ended() {
            self.forget(name);
        } else if observed.is_up() {
            self.actions.push(Action::Stop { name: name.to_owned() });
        }
    }

    fn look_by(&mut self, at: Instant) {
        self.look_at = Some(self.look_at.map_or(at, |known| known.min(at)));
    }
}

/// Plans for one server.
struct Planner<'a> {
    world: &'a World,
    server: &'a Server,
    now: Instant,
    plan: &'a mut Plan,
}

/// An instance of a replica that both the store and the fleet know.
type Known<'a> = (&'a Kept, &'a Observed);

impl Planner<'_> {
    fn run(&mut self) {
        let wanted_at = self.world.demand.get(&self.server.name).copied();
        let (replicas, until) = desired(self.server, wanted_at, self.now);
        if let Some(until) = until {
            self.plan.look_by(until);
        }
        let world = self.world;
        let kept: Vec<&Kept> = world.kept.iter().filter(|kept| is_of(kept, self.server)).collect();
        let (mut known, mut adopted): (Vec<Known>, Vec<u32>) = Default::default();
        for kept in kept {
            let is_left = kept.replica < replicas
                && self.server.version.is_ok()
                && world.left.contains(&kept.name)
                && !adopted.contains(&kept.replica);
            match world.observed.get(&kept.name) {
                Some(observed) => known.push((kept, observed)),
                None if is_left => {
                    adopted.push(kept.replica);
                    self.adopt(kept);
                }
                // It was ours or nobody's, and whoever ran it is gone.
                None => self.plan.delete(&kept.name),
            }
        }
        let (wanted, excess): (Vec<Known>, Vec<Known>) =
            known.into_iter().partition(|(kept, _)| kept.replica < replicas);
        for known in excess {
            self.take_away(known);
        }
        let mut is_rolling = false;
        for replica in (0..replicas).filter(|replica| !adopted.contains(replica)) {
            let of_replica: Vec<Known> =
                wanted.iter().copied().filter(|(kept, _)| kept.replica == replica).collect();
            self.replica(replica, &of_replica, &mut is_rolling);
        }
    }

    fn adopt(&mut self, Kept { name, replica, .. }: &Kept) {
        let (server, name) = (self.server.uid.clone(), name.clone());
        self.plan.actions.push(Action::Adopt { server, name, replica: *replica });
    }

    /// One replica. Of all that are to be replaced, the first is: `is_rolling` says whether there is one before.
    fn replica(&mut self, replica: u32, known: &[Known], is_rolling: &mut bool) {
        let version = self.server.version.as_ref().ok();
        let is_current = |(_, observed): &&Known| Some(&observed.version) == version;
        let mut old: Vec<Known> = known.iter().filter(|it| !is_current(it)).copied().collect();
        let mut current: Vec<Known> = known.iter().filter(is_current).copied().collect();
        if version.is_none() {
            // Nothing takes their place.
            std::mem::swap(&mut old, &mut current);
        }
        let (up, down): (Vec<Known>, Vec<Known>) = current.into_iter().partition(|(_, it)| it.is_up());
        let (old_up, old_down): (Vec<Known>, Vec<Known>) = old.into_iter().partition(|(_, it)| it.is_up());
        for gone in old_down {
            self.take_away(gone);
        }
        let is_replaced = !old_up.is_empty();
        if is_replaced && *is_rolling {
            return;
        }
        *is_rolling |= is_replaced;
        self.current(replica, &up, down);
        if up.iter().any(|(_, it)| it.is_ready()) {
            for replaced in old_up {
                self.take_away(replaced);
            }
        }
    }

    /// Those of this version: one is to be up.
    fn current(&mut self, replica: u32, up: &[Known], down: Vec<Known>) {
        let best =
            up.iter().min_by_key(|(kept, it)| (Reverse(it.is_ready()), it.started_at_unix, &kept.name));
        for one in up.iter().filter(|one| best.is_some_and(|best| best.0.name != one.0.name)) {
            self.take_away(*one);
        }
        let rests = self.rests_until(replica).filter(|_| best.is_none());
        for (kept, observed) in down {
            // What crashed stays to be seen until another one takes its place.
            if rests.is_none() || !observed.has_crashed() {
                self.take_away((kept, observed));
            }
        }
        match rests {
            Some(until) => self.plan.look_by(until),
            None if best.is_none() && self.server.version.is_ok() => {
                let server = self.server.uid.clone();
                self.plan.actions.push(Action::Create { server, replica });
            }
            None => {}
        }
    }

    /// Until when a replica that crashed isn't tried again.
    fn rests_until(&self, replica: u32) -> Option<Instant> {
        let crash = self.world.crashes.of(&self.server.uid, replica)?;
        let is_same = self.server.version.as_ref().is_ok_and(|version| crash.version == *version);
        Some(crash.retry_at).filter(|until| is_same && *until > self.now)
    }

    fn take_away(&mut self, (kept, observed): Known) {
        if observed.is_ended() {
            self.plan.delete(&kept.name);
        }
        self.plan.take_out(&kept.name, observed);
    }
}

#[cfg(test)]
mod tests;
