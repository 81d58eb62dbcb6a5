//! A fault as what is said and done, whatever carries it.

use std::time::Duration;

use serde_json::{Value, json};

use super::fault::Fault;

/// How long a slow call takes; it differs with what it is asked.
const SLOW_MS: u64 = 150;
/// When a late answer comes.
const LATE: Duration = Duration::from_secs(3);
/// How much there is of everything that is a flood.
const PROGRESS: usize = 200;
const EVENTS: usize = 8_000;
const STORM: usize = 300;
const STDERR_LINES: usize = 2_000;
const LARGE_BYTES: usize = 64 << 20;
const ENDLESS_BYTES: usize = 64 << 20;
const DEEP: usize = 100_000;

/// A call, as far as its answer repeats it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) id: Value,
    pub(super) mark: String,
    token: Value,
    is_modern: bool,
}

/// One step.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A message.
    Say(Vec<u8>),
    /// The same one so many times.
    Again(Vec<u8>, usize),
    /// A line that is so long, between what begins it and what ends it.
    Long(Vec<u8>, usize, Vec<u8>),
    /// Lines on standard error.
    Grumble(usize),
    /// Nothing for a while.
    Wait(Duration),
    /// Nothing until whoever asked gives up.
    UntilCancelled,
    /// A tool becomes another one.
    Change,
    /// What a process does to itself, or a connection suffers.
    Suffer(Fault),
}

impl Said {
    pub(super) fn of(message: &Value, is_modern: bool) -> Self {
        let params = &message["params"];
        let mark = params["arguments"]["mark"].as_str().unwrap_or_default().to_owned();
        Self { id: message["id"].clone(), mark, token: params["_meta"]["progressToken"].clone(), is_modern }
    }

    fn result(&self, text: &str) -> Value {
        let mut result = json!({"content": [{"type": "text", "text": text}]});
        if self.is_modern {
            result["resultType"] = json!("complete");
        }
        result
    }

    fn under(&self, id: &Value) -> Vec<u8> {
        json!({"jsonrpc": "2.0", "id": id, "result": self.result(&self.mark)}).to_string().into()
    }

    /// The answer that it should get.
    pub(super) fn answer(&self) -> Vec<u8> {
        self.under(&self.id)
    }

    /// The answer with this in the place of its text.
    fn holding(&self, value: &[u8]) -> Vec<u8> {
        let whole = json!({"jsonrpc": "2.0", "id": self.id, "result": self.result("@")}).to_string();
        let (before, behind) = whole.split_once("\"@\"").unwrap_or_default();
        [before.as_bytes(), value, behind.as_bytes()].concat()
    }

    /// What is done about it.
    pub(super) fn acts(&self, fault: Fault) -> Vec<Act> {
        let answer = || Act::Say(self.answer());
        match fault {
            Fault::None => vec![answer()],
            Fault::Slow => {
                let more = self.mark.bytes().fold(0_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 500);
                vec![Act::Wait(Duration::from_millis(SLOW_MS + more)), answer()]
            }
            Fault::Twice => {
                let other = json!({"jsonrpc": "2.0", "id": self.id, "result": self.result("another")});
                vec![answer(), Act::Say(other.to_string().into())]
            }
            Fault::Silent => vec![],
            Fault::Waits => vec![Act::UntilCancelled],
            Fault::Late => vec![Act::Wait(LATE), answer()],
            Fault::Large => {
                let whole = self.holding(b"\"@\"");
                let at = whole.iter().position(|byte| *byte == b'@').unwrap_or(0);
                vec![Act::Long(whole[..at].to_vec(), LARGE_BYTES, whole[at + 1..].to_vec())]
            }
            Fault::Endless => vec![Act::Long(vec![], ENDLESS_BYTES, vec![]), answer()],
            Fault::Changes => vec![Act::Change, Act::Say(told("tools/list_changed")), answer()],
            Fault::Progress | Fault::Events | Fault::Storm | Fault::Stderr | Fault::Asks | Fault::Chatter => {
                vec![self.flood(fault), answer()]
            }
            _ => match self.lie(fault) {
                Some(lie) => vec![Act::Say(lie)],
                None => vec![Act::Suffer(fault)],
            },
        }
    }

    fn flood(&self, fault: Fault) -> Act {
        let message = |method: &str, params: Value| {
            json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string().into_bytes()
        };
        match fault {
            Fault::Progress => {
                let params = json!({"progressToken": self.token, "progress": 1});
                Act::Again(message("notifications/progress", params), PROGRESS)
            }
            Fault::Events => {
                let params = json!({"level": "info", "data": "x".repeat(200)});
                Act::Again(message("notifications/message", params), EVENTS)
            }
            Fault::Storm => Act::Again(told("tools/list_changed"), STORM),
            Fault::Asks => {
                let asked =
                    json!({"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage", "params": {}});
                Act::Again(asked.to_string().into(), 4)
            }
            Fault::Chatter => Act::Again(b"starting up: {\"id\":1} {".to_vec(), 4),
            _ => Act::Grumble(STDERR_LINES),
        }
    }

    /// An answer that isn't one.
    fn lie(&self, fault: Fault) -> Option<Vec<u8>> {
        let number = self.id.as_i64().unwrap_or(0);
        Some(match fault {
            Fault::WrongId => self.under(&json!(number + 1_000_000)),
            Fault::TextId => self.under(&json!(number.to_string())),
            Fault::BrokenJson => {
                let mut whole = self.answer();
                whole.truncate(whole.len() - 4);
                whole
            }
            Fault::NotUtf8 => self.holding(b"\"\xff\xfe\""),
            Fault::Deep => self.holding(&["[".repeat(DEEP), "]".repeat(DEEP)].concat().into_bytes()),
            Fault::Nan => self.holding(b"NaN"),
            Fault::Bom => [b"\xef\xbb\xbf".to_vec(), self.answer()].concat(),
            Fault::Batch => [b"[".to_vec(), self.answer(), b"]".to_vec()].concat(),
            Fault::Crlf => [self.answer(), b"\r".to_vec()].concat(),
            _ => return None,
        })
    }
}

fn told(what: &str) -> Vec<u8> {
    json!({"jsonrpc": "2.0", "method": format!("notifications/{what}")}).to_string().into()
}

/// What befalls the process; nothing if it is of another kind.
pub(super) fn befall(fault: Fault) -> std::io::Result<()> {
    use rustix::process::{Signal, getpid, kill_process};
    match fault {
        Fault::Exit0 | Fault::Exit1 => leave(i32::from(fault == Fault::Exit1)),
        // The runtime looks at the first ones for an overflow of its stack, and then lets go.
        Fault::Segv => loop {
            kill_process(getpid(), Signal::SEGV)?;
            super::lines::wait(Duration::from_millis(5));
        },
        Fault::Freeze => kill_process(getpid(), Signal::STOP)?,
        Fault::Closes => {
            let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
            rustix::stdio::dup2_stdout(null)?;
        }
        _ => {}
    }
    Ok(())
}

#[expect(clippy::exit, reason = "that it ends in the middle of something is the point")]
fn leave(code: i32) {
    std::process::exit(code)
}
