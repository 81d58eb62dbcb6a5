//! What a client wants to hear while its call runs.

use std::sync::Arc;

use hayward_audit::secrets::Redaction;
use hayward_mcp::envelope::Frame;
use hayward_mcp::json::{ObjectWriter, Raw};
use hayward_mcp::logging::LogLevel;
use hayward_tool::Progress;

use crate::road::redact;

/// What a client wants to hear while its call runs.
pub(super) struct Wishes {
    pub(super) progress_token: Option<Raw>,
    pub(super) log_level: Option<LogLevel>,
    /// Whether it can be sent away and come back.
    pub(super) can_come_back: bool,
    /// What it is not shown.
    pub(super) redaction: Arc<Redaction>,
}

/// Something that a client is told meanwhile.
pub(super) enum Notice {
    Message(Frame),
    Rest { retry_ms: u64 },
}

impl Wishes {
    pub(super) fn is_any(&self) -> bool {
        self.progress_token.is_some() || self.log_level.is_some() || self.can_come_back
    }

    /// Progress as the client wants to hear it; none if it doesn't.
    pub(super) fn notice(&self, progress: Progress) -> Option<Notice> {
        match redact::progress(&self.redaction, progress) {
            Progress::Step { progress, total, message } => self.step(progress, total, message.as_deref()),
            Progress::Log { level, logger, data } => self.log(&level, logger.as_deref(), &data),
            Progress::Rest { retry_ms } => self.can_come_back.then_some(Notice::Rest { retry_ms }),
        }
    }

    fn step(&self, progress: f64, total: Option<f64>, message: Option<&str>) -> Option<Notice> {
        let mut params = ObjectWriter::new(120)
            .raw("progressToken", self.progress_token.as_ref()?)
            .raw("progress", &Raw::of(&progress).ok()?);
        if let Some(total) = total {
            params = params.raw("total", &Raw::of(&total).ok()?);
        }
        if let Some(message) = message {
            params = params.str("message", message);
        }
        Some(Notice::Message(Frame::notification("notifications/progress", &params.end())))
    }

    fn log(&self, level: &str, logger: Option<&str>, data: &Raw) -> Option<Notice> {
        let is_wanted = LogLevel::find(level)? >= self.log_level?;
        let mut params = ObjectWriter::new(data.as_bytes().len() + 80).str("level", level);
        if let Some(logger) = logger {
            params = params.str("logger", logger);
        }
        let message = || Frame::notification("notifications/message", &params.raw("data", data).end());
        is_wanted.then(|| Notice::Message(message()))
    }
}
