//! What an endpoint shows, and to whom.

use std::sync::Arc;

use hayward_api::{Principal, Tier};
use hayward_mcp::json::Raw;
use hayward_mcp::param_headers::ParamHeaders;
use hayward_mcp::request::List;
use hayward_mcp::result::CacheHint;
use hayward_tool::Verb;

use super::Road;
use super::route::Route;
use super::router::Router;
use crate::endpoint::Endpoint;
use crate::upstreams::{Interest, TooMany};

impl Road {
    /// The elements of a list where clients come in by default: what the principal may use, and nothing else.
    pub fn list(&self, list: List, principal: &Principal) -> Raw {
        self.list_at(&Endpoint::Default, list, principal)
    }

    /// The same at any endpoint.
    pub(crate) fn list_at(&self, endpoint: &Endpoint, list: List, principal: &Principal) -> Raw {
        self.at(endpoint).list(list, &self.policy(), principal)
    }

    /// What an endpoint shows; nothing, if there is none.
    pub(crate) fn at(&self, endpoint: &Endpoint) -> Arc<Router> {
        self.routers.at(endpoint).unwrap_or_else(|| Arc::new(Router::new(endpoint.project())))
    }

    /// Whether there is such an endpoint for this principal: one of which it may use nothing isn't there.
    pub(crate) fn has_endpoint(&self, endpoint: &Endpoint, principal: &Principal) -> bool {
        *endpoint == Endpoint::Default
            || self.routers.at(endpoint).is_some_and(|router| router.is_open_to(&self.policy(), principal))
    }

    /// Why an endpoint is not served that this principal could use if it were.
    pub(crate) fn why_not_served(&self, endpoint: &Endpoint, principal: &Principal) -> Option<&'static str> {
        let (router, why) = self.routers.unserved(endpoint)?;
        router.is_open_to(&self.policy(), principal).then_some(why)
    }

    /// What lets the server of a resource tell how it changes, for as long as it is kept; none if nobody has to be asked.
    pub(crate) fn interest(&self, endpoint: &Endpoint, uri: &str) -> Result<Option<Interest>, TooMany> {
        let router = self.at(endpoint);
        let server = router.find(Verb::ReadResource, uri).and_then(Route::server);
        server.map(|server| self.upstreams().interest(server, uri)).transpose()
    }

    /// Whether the principal may use this.
    pub(crate) fn is_visible(
        &self,
        endpoint: &Endpoint,
        verb: Verb,
        name: &str,
        principal: &Principal,
    ) -> bool {
        self.at(endpoint).find_visible(verb, name, &self.policy(), principal).is_some()
    }

    /// The headers that repeat the arguments of a tool which the principal may call.
    pub(crate) fn param_headers(
        &self,
        endpoint: &Endpoint,
        tool: &str,
        principal: &Principal,
    ) -> Option<Arc<ParamHeaders>> {
        self.at(endpoint).find_visible(Verb::CallTool, tool, &self.policy(), principal)?.param_headers()
    }

    /// Whether this runs as a task only.
    pub(crate) fn needs_task(
        &self,
        endpoint: &Endpoint,
        verb: Verb,
        name: &str,
        principal: &Principal,
    ) -> bool {
        let router = self.at(endpoint);
        router.find_visible(verb, name, &self.policy(), principal).is_some_and(Route::needs_task)
    }

    /// Whether doing it twice may matter.
    pub(crate) fn has_effect(&self, endpoint: &Endpoint, verb: Verb, name: &str) -> bool {
        self.at(endpoint).find(verb, name).is_some_and(|route| route.tier() > Tier::Read)
    }

    /// How long what this says stays true. Whatever it is, only those who may use it may keep it.
    pub(crate) fn cache(&self, endpoint: &Endpoint, verb: Verb, name: &str) -> CacheHint {
        let hint = self.at(endpoint).find(verb, name).map_or(CacheHint::PRIVATE, Route::cache);
        CacheHint { is_public: false, ..hint }
    }
}
