//! The routes, and how a request comes to its handler.

pub(crate) mod apply;
pub(crate) mod attachments;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod authorization;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod instances;
pub(crate) mod invites;
pub(crate) mod later;
pub(crate) mod list;
pub(crate) mod projects;
pub(crate) mod prompts;
pub(crate) mod proxy;
pub(crate) mod single;
pub(crate) mod tools;
pub(crate) mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::RequestExt;
use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter};
use hayward_api::principal::PrincipalKind;
use hayward_api::{Caller, Code};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;

pub use crate::routes::ROUTES;
pub use crate::wire::PREFIX;
pub use crate::wire::route::{Access, Form, Gives, Param, Route, Schema, Takes};
pub(crate) use apply::{Applying, Lists, Prune};

use crate::plane::Plane;
use crate::ports::{Effect, recorded};
use crate::refusal::Refusal;
use crate::wire::asked::Asked;
use crate::wire::query::Query;

/// Applies lists; see [`apply`]. Says what of it is not as the lists say, and why.
pub(crate) async fn apply_lists(
    plane: &Arc<Plane>,
    who: (&Caller, Caller),
    applying: &Applying,
    lists: Lists,
) -> Result<Vec<String>, hayward_api::Error> {
    let (_, results) = apply::run(plane, who, applying, lists).await.map_err(|refusal| refusal.error)?;
    let told = |result: apply::Applied| {
        let what = format!("{} `{}`", result.kind, result.name);
        match result.action {
            apply::Action::Kept => Some(format!("kept, because others refer to it: {what}")),
            apply::Action::LeftOut => Some(format!(
                "left out, as its secret would be shown to nobody: {what}; make it with `hayward create token`, \
                 and the manifest says what it is to be"
            )),
            _ => None,
        }
    };
    Ok(results.into_iter().filter_map(told).collect())
}

/// Where instances are, which nobody makes by hand.
const INSTANCES: &str = "/api/v1/instances";

/// The paths of all routes, for what is counted by route.
pub fn paths() -> Vec<&'static str> {
    let mut paths: Vec<&'static str> = ROUTES.iter().map(|route| route.path.as_str()).collect();
    paths.dedup();
    paths
}

/// What answers them. Whoever mounts it puts a [`Caller`] into the extensions of every request, and bounds its body.
pub fn router(plane: &Arc<Plane>) -> Router {
    let mut by_path: BTreeMap<&str, MethodRouter> = BTreeMap::new();
    for route in &*ROUTES {
        let Some(filter) = filter(&route.method) else { continue };
        let plane = Arc::clone(plane);
        let answer = move |request: Request| dispatch(Arc::clone(&plane), route, request);
        let known = by_path.remove(route.path.as_str()).unwrap_or_default();
        by_path.insert(&route.path, known.on(filter, answer));
    }
    let router =
        by_path.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router.fallback(unknown).method_not_allowed_fallback(no_method)
}

fn filter(method: &Method) -> Option<MethodFilter> {
    MethodFilter::try_from(method.clone()).ok()
}

async fn unknown(request: Request) -> Response {
    let message = format!("nothing is served at `{}`", request.uri().path().escape_debug());
    let refusal = Refusal::new(Code::NotFound, message).hint(format!("{PREFIX}/openapi.json says what is"));
    refusal.response(&id_of(&request))
}

async fn no_method(request: Request) -> Response {
    let message = format!("`{}` is not a method of this path", request.method());
    let is_of_instances = request.uri().path().starts_with(INSTANCES);
    let hint = if is_of_instances {
        "`Allow` says which are; instances are made by reconciliation"
    } else {
        "`Allow` says which are"
    };
    Refusal::new(Code::Unsupported, message)
        .hint(hint)
        .status(StatusCode::METHOD_NOT_ALLOWED)
        .response(&id_of(&request))
}

fn id_of(request: &Request) -> Arc<str> {
    request.extensions().get::<Caller>().map(|caller| Arc::clone(&caller.request_id)).unwrap_or_default()
}

/// Has a request answered: elsewhere than on the thread of its connection, within a time, and whatever breaks.
async fn dispatch(plane: Arc<Plane>, route: &'static Route, request: Request) -> Response {
    let id = id_of(&request);
    let asked = match read(&plane, route, request).await {
        Ok(asked) => asked,
        Err(refusal) => return counted(&plane, refusal.response(&id)),
    };
    // The time runs on when the client has left.
    let answered = plane.tasks.spawn_on(answered(Arc::clone(&plane), asked), &plane.runtime);
    let answered = answered.await.unwrap_or_else(|_| Err(broken()));
    counted(&plane, answered.unwrap_or_else(|refusal| refusal.response(&id)))
}

/// What a handler answers within its time. A refusal that is in no record yet is put there.
async fn answered(plane: Arc<Plane>, asked: Asked) -> Result<Response, Refusal> {
    let (begun, noted) = (Arc::clone(&asked.begun), Arc::clone(&asked.noted));
    let (caller, managed) = (asked.caller.clone(), asked.managed(Effect::Look, []));
    let patience = Duration::from_millis(plane.limits.answer_timeout_ms);
    let work = async move {
        let mut asked = asked;
        asked.resolve().await;
        (asked.route.handler)(asked).await
    };
    let mut answer = plane.tasks.spawn_on(work, &plane.runtime);
    let ended = if let Ok(ended) = timeout(patience, &mut answer).await {
        ended
    } else {
        // What hasn't begun doesn't begin any more; what has goes on in the record.
        answer.abort();
        answer.await
    };
    let answered = match ended {
        Ok(answered) => answered,
        Err(late) if late.is_cancelled() => {
            let refusal = Refusal::new(Code::Timeout, "this takes longer than it may");
            Err(if begun.load(Ordering::Relaxed) {
                refusal.hint("it has begun and may still be done: look, the record says how it ends")
            } else {
                refusal.hint("nothing was done: ask for less at a time")
            })
        }
        Err(_panic) => {
            plane.counters.panics.fetch_add(1, Ordering::Relaxed);
            Err(broken())
        }
    };
    if let Err(refusal) = &answered
        && !noted.load(Ordering::Relaxed)
        && caller.principal.kind != PrincipalKind::Anonymous
    {
        let error = hayward_api::Error { detail: None, ..refusal.error.clone() };
        let refused = async move { Err::<(), _>(error) };
        // It ends as it ended: what the record says to it changes nothing.
        recorded(&*plane.record, caller, managed, refused).await.ok();
    }
    answered
}

fn broken() -> Refusal {
    Refusal::new(Code::Internal, "something broke while this was answered").hint("the server's log says more")
}

fn counted(plane: &Plane, response: Response) -> Response {
    plane.counters.answered(response.status().as_u16());
    response
}

/// Reads a request. Its body is bounded already.
async fn read(plane: &Arc<Plane>, route: &'static Route, mut request: Request) -> Result<Asked, Refusal> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| Refusal::new(Code::Internal, "the sender was not identified"))?;
    let params = request.extract_parts::<RawPathParams>().await;
    let path = match params {
        Ok(params) => params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        // A path without braces, asked for by nobody's router.
        Err(RawPathParamsRejection::MissingPathParams(_)) => Vec::new(),
        Err(_) => return Err(Refusal::invalid("the path is not UTF-8")),
    };
    let query = match route.gives {
        // What comes later will have parameters, too.
        Gives::Later => Query::default(),
        _ => Query::read(request.uri().query(), route.query)?,
    };
    let path: Vec<(String, String)> = path;
    let said = path.iter().map(|(_, value)| value.as_str()).chain(query.pairs().map(|(_, value)| value));
    if said.into_iter().any(|text| text.contains('\0')) {
        return Err(Refusal::invalid("there is a character that no text can have").hint("leave out NUL"));
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Refusal::invalid("the body ended early"))?.to_bytes();
    Ok(Asked {
        plane: Arc::clone(plane),
        route,
        caller,
        path,
        project: query.get("project").map(ToOwned::to_owned),
        query,
        headers: head.headers,
        body,
        begun: Arc::default(),
        noted: Arc::default(),
    })
}

#[cfg(test)]
mod tests;
