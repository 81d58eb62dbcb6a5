//! Whole lists of an upstream, over all of their pages.

use std::collections::HashSet;

use super::Upstream;
use super::error::UpstreamError;
use super::outgoing::Outgoing;
use crate::error::RpcError;
use crate::json::{Object, ObjectWriter, Raw};
use crate::limits::{UPSTREAM_LIST_BYTES_MAX, UPSTREAM_LISTED_MAX, UPSTREAM_PAGES_MAX};
use crate::request::List;

/// A whole list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What is on it, to the letter and in order.
    pub elements: Vec<Raw>,
    /// How long it stays true, in milliseconds, if a modern upstream says so.
    pub ttl_ms: Option<u64>,
}

impl Upstream {
    /// Reads a list from its first page to its last.
    ///
    /// # Errors
    /// As a request; also if a list has no end that we wait for. An error of the upstream itself is the inner one.
    pub async fn list(&self, list: List) -> Result<Result<Listed, RpcError>, UpstreamError> {
        let mut listed = Listed { elements: Vec::new(), ttl_ms: None };
        let mut cursors = HashSet::new();
        let (mut cursor, mut bytes) = (None::<String>, 0_usize);
        loop {
            let params = cursor.as_ref().map(|cursor| ObjectWriter::new(64).str("cursor", cursor).end());
            let outgoing = Outgoing::new(list.method(), params.as_ref());
            let page = match self.request(&outgoing).await?.response().await? {
                Ok(page) => page,
                Err(error) => return Ok(Err(RpcError::of(&error))),
            };
            bytes += page.as_bytes().len();
            cursor = listed.take(list, &page)?;
            let is_endless = cursor
                .as_ref()
                .is_some_and(|next| !cursors.insert(next.clone()) || cursors.len() >= UPSTREAM_PAGES_MAX);
            let is_long = listed.elements.len() > UPSTREAM_LISTED_MAX || bytes > UPSTREAM_LIST_BYTES_MAX;
            if is_endless || is_long {
                let what = format!(
                    "`{}` has no end: more than {UPSTREAM_PAGES_MAX} pages, {UPSTREAM_LISTED_MAX} elements or \
                     {UPSTREAM_LIST_BYTES_MAX} bytes, or the same page again",
                    list.method()
                );
                return Err(UpstreamError::Protocol(what));
            }
            if cursor.is_none() {
                return Ok(Ok(listed));
            }
        }
    }
}

impl Listed {
    /// Takes what is on a page, and gives where the next one is.
    fn take(&mut self, list: List, page: &Raw) -> Result<Option<String>, UpstreamError> {
        let wrong = |what: &str| UpstreamError::Protocol(format!("the result of `{}` {what}", list.method()));
        let page = Object::of(page).ok_or_else(|| wrong("is no object"))?;
        let key = list.key();
        let elements = page.get(key).filter(|raw| raw.as_str().starts_with('['));
        let elements = elements.ok_or_else(|| wrong(&format!("has no list `{key}`")))?;
        self.elements.extend(elements.elements(UPSTREAM_LISTED_MAX + 1));
        // A whole list is as fresh as its stalest page.
        let ttl_ms = page.get("ttlMs").and_then(|raw| raw.view::<u64>().ok());
        self.ttl_ms = [self.ttl_ms, ttl_ms].into_iter().flatten().min();
        Ok(page.get_str("nextCursor").map(std::borrow::Cow::into_owned).filter(|cursor| !cursor.is_empty()))
    }
}
