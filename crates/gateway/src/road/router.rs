//! What one endpoint shows: names and where they lead, and the other half of the same table, the lists.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hayward_api::error::did_you_mean;
use hayward_api::{Principal, Tier};
use hayward_auth::{Action, Decision, Policy, decide};
use hayward_mcp::json::{ArrayWriter, ObjectWriter, Raw};
use hayward_mcp::param_headers::ParamHeaders;
use hayward_mcp::request::List;
use hayward_mcp::result::Offers;
use hayward_telemetry::metrics::Meters;
use hayward_tool::{ResourceUri, Toolset, Verb};

use super::route::{Item, Route};
use crate::limits::KEPT_LISTS_MAX;
use crate::upstreams::{Lists, Names, Offered, Server, parted};

/// Everything that is shown at one endpoint, and what is listed to whom.
pub(crate) struct Router {
    project: Option<Arc<str>>,
    /// The servers that it shows, in order, and the project in which each is met.
    attached: Vec<(Arc<str>, Option<Arc<str>>)>,
    tools: Shelf,
    resources: Shelf,
    templates: Shelf,
    prompts: Shelf,
    /// Where a resource leads that nobody lists.
    anything: Option<Route>,
    offers: Offers,
    /// What all clients are told first.
    prompt: String,
    /// What clients are told of each server that they may use, by its place among them.
    told: Vec<(usize, String)>,
    /// What `decide` reads of a principal → the list that it gets.
    lists: Mutex<HashMap<ListKey, Raw>>,
}

/// What a list depends on: for each server and tier whether it is granted.
type ListKey = (List, Box<[bool]>);

/// What is shown of one kind; on a collision of names the first one wins.
#[derive(Default)]
struct Shelf {
    routes: Vec<Route>,
    by_name: HashMap<Arc<str>, usize>,
    /// By `server/tool`, where that is another name.
    by_parts: HashMap<String, usize>,
}

/// How a server is put on the shelves.
pub(super) struct Placing<'a> {
    /// What its names begin with; none where they stay as they are.
    pub(super) prefix: Option<&'a str>,
    /// How names are put together.
    pub(super) names: &'a Names<'a>,
    /// Whether clients are told its instructions.
    pub(super) is_told: bool,
    /// Whether the project lists it: what is there in any case is not granted by the project.
    pub(super) is_listed: bool,
}

impl Shelf {
    fn put(&mut self, route: Route, parts: Option<String>) {
        if !self.by_name.contains_key(&route.exposed) {
            let at = self.routes.len();
            self.by_name.insert(Arc::clone(&route.exposed), at);
            if let Some(parts) = parts {
                self.by_parts.entry(parts).or_insert(at);
            }
            self.routes.push(route);
        }
    }

    fn find(&self, name: &str) -> Option<&Route> {
        let at = self.by_name.get(name).or_else(|| {
            let (prefix, own) = parted(name).filter(|_| !self.by_parts.is_empty())?;
            self.by_parts.get(&format!("{prefix}/{own}"))
        });
        at.map(|at| &self.routes[*at])
    }

    fn visible<'a>(&'a self, policy: &Policy, principal: &Principal) -> impl Iterator<Item = &'a Route> {
        self.routes.iter().filter(|route| decide(policy, principal, &route.action()) == Decision::Allow)
    }
}

impl Router {
    /// Nothing yet, met in this project.
    pub(super) fn new(project: Option<&str>) -> Self {
        Self {
            project: project.map(Into::into),
            attached: Vec::new(),
            tools: Shelf::default(),
            resources: Shelf::default(),
            templates: Shelf::default(),
            prompts: Shelf::default(),
            anything: None,
            offers: Offers::default(),
            prompt: String::new(),
            told: Vec::new(),
            lists: Mutex::default(),
        }
    }

    /// Shows a toolset of ours.
    pub(super) fn put_toolset(&mut self, toolset: &Toolset, placing: &Placing<'_>, meters: &Meters) {
        let attached = self.attach(&toolset.name, placing.is_listed);
        self.offers.tasks |= toolset.has_tasks;
        for tool in &toolset.tools {
            let headers = ParamHeaders::of(&tool.descriptor().input_schema).unwrap_or_else(|error| {
                let tool = tool.descriptor().name.as_str();
                tracing::warn!(tool, %error, "no header repeats an argument of this tool");
                ParamHeaders::default()
            });
            let item = Item::Tool(Arc::clone(tool), Arc::new(headers));
            let mut route = self.route(attached, placing, item);
            route.meter = Some(meters.tool(route.name()));
            self.tools.put(route, parts(placing, tool.descriptor().name.as_str()));
        }
        for resource in &toolset.resources {
            let route = self.route(
                attached,
                &Placing { prefix: None, ..*placing },
                Item::Resource(Arc::clone(resource)),
            );
            let shelf = match resource.descriptor().uri {
                ResourceUri::One(_) => &mut self.resources,
                ResourceUri::Template(_) => &mut self.templates,
            };
            shelf.put(route, None);
        }
        for prompt in &toolset.prompts {
            let route = self.route(attached, placing, Item::Prompt(Arc::clone(prompt)));
            self.prompts.put(route, parts(placing, &prompt.descriptor().name));
        }
        self.offers.resources |= !toolset.resources.is_empty();
        self.offers.prompts |= !toolset.prompts.is_empty();
        if placing.is_told {
            self.tell_first(attached, Some(&toolset.instructions), placing.prefix);
        }
    }

    /// Shows what a server of others offers, as it was last heard, with what is said of it here.
    pub(super) fn put_server(
        &mut self,
        (server, lists): (&Arc<Server>, &Lists),
        offered: impl Iterator<Item = Arc<Offered>>,
        placing: &Placing<'_>,
        meters: &Meters,
    ) {
        let attached = self.attach(&server.name, true);
        // One for all of its tools: there may be any number, and any of them may go.
        let meter = meters.tool(&format!("{}/*", server.name));
        for offered in offered {
            let list = offered.list;
            let own = offered.renamed.clone().unwrap_or_else(|| Arc::clone(&offered.own));
            let is_named = matches!(list, List::Tools | List::Prompts);
            let exposed = match placing.prefix.filter(|_| is_named) {
                Some(prefix) => placing.names.of(prefix, &own).into(),
                None => Arc::clone(&own),
            };
            let mut route = self.route_as(attached, exposed, Item::Offered(Arc::clone(server), offered));
            if lists.stale.is_some() {
                route.definition = marked(&route.definition);
            }
            let (shelf, meter) = match list {
                List::Tools => (&mut self.tools, Some(Arc::clone(&meter))),
                List::Resources => (&mut self.resources, None),
                List::Templates => (&mut self.templates, None),
                List::Prompts => (&mut self.prompts, None),
            };
            route.meter = meter;
            shelf.put(route, parts(placing, &own).filter(|_| is_named));
        }
        if let Some(declared) = &lists.declared {
            self.offers.resources |= declared.can("resources");
            self.offers.prompts |= declared.can("prompts");
            // What it does as a task is ours towards the client.
            self.offers.tasks |= declared.has_extension(hayward_mcp::abilities::TASKS_EXTENSION);
        }
        self.tell_first(attached, lists.instructions.as_deref(), placing.prefix);
    }

    /// Lets every resource be asked for at this server, whether it lists it or not.
    pub(super) fn put_anything(&mut self, server: &Arc<Server>) {
        let definition = ObjectWriter::new(32).str("uri", "*").str("name", "*").end();
        let timeout = server.timeout();
        let Some(offered) = Offered::of(List::Resources, &definition, Tier::Read, timeout) else { return };
        let attached = self.attach(&server.name, true);
        let item = Item::Anything(Arc::clone(server), Arc::new(offered));
        self.anything = Some(self.route_as(attached, "*".into(), item));
    }

    /// What all clients are told before anything else.
    pub(super) fn put_prompt(&mut self, prompt: &str) {
        prompt.trim_end().clone_into(&mut self.prompt);
    }

    fn tell_first(&mut self, attached: usize, instructions: Option<&str>, prefix: Option<&str>) {
        let Some(instructions) = instructions.map(str::trim).filter(|text| !text.is_empty()) else { return };
        let server = &self.attached[attached].0;
        let told = match prefix {
            Some(prefix) => format!("# {server}: names that begin with {prefix}\n{instructions}"),
            None => instructions.to_owned(),
        };
        self.told.push((attached, told));
    }

    fn attach(&mut self, server: &Arc<str>, is_listed: bool) -> usize {
        if let Some(at) = self.attached.iter().position(|(own, _)| own == server) {
            return at;
        }
        let project = self.project.clone().filter(|_| is_listed);
        self.attached.push((Arc::clone(server), project));
        self.attached.len() - 1
    }

    fn route(&self, attached: usize, placing: &Placing<'_>, item: Item) -> Route {
        let exposed = match placing.prefix {
            Some(prefix) => placing.names.of(prefix, item.name()).into(),
            None => item.name().into(),
        };
        self.route_as(attached, exposed, item)
    }

    fn route_as(&self, attached: usize, exposed: Arc<str>, item: Item) -> Route {
        let (toolset, project) = self.attached[attached].clone();
        let definition = item.definition(&exposed);
        Route { toolset, project, attached, exposed, definition, meter: None, item }
    }

    /// What is offered beside tools.
    pub(crate) fn offers(&self) -> Offers {
        self.offers
    }

    /// What this principal is told first: the prompt of the project, and the words of servers that it may use.
    pub(crate) fn instructions(&self, policy: &Policy, principal: &Principal) -> String {
        let granted = self.granted(policy, principal);
        let may_use = |attached: usize| {
            granted.iter().skip(attached * Tier::ALL.len()).take(Tier::ALL.len()).any(|it| *it)
        };
        let told = self.told.iter().filter(|(attached, _)| may_use(*attached)).map(|(_, text)| text.as_str());
        let all = std::iter::once(self.prompt.as_str()).chain(told).filter(|text| !text.is_empty());
        all.collect::<Vec<_>>().join("\n\n")
    }

    /// Whether it shows something of this server.
    pub(crate) fn has_server(&self, server: &str) -> bool {
        self.attached.iter().any(|(own, _)| **own == *server)
    }

    /// Where this name leads: to one place, whoever asks. What leads to something that a caller may not see
    /// leads it nowhere, and to nothing else that would match, too.
    pub(crate) fn find(&self, verb: Verb, name: &str) -> Option<&Route> {
        match verb {
            Verb::CallTool => self.tools.find(name),
            Verb::GetPrompt | Verb::CompletePrompt => self.prompts.find(name),
            Verb::CompleteTemplate => self.templates.find(name).or_else(|| self.resources.find(name)),
            Verb::ReadResource => {
                let mut templates = self.templates.routes.iter().filter(|route| route.matches(name));
                // One that says nothing of what is its own takes nothing from one that does.
                let first = templates.clone().next();
                let template = templates.find(|route| route.is_rooted()).or(first);
                match (self.resources.find(name), template) {
                    // What a server lists takes nothing from one that was named before it, and a template that says nothing
                    // of what is its own takes nothing from what others list.
                    (Some(listed), Some(template))
                        if template.attached < listed.attached && template.is_rooted() =>
                    {
                        Some(template)
                    }
                    (listed, template) => listed.or(template).or(self.anything.as_ref()),
                }
            }
        }
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

    /// Whether this principal may use anything here at all, of what the project lists.
    pub(crate) fn is_open_to(&self, policy: &Policy, principal: &Principal) -> bool {
        // Who was let in to this machine meets it in projects as well: that alone lets nobody in there.
        let counts =
            |toolset: &Arc<str>| self.project.is_none() || self.attached.len() == 1 || &**toolset != "host";
        let granted = self.granted(policy, principal);
        let of = |at: usize| granted.iter().skip(at * Tier::ALL.len()).take(Tier::ALL.len()).any(|it| *it);
        self.attached.iter().enumerate().any(|(at, (toolset, _))| counts(toolset) && of(at))
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
        did_you_mean(name, shelf.visible(policy, principal).map(|route| &*route.exposed))
            .map(ToOwned::to_owned)
    }

    /// The elements of a list: what this principal may use, and nothing else.
    pub(crate) fn list(&self, list: List, policy: &Policy, principal: &Principal) -> Raw {
        let shelf = match list {
            List::Tools => &self.tools,
            List::Resources => &self.resources,
            List::Templates => &self.templates,
            List::Prompts => &self.prompts,
        };
        // Whoever is bound to certain tools has a list of its own.
        if !principal.bounds.tools.is_empty() {
            return written(shelf.visible(policy, principal));
        }
        let granted = self.granted(policy, principal);
        let key = (list, granted.into_boxed_slice());
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = lists.get(&key) {
            return kept.clone();
        }
        let is_shown = |route: &&Route| key.1[route.attached * Tier::ALL.len() + place(route.tier())];
        let made = written(shelf.routes.iter().filter(is_shown));
        if lists.len() >= KEPT_LISTS_MAX {
            lists.clear();
        }
        lists.insert(key, made.clone());
        made
    }

    /// For each server and tier whether it is granted to this principal, whatever the name of a tool is.
    fn granted(&self, policy: &Policy, principal: &Principal) -> Vec<bool> {
        let mut unbound = None;
        if !principal.bounds.tools.is_empty() {
            let mut other = principal.clone();
            other.bounds.tools.clear();
            unbound = Some(other);
        }
        let principal = unbound.as_ref().unwrap_or(principal);
        let one = |(toolset, project): &(Arc<str>, Option<Arc<str>>), tier| {
            let action = Action::Use { toolset, project: project.as_deref(), name: "", tier };
            decide(policy, principal, &action) == Decision::Allow
        };
        self.attached.iter().flat_map(|attached| Tier::ALL.map(|tier| one(attached, tier))).collect()
    }
}

fn place(tier: Tier) -> usize {
    Tier::ALL.iter().position(|own| *own == tier).unwrap_or_default()
}

fn written<'a>(routes: impl Iterator<Item = &'a Route>) -> Raw {
    let mut array = ArrayWriter::new(4096);
    routes.for_each(|route| array.push(&route.definition));
    array.end()
}

/// The name of a thing as `server/tool`.
fn parts(placing: &Placing<'_>, own: &str) -> Option<String> {
    placing.prefix.map(|prefix| format!("{prefix}/{own}"))
}

/// What a server offered last, with a word of ours that it may be otherwise by now.
fn marked(definition: &Raw) -> Raw {
    const STALE: &str = "hayward/stale";
    let why = "its server can't be asked at the moment: this is what it offered last";
    let object = hayward_mcp::json::Object::of(definition).unwrap_or_else(hayward_mcp::json::Object::empty);
    let meta = object.get_object("_meta").unwrap_or_else(hayward_mcp::json::Object::empty);
    let others = meta.iter().filter(|member| !member.is(STALE));
    let meta = others.fold(ObjectWriter::new(128), ObjectWriter::member);
    let meta = meta.str(STALE, why).end();
    let others = object.iter().filter(|member| !member.is("_meta"));
    let out = ObjectWriter::new(definition.as_bytes().len() + 128);
    others.fold(out, ObjectWriter::member).raw("_meta", &meta).end()
}
