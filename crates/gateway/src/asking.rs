//! The way back to a legacy client: requests of ours, and who waits for their answers.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayward_mcp::envelope::{Frame, RequestId, Response};
use hayward_mcp::json::{ObjectWriter, Raw};
use tokio::sync::{Notify, oneshot};

/// Everything that one client was asked and has not answered yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asking(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    waiting: Mutex<HashMap<RequestId, oneshot::Sender<Result<Raw, Raw>>>>,
    count: AtomicU64,
}

/// A question that is on its way. Dropped before its answer is there, it is taken back.
pub(crate) struct Question {
    id: RequestId,
    answer: oneshot::Receiver<Result<Raw, Raw>>,
    asking: Asking,
    outbox: Outbox,
    is_answered: bool,
}

impl Asking {
    /// Asks: the request goes into the outbox of the call that it is asked for.
    pub(crate) fn ask(&self, method: &str, params: &Raw, outbox: &Outbox) -> Question {
        let number = self.0.count.fetch_add(1, Ordering::Relaxed);
        let id = Raw::of(&format!("hayward-{number}")).ok().and_then(|raw| RequestId::read(&raw).ok());
        let id = id.expect("a short string is an id");
        let (sender, answer) = oneshot::channel();
        self.lock().insert(id.clone(), sender);
        outbox.put(Frame::request(&id, method, params));
        Question { id, answer, asking: self.clone(), outbox: outbox.clone(), is_answered: false }
    }

    /// Passes on an answer; false if nobody waits for it.
    pub(crate) fn answer(&self, response: Response) -> bool {
        let waiting = self.lock().remove(&response.id);
        waiting.is_some_and(|waiting| waiting.send(response.result).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, oneshot::Sender<Result<Raw, Raw>>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// The result that the client answers with, or its error. Waits for ever if it answers nothing.
    pub(crate) async fn answer(&mut self) -> Result<Raw, Raw> {
        let answer = (&mut self.answer).await.expect("who waits keeps the other end in the table");
        self.is_answered = true;
        answer
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.is_answered && self.asking.lock().remove(&self.id).is_some() {
            let params = ObjectWriter::new(64).raw("requestId", self.id.as_raw()).end();
            self.outbox.put(Frame::notification("notifications/cancelled", &params));
        }
    }
}

/// Messages to a client that belong to one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    queue: Mutex<VecDeque<Frame>>,
    news: Notify,
}

impl Outbox {
    fn put(&self, frame: Frame) {
        self.lock().push_back(frame);
        self.0.news.notify_one();
    }

    /// The next message. Waits for ever if there is none. Cancellation-safe.
    pub(crate) async fn next(&self) -> Frame {
        loop {
            let news = self.0.news.notified();
            if let Some(frame) = self.lock().pop_front() {
                return frame;
            }
            news.await;
        }
    }

    /// The next message, if there is one.
    pub(crate) fn try_next(&self) -> Option<Frame> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Frame>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hayward_mcp::envelope::Message;
    use serde_json::Value;

    use super::*;

    fn sent(outbox: &Outbox) -> Value {
        serde_json::from_slice(&outbox.try_next().unwrap().to_vec()).unwrap()
    }

    fn response(id: &Value) -> Response {
        let text = serde_json::json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept"}});
        match Message::read(Bytes::from(text.to_string())).unwrap() {
            Message::Response(response) => response,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_answer_reaches_who_asked_and_only_once() {
        let (asking, outbox) = (Asking::default(), Outbox::default());
        let mut question = asking.ask("elicitation/create", &Raw::empty_object(), &outbox);
        let request = sent(&outbox);
        assert_eq!(request["method"], "elicitation/create");
        assert!(asking.answer(response(&request["id"])));
        assert!(question.answer().await.unwrap().as_str().contains("accept"));
        assert!(!asking.answer(response(&request["id"])), "it was answered");
        drop(question);
        assert!(outbox.try_next().is_none(), "nothing is taken back");
    }

    #[tokio::test]
    async fn an_answer_to_no_question_of_this_client_is_of_no_effect() {
        let (asking, other, outbox) = (Asking::default(), Asking::default(), Outbox::default());
        let _question = asking.ask("roots/list", &Raw::empty_object(), &outbox);
        let request = sent(&outbox);
        assert!(!other.answer(response(&request["id"])));
        assert!(!asking.answer(response(&serde_json::json!("x"))));
    }

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_is_taken_back() {
        let (asking, outbox) = (Asking::default(), Outbox::default());
        let question = asking.ask("roots/list", &Raw::empty_object(), &outbox);
        let request = sent(&outbox);
        drop(question);
        let notification = sent(&outbox);
        assert_eq!(notification["method"], "notifications/cancelled");
        assert_eq!(notification["params"]["requestId"], request["id"]);
        assert!(!asking.answer(response(&request["id"])));
    }
}
