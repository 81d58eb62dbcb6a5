//! One server: what was declared of it, what it offers, and how it fares.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hayward_api::definition::{Placement, Sharing, Transport, Trust};
use hayward_api::kinds::server::ServerSpec;
use hayward_mcp::era::Era;
use hayward_mcp::json::Raw;
use hayward_mcp::request::List;
use hayward_mcp::upstream::{Declared, Upstream};
use hayward_tool::Change;
use tokio::sync::Semaphore;

use super::admission::{self, Pins};
use super::breaker::Breaker;
use super::offered::Offered;
use crate::limits::{CALL_TIMEOUT, SERVER_CALLS_MAX, SETTLE_PATIENCE};

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
    /// Held by whoever asks it for its lists.
    refreshing: tokio::sync::Mutex<()>,
    /// Whether somebody is about to.
    is_due: AtomicBool,
    /// Since when it is known.
    since: Instant,
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
    /// Its digest, for the same.
    pub pin: Option<String>,
}

impl Server {
    /// A server of which nothing was heard, or what was heard of it before it was declared anew.
    pub(crate) fn new(name: &str, uid: &str, spec: ServerSpec, before: Option<&Self>) -> Self {
        let lists = before.map(|before| before.lists().as_ref().clone()).unwrap_or_default();
        let server = Self {
            name: name.into(),
            uid: uid.into(),
            spec,
            lists: ArcSwap::from_pointee(Lists::default()),
            breaker: Mutex::default(),
            places: Arc::new(Semaphore::new(SERVER_CALLS_MAX)),
            refreshing: tokio::sync::Mutex::default(),
            is_due: AtomicBool::new(false),
            since: Instant::now(),
        };
        // What was taken under other rules is looked at again when it is heard again.
        let stale = lists.declared.is_some().then(|| "its definition has changed".into());
        server.lists.store(Arc::new(Lists { stale, ..lists }));
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
                Some(Era::Legacy) => Sharing::Principal,
                Some(Era::Modern) | None => Sharing::Shared,
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

    /// Nobody is about to ask for its lists any more, although nobody did.
    pub(crate) fn release_refresh(&self) {
        self.is_due.store(false, Ordering::Release);
    }

    /// It can't be reached: what it offered last stays, and says so. What changed by that.
    pub(crate) fn is_gone(&self, why: &str) -> Vec<Change> {
        let lists = self.lists();
        if lists.stale.as_deref() == Some(why) {
            return Vec::new();
        }
        let was_fresh = lists.stale.is_none() && lists.declared.is_some();
        self.lists.store(Arc::new(Lists { stale: Some(why.into()), ..lists.as_ref().clone() }));
        if was_fresh { all_lists() } else { Vec::new() }
    }

    /// Asks it what it offers, and takes what may be shown. What changed by that; and what was seen for the first time, to be
    /// kept as approved.
    pub(crate) async fn refresh(&self, upstream: &Upstream, pins: &Pins) -> Result<Refreshed, String> {
        let _refreshing = self.refreshing.lock().await;
        self.is_due.store(false, Ordering::Release);
        let declared = upstream.declared();
        let heard = Heard {
            tools: fetch(upstream, &declared, List::Tools).await?,
            resources: fetch(upstream, &declared, List::Resources).await?,
            templates: fetch(upstream, &declared, List::Templates).await?,
            prompts: fetch(upstream, &declared, List::Prompts).await?,
        };
        let (lists, new_pins) = self.admit(&declared, &heard, pins);
        let before = self.lists();
        let changes = changed(&before, &lists);
        self.lists.store(Arc::new(lists));
        Ok(Refreshed { changes, new_pins })
    }

    fn admit(&self, declared: &Arc<Declared>, heard: &Heard, pins: &Pins) -> (Lists, Pins) {
        let (trust, timeout) = (self.trust(), self.timeout());
        let (mut lists, mut new_pins) = (Lists::default(), Pins::new());
        let judged = admission::objections(&heard.tools, trust, pins, pins.is_empty());
        for (tool, judged) in heard.tools.iter().zip(judged) {
            match judged {
                Ok(admitted) => {
                    let said = self.spec.tools.get(&admitted.name);
                    let tier = admission::tier(tool, said.and_then(|said| said.tier), trust);
                    let offered = Offered::of(List::Tools, tool, tier, timeout);
                    lists.offered.extend(offered.and_then(|it| it.with(said)).map(Arc::new));
                    if !pins.contains_key(&admitted.name) {
                        new_pins.insert(admitted.name, admitted.pin);
                    }
                }
                Err((name, objection)) => lists.kept_back.push(KeptBack {
                    name,
                    why: objection.to_string(),
                    definition: tool.as_str().to_owned(),
                    pin: tool.view().ok().map(|value| admission::pin(&value)),
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
                let looked = element.view().map_err(|error| error.to_string()).and_then(|value| {
                    admission::look_at_strings(&value, "").map_err(|objection| objection.to_string())
                });
                let offered = Offered::of(list, element, tier, timeout);
                match (looked, offered) {
                    (Ok(()), Some(offered)) => lists.offered.push(Arc::new(offered)),
                    (looked, offered) => lists.kept_back.push(KeptBack {
                        name: offered.map(|it| it.own.to_string()).unwrap_or_default(),
                        why: looked.err().unwrap_or_else(|| "it has no name".to_owned()),
                        definition: element.as_str().to_owned(),
                        pin: None,
                    }),
                }
            }
        }
        lists.instructions = self.instructions(declared, pins, &mut new_pins);
        lists.declared = Some(Arc::clone(declared));
        (lists, new_pins)
    }

    /// What it says to models before anything else, if that was approved like a tool.
    fn instructions(&self, declared: &Declared, pins: &Pins, new_pins: &mut Pins) -> Option<Arc<str>> {
        let text = declared.instructions.as_deref()?;
        admission::look_at_text(text, "instructions").ok()?;
        let pin = admission::pin(&text.into());
        let is_taken = match (self.trust(), pins.get(INSTRUCTIONS)) {
            (Trust::Follow, _) => true,
            (Trust::Pin | Trust::Review, Some(known)) => *known == pin,
            (Trust::Pin, None) => pins.is_empty(),
            (Trust::Review, None) => false,
        };
        if is_taken && !pins.contains_key(INSTRUCTIONS) {
            new_pins.insert(INSTRUCTIONS.to_owned(), pin);
        }
        is_taken.then(|| text.into())
    }
}

/// Under what the instructions of a server are approved: no tool has this name.
const INSTRUCTIONS: &str = "";

/// What asking a server came to.
#[derive(Debug)]
pub(crate) struct Refreshed {
    /// What changed for those who listen.
    pub(crate) changes: Vec<Change>,
    /// What is approved from now on, as nobody had to.
    pub(crate) new_pins: Pins,
}

/// What a server said that it offers.
struct Heard {
    tools: Vec<Raw>,
    resources: Vec<Raw>,
    templates: Vec<Raw>,
    prompts: Vec<Raw>,
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
        Ok(Ok(listed)) => Ok(listed.elements),
        // Many have resources and no templates, and say so with an error.
        Ok(Err(_)) if list == List::Templates => Ok(Vec::new()),
        Ok(Err(error)) => Err(format!("it answers `{}` with an error: {error}", list.method())),
        Err(error) => Err(told(&error)),
    }
}

/// An error with all that led to it.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

fn all_lists() -> Vec<Change> {
    vec![Change::Tools, Change::Resources, Change::Prompts]
}

fn changed(before: &Lists, after: &Lists) -> Vec<Change> {
    if before.stale.is_some() || before.declared.is_none() {
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
