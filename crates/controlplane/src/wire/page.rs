//! Lists as they are asked for and answered: which of a kind, and which part of them.

use std::collections::BTreeMap;

use axum::response::Response;
use hayward_api::selector::{Fields, Labels};
use hayward_auth::Verb;
use hayward_store::{RawResource, StoreError};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use super::asked::{Asked, json_bytes};
use crate::limits::PAGE_MAX;
use crate::refusal::Refusal;

/// Which resources of a list are meant.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    labels: Option<Labels>,
    fields: Option<Fields>,
    project: Option<String>,
    owner: Option<String>,
}

impl Filter {
    /// As the query says.
    pub(crate) async fn of(asked: &Asked) -> Result<Self, Refusal> {
        let labels = asked.query.get("labelSelector").map(Labels::parse).transpose()?;
        let kind = asked.kind()?;
        let fields = asked.query.get("fieldSelector").map(|text| Fields::parse(kind, text)).transpose()?;
        let owner = match asked.query.get("serverId") {
            None => None,
            Some(word) => Some(owner(asked, word).await?),
        };
        Ok(Self { labels, fields, project: asked.project().map(ToOwned::to_owned), owner })
    }

    /// The same, whatever project a document says.
    pub(crate) fn everywhere(&mut self) {
        self.project = None;
    }

    /// Whether a document is one of them.
    pub(crate) fn takes(&self, document: &Value) -> bool {
        let text = |member: &str| document.get(member).and_then(Value::as_str);
        self.belongs(text("project"), text("ownerId"))
            && self.labels.as_ref().is_none_or(|labels| labels.matches(&labels_of(document)))
            && self.fields.as_ref().is_none_or(|fields| fields.matches(document))
    }

    /// The same of a resource that is unread, and of its document: only what is asked for is read.
    pub(crate) fn takes_raw(&self, resource: &RawResource, document: &[u8]) -> Result<bool, Refusal> {
        let is_unread = |_| Refusal::from(StoreError::Corrupt { detail: "a stored resource".to_owned() });
        if !self.belongs(resource.scope(), resource.owner()) {
            return Ok(false);
        }
        if let Some(labels) = &self.labels
            && !labels.matches(&serde_json::from_str(resource.labels()).map_err(is_unread)?)
        {
            return Ok(false);
        }
        match &self.fields {
            Some(fields) => Ok(fields.matches(&serde_json::from_slice(document).map_err(is_unread)?)),
            None => Ok(true),
        }
    }

    fn belongs(&self, project: Option<&str>, owner: Option<&str>) -> bool {
        self.project.as_deref().is_none_or(|wanted| project == Some(wanted))
            && self.owner.as_deref().is_none_or(|wanted| owner == Some(wanted))
    }
}

fn labels_of(document: &Value) -> BTreeMap<String, String> {
    let labels = document.get("labels").and_then(Value::as_object).into_iter().flatten();
    labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// The uid of the server that a word means.
async fn owner(asked: &Asked, word: &str) -> Result<String, Refusal> {
    let server =
        hayward_api::kinds::find("server").ok_or_else(|| Refusal::invalid("there are no servers"))?;
    let (_, resource) = asked.may_one(Verb::View, server, (word, None)).await?;
    Ok(resource.metadata.uid)
}

/// Which part of a list is asked for.
pub(crate) struct Page {
    limit: usize,
    /// The last one of the part before: its project and its name.
    after: Option<(String, String)>,
    /// The request without where it goes on.
    link: String,
}

impl Page {
    pub(crate) fn of(asked: &Asked) -> Result<Self, Refusal> {
        let limit = asked.query.number("limit")?;
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if limit == Some(0) {
            return Err(Refusal::invalid("`limit` is 0").hint("ask for one at least"));
        }
        let after = asked.query.get("continue").map(|text| {
            let split = text.split_once('/').map(|(project, name)| (project.to_owned(), name.to_owned()));
            split.ok_or_else(|| Refusal::invalid("`continue` is not one of ours").hint("take it from `Link`"))
        });
        let mut link = url::form_urlencoded::Serializer::new(String::new());
        link.extend_pairs(asked.query.pairs().filter(|(name, _)| *name != "continue"));
        let path = asked.route.path.as_str();
        Ok(Self {
            limit: limit.unwrap_or(usize::MAX).min(if limit.is_some() { PAGE_MAX } else { usize::MAX }),
            after: after.transpose()?,
            link: format!("{path}?{}", link.finish()),
        })
    }

    /// This part as JSON, and where the next one goes on. `put` writes a document, and says whether it is meant at all; what
    /// isn't is taken back.
    pub(crate) fn write<'a, T>(
        &self,
        rows: impl Iterator<Item = ((&'a str, &'a str), T)>,
        mut put: impl FnMut(T, &mut Vec<u8>) -> Result<bool, Refusal>,
    ) -> Result<(Vec<u8>, Option<String>), Refusal> {
        let (mut body, mut count, mut last) = (Vec::from(b"["), 0, ("", ""));
        for (key, row) in rows {
            if self.after.as_ref().is_some_and(|(project, name)| key <= (project, name)) {
                continue;
            }
            let end = body.len();
            if count > 0 {
                body.push(b',');
            }
            let is_meant = put(row, &mut body)?;
            if !is_meant || count == self.limit {
                body.truncate(end);
            }
            if is_meant && count == self.limit {
                body.push(b']');
                return Ok((body, Some(format!("{}/{}", last.0, last.1))));
            }
            if is_meant {
                (count, last) = (count + 1, key);
            }
        }
        body.push(b']');
        Ok((body, None))
    }

    pub(crate) fn answer(&self, body: Vec<u8>, revision: u64, next: Option<String>) -> Response {
        let mut response = json_bytes(StatusCode::OK, body);
        response.headers_mut().insert("x-resource-version", revision.into());
        let link = next.map(|next| {
            let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
            format!("<{}&continue={next}>; rel=\"next\"", self.link)
        });
        if let Some(Ok(link)) = link.map(HeaderValue::try_from) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}
