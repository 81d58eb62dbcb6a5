//! A stand-in for an OpenTelemetry collector: takes what is pushed over HTTP, and decodes it.
//!
//! It can be slow, refuse, or take a part only. It runs on threads of its own, so that a test may block.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it treats what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything.
    Takes,
    /// It answers with this status, and asks to come back after a second.
    Refuses(u16),
    /// It reads and never answers.
    Hangs,
    /// It takes all but this many spans.
    Rejects(i64),
}

/// What it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The path.
    pub path: String,
    /// The head, in lower case.
    pub head: String,
    body: Vec<u8>,
}

/// A collector that listens on a free port of loopback until it is dropped.
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    mood: Mutex<Mood>,
    sent: Mutex<Vec<Sent>>,
    is_over: AtomicBool,
}

impl Collector {
    /// Starts one in this mood.
    pub fn start(mood: Mood) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = State { mood: Mutex::new(mood), sent: Mutex::default(), is_over: AtomicBool::new(false) };
        let state = Arc::new(state);
        let own = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&own);
                std::thread::spawn(move || while state.serve(&stream).is_ok_and(|goes_on| goes_on) {});
            }
        });
        Ok(Self { address, state })
    }

    /// The address for all signals.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it is in this mood.
    pub fn set(&self, mood: Mood) {
        *self.state.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Everything that it was sent so far, taken or not.
    pub fn sent(&self) -> Vec<Sent> {
        self.state.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what it was sent is like this. Blocks.
    pub fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        while !is_so(self) {
            ensure!(started.elapsed() < PATIENCE, "{what}: {} requests", self.sent().len());
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    fn decoded<M: Message + Default>(&self, path: &str) -> Vec<M> {
        let sent = self.sent();
        let of_path = sent.iter().filter(|sent| sent.path == path);
        of_path.map(|sent| M::decode(&*sent.body).expect("what is pushed can be decoded")).collect()
    }

    /// The spans that it was sent.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.decoded::<ExportTraceServiceRequest>("/v1/traces").into_iter();
        let resources = requests.flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// The log records that it was sent.
    pub fn log_records(&self) -> Vec<LogRecord> {
        let requests = self.decoded::<ExportLogsServiceRequest>("/v1/logs").into_iter();
        let resources = requests.flat_map(|request| request.resource_logs);
        resources.flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records).collect()
    }

    /// The metrics that it was sent last, and what their sender is described by.
    pub fn metrics(&self) -> (Vec<Metric>, Vec<(String, String)>) {
        let last = self.decoded::<ExportMetricsServiceRequest>("/v1/metrics").pop().unwrap_or_default();
        let resources = last.resource_metrics;
        let resource = resources.iter().filter_map(|it| it.resource.as_ref());
        let about = resource.flat_map(|resource| texts(&resource.attributes)).collect();
        let scopes = resources.into_iter().flat_map(|resource| resource.scope_metrics);
        (scopes.flat_map(|scope| scope.metrics).collect(), about)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // Its thread looks up, and goes.
        TcpStream::connect(self.address).ok();
    }
}

/// Attributes as texts.
pub fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| {
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        (attribute.key.clone(), value)
    };
    attributes.iter().map(text).collect()
}

impl State {
    /// Serves one request; says whether there may be another one.
    fn serve(&self, mut stream: &TcpStream) -> anyhow::Result<bool> {
        let sent = read(stream)?;
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
        let (status, body) = match mood {
            Mood::Hangs => {
                // Until the other side has had enough.
                stream.read_exact(&mut [0])?;
                return Ok(false);
            }
            Mood::Takes => (200, Vec::new()),
            Mood::Refuses(status) => (status, Vec::new()),
            Mood::Rejects(rejected_spans) => {
                let partly = ExportTracePartialSuccess { rejected_spans, ..Default::default() };
                (200, ExportTraceServiceResponse { partial_success: Some(partly) }.encode_to_vec())
            }
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nretry-after: 1\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &body].concat())?;
        Ok(true)
    }
}

fn read(stream: &TcpStream) -> anyhow::Result<Sent> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(reader.read_line(&mut head)? > 0, "the connection ended");
    }
    let path = head.split(' ').nth(1).context("a path")?.to_owned();
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("a length")?;
    let mut body = vec![0; length.parse()?];
    reader.read_exact(&mut body)?;
    Ok(Sent { path, head, body })
}
