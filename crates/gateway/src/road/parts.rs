//! What a road is built with.

use std::sync::Arc;
use std::time::Duration;

use hayward_api::Tier;
use hayward_audit::Log;
use hayward_audit::secrets::Secrets;
use hayward_auth::{Credentials, Policies};
use hayward_store::Store;
use hayward_telemetry::metrics::Meters;
use hayward_telemetry::otlp::Spans;
use hayward_tool::{Changes, Toolset};

use super::clock::Clock;
use super::places::Places;
use super::record::Recorder;
use super::routers::Routers;
use super::{Fencing, Road, meter};
use crate::budget::Budget;
use crate::limits::Limits;
use crate::upstreams::Upstreams;

/// What a road is built with.
pub struct RoadParts<'a> {
    /// Where every call is recorded.
    pub record: Log,
    /// The lowest tier whose calls wait until their records are on the disk; the others wait until theirs are written.
    pub strict_from: Option<Tier>,
    /// The secrets that no reply and no record shows.
    pub secrets: Arc<Secrets>,
    /// Keeps what came of calls that are made once.
    pub store: Store,
    /// Who has which credential, at this moment.
    pub credentials: Arc<Credentials>,
    /// What rules grant, at this moment; whoever follows the store replaces it.
    pub policies: Arc<Policies>,
    /// Servers of others.
    pub upstreams: Arc<Upstreams>,
    /// The limits of the gateway.
    pub limits: &'a Limits,
    /// The limits of the contract with toolsets.
    pub tool_limits: &'a hayward_tool::limits::Limits,
    /// What tools take away from whoever calls them.
    pub fencing: Fencing,
    /// Where everything is counted.
    pub meters: Arc<Meters>,
    /// Where calls are told as spans, if they are.
    pub spans: Option<Arc<Spans>>,
}

impl Road {
    /// A road to these toolsets; on a collision of names the first one wins.
    pub fn new(toolsets: Vec<Toolset>, parts: RoadParts<'_>) -> Self {
        let limits = parts.limits;
        let changes = Changes::default();
        for toolset in &toolsets {
            toolset.changes.join(&changes);
        }
        parts.upstreams.changes().join(&changes);
        let clock = Clock::start();
        meter::observe_tokens(&parts.meters, &parts.credentials, &clock);
        Self {
            places: Places::new(limits),
            routers: Routers::new(toolsets, parts.upstreams, Arc::clone(&parts.meters)),
            changes,
            credentials: parts.credentials,
            policies: parts.policies,
            recorder: Recorder::new(
                parts.record,
                Arc::clone(&parts.secrets),
                parts.strict_from,
                Duration::from_millis(limits.record_ms_max),
            )
            .counting(Arc::clone(&parts.meters)),
            secrets: parts.secrets,
            result_bytes_max: count(parts.tool_limits.result_bytes_max),
            budget: Budget::new(count(limits.held_bytes_max)),
            spent: Arc::default(),
            store: parts.store,
            held_keys: Arc::default(),
            clock,
            refused: Arc::default(),
            overrun: Duration::from_millis(limits.overrun_ms),
            fencing: parts.fencing,
            meters: parts.meters,
            spans: parts.spans,
        }
    }
}

pub(super) fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
