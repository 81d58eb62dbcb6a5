//! A text that comes in pieces: a file, the output of a process, a body.
//!
//! What comes out is what would come out of the whole text at once, wherever the pieces are cut. Held back is what
//! may be the beginning of a secret and a few bytes around it, or the line that isn't through if rules are asked;
//! a private key is held back up to its end. No more than [`STREAM_HELD_BYTES`] are ever held back: a secret
//! that is spread over more, by control sequences between its characters, isn't found.

use std::sync::Arc;

use memchr::{memmem, memrchr};

use super::Redaction;
use super::rules::RuleSet;
use super::span::{SLACK, Span, char_start, replaced};
use super::view::View;
use crate::limits::{KEY_BLOCK_BYTES, RULE_BYTES, STREAM_HELD_BYTES};

/// Redacts a text that comes in pieces.
pub struct Redactor {
    redaction: Arc<Redaction>,
    rules: RuleSet,
    held: Vec<u8>,
}

impl Redactor {
    /// A redactor for one text. It keeps to the secrets of this moment.
    pub fn new(redaction: Arc<Redaction>, rules: RuleSet) -> Self {
        Self { redaction, rules, held: Vec::new() }
    }

    /// Takes a piece and returns what can be given on, which ends between two characters.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let mut spans = self.redaction.spans(&self.held, self.rules);
        let border = self.border(&spans);
        spans.truncate(spans.partition_point(|span| span.range.start < border));
        let out = replaced(&self.held[..border], &spans);
        self.held.drain(..border);
        out
    }

    /// What is left when the text is through.
    pub fn finish(mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.redaction.redact_bytes(&held, self.rules).into_owned()
    }

    /// How many bytes can be given on.
    fn border(&self, spans: &[Span]) -> usize {
        let (text, views) = (self.held.as_slice(), Views::of(&self.held));
        let mut border = self.open(&views);
        loop {
            let before = border;
            border = views.whole(char_start(text, self.line_start(border)));
            // The end of a span isn't sure as long as there may be more of it.
            let is_open = |span: &&Span| {
                let end = span.range.end;
                span.range.start < border && (border < end || text.len() < end + SLACK)
            };
            border = spans.iter().find(is_open).map_or(border, |span| span.range.start.min(border));
            if border == before {
                break;
            }
        }
        if text.len() - border > STREAM_HELD_BYTES { forced_border(text, spans) } else { border }
    }

    /// Where something begins that may be a secret and isn't through.
    fn open(&self, views: &Views) -> usize {
        let text = self.held.as_slice();
        let secret = self.redaction.open(text, views);
        let secret = if secret < text.len() { secret.saturating_sub(SLACK) } else { secret };
        if self.rules.is_empty() { secret } else { secret.min(open_block(text).unwrap_or(text.len())) }
    }

    /// With rules, where the line begins; a line that is too long for a rule is cut.
    fn line_start(&self, border: usize) -> usize {
        if self.rules.is_empty() {
            return border;
        }
        let start = memrchr(b'\n', &self.held[..border]).map_or(0, |at| at + 1);
        start.max(self.held.len().saturating_sub(RULE_BYTES).min(border))
    }
}

/// How the last line of a private key begins.
const END: &[u8] = b"-----END ";

/// Where the last private key begins that isn't through and isn't too long.
fn open_block(text: &[u8]) -> Option<usize> {
    let start = memmem::rfind(text, b"-----BEGIN ")?;
    let end = memmem::find(&text[start..], END).map(|at| start + at + END.len());
    let is_through = end.is_some_and(|end| memmem::find(&text[end..], b"-----").is_some());
    (!is_through && text.len() - start < KEY_BLOCK_BYTES).then_some(start)
}

/// The border if too much is held: half of what may be held stays, unless a span is in the way.
fn forced_border(text: &[u8], spans: &[Span]) -> usize {
    let border = char_start(text, text.len() - STREAM_HELD_BYTES / 2);
    spans.iter().find(|span| span.range.contains(&border)).map_or(border, |span| span.range.end)
}

/// The views of a text: as it reads, and as that reads.
#[derive(Default)]
pub(super) struct Views {
    pub(super) once: Option<View>,
    pub(super) twice: Option<View>,
}

impl Views {
    pub(super) fn of(text: &[u8]) -> Self {
        let once = View::of(text);
        let twice = once.as_ref().and_then(|once| View::of(once.bytes()));
        Self { once, twice }
    }

    /// Where the thing begins in the text, at the latest, that this offset stands in the middle of.
    fn whole(&self, mut at: usize) -> usize {
        let Some(once) = &self.once else { return at };
        loop {
            let (start, in_once) = once.whole(at);
            let whole = self.twice.as_ref().map_or(in_once, |twice| twice.whole(in_once).0);
            let back = if whole < in_once { once.text_start(whole) } else { start };
            if back >= at {
                return start.min(at);
            }
            at = back;
        }
    }
}
