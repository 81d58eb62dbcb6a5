//! What a server says of a call before it answers, on its way to the client.

use hayward_mcp::json::{Object, Raw};
use hayward_tool::Progress;

use super::Calling;
use crate::limits::LOG_DATA_BYTES_MAX;
use crate::upstreams::answer;

impl Calling<'_> {
    /// Tells how far it is.
    pub(super) fn tell_progress(&self, params: &Raw) {
        let Some(params) = Object::of(params) else { return };
        let number = |key: &str| params.get(key).and_then(|raw| raw.view::<f64>().ok());
        let Some(progress) = number("progress") else { return };
        let message = params.get_str("message").map(|message| answer::cleaned(&message));
        self.cx.report(Progress::Step { progress, total: number("total"), message });
    }

    /// Tells what it logs.
    pub(super) fn tell_log(&self, params: Option<&Raw>) {
        let Some(params) = params.and_then(Object::of) else { return };
        let (Some(level), Some(data)) = (params.get_str("level"), params.get("data")) else { return };
        if data.as_bytes().len() > LOG_DATA_BYTES_MAX {
            return;
        }
        let logger = params.get_str("logger").map(|logger| answer::cleaned(&logger));
        self.cx.report(Progress::Log { level: level.into_owned(), logger, data });
    }
}
