//! One server: what was declared of it, what it offers, and how it fares.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hayward_api::definition::{Placement, Sharing, Transport, Trust};
use hayward_api::kinds::server::ServerSpec;
use hayward_audit::secrets::Redaction;
use hayward_mcp::era::Era;
use hayward_mcp::json::Raw;
use hayward_mcp::request::List;
use hayward_mcp::upstream::{Declared, Upstream};
use hayward_tool::Change;
use tokio::sync::Semaphore;

use hayward_store::{PendingTool, Store, ToolPin};

use super::admission::{self, At, INSTRUCTIONS, Objection, Pins};
use super::answer;
use super::breaker::Breaker;
use super::lists::{Heard, KeptBack, Lists, Stale, all_lists, changed, same};
use super::offered::Offered;
use super::pace::Pace;
use crate::limits::{
    CALL_TIMEOUT, OFFERED_BYTES_MAX, REFUSALS_AT_ONCE_MAX, SERVER_CALLS_MAX, SETTLE_PATIENCE,
    UPDATES_PER_SECOND_MAX,
};
use crate::road::redact;

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its uid.
    pub(crate) uid: Arc<str>,
    /// What was declared.
    pub(crate) spec: ServerSpec,
    lists: ArcSwap<Lists>,
    breaker: Mutex<Breaker>,
    /// Calls that it may have at once, however often it is declared anew.
    pub(crate) places: Arc<Semaphore>,
    /// Bounds the refusals that are on their way to it.
    pub(crate) refusals: Arc<Semaphore>,
    /// Held by whoever asks for its lists.
    pub(crate) refreshing: Arc<tokio::sync::Mutex<()>>,
    /// Whether somebody is about to.
    is_due: AtomicBool,
    /// Whether somebody is about to look again at what it said.
    is_to_look: AtomicBool,
    /// How often it is asked for them.
    pace: Mutex<Pace>,
    /// Since when it is known.
    since: Instant,
    /// In which second how many changes of its resources were told.
    updates: Mutex<(u64, u32)>,
    /// Whether somebody waits to ask it again for its lists.
    is_retried: AtomicBool,
}

/// Why something is not shown that a server may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WhyNot {
    /// It is kept back, for this reason.
    KeptBack(String),
    /// The server has not said yet what it offers, and nothing is known to be wrong with it.
    Starting,
    /// The server has not said yet what it offers, for this reason.
    Unheard(Arc<str>),
}

impl Server {
    /// A server of which nothing was heard, or what was heard of it before it was declared anew, or else what was approved of it
    /// before this process began.
    pub(crate) fn new(
        (name, uid): (&str, &str),
        spec: ServerSpec,
        before: Option<&Self>,
        (known, redaction): (&[ToolPin], &Redaction),
    ) -> Self {
        let places = || Arc::new(Semaphore::new(SERVER_CALLS_MAX));
        let refusals = || Arc::new(Semaphore::new(REFUSALS_AT_ONCE_MAX));
        let mut server = Self {
            name: name.into(),
            uid: uid.into(),
            spec,
            lists: ArcSwap::from_pointee(Lists::default()),
            breaker: Mutex::default(),
            places: before.map_or_else(places, |before| Arc::clone(&before.places)),
            refusals: before.map_or_else(refusals, |before| Arc::clone(&before.refusals)),
            refreshing: before.map_or_else(Arc::default, |before| Arc::clone(&before.refreshing)),
            is_due: AtomicBool::new(false),
            is_to_look: AtomicBool::new(false),
            pace: Mutex::default(),
            since: Instant::now(),
            updates: Mutex::default(),
            is_retried: AtomicBool::new(false),
        };
        let before = before.map(|before| before.lists().as_ref().clone()).unwrap_or_default();
        let lists = match (&before.declared, &before.heard) {
            // What is hidden, fixed or riskier from now on is so at once, whatever the server does meanwhile.
            (Some(declared), Some(heard)) => {
                let (lists, _) = server.admit(declared, heard, redaction);
                Lists { stale: Some(Stale::Redefined), ..lists }
            }
            _ => server.remembered(known, redaction),
        };
        server.lists = ArcSwap::from_pointee(lists);
        server
    }

    /// What it offers.
    pub(crate) fn lists(&self) -> Arc<Lists> {
        self.lists.load_full()
    }

    /// How it calls its tools; none before it has said so.
    pub(crate) fn own_tools(&self) -> Option<Vec<String>> {
        let lists = self.lists.load();
        let (heard, _) = lists.heard.as_deref()?;
        Some(heard.tools.iter().map(admission::name_of).collect())
    }

    /// How long it may still take until it is known what it offers; none if that is known, or why not, or if it has taken long
    /// enough.
    pub(crate) fn unsettled(&self) -> Option<Duration> {
        let lists = self.lists.load();
        let is_settled = self.is_builtin() || lists.declared.is_some() || lists.stale.is_some();
        SETTLE_PATIENCE.checked_sub(self.since.elapsed()).filter(|left| !is_settled && !left.is_zero())
    }

    /// Whether nothing is known of it, neither from itself nor from before.
    pub(crate) fn is_unknown(&self) -> bool {
        let lists = self.lists.load();
        lists.heard.is_none() && lists.offered.is_empty() && lists.kept_back.is_empty()
    }

    /// Whether it is a toolset of ours.
    pub(crate) fn is_builtin(&self) -> bool {
        self.spec.placement == Some(Placement::Builtin)
    }

    /// Who shares a connection to it.
    pub(crate) fn sharing(&self) -> Sharing {
        let era = || self.lists.load().declared.as_ref().map(|declared| declared.revision.era());
        self.spec.sharing.unwrap_or_else(|| match self.spec.transport {
            Some(Transport::Stdio) | None => Sharing::Shared,
            Some(Transport::StreamableHttp | Transport::Sse) => match era() {
                Some(Era::Modern) => Sharing::Shared,
                // What is only remembered of it doesn't say which.
                Some(Era::Legacy) | None => Sharing::Principal,
            },
        })
    }

    pub(crate) fn trust(&self) -> Trust {
        self.spec.trust.unwrap_or_default()
    }

    /// How long it may say nothing while it is used.
    pub(crate) fn timeout(&self) -> Duration {
        self.spec.timeout_seconds.map_or(CALL_TIMEOUT, |seconds| Duration::from_secs(seconds.into()))
    }

    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody else is about to ask for its lists: then whoever hears this does.
    pub(crate) fn claim_refresh(&self) -> bool {
        !self.is_due.swap(true, Ordering::AcqRel)
    }

    /// How long changes of its lists are gathered, from now on, before it is asked for them.
    pub(crate) fn pause(&self) -> Duration {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).pause(Instant::now())
    }

    /// Whether one more change of its resources may be told in this second.
    pub(crate) fn may_update(&self) -> bool {
        let second = self.since.elapsed().as_secs();
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        if updates.0 != second {
            *updates = (second, 0);
        }
        updates.1 += 1;
        updates.1 <= UPDATES_PER_SECOND_MAX
    }

    /// Whether nobody else waits to ask it again: then whoever hears this does, and says when that is over.
    pub(crate) fn claim_retry(&self) -> bool {
        !self.is_retried.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn release_retry(&self) {
        self.is_retried.store(false, Ordering::Release);
    }

    /// Nobody is about to ask for its lists any more, although nobody did.
    pub(crate) fn release_refresh(&self) {
        self.is_due.store(false, Ordering::Release);
    }

    /// Whether nobody else is about to look again at what it said: then whoever hears this does.
    pub(crate) fn claim_look(&self) -> bool {
        !self.is_to_look.swap(true, Ordering::AcqRel)
    }

    /// Somebody looks from now on: what changes after this is to be looked at again.
    pub(crate) fn release_look(&self) {
        self.is_to_look.store(false, Ordering::Release);
    }

    /// It can't be reached: what it offered last stays, and says so. What changed by that.
    pub(crate) fn mark_gone(&self, why: &str) -> Vec<Change> {
        let stale = Stale::Away(answer::cleaned(why).into());
        // Whoever hears of it at the same time isn't overwritten.
        let before = self.lists.rcu(|lists| Lists { stale: Some(stale.clone()), ..lists.as_ref().clone() });
        let was_fresh = before.stale.is_none() && before.declared.is_some();
        if was_fresh { all_lists() } else { Vec::new() }
    }

    /// It begins as it is declared now: unless it was reached before, nobody knows yet that it can't be.
    pub(crate) fn mark_begun(&self) {
        let failed = |lists: &Lists| lists.declared.is_none() && matches!(lists.stale, Some(Stale::Away(_)));
        if failed(&self.lists.load()) {
            self.lists.rcu(|lists| {
                let is_nothing = lists.offered.is_empty() && lists.kept_back.is_empty();
                let stale = if failed(lists) {
                    (!is_nothing).then_some(Stale::Remembered)
                } else {
                    lists.stale.clone()
                };
                Lists { stale, ..lists.as_ref().clone() }
            });
        }
    }

    /// Asks it what it offers, keeps what is approved of that, and then shows it. What changed by that.
    ///
    /// By whoever has [`Server::refreshing`]: what is approved is read before anything is asked, and kept before anything is shown.
    /// What it says is shown and kept without secrets that we hold: it may have been handed some. If it is declared anew
    /// meanwhile, nothing is kept.
    pub(crate) async fn refresh(
        &self,
        upstream: &Upstream,
        store: &Store,
        (redaction, is_current): (&Redaction, impl Fn() -> bool),
    ) -> Result<Vec<Change>, String> {
        let known = store.tool_pins(&self.uid).await;
        let known = known.map_err(|error| format!("what was approved can't be read: {error}"))?;
        let pins = known.iter().filter_map(|pin| Some((pin.name.clone(), pin.digest.clone()?))).collect();
        let declared = upstream.declared();
        let heard = Arc::new((Heard::of(upstream).await?, pins));
        let (lists, approved) = self.admit(&declared, &heard, redaction);
        if !is_current() {
            return Ok(Vec::new());
        }
        self.keep(store, (&known, &lists), &approved).await?;
        // From now on this is what was approved.
        let (heard, mut pins) = heard.as_ref().clone();
        pins.extend(approved.into_iter().map(|(name, pin, _)| (name, pin)));
        let lists = Arc::new(Lists { heard: Some(Arc::new((heard, pins))), ..lists });
        let before = self.lists.swap(Arc::clone(&lists));
        Ok(changed(&before, &lists))
    }

    /// Looks again at what it said, or what is remembered of it, by what is approved and what is secret now. What changed by that.
    ///
    /// By whoever has [`Server::refreshing`].
    pub(crate) async fn look_again(
        &self,
        store: &Store,
        redaction: &Redaction,
    ) -> Result<Vec<Change>, String> {
        if self.is_builtin() {
            return Ok(Vec::new());
        }
        let known = store.tool_pins(&self.uid).await;
        let known = known.map_err(|error| format!("what was approved can't be read: {error}"))?;
        let before = self.lists();
        let again = match (&before.declared, &before.heard) {
            (Some(declared), Some(heard)) => {
                let pins = known.iter().filter_map(|pin| Some((pin.name.clone(), pin.digest.clone()?)));
                let heard = Arc::new((heard.0.clone(), pins.collect()));
                let (lists, _) = self.admit(declared, &heard, redaction);
                // What waits is kept without secrets as well.
                self.keep(store, (&known, &lists), &[]).await?;
                lists
            }
            _ => self.remembered(&known, redaction),
        };
        // Why it may be otherwise stays as it is.
        let again =
            |stale: &Option<Stale>| Lists { stale: stale.clone().or(again.stale.clone()), ..again.clone() };
        let before = self.lists.rcu(|lists| again(&lists.stale));
        Ok(if same(&before, &self.lists()) { Vec::new() } else { all_lists() })
    }

    /// Keeps what is approved by being the first, and what waits, unless that is known.
    async fn keep(
        &self,
        store: &Store,
        (known, lists): (&[ToolPin], &Lists),
        approved: &[Approved],
    ) -> Result<(), String> {
        let waiting: Vec<(String, PendingTool)> = lists.kept_back.iter().filter_map(waiting).collect();
        let was_waiting = known.iter().filter_map(|pin| Some((&pin.name, pin.pending.as_ref()?)));
        let is_known = approved.is_empty()
            && was_waiting.clone().count() == waiting.len()
            && was_waiting.into_iter().all(|(name, pending)| {
                waiting.iter().any(|(other, waits)| other == name && waits.digest == pending.digest)
            });
        if is_known {
            return Ok(());
        }
        if !waiting.is_empty() {
            let names: Vec<&str> = waiting.iter().map(|(name, _)| name.as_str()).collect();
            tracing::warn!(
                server = &*self.name,
                ?names,
                "tools of a server wait for somebody to approve them"
            );
        }
        let kept = store.keep_tool_pins(&self.uid, approved, &waiting).await;
        kept.map_err(|error| format!("what is approved of it can't be kept: {error}"))
    }

    fn admit(
        &self,
        declared: &Arc<Declared>,
        heard: &Arc<(Heard, Pins)>,
        redaction: &Redaction,
    ) -> (Lists, Vec<Approved>) {
        let (trust, timeout) = (self.trust(), self.timeout());
        let (mut lists, mut approved) = (Lists::default(), Vec::new());
        lists.heard = Some(Arc::clone(heard));
        let (heard, pins) = heard.as_ref();
        let tools: Vec<_> = heard.tools.iter().map(|tool| redact::raw(redaction, tool.clone())).collect();
        let judged = admission::objections((&tools, &heard.tools), trust, pins, pins.is_empty());
        for (tool, judged) in tools.iter().zip(judged) {
            match judged {
                Ok(admitted) => {
                    lists.offered.extend(self.offer(&admitted.name, tool));
                    // Where changes are followed, nothing is to be compared.
                    if !pins.contains_key(&admitted.name) && trust != Trust::Follow {
                        approved.push((admitted.name, admitted.pin, tool.as_str().to_owned()));
                    }
                }
                Err((name, objection)) => lists.kept_back.push(KeptBack {
                    name: answer::cleaned(&name),
                    why: objection.to_string(),
                    definition: tool.as_str().chars().take(OFFERED_BYTES_MAX).collect(),
                    pin: tool.view().ok().filter(|_| objection.waits()).map(|value| admission::pin(&value)),
                    is_tool: true,
                }),
            }
        }
        let tier = hayward_api::Tier::Read;
        for (list, elements) in [
            (List::Resources, &heard.resources),
            (List::Templates, &heard.templates),
            (List::Prompts, &heard.prompts),
        ] {
            for element in elements {
                let element = &redact::raw(redaction, element.clone());
                let looked = match element.view() {
                    _ if element.as_bytes().len() > OFFERED_BYTES_MAX => Err("it is too large".to_owned()),
                    Ok(value) => admission::look_at_strings(&value, At::Top(""))
                        .map_err(|objection| objection.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                let offered = Offered::of(list, element, tier, timeout);
                match (looked, offered) {
                    (Ok(()), Some(offered)) => lists.offered.push(Arc::new(offered)),
                    (looked, offered) => lists.kept_back.push(KeptBack {
                        name: offered.map(|it| answer::cleaned(&it.own)).unwrap_or_default(),
                        why: looked.err().unwrap_or_else(|| "it has no name".to_owned()),
                        definition: element.as_str().chars().take(OFFERED_BYTES_MAX).collect(),
                        pin: None,
                        is_tool: false,
                    }),
                }
            }
        }
        if let Some(said) = &declared.instructions {
            let shown = redact::text(redaction, said.clone());
            self.look_at_instructions((&shown, said), pins, (&mut lists, &mut approved));
        }
        lists.declared = Some(Arc::clone(declared));
        (lists, approved)
    }

    /// A tool as it is shown; none if it is hidden.
    fn offer(&self, name: &str, tool: &Raw) -> Option<Arc<Offered>> {
        let said = self.spec.tools.get(name);
        let tier = admission::tier(tool, said.and_then(|said| said.tier), self.trust());
        let offered = Offered::of(List::Tools, tool, tier, self.timeout());
        offered.and_then(|it| it.with(said)).map(Arc::new)
    }

    /// Whether it has said what it offers.
    pub(crate) fn is_heard(&self) -> bool {
        self.lists.load().declared.is_some()
    }

    /// What was approved of it before this process began, which is shown until it says itself what it offers.
    fn remembered(&self, known: &[ToolPin], redaction: &Redaction) -> Lists {
        let mut lists = Lists::default();
        for pin in known {
            // What waited for somebody to approve it waits still.
            if let Some(pending) = &pin.pending {
                lists.kept_back.push(KeptBack {
                    name: pin.name.clone(),
                    why: pending.why.clone(),
                    definition: redact::text(redaction, pending.definition.clone()),
                    pin: Some(pending.digest.clone()),
                    is_tool: true,
                });
                continue;
            }
            let Some(definition) = pin.definition.as_ref().filter(|_| pin.digest.is_some()) else { continue };
            if pin.name == INSTRUCTIONS {
                lists.instructions = Some(redact::text(redaction, definition.clone()).into());
            } else if let Ok(tool) = Raw::parse(definition.clone(), hayward_mcp::limits::JSON) {
                lists.offered.extend(self.offer(&pin.name, &redact::raw(redaction, tool)));
            }
        }
        let is_nothing = lists.offered.is_empty() && lists.kept_back.is_empty();
        lists.stale = (!is_nothing).then_some(Stale::Remembered);
        lists
    }

    /// Why nothing is shown of it under this name that it may have.
    pub(crate) fn why_not(&self, own: &str) -> Option<WhyNot> {
        let lists = self.lists.load();
        if let Some(kept) = lists.kept_back.iter().find(|kept| kept.is_tool && kept.name == own) {
            return Some(WhyNot::KeptBack(kept.why.clone()));
        }
        match &lists.stale {
            _ if self.is_builtin() || lists.declared.is_some() => None,
            Some(Stale::Away(why)) => Some(WhyNot::Unheard(Arc::clone(why))),
            Some(Stale::Remembered | Stale::Redefined) | None => Some(WhyNot::Starting),
        }
    }

    /// What it says to models before anything else is shown if it was approved like a tool.
    fn look_at_instructions(
        &self,
        (text, said): (&str, &str),
        pins: &Pins,
        (lists, approved): (&mut Lists, &mut Vec<Approved>),
    ) {
        let kept_back = |why: &str, pin: Option<String>| KeptBack {
            name: INSTRUCTIONS.to_owned(),
            why: why.to_owned(),
            definition: text.chars().take(OFFERED_BYTES_MAX).collect(),
            pin,
            is_tool: true,
        };
        if let Err(objection) = admission::look_at_text(text, At::Top("instructions")) {
            return lists.kept_back.push(kept_back(&objection.to_string(), None));
        }
        let pin = admission::pin(&text.into());
        let is_taken = match (self.trust(), pins.get(INSTRUCTIONS)) {
            (Trust::Follow, _) => true,
            (Trust::Pin | Trust::Review, Some(known)) => {
                *known == pin || *known == admission::pin(&said.into())
            }
            (Trust::Pin, None) => pins.is_empty(),
            (Trust::Review, None) => false,
        };
        if !is_taken {
            let objection = if pins.contains_key(INSTRUCTIONS) { Objection::Changed } else { Objection::New };
            return lists.kept_back.push(kept_back(&objection.to_string(), Some(pin)));
        }
        if !pins.contains_key(INSTRUCTIONS) && self.trust() != Trust::Follow {
            approved.push((INSTRUCTIONS.to_owned(), pin, text.to_owned()));
        }
        lists.instructions = Some(text.into());
    }
}

/// What is approved because nobody has to: its name, its digest, and the whole of it.
type Approved = (String, String, String);

fn waiting(kept: &KeptBack) -> Option<(String, PendingTool)> {
    let pending =
        PendingTool { digest: kept.pin.clone()?, definition: kept.definition.clone(), why: kept.why.clone() };
    Some((kept.name.clone(), pending))
}
