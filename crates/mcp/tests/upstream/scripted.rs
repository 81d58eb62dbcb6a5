//! HTTP without a network: what is asked is noted, and what is answered is what a test wrote down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hayward_mcp::upstream::{
    Body, BoxFuture, Connect, ConnectError, EraChoice, Events, Http, Upstream, UpstreamError, Wire,
};
use http::{HeaderMap, Request, Response};
use serde_json::Value;

use super::{MESSAGE_BYTES_MAX, options};

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    chunks: VecDeque<String>,
    end: End,
}

/// How a body ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Whole,
    Broken,
    Never,
}

/// An answer of JSON, in which `$ID` stands for the id of the request.
pub(super) fn json(status: u16, body: &str) -> Answer {
    Answer {
        status,
        headers: vec![("content-type", "application/json; charset=utf-8".to_owned())],
        chunks: [body.to_owned()].into(),
        end: End::Whole,
    }
}

/// The result of a request.
pub(super) fn result(result: &Value) -> Answer {
    json(200, &format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{result}}}"#))
}

/// A stream in these pieces, in which `$ID` stands for the id of the request.
pub(super) fn events(chunks: &[&str], end: End) -> Answer {
    let chunks = chunks.iter().map(|chunk| (*chunk).to_owned()).collect();
    Answer { status: 200, headers: vec![("content-type", "text/event-stream".to_owned())], chunks, end }
}

/// An answer without a body.
pub(super) fn empty(status: u16) -> Answer {
    Answer { status, headers: Vec::new(), chunks: VecDeque::new(), end: End::Whole }
}

impl Answer {
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Answers requests in order, and those for a stream apart from the others. Behind the last answer, nobody is there; behind
/// the last stream, there is none.
#[derive(Debug, Default)]
pub(super) struct Script {
    answers: Mutex<VecDeque<Answer>>,
    streams: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Asked>>,
    open: Arc<Mutex<usize>>,
}

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Script {
    pub(super) fn of(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Self::with_streams(answers, [])
    }

    pub(super) fn with_streams(
        answers: impl IntoIterator<Item = Answer>,
        streams: impl IntoIterator<Item = Answer>,
    ) -> Arc<Self> {
        let [answers, streams] =
            [answers.into_iter().collect(), streams.into_iter().collect()].map(Mutex::new);
        Arc::new(Self { answers, streams, ..Self::default() })
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What was posted: the method of the message, and the session.
    pub(super) fn posted(&self) -> Vec<(String, Option<String>)> {
        let asked = self.asked();
        let posted = asked.iter().filter(|asked| asked.method == "POST");
        let said = posted.map(|it| {
            (it.body["method"].as_str().unwrap_or("").to_owned(), it.header("mcp-session-id").map(Into::into))
        });
        said.collect()
    }

    /// Streams that nobody hung up on.
    pub(super) fn open(&self) -> usize {
        *self.open.lock().unwrap()
    }
}

impl Connect for Script {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Box<dyn Body>>, ConnectError>> {
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let id = body["id"].to_string();
        self.asked.lock().unwrap().push(Asked {
            method: request.method().to_string(),
            uri: request.uri().to_string(),
            headers: request.headers().clone(),
            body,
        });
        let answer = if request.method() == "GET" {
            Some(self.streams.lock().unwrap().pop_front().unwrap_or_else(|| empty(405)))
        } else {
            self.answers.lock().unwrap().pop_front()
        };
        Box::pin(async move {
            let Some(answer) = answer else {
                return Err(ConnectError { what: "nobody is there".to_owned(), may_have_arrived: false });
            };
            let mut response = Response::builder().status(answer.status);
            for (name, value) in answer.headers {
                response = response.header(name, value);
            }
            let chunks = answer.chunks.into_iter().map(|chunk| chunk.replace("$ID", &id)).collect();
            *self.open.lock().unwrap() += 1;
            let body: Box<dyn Body> =
                Box::new(Written { chunks, end: answer.end, open: Arc::clone(&self.open) });
            Ok(response.body(body).unwrap())
        })
    }
}

struct Written {
    chunks: VecDeque<String>,
    end: End,
    open: Arc<Mutex<usize>>,
}

impl Drop for Written {
    fn drop(&mut self) {
        *self.open.lock().unwrap() -= 1;
    }
}

impl Body for Written {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, ConnectError>> {
        let chunk = self.chunks.pop_front();
        let end = self.end;
        Box::pin(async move {
            match (chunk, end) {
                (Some(chunk), _) => Ok(Some(chunk.into())),
                (None, End::Whole) => Ok(None),
                (None, End::Broken) => Err(ConnectError { what: "reset".to_owned(), may_have_arrived: true }),
                (None, End::Never) => std::future::pending().await,
            }
        })
    }
}

/// A wire to this script, whose driver runs until the test ends.
pub(super) fn wire(script: &Arc<Script>) -> (Wire, Events) {
    let url = "http://up.example/mcp".parse().unwrap();
    let headers = [("authorization", "Bearer x"), ("mcp-session-id", "not for them to say")];
    let headers = headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let connect: Arc<dyn Connect> = Arc::<Script>::clone(script);
    let (http, heard, driver) = Http::over(connect, &url, &headers.collect(), MESSAGE_BYTES_MAX);
    tokio::spawn(driver);
    (Wire::Http(http), heard)
}

pub(super) async fn connect(script: &Arc<Script>, era: EraChoice) -> Result<Upstream, UpstreamError> {
    Upstream::connect(wire(script).0, options(era)).await
}
