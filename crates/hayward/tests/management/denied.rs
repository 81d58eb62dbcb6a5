//! Every route, asked by whoever may not: it follows from the table of routes and the table of kinds.
//!
//! What is asked about is there, and the same request is answered otherwise to whoever was granted it. So a route that
//! doesn't ask whether its caller may answers something that no test here takes for a refusal.

use hayward_api::kinds::{Kept, Scope};
use hayward_api::names::is_uid;
use hayward_auth::Verb;
use hayward_controlplane::rest::{Access, Gives, ROUTES, Route, Takes};
use hayward_testkit::client::Answer;
use http::Method;
use serde_json::{Value, json};

use super::rig::Rig;
use super::world::{MINE, NOWHERE, SPARE, THERE, Way, World};

/// What somebody was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    Nothing,
    /// Everything in another project.
    Elsewhere,
    /// Everything that has another name.
    Others,
    /// To look at what is there, and nothing else.
    View,
}

/// What somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// That this kind of thing is not for them: whatever they name.
    Forbidden,
    /// That what they name isn't there.
    Missing,
    /// That the project that they name isn't there.
    NoProject,
    /// That an id is no name: whose it is, they may not see.
    NoName,
    /// Their own, in which nothing is missing and nothing is too much.
    Own,
    /// What everybody is told who may.
    Everything,
}

fn is_for_the_known(route: &Route) -> bool {
    route.access != Access::Public
}

/// Routes that ask whether their caller may do this, and not only who it is.
fn guarded() -> impl Iterator<Item = &'static Route> {
    ROUTES
        .iter()
        .filter(|route| matches!(route.access, Access::Kind(_) | Access::Noun(..) | Access::Operation(_)))
}

fn has_one(route: &Route) -> bool {
    route.path.contains("{id}")
}

/// Whether it is about what may be in a project.
fn is_in_some(route: &Route) -> bool {
    route.kind.is_some_and(|kind| kind.scope != Scope::System)
}

/// What a route tells somebody who was granted this, on this way.
fn told(grant: Grant, route: &Route, way: &Way) -> Told {
    let is_list = route.method == Method::GET && !has_one(route);
    // Of these, one must be granted some before anything is looked for.
    let is_apart =
        route.path.contains("/invites/") || route.kind.is_some_and(|kind| kind.kept == Kept::InProjects);
    match (route.access, grant) {
        (Access::Kind(Verb::View), Grant::View) => Told::Everything,
        (Access::Kind(_), Grant::View) => Told::Forbidden,
        (Access::Kind(_), Grant::Nothing) if !has_one(route) || is_apart => Told::Forbidden,
        (Access::Kind(_), _) if is_list && way.project.is_some() && !is_apart => Told::NoProject,
        (Access::Kind(_), _) if is_list => Told::Own,
        (Access::Kind(_), _) if has_one(route) => Told::Missing,
        (Access::Kind(_), _) if is_in_some(route) && way.project.as_deref().is_some_and(is_uid) => {
            Told::NoName
        }
        _ => Told::Forbidden,
    }
}

impl World {
    async fn ask(&self, token: &str, (route, way): (&Route, &Way), query: &[(&str, &str)]) -> Answer {
        self.rig.send(route.method.as_str(), &way.path(route, query), token, &self.body(route, way)).await
    }

    /// Of each route exactly what is told to whoever was granted this, and the same of what isn't there; nothing changes.
    async fn refuses(&self, token: &str, grant: Grant) {
        let before = self.seen().await;
        for (route, way) in
            guarded().flat_map(|route| self.ways(route, THERE).into_iter().map(move |way| (route, way)))
        {
            let told = told(grant, route, &way);
            if told == Told::Everything {
                continue;
            }
            let answer = self.ask(token, (route, &way), &[]).await;
            let asked = format!("{grant:?}: {} {}: {}", route.method, way.path(route, &[]), answer.body);
            check(told, &answer, (route, &way), &asked);
            // What one sees, one is told about.
            let absent = if grant == Grant::View { Vec::new() } else { way.absent() };
            for absent in absent {
                let missing = self.ask(token, (route, &absent), &[]).await;
                assert_eq!(plain(&answer, &way), plain(&missing, &absent), "{asked}");
            }
        }
        assert_eq!(self.seen().await, before, "{grant:?}");
    }

    /// Of each of these routes exactly what it gives: whoever asks was granted all of this name.
    async fn serves(&self, token: &str, name: &'static str, is_asked: impl Fn(&Route, &Way) -> bool) {
        let mut count = 0;
        for (route, way) in
            guarded().flat_map(|route| self.ways(route, name).into_iter().map(move |way| (route, way)))
        {
            // What is in a project has a history under its id, or where its project is named.
            let is_lost = is_in_some(route)
                && route.path.ends_with("/history")
                && way.word == name
                && way.project.is_none();
            if is_lost || !is_asked(route, &way) {
                continue;
            }
            let way = Way { name: made(route).unwrap_or(way.name), ..way };
            let has = |name| route.query.iter().any(|param| param.name == name);
            let query = [("dryRun", "server"), ("detach", "true")];
            let query: Vec<_> = query.into_iter().filter(|(name, _)| has(*name)).collect();
            let answer = self.ask(token, (route, &way), &query).await;
            let asked = format!("{} {}: {}", route.method, way.path(route, &query), answer.body);
            assert_eq!(answer.status, given(route), "{asked}");
            let is_list = route.method == Method::GET && route.kind.is_some() && !has_one(route);
            if is_list {
                let entries = answer.json();
                let mut entries = entries.as_array().unwrap().iter();
                let is_it =
                    |entry: &Value| name_of(entry, route).as_str().is_some_and(|it| it.starts_with(name));
                assert!(entries.any(is_it), "{asked}");
            }
            count += 1;
        }
        assert!(count > 0);
    }
}

/// What a route makes, and what isn't there before.
fn made(route: &Route) -> Option<&'static str> {
    let kind = route.kind.filter(|_| route.method == Method::POST && !has_one(route))?;
    Some(if kind.kept == Kept::InProjects { SPARE } else { NOWHERE })
}

/// The status of what a route gives.
fn given(route: &Route) -> u16 {
    match route.gives {
        // There is a prompt of this name: whoever hears that may make it.
        _ if route.operation == "promptrequests.approve" => 409,
        // It runs here, and nobody has to be asked for access.
        _ if route.operation.starts_with("servers.authorization.") => 409,
        // It has no tool that waits.
        _ if route.operation == "servers.tools.approve" => 404,
        Gives::Nothing => 204,
        Gives::Document | Gives::Documents => 200,
        Gives::Created => 201,
        Gives::Object(status, _) => status,
        Gives::Later => 501,
    }
}

fn name_of<'a>(entry: &'a Value, route: &Route) -> &'a Value {
    &entry[route.kind.map_or("name", |kind| kind.identity)]
}

fn check(told: Told, answer: &Answer, (route, way): (&Route, &Way), asked: &str) {
    let kind = match route.kind {
        Some(_) if route.path.contains("/invites/") => "invite",
        Some(kind) => kind.name,
        None => "",
    };
    match told {
        Told::Forbidden => {
            check_problem(answer, 403, "forbidden");
            assert!(answer.json()["detail"].as_str().unwrap().starts_with("not permitted to "), "{asked}");
        }
        Told::Missing => {
            assert_eq!(answer.status, 404, "{asked}");
            check_problem(answer, 404, "not_found");
            assert_eq!(answer.json()["detail"], format!("{kind} `{}` not found", way.word), "{asked}");
        }
        Told::NoProject => {
            check_problem(answer, 404, "not_found");
            let project = way.project.as_deref().unwrap();
            assert_eq!(answer.json()["detail"], format!("project `{project}` not found"), "{asked}");
        }
        Told::NoName => {
            check_problem(answer, 400, "invalid");
            assert!(answer.body.contains("it looks like the uid"), "{asked}");
        }
        Told::Own => {
            assert_eq!(answer.status, 200, "{asked}");
            let is_mine = |value: &Value| value.as_str().is_some_and(|name| name.starts_with(MINE));
            let is_own = |entry: &Value| is_mine(name_of(entry, route)) || is_mine(&entry["project"]);
            assert!(answer.json().as_array().unwrap().iter().all(is_own), "{asked}");
        }
        Told::Everything => assert_eq!(answer.status, given(route), "{asked}"),
    }
}

/// An answer without what was asked about, and without what tells requests apart.
fn plain(answer: &Answer, way: &Way) -> (u16, Vec<(String, String)>, String) {
    let apart = ["x-request-id", "date", "content-length"];
    let headers =
        answer.headers.iter().filter(|(name, _)| !apart.contains(&name.as_str())).cloned().collect();
    let id = answer.header("x-request-id").unwrap_or_default();
    let mut body = answer.body.replace(id, "ID").replace(&way.word, "WORD");
    // A document says of which project it is. Whoever asks by an id is told no name.
    let said = Some(THERE).filter(|_| way.word == way.name);
    for word in way.project.as_deref().into_iter().chain(said) {
        body = body.replace(word, "WORD");
    }
    (answer.status, headers, body)
}

#[tokio::test]
async fn nobody_gets_anything_that_is_not_public() {
    let world = World::new().await;
    let before = world.seen().await;
    for route in ROUTES.iter().filter(|route| is_for_the_known(route)) {
        for way in world.ways(route, THERE) {
            for token in ["", "hwd_login_nobody"] {
                let answer = world.ask(token, (route, &way), &[]).await;
                assert_eq!(answer.status, 401, "{} {}: {}", route.method, route.path, answer.body);
                let absent = &way.absent()[0];
                let missing = world.ask(token, (route, absent), &[]).await;
                assert_eq!(plain(&answer, &way), plain(&missing, absent), "{} {}", route.method, route.path);
            }
        }
    }
    assert_eq!(world.seen().await, before);
}

#[tokio::test]
async fn whoever_was_granted_nothing_gets_nothing_and_with_a_grant_everything() {
    let world = World::new().await;
    let bob = world.rig.user("bob@example.org", json!([])).await;
    world.refuses(&bob, Grant::Nothing).await;
    let all = [THERE, NOWHERE, SPARE].into_iter().flat_map(|name| world.bindings("edit", name));
    let others = json!([
        {"role": "view", "resource": "servers", "name": "docs"}, {"role": "view", "resource": "users", "name": "ci"},
        {"role": "view", "resource": "proxymodels"}, {"role": "edit", "resource": "audit"}, {"role": "run", "action": "impersonate"},
        {"role": "run", "action": "define-commands"}, {"role": "run", "action": "logs"},
        {"role": "run", "resource": "servers"}, {"role": "run", "resource": "servers", "name": "host"}]);
    let bindings: Vec<Value> = all.chain(others.as_array().unwrap().clone()).collect();
    world.rig.grant("bob@example.org", bindings.into()).await;
    world.serves(&bob, THERE, |_, _| true).await;
}

#[tokio::test]
async fn whoever_was_granted_another_project_gets_that_and_nothing_of_this() {
    let world = World::new().await;
    let grant = json!([{"role": "edit", "resource": "*", "project": MINE}]);
    let bob = world.rig.user("bob@example.org", grant).await;
    world.refuses(&bob, Grant::Elsewhere).await;
    // The project itself is in none, so that its id is a word to them.
    let is_in_it = |route: &Route, way: &Way| {
        has_one(route) && is_in_some(route) && way.project.as_deref().is_none_or(|project| project == MINE)
    };
    world.serves(&bob, MINE, is_in_it).await;
}

#[tokio::test]
async fn whoever_was_granted_another_name_gets_that_and_nothing_of_this() {
    let world = World::new().await;
    let mut grant = world.bindings("edit", MINE);
    grant.push(json!({"role": "run", "action": "define-commands"}));
    for name in [MINE, "host"] {
        grant.push(json!({"role": "run", "resource": "servers", "name": name}));
    }
    let bob = world.rig.user("bob@example.org", grant.into()).await;
    world.refuses(&bob, Grant::Others).await;
    // A server that they don't see is attached by nobody.
    // Logs are granted as a whole.
    let apart = ["projects.servers.attach", "instances.logs"];
    let is_served = |route: &Route, _: &Way| has_one(route) && !apart.contains(&&*route.operation);
    world.serves(&bob, MINE, is_served).await;
}

#[tokio::test]
async fn whoever_may_look_changes_nothing_and_hands_nothing_out() {
    let world = World::new().await;
    let grant = world.bindings("view", THERE);
    let bob = world.rig.user("bob@example.org", grant.into()).await;
    world.refuses(&bob, Grant::View).await;
    world.serves(&bob, THERE, |route, way| told(Grant::View, route, way) == Told::Everything).await;
}

#[tokio::test]
async fn tokens_of_the_host_server_manage_nothing() {
    let world = World::new().await;
    for role in ["ro", "rw", "metrics"] {
        world.refuses(world.rig.daemon.token(role), Grant::Nothing).await;
    }
}

#[tokio::test]
async fn what_one_may_not_see_is_applied_by_nobody_and_an_apply_of_nothing_is_nothing() {
    let world = World::new().await;
    let bob = world.rig.user("bob@example.org", json!([])).await;
    let carl = json!([{"role": "edit", "resource": "*", "name": MINE}]);
    let carl = world.rig.user("carl@example.org", carl).await;
    let before = world.seen().await;
    let creates = guarded().filter(|route| matches!(route.takes, Takes::Document) && !has_one(route));
    for (route, token) in creates.flat_map(|route| [(route, &bob), (route, &carl)]) {
        let apply = async |way: &Way| {
            let lists = json!({route.kind.unwrap().plural: [world.body(route, way)]});
            world.rig.post("/apply", token, lists).await
        };
        let way = world.ways(route, THERE).swap_remove(0);
        let (answer, absent) = (apply(&way).await, way.absent().swap_remove(0));
        assert_eq!(answer.status, 403, "{}: {}", route.path, answer.body);
        assert_eq!(plain(&answer, &way), plain(&apply(&absent).await, &absent), "{}", route.path);
    }
    let nothing = world.rig.post("/apply", &bob, json!({})).await;
    assert_eq!((nothing.status, &nothing.json()["results"]), (200, &json!([])));
    assert_eq!(world.seen().await, before);
}

#[tokio::test]
async fn a_refusal_is_in_the_record_as_a_decision() {
    let rig = Rig::start();
    let bob = rig.user("bob@example.org", json!([{"role": "view", "resource": "servers"}])).await;
    assert_eq!(rig.post("/servers", &bob, json!({"name": "x", "command": ["x"]})).await.status, 403);
    let denied: Vec<Value> = rig.records().into_iter().filter(|it| it["method"] == "rbac_decision").collect();
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(
        (&denied[0]["principal"]["name"], &denied[0]["tool"]),
        (&json!("bob@example.org"), &json!("create servers"))
    );
}

#[tokio::test]
async fn what_is_refused_before_any_route_is_a_problem_with_a_true_text() {
    let rig = Rig::start_with(&["--limit", "gateway.address_requests_per_minute=30"]);
    let text = ("content-type", "text/plain");
    for (headers, status, code, texts) in [
        (
            vec![text],
            415,
            "invalid",
            ["application/json, application/merge-patch+json, application/yaml", "text/yaml"],
        ),
        (
            vec![("origin", "http://evil.example")],
            403,
            "forbidden",
            ["Origin not allowed", "--allowed-origin"],
        ),
    ] {
        let answer = rig.send_as(("POST", "/servers"), rig.admin(), &headers, "{}").await;
        check_problem(&answer, status, code);
        assert!(texts.iter().all(|text| answer.body.contains(text)), "{}", answer.body);
    }
    let yaml = [("content-type", "text/yaml")];
    let made = rig.send_as(("POST", "/projects"), rig.admin(), &yaml, "name: here\n").await;
    assert_eq!(made.status, 201, "{}", made.body);
    for _ in 0..30 {
        let answer = rig.get("/version", rig.admin()).await;
        if answer.status == 429 {
            check_problem(&answer, 429, "rate_limited");
            assert!(answer.header("retry-after").is_some() && answer.body.contains("this address"));
            return;
        }
    }
    panic!("nothing was too fast");
}

fn check_problem(answer: &hayward_testkit::client::Answer, status: u16, code: &str) {
    let media = answer.header("content-type");
    assert_eq!((answer.status, media), (status, Some("application/problem+json")), "{}", answer.body);
    let problem = answer.json();
    assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)));
    assert_eq!(problem["instance"].as_str(), answer.header("x-request-id"));
}
