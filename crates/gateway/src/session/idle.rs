//! Which session makes room: about the one that was idle longest, found without a look at all of them.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::Session;

/// Stale entries that are put up with before they are swept out.
const SLACK: usize = 64;

/// Sessions by their last use, as far as it is known: a use is noticed when the session's turn has come, and
/// sends it to the end of the line.
#[derive(Debug, Default)]
pub(super) struct Line(VecDeque<Waiting>);

#[derive(Debug)]
struct Waiting {
    /// Its last use when it got in line.
    used: u64,
    session: Weak<Session>,
}

impl Line {
    /// Puts a new session at the end. With `open`, the number of sessions that there are, it is kept short.
    pub(super) fn push(&mut self, session: &Arc<Session>, open: usize) {
        if self.0.len() > 2 * open + SLACK {
            self.0.retain(|waiting| waiting.session.strong_count() > 0);
        }
        let used = session.last_use.load(Ordering::Relaxed);
        self.0.push_back(Waiting { used, session: Arc::downgrade(session) });
    }

    /// Takes the first session that `is_open`, is at rest and was not used since it got in line.
    pub(super) fn pop_idle(&mut self, is_open: impl Fn(&Session) -> bool) -> Option<Arc<Session>> {
        // Once round, and once more for those whose use was noticed on the way.
        for _ in 0..2 * self.0.len() {
            let Waiting { used, session } = self.0.pop_front()?;
            let Some(session) = session.upgrade().filter(|session| is_open(session)) else {
                continue;
            };
            let last_use = session.last_use.load(Ordering::Relaxed);
            if last_use == used && session.is_at_rest() {
                return Some(session);
            }
            self.0.push_back(Waiting { used: last_use, session: Arc::downgrade(&session) });
        }
        None
    }
}
