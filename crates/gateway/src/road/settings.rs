//! Other settings for a road that is used: a new road beside it, with the same traffic.
//!
//! A call stays on the road on which it began, so it sees one set of settings. That they change, or were refused, is
//! recorded like everything that goes the road.

use std::sync::Arc;
use std::time::Duration;

use hayward_api::principal::PrincipalKind;
use hayward_api::{Code, Error, Principal, Source, Tier};
use hayward_mcp::json::Raw;
use hayward_tool::{ToolError, Toolset};
use serde::Serialize;

use super::routers::Routers;
use super::{Arrival, Beside, Fencing, Road, count};
use crate::limits::Limits;

/// What of a road can change while it is used.
pub struct RoadSettings<'a> {
    /// The lowest tier whose calls wait until their records are on the disk; the others wait until theirs are written.
    pub strict_from: Option<Tier>,
    /// The limits of the gateway.
    pub limits: &'a Limits,
    /// The limits of the contract with toolsets.
    pub tool_limits: &'a hayward_tool::limits::Limits,
    /// What tools take away from whoever calls them.
    pub fencing: Fencing,
}

impl Road {
    /// A road to these toolsets under these settings. What goes on here goes on there, too: what is held, counted, spent and
    /// recorded is one.
    #[must_use]
    pub fn under(&self, toolsets: Vec<Toolset>, settings: RoadSettings<'_>) -> Self {
        let RoadSettings { strict_from, limits, tool_limits, fencing } = settings;
        for toolset in &toolsets {
            toolset.changes.join(&self.changes);
        }
        let (upstreams, meters) = (Arc::clone(self.upstreams()), Arc::clone(&self.meters));
        Self {
            places: self.places.under(limits),
            routers: Routers::new(toolsets, upstreams, meters),
            changes: self.changes.clone(),
            credentials: Arc::clone(&self.credentials),
            policies: Arc::clone(&self.policies),
            recorder: self.recorder.under(strict_from, Duration::from_millis(limits.record_ms_max)),
            secrets: Arc::clone(&self.secrets),
            result_bytes_max: count(tool_limits.result_bytes_max),
            budget: self.budget.with_max(count(limits.held_bytes_max)),
            spent: Arc::clone(&self.spent),
            held_keys: Arc::clone(&self.held_keys),
            store: self.store.clone(),
            clock: self.clock,
            refused: Arc::clone(&self.refused),
            overrun: Duration::from_millis(limits.overrun_ms),
            fencing,
            meters: Arc::clone(&self.meters),
            spans: self.spans.clone(),
        }
    }

    /// Puts other settings in force, recorded around that: what changes is `changes`.
    ///
    /// # Errors
    /// The record can't be written; if that is so before anything changes, nothing does.
    pub async fn reconfigure(&self, changes: &impl Serialize, change: impl FnOnce()) -> Result<(), Error> {
        let arguments = Raw::of(changes).unwrap_or_else(|_| Raw::empty_object());
        let made = async {
            change();
            Ok(((), None))
        };
        self.recorder.around(&reload(arguments), made).await
    }

    /// Records that settings were refused, and why.
    pub async fn refuse_settings(&self, why: &str) {
        let error = ToolError::new("ConfigurationRefused", Code::Invalid, why);
        // If that fails, nothing was done, and the log says so.
        self.recorder.denied(&reload(Raw::empty_object()), None, error).await;
    }
}

/// What the record is told of other settings: whoever may write the files and signal the process wants them.
fn reload(arguments: Raw) -> Arrival {
    let operator =
        Principal { kind: PrincipalKind::Local, name: "operator".to_owned(), ..Principal::anonymous() };
    let who = (Arc::new(operator), Source::default(), Arc::default());
    Arrival::beside(Beside::CONFIG, who, "reload", arguments)
}
