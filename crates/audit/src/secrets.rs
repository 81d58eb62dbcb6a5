//! Secrets never leave: what we hold, and what looks like a secret, becomes a tag before it reaches the record,
//! a log, a label or a result.
//!
//! ```text
//!  Secrets ─► Redaction (one moment's secrets, shared) ─► redact, redact_json, Redactor (in pieces)
//!               text ─┬─► matcher: every form of every secret that is held ─┐
//!                     ├─► views: the same, as the text reads                ├─► spans ─► tags
//!                     └─► rules: what looks like a secret                   ┘
//! ```
//!
//! What is held is found in any of its [`encodings`], however the text is cut, and always. What looks like a
//! secret is found by [rules](RuleSet), which can be switched off one by one, for results. A tag in what is to be
//! written says that a secret would be lost by writing it: [`contains_tag`].
//!
//! Not found: a secret that was changed in other ways than those (compressed, encrypted, reversed, split over two
//! calls), and a part of one that is shorter than a piece or a line of it.
//!
//! Values are wiped when they are dropped. The automaton that looks for them holds them in another form, which
//! can't be wiped; it is freed when nobody reads it any more.

mod encodings;
mod json;
mod matcher;
mod prefilter;
mod rules;
mod span;
mod stream;
mod tag;
#[cfg(test)]
mod tests;
mod view;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use crate::limits::{
    SCRATCH_BYTES, SECRET_BYTES_MAX, SECRET_BYTES_MIN, SECRET_VARIETY_MIN, SECRETS_BYTES, SECRETS_HELD,
};
use encodings::Edges;
use matcher::Matcher;
use span::{Span, merged, replaced, whole};
use stream::Views;

pub use rules::RuleSet;
pub use stream::Redactor;
pub use tag::{TagKey, contains_tag};

/// Why a secret can't be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It would be found by chance, in texts that don't hold it.
    #[error(
        "the secret has {bytes} bytes, and at least {SECRET_BYTES_MIN} are needed to tell it from other text"
    )]
    TooShort {
        /// How many bytes it has, not counting line breaks and white space around it.
        bytes: usize,
    },
    /// It is longer than any secret.
    #[error("the secret has {bytes} bytes, and at most {SECRET_BYTES_MAX} are looked for")]
    TooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// It repeats a few characters, as a ruler does.
    #[error("the secret has fewer than {SECRET_VARIETY_MIN} different bytes, as rulers and blanks have")]
    TooPlain,
    /// There are too many.
    #[error(
        "no more than {SECRETS_HELD} secrets, and no more than {SECRETS_BYTES} bytes of them, can be held"
    )]
    TooMany,
}

/// A secret that we hold: a name that may be shown and a value that may not. It is wiped when it is dropped, and
/// can be neither printed nor serialized.
pub struct Secret {
    name: String,
    value: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// A secret of this name. White space around it is no part of it, since it may be shown without. What is too
    /// short or too plain can't be told from other text: it is refused, and the caller decides what then.
    pub fn new(name: &str, value: &[u8]) -> Result<Self, SecretError> {
        let value = value.trim_ascii();
        if value.len() > SECRET_BYTES_MAX {
            return Err(SecretError::TooLong { bytes: value.len() });
        }
        let bytes = Zeroizing::new(view::without_controls(value)).len();
        if bytes < SECRET_BYTES_MIN {
            return Err(SecretError::TooShort { bytes });
        }
        let mut seen = [false; 256];
        for byte in value {
            seen[usize::from(*byte)] = true;
        }
        if seen.into_iter().filter(|seen| *seen).count() < SECRET_VARIETY_MIN {
            return Err(SecretError::TooPlain);
        }
        Ok(Self { name: name.to_owned(), value: Zeroizing::new(value.to_vec()) })
    }
}

/// All secrets that we hold. Whoever reads takes what is held at this moment and waits for nobody; whoever
/// changes it builds the next automaton before it is put in place, which may take a second.
pub struct Secrets {
    key: Arc<TagKey>,
    held: Mutex<Held>,
    current: ArcSwap<Redaction>,
}

/// Values by name. A name has several while one takes over from another.
type Held = BTreeMap<String, Vec<Arc<Secret>>>;

impl Secrets {
    /// No secrets, and the key from which tags follow.
    pub fn new(key: TagKey) -> Self {
        let key = Arc::new(key);
        let none = Redaction { key: Arc::clone(&key), tags: Vec::new(), matcher: None };
        Self { key, held: Mutex::default(), current: ArcSwap::from_pointee(none) }
    }

    /// What is held at this moment.
    pub fn current(&self) -> Arc<Redaction> {
        self.current.load_full()
    }

    /// Holds these, too. A name that is held already has both values from now on.
    pub fn hold(&self, secrets: impl IntoIterator<Item = Secret>) -> Result<(), SecretError> {
        self.change(|held| {
            for secret in secrets {
                let values = held.entry(secret.name.clone()).or_default();
                if values.iter().all(|it| it.value != secret.value) {
                    values.push(Arc::new(secret));
                }
            }
        })
    }

    /// Holds every value of these names no longer.
    pub fn release<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<(), SecretError> {
        self.change(|held| names.into_iter().for_each(|name| drop(held.remove(name))))
    }

    /// Holds these and no others.
    pub fn replace(&self, secrets: impl IntoIterator<Item = Secret>) -> Result<(), SecretError> {
        self.change(|held| {
            held.clear();
            for secret in secrets {
                held.entry(secret.name.clone()).or_default().push(Arc::new(secret));
            }
        })
    }

    /// Of all names that begin so, holds these and no others.
    pub fn replace_under(
        &self,
        beginning: &str,
        secrets: impl IntoIterator<Item = Secret>,
    ) -> Result<(), SecretError> {
        self.change(|held| {
            held.retain(|name, _| !name.starts_with(beginning));
            for secret in secrets {
                held.entry(secret.name.clone()).or_default().push(Arc::new(secret));
            }
        })
    }

    /// Makes a change, all of it or nothing.
    fn change(&self, change: impl FnOnce(&mut Held)) -> Result<(), SecretError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = held.clone();
        change(&mut next);
        let redaction = Redaction::new(Arc::clone(&self.key), &next)?;
        self.current.store(Arc::new(redaction));
        *held = next;
        Ok(())
    }
}

/// The secrets of one moment, ready to be found.
pub struct Redaction {
    key: Arc<TagKey>,
    tags: Vec<Box<str>>,
    matcher: Option<Matcher>,
}

impl Redaction {
    fn new(key: Arc<TagKey>, held: &Held) -> Result<Self, SecretError> {
        let secrets: Vec<_> = held.values().flatten().collect();
        let bytes: usize = secrets.iter().map(|secret| secret.value.len()).sum();
        if secrets.len() > SECRETS_HELD || bytes > SECRETS_BYTES {
            return Err(SecretError::TooMany);
        }
        let tag = |secret: &&Arc<Secret>| key.tag(&secret.name, &secret.value).into_boxed_str();
        let tags = secrets.iter().map(tag).collect();
        let forms: Vec<_> = secrets.iter().map(|secret| encodings::forms(&secret.value)).collect();
        let matcher = match forms.as_slice() {
            [] => None,
            forms => Some(Matcher::new(forms).ok_or(SecretError::TooMany)?),
        };
        Ok(Self { key, tags, matcher })
    }

    /// The text with tags in the place of secrets; the text itself if there are none.
    pub fn redact<'t>(&self, text: &'t str, rules: RuleSet) -> Cow<'t, str> {
        match self.redact_bytes(text.as_bytes(), rules) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(text_of(bytes)),
        }
    }

    /// The same for bytes, which needn't be UTF-8 and are as valid as before.
    pub fn redact_bytes<'t>(&self, text: &'t [u8], rules: RuleSet) -> Cow<'t, [u8]> {
        match self.spans(text, rules).as_slice() {
            [] => Cow::Borrowed(text),
            spans => Cow::Owned(replaced(text, spans)),
        }
    }

    /// The same for a JSON text, which stays JSON: a number that is a secret becomes a string. What isn't JSON is
    /// redacted as any text.
    pub fn redact_json<'t>(&self, text: &'t str, rules: RuleSet) -> Cow<'t, str> {
        let spans = self.spans(text.as_bytes(), rules);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let redacted = json::replaced(text, &spans);
        Cow::Owned(redacted.unwrap_or_else(|| text_of(replaced(text.as_bytes(), &spans))))
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.matcher.is_none()
    }

    /// Bytes that the automaton and what belongs to it take.
    pub fn bytes(&self) -> usize {
        self.matcher.as_ref().map_or(0, Matcher::bytes)
    }

    /// What is to go from this text, in order.
    fn spans(&self, text: &[u8], rules: RuleSet) -> Vec<Span> {
        let mut spans = self.held_spans(text);
        spans.extend(self.rule_spans(text, rules));
        merged(spans)
    }

    fn held_spans(&self, text: &[u8]) -> Vec<Span> {
        let Some(matcher) = &self.matcher else { return Vec::new() };
        let mut found = Vec::new();
        // Nearly no text holds a secret, so where something comes from is asked only if there is something.
        let views = if reads_as_secret(matcher, text) { Views::of(text) } else { Views::default() };
        if let (Some(once), Some(twice)) = (&views.once, &views.twice) {
            found.extend(matcher.find(twice.bytes()).into_iter().map(|mut it| {
                it.range = once.text_range(twice.text_range(it.range));
                it
            }));
        }
        if let Some(once) = &views.once {
            found.extend(matcher.find(once.bytes()).into_iter().map(|mut it| {
                it.range = once.text_range(it.range);
                it
            }));
        }
        found.extend(matcher.find(text));
        let span = |it: matcher::Found| Span {
            range: whole(text, it.range, it.edges),
            tag: self.tags[it.secret].clone(),
            is_held: true,
        };
        found.into_iter().map(span).collect()
    }

    fn rule_spans(&self, text: &[u8], rules: RuleSet) -> Vec<Span> {
        let hits = rules::hits(text, rules);
        if hits.is_empty() {
            return Vec::new();
        }
        // A tag is no secret, whatever it looks like.
        let tags: Vec<_> = tag::tags(text).collect();
        let is_tag = |hit: &rules::Hit| {
            let after = tags.partition_point(|tag| tag.end <= hit.range.start);
            tags.get(after).is_some_and(|tag| tag.start < hit.range.end)
        };
        let span = |hit: rules::Hit| Span {
            tag: self.key.tag(hit.rule, &text[hit.range.clone()]).into_boxed_str(),
            range: whole(text, hit.range, Edges::default()),
            is_held: false,
        };
        hits.into_iter().filter(|hit| !is_tag(hit)).map(span).collect()
    }

    /// Where in this text something begins that may be a secret that is held and isn't through.
    fn open(&self, text: &[u8], views: &Views) -> usize {
        let Some(matcher) = &self.matcher else { return text.len() };
        let mut open = matcher.open(text);
        if let Some(once) = &views.once {
            let settled = once.before(once.open());
            open = open.min(once.open()).min(once.text_start(matcher.open(settled)));
            if let Some(twice) = &views.twice {
                let open_in_once = twice.open().min(settled.len());
                let in_once = twice.text_start(matcher.open(twice.before(open_in_once)));
                open = open.min(once.text_start(in_once.min(open_in_once)));
            }
        }
        open
    }
}

/// Whether a form stands in a text as it reads, or as that reads.
fn reads_as_secret(matcher: &Matcher, text: &[u8]) -> bool {
    thread_local! {
        /// Kept from text to text: fresh memory costs more than what is done with it.
        static SCRATCH: RefCell<[Vec<u8>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let [once, twice] = scratch;
        let has_any = view::read_otherwise(text, once)
            && (matcher.has_any(once) || view::read_otherwise(once, twice) && matcher.has_any(twice));
        for bytes in scratch {
            bytes.clear();
            bytes.shrink_to(SCRATCH_BYTES);
        }
        has_any
    })
}

/// Redacted UTF-8, which is UTF-8.
fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
