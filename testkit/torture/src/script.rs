//! The mix of calls: what each asks for, what it does in the world, and by which word the record shows it.
//!
//! Every call bears a marker of its own, so that whatever shows up afterwards (a line, a file, a record) can be told
//! from everything else.

use std::path::Path;

use serde_json::{Value, json};

use crate::random::Random;
use crate::world::{self, World};

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A command that appends its marker to a file.
    Append,
    /// The same after a while, so that a fault may come while it runs.
    AppendLate,
    /// The same under a key: however often it is sent, it is done once.
    AppendOnce,
    /// An earlier call under a key, sent again.
    Again,
    /// A command that says it has failed: the call itself was done.
    Fail,
    /// A file is written.
    Write,
    /// A file is changed.
    Edit,
    /// A file is read.
    Read,
    /// What the token may not do.
    Denied,
    /// A call with a token that nobody has made.
    Stranger,
    /// A token is made.
    Create,
    /// A token that was made is revoked.
    Revoke,
    /// Two servers are declared in one step.
    Declare,
}

/// How often a deed comes, among all of them.
const MIX: [Deed; 22] = [
    Deed::Append,
    Deed::Append,
    Deed::Append,
    Deed::AppendLate,
    Deed::AppendOnce,
    Deed::AppendOnce,
    Deed::AppendOnce,
    Deed::Again,
    Deed::Again,
    Deed::Fail,
    Deed::Write,
    Deed::Write,
    Deed::Edit,
    Deed::Edit,
    Deed::Read,
    Deed::Denied,
    Deed::Stranger,
    Deed::Create,
    Deed::Create,
    Deed::Revoke,
    Deed::Declare,
    Deed::Declare,
];

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What tells it from all others; a call that refers to another one bears that one's.
    pub marker: String,
    /// What it is for.
    pub deed: Deed,
}

impl Call {
    /// A call with this number.
    pub fn new(number: u64, deed: Deed) -> Self {
        Self { marker: format!("n{number:06}"), deed }
    }

    /// The name by which the record knows what it asks for.
    pub fn tool(&self) -> &'static str {
        match self.deed {
            Deed::Append | Deed::AppendLate | Deed::AppendOnce | Deed::Again | Deed::Fail | Deed::Denied => {
                "bash_execute"
            }
            Deed::Write => "write_file",
            Deed::Edit => "edit_file",
            Deed::Read | Deed::Stranger => "read_file",
            Deed::Create => "tokens.create",
            Deed::Revoke => "tokens.revoke",
            Deed::Declare => "apply",
        }
    }

    /// Whether it is a call of a tool; others are changes beside the tools.
    pub fn is_tool(&self) -> bool {
        !matches!(self.deed, Deed::Create | Deed::Revoke | Deed::Declare)
    }

    /// Whether it may change something: what is refused is none.
    pub fn is_operation(&self) -> bool {
        !matches!(self.deed, Deed::Read | Deed::Stranger | Deed::Denied)
    }

    /// The arguments of a tool.
    pub fn arguments(&self, world: &World) -> Value {
        let Self { marker, deed } = self;
        let lines = shown(&world.lines());
        let append = format!("echo {marker} >> {lines}");
        match deed {
            Deed::Append | Deed::Denied => json!({"command": append}),
            Deed::AppendLate => json!({"command": format!("sleep 0.05; {append}")}),
            Deed::AppendOnce | Deed::Again => {
                json!({"command": append, "idempotency_key": format!("key-{marker}")})
            }
            Deed::Fail => json!({"command": format!("exit 3 # {marker}")}),
            Deed::Write => {
                json!({"file_path": shown(&world.written(marker)), "content": world::content(marker)})
            }
            Deed::Edit => json!({
                "file_path": shown(&world.edited(marker)),
                "old_string": world::BEFORE,
                "new_string": world::AFTER,
            }),
            Deed::Read | Deed::Stranger => json!({"file_path": shown(&world.read(marker))}),
            Deed::Create | Deed::Revoke => json!({"name": marker, "role": "ro"}),
            Deed::Declare => json!({"servers": Self::declared(marker).map(|name| {
                json!({"name": name, "packageName": "@modelcontextprotocol/server-example"})
            })}),
        }
    }
}

impl Call {
    /// The servers that such a call declares.
    pub fn declared(marker: &str) -> [String; 2] {
        ["left", "right"].map(|side| format!("{marker}-{side}"))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// So many calls for each of so many clients, numbered from `first`. What refers to an earlier call refers to one of the
/// same client.
pub fn tracks(random: &mut Random, first: u64, clients: u64, calls: u64) -> Vec<Vec<Call>> {
    (0..clients).map(|client| track(random, first + client * calls, calls)).collect()
}

fn track(random: &mut Random, first: u64, calls: u64) -> Vec<Call> {
    let mut track: Vec<Call> = Vec::new();
    for number in first..first + calls {
        let deed = random.pick(&MIX).copied().unwrap_or(Deed::Append);
        let of = |deed: Deed| track.iter().filter(move |call| call.deed == deed).map(|call| &call.marker);
        let earlier: Vec<String> = match deed {
            Deed::Again => of(Deed::AppendOnce).cloned().collect(),
            Deed::Revoke => {
                let is_there = |marker: &&String| !of(Deed::Revoke).any(|revoked| revoked == *marker);
                of(Deed::Create).filter(is_there).cloned().collect()
            }
            _ => Vec::new(),
        };
        let call = match (deed, random.pick(&earlier)) {
            (Deed::Again | Deed::Revoke, Some(marker)) => Call { marker: marker.clone(), deed },
            (Deed::Again, None) => Call::new(number, Deed::AppendOnce),
            (Deed::Revoke, None) => Call::new(number, Deed::Create),
            _ => Call::new(number, deed),
        };
        track.push(call);
    }
    track
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refers_to_a_call_comes_behind_it_and_nothing_is_revoked_twice() {
        let all = tracks(&mut Random::new(3), 1, 4, 100);
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [100; 4]);
        for track in all {
            for (at, call) in track.iter().enumerate() {
                let count = |deed: Deed| {
                    track[..at].iter().filter(|it| it.deed == deed && it.marker == call.marker).count()
                };
                match call.deed {
                    Deed::Again => assert_eq!(count(Deed::AppendOnce), 1),
                    Deed::Revoke => assert_eq!((count(Deed::Create), count(Deed::Revoke)), (1, 0)),
                    _ => assert!(track[..at].iter().all(|it| it.marker != call.marker)),
                }
            }
        }
    }
}
