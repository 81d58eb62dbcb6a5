//! A request as handlers see it: identified, bounded, its query checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::response::Response;
use bytes::Bytes;
use hayward_api::kinds::Descriptor;
use hayward_api::{Caller, Error};
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::query::Query;
use super::route::Route;
use crate::limits::{BODY_READ_AT_ONCE, YAML_NODES_FREE};
use crate::plane::Plane;
use crate::ports::{BoxFuture, Effect, Managed, recorded};
use crate::refusal::Refusal;

/// A request.
pub(crate) struct Asked {
    pub(crate) plane: Arc<Plane>,
    pub(crate) route: &'static Route,
    pub(crate) caller: Caller,
    /// What stands in the braces of the route.
    pub(crate) path: Vec<(String, String)>,
    /// The name of the project that the query asks about.
    pub(crate) project: Option<String>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether something has begun that goes on, whoever waits.
    pub(crate) begun: Arc<AtomicBool>,
    /// Whether the record has heard of it.
    pub(crate) noted: Arc<AtomicBool>,
}

impl Asked {
    /// The kind that the route is about.
    pub(crate) fn kind(&self) -> Result<&'static Descriptor, Refusal> {
        self.route.kind.ok_or_else(|| Refusal::new(hayward_api::Code::Internal, "the route is about no kind"))
    }

    /// What stands in these braces.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// Finds out which project the query means.
    pub(crate) async fn resolve(&mut self) {
        if let Some(word) = self.project.take() {
            self.project = Some(self.plane.guarded.project_name(&self.caller, &word).await);
        }
    }

    /// The name of the project that is asked about.
    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// The body as a value: JSON, or YAML if it says so.
    pub(crate) async fn value(&self) -> Result<Value, Refusal> {
        let is_yaml = self.is_yaml();
        self.parsed(move |body| read(body, is_yaml)).await
    }

    /// The body read by this function. What may take long is read where nothing else waits, a few at once.
    pub(crate) async fn parsed<T: Send + 'static>(
        &self,
        parse: impl FnOnce(&[u8]) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        if self.body.len() <= BODY_READ_AT_ONCE && !self.is_yaml() {
            return parse(&self.body);
        }
        let lost = || Refusal::new(hayward_api::Code::Unavailable, "no body can be read now");
        let place = Arc::clone(&self.plane.reading).acquire_owned().await.map_err(|_| lost())?;
        let body = self.body.clone();
        let work = move || {
            let _place = place;
            parse(&body)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| lost())?
    }

    /// Whether the body says that it is YAML.
    pub(crate) fn is_yaml(&self) -> bool {
        let media = self.headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok());
        media.is_some_and(|media| media.to_ascii_lowercase().contains("yaml"))
    }

    /// The body as an object of this type.
    pub(crate) async fn object<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let value = if self.body.is_empty() { Value::Object(Map::new()) } else { self.value().await? };
        Ok(hayward_api::decode(value)?)
    }

    /// The version that the resource must be at, if the caller says one.
    pub(crate) fn if_match(&self) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.headers.get(header::IF_MATCH) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(None);
        }
        let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).parse();
        version.map(Some).map_err(|_| {
            Refusal::invalid("`If-Match` is not a version of ours")
                .hint("give the `ETag` that you were answered")
        })
    }

    /// What the record says of it: the route, and what stands in its path and query, and this.
    pub(crate) fn managed(
        &self,
        effect: Effect,
        further: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Managed {
        let mut arguments = Map::new();
        for (name, value) in &self.path {
            arguments.insert(name.clone(), value.clone().into());
        }
        for (name, value) in self.query.pairs() {
            arguments.insert(name.to_owned(), value.into());
        }
        for (name, value) in further {
            if !value.is_null() {
                arguments.insert(name.to_owned(), value);
            }
        }
        Managed { name: self.route.operation.clone(), arguments: arguments.into(), effect }
    }

    /// Does what only looks, recorded around.
    pub(crate) fn look<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Refusal>> {
        self.recorded(self.managed(Effect::Look, []), work)
    }

    /// Does what changes something, recorded around.
    pub(crate) fn change<T: Send + 'static>(
        &self,
        further: impl IntoIterator<Item = (&'static str, Value)>,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Refusal>> {
        self.recorded(self.managed(Effect::Change, further), work)
    }

    /// Does it, recorded around. Boxed: what a change keeps is large.
    pub(crate) fn recorded<T: Send + 'static>(
        &self,
        managed: Managed,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Refusal>> {
        let work: BoxFuture<'static, Result<T, Refusal>> = Box::pin(work);
        // A refusal may say more than the record needs: it goes past it.
        let (refused, told) = tokio::sync::oneshot::channel();
        let work = async move {
            work.await.map_err(|refusal| {
                let error = Error { detail: None, ..refusal.error.clone() };
                refused.send(refusal).ok();
                error
            })
        };
        let is_change = managed.effect == Effect::Change;
        Box::pin(async move {
            self.begun.fetch_or(is_change, Ordering::Relaxed);
            self.noted.store(true, Ordering::Relaxed);
            let made = recorded(&*self.plane.record, self.caller.clone(), managed, work).await;
            let Err(error) = made else { return made.map_err(Refusal::from) };
            // The record may have refused it itself, before or after.
            let told = told.await.ok().filter(|told| told.error.message == error.message);
            Err(told.unwrap_or_else(|| error.into()))
        })
    }
}

/// Reads a body.
fn read(body: &[u8], is_yaml: bool) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Err(Refusal::invalid("the body is empty").hint("send a JSON object"));
    }
    if is_yaml {
        let text = std::str::from_utf8(body).map_err(|_| Refusal::invalid("the body is not UTF-8"))?;
        return serde_saphyr::from_str_with_options(text, yaml_options(text.len()))
            .map_err(|error| Refusal::invalid(format!("the body is not YAML: {error}")));
    }
    super::once::from_slice(body).map_err(|error| Refusal::invalid(format!("the body is not JSON: {error}")))
}

/// How YAML of so many bytes is read: `y` and `no` are words, and aliases make no more of it than as much text could say.
/// What is wrong is told by its place, without the lines around it: they may hold values of secrets.
pub(crate) fn yaml_options(bytes: usize) -> serde_saphyr::Options {
    let nodes = bytes.saturating_add(YAML_NODES_FREE);
    serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: nodes,
            max_events: nodes.saturating_mul(3),
            max_recorded_anchor_events: nodes.saturating_mul(3),
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: nodes },
    }
}

/// A JSON answer.
pub(crate) fn json<T: serde::Serialize>(status: StatusCode, value: &T) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(value).map_err(|error| {
        Error::new(hayward_api::Code::Internal, "the answer can't be written").with_detail(error.to_string())
    })?;
    Ok(json_bytes(status, body))
}

/// A JSON answer that is written already.
pub(crate) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let media = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

/// An answer without a body.
pub(crate) fn nothing() -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
