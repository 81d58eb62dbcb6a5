//! What comes later: it answers 501 and says so, and pretends nothing.

use axum::response::Response;
use hayward_api::Code;
use http::Method;

use crate::refusal::Refusal;
use crate::wire::PREFIX;
use crate::wire::asked::Asked;
use crate::wire::route::{Access, Gives, Route, Takes};

/// Method, path, operation, and what to do meanwhile.
const LATER: &[(&str, &str, &str, &str)] = &[
    (
        "POST",
        "backup",
        "backup",
        "copy the data directory while the daemon is stopped, or dump the PostgreSQL database",
    ),
    ("POST", "restore", "restore", "put a copy of the data directory in place while the daemon is stopped"),
    (
        "POST",
        "git/backup/init",
        "git_backup.init",
        "keep manifests in git yourself, and serve them with `--manifests`",
    ),
    (
        "GET",
        "git/backup/status",
        "git_backup.status",
        "keep manifests in git yourself, and serve them with `--manifests`",
    ),
    (
        "POST",
        "git/backup/sync",
        "git_backup.sync",
        "keep manifests in git yourself, and serve them with `--manifests`",
    ),
    (
        "POST",
        "prompts/{id}/regenerate-summary",
        "prompts.regenerate_summary",
        "write `summary` and `chapters` of the prompt yourself",
    ),
    ("GET", "cache/stats", "cache.stats", "there is no pipeline yet, so nothing is cached"),
    ("DELETE", "cache", "cache.clear", "there is no pipeline yet, so nothing is cached"),
    (
        "DELETE",
        "cache/{namespace}",
        "cache.clear_namespace",
        "there is no pipeline yet, so nothing is cached",
    ),
    ("GET", "proxymodels/stages", "proxymodels.stages", "there is no pipeline yet"),
    ("POST", "proxymodels/reload", "proxymodels.reload", "there is no pipeline yet"),
];

/// Their routes.
pub(crate) fn routes() -> impl Iterator<Item = Route> {
    LATER.iter().map(|(method, path, operation, _)| Route {
        method: Method::from_bytes(method.as_bytes()).unwrap_or_default(),
        path: format!("{PREFIX}/{path}"),
        operation: (*operation).to_owned(),
        summary: "Comes later: answers 501.".to_owned(),
        kind: None,
        access: Access::Known,
        query: &[],
        takes: Takes::Nothing,
        gives: Gives::Later,
        statuses: &[501],
        handler: |asked| Box::pin(later(asked)),
    })
}

async fn later(asked: Asked) -> Result<Response, Refusal> {
    asked.known().await?;
    let hint =
        LATER.iter().find(|(_, _, operation, _)| *operation == asked.route.operation).map(|(.., hint)| *hint);
    let refusal = Refusal::new(Code::Unsupported, format!("`{}` comes later", asked.route.operation));
    let refusal = hint.into_iter().fold(refusal, Refusal::hint);
    asked.look(async { Err(refusal) }).await
}
