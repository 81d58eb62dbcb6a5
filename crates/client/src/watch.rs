//! A watch: what happens to the resources of a kind, as it happens.

use bytes::{Buf, BytesMut};
use hayward_api::kinds::Descriptor;
use hayward_egress::{ReadError, Response};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::client::{Ask, Client};
use crate::error::Error;
use crate::limits::EVENT_BYTES_MAX;
use crate::resources::Selection;

/// What happens, as it comes.
pub struct Watch {
    response: Response,
    /// What came and wasn't given out yet.
    pending: BytesMut,
    /// Bytes of it that hold no end of a line.
    searched: usize,
    address: String,
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// What.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The document; nothing in a bookmark.
    #[serde(default)]
    pub object: Value,
    /// From when a later watch goes on.
    #[serde(default)]
    pub version: u64,
}

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventKind {
    /// It was made, or was there already.
    Added,
    /// It was changed.
    Modified,
    /// It was deleted, or is not to be seen any more.
    Deleted,
    /// Nothing: so far it is all told.
    Bookmark,
}

impl Client {
    /// Watches a kind from a version on; without one, what is there comes first.
    pub async fn watch(
        &self,
        kind: &Descriptor,
        selection: &Selection,
        from: Option<u64>,
    ) -> Result<Watch, Error> {
        let mut url = self.list_url(kind, selection);
        url.query_pairs_mut().append_pair("watch", "true");
        if let Some(version) = from {
            url.query_pairs_mut().append_pair("resourceVersion", &version.to_string());
        }
        let response = self.send(Ask::new(Method::GET, url)).await?;
        Ok(Watch { response, pending: BytesMut::new(), searched: 0, address: self.address().to_string() })
    }
}

impl Watch {
    /// What happens next; none when the server ends the watch. Cancellation-safe.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(line) = line(&mut self.pending, &mut self.searched) {
                if line.is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|error| self.stranger(&error));
            }
            let broken = |source| Error::Broken { address: self.address.clone(), is_write: false, source };
            if self.pending.len() > EVENT_BYTES_MAX {
                return Err(broken(ReadError::TooLong(EVENT_BYTES_MAX)));
            }
            match self.response.chunk().await.map_err(broken)? {
                Some(chunk) => self.pending.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }

    fn stranger(&self, error: &serde_json::Error) -> Error {
        let (address, status) = (self.address.clone(), self.response.status());
        Error::Stranger { address, status, what: error.to_string() }
    }
}

/// The first whole line, taken out.
fn line(pending: &mut BytesMut, searched: &mut usize) -> Option<BytesMut> {
    let found = pending[*searched..].iter().position(|byte| *byte == b'\n');
    let Some(end) = found.map(|found| *searched + found) else {
        *searched = pending.len();
        return None;
    };
    *searched = 0;
    let line = pending.split_to(end);
    pending.advance(1);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_given_out_once_they_are_whole() {
        let mut pending = BytesMut::from(&b"{\"a\":1}\n\n{\"b\""[..]);
        let mut searched = 0;
        assert_eq!(line(&mut pending, &mut searched).unwrap(), &b"{\"a\":1}"[..]);
        assert_eq!(line(&mut pending, &mut searched).unwrap(), &b""[..]);
        assert!(line(&mut pending, &mut searched).is_none());
        pending.extend_from_slice(b":2}\n");
        assert_eq!(line(&mut pending, &mut searched).unwrap(), &b"{\"b\":2}"[..]);
    }
}
