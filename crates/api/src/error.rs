//! The closed set of error codes, and the error that crosses crates.
//!
//! Each border (REST, JSON-RPC, CLI) maps [`Code`] exhaustively, without a wildcard,
//! so that a new code can't be forgotten anywhere.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong, in the words that every border understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request itself is wrong; repeating it can't help. The caller corrects it.
    Invalid,
    /// No valid credential. The caller logs in or sends a token.
    Unauthenticated,
    /// The credential is good and may not do this. An administrator has to grant it.
    Forbidden,
    /// Nothing of that name that the caller may see.
    NotFound,
    /// The thing changed since the caller read it. The caller reads it again and retries.
    Conflict,
    /// A thing of that name is there already.
    AlreadyExists,
    /// A body, argument or result passed its limit. The caller sends or asks for less.
    TooLarge,
    /// Too many requests. The caller waits as long as it is told.
    RateLimited,
    /// Understood, and not offered here.
    Unsupported,
    /// Can't serve now; nothing has happened. The caller retries after a while.
    Unavailable,
    /// The deadline passed. Part of the work may have happened.
    Timeout,
    /// A server behind us failed.
    UpstreamFailed,
    /// A defect of ours. The log holds the details.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::AlreadyExists,
        Self::TooLarge,
        Self::RateLimited,
        Self::Unsupported,
        Self::Unavailable,
        Self::Timeout,
        Self::UpstreamFailed,
        Self::Internal,
    ];

    /// The word that is used in answers and in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::AlreadyExists => "already_exists",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::UpstreamFailed => "upstream_failed",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status of this code on our own REST routes (RFC 9110).
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict | Self::AlreadyExists => 409,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::Unsupported => 501,
            Self::UpstreamFailed => 502,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The exit code of a command that failed with this code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::NotFound => 3,
            Self::Unauthenticated | Self::Forbidden => 4,
            Self::Unavailable | Self::Timeout | Self::RateLimited | Self::UpstreamFailed => 5,
            Self::Invalid
            | Self::Conflict
            | Self::AlreadyExists
            | Self::TooLarge
            | Self::Unsupported
            | Self::Internal => 1,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error with a code, a message for the caller, and what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure it is.
    pub code: Code,
    /// What happened, for the caller. Never holds a secret or an inner detail.
    pub message: String,
    /// What the caller can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The member of a document that is wrong, e.g. `env[0].valueFrom.secretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What the log should say beside the message. Never leaves the process.
    #[serde(skip)]
    pub detail: Option<String>,
}

impl Error {
    /// An error without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, field: None, detail: None }
    }

    /// The same error with the way out.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error of this member of a document. Where it says another one already, that one lies below this.
    #[must_use]
    pub fn at(mut self, field: &str) -> Self {
        self.field = Some(match self.field.take() {
            Some(below) if below.starts_with('[') || field.is_empty() => format!("{field}{below}"),
            Some(below) => format!("{field}.{below}"),
            None => field.to_owned(),
        });
        self
    }

    /// The same error with a detail for the log.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// An error with all that led to it, in one line.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// The one of `candidates` that is meant by a misspelt `word`, if one is close enough; else the only one that ends in it.
///
/// Close enough is an edit distance of at most a third of the word (at least one).
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a novel, and comparing one would take its time.
    let length = Some(word.chars().count()).filter(|length| *length <= WORD_CHARS_MAX)?;
    let budget = (length / 3).max(1);
    let is_end = |candidate: &str| {
        let from = candidate.len().checked_sub(word.len()).filter(|_| length >= END_CHARS_MIN);
        from.and_then(|from| candidate.get(from..)).is_some_and(|end| end.eq_ignore_ascii_case(word))
    };
    let (mut closest, mut ends) = (None, Vec::new());
    for candidate in candidates {
        if is_end(candidate) {
            ends.push(candidate);
        }
        // Bytes are at least as many as characters, and at most four times as many.
        if candidate.len() > (length + budget) * 4 {
            continue;
        }
        let distance = edit_distance(word, candidate);
        if distance <= budget && closest.is_none_or(|(least, _)| distance < least) {
            closest = Some((distance, candidate));
        }
    }
    let only_end = if let [end] = *ends { Some(end) } else { None };
    closest.map(|(_, candidate)| candidate).or(only_end)
}

/// Characters that a word has at least, for what ends in it to be meant by it.
const END_CHARS_MIN: usize = 4;

/// Characters of a word that is compared with others.
const WORD_CHARS_MAX: usize = 64;

/// Levenshtein distance in characters, case folded.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status_and_a_failing_exit_code() {
        for code in Code::ALL {
            assert!((400..600).contains(&code.http_status()), "{code}");
            assert_ne!(code.exit_code(), 0, "{code}");
        }
    }

    #[test]
    fn exit_codes_are_those_that_scripts_rely_on() {
        let with = |exit: u8| -> Vec<Code> {
            Code::ALL.into_iter().filter(|code| code.exit_code() == exit).collect()
        };
        assert_eq!(with(3), [Code::NotFound]);
        assert_eq!(with(4), [Code::Unauthenticated, Code::Forbidden]);
        assert_eq!(with(5), [Code::RateLimited, Code::Unavailable, Code::Timeout, Code::UpstreamFailed]);
        // Usage and bad configuration are known before anything is done, and are no codes.
        assert_eq!(with(2).len() + with(78).len(), 0);
    }

    #[test]
    fn a_near_miss_is_suggested_and_a_stranger_is_not() {
        let words = ["command", "timeout", "working_dir"];
        assert_eq!(did_you_mean("comand", words), Some("command"));
        assert_eq!(did_you_mean("Timeout", words), Some("timeout"));
        assert_eq!(did_you_mean("workdir", words), None);
        assert_eq!(did_you_mean("banana", words), None);
        let words = ["dockerImage", "notes_search", "files_search", "files_gr\u{fc}n"];
        assert_eq!(did_you_mean("image", words), Some("dockerImage"));
        assert_eq!(did_you_mean("gr\u{fc}n", words), Some("files_gr\u{fc}n"));
        assert_eq!(did_you_mean("search", words), None, "two end in it");
        assert_eq!((did_you_mean("age", words), did_you_mean("", words)), (None, None), "too short");
        assert_eq!(did_you_mean("docker", words), None);
        let novel = "timeout".repeat(1_000_000);
        assert_eq!(did_you_mean(&novel, [novel.as_str()]), None);
    }
}
