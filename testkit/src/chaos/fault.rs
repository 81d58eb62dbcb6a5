//! What can go wrong with a call, and what its caller may expect of it.

use serde::Deserialize;
use serde_json::Value;

/// A way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// It answers.
    None,
    /// It takes a while.
    Slow,
    /// It says how far it is, more often than anybody wants to know.
    Progress,
    /// It answers twice.
    Twice,
    /// It writes its log beside its messages.
    Chatter,
    /// Its line ends in CR LF.
    Crlf,
    /// It asks things that nobody is there for.
    Asks,
    /// It tells of events without end.
    Events,
    /// It says again and again that its list has changed.
    Storm,
    /// It floods its standard error.
    Stderr,
    /// One of its tools becomes another one.
    Changes,
    /// It never answers.
    Silent,
    /// It answers once nobody waits any more.
    Late,
    /// It waits until it is told that nobody waits any more, and doesn't answer.
    Waits,
    /// It answers under an id that it wasn't given.
    WrongId,
    /// It answers under an id of another spelling.
    TextId,
    /// Its answer breaks off.
    BrokenJson,
    /// Its answer isn't UTF-8.
    NotUtf8,
    /// Its answer nests deeper than anybody reads.
    Deep,
    /// Its answer has a number that is none.
    Nan,
    /// A byte order mark stands before its answer.
    Bom,
    /// Its answer is a batch.
    Batch,
    /// Its result is larger than any message may be.
    Large,
    /// Before it answers, it says a line that doesn't end for a long time.
    Endless,
    /// It ends.
    Exit0,
    /// It ends with an error.
    Exit1,
    /// It crashes.
    Segv,
    /// It stops.
    Freeze,
    /// It closes its output, and goes on.
    Closes,
    /// It resets the connection in the middle of its answer.
    Reset,
    /// It closes its half in the middle of its answer.
    HalfClose,
    /// It answers a byte at a time.
    Drip,
    /// It answers with a failure of its own.
    Status500,
    /// It answers with something that isn't HTTP.
    Garbage,
}

/// What comes of a call for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// Its own answer.
    Answer,
    /// An error.
    Error,
    /// Either of them.
    Either,
}

impl Fault {
    /// Those that pass without harm to whatever else the server does, on every transport.
    pub const PASSING: [Self; 20] = [
        Self::Slow,
        Self::Slow,
        Self::Slow,
        Self::Progress,
        Self::Twice,
        Self::Chatter,
        Self::Crlf,
        Self::Asks,
        Self::Storm,
        Self::Stderr,
        Self::Changes,
        Self::Silent,
        Self::Late,
        Self::WrongId,
        Self::TextId,
        Self::BrokenJson,
        Self::NotUtf8,
        Self::Nan,
        Self::Bom,
        Self::Batch,
    ];

    /// Those that end whatever they befall.
    pub const LETHAL: [Self; 5] = [Self::Exit0, Self::Exit1, Self::Segv, Self::Freeze, Self::Closes];

    /// Those that HTTP alone knows.
    pub const OF_HTTP: [Self; 5] = [Self::Reset, Self::HalfClose, Self::Drip, Self::Status500, Self::Garbage];

    /// The fault of this name.
    pub fn find(name: &str) -> Option<Self> {
        serde_json::from_value(Value::String(name.to_owned())).ok()
    }

    /// Its name in a call.
    pub fn name(self) -> String {
        let name = format!("{self:?}");
        name[..1].to_lowercase() + &name[1..]
    }

    /// What its caller gets.
    pub fn gives(self) -> Gives {
        match self {
            Self::None
            | Self::Slow
            | Self::Progress
            | Self::Twice
            | Self::Crlf
            | Self::Asks
            | Self::Events
            | Self::Storm
            | Self::Stderr
            | Self::Changes => Gives::Answer,
            // What stands before an answer may cost it, and need not: on a stream of its own it does.
            Self::Bom | Self::Batch | Self::Endless | Self::Chatter => Gives::Either,
            _ => Gives::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name_and_nothing_else_is() {
        let all = Fault::PASSING.into_iter().chain(Fault::LETHAL).chain(Fault::OF_HTTP);
        for fault in all.chain([Fault::None, Fault::Large, Fault::Endless, Fault::Waits, Fault::Events]) {
            assert_eq!(Fault::find(&fault.name()), Some(fault));
        }
        assert_eq!(Fault::find("WrongId"), None);
    }
}
