//! The routers of all endpoints, each made when it is first asked for after something that it shows has changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hayward_api::definition::ToolOverride;
use hayward_mcp::request::List;
use hayward_telemetry::metrics::Meters;
use hayward_tool::Toolset;

use super::router::{Placing, Router};
use crate::endpoint::Endpoint;
use crate::upstreams::{Entry, Names, Offered, Upstreams};

/// What every endpoint shows.
pub(crate) struct Routers {
    /// Our own toolsets; all of them are shown, under bare names, where clients come in by default.
    toolsets: Vec<Toolset>,
    upstreams: Arc<Upstreams>,
    meters: Arc<Meters>,
    built: RwLock<HashMap<Endpoint, Built>>,
    /// Held by whoever makes a router, so that nobody makes the same one.
    building: Mutex<()>,
}

/// A router, and what it was made of.
struct Built {
    /// The version of its entry; 0 where there was none.
    version: u64,
    router: Arc<Router>,
}

impl Routers {
    pub(crate) fn new(toolsets: Vec<Toolset>, upstreams: Arc<Upstreams>, meters: Arc<Meters>) -> Self {
        Self { toolsets, upstreams, meters, built: RwLock::default(), building: Mutex::default() }
    }

    /// Servers of others.
    pub(crate) fn upstreams(&self) -> &Arc<Upstreams> {
        &self.upstreams
    }

    /// What an endpoint shows now; none if there is no such endpoint.
    pub(crate) fn at(&self, endpoint: &Endpoint) -> Option<Arc<Router>> {
        if let Some(known) = self.known(endpoint, version_of(self.upstreams.entry(endpoint).as_deref())) {
            return Some(known);
        }
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.upstreams.entry(endpoint);
        // Read before what it stands for, so that whatever changes meanwhile is seen the next time.
        let version = version_of(entry.as_deref());
        if let Some(known) = self.known(endpoint, version) {
            return Some(known);
        }
        let router = Arc::new(self.build(endpoint, entry.as_deref())?);
        let mut built = self.built.write().unwrap_or_else(PoisonError::into_inner);
        // Those that are gone are forgotten as others come.
        built.retain(|other, _| *other == Endpoint::Default || self.upstreams.entry(other).is_some());
        built.insert(endpoint.clone(), Built { version, router: Arc::clone(&router) });
        Some(router)
    }

    fn known(&self, endpoint: &Endpoint, version: u64) -> Option<Arc<Router>> {
        let built = self.built.read().unwrap_or_else(PoisonError::into_inner);
        built.get(endpoint).filter(|known| known.version == version).map(|known| Arc::clone(&known.router))
    }

    /// Why an endpoint is not served, and what it would show.
    pub(crate) fn unserved(&self, endpoint: &Endpoint) -> Option<(Router, &'static str)> {
        let (entry, why) = self.upstreams.unserved(endpoint)?;
        Some((self.build(endpoint, Some(&entry))?, why))
    }

    fn build(&self, endpoint: &Endpoint, entry: Option<&Entry>) -> Option<Router> {
        let mut router = Router::new(endpoint.project());
        let bare = Names::default();
        let lists = |toolset: &str| {
            entry.is_some_and(|entry| {
                entry.attached.iter().any(|it| it.server.is_builtin() && *it.server.name == *toolset)
            })
        };
        if *endpoint == Endpoint::Default {
            for toolset in &self.toolsets {
                router.put_toolset(
                    toolset,
                    &Placing { prefix: None, names: &bare, is_told: false, is_listed: lists(&toolset.name) },
                    &self.meters,
                );
            }
            if entry.is_none() {
                return Some(router);
            }
        }
        let entry = entry?;
        let taken: Vec<&str> = if *endpoint == Endpoint::Default {
            self.toolsets
                .iter()
                .flat_map(|it| &it.tools)
                .map(|tool| tool.descriptor().name.as_str())
                .collect()
        } else {
            Vec::new()
        };
        let prefixes = entry.attached.iter().filter_map(|attached| attached.prefix.as_deref()).collect();
        let names = Names { prefixes, taken, style: entry.style };
        for attached in &entry.attached {
            let placing =
                Placing { prefix: attached.prefix.as_deref(), names: &names, is_told: true, is_listed: true };
            let server = &attached.server;
            if server.is_builtin() {
                let toolset = self.toolsets.iter().find(|toolset| toolset.name == server.name);
                // It is shown there already.
                if let Some(toolset) = toolset.filter(|_| *endpoint != Endpoint::Default) {
                    router.put_toolset(toolset, &placing, &self.meters);
                }
                continue;
            }
            let lists = server.lists();
            let mut offered: Vec<Arc<Offered>> =
                lists.offered.iter().filter_map(|offered| shown(offered, &attached.tools)).collect();
            // A name that the administrator gave is nobody else's.
            offered.sort_by_key(|offered| offered.renamed.is_none());
            router.put_server((server, &lists), offered.into_iter(), &placing, &self.meters);
            if matches!(endpoint, Endpoint::Server(_)) && router.offers().resources {
                router.put_anything(server);
            }
        }
        if let Some(prompt) = &entry.prompt {
            router.put_prompt(prompt);
        }
        Some(router)
    }
}

/// The version of an entry; 0 where there is none.
fn version_of(entry: Option<&Entry>) -> u64 {
    entry.map_or(0, Entry::version)
}

/// What a project makes of a thing of a server; none if it hides it. It can make it riskier, and never less so than it is.
fn shown(offered: &Arc<Offered>, tools: &BTreeMap<String, ToolOverride>) -> Option<Arc<Offered>> {
    let said = tools.get(&*offered.own).filter(|_| offered.list == List::Tools);
    let Some(said) = said else { return Some(Arc::clone(offered)) };
    let mut other = (**offered).clone().with(Some(said))?;
    other.tier = other.tier.max(offered.tier);
    Some(Arc::new(other))
}
