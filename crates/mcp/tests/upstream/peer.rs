//! The far end of a pair of byte streams, which a test speaks for line by line.

use hayward_mcp::upstream::{EraChoice, Events, Lines, Upstream, UpstreamError, Wire};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;

use super::{MESSAGE_BYTES_MAX, initialized, options};

/// Bytes that a pipe takes and nobody has read.
pub(super) const PIPE_BYTES: usize = 64 * 1024;

pub(super) struct Far {
    input: tokio::io::Lines<BufReader<ReadHalf<DuplexStream>>>,
    output: WriteHalf<DuplexStream>,
}

impl Far {
    pub(super) fn new(far: DuplexStream) -> Self {
        let (input, output) = tokio::io::split(far);
        Self { input: BufReader::new(input).lines(), output }
    }

    /// The next message of ours; none once we hung up.
    pub(super) async fn hear(&mut self) -> Option<Value> {
        let line = self.input.next_line().await.unwrap()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// Hears a request of this method, and gives its id.
    pub(super) async fn asked(&mut self, method: &str) -> Value {
        let message = self.hear().await.unwrap();
        assert_eq!(message["method"], method, "{message}");
        message["id"].clone()
    }

    pub(super) async fn say(&mut self, line: &str) {
        self.output.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    pub(super) async fn answer(&mut self, id: &Value, result: &Value) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()).await;
    }

    pub(super) async fn refuse(&mut self, id: &Value, code: i64) {
        let error = json!({"code": code, "message": "no"});
        self.say(&json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()).await;
    }

    /// Shakes hands as a legacy server does.
    pub(super) async fn greet(&mut self, revision: &str) {
        let id = self.asked("initialize").await;
        self.answer(&id, &initialized(revision)).await;
        assert_eq!(self.asked("notifications/initialized").await, Value::Null);
    }
}

pub(super) struct Near {
    pub(super) lines: Lines,
    pub(super) events: Events,
    pub(super) driver: JoinHandle<()>,
}

/// Both ends of a wire.
pub(super) fn wire() -> (Near, Far) {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let (input, output) = tokio::io::split(near);
    let (lines, events, driver) = Lines::over(input, output, MESSAGE_BYTES_MAX);
    (Near { lines, events, driver: tokio::spawn(driver) }, Far::new(far))
}

/// A legacy upstream that hands were shaken with, and its far end.
pub(super) async fn legacy() -> (Upstream, Near, Far) {
    let (near, mut far) = wire();
    let wire = Wire::Lines(near.lines.clone());
    let (upstream, ()) = tokio::join!(
        async { Upstream::connect(wire, options(EraChoice::Legacy)).await.unwrap() },
        far.greet("2025-06-18")
    );
    (upstream, near, far)
}

/// What becomes of a handshake that the far end takes part in like this.
pub(super) async fn shake(
    era: EraChoice,
    speak: impl AsyncFnOnce(&mut Far),
) -> Result<Upstream, UpstreamError> {
    let (near, mut far) = wire();
    let connecting = Upstream::connect(Wire::Lines(near.lines), options(era));
    let (told, ()) = tokio::join!(connecting, async {
        speak(&mut far).await;
        drop(far);
    });
    told
}
