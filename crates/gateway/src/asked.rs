//! Messages of the protocol from whoever is no client of it: the control plane passes them on, and they go the same road.
//!
//! There is no session, and no stream beside the answer: what needs either is refused like for any client without.

use std::sync::Arc;

use bytes::Bytes;
use hayward_api::{Caller, Code, Error};
use hayward_mcp::envelope::{Frame, Message, Request};
use hayward_mcp::era::{Era, Revision};
use hayward_mcp::error::{INVALID_REQUEST, RpcError};
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::request::{Agreed, Ask, Context, Params, Question};

use crate::endpoint::Endpoint;
use crate::listener::{closed, is_caller};
use crate::protocol::{Beginning, Protocol, Sender, check_revision};

/// Asks at this endpoint what `request` says: an object with `method`, and perhaps `params` and `id`. Returns the message that
/// it is answered with, which may be an error of the protocol.
pub async fn ask(
    protocol: &Arc<Protocol>,
    caller: Caller,
    endpoint: Endpoint,
    request: Bytes,
) -> Result<Vec<u8>, Error> {
    let Caller { principal, source, request_id } = caller;
    if !is_caller(&principal) {
        let error = Error::new(Code::Forbidden, "this credential manages, and calls no tools");
        return Err(error.with_hint("use a token of the roles `ro` or `rw`, or a login"));
    }
    if let Some(error) = closed(protocol.road(), &endpoint, &principal) {
        return Err(error);
    }
    let request = message(request)?;
    let sender = Sender { principal, source, request_id, endpoint, session: None };
    let frame = match answered(protocol, &request, sender.clone()).await {
        Ok(frame) => frame,
        Err(error) => {
            protocol.refuse(sender, &request, &error).await;
            Frame::error(Some(&request.id), &error)
        }
    };
    Ok(frame.to_vec())
}

/// The request as a message, with what it leaves out.
fn message(request: Bytes) -> Result<Request, Error> {
    let invalid = |what: &str| Error::new(Code::Invalid, what.to_owned());
    let raw = Raw::parse(request, hayward_mcp::limits::JSON)
        .map_err(|error| Error::new(Code::Invalid, format!("it is no JSON that is taken: {error}")))?;
    let said = Object::of(&raw).ok_or_else(|| invalid("it is no object"))?;
    let method = said.get_str("method").ok_or_else(|| invalid("`method` is missing"))?;
    let message = ObjectWriter::new(raw.as_bytes().len() + 64).str("jsonrpc", "2.0").str("method", &method);
    let message = match said.get("id") {
        Some(id) => message.raw("id", &id),
        None => message.int("id", 1),
    };
    let message =
        said.get("params").into_iter().fold(message, |message, params| message.raw("params", &params));
    match Message::read(Bytes::copy_from_slice(message.end().as_bytes())) {
        Ok(Message::Request(request)) => Ok(request),
        Ok(_) => Err(invalid("it is no request")),
        Err(rejected) => Err(Error::new(Code::Invalid, rejected.error.message)),
    }
}

async fn answered(protocol: &Arc<Protocol>, request: &Request, sender: Sender) -> Result<Frame, RpcError> {
    let params = Params::of(request);
    let era = params.era();
    let context = match era {
        Era::Modern => Context::modern(&params)?,
        Era::Legacy => {
            Context::legacy(&params, Agreed { revision: Revision::V2025_11_25, ..Agreed::default() })
        }
    };
    let ask = Ask::read(&request.method, &params, era)?;
    check_revision(&sender.principal, &ask, &context)?;
    match ask {
        Ask::Walk(walk) => {
            let beginning = Beginning {
                id: request.id.clone(),
                walk,
                context,
                sender,
                running: None,
                asking: None,
                can_come_back: false,
                reserved: None,
            };
            Ok(protocol.begin(beginning)?.answer().await.frame)
        }
        Ask::Question(Question::Subscribe(_) | Question::Unsubscribe(_) | Question::SetLogLevel(_))
        | Ask::Listen(_) => {
            let message = "this needs a session or a stream, of which there is none here";
            Err(RpcError::new(INVALID_REQUEST, message))
        }
        Ask::Question(question) => {
            protocol.settle(&question, &sender.endpoint).await;
            let result = protocol.answer(&question, era, (&sender.principal, &sender.endpoint));
            Ok(Frame::result(&request.id, result))
        }
        Ask::Task(ask) => protocol.task(&request.id, &ask, &context, (&sender.principal, &sender.endpoint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_a_message_to_the_letter() {
        let told =
            message(Bytes::from_static(br#"{"serverId":"a","method":"x","params":{"n":1.50}}"#)).unwrap();
        assert_eq!((told.method.as_str(), told.params.unwrap().as_str()), ("x", r#"{"n":1.50}"#));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"method":1}"#,
            r#"{"method":"x","id":null}"#,
            r#"{"method":"x","method":"y"}"#,
        ] {
            assert_eq!(
                message(Bytes::copy_from_slice(bad.as_bytes())).err().map(|it| it.code),
                Some(Code::Invalid),
                "{bad}"
            );
        }
    }
}
