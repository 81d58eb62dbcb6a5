//! Making tickets: what both directions have in common.

use std::time::Duration;

use hayward_api::Code;
use hayward_tool::ToolError;
use jiff::Timestamp;

use super::{Desk, Order};
use crate::limits::Limits;

/// A ticket as its maker gets it.
pub(crate) struct Minted {
    /// Where to redeem it.
    pub(crate) url: String,
    pub(crate) ticket: String,
    pub(crate) expires_in: u64,
    pub(crate) expires_at: String,
    /// The same address, complete if that is known for clients on this machine at least.
    pub(crate) reachable: String,
}

/// How long a ticket is good.
pub(crate) fn lifetime(given: Option<i64>, limits: &Limits) -> Result<Duration, ToolError> {
    let ttl_ms = match given {
        None => limits.transfer_ttl_ms,
        Some(seconds) if seconds > 0 => u64::try_from(seconds).unwrap_or(u64::MAX).saturating_mul(1_000),
        Some(_) => {
            let message = "expires_in must be positive.";
            return Err(ToolError::new("InvalidExpiresIn", Code::Invalid, message)
                .suggest("Leave it out, or say in how many seconds"));
        }
    };
    Ok(Duration::from_millis(ttl_ms.min(limits.transfer_ttl_ms_max)))
}

/// Makes a ticket.
pub(crate) fn mint(desk: &Desk, order: Order, ttl: Duration) -> Result<Minted, ToolError> {
    let ticket = desk.tickets.make(order, ttl, desk.tickets_max)?;
    let (path, config) = (format!("/files/raw/{ticket}"), &desk.config);
    let complete = |base: &Option<String>| base.as_ref().map(|base| format!("{base}{path}"));
    let url = complete(&config.public_url);
    let reachable = url.clone().or_else(|| complete(&config.local_url)).unwrap_or_else(|| path.clone());
    let expires_at = Timestamp::now() + ttl;
    Ok(Minted {
        url: url.unwrap_or(path),
        ticket: ticket.to_string(),
        expires_in: ttl.as_secs(),
        expires_at: expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        reachable,
    })
}

/// There is no way to redeem a ticket.
pub(crate) fn switched_off() -> ToolError {
    let message = "File transfer is disabled on this server.";
    ToolError::new("TransferDisabled", Code::Unavailable, message)
        .suggest("Use read_file and write_file, or a command that fetches the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_positive_and_cut_to_what_the_server_allows() {
        let limits = Limits::default();
        let seconds = |given| lifetime(given, &limits).map(|ttl| ttl.as_secs());
        assert_eq!((seconds(None).unwrap(), seconds(Some(1)).unwrap()), (300, 1));
        assert_eq!((seconds(Some(9_999)).unwrap(), seconds(Some(i64::MAX)).unwrap()), (900, 900));
        for bad in [0, -1, i64::MIN] {
            assert_eq!(seconds(Some(bad)).unwrap_err().message, "expires_in must be positive.");
        }
    }
}
