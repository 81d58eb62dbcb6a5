//! Sessions in the record: who has begun which one, and where.

use std::sync::Arc;

use hayward_mcp::error::RpcError;
use hayward_mcp::json::Raw;
use hayward_mcp::request::Question;

use super::{Protocol, Sender};
use crate::road::{Arrival, Beside};

impl Protocol {
    /// Records that a session begins, if this question begins one: everything that is called in it is found by its id. One
    /// that can't be recorded doesn't begin.
    pub(crate) async fn bind(&self, sender: Sender, question: &Question) -> Result<(), RpcError> {
        let Question::Initialize { client, revision, .. } = question else { return Ok(()) };
        let Sender { principal, source, request_id, endpoint, session } = sender;
        let name = endpoint.to_string();
        let arrival = Arrival {
            client: Arc::clone(client),
            revision: Some(*revision),
            endpoint,
            session,
            ..Arrival::beside(Beside::BIND, (principal, source, request_id), &name, Raw::empty_object())
        };
        let bound = self.change(arrival, async { Ok(()) }).await;
        bound.map_err(|error| RpcError::new(i64::from(error.code.http_status()), error.message))
    }
}
