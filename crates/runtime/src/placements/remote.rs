//! Instances that run elsewhere, at an address: nothing is started, and nothing ends.

use std::sync::Arc;

use hayward_api::definition::Transport;
use hayward_mcp::upstream::{BoxFuture, Connect};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::log::Log;
use crate::placement::{Access, Address, End, Order, Placement, PlacementError, Running};

/// Where instances run that run elsewhere.
#[derive(Clone, Debug)]
pub struct Remote {
    connect: Arc<dyn Connect>,
}

impl Remote {
    /// Instances that are reached over this.
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Self { connect }
    }

    fn access(&self, order: &Order) -> Result<Access, PlacementError> {
        let unfit = |what: &str| PlacementError::unfit("remote", what);
        let url = order.spec.external_url.as_deref().ok_or_else(|| unfit("it has no `externalUrl`"))?;
        let url = Url::parse(url).map_err(|error| unfit(&format!("`externalUrl` is no address: {error}")))?;
        let address = Address { connect: Arc::clone(&self.connect), url };
        match order.spec.transport {
            Some(Transport::Sse) => Ok(Access::Sse(address)),
            Some(Transport::StreamableHttp) | None => Ok(Access::Http(address)),
            Some(Transport::Stdio) => Err(unfit("an address has no standard input")),
        }
    }
}

impl Placement for Remote {
    fn start(&self, order: Order, stop: CancellationToken) -> BoxFuture<'_, Result<Running, PlacementError>> {
        Box::pin(async move {
            let access = self.access(&order)?;
            let log = Log::default();
            // What runs elsewhere says nothing here.
            log.close();
            let ended = Box::pin(async move {
                stop.cancelled().await;
                End::Stopped
            });
            Ok(Running { access, log, ended })
        })
    }
}
