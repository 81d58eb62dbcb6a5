//! Everything behind the listeners, wired together: store, credentials, record, executor, host, road.

use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hayward_api::fence::tools::ToolFences;
use hayward_api::{Fence, Principal};
use hayward_audit::secrets::{RuleSet, Secret, Secrets, TagKey};
use hayward_auth::{Credentials, Policies};
use hayward_exec::{Choice, Executor, Spool, SupervisorCommand};
use hayward_gateway::listener::{InForce, Local, ROUTES};
use hayward_gateway::{Endpoint, Fencing, Protocol, Road, RoadParts, RoadSettings};
use hayward_host::fence::ground;
use hayward_host::{Host, HostConfig, HostSettings, HostTransfers, TransferConfig};
use hayward_mcp::result::Identity;
use hayward_store::{DataDir, DatabaseUrl, LockError, Store, StoreConfig, StoreError};
use hayward_telemetry::metrics::{DEFAULT_PREFIX, Kind, Meters, Observed};
use hayward_telemetry::otlp::{Otlp, Pushing};
use hayward_tool::{Toolset, Transfers};

use crate::config::{AllLimits, Containment, Serving, environment};
#[cfg(test)]
use crate::config::{Said, StrictFrom};
use crate::failure::Failure;
#[cfg(test)]
use crate::fences::FenceArgs;
use crate::fences::misfenced;
use crate::fences::tools::{checked_tools, together};
use crate::leftovers;
use crate::servers::{Runners, Servers};

/// The version that clients are told.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a line of the log says of containment.
const HELD_BY: &str = "what holds the processes of a command together";

/// Everything behind the listeners.
pub(crate) struct Stack {
    pub(crate) protocol: Arc<Protocol>,
    pub(crate) credentials: Arc<Credentials>,
    /// What rules grant, at this moment.
    pub(crate) policies: Arc<Policies>,
    /// The secrets that no reply and no record shows.
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) store: Store,
    pub(crate) limits: AllLimits,
    /// The fence of whoever has none of its own.
    pub(crate) fence: Fence,
    /// What redeems tickets for files.
    pub(crate) transfers: Arc<dyn Transfers>,
    /// Where everything is counted.
    pub(crate) meters: Arc<Meters>,
    host: Arc<Host>,
    /// The toolsets beside this machine's.
    further: Vec<Toolset>,
    /// Servers of others.
    pub(crate) servers: Servers,
    executor: Executor,
    /// What pushes to a collector.
    pushing: Option<Pushing>,
    /// Held until the end: nobody else owns the directory meanwhile.
    data: DataDir,
}

/// What a stack is built with, beside settings.
#[derive(Default)]
pub(crate) struct Beside {
    /// Further files of ours.
    pub(crate) secrets: Vec<PathBuf>,
    /// Toolsets beside this machine's.
    pub(crate) further: Vec<Toolset>,
    /// How clients move files past the calls, if they can.
    pub(crate) transfers: Option<TransferConfig>,
    /// The beginning of our names of metrics, if it is another than usual.
    pub(crate) prefix: Option<String>,
    /// What is pushed to a collector, if anything is.
    pub(crate) otlp: Option<Otlp>,
    /// The database that is used instead of a file in the data directory.
    pub(crate) database: Option<DatabaseUrl>,
    /// What runs servers, beside this machine itself.
    pub(crate) runners: Runners,
}

/// What calls go through, built anew.
pub(crate) struct Renewed {
    pub(crate) protocol: Arc<Protocol>,
    pub(crate) transfers: Arc<dyn Transfers>,
    pub(crate) limits: AllLimits,
    host: Arc<Host>,
}

/// What a stack can be given while it is used; all of it was checked.
pub(crate) struct Renewal<'a> {
    pub(crate) serving: &'a Serving,
    pub(crate) limits: AllLimits,
    /// What tools take away from everybody.
    pub(crate) of_all: ToolFences,
    /// Further files of ours.
    pub(crate) secrets: Vec<PathBuf>,
    /// How clients move files past the calls, if they can.
    pub(crate) transfers: Option<TransferConfig>,
}

impl Stack {
    /// Opens what is kept in the data directory and builds the road to this machine's tools, which reach
    /// neither the data directory nor further files of ours, and to what is beside them.
    pub(crate) async fn build(
        data: DataDir,
        serving: &Serving,
        limits: AllLimits,
        beside: Beside,
    ) -> Result<Self, Failure> {
        let Beside { secrets, further, transfers, prefix, otlp, database, runners } = beside;
        let fence = serving.fence.read(data.path()).map_err(misfenced)?;
        let of_all = checked_tools(&together(&serving.tool_fences)?, data.path()).map_err(misfenced)?;
        let store = open_store(data.path(), database, &limits).await?;
        let credentials = Arc::new(Credentials::new());
        credentials.replace(&store.credential_records().await.map_err(hayward_api::Error::from)?);
        let spool = Spool::new(data.spool().map_err(Locked::from)?);
        let (record, tag_key) = open_record(&data, &limits)?;
        let held = Arc::new(Secrets::new(tag_key));
        let own: Vec<_> = iter::once(data.path().to_owned()).chain(secrets).collect();
        let protected = own.iter().chain(&serving.protected_paths).cloned().collect();
        let executor = executor(&limits, serving.containment, protected, Some(spool));
        let host = Host::new(HostConfig {
            limits: limits.host.clone(),
            protected: own,
            extra_protected: serving.protected_paths.clone(),
            sync_files: serving.sync_files,
            shell: serving.shell.clone(),
            executor: executor.clone(),
            transfers,
            env: hayward_exec::inherited(environment()),
        });
        let host = Arc::new(host);
        let transfers = Arc::new(HostTransfers::new(Arc::clone(&host)));
        let toolset = hayward_host::toolset(Arc::clone(&host));
        let identity = Identity {
            name: "hayward".to_owned(),
            version: VERSION.to_owned(),
            instructions: toolset.instructions.as_ref().to_owned(),
        };
        let meters = meters(prefix.as_deref().unwrap_or(DEFAULT_PREFIX), &executor);
        let policies = Arc::new(Policies::default());
        let for_servers = (&limits.runtime, limits.exec.grace_ms);
        let servers =
            Servers::new(&executor, data.path(), for_servers, runners, (store.clone(), Arc::clone(&held)))?;
        let parts = RoadParts {
            record,
            strict_from: serving.audit_strict_from.tier(),
            secrets: Arc::clone(&held),
            store: store.clone(),
            credentials: Arc::clone(&credentials),
            policies: Arc::clone(&policies),
            upstreams: Arc::clone(&servers.upstreams),
            limits: &limits.gateway,
            tool_limits: &limits.tool,
            fencing: Fencing { of_all, ground: ground(&limits.host) },
            spans: otlp.as_ref().and_then(Otlp::spans),
            meters: Arc::clone(&meters),
        };
        let road = Road::new(iter::once(toolset).chain(further.iter().cloned()).collect(), parts);
        let protocol = Arc::new(Protocol::new(Arc::new(road), identity, &limits.gateway));
        let pushing = otlp.map(|otlp| push(&otlp, &held, Arc::clone(&meters))).transpose()?;
        Ok(Self {
            protocol,
            credentials,
            policies,
            secrets: held,
            store,
            limits,
            fence,
            transfers,
            meters,
            host,
            further,
            servers,
            executor,
            pushing,
            data,
        })
    }

    /// Builds what calls go through anew, on what there is. Whoever has the old [`Self::protocol`] goes on with it.
    pub(crate) async fn renew(&self, renewal: Renewal<'_>) -> Result<Renewed, Failure> {
        let Renewal { serving, limits, of_all, secrets, transfers } = renewal;
        let settings = HostSettings {
            limits: limits.host.clone(),
            protected: iter::once(self.data.path().to_owned()).chain(secrets).collect(),
            extra_protected: serving.protected_paths.clone(),
            sync_files: serving.sync_files,
            shell: serving.shell.clone(),
            transfers,
        };
        let host = Arc::clone(&self.host);
        let host = tokio::task::spawn_blocking(move || Arc::new(host.under(settings)));
        let host = host.await.context("the machine can't be set up anew").map_err(Failure::unavailable)?;
        let toolset = hayward_host::toolset(Arc::clone(&host));
        let toolsets = iter::once(toolset).chain(self.further.iter().cloned()).collect();
        let settings = RoadSettings {
            strict_from: serving.audit_strict_from.tier(),
            limits: &limits.gateway,
            tool_limits: &limits.tool,
            fencing: Fencing { of_all, ground: ground(&limits.host) },
        };
        let road = self.protocol.road().under(toolsets, settings);
        let protocol = Arc::new(self.protocol.under(Arc::new(road), &limits.gateway));
        let transfers = Arc::new(HostTransfers::new(Arc::clone(&host)));
        Ok(Renewed { protocol, transfers, limits, host })
    }

    /// From now on it is this.
    pub(crate) fn take(&mut self, renewed: Renewed) {
        let Renewed { protocol, transfers, limits, host } = renewed;
        (self.protocol, self.transfers, self.limits, self.host) = (protocol, transfers, limits, host);
    }

    /// The directory of everything that is kept.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// From now on no line of the log shows a secret that is held, or what looks like one.
    pub(crate) fn redact_log(&self, log: &hayward_telemetry::Logging) {
        let secrets = Arc::clone(&self.secrets);
        log.filter(Box::new(move |line| {
            let redaction = secrets.current();
            match std::str::from_utf8(line) {
                // A line of JSON stays one.
                Ok(text) if text.starts_with('{') => {
                    redaction.redact_json(text, RuleSet::ALL).into_owned().into_bytes()
                }
                _ => redaction.redact_bytes(line, RuleSet::ALL).into_owned(),
            }
        }));
    }

    /// The protocol as it is now, for clients of a stack that doesn't change.
    pub(crate) fn in_force(&self) -> InForce {
        let protocol = Arc::clone(&self.protocol);
        Arc::new(move || Arc::clone(&protocol))
    }

    /// What a client on byte streams is served with.
    pub(crate) fn local(&self, principal: Arc<Principal>, protocol: InForce) -> Local {
        Local {
            protocol,
            principal,
            endpoint: Endpoint::Default,
            line_bytes_max: usize::try_from(self.limits.gateway.body_bytes_max).unwrap_or(usize::MAX),
            drain: Duration::from_millis(self.limits.gateway.drain_ms),
        }
    }

    /// Lets running calls end, cancels those that don't, and leaves no process behind. New calls
    /// must not begin any more.
    pub(crate) async fn close(self) {
        self.protocol.close().await;
        self.servers.close().await;
        self.executor.shutdown(Duration::from_millis(self.limits.exec.grace_ms)).await;
        self.store.close().await;
        if let Some(pushing) = self.pushing {
            // It blocks for as long as a collector may take to take the rest.
            tokio::task::spawn_blocking(move || pushing.end()).await.ok();
        }
    }
}

#[cfg(test)]
impl Stack {
    /// A stack of its own in this directory, with weaker containment and no waiting for disks.
    pub(crate) async fn for_test(data_dir: &Path) -> Self {
        let serving = Serving {
            said: Said::default(),
            protected_paths: Vec::new(),
            sync_files: false,
            audit_strict_from: StrictFrom::Operate,
            shell: "/bin/sh".into(),
            containment: Containment::Subreaper,
            limits: Vec::new(),
            fence: FenceArgs::default(),
            tool_fences: Vec::new(),
        };
        let data = DataDir::acquire(data_dir).unwrap();
        Self::build(data, &serving, AllLimits::default(), Beside::default()).await.unwrap()
    }
}

/// A data directory that can't be had.
pub(crate) struct Locked {
    /// Whether a process has it.
    pub(crate) is_held: bool,
    /// Whether a process may have it that lets us in: it is known to have it, or the directory is another user's.
    pub(crate) is_elsewhere: bool,
    /// What to tell.
    pub(crate) failure: Failure,
}

impl From<LockError> for Locked {
    fn from(error: LockError) -> Self {
        let is_held = matches!(error, LockError::Held { .. });
        let is_elsewhere = is_held || matches!(error, LockError::Foreign { .. });
        let hint = error.hint();
        Self { is_held, is_elsewhere, failure: Failure::unavailable(error).hint(hint) }
    }
}

impl From<Locked> for Failure {
    fn from(locked: Locked) -> Self {
        locked.failure
    }
}

/// Takes the data directory, or says who has it.
pub(crate) fn acquire(path: &Path) -> Result<DataDir, Locked> {
    Ok(DataDir::acquire(path)?)
}

/// Opens the database of a data directory, or the one that is used instead of it.
pub(crate) async fn open_store(
    path: &Path,
    database: Option<DatabaseUrl>,
    limits: &AllLimits,
) -> Result<Store, Failure> {
    let mut variables = environment();
    let credentials = variables.find(|(name, _)| name == "CREDENTIALS_DIRECTORY").map(|(_, dir)| dir.into());
    let config = StoreConfig { limits: limits.store.clone(), database, credentials };
    Store::open(path, config).await.map_err(|error| in_detail(error).into())
}

/// What the store says, with its detail: whoever runs a command on its database is its operator, to whom no inner detail is a
/// secret.
pub(crate) fn in_detail(error: StoreError) -> hayward_api::Error {
    let mut error = hayward_api::Error::from(error);
    if let Some(detail) = error.detail.take() {
        error.message = format!("{}: {detail}", error.message);
    }
    error
}

/// Why the record can't be read or written, and the way out.
pub(crate) fn unrecorded(error: hayward_audit::AuditError) -> Failure {
    let hint = error.hint();
    Failure::unavailable(error).hint(hint)
}

/// Opens the record of a data directory, to be written and signed, and derives the key for tags of secrets.
pub(crate) fn open_record(
    data: &DataDir,
    limits: &AllLimits,
) -> Result<(hayward_audit::Log, TagKey), Failure> {
    let spool = Spool::new(data.spool().map_err(Locked::from)?);
    let left = leftovers::collect(&spool);
    let (folder, keys) = (data.audit().map_err(Locked::from)?, data.keys().map_err(Locked::from)?);
    let opened = hayward_audit::Keys::open(&keys).and_then(|keys| {
        let tag_key = keys.tag_key();
        let (keys, limits) = (Some(Arc::new(keys)), limits.audit.clone());
        let config = hayward_audit::LogConfig { keys, limits, left, ..Default::default() };
        Ok((hayward_audit::Log::open(&folder, config)?, tag_key))
    });
    let opened = opened.map_err(unrecorded)?;
    step(spool.settle(), || "failed to tidy up what commands of a dead daemon left".to_owned())?;
    Ok(opened)
}

/// What runs commands, and keeps confined ones from `protected`.
pub(crate) fn executor(
    limits: &AllLimits,
    containment: Containment,
    protected: Vec<PathBuf>,
    spool: Option<Spool>,
) -> Executor {
    let choice = match containment {
        Containment::Auto => Choice::Detect,
        Containment::Subreaper => Choice::Subreaper,
    };
    let executor = Executor::new(hayward_exec::Config {
        supervisor: SupervisorCommand {
            program: "/proc/self/exe".into(),
            args: vec![crate::SUPERVISE.into()],
        },
        containment: choice,
        limits: limits.exec.clone(),
        protected,
        spool,
    });
    let held = executor.containment();
    // The weaker one is told at the level that an operator sees without asking.
    if matches!(held, hayward_exec::Containment::Subreaper { .. }) {
        tracing::warn!(containment = %held, "{HELD_BY}");
    } else {
        tracing::info!(containment = %held, "{HELD_BY}");
    }
    executor
}

/// The paths that requests are counted by. What is asked for most comes first.
fn paths() -> Vec<&'static str> {
    ROUTES.iter().map(|route| route.path).chain(hayward_controlplane::rest::paths()).collect()
}

/// Where everything is counted.
fn meters(prefix: &str, executor: &Executor) -> Arc<Meters> {
    let meters = Meters::new(prefix, VERSION, &paths());
    let executor = executor.clone();
    meters.observe(Observed {
        name: "bash_inflight_processes",
        help: "Commands that run now.",
        kind: Kind::Gauge,
        label: None,
        read: Box::new(move || vec![("", u64::try_from(executor.running()).unwrap_or(u64::MAX))]),
    });
    Arc::new(meters)
}

/// Starts to push. From then on no answer shows what the collector is shown as a credential.
fn push(otlp: &Otlp, secrets: &Secrets, meters: Arc<Meters>) -> Result<Pushing, Failure> {
    let held = otlp.credentials().filter_map(|value| Secret::new("otlp-headers", value).ok());
    secrets.hold(held).map_err(Failure::unavailable)?;
    otlp.start(meters).map_err(Failure::unavailable)
}

/// Fails with the step that failed.
pub(crate) fn step<T>(result: std::io::Result<T>, step: impl Fn() -> String) -> Result<T, Failure> {
    result.with_context(step).map_err(Failure::unavailable)
}
