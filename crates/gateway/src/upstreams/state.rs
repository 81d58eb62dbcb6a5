//! What the next round of a call is given back: kept by us, or sealed and carried by a client.

use std::time::Duration;

use hayward_mcp::json::{Object, ObjectWriter, Raw};

use crate::limits::UPSTREAM_TASK_POLL;

/// Where a call that is made again goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// At the beginning.
    None,
    /// A request to a legacy server waits in the middle, held under this id.
    Held(String),
    /// A modern server gets its own state back.
    Theirs(String),
    /// A task of the server goes on.
    Task {
        /// Its id there.
        id: String,
        /// The instance that has it; where there are several, the others don't know it.
        instance: String,
        /// How often to ask how far it is.
        poll: Duration,
    },
}

impl State {
    /// What a state says; it was ours, as the road has opened it.
    pub(crate) fn read(state: Option<&Raw>) -> Self {
        let Some(object) = state.and_then(Object::of) else { return Self::None };
        let text = |key: &str| object.get_str(key).map(std::borrow::Cow::into_owned);
        if let Some(id) = text("held") {
            return Self::Held(id);
        }
        if let Some(id) = text("task") {
            let poll = object.get("pollMs").and_then(|raw| raw.view().ok()).map(Duration::from_millis);
            let instance = text("instance").unwrap_or_default();
            return Self::Task { id, instance, poll: poll.unwrap_or(UPSTREAM_TASK_POLL) };
        }
        text("theirs").map_or(Self::None, Self::Theirs)
    }

    /// Whether the server has begun, and waits in the middle.
    pub(crate) fn has_begun(&self) -> bool {
        matches!(self, Self::Held(_) | Self::Task { .. })
    }

    /// The state as the road keeps it.
    pub(crate) fn write(&self) -> Raw {
        let object = ObjectWriter::new(96);
        match self {
            Self::None => object,
            Self::Held(id) => object.str("held", id),
            Self::Theirs(state) => object.str("theirs", state),
            Self::Task { id, instance, poll } => object
                .str("task", id)
                .str("instance", instance)
                .int("pollMs", i64::try_from(poll.as_millis()).unwrap_or(i64::MAX)),
        }
        .end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        for state in [
            State::None,
            State::Held("x".to_owned()),
            State::Theirs("\"{}".to_owned()),
            State::Task { id: "t".to_owned(), instance: "s-0".to_owned(), poll: Duration::from_millis(250) },
        ] {
            assert_eq!(State::read(Some(&state.write())), state);
        }
        assert_eq!(State::read(None), State::None);
    }
}
