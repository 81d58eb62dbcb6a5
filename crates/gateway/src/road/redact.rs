//! Before a reply leaves (step 9) and before anything is recorded: no secret that we hold goes along.
//!
//! In what a client is told, secrets that are held are replaced by their tags. In the record, whatever looks like a
//! secret is, too. A tag that comes back in the arguments of something that has an effect is refused: whoever writes
//! back what it has read redacted would destroy the secret.

use std::borrow::Cow;

use hayward_api::Code;
use hayward_audit::secrets::{Redaction, RuleSet, contains_tag};
use hayward_mcp::json::Raw;
use hayward_tool::{Progress, Reply, ToolError};

/// What a client is told, without secrets that are held.
pub(super) fn reply(redaction: &Redaction, reply: Reply) -> Reply {
    if redaction.is_empty() {
        return reply;
    }
    match reply {
        Reply::Result(result) => Reply::Result(raw(redaction, result)),
        Reply::Error { code, message, data } => Reply::Error {
            code,
            message: text(redaction, message),
            data: data.map(|data| raw(redaction, data)),
        },
        Reply::Ask { mut requests, state } => {
            for request in &mut requests {
                request.params = raw(redaction, request.params.clone());
            }
            Reply::Ask { requests, state }
        }
        Reply::GoOn { state } => Reply::GoOn { state },
    }
}

/// What a client is told meanwhile, without secrets that are held.
pub(crate) fn progress(redaction: &Redaction, told: Progress) -> Progress {
    if redaction.is_empty() {
        return told;
    }
    match told {
        Progress::Step { progress, total, message } => {
            Progress::Step { progress, total, message: message.map(|message| text(redaction, message)) }
        }
        Progress::Log { level, logger, data } => Progress::Log { level, logger, data: raw(redaction, data) },
        Progress::Rest { retry_ms } => Progress::Rest { retry_ms },
    }
}

/// A text as the record may hold it.
pub(super) fn recorded<'t>(redaction: &Redaction, text: &'t str) -> Cow<'t, str> {
    redaction.redact(text, RuleSet::ALL)
}

/// Arguments (JSON text) as the record may hold them.
pub(super) fn recorded_json<'t>(redaction: &Redaction, text: &'t str) -> Cow<'t, str> {
    redaction.redact_json(text, RuleSet::ALL)
}

/// Refuses arguments that carry a tag of ours.
pub(super) fn check(arguments: &Raw) -> Result<(), ToolError> {
    if !contains_tag(arguments.as_bytes()) {
        return Ok(());
    }
    let message = "the arguments hold a tag that stands for a secret (`[redacted:…]`); nothing was done";
    Err(ToolError::new("ContainsRedaction", Code::Invalid, message).suggest(
        "leave the part that was redacted as it is: edit other lines, or let a person write the secret",
    ))
}

pub(crate) fn text(redaction: &Redaction, text: String) -> String {
    match redaction.redact(&text, RuleSet::NONE) {
        Cow::Borrowed(_) => text,
        Cow::Owned(redacted) => redacted,
    }
}

pub(crate) fn raw(redaction: &Redaction, raw: Raw) -> Raw {
    match redaction.redact_json(raw.as_str(), RuleSet::NONE) {
        Cow::Borrowed(_) => raw,
        // It stays JSON; should it ever not, nothing of it leaves.
        Cow::Owned(redacted) => {
            Raw::parse(redacted, hayward_mcp::limits::JSON).unwrap_or_else(|_| Raw::empty_object())
        }
    }
}
