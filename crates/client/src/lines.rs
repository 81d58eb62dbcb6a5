//! Lines of JSON, as they come.

use bytes::{Buf, BytesMut};
use hayward_egress::{ReadError, Response};
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::limits::EVENT_BYTES_MAX;

/// An answer that is lines, each with a value. Empty ones are signs of life.
pub(crate) struct Lines {
    response: Response,
    /// What came and wasn't given out yet.
    pending: BytesMut,
    /// Bytes of it that hold no end of a line.
    searched: usize,
    address: String,
}

impl Lines {
    /// Those of this answer.
    pub(crate) fn new(response: Response, address: String) -> Self {
        Self { response, pending: BytesMut::new(), searched: 0, address }
    }

    /// The next value; none when the server ends. Cancellation-safe.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
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
