//! Sessions of legacy clients, and what is running for them.
//!
//! A session is a convenience, never a credential: every request shows its token, and a session is only
//! found by the credential that opened it. An id that this process never gave out (a restart lies
//! between), or whose session had to make room, is served without a session rather than refused, because
//! clients get stuck otherwise;
//! only an id whose session was ended is answered with 404, which tells a client to begin anew.

mod idle;
mod kept;
mod subscribed;

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayward_mcp::envelope::RequestId;
use hayward_mcp::logging::LogLevel;
use hayward_mcp::request::Agreed;
use tokio_util::sync::CancellationToken;

use crate::asking::Asking;
use crate::budget::Reserved;
use crate::endpoint::Endpoint;
use crate::limits::{ENDED_SESSIONS_MAX, SESSION_KEPT_STREAMS_MAX};
use idle::Line;
pub(crate) use kept::{Kept, StreamId, read_event_id};
pub(crate) use subscribed::Subscribed;

/// Every open session.
#[derive(Debug)]
pub struct Sessions {
    capacity: usize,
    known: Arc<Known>,
}

#[derive(Debug, Default)]
struct Known {
    state: Mutex<State>,
    /// Counts uses; the session with the smallest stamp was idle longest.
    uses: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<String, Arc<Session>>,
    /// Those of each credential; who has none is not there.
    own: HashMap<String, Own>,
    /// Ended ones, with the credentials that they were of.
    ended: HashMap<String, String>,
    /// `ended` in order, so that the oldest can be forgotten.
    ended_order: VecDeque<String>,
}

/// The sessions of one credential.
#[derive(Debug, Default)]
struct Own {
    open: usize,
    line: Line,
}

/// No session can be opened: all that there may be are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its id.
    pub(crate) id: String,
    /// The credential that opened it.
    credential: String,
    /// Where it was opened.
    endpoint: Endpoint,
    agreed: Mutex<Agreed>,
    /// What is running.
    pub(crate) running: Running,
    /// What the client was asked.
    pub(crate) asking: Asking,
    /// The resources whose changes it wants to hear of.
    pub(crate) subscribed: Subscribed,
    streams: Mutex<Streams>,
    last_use: AtomicU64,
}

/// The event streams of a session that can be come back to.
#[derive(Debug, Default)]
struct Streams {
    kept: Vec<Arc<Kept>>,
    /// How many there have been.
    count: u64,
    /// What is told outside of calls.
    standing: Option<Arc<Kept>>,
}

impl Streams {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

/// What looking for a session found.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is open, and of this credential.
    Open(Arc<Session>),
    /// It was of this credential, and was ended.
    Ended,
    /// No session of this credential that we know of.
    Unknown,
}

impl Sessions {
    /// No session yet, and room for this many.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, known: Arc::default() }
    }

    /// The same sessions, with room for as many as this: none is ended because there are more.
    #[must_use]
    pub fn with_capacity(&self, capacity: usize) -> Self {
        Self { capacity, known: Arc::clone(&self.known) }
    }

    /// Opens a session. If there are too many, one that is at rest makes room.
    pub(crate) fn open(
        &self,
        credential: &str,
        endpoint: &Endpoint,
        agreed: Agreed,
    ) -> Result<Arc<Session>, Full> {
        let session = Arc::new(Session {
            id: uuid::Uuid::new_v4().simple().to_string(),
            credential: credential.to_owned(),
            endpoint: endpoint.clone(),
            agreed: Mutex::new(agreed),
            running: Running::default(),
            asking: Asking::default(),
            subscribed: Subscribed::default(),
            streams: Mutex::default(),
            last_use: AtomicU64::new(self.stamp()),
        });
        let mut state = self.lock();
        if state.open.len() >= self.capacity {
            // What it still holds open ends with it.
            let idlest = state.idlest(credential).ok_or(Full)?;
            state.take(&idlest.id);
            idlest.close();
        }
        state.put(&session);
        Ok(session)
    }

    /// Finds a session of this credential that was opened here.
    pub(crate) fn find(&self, id: &str, credential: &str, endpoint: &Endpoint) -> Found {
        let state = self.lock();
        let is_it =
            |session: &&Arc<Session>| session.credential == credential && session.endpoint == *endpoint;
        match state.open.get(id).filter(is_it) {
            Some(session) => {
                session.last_use.store(self.stamp(), Ordering::Relaxed);
                Found::Open(Arc::clone(session))
            }
            None if state.ended.get(id).is_some_and(|of| of == credential) => Found::Ended,
            None => Found::Unknown,
        }
    }

    /// Ends a session of this credential that was opened here, and what runs in it; false if there is none.
    pub(crate) fn end(&self, id: &str, credential: &str, endpoint: &Endpoint) -> bool {
        let mut state = self.lock();
        let is_it =
            |session: &Arc<Session>| session.credential == credential && session.endpoint == *endpoint;
        if !state.open.get(id).is_some_and(is_it) {
            return false;
        }
        if let Some(session) = state.take(id) {
            session.close();
        }
        state.remember_ended(id.to_owned(), credential.to_owned());
        true
    }

    fn stamp(&self) -> u64 {
        self.known.uses.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.known.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// What client and server agreed on.
    pub(crate) fn agreed(&self) -> Agreed {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A stream for the answer to one call, which can be come back to; none if there are too many of them. One that
    /// was read to its end makes room. `held` counts what it keeps.
    pub(crate) fn keep_stream(&self, held: Reserved) -> Option<Arc<Kept>> {
        let mut streams = self.streams();
        if streams.kept.len() >= SESSION_KEPT_STREAMS_MAX {
            let read = streams.kept.iter().position(|kept| kept.is_read())?;
            streams.kept.remove(read).close();
        }
        let kept = Kept::new(StreamId::Call(streams.next()), held);
        streams.kept.push(Arc::clone(&kept));
        Some(kept)
    }

    /// The stream of this id.
    pub(crate) fn kept_stream(&self, id: StreamId) -> Option<Arc<Kept>> {
        let streams = self.streams();
        streams.kept.iter().chain(&streams.standing).find(|kept| kept.id == id).cloned()
    }

    /// The stream for what is told outside of calls, and whether it is new, so that somebody has to feed it. `held`
    /// counts what it keeps.
    pub(crate) fn standing(&self, held: Reserved) -> (Arc<Kept>, bool) {
        let mut streams = self.streams();
        if let Some(standing) = &streams.standing {
            return (Arc::clone(standing), false);
        }
        let standing = Kept::new(StreamId::Standing(streams.next()), held);
        streams.standing = Some(Arc::clone(&standing));
        (standing, true)
    }

    /// Ends a stream and forgets it.
    pub(crate) fn drop_stream(&self, kept: &Kept) {
        kept.close();
        let mut streams = self.streams();
        streams.kept.retain(|own| own.id != kept.id);
        streams.standing.take_if(|own| own.id == kept.id);
    }

    /// Whether nothing runs in it and nobody listens.
    fn is_at_rest(&self) -> bool {
        self.running.is_empty()
            && self.streams().standing.as_ref().is_none_or(|standing| !standing.is_heard())
    }

    /// Ends what runs and what is held open.
    fn close(&self) {
        self.running.cancel_all();
        let streams = std::mem::take(&mut *self.streams());
        streams.kept.iter().chain(&streams.standing).for_each(|kept| kept.close());
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends log messages from this level on.
    pub(crate) fn set_log_level(&self, level: LogLevel) {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).log_level = level;
    }
}

impl State {
    fn put(&mut self, session: &Arc<Session>) {
        self.open.insert(session.id.clone(), Arc::clone(session));
        let own = self.own.entry(session.credential.clone()).or_default();
        own.open += 1;
        own.line.push(session, own.open);
    }

    fn take(&mut self, id: &str) -> Option<Arc<Session>> {
        let session = self.open.remove(id)?;
        if let Some(own) = self.own.get_mut(&session.credential) {
            own.open -= 1;
            if own.open == 0 {
                self.own.remove(&session.credential);
            }
        }
        Some(session)
    }

    /// The session that makes room: the caller's own idlest if it has one, so that nobody pushes others out; else
    /// that of whoever has the most. None that is in use.
    fn idlest(&mut self, credential: &str) -> Option<Arc<Session>> {
        let Self { open, own, .. } = self;
        let is_open = |session: &Session| open.contains_key(&session.id);
        if let Some(idlest) = own.get_mut(credential).and_then(|own| own.line.pop_idle(is_open)) {
            return Some(idlest);
        }
        let mut others: Vec<&mut Own> = own.values_mut().collect();
        others.sort_unstable_by_key(|own| Reverse(own.open));
        others.into_iter().find_map(|own| own.line.pop_idle(is_open))
    }

    fn remember_ended(&mut self, id: String, credential: String) {
        if self.ended_order.len() >= ENDED_SESSIONS_MAX
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        self.ended_order.push_back(id.clone());
        self.ended.insert(id, credential);
    }
}

/// The requests of one peer that are running, so that it can cancel them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<RequestId, Cancels>>>);

#[derive(Debug)]
struct Cancels {
    /// Ends it.
    cancel: CancellationToken,
    /// Says that its client has ended it.
    withdrawn: CancellationToken,
}

impl Running {
    /// Notes a request; false if one of the same id is running: its cancellation would be ambiguous. `cancel` is
    /// what ends it, and `withdrawn` fires first if it was the client that did.
    pub(crate) fn begin(
        &self,
        id: &RequestId,
        cancel: &CancellationToken,
        withdrawn: &CancellationToken,
    ) -> bool {
        let mut running = self.lock();
        let is_new = !running.contains_key(id);
        if is_new {
            running.insert(id.clone(), Cancels { cancel: cancel.clone(), withdrawn: withdrawn.clone() });
        }
        is_new
    }

    /// Forgets a request.
    pub(crate) fn end(&self, id: &RequestId) {
        self.lock().remove(id);
    }

    /// Cancels a request, if it runs, because its client wants it no more.
    pub(crate) fn withdraw(&self, id: &RequestId) {
        if let Some(Cancels { cancel, withdrawn }) = self.lock().get(id) {
            withdrawn.cancel();
            cancel.cancel();
        }
    }

    /// Whether nothing runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Cancels everything.
    pub(crate) fn cancel_all(&self) {
        for running in self.lock().values() {
            running.cancel.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Cancels>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hayward_mcp::json::Raw;

    use super::*;
    use crate::budget::Budget;

    fn open(sessions: &Sessions, credential: &str) -> Arc<Session> {
        sessions.open(credential, &Endpoint::Default, Agreed::default()).unwrap()
    }

    #[test]
    fn a_session_is_found_by_the_credential_that_opened_it_only() {
        let sessions = Sessions::new(10);
        let mine = open(&sessions, "me");
        assert!(matches!(sessions.find(&mine.id, "me", &Endpoint::Default), Found::Open(_)));
        assert!(matches!(sessions.find(&mine.id, "you", &Endpoint::Default), Found::Unknown));
        assert!(!sessions.end(&mine.id, "you", &Endpoint::Default));
        assert!(matches!(sessions.find(&mine.id, "me", &Endpoint::Default), Found::Open(_)));
    }

    #[test]
    fn a_session_is_of_the_endpoint_where_it_was_opened() {
        let sessions = Sessions::new(10);
        let session = open(&sessions, "me");
        let elsewhere = Endpoint::Project("home".into());
        assert!(matches!(sessions.find(&session.id, "me", &elsewhere), Found::Unknown));
        assert!(!sessions.end(&session.id, "me", &elsewhere));
        assert!(matches!(sessions.find(&session.id, "me", &Endpoint::Default), Found::Open(_)));
    }

    #[test]
    fn an_ended_session_is_told_from_one_that_was_never_there() {
        let sessions = Sessions::new(10);
        let session = open(&sessions, "me");
        assert!(sessions.end(&session.id, "me", &Endpoint::Default));
        assert!(matches!(sessions.find(&session.id, "me", &Endpoint::Default), Found::Ended));
        assert!(
            matches!(sessions.find(&session.id, "you", &Endpoint::Default), Found::Unknown),
            "nobody else learns of it"
        );
        assert!(matches!(sessions.find("of-another-life", "me", &Endpoint::Default), Found::Unknown));
    }

    #[test]
    fn the_session_that_was_idle_longest_makes_room() {
        let sessions = Sessions::new(2);
        let (first, second) = (open(&sessions, "me"), open(&sessions, "me"));
        sessions.find(&first.id, "me", &Endpoint::Default);
        let third = open(&sessions, "me");
        assert!(matches!(sessions.find(&second.id, "me", &Endpoint::Default), Found::Unknown));
        for kept in [first, third] {
            assert!(matches!(sessions.find(&kept.id, "me", &Endpoint::Default), Found::Open(_)));
        }
    }

    #[test]
    fn other_room_for_sessions_ends_none_that_is_there() {
        let sessions = Sessions::new(2);
        let (first, second) = (open(&sessions, "me"), open(&sessions, "me"));
        let narrower = sessions.with_capacity(1);
        for kept in [&first, &second] {
            assert!(matches!(narrower.find(&kept.id, "me", &Endpoint::Default), Found::Open(_)));
        }
        let third = open(&narrower, "me");
        assert!(matches!(sessions.find(&third.id, "me", &Endpoint::Default), Found::Open(_)));
        assert!(matches!(sessions.find(&first.id, "me", &Endpoint::Default), Found::Unknown), "it made room");
        open(&sessions.with_capacity(3), "me");
        assert!(matches!(sessions.find(&second.id, "me", &Endpoint::Default), Found::Open(_)));
    }

    #[test]
    fn a_flood_of_sessions_pushes_out_its_own_and_never_one_that_works() {
        let sessions = Sessions::new(2);
        let (mine, theirs) = (open(&sessions, "me"), open(&sessions, "you"));
        let id = RequestId::read(&Raw::of(&1).unwrap()).unwrap();
        assert!(theirs.running.begin(&id, &CancellationToken::new(), &CancellationToken::new()));
        for _ in 0..9 {
            open(&sessions, "flood");
        }
        assert!(matches!(sessions.find(&theirs.id, "you", &Endpoint::Default), Found::Open(_)));
        assert!(
            matches!(sessions.find(&mine.id, "me", &Endpoint::Default), Found::Unknown),
            "an idle one makes room once"
        );
        assert_eq!(sessions.lock().open.len(), 2);
    }

    #[test]
    fn whoever_has_the_most_sessions_makes_room_for_others() {
        let sessions = Sessions::new(4);
        let mine = open(&sessions, "me");
        let many: Vec<_> = (0..3).map(|_| open(&sessions, "many")).collect();
        for session in &many {
            // However busy, and however long the other was idle.
            sessions.find(&session.id, "many", &Endpoint::Default);
        }
        let theirs = open(&sessions, "you");
        assert!(matches!(sessions.find(&many[0].id, "many", &Endpoint::Default), Found::Unknown));
        for (kept, credential) in [(&mine, "me"), (&many[1], "many"), (&many[2], "many"), (&theirs, "you")] {
            assert!(
                matches!(sessions.find(&kept.id, credential, &Endpoint::Default), Found::Open(_)),
                "{credential}"
            );
        }
    }

    #[test]
    fn there_are_never_more_sessions_than_there_may_be_and_none_in_use_makes_room() {
        let sessions = Sessions::new(2);
        let (running, listening) = (open(&sessions, "me"), open(&sessions, "me"));
        let id = RequestId::read(&Raw::of(&1).unwrap()).unwrap();
        assert!(running.running.begin(&id, &CancellationToken::new(), &CancellationToken::new()));
        let reader = listening.standing(Budget::new(100).begin_for_test()).0.read(None);
        for credential in ["me", "you"] {
            assert_eq!(sessions.open(credential, &Endpoint::Default, Agreed::default()).err(), Some(Full));
        }
        drop(reader);
        open(&sessions, "you");
        assert!(matches!(sessions.find(&running.id, "me", &Endpoint::Default), Found::Open(_)));
        assert!(
            matches!(sessions.find(&listening.id, "me", &Endpoint::Default), Found::Unknown),
            "nobody listens any more"
        );
    }

    #[test]
    fn sessions_that_were_ended_leave_no_trace_in_the_line() {
        let sessions = Sessions::new(3);
        for number in 0..1_000 {
            let credential = format!("c{number}");
            let session = open(&sessions, &credential);
            assert!(sessions.end(&session.id, &credential, &Endpoint::Default));
        }
        let kept = open(&sessions, "me");
        let state = sessions.lock();
        assert_eq!((state.open.len(), state.own.len()), (1, 1));
        assert!(matches!(state.open.get(&kept.id), Some(session) if session.id == kept.id));
    }

    #[test]
    fn ending_a_session_cancels_what_runs_in_it() {
        let sessions = Sessions::new(2);
        let session = open(&sessions, "me");
        let id = RequestId::read(&Raw::of(&1).unwrap()).unwrap();
        let (cancel, withdrawn) = (CancellationToken::new(), CancellationToken::new());
        assert!(session.running.begin(&id, &cancel, &withdrawn));
        assert!(!session.running.begin(&id, &CancellationToken::new(), &CancellationToken::new()));
        sessions.end(&session.id, "me", &Endpoint::Default);
        assert_eq!((cancel.is_cancelled(), withdrawn.is_cancelled()), (true, false));
    }
}
