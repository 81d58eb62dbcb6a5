//! Lists as they are asked for and answered: which of a kind, and which part of them.

use std::collections::BTreeMap;

use axum::response::Response;
use hayward_api::document;
use hayward_api::selector::{Fields, Labels};
use hayward_auth::Verb;
use hayward_store::{Part, RawResource, StoreError};
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
    /// The uid and the name of the server that they belong to.
    owner: Option<(String, String)>,
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

    /// The server whose attachments are meant, which say it by their name.
    pub(crate) fn take_server(&mut self) -> Option<String> {
        self.owner.take().map(|(_, name)| name)
    }

    /// Whether it takes a whole document to say whether it is meant.
    pub(crate) fn reads_documents(&self) -> bool {
        self.fields.is_some()
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
            && self.owner.as_ref().is_none_or(|(wanted, _)| owner == Some(wanted))
    }
}

fn labels_of(document: &Value) -> BTreeMap<String, String> {
    let labels = document.get("labels").and_then(Value::as_object).into_iter().flatten();
    labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// The uid and the name of the server that a word means.
async fn owner(asked: &Asked, word: &str) -> Result<(String, String), Refusal> {
    let server =
        hayward_api::kinds::find("server").ok_or_else(|| Refusal::invalid("there are no servers"))?;
    let (_, resource) = asked.may_one(Verb::View, server, (word, None)).await?;
    Ok((resource.metadata.uid, resource.metadata.name.to_string()))
}

/// Which part of a list is asked for.
pub(crate) struct Page {
    limit: usize,
    /// The members that are asked for, if not all.
    only: Option<Vec<String>>,
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
        let kind = asked.kind()?;
        let only =
            asked.query.get("fields").map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
        if let Some(unknown) = only.iter().flatten().find(|member| !document::has(kind, member)) {
            let message = format!("`fields`: {} have no member `{}`", kind.plural, unknown.escape_debug());
            return Err(Refusal::invalid(message).hint("name members of the document itself, not inner ones"));
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
            only,
            after: after.transpose()?,
            link: format!("{path}?{}", link.finish()),
        })
    }

    /// The members that are asked for; none if all are.
    pub(crate) fn only(&self) -> Option<&[String]> {
        self.only.as_deref()
    }

    /// What the store is asked for first; none if all of a list is asked for. One more than wanted says whether there is more.
    pub(crate) fn part(&self) -> Option<Part> {
        let rows = u32::try_from(self.limit).ok()?.checked_add(1)?;
        Some(Part { after: self.after.clone().unwrap_or_default(), rows })
    }

    /// Begins to write this part.
    pub(crate) fn begin(&self) -> Writing<'_> {
        Writing { page: self, body: Vec::from(b"["), count: 0, last: Default::default(), is_full: false }
    }

    /// The part as the answer, with where the next one goes on.
    pub(crate) fn answer(&self, writing: Writing<'_>, revision: u64) -> Response {
        let Writing { mut body, last, is_full, .. } = writing;
        body.push(b']');
        let next = is_full.then(|| format!("{}/{}", last.0, last.1));
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

/// A part of a list that is being written.
pub(crate) struct Writing<'p> {
    page: &'p Page,
    body: Vec<u8>,
    count: usize,
    /// The last one in it.
    last: (String, String),
    /// Whether there is one more than it may hold.
    is_full: bool,
}

impl Writing<'_> {
    /// Writes rows, and says whether that was all that it takes. `put` writes a document, and says whether it is meant at all;
    /// what isn't is taken back.
    pub(crate) fn write<'a, T>(
        &mut self,
        rows: impl Iterator<Item = ((&'a str, &'a str), T)>,
        mut put: impl FnMut(T, &mut Vec<u8>) -> Result<bool, Refusal>,
    ) -> Result<bool, Refusal> {
        let mut last = None;
        for (key, row) in rows {
            if self.page.after.as_ref().is_some_and(|(project, name)| key <= (project, name)) {
                continue;
            }
            let end = self.body.len();
            if self.count > 0 {
                self.body.push(b',');
            }
            let is_meant = put(row, &mut self.body)?;
            if !is_meant || self.count == self.page.limit {
                self.body.truncate(end);
            }
            if is_meant && self.count == self.page.limit {
                self.is_full = true;
                break;
            }
            if is_meant {
                (self.count, last) = (self.count + 1, Some(key));
            }
        }
        if let Some((project, name)) = last {
            self.last = (project.to_owned(), name.to_owned());
        }
        Ok(self.is_full)
    }
}
