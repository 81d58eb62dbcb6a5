//! Connections for the road, from the fleet of this node.

use std::sync::{Arc, OnceLock, Weak};

use hayward_gateway::upstreams::{Away, Link, Links, Owner, Upstreams};
use hayward_mcp::upstream::{Upstream, UpstreamError};
use hayward_runtime::Fleet;
use hayward_runtime::fleet::{InFlight, Instance, State};
use hayward_runtime::placement::End;
use hayward_tool::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::connections::Connections;
use crate::limits::{BEGIN_PATIENCE, START_PATIENCE};

/// Connections to what the fleet runs.
pub(super) struct FleetLinks {
    fleet: Arc<Fleet>,
    /// Those of one owner each.
    connections: Connections,
    upstreams: OnceLock<Weak<Upstreams>>,
}

impl FleetLinks {
    pub(super) fn new(fleet: Arc<Fleet>) -> Self {
        Self { connections: Connections::new(Arc::clone(&fleet)), fleet, upstreams: OnceLock::new() }
    }

    /// Tells what servers say on connections of one owner there.
    pub(super) fn tell(&self, upstreams: &Arc<Upstreams>) {
        // It is told once.
        self.upstreams.set(Arc::downgrade(upstreams)).ok();
    }

    /// Ends connections that nobody uses, until it is closed.
    pub(super) async fn sweep(&self) {
        self.connections.sweep().await;
    }

    /// Ends all connections of one owner each.
    pub(super) async fn close(&self) {
        self.connections.close().await;
    }

    /// Waits for an instance that runs, or for the reason why there is none.
    async fn instance(&self, server: &str) -> Result<Arc<Instance>, Away> {
        let (begun, mut changed) = (Instant::now(), self.fleet.changed());
        loop {
            changed.mark_unchanged();
            if let Some(instance) = self.fleet.pick(server) {
                return Ok(instance);
            }
            let (is_coming, why) = self.state_of(server);
            let until = begun + if is_coming { START_PATIENCE } else { BEGIN_PATIENCE };
            let is_over = why.is_some() && !is_coming;
            if is_over || timeout_at(until, changed.changed()).await.is_err() {
                let why = why.unwrap_or_else(|| "no instance of it runs".to_owned());
                return Err(Away { why, is_full: false });
            }
        }
    }

    /// Whether an instance is about to run, and what is the matter with those that there are.
    fn state_of(&self, server: &str) -> (bool, Option<String>) {
        let instances = self.fleet.all();
        let own: Vec<_> = instances.iter().filter(|instance| **instance.server() == *server).collect();
        // Where one stops that nobody wanted, another one begins.
        let is_coming = own.iter().any(|it| match it.state() {
            State::Starting => it.trouble().is_none(),
            State::Stopping => true,
            State::Running | State::Ended { .. } => false,
        });
        let newest = own.iter().max_by_key(|it| it.started_at());
        (is_coming, newest.map(|instance| why(instance)))
    }
}

impl Links for FleetLinks {
    fn shared(&self, server: &str) -> Option<Link> {
        linked(self.fleet.take(server)?)
    }

    fn at(&self, server: &str, instance: &str) -> Option<Link> {
        let instance = self.fleet.instance(instance).filter(|it| **it.server() == *server)?;
        linked(instance.try_call()?)
    }

    fn wanted<'a>(&'a self, server: &'a str) -> BoxFuture<'a, Result<Link, Away>> {
        Box::pin(async move {
            self.fleet.wanted(server);
            let instance = self.instance(server).await?;
            self.shared(server).ok_or_else(|| Away { why: why(&instance), is_full: false })
        })
    }

    fn failed(&self, server: &str, upstream: &Arc<Upstream>, error: &UpstreamError) {
        let instances = self.fleet.all();
        for instance in instances.iter().filter(|instance| **instance.server() == *server) {
            instance.failed(upstream, error);
        }
        if matches!(error, UpstreamError::Connection(_) | UpstreamError::Ended) {
            self.connections.forget(upstream);
        }
    }

    fn own<'a>(&'a self, server: &'a str, owner: &'a Owner) -> BoxFuture<'a, Result<Link, Away>> {
        Box::pin(async move {
            self.fleet.wanted(server);
            let instance = match self.fleet.pick(server) {
                Some(instance) => instance,
                None => Box::pin(self.instance(server)).await?,
            };
            let upstreams = self.upstreams.get().and_then(Weak::upgrade);
            self.connections.link(&instance, owner, upstreams).await
        })
    }

    fn wants_grant(&self, server: &str) -> bool {
        self.fleet.grants().and_then(|grants| grants.standing(server)).is_some_and(|it| it.trouble.is_some())
    }
}

/// The connection that everybody shares to where this call goes.
fn linked(call: InFlight) -> Option<Link> {
    let upstream = call.instance().upstream()?;
    let instance = call.instance().name().into();
    Some(Link { upstream, instance, is_new: false, hold: Box::new(call) })
}

/// What is the matter with an instance, in words for whoever called its server.
pub(super) fn why(instance: &Instance) -> String {
    if let Some(trouble) = instance.trouble() {
        return trouble;
    }
    match instance.state() {
        State::Starting => "it is starting".to_owned(),
        State::Running => "it is unwell".to_owned(),
        State::Stopping => "it is stopping".to_owned(),
        State::Ended { end, .. } => match end {
            End::Exited { code } => format!("it exited with {code}, and is started again by and by"),
            End::Signaled { signal } => {
                format!("signal {signal} ended it, and it is started again by and by")
            }
            End::OutOfMemory => "it used more memory than it may".to_owned(),
            End::Stopped => "it was stopped".to_owned(),
            End::Failed { why } => why,
        },
    }
}
