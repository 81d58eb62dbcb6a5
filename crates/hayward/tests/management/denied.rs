//! Every route, asked by whoever may not: it follows from the table of routes and the table of kinds.

use hayward_api::kinds::samples;
use hayward_controlplane::rest::{Access, Gives, ROUTES, Route, Takes};
use serde_json::{Value, json};

use super::rig::Rig;

/// A path of a route that names something.
fn path(route: &Route, name: &str) -> String {
    let path = route.path.replace("{id}", name).replace("{server}", "x").replace("{namespace}", "x");
    path.strip_prefix("/api/v1").unwrap_or(&path).to_owned()
}

fn body(route: &Route) -> Value {
    match (route.takes, route.kind) {
        (Takes::Document, Some(kind)) => {
            let mut body = samples::spec(kind);
            body[kind.identity] = "x".into();
            if kind.scope != hayward_api::kinds::Scope::System {
                body["project"] = "there".into();
            }
            body
        }
        (Takes::Nothing, _) => Value::Null,
        _ => json!({}),
    }
}

fn is_for_the_known(route: &Route) -> bool {
    route.access != Access::Public
}

#[tokio::test]
async fn nobody_gets_anything_that_is_not_public() {
    // Nobody waits here for having failed.
    let rig = Rig::start_with(&["--limit", "gateway.failure_delay_ms_max=0"]);
    for route in ROUTES.iter().filter(|route| is_for_the_known(route)) {
        for token in ["", "hwd_login_nobody"] {
            let answer = rig.send(route.method.as_str(), &path(route, "x"), token, &body(route)).await;
            assert_eq!(answer.status, 401, "{} {}: {}", route.method, route.path, answer.body);
        }
    }
}

#[tokio::test]
async fn whoever_was_granted_nothing_gets_nothing_and_is_told_nothing() {
    let rig = Rig::start();
    seed(&rig).await;
    let bob = rig.user("bob@example.org", json!([])).await;
    check(&rig, &bob, "there").await;
}

#[tokio::test]
async fn whoever_was_granted_another_project_or_another_name_gets_nothing_of_this() {
    let rig = Rig::start();
    seed(&rig).await;
    let elsewhere = json!([{"role": "edit", "resource": "*", "project": "elsewhere"}]);
    let bob = rig.user("bob@example.org", elsewhere).await;
    check_single(&rig, &bob, "there").await;
    let named = json!([{"role": "edit", "resource": "*", "name": "mine"}]);
    let carl = rig.user("carl@example.org", named).await;
    check_single(&rig, &carl, "there").await;
}

#[tokio::test]
async fn tokens_of_the_host_server_manage_nothing() {
    let rig = Rig::start();
    seed(&rig).await;
    for role in ["ro", "rw", "metrics"] {
        check(&rig, rig.daemon.token(role), "there").await;
    }
}

/// One of every kind, called `there`, in the project `there` if it needs one.
async fn seed(rig: &Rig) {
    let made = rig.post("/projects", rig.admin(), json!({"name": "there"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(
        rig.post("/servers", rig.admin(), json!({"name": "there", "command": ["x"]})).await.status,
        201
    );
}

/// Of each route a refusal; of what may not be seen, that it isn't there.
async fn check(rig: &Rig, token: &str, name: &str) {
    for route in ROUTES.iter().filter(|route| is_for_the_known(route) && route.access != Access::Known) {
        let answer = rig.send(route.method.as_str(), &path(route, name), token, &body(route)).await;
        let has_one = route.path.contains("{id}");
        let is_refused = if route.access == Access::Each {
            // An empty list asks for nothing.
            answer.status == 200 && answer.json()["results"] == json!([])
        } else if has_one {
            [403, 404].contains(&answer.status)
        } else {
            answer.status == 403
        };
        assert!(is_refused, "{} {}: {} {}", route.method, route.path, answer.status, answer.body);
    }
}

/// The same of those routes that are about one resource: what there is answers as what there isn't.
async fn check_single(rig: &Rig, token: &str, name: &str) {
    let single = ROUTES.iter().filter(|route| {
        let is_single = route.path.contains("{id}") && !route.path.ends_with("/history");
        is_single && matches!(route.access, Access::Kind(_)) && !matches!(route.gives, Gives::Later)
    });
    for route in single {
        let there = rig.send(route.method.as_str(), &path(route, name), token, &body(route)).await;
        let nowhere = rig.send(route.method.as_str(), &path(route, "nowhere"), token, &body(route)).await;
        assert_eq!(there.status, 404, "{} {}: {}", route.method, route.path, there.body);
        let told = |answer: &hayward_testkit::client::Answer, name: &str| {
            let problem = answer.json();
            let detail = problem["detail"].as_str().unwrap_or_default().replace(name, "NAME");
            (answer.status, problem["code"].clone(), detail, problem["hint"].clone())
        };
        assert_eq!(told(&there, name), told(&nowhere, "nowhere"), "{} {}", route.method, route.path);
    }
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
