//! What instances say beside their answers: handed to whoever hears it, and answered if nobody does. What they log stands in
//! their log: on a connection that all share, nobody knows whom it is for.

use std::sync::Arc;

use hayward_mcp::error::RpcError;
use hayward_mcp::upstream::{Event, Events, Upstream};

use super::Hears;
use super::instance::Instance;

/// How an instance says what it would write to its log otherwise.
const LOGGED: &str = "notifications/message";

/// Hears one connection to its end. Never waits for whoever hears it in turn.
pub(super) async fn hear(
    instance: Arc<Instance>,
    upstream: Arc<Upstream>,
    mut events: Events,
    hears: Option<Arc<dyn Hears>>,
) {
    while let Some(event) = events.next().await {
        if let Event::Notification(notification) = &event
            && notification.method == LOGGED
            && let Some(params) = &notification.params
        {
            instance.log().push(params.as_bytes());
        }
        match (&hears, event) {
            (Some(hears), event) => hears.heard(&instance, &upstream, event),
            (None, Event::Request(asked)) => {
                let refusal = RpcError::method_not_found(&asked.request.method);
                // An upstream that is gone waits for no answer.
                drop(upstream.answer(&asked, Err(refusal)).await);
            }
            (None, Event::Notification(_) | Event::Lost) => {}
        }
    }
}
