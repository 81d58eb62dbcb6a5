//! The desk without a daemon: the command that holds the data directory does what it asks for itself, and records it.

use std::sync::Arc;

use hayward_api::fence::tools::ToolFences;
use hayward_audit::secrets::Secrets;
use hayward_auth::Credentials;
use hayward_gateway::upstreams::Upstreams;
use hayward_gateway::{Fencing, Protocol, Road, RoadParts};
use hayward_host::fence::ground;
use hayward_mcp::result::Identity;
use hayward_store::{DataDir, DatabaseUrl, Store};
use hayward_telemetry::metrics::{DEFAULT_PREFIX, Meters};
use tokio::sync::Mutex;

use super::{Ask, TokenDesk, Told, view};
use crate::config::{AllLimits, StrictFrom};
use crate::failure::Failure;
use crate::stack::{VERSION, open_record, open_store};

/// Does what was asked for in a data directory that nobody else has.
pub(crate) async fn alone(data: DataDir, database: Option<DatabaseUrl>, ask: Ask) -> Result<Told, Failure> {
    let limits = AllLimits::read(&[])?;
    let store = open_store(data.path(), database, &limits).await?;
    let told = match ask {
        // It changes nothing, and so needs no record.
        Ask::List => list(&store).await,
        ask => change(&data, &store, &limits, ask).await,
    };
    store.close().await;
    told
}

async fn list(store: &Store) -> Result<Told, Failure> {
    let stored = store.list_tokens().await.map_err(hayward_api::Error::from)?;
    Ok(Told::Listed(stored.into_iter().map(view).collect()))
}

async fn change(data: &DataDir, store: &Store, limits: &AllLimits, ask: Ask) -> Result<Told, Failure> {
    let protocol = Arc::new(protocol(data, store, limits)?);
    let desk = TokenDesk {
        store: store.clone(),
        credentials: Arc::default(),
        protocol: Arc::clone(&protocol),
        temporary: Arc::default(),
        data_dir: data.path().into(),
        change: Arc::new(Mutex::default()),
    };
    let told = desk.answer(&protocol, ask).await;
    protocol.close().await;
    Ok(told?)
}

/// The road to no tool at all, with the record of the data directory.
fn protocol(data: &DataDir, store: &Store, limits: &AllLimits) -> Result<Protocol, Failure> {
    let (record, tag_key) = open_record(data, limits)?;
    let secrets = Arc::new(Secrets::new(tag_key));
    let parts = RoadParts {
        record,
        strict_from: StrictFrom::Operate.tier(),
        secrets: Arc::clone(&secrets),
        store: store.clone(),
        credentials: Arc::new(Credentials::new()),
        policies: Arc::default(),
        upstreams: Upstreams::none(store.clone(), secrets),
        limits: &limits.gateway,
        tool_limits: &limits.tool,
        fencing: Fencing { of_all: ToolFences::default(), ground: ground(&limits.host) },
        spans: None,
        meters: Arc::new(Meters::new(DEFAULT_PREFIX, VERSION, &[])),
    };
    let identity =
        Identity { name: "hayward".to_owned(), version: VERSION.to_owned(), instructions: String::new() };
    Ok(Protocol::new(Arc::new(Road::new(Vec::new(), parts)), identity, &limits.gateway))
}
