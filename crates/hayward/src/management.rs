//! The control plane, wired: its record is the road's, and what it asks of the machine is answered here.

mod events;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use hayward_api::definition::HealthCheck;
use hayward_api::kinds::token::TokenSpec;
use hayward_api::{Caller, Error, Principal, Source, Tier};
use hayward_audit::secrets::{RuleSet, Secret, Secrets};
use hayward_controlplane::{
    BoxFuture, Effect, Gateway, Hidden, KeptBack, Machine, Managed, Manifests, Plane, PlaneParts, Reached,
    Record, Seen, Shown, Target,
};
use hayward_gateway::listener::{Front, InForce};
use hayward_gateway::management as recorded;
use hayward_gateway::upstreams::Upstreams;
use hayward_gateway::{Endpoint, Protocol};
use hayward_runtime::fleet::RecordsProbes;
use hayward_telemetry::metrics::{Kind, Meters, Observed};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::stack::{Stack, VERSION};
use crate::tokens::meant;

/// The protocol that is in force: that of the start, until there is what can replace it.
pub(crate) struct Late {
    first: Arc<Protocol>,
    /// What stands there holds the control plane, which asks here: whoever was held both ways would never end.
    front: Arc<OnceLock<Weak<Front>>>,
}

impl Late {
    /// This one, for now.
    pub(crate) fn new(first: Arc<Protocol>) -> Self {
        Self { first, front: Arc::default() }
    }

    /// Whichever is in force when it is asked.
    pub(crate) fn in_force(&self) -> InForce {
        let (first, front) = (Arc::clone(&self.first), Arc::clone(&self.front));
        Arc::new(move || {
            let front = front.get().and_then(Weak::upgrade);
            front.map_or_else(|| Arc::clone(&first), |front| Arc::clone(&front.app().protocol))
        })
    }

    /// From now on it is the one of this front.
    pub(crate) fn is(&self, front: &Arc<Front>) -> InForce {
        // It is told once.
        self.front.set(Arc::downgrade(front)).ok();
        self.in_force()
    }
}

/// Starts the control plane of a stack.
pub(crate) async fn start(
    stack: &Stack,
    in_force: InForce,
    (is_bootstrap_open, reached): (bool, Reached),
    shutdown: CancellationToken,
) -> Result<Arc<Plane>, Failure> {
    let record = Arc::new(OnTheRoad {
        in_force: Arc::clone(&in_force),
        secrets: Arc::clone(&stack.secrets),
        upstreams: Arc::clone(&stack.servers.upstreams),
    });
    stack.servers.fleet.probes_recorded_by(Arc::new(Probes(Arc::downgrade(&record))));
    let machine = ThisMachine { data_dir: stack.data_dir().into() };
    let plane = Plane::start(PlaneParts {
        store: stack.store.clone(),
        credentials: Arc::clone(&stack.credentials),
        policies: Arc::clone(&stack.policies),
        record,
        machine: Arc::new(machine),
        fleet: Some(Arc::clone(&stack.servers.fleet)),
        gateway: Arc::new(OurGateway { upstreams: Arc::clone(&stack.servers.upstreams), in_force }),
        reached,
        limits: stack.limits.controlplane.clone(),
        version: VERSION,
        is_bootstrap_open,
        shutdown,
    });
    let plane = plane.await?;
    observe(&stack.meters, &plane);
    Ok(plane)
}

/// Applies a directory of manifests, and follows it.
pub(crate) fn follow(plane: &Arc<Plane>, dir: PathBuf, shutdown: CancellationToken) -> JoinHandle<()> {
    TaskTracker::new().spawn(Manifests::new(Arc::clone(plane), dir).follow(shutdown))
}

/// What is counted beside the requests themselves.
fn observe(meters: &Meters, plane: &Arc<Plane>) {
    // Weak: the plane's record has these meters.
    let [panics, watches, manifests] = [0; 3].map(|_| Arc::downgrade(plane));
    meters.observe(Observed {
        name: "management_panics_total",
        help: "Requests that manage in which something broke that must not.",
        kind: Kind::Counter,
        label: None,
        read: Box::new(move || vec![("", panics.upgrade().map_or(0, |plane| plane.panics()))]),
    });
    meters.observe(Observed {
        name: "management_watches",
        help: "Watches of what is declared that are open.",
        kind: Kind::Gauge,
        label: None,
        read: Box::new(move || vec![("", watches.upgrade().map_or(0, |plane| plane.watches()))]),
    });
    meters.observe(Observed {
        name: "manifests_applied_total",
        help: "Times that the directory of manifests was applied, by what came of it.",
        kind: Kind::Counter,
        label: Some("result"),
        read: Box::new(move || {
            manifests.upgrade().map(|plane| plane.manifests_applied().into()).unwrap_or_default()
        }),
    });
}

/// How the names of values begin that are declared.
const DECLARED: &str = "secret/";

/// The record of the road that is in force.
struct OnTheRoad {
    in_force: InForce,
    secrets: Arc<Secrets>,
    upstreams: Arc<Upstreams>,
}

impl Record for OnTheRoad {
    fn around(
        &self,
        caller: Caller,
        Managed { name, arguments, effect }: Managed,
        work: BoxFuture<'static, Result<(), Error>>,
    ) -> BoxFuture<'static, Result<(), Error>> {
        let protocol = (self.in_force)();
        let effect = match effect {
            Effect::Look => recorded::Effect::Look,
            Effect::Change => recorded::Effect::Change,
        };
        let managed = recorded::Managed { name, arguments, effect };
        Box::pin(async move { recorded::record(&protocol, caller, managed, work).await })
    }

    fn denied(&self, caller: Caller, name: String, reason: String) -> BoxFuture<'static, ()> {
        let protocol = (self.in_force)();
        Box::pin(async move { recorded::deny(&protocol, &caller, name, reason).await })
    }

    fn end(&self, credential: &str) {
        (self.in_force)().road().revoke(credential);
    }

    fn cleaned<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.secrets.current().redact(text, RuleSet::ALL)
    }

    fn hide(&self, values: Vec<Hidden>) -> BoxFuture<'static, ()> {
        let (secrets, upstreams) = (Arc::clone(&self.secrets), Arc::clone(&self.upstreams));
        Box::pin(async move {
            // Many take a second.
            let held = tokio::task::spawn_blocking(move || held(&secrets, &values)).await;
            if let Ok(left_out @ 1..) = held {
                tracing::error!(
                    left_out,
                    "there are more values of secrets than can be hidden; the longest are not"
                );
            }
            upstreams.look_again();
        })
    }
}

/// What is called to see whether instances are well, in the record. Not held: the road holds the fleet, and whoever was held both ways
/// would never end.
struct Probes(Weak<OnTheRoad>);

impl RecordsProbes for Probes {
    fn begin<'a>(
        &'a self,
        server: &'a str,
        instance: &'a str,
        check: &'a HealthCheck,
    ) -> BoxFuture<'a, Result<(), String>> {
        let arguments = json!({
            "server": server, "instance": instance, "tool": check.tool, "arguments": check.arguments,
            "everySeconds": check.interval_seconds(),
        });
        let name = "servers.probe".to_owned();
        let managed = recorded::Managed { name, arguments, effect: recorded::Effect::Change };
        let caller = Caller {
            principal: Arc::new(Principal::local("health-check", Tier::Operate)),
            source: Source::peer(None),
            request_id: format!("probe-{instance}").into(),
        };
        let protocol = self.0.upgrade().map(|record| (record.in_force)());
        Box::pin(async move {
            let protocol = protocol.ok_or_else(|| "nothing is recorded any more".to_owned())?;
            let recorded = recorded::record(&protocol, caller, managed, async { Ok(()) }).await;
            recorded.map_err(|error| error.message)
        })
    }
}

/// What the gateway of this process sees.
struct OurGateway {
    upstreams: Arc<Upstreams>,
    in_force: InForce,
}

impl Gateway for OurGateway {
    fn seen(&self, server: &str) -> Option<Seen> {
        let seen = self.upstreams.seen(server)?;
        let (tools, resources, prompts) = seen.shown;
        let kept_back = seen.kept_back.into_iter().map(|kept| KeptBack {
            name: kept.name,
            why: kept.why,
            waits: kept.pin.is_some(),
            is_tool: kept.is_tool,
        });
        Some(Seen {
            revision: seen.revision.map(ToOwned::to_owned),
            shown: Shown { tools, resources, prompts },
            kept_back: kept_back.collect(),
            stale: seen.stale,
        })
    }

    fn unknown(&self, server: &str, tools: &[&str]) -> Vec<String> {
        self.upstreams.unknown(server, tools)
    }

    fn ask(
        &self,
        caller: Caller,
        target: Target,
        request: Bytes,
    ) -> BoxFuture<'static, Result<Vec<u8>, Error>> {
        let endpoint = match target {
            Target::Server(name) => Endpoint::Server(name.into()),
            Target::Project(name) => Endpoint::Project(name.into()),
        };
        let protocol = (self.in_force)();
        Box::pin(async move { hayward_gateway::asked::ask(&protocol, caller, endpoint, request).await })
    }
}

/// Words of the protocol, and of the schemas in it, that are as long as a secret.
const PROTOCOL_WORDS: [&str; 36] = [
    "additionalProperties",
    "annotations",
    "arguments",
    "cacheScope",
    "capabilities",
    "clientInfo",
    "complete",
    "completion",
    "contents",
    "description",
    "destructiveHint",
    "elicitation",
    "idempotentHint",
    "inputRequests",
    "inputSchema",
    "input_required",
    "instructions",
    "listChanged",
    "messages",
    "mimeType",
    "nextCursor",
    "notifications",
    "openWorldHint",
    "outputSchema",
    "progressToken",
    "properties",
    "protocolVersion",
    "readOnlyHint",
    "requestState",
    "required",
    "resourceTemplates",
    "resources",
    "resultType",
    "serverInfo",
    "structuredContent",
    "uriTemplate",
];

/// Holds as many of these as can be held, the shortest first, so that nobody's long ones take the place of all others; how many
/// are left out. What is too short or too plain can't be told from other text, and isn't counted.
fn held(secrets: &Secrets, values: &[Hidden]) -> usize {
    // What every message says isn't told apart from a secret by hiding it, and nothing would be understood any more.
    let is_word = |hidden: &&Hidden| PROTOCOL_WORDS.contains(&hidden.value.as_str());
    let mut values: Vec<&Hidden> = values.iter().filter(|hidden| !is_word(hidden)).collect();
    values.sort_by_key(|hidden| hidden.value.len());
    let secret =
        |hidden: &&Hidden| Secret::new(&format!("{DECLARED}{}", hidden.name), hidden.value.as_bytes()).ok();
    let mut count = values.len();
    while secrets.replace_under(DECLARED, values[..count].iter().filter_map(secret)).is_err() && count > 0 {
        // One of many fewer is soon found, and then as many as go.
        count = if count > 16 { count - count / 16 } else { count - 1 };
    }
    values.len() - count
}

/// What only this machine knows.
struct ThisMachine {
    data_dir: Arc<Path>,
}

impl Machine for ThisMachine {
    fn token(&self, spec: TokenSpec, live: Option<&TokenSpec>) -> Result<TokenSpec, Error> {
        meant(spec, live, &self.data_dir)
    }

    fn events(&self, count: usize) -> BoxFuture<'static, Result<Vec<Value>, Error>> {
        let dir = self.data_dir.join("audit");
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || events::last(&dir, count)).await;
            read.map_err(|_| Error::new(hayward_api::Code::Internal, "the record can't be read"))?
        })
    }
}
