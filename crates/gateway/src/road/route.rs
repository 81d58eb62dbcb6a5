//! Step 4, route: the exposed name → the tool. And the other half of the same table: the list.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hayward_api::error::did_you_mean;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Principal, Tier};
use hayward_auth::{Action, Decision, decide};
use hayward_mcp::json::{ArrayWriter, Raw};
use hayward_tool::{Tool, Toolset};

/// Every exposed name, and what is listed to whom.
pub(crate) struct Router {
    routes: Vec<Route>,
    by_name: HashMap<String, usize>,
    /// What `decide` reads of a principal → the list that it gets. Bounded by the product of its keys.
    lists: Mutex<HashMap<(PrincipalKind, Option<Tier>), Raw>>,
}

/// Where a name leads.
#[derive(Clone)]
pub(crate) struct Route {
    /// The toolset that the tool is of.
    pub(crate) toolset: &'static str,
    /// The tool.
    pub(crate) tool: Arc<dyn Tool>,
}

impl Route {
    /// The action that calling it is.
    pub(crate) fn action(&self) -> Action<'_> {
        let descriptor = self.tool.descriptor();
        Action::CallTool { toolset: self.toolset, tool: descriptor.name.as_str(), tier: descriptor.tier }
    }
}

impl Router {
    /// Exposes the tools of these toolsets under their bare names; on a collision the first one wins.
    pub(crate) fn new(toolsets: Vec<Toolset>) -> Self {
        let mut router = Self { routes: Vec::new(), by_name: HashMap::new(), lists: Mutex::default() };
        for toolset in toolsets {
            for tool in toolset.tools {
                let name = tool.descriptor().name.as_str().to_owned();
                if !router.by_name.contains_key(&name) {
                    router.by_name.insert(name, router.routes.len());
                    router.routes.push(Route { toolset: toolset.name, tool });
                }
            }
        }
        router
    }

    /// Where this name leads.
    pub(crate) fn find(&self, name: &str) -> Option<&Route> {
        self.by_name.get(name).map(|index| &self.routes[*index])
    }

    /// The name that was probably meant, of those that the principal may see.
    pub(crate) fn suggest(&self, name: &str, principal: &Principal) -> Option<String> {
        let visible = self.visible(principal).map(|route| route.tool.descriptor().name.as_str());
        did_you_mean(name, visible).map(ToOwned::to_owned)
    }

    /// The elements of `tools/list`: what this principal may call, and nothing else.
    pub(crate) fn list(&self, principal: &Principal) -> Raw {
        let key = (principal.kind, principal.ceiling);
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists
            .entry(key)
            .or_insert_with(|| {
                let mut array = ArrayWriter::new(4096);
                self.visible(principal).for_each(|route| array.push(&route.tool.descriptor().definition()));
                array.end()
            })
            .clone()
    }

    fn visible(&self, principal: &Principal) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(|route| decide(principal, &route.action()) == Decision::Allow)
    }
}
