//! Step 4, route: the exposed name → what lies at the end. And the other half of the same table: the lists.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hayward_api::error::did_you_mean;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Principal, Tier};
use hayward_auth::{Action, Decision, Policy, decide};
use hayward_mcp::json::{ArrayWriter, Object, Raw};
use hayward_mcp::param_headers::ParamHeaders;
use hayward_mcp::request::List;
use hayward_mcp::result::{CacheHint, Offers};
use hayward_telemetry::metrics::{CallMeter, Meters};
use hayward_tool::{BoxFuture, Call, Cx, Outcome, Prompt, Resource, ResourceUri, Tool, Toolset, Verb};

/// Everything that is exposed, and what is listed to whom.
pub(crate) struct Router {
    tools: Shelf,
    resources: Shelf,
    templates: Shelf,
    prompts: Shelf,
    has_tasks: bool,
    /// Where calls of each tool are counted, in the order of the tools.
    meters: Vec<Arc<CallMeter>>,
    /// What `decide` reads of a principal → the list that it gets. Bounded by the product of its keys.
    lists: Mutex<HashMap<ListKey, Raw>>,
}

/// What a list depends on.
type ListKey = (List, PrincipalKind, Option<Tier>);

/// What is exposed of one kind; on a collision of names the first one wins.
#[derive(Default)]
struct Shelf {
    routes: Vec<Route>,
    by_name: HashMap<String, usize>,
}

/// Where a name leads.
#[derive(Clone)]
pub(crate) struct Route {
    /// The toolset that it is of.
    pub(crate) toolset: &'static str,
    item: Item,
}

#[derive(Clone)]
enum Item {
    Tool(Arc<dyn Tool>, Arc<ParamHeaders>),
    Resource(Arc<dyn Resource>),
    Prompt(Arc<dyn Prompt>),
}

impl Route {
    /// Its own name.
    pub(crate) fn name(&self) -> &str {
        match &self.item {
            Item::Tool(tool, _) => tool.descriptor().name.as_str(),
            Item::Prompt(prompt) => &prompt.descriptor().name,
            Item::Resource(resource) => match &resource.descriptor().uri {
                ResourceUri::One(uri) => uri,
                ResourceUri::Template(template) => template.as_str(),
            },
        }
    }

    /// How risky it is.
    pub(crate) fn tier(&self) -> Tier {
        match &self.item {
            Item::Tool(tool, _) => tool.descriptor().tier,
            Item::Resource(resource) => resource.descriptor().tier,
            Item::Prompt(prompt) => prompt.descriptor().tier,
        }
    }

    /// How long it may take at most.
    pub(crate) fn timeout(&self) -> Duration {
        match &self.item {
            Item::Tool(tool, _) => tool.descriptor().timeout,
            Item::Resource(resource) => resource.descriptor().timeout,
            Item::Prompt(prompt) => prompt.descriptor().timeout,
        }
    }

    /// Whether it names an argument of this name.
    pub(crate) fn declares(&self, argument: &str) -> bool {
        match &self.item {
            Item::Tool(tool, _) => Object::of(&tool.descriptor().input_schema)
                .and_then(|schema| schema.get_object("properties"))
                .is_some_and(|properties| properties.has(argument)),
            Item::Resource(_) | Item::Prompt(_) => true,
        }
    }

    /// Whether it runs as a task only.
    pub(crate) fn needs_task(&self) -> bool {
        matches!(&self.item, Item::Tool(tool, _) if tool.descriptor().needs_task)
    }

    /// Who may keep what it says, and for how long.
    pub(crate) fn cache(&self) -> CacheHint {
        match &self.item {
            Item::Resource(resource) => resource.descriptor().cache,
            Item::Tool(..) | Item::Prompt(_) => CacheHint::PRIVATE,
        }
    }

    /// The headers that repeat its arguments.
    pub(crate) fn param_headers(&self) -> Option<&ParamHeaders> {
        match &self.item {
            Item::Tool(_, headers) => Some(headers),
            Item::Resource(_) | Item::Prompt(_) => None,
        }
    }

    /// The action that using it is.
    pub(crate) fn action(&self) -> Action<'_> {
        Action::Use { toolset: self.toolset, name: self.name(), tier: self.tier() }
    }

    /// Runs one call.
    pub(crate) fn run<'a>(&'a self, cx: &'a Cx, call: Call) -> BoxFuture<'a, Outcome> {
        match (&self.item, call.verb) {
            (Item::Tool(tool, _), _) => tool.call(cx, call),
            (Item::Resource(resource), Verb::CompleteTemplate) => resource.complete(cx, call),
            (Item::Resource(resource), _) => resource.read(cx, call),
            (Item::Prompt(prompt), Verb::CompletePrompt) => prompt.complete(cx, call),
            (Item::Prompt(prompt), verb) => match prompt.descriptor().check(&call.arguments) {
                Ok(()) => prompt.get(cx, call),
                Err(error) => Box::pin(async move { Outcome::failed(verb, error) }),
            },
        }
    }

    fn definition(&self) -> Raw {
        match &self.item {
            Item::Tool(tool, _) => tool.descriptor().definition(),
            Item::Resource(resource) => resource.descriptor().definition(),
            Item::Prompt(prompt) => prompt.descriptor().definition(),
        }
    }

    fn matches(&self, uri: &str) -> bool {
        matches!(&self.item, Item::Resource(resource) if resource.descriptor().matches(uri))
    }
}

impl Shelf {
    fn put(&mut self, toolset: &'static str, item: Item) {
        let route = Route { toolset, item };
        if !self.by_name.contains_key(route.name()) {
            self.by_name.insert(route.name().to_owned(), self.routes.len());
            self.routes.push(route);
        }
    }

    fn find(&self, name: &str) -> Option<&Route> {
        self.by_name.get(name).map(|index| &self.routes[*index])
    }

    fn visible<'a>(&'a self, policy: &Policy, principal: &Principal) -> impl Iterator<Item = &'a Route> {
        self.routes.iter().filter(|route| decide(policy, principal, &route.action()) == Decision::Allow)
    }
}

impl Router {
    /// Exposes what these toolsets offer under bare names.
    pub(crate) fn new(toolsets: Vec<Toolset>, meters: &Meters) -> Self {
        let mut router = Self {
            tools: Shelf::default(),
            resources: Shelf::default(),
            templates: Shelf::default(),
            prompts: Shelf::default(),
            has_tasks: false,
            meters: Vec::new(),
            lists: Mutex::default(),
        };
        for toolset in toolsets {
            router.put(toolset);
        }
        router.meters = router.tools.routes.iter().map(|route| meters.tool(route.name())).collect();
        router
    }

    fn put(&mut self, toolset: Toolset) {
        let name = toolset.name;
        self.has_tasks |= toolset.has_tasks;
        for tool in toolset.tools {
            let headers = ParamHeaders::of(&tool.descriptor().input_schema).unwrap_or_else(|error| {
                let tool = tool.descriptor().name.as_str();
                tracing::warn!(tool, %error, "no header repeats an argument of this tool");
                ParamHeaders::default()
            });
            self.tools.put(name, Item::Tool(tool, Arc::new(headers)));
        }
        for resource in toolset.resources {
            let shelf = match resource.descriptor().uri {
                ResourceUri::One(_) => &mut self.resources,
                ResourceUri::Template(_) => &mut self.templates,
            };
            shelf.put(name, Item::Resource(resource));
        }
        for prompt in toolset.prompts {
            self.prompts.put(name, Item::Prompt(prompt));
        }
    }

    /// What is offered beside tools.
    pub(crate) fn offers(&self) -> Offers {
        let has_resources = !self.resources.routes.is_empty() || !self.templates.routes.is_empty();
        Offers { resources: has_resources, prompts: !self.prompts.routes.is_empty(), tasks: self.has_tasks }
    }

    /// Where this name leads: to one place, whoever asks. What leads to something that a caller may not see
    /// leads it nowhere, and to nothing else that would match, too.
    pub(crate) fn find(&self, verb: Verb, name: &str) -> Option<&Route> {
        match verb {
            Verb::CallTool => self.tools.find(name),
            Verb::GetPrompt | Verb::CompletePrompt => self.prompts.find(name),
            Verb::CompleteTemplate => self.templates.find(name).or_else(|| self.resources.find(name)),
            Verb::ReadResource => self
                .resources
                .find(name)
                .or_else(|| self.templates.routes.iter().find(|route| route.matches(name))),
        }
    }

    /// Where calls of the tool with this name are counted.
    pub(crate) fn meter(&self, tool: &str) -> Option<&CallMeter> {
        self.tools.by_name.get(tool).map(|index| &*self.meters[*index])
    }

    /// Where this name leads for this principal.
    pub(crate) fn find_visible(
        &self,
        verb: Verb,
        name: &str,
        policy: &Policy,
        principal: &Principal,
    ) -> Option<&Route> {
        self.find(verb, name).filter(|route| decide(policy, principal, &route.action()) == Decision::Allow)
    }

    /// The name that was probably meant, of those that the principal may see.
    pub(crate) fn suggest(
        &self,
        verb: Verb,
        name: &str,
        policy: &Policy,
        principal: &Principal,
    ) -> Option<String> {
        let shelf = match verb {
            Verb::CallTool => &self.tools,
            Verb::GetPrompt | Verb::CompletePrompt => &self.prompts,
            Verb::ReadResource => &self.resources,
            Verb::CompleteTemplate => &self.templates,
        };
        did_you_mean(name, shelf.visible(policy, principal).map(Route::name)).map(ToOwned::to_owned)
    }

    /// The elements of a list: what this principal may use, and nothing else.
    pub(crate) fn list(&self, list: List, policy: &Policy, principal: &Principal) -> Raw {
        let shelf = match list {
            List::Tools => &self.tools,
            List::Resources => &self.resources,
            List::Templates => &self.templates,
            List::Prompts => &self.prompts,
        };
        let make = || {
            let mut array = ArrayWriter::new(4096);
            shelf.visible(policy, principal).for_each(|route| array.push(&route.definition()));
            array.end()
        };
        // What is kept is the same for all of a kind and ceiling. Whoever is bound to certain tools has a list of its own.
        if !principal.bounds.tools.is_empty() {
            return make();
        }
        let key = (list, principal.kind, principal.ceiling);
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.entry(key).or_insert_with(make).clone()
    }
}
