//! One server: what was declared of it, what it offers, and how it fares.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hayward_api::definition::{Placement, Sharing, Transport, Trust};
use hayward_api::error::with_sources;
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
use super::offered::Offered;
use super::pace::Pace;
use crate::limits::{
    CALL_TIMEOUT, OFFERED_BYTES_MAX, OFFERED_MAX, REFUSALS_AT_ONCE_MAX, SERVER_CALLS_MAX, SETTLE_PATIENCE,
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
    /// Calls that it may have at once.
    pub(crate) places: Arc<Semaphore>,
    /// Bounds the refusals that are on their way to it.
    pub(crate) refusals: Arc<Semaphore>,
    /// Held by whoever asks for its lists.
    pub(crate) refreshing: tokio::sync::Mutex<()>,
    /// Whether somebody is about to.
    is_due: AtomicBool,
    /// How often it is asked for them.
    pace: Mutex<Pace>,
    /// Since when it is known.
    since: Instant,
    /// In which second how many changes of its resources were told.
    updates: Mutex<(u64, u32)>,
    /// Whether somebody waits to ask it again for its lists.
    is_retried: AtomicBool,
}

/// What a server offers, as it was last heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    /// Everything that is shown.
    pub(crate) offered: Vec<Arc<Offered>>,
    /// What a model should know before it uses any of it.
    pub(crate) instructions: Option<Arc<str>>,
    /// What it declared of itself; none before it was ever reached.
    pub(crate) declared: Option<Arc<Declared>>,
    /// What is not shown, and why.
    pub(crate) kept_back: Vec<KeptBack>,
    /// Why it may be otherwise by now.
    pub(crate) stale: Option<Arc<str>>,
    /// What it said, and what was approved of that, so that it can be looked at again under other rules.
    heard: Option<Arc<(Heard, Pins)>>,
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

/// Something that is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBack {
    /// The name that its server calls it by.
    pub name: String,
    /// Why.
    pub why: String,
    /// The whole of it, for whoever is to approve it.
    pub definition: String,
    /// Its digest, for the same; none if nobody can.
    pub pin: Option<String>,
    /// Whether it is a tool, or what is approved like one.
    pub is_tool: bool,
}

/// Why what is remembered may be otherwise by now.
const UNHEARD: &str = "it has not said what it offers since this daemon started";

impl Server {
    /// A server of which nothing was heard, or what was heard of it before it was declared anew.
    pub(crate) fn new(name: &str, uid: &str, spec: ServerSpec, before: Option<&Self>) -> Self {
        let before = before.map(|before| before.lists().as_ref().clone()).unwrap_or_default();
        let server = Self {
            name: name.into(),
            uid: uid.into(),
            spec,
            lists: ArcSwap::from_pointee(Lists::default()),
            breaker: Mutex::default(),
            places: Arc::new(Semaphore::new(SERVER_CALLS_MAX)),
            refusals: Arc::new(Semaphore::new(REFUSALS_AT_ONCE_MAX)),
            refreshing: tokio::sync::Mutex::default(),
            is_due: AtomicBool::new(false),
            pace: Mutex::default(),
            since: Instant::now(),
            updates: Mutex::default(),
            is_retried: AtomicBool::new(false),
        };
        // What is hidden, fixed or riskier from now on is so at once, whatever the server does meanwhile.
        if let (Some(declared), Some(heard)) = (&before.declared, &before.heard) {
            let (lists, _) = server.admit(declared, heard);
            let stale = Some("its definition has changed".into());
            server.lists.store(Arc::new(Lists { stale, ..lists }));
        }
        server
    }

    /// What it offers.
    pub(crate) fn lists(&self) -> Arc<Lists> {
        self.lists.load_full()
    }

    /// How long it may still take until it is known what it offers; none if that is known, or why not, or if it has taken long
    /// enough.
    pub(crate) fn unsettled(&self) -> Option<Duration> {
        let lists = self.lists.load();
        let is_settled = self.is_builtin() || lists.declared.is_some() || lists.stale.is_some();
        SETTLE_PATIENCE.checked_sub(self.since.elapsed()).filter(|left| !is_settled && !left.is_zero())
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

    /// It can't be reached: what it offered last stays, and says so. What changed by that.
    pub(crate) fn mark_gone(&self, why: &str) -> Vec<Change> {
        let (lists, why) = (self.lists(), &*answer::cleaned(why));
        if lists.stale.as_deref() == Some(why) {
            return Vec::new();
        }
        let was_fresh = lists.stale.is_none() && lists.declared.is_some();
        self.lists.store(Arc::new(Lists { stale: Some(why.into()), ..lists.as_ref().clone() }));
        if was_fresh { all_lists() } else { Vec::new() }
    }

    /// Asks it what it offers, keeps what is approved of that, and then shows it. What changed by that.
    ///
    /// By whoever has [`Server::refreshing`]: what is approved is read before anything is asked, and kept before anything is shown.
    /// What it says is taken without secrets that we hold: it may have been handed some.
    pub(crate) async fn refresh(
        &self,
        upstream: &Upstream,
        store: &Store,
        redaction: &Redaction,
    ) -> Result<Vec<Change>, String> {
        let known = store.tool_pins(&self.uid).await;
        let known = known.map_err(|error| format!("what was approved can't be read: {error}"))?;
        let pins = known.iter().filter_map(|pin| Some((pin.name.clone(), pin.digest.clone()?))).collect();
        let declared = redacted(redaction, upstream.declared());
        let fetch = async |list| -> Result<Vec<Raw>, String> {
            let elements = fetch(upstream, &declared, list).await?;
            Ok(elements.into_iter().map(|element| redact::raw(redaction, element)).collect())
        };
        let heard = Heard {
            tools: fetch(List::Tools).await?,
            resources: fetch(List::Resources).await?,
            templates: fetch(List::Templates).await?,
            prompts: fetch(List::Prompts).await?,
        };
        let heard = Arc::new((heard, pins));
        let (lists, approved) = self.admit(&declared, &heard);
        self.keep(store, (&known, &lists), &approved).await?;
        // From now on this is what was approved.
        let (heard, mut pins) = heard.as_ref().clone();
        pins.extend(approved.into_iter().map(|(name, pin, _)| (name, pin)));
        let lists = Lists { heard: Some(Arc::new((heard, pins))), ..lists };
        let changes = changed(&self.lists(), &lists);
        self.lists.store(Arc::new(lists));
        Ok(changes)
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

    fn admit(&self, declared: &Arc<Declared>, heard: &Arc<(Heard, Pins)>) -> (Lists, Vec<Approved>) {
        let (trust, timeout) = (self.trust(), self.timeout());
        let (mut lists, mut approved) = (Lists::default(), Vec::new());
        lists.heard = Some(Arc::clone(heard));
        let (heard, pins) = heard.as_ref();
        let judged = admission::objections(&heard.tools, trust, pins, pins.is_empty());
        for (tool, judged) in heard.tools.iter().zip(judged) {
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
        self.look_at_instructions(declared, pins, (&mut lists, &mut approved));
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

    /// Whether nothing was heard of it yet, neither what it offers nor why not.
    pub(crate) fn is_unheard(&self) -> bool {
        let lists = self.lists.load();
        !self.is_builtin() && lists.declared.is_none() && lists.stale.is_none()
    }

    /// Shows what was approved of it before this process began, until it says itself what it offers.
    pub(crate) fn remember(&self, known: &[ToolPin]) {
        // Whoever asks it knows better, or is about to.
        let Ok(_turn) = self.refreshing.try_lock() else { return };
        let approved = known.iter().filter(|pin| pin.digest.is_some());
        let mut lists = Lists::default();
        for pin in approved {
            let Some(definition) = &pin.definition else { continue };
            if pin.name == INSTRUCTIONS {
                lists.instructions = Some(definition.as_str().into());
            } else if let Ok(tool) = Raw::parse(definition.clone(), hayward_mcp::limits::JSON) {
                lists.offered.extend(self.offer(&pin.name, &tool));
            }
        }
        if self.is_unheard() && !lists.offered.is_empty() {
            self.lists.store(Arc::new(Lists { stale: Some(UNHEARD.into()), ..lists }));
        }
    }

    /// Why nothing is shown of it under this name that it may have.
    pub(crate) fn why_not(&self, own: &str) -> Option<WhyNot> {
        let lists = self.lists.load();
        if let Some(kept) = lists.kept_back.iter().find(|kept| kept.is_tool && kept.name == own) {
            return Some(WhyNot::KeptBack(kept.why.clone()));
        }
        match &lists.stale {
            _ if self.is_builtin() || lists.declared.is_some() => None,
            Some(why) if **why != *UNHEARD => Some(WhyNot::Unheard(Arc::clone(why))),
            Some(_) | None => Some(WhyNot::Starting),
        }
    }

    /// What it says to models before anything else is shown if it was approved like a tool.
    fn look_at_instructions(
        &self,
        declared: &Declared,
        pins: &Pins,
        (lists, approved): (&mut Lists, &mut Vec<Approved>),
    ) {
        let Some(text) = declared.instructions.as_deref() else { return };
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
            (Trust::Pin | Trust::Review, Some(known)) => *known == pin,
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

/// What a server said that it offers.
#[derive(Clone, Debug)]
struct Heard {
    tools: Vec<Raw>,
    resources: Vec<Raw>,
    templates: Vec<Raw>,
    prompts: Vec<Raw>,
}

/// What a server says of itself, without secrets that we hold.
fn redacted(redaction: &Redaction, declared: Arc<Declared>) -> Arc<Declared> {
    let Some(said) = &declared.instructions else { return declared };
    let instructions = redact::text(redaction, said.clone());
    if instructions == *said {
        return declared;
    }
    Arc::new(Declared { instructions: Some(instructions), ..declared.as_ref().clone() })
}

/// A whole list; an empty one of a server that doesn't have it.
async fn fetch(upstream: &Upstream, declared: &Declared, list: List) -> Result<Vec<Raw>, String> {
    let capability = match list {
        List::Tools => "tools",
        List::Resources | List::Templates => "resources",
        List::Prompts => "prompts",
    };
    if !declared.can(capability) {
        return Ok(Vec::new());
    }
    match upstream.list(list).await {
        Ok(Ok(mut listed)) => {
            listed.elements.truncate(OFFERED_MAX);
            Ok(listed.elements)
        }
        // Many have resources and no templates, and say so with an error.
        Ok(Err(_)) if list == List::Templates => Ok(Vec::new()),
        Ok(Err(error)) => Err(format!("it answers `{}` with an error: {error}", list.method())),
        Err(error) => Err(with_sources(&error)),
    }
}

fn all_lists() -> Vec<Change> {
    vec![Change::Tools, Change::Resources, Change::Prompts]
}

fn changed(before: &Lists, after: &Lists) -> Vec<Change> {
    if before.stale.is_some() || before.declared.is_none() || before.instructions != after.instructions {
        return all_lists();
    }
    let of = |lists: &Lists, wanted: &[List]| -> Vec<Raw> {
        let offered = lists.offered.iter().filter(|offered| wanted.contains(&offered.list));
        offered.map(|offered| offered.definition.clone()).collect()
    };
    let kinds: [(&[List], Change); 3] = [
        (&[List::Tools], Change::Tools),
        (&[List::Resources, List::Templates], Change::Resources),
        (&[List::Prompts], Change::Prompts),
    ];
    let differs = kinds.into_iter().filter(|(lists, _)| of(before, lists) != of(after, lists));
    differs.map(|(_, change)| change).collect()
}
