//! Lists as they are asked for and answered: which of a kind, and which part of them.

use std::collections::BTreeMap;

use axum::response::Response;
use hayward_api::selector::{Fields, Labels};
use hayward_auth::Verb;
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
        self.project.as_deref().is_none_or(|project| text("project") == Some(project))
            && self.owner.as_deref().is_none_or(|owner| text("ownerId") == Some(owner))
            && self.labels.as_ref().is_none_or(|labels| labels.matches(&labels_of(document)))
            && self.fields.as_ref().is_none_or(|fields| fields.matches(document))
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

    /// The documents of this part as JSON, and where the next one goes on.
    pub(crate) fn write<'a>(
        &self,
        documents: impl Iterator<Item = ((&'a str, &'a str), Value)>,
        filter: &Filter,
    ) -> Result<(Vec<u8>, Option<String>), Refusal> {
        let (mut body, mut count, mut last) = (Vec::from(b"["), 0, ("", ""));
        for (key, document) in documents {
            let is_before = self.after.as_ref().is_some_and(|(project, name)| key <= (project, name));
            if is_before || !filter.takes(&document) {
                continue;
            }
            if count == self.limit {
                body.push(b']');
                return Ok((body, Some(format!("{}/{}", last.0, last.1))));
            }
            if count > 0 {
                body.push(b',');
            }
            serde_json::to_writer(&mut body, &document)
                .map_err(|_| Refusal::invalid("a list can't be written"))?;
            (count, last) = (count + 1, key);
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
