//! What a record says, and how it is written as one line of JSON.
//!
//! Every string goes through the JSON writer and every word is cut to its limit, so that nothing a
//! client sends can end a line, forge a field, fill the disk with a name or steer a terminal.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::SocketAddr;

use hayward_api::principal::PrincipalKind;
use hayward_api::{Ending, Fence, Principal, Source, Tier};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize, Serializer};

use crate::clock::ClockStep;
use crate::escape::escaped;
use crate::hex::{Hash, NodeId};
use crate::limits::{DENIED_ARGUMENTS_BYTES, FENCE_CHARS, MESSAGE_CHARS, WORD_CHARS};
use crate::mask::masked;
use crate::redact::Redacted;
use crate::seal;

/// What is about to happen.
#[derive(Clone, Copy, Debug)]
pub struct Intent<'a> {
    /// Our id of the request.
    pub request_id: &'a str,
    /// Who asks.
    pub principal: &'a Principal,
    /// Where from.
    pub source: Source,
    /// What the client says it is; claimed, never verified.
    pub client_name: Option<&'a str>,
    /// The trace that the client says this is part of (a W3C `traceparent`); claimed, never verified.
    pub traceparent: Option<&'a str>,
    /// The revision of the protocol that the request speaks, if it speaks any.
    pub protocol: Option<&'a str>,
    /// The server or toolset.
    pub server: &'a str,
    /// What is to be done with it: a method of the protocol, or a word of the administration.
    pub method: &'a str,
    /// The tool; for other methods the resource or prompt.
    pub tool: &'a str,
    /// How risky it is; none if there is no such thing.
    pub tier: Option<Tier>,
    /// Its arguments, without what must not be kept.
    pub arguments: &'a Redacted,
    /// The same as they came, of which a keyed digest is kept: who has them can show that they were these.
    pub raw_arguments: Option<&'a str>,
    /// What its server gets otherwise.
    pub sent: Sent<'a>,
    /// What was decided, e.g. `allow`.
    pub decision: &'a str,
    /// What it is a part of.
    pub part_of: PartOf<'a>,
}

/// What a server of others gets otherwise than the client said it, as the administrator wants it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent<'a> {
    /// Its own name for what the client calls otherwise.
    pub name: Option<&'a str>,
    /// The arguments that are set in the place of the client's, or where it says none.
    pub set: Option<&'a Redacted>,
}

/// What a request is a part of.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartOf<'a> {
    /// The id of the request that began what this one goes on with; none if it begins something itself.
    pub correlation_id: Option<&'a str>,
    /// The session that it is of, where there is one.
    pub session: Option<&'a str>,
    /// The project at whose endpoint it came in.
    pub project: Option<&'a str>,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// In a word.
    pub ending: Ending,
    /// The code of the failure.
    pub code: Option<&'a str>,
    /// The message of the failure; its first 200 characters are kept.
    pub message: Option<&'a str>,
    /// How long it took; none if nobody knows.
    pub duration_ms: Option<u64>,
    /// The BLAKE3 of the bytes of the result, if there is one.
    pub result_digest: Option<Hash>,
    /// Bytes of the result, if there is one.
    pub result_bytes: Option<u64>,
    /// What it has moved, if it was a transfer.
    pub moved: Option<Moved>,
    /// The instance that it reached, if it went to a server that has some.
    pub reached: Option<Reached<'a>>,
}

impl Outcome<'_> {
    /// Of something of which nothing more is known than how it ended.
    pub const fn bare(ending: Ending) -> Self {
        Self {
            ending,
            code: None,
            message: None,
            duration_ms: None,
            result_digest: None,
            result_bytes: None,
            moved: None,
            reached: None,
        }
    }
}

/// An instance of a server that a call reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached<'a> {
    /// Its name.
    pub instance: &'a str,
    /// Whether this call has bound it to the session, or the caller, by a connection of its own.
    pub is_bound: bool,
}

/// Bytes of a file that were moved past the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How many.
    pub bytes: u64,
    /// The SHA-256 of the whole file that they complete, if somebody has computed it.
    pub sha256: Option<Hash>,
}

/// A place in a chain: the record after which the next one goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Of the node that wrote it.
    pub(crate) node: NodeId,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
}

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordKind {
    /// Says which intents are open at this place of the file.
    Mark,
    /// An intent.
    Intent,
    /// The outcome of an intent.
    Outcome,
    /// An intent that was refused.
    Denied,
}

impl RecordKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Denied => "denied",
        }
    }
}

/// What is said of an intent that a crash left open.
pub(crate) const LEFT_OPEN_MESSAGE: &str = "the daemon ended before the outcome was recorded";

/// The outcome of an intent that a crash left open.
pub(crate) const LEFT_OPEN: Outcome<'static> =
    Outcome { code: Some("LeftOpen"), message: Some(LEFT_OPEN_MESSAGE), ..Outcome::bare(Ending::Unknown) };

/// The outcome of an intent that could not be written when it was there.
pub(crate) const NOT_WRITTEN: Outcome<'static> = Outcome {
    code: Some("NotWritten"),
    message: Some("the record was closed when the call ended"),
    ..Outcome::bare(Ending::Unknown)
};

/// Why a chain begins, or goes on as another one, with a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Began {
    /// There was nothing before.
    First,
    /// What is before was written by a version that didn't chain.
    Unchained,
    /// The data directory was copied or moved: what it writes from here on is a node of its own.
    Moved,
    /// What is before was written by another node, or with other keys.
    Foreign,
    /// Records that a checkpoint names are damaged or gone.
    Damaged,
    /// No record is left, though there were some.
    Lost,
}

/// What a mark says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct MarkBody {
    pub(crate) boot_id: String,
    pub(crate) pid: u32,
    /// Why the chain begins here, if it does.
    pub(crate) chain: Option<Began>,
    /// The last record that is whole, if the writer before this one didn't end in peace.
    pub(crate) recovered: Option<u64>,
    /// Bytes behind that record that a crash left, without the last line break among them.
    pub(crate) torn_bytes: u64,
    /// Their hash, so that nobody changes them any more.
    pub(crate) torn_sha256: Option<Hash>,
    /// The step whose failure had closed the record until here.
    pub(crate) reopened_after: Option<&'static str>,
    /// If it goes on in a fresh file after a failure: the first record that may never have reached the disk.
    pub(crate) unsynced_from: Option<u64>,
    /// The oldest record that is kept: what is before it was deleted by us.
    pub(crate) kept_from: u64,
    /// That the wall clock was set since the record before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock_step: Option<ClockStep>,
    pub(crate) open: Vec<u64>,
}

/// What the client says of itself, apart from what we know.
#[derive(Serialize)]
struct Claimed<'a> {
    client_name: Option<Word<'a>>,
    trace_id: Option<Word<'a>>,
    parent_id: Option<Word<'a>>,
}

impl<'a> Claimed<'a> {
    fn new(intent: &Intent<'a>) -> Self {
        let mut trace = intent.traceparent.unwrap_or_default().split('-').skip(1);
        let mut id = |digits: usize| {
            let is_hex = |id: &&str| id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            trace.next().filter(is_hex).map(Word)
        };
        Self { client_name: intent.client_name.map(Word), trace_id: id(32), parent_id: id(16) }
    }
}

#[derive(Serialize)]
pub(crate) struct IntentBody<'a> {
    request_id: Word<'a>,
    /// Not where it is the id of the request itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Word<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Word<'a>>,
    principal: PrincipalBody<'a>,
    client_address: Option<SocketAddr>,
    /// The proxy that says so, if it isn't the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
    claimed: Claimed<'a>,
    protocol: Option<Word<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<Word<'a>>,
    server: Word<'a>,
    method: Word<'a>,
    tool: Word<'a>,
    tier: Option<Tier>,
    arguments: Cow<'a, Redacted>,
    arguments_digest: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_name: Option<Word<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_arguments: Option<&'a Redacted>,
    /// What its caller is kept to in this call, if it is kept to anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<String>,
    decision: Word<'a>,
}

#[derive(Serialize)]
struct PrincipalBody<'a> {
    kind: PrincipalKind,
    name: Word<'a>,
    credential: Word<'a>,
    role: &'static str,
    /// Who acts as this principal, if it isn't itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonator: Option<Word<'a>>,
}

impl<'a> IntentBody<'a> {
    /// Of an intent, and the digest of its arguments.
    pub(crate) fn new(intent: &Intent<'a>, arguments_digest: Option<Hash>) -> Self {
        let principal = intent.principal;
        let PartOf { correlation_id, session, project } = intent.part_of;
        Self {
            request_id: Word(intent.request_id),
            correlation_id: correlation_id.filter(|id| *id != intent.request_id).map(Word),
            session: session.map(Word),
            principal: PrincipalBody {
                kind: principal.kind,
                name: Word(&principal.name),
                credential: Word(&principal.credential),
                role: principal.role(),
                impersonator: principal.impersonator.as_deref().map(Word),
            },
            client_address: intent.source.address,
            proxy: intent.source.proxy.map(|proxy| proxy.to_string()),
            claimed: Claimed::new(intent),
            protocol: intent.protocol.map(Word),
            project: project.map(Word),
            server: Word(intent.server),
            method: Word(intent.method),
            tool: Word(intent.tool),
            tier: intent.tier,
            arguments: Cow::Borrowed(intent.arguments),
            arguments_digest,
            sent_name: intent.sent.name.map(Word),
            set_arguments: intent.sent.set,
            fence: fence(&principal.fence),
            decision: Word(intent.decision),
        }
    }
}

/// A fence in a line, cut to [`FENCE_CHARS`]; none where everything is allowed.
fn fence(fence: &Fence) -> Option<String> {
    (!fence.is_default()).then(|| cut(&fence.to_string(), FENCE_CHARS).to_owned())
}

#[derive(Serialize)]
pub(crate) struct DeniedBody<'a> {
    #[serde(flatten)]
    intent: IntentBody<'a>,
    ending: Ending,
    reason: Word<'a>,
    /// How often, this one included.
    count: u64,
}

impl<'a> DeniedBody<'a> {
    pub(crate) fn new(
        intent: &Intent<'a>,
        arguments_digest: Option<Hash>,
        reason: &'a str,
        count: u64,
    ) -> Self {
        let arguments = intent.arguments.within(DENIED_ARGUMENTS_BYTES);
        let intent = IntentBody { arguments, ..IntentBody::new(intent, arguments_digest) };
        Self { intent, ending: Ending::Denied, reason: Word(reason), count }
    }
}

#[derive(Serialize)]
pub(crate) struct OutcomeBody<'a> {
    intent: u64,
    ending: Ending,
    code: Option<Word<'a>>,
    message: Option<Message<'a>>,
    duration_ms: Option<u64>,
    result_digest: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Word<'a>>,
    /// Only where it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    bound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Hash>,
}

impl<'a> OutcomeBody<'a> {
    pub(crate) fn new(intent: u64, outcome: &Outcome<'a>) -> Self {
        Self {
            intent,
            ending: outcome.ending,
            code: outcome.code.map(Word),
            message: outcome.message.map(Message),
            duration_ms: outcome.duration_ms,
            result_digest: outcome.result_digest,
            result_bytes: outcome.result_bytes,
            instance: outcome.reached.map(|reached| Word(reached.instance)),
            bound: outcome.reached.is_some_and(|reached| reached.is_bound),
            bytes: outcome.moved.map(|moved| moved.bytes),
            sha256: outcome.moved.and_then(|moved| moved.sha256),
        }
    }
}

/// A record but for its place in the chain, which it gets in its turn: all that takes time is done before,
/// and so is reading the clocks.
#[derive(Debug)]
pub(crate) struct Draft(String);

impl Draft {
    /// Writes down a record.
    pub(crate) fn new<B: Serialize>(kind: RecordKind, body: &B) -> Self {
        let (kind, time, mono_ns) = (kind.as_str(), Timestamp::now(), monotonic_ns());
        let mut text = Vec::with_capacity(768);
        write!(text, r#"{{"type":"{kind}","time":"{time}","mono_ns":{mono_ns}"#).expect("memory takes it");
        let body_at = text.len();
        serde_json::to_writer(&mut text, body).expect("strings and numbers go into memory");
        // The body goes on where the stamp ends: every body is an object with members.
        text[body_at] = b',';
        Self(masked(escaped(String::from_utf8(text).expect("JSON is UTF-8"))))
    }

    /// Bytes of its line, without its place in the chain.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Appends its line, with its newline, as the record behind this one, and moves on to it.
    pub(crate) fn write_line(&self, line: &mut Vec<u8>, end: &mut End) {
        let start = line.len();
        end.seq = end.seq.saturating_add(1);
        write!(line, "{{\"seq\":{},\"node\":\"", end.seq).expect("memory takes it");
        end.node.push(line);
        write!(line, "\",\"epoch\":{},\"prev\":\"", end.epoch).expect("memory takes it");
        end.hash.push(line);
        line.extend_from_slice(b"\",");
        // Without the brackets around it: the last member is still to come.
        line.extend_from_slice(&self.0.as_bytes()[1..self.0.len() - 1]);
        end.hash = seal::close(line, start, seal::HASH, Hash::of);
    }
}

/// Nanoseconds since the machine started, which no change of the wall clock touches.
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A name, an id or a word: cut to [`WORD_CHARS`] when written.
struct Word<'a>(&'a str);

impl Serialize for Word<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(cut(self.0, WORD_CHARS))
    }
}

/// A sentence: cut to [`MESSAGE_CHARS`] when written.
struct Message<'a>(&'a str);

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(cut(self.0, MESSAGE_CHARS))
    }
}

/// The first characters of a text.
fn cut(text: &str, chars: usize) -> &str {
    if text.len() <= chars {
        return text;
    }
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests;
