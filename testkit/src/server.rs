//! A real listener around a toolset of fixtures: everything but the binary.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hayward_api::kinds::token::{Role, TokenSpec};
use hayward_api::principal::PrincipalKind;
use hayward_api::{Code, Error, Principal, Tier};
use hayward_audit::secrets::{Secrets, TagKey};
use hayward_auth::{CredentialRecord, Credentials, Token};
use hayward_gateway::limits::Limits;
use hayward_gateway::listener::{App, Door, Front, Guard, OldClients, Pace, Proxies, ROUTES, Threads, serve};
use hayward_gateway::tokens::{Revoked, TokenView, Tokens};
use hayward_gateway::upstreams::Upstreams;
use hayward_gateway::{Fencing, Protocol, Road, RoadParts, Sessions};
use hayward_mcp::result::Identity;
use hayward_store::{Store, StoreConfig};
use hayward_telemetry::metrics::{DEFAULT_PREFIX, Meters};
use hayward_tool::{BoxFuture, Claim, Direction, TicketView, Toolset, TransferError, Transfers};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that listens on a free port of loopback until it is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Tokens by role.
    pub rw_token: String,
    /// A token that may read only.
    pub ro_token: String,
    /// The administrator's token.
    pub admin_token: String,
    /// The token for what is counted.
    pub metrics_token: String,
    /// What it identifies callers with.
    pub credentials: Arc<Credentials>,
    /// The secrets that it holds.
    pub secrets: Arc<Secrets>,
    /// What is behind the listener.
    pub protocol: Arc<Protocol>,
    shutdown: CancellationToken,
    listening: TaskTracker,
    data: tempfile::TempDir,
    _threads: Arc<Threads>,
}

/// How a record is carried to the disk, and which calls wait for it.
#[derive(Clone, Copy, Debug)]
pub struct Durability {
    /// When records are synced.
    pub sync: hayward_audit::Sync,
    /// The lowest tier that waits for that.
    pub strict_from: Option<Tier>,
}

impl Durability {
    /// Records are written; no call waits for the disk, and nobody keeps it busy.
    pub const WRITTEN: Self = Self { sync: hayward_audit::Sync::Off, strict_from: None };
    /// Every call waits for the disk.
    pub const STRICT: Self = Self { sync: hayward_audit::Sync::Background, strict_from: Some(Tier::Read) };
}

impl Server {
    /// Starts a server with these tools and the default limits.
    pub async fn start(toolset: Toolset) -> anyhow::Result<Self> {
        Self::start_with(toolset, Limits::default()).await
    }

    /// Starts a server with these tools and limits.
    pub async fn start_with(toolset: Toolset, limits: Limits) -> anyhow::Result<Self> {
        let durability =
            Durability { sync: hayward_audit::Sync::Background, strict_from: Some(Tier::Operate) };
        Self::start_recording(toolset, limits, durability).await
    }

    /// Starts a server with these tools and limits, whose record is as durable as this.
    pub async fn start_recording(
        toolset: Toolset,
        limits: Limits,
        durability: Durability,
    ) -> anyhow::Result<Self> {
        let Durability { sync, strict_from } = durability;
        let data = tempfile::tempdir()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        let config = hayward_audit::LogConfig { sync, ..Default::default() };
        let record = hayward_audit::Log::open(data.path(), config)?;
        let credentials = Arc::new(Credentials::new());
        let folder = data.path().join("store");
        std::fs::create_dir(&folder)?;
        let store = Store::open(&folder, StoreConfig::default()).await?;
        let secrets = Arc::new(Secrets::new(TagKey::new([7; 32])));
        let parts = RoadParts {
            record,
            strict_from,
            store: store.clone(),
            secrets: Arc::clone(&secrets),
            credentials: Arc::clone(&credentials),
            policies: Arc::default(),
            upstreams: Upstreams::none(store.clone(), Arc::clone(&secrets)),
            limits: &limits,
            tool_limits: &hayward_tool::limits::Limits::default(),
            fencing: Fencing::default(),
            meters: Arc::new(Meters::new(DEFAULT_PREFIX, "0", &ROUTES.map(|route| route.path))),
            spans: None,
        };
        let road = Road::new(vec![toolset], parts);
        let identity =
            Identity { name: "hayward".into(), version: "0".into(), instructions: "Fixtures.".into() };
        let protocol = Arc::new(Protocol::new(Arc::new(road), identity, &limits));
        let [rw_token, ro_token, admin_token, metrics_token] =
            [Role::Rw, Role::Ro, Role::Admin, Role::Metrics].map(|role| add_token(&credentials, role));
        let app = Arc::new(App {
            protocol: Arc::clone(&protocol),
            old_clients: OldClients::default(),
            sessions: Sessions::new(usize::try_from(limits.sessions_max)?),
            tokens: Arc::new(NoTokens),
            transfers: Arc::new(NoTransfers),
            management: None,
            proxies: Proxies::default(),
            tls: None,
            guard: Guard::new(address.port(), [], []),
            pace: Pace::new(&limits),
            limits,
            version: "0",
        });
        let (listening, threads) = (TaskTracker::new(), Arc::new(Threads::start()?));
        listening.spawn(serve(
            vec![Door::Tcp(listener)],
            Arc::new(Front::new(app)),
            Arc::clone(&threads),
            shutdown.clone(),
        ));
        listening.close();
        Ok(Self {
            address,
            rw_token,
            ro_token,
            admin_token,
            metrics_token,
            credentials,
            protocol,
            secrets,
            shutdown,
            listening,
            data,
            _threads: threads,
        })
    }

    /// The URL of its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The folder of its record.
    pub fn record(&self) -> &Path {
        self.data.path()
    }

    /// What was recorded so far.
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.record().join("record.jsonl")).unwrap_or_default();
        let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["type"] != "mark").collect()
    }

    /// The records of this type (`intent`, `outcome`, `denied`), as soon as there are this many; those of sessions that begin
    /// aside.
    pub async fn recorded(&self, kind: &str, count: usize) -> anyhow::Result<Vec<Value>> {
        let started = Instant::now();
        loop {
            let mut records = self.records();
            let is_beginning = |record: &Value| record["method"] == "session_bind";
            let begun: Vec<Value> =
                records.iter().filter(|it| is_beginning(it)).map(|it| it["seq"].clone()).collect();
            records.retain(|it| it["type"] == kind && !is_beginning(it) && !begun.contains(&it["intent"]));
            if records.len() >= count {
                return Ok(records);
            }
            ensure!(started.elapsed() < PATIENCE, "no {count} of `{kind}` in {:?}", self.records());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How the calls in the record ended, as soon as this many have.
    pub async fn endings(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        let outcomes = self.recorded("outcome", count).await?;
        Ok(outcomes.iter().map(|record| record["ending"].clone()).collect())
    }

    /// Takes a token away, with what runs under it.
    pub fn revoke(&self, token: &str) -> anyhow::Result<()> {
        let id = Token::parse(token)?.id;
        self.credentials.remove(id);
        self.protocol.road().revoke(id.as_str());
        Ok(())
    }

    /// Waits until no call runs and no stream is open any more.
    pub async fn idle(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.protocol.running() > 0 {
            ensure!(started.elapsed() < PATIENCE, "something still runs");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Begins to shut down, as a signal would.
    pub fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        self.listening.wait().await;
    }

    /// A further token of this role.
    pub fn add_token(&self, role: Role) -> String {
        add_token(&self.credentials, role)
    }

    /// Lets a token of another server in.
    pub fn admit(&self, token: &str, role: Role) -> anyhow::Result<()> {
        admit(&self.credentials, token, role)
    }

    /// The intents in the record, as soon as there are this many.
    pub async fn intents(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        self.recorded("intent", count).await
    }

    /// The outcomes in the record, as soon as there are this many.
    pub async fn outcomes(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        self.recorded("outcome", count).await
    }

    /// Writes what a script needs to reach it.
    pub fn write_ready_file(&self, path: &Path) -> anyhow::Result<()> {
        let ready = serde_json::json!({
            "url": self.url(), "rw_token": self.rw_token, "ro_token": self.ro_token,
            "admin_token": self.admin_token, "metrics_token": self.metrics_token, "pid": std::process::id(),
        });
        let draft = path.with_extension("draft");
        std::fs::write(&draft, ready.to_string())?;
        std::fs::rename(&draft, path).context("the ready file can't be put in place")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn add_token(credentials: &Credentials, role: Role) -> String {
    let token = Token::mint(role).reveal().to_owned();
    admit(credentials, &token, role).expect("a token that was minted is one");
    token
}

fn admit(credentials: &Credentials, token: &str, role: Role) -> anyhow::Result<()> {
    let token = Token::parse(token)?;
    let principal = Principal {
        kind: PrincipalKind::from(role),
        name: role.as_str().to_owned(),
        credential: token.id.to_string(),
        ceiling: role.ceiling(),
        min_protocol: None,
        fence: hayward_api::Fence::default(),
        tool_fences: hayward_api::fence::tools::ToolFences::default(),
        bounds: hayward_api::Bounds::default(),
        reach: hayward_api::Reach::default(),
        impersonator: None,
    };
    credentials.insert(CredentialRecord {
        id: token.id,
        digest: token.digest,
        principal: Arc::new(principal),
        enabled: true,
        expires_at_unix: None,
        made_with: None,
    });
    Ok(())
}

/// Fixtures keep no tokens.
struct NoTransfers;

impl Transfers for NoTransfers {
    fn look(&self, _: &str) -> Result<TicketView, TransferError> {
        Err(TransferError::Disabled)
    }

    fn claim(&self, _: &str, _: Direction) -> Result<Box<dyn Claim>, TransferError> {
        Err(TransferError::Disabled)
    }
}

struct NoTokens;

fn refuse<T: Send + 'static>() -> BoxFuture<'static, Result<T, Error>> {
    Box::pin(async { Err(Error::new(Code::Unsupported, "fixtures keep no tokens")) })
}

impl Tokens for NoTokens {
    fn list(&self) -> BoxFuture<'static, Result<Vec<TokenView>, Error>> {
        refuse()
    }

    fn create(
        &self,
        _: String,
        _: TokenSpec,
        _: Arc<Principal>,
    ) -> BoxFuture<'static, Result<String, Error>> {
        refuse()
    }

    fn revoke(&self, _: String, _: Arc<Principal>) -> BoxFuture<'static, Result<Revoked, Error>> {
        refuse()
    }

    fn rotate(&self, _: Role, _: Arc<Principal>) -> BoxFuture<'static, Result<String, Error>> {
        refuse()
    }

    fn revoke_role(&self, _: Role, _: Arc<Principal>) -> BoxFuture<'static, Result<Vec<Revoked>, Error>> {
        refuse()
    }
}
