//! One question to the desk of tokens: a line of JSON there, a line of JSON back.
//!
//! Whoever gets here is root or the daemon's own user, who could change the database as well. No listener of the network
//! leads here.

use std::path::Path;

use hayward_api::{Code, Error};
use hayward_gateway::listener::InForce;
use hayward_store::DatabaseUrl;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{CONNECT_PAUSE, CONNECT_TIMEOUT, GREETING_TIMEOUT, socket_path};
use crate::failure::Failure;
use crate::stack::{Locked, acquire, step};
use crate::tokens::{Ask, TokenDesk, Told, alone};

/// Bytes of a question.
const ASK_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of an answer: some 50000 tokens in a list.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// An answer, as it crosses the socket.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Ok(Told),
    Error(Error),
}

/// Answers one question, under what is in force by then. What it changes is changed as a whole, even if nobody waits for it
/// any more.
pub(super) async fn serve(
    input: BufReader<OwnedReadHalf>,
    mut output: OwnedWriteHalf,
    (desk, in_force): (&TokenDesk, InForce),
    shutdown: CancellationToken,
) {
    let asked = shutdown.run_until_cancelled(timeout(GREETING_TIMEOUT, question(input))).await;
    let answer = if let Some(ask) = asked.and_then(Result::ok).flatten() {
        desk.answer(&in_force(), ask).await.map_or_else(Answer::Error, Answer::Ok)
    } else {
        let error = Error::new(Code::Invalid, "no question about tokens came that is understood here");
        Answer::Error(error.with_hint("ask with the `hayward token` of the daemon's version"))
    };
    let Ok(mut line) = serde_json::to_vec(&answer) else { return };
    line.push(b'\n');
    // A peer that doesn't read, or is gone, holds up nothing.
    timeout(GREETING_TIMEOUT, output.write_all(&line)).await.ok();
}

async fn question(input: BufReader<OwnedReadHalf>) -> Option<Ask> {
    let mut line = String::new();
    input.take(ASK_BYTES_MAX).read_line(&mut line).await.ok()?;
    // Without its end it was cut, by us or by the peer.
    serde_json::from_str(line.strip_suffix('\n')?).ok()
}

/// Asks the daemon that has this data directory; without one, does it here.
pub(crate) async fn ask(data_dir: &Path, database: Option<DatabaseUrl>, ask: Ask) -> Result<Told, Failure> {
    let started = Instant::now();
    loop {
        // Another command has the directory for a moment; a daemon may be about to listen, or to go.
        let locked = match acquire(data_dir) {
            Ok(data) => return alone(data, database, ask).await,
            Err(Locked { is_elsewhere: false, failure, .. }) => return Err(failure),
            Err(locked) => locked,
        };
        match UnixStream::connect(socket_path(data_dir)).await {
            Ok(stream) => return converse(stream, &ask).await,
            Err(_) if locked.is_held && started.elapsed() < CONNECT_TIMEOUT => sleep(CONNECT_PAUSE).await,
            Err(_) => return Err(locked.failure),
        }
    }
}

async fn converse(mut stream: UnixStream, ask: &Ask) -> Result<Told, Failure> {
    let mut asked = b"hayward/1 tokens\n".to_vec();
    asked.extend(serde_json::to_vec(ask).map_err(Failure::unavailable)?);
    asked.push(b'\n');
    if asked.len() as u64 > ASK_BYTES_MAX {
        return Err(Error::new(Code::TooLarge, "this is more than a token can hold").into());
    }
    let broke = || "the connection to the daemon broke".to_owned();
    let mut line = String::new();
    let exchange = async {
        stream.write_all(&asked).await?;
        BufReader::new(stream).take(ANSWER_BYTES_MAX).read_line(&mut line).await
    };
    let read = timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|late| Err(late.into()));
    let hint = "`hayward token list` shows whether it was done";
    step(read, broke).map_err(|failure| failure.hint(hint))?;
    match serde_json::from_str(&line) {
        Ok(Answer::Ok(told)) => Ok(told),
        Ok(Answer::Error(error)) => Err(error.into()),
        Err(_) if line.is_empty() => Err(Failure::unavailable(anyhow::anyhow!(broke())).hint(hint)),
        Err(_) => {
            let error = anyhow::anyhow!("the daemon of this data directory doesn't know this command");
            Err(Failure::unavailable(error).hint("restart it, so that it is of the same version"))
        }
    }
}
