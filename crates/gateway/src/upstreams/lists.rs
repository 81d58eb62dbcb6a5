//! What a server offers: as it was last heard, and what of it is shown.

use std::fmt;
use std::sync::Arc;

use hayward_api::error::with_sources;
use hayward_mcp::json::Raw;
use hayward_mcp::request::List;
use hayward_mcp::upstream::{Declared, Upstream};
use hayward_tool::Change;

use super::admission::Pins;
use super::offered::Offered;
use crate::limits::OFFERED_MAX;

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
    pub(crate) stale: Option<Stale>,
    /// What it said, and what was approved of that, so that it can be looked at again under other rules.
    pub(super) heard: Option<Arc<(Heard, Pins)>>,
}

/// Why what is known of a server may be otherwise by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// It was approved before this process began, and the server has not said anything since.
    Remembered,
    /// It was said before the server was declared as it is now.
    Redefined,
    /// The server can't be asked, for this reason.
    Away(Arc<str>),
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Remembered => "it has not said what it offers since this daemon started",
            Self::Redefined => "its definition has changed",
            Self::Away(why) => why,
        })
    }
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

/// What a server said that it offers, as it said it: there may be secrets in it that we hold.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) tools: Vec<Raw>,
    pub(super) resources: Vec<Raw>,
    pub(super) templates: Vec<Raw>,
    pub(super) prompts: Vec<Raw>,
}

impl Heard {
    /// Asks for all of it.
    pub(super) async fn of(upstream: &Upstream) -> Result<Self, String> {
        let declared = upstream.declared();
        Ok(Self {
            tools: fetch(upstream, &declared, List::Tools).await?,
            resources: fetch(upstream, &declared, List::Resources).await?,
            templates: fetch(upstream, &declared, List::Templates).await?,
            prompts: fetch(upstream, &declared, List::Prompts).await?,
        })
    }
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

pub(super) fn all_lists() -> Vec<Change> {
    vec![Change::Tools, Change::Resources, Change::Prompts]
}

/// Whether the same is shown, and the same kept back.
pub(super) fn same(one: &Lists, other: &Lists) -> bool {
    let shown =
        |lists: &Lists| -> Vec<Raw> { lists.offered.iter().map(|it| it.definition.clone()).collect() };
    one.instructions == other.instructions && one.kept_back == other.kept_back && shown(one) == shown(other)
}

/// The lists that are others than before.
pub(super) fn changed(before: &Lists, after: &Lists) -> Vec<Change> {
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
