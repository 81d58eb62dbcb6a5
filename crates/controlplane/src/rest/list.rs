//! Lists of a kind: filtered, in parts, or followed.

mod watch;

use axum::response::Response;
use hayward_api::kinds::Scope;
use hayward_auth::Verb;
use hayward_store::{ListScope, Listed, Part};

use crate::attach::servers;
use crate::refusal::Refusal;
use crate::wire::asked::Asked;
use crate::wire::page::{Filter, Page};
use crate::wire::show::write;

/// `GET /{kind}`.
pub(crate) async fn list(asked: Asked) -> Result<Response, Refusal> {
    let allowed = asked.may_some(Verb::View).await?;
    let (kind, mut filter) = (asked.kind()?, Filter::of(&asked).await?);
    let attached = match asked.project() {
        None => None,
        Some(name) => attached(&asked, name, &mut filter).await?,
    };
    if asked.query.is_on("watch")? {
        return watch::watch(asked, allowed, filter).await;
    }
    let page = Page::of(&asked)?;
    let project = asked.project().filter(|_| attached.is_none()).map(ToOwned::to_owned);
    let plane = std::sync::Arc::clone(&asked.plane);
    asked
        .look(async move {
            let scope = project.as_deref().map_or(ListScope::All, ListScope::Project);
            let passwords = plane.guarded.passwords(kind).await?;
            let (mut writing, mut part, mut first) = (page.begin(), page.part(), None);
            loop {
                let listed = plane.guarded.list_raw(&allowed, scope, part.as_ref()).await?;
                let Listed { revision, mut items, next } = listed;
                // What comes between two looks is in a watch from the first of them.
                first.get_or_insert(revision);
                if let Some(attached) = &attached {
                    items.retain(|item| attached.iter().any(|name| item.name() == name));
                }
                let rows = items.iter().map(|item| ((item.scope().unwrap_or_default(), item.name()), item));
                let is_full = writing.write(rows, |item, body| {
                    let start = body.len();
                    let written = page.only().filter(|_| !filter.reads_documents());
                    write(kind, (item, &passwords), written, body)?;
                    let is_meant = filter.takes_raw(item, &body[start..])?;
                    if is_meant && written.is_none() && page.only().is_some() {
                        body.truncate(start);
                        write(kind, (item, &passwords), page.only(), body)?;
                    }
                    Ok(is_meant)
                })?;
                let Some((part, after)) = part.as_mut().zip(next).filter(|_| !is_full) else { break };
                // Of many that aren't meant, more are looked at each time.
                *part = Part { after, rows: part.rows.saturating_mul(2) };
            }
            Ok(page.answer(writing, first.unwrap_or_default()))
        })
        .await
}

/// What a project means of a kind without projects: of servers those that are attached to it. The project must be there.
async fn attached(asked: &Asked, name: &str, filter: &mut Filter) -> Result<Option<Vec<String>>, Refusal> {
    let kind = asked.kind()?;
    if kind.scope != Scope::System {
        asked.project_there(name).await?;
        return Ok(None);
    }
    if kind.name != "server" {
        let refusal = Refusal::invalid(format!("{} belong to no project", kind.plural));
        return Err(refusal.hint("leave out `project`"));
    }
    let project = asked.project_there(name).await?;
    if asked.query.is_on("watch")? {
        let refusal = Refusal::invalid("servers of a project are not watched");
        return Err(refusal.hint("watch projects: their `servers` are what is attached"));
    }
    filter.everywhere();
    Ok(Some(servers(&project)))
}
