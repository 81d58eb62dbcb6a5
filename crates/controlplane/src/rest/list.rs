//! Lists of a kind: filtered, in parts, or followed.

mod watch;

use axum::response::Response;
use hayward_auth::Verb;
use hayward_store::{ListScope, Listed, Resource};

use crate::guarded::named;
use crate::refusal::Refusal;
use crate::wire::asked::Asked;
use crate::wire::page::{Filter, Page};
use crate::wire::show::shown;

/// `GET /{kind}`.
pub(crate) async fn list(asked: Asked) -> Result<Response, Refusal> {
    let allowed = asked.may_some(Verb::View).await?;
    let (kind, filter) = (asked.kind()?, Filter::of(&asked).await?);
    if asked.query.is_on("watch")? {
        return watch::watch(asked, allowed, filter).await;
    }
    let page = Page::of(&asked)?;
    let (plane, project) = (std::sync::Arc::clone(&asked.plane), asked.project().map(ToOwned::to_owned));
    asked
        .look(async move {
            let scope = project.as_deref().map_or(ListScope::All, ListScope::Project);
            let Listed { revision, mut items } = plane.guarded.list(&allowed, scope).await?;
            // Databases sort in ways of their own.
            items.sort_by(|a, b| key(a).cmp(&key(b)));
            let (body, next) =
                page.write(items.iter().map(|item| (key(item), shown(kind, item))), &filter)?;
            Ok(page.answer(body, revision, next))
        })
        .await
}

/// By what lists are sorted.
fn key(resource: &Resource) -> (&str, &str) {
    let (name, project) = named(resource);
    (project.unwrap_or_default(), name)
}
