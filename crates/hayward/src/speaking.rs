//! Commands as clients of an endpoint: they speak the protocol as any client does, and see what any client sees.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use hayward_egress::{Client, Options, Reach};
use hayward_mcp::error::RpcError;
use hayward_mcp::json::{ObjectWriter, Raw};
use hayward_mcp::upstream::{Http, Options as Speaking, Upstream, UpstreamError, Wire};
use hayward_runtime::Dial;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::failure::Failure;
use crate::limits::{CONNECT_TIMEOUT, MESSAGE_BYTES_MAX, SILENCE_TIMEOUT};
use crate::server::{ProjectArg, ServerArgs};
use crate::stack::VERSION;

/// An endpoint of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// `/mcp`.
    Default,
    /// One server.
    Server(String),
    /// The servers of a project.
    Project(String),
}

/// The endpoint that a command means.
#[derive(clap::Args)]
pub(crate) struct EndpointArgs {
    /// One server, under its own names, instead of a project
    #[arg(value_name = "SERVER")]
    name: Option<String>,

    #[command(flatten)]
    project: ProjectArg,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

impl EndpointArgs {
    /// Which one that is.
    pub(crate) fn at(&self) -> At {
        match (&self.name, self.project.name()) {
            (Some(server), _) => At::Server(server.clone()),
            (None, Some(project)) => At::Project(project.to_owned()),
            (None, None) => At::Default,
        }
    }
}

impl At {
    /// Its address.
    pub(crate) fn url(&self, server: &ServerArgs) -> Url {
        let address = server.address();
        match self {
            Self::Default => address.endpoint(["mcp"]),
            Self::Server(name) => address.endpoint(["servers", name, "mcp"]),
            Self::Project(name) => address.endpoint(["projects", name, "mcp"]),
        }
    }
}

/// What sends requests to this server.
pub(crate) fn dial(server: &ServerArgs) -> Result<Arc<Dial>, Failure> {
    let options = Options {
        connect_timeout: CONNECT_TIMEOUT,
        silence_timeout: SILENCE_TIMEOUT,
        trust: server.trust()?,
        idle_connections_max: 8,
        reach: Reach::Anywhere,
    };
    Ok(Arc::new(Dial::new(Client::with(&options).map_err(Failure::unavailable)?)))
}

/// The headers that show the credential that there is.
pub(crate) fn credential(server: &ServerArgs) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(token) = server.token()? {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .context("the token can't be shown in a header")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// How tokens begin that manage.
const ADMIN: &str = "hwd_admin_";

/// Speaks with an endpoint.
pub(crate) async fn speak(server: &ServerArgs, at: &At) -> Result<Upstream, Failure> {
    let (http, mut events, driver) =
        Http::over(dial(server)?, &at.url(server), &credential(server)?, MESSAGE_BYTES_MAX);
    let tasks = TaskTracker::new();
    tasks.spawn(driver);
    // What is told beside answers is of no use to a command.
    tasks.spawn(async move { while events.next().await.is_some() {} });
    let client = ObjectWriter::new(64).str("name", "hayward-cli").str("version", VERSION).end();
    let is_admin = server.token()?.is_some_and(|token| token.starts_with(ADMIN));
    Upstream::connect(Wire::Http(http), Speaking::new(client)).await.map_err(|error| match error {
        UpstreamError::Unauthorized { .. } if is_admin => calls_nothing(),
        error => failed(error, at),
    })
}

/// The credential is one that manages.
fn calls_nothing() -> Failure {
    let what = anyhow!("an admin token manages, and calls nothing");
    Failure { exit_code: 4, ..Failure::unavailable(what) }.hint(
        "make a token for calls with `hayward token add --name NAME --role rw`, with `--project` or `--server` for what it is to reach, \
         and give it as HAYWARD_TOKEN",
    )
}

/// Why an endpoint gave no answer, and what to do.
pub(crate) fn failed(error: UpstreamError, at: &At) -> Failure {
    match error {
        UpstreamError::Unauthorized { .. } => Failure { exit_code: 4, ..Failure::unavailable(error) }
            .hint("log in with `hayward login`, or set HAYWARD_TOKEN"),
        UpstreamError::Status { status: 404, .. } => {
            let what = match at {
                At::Default => "the server has no `/mcp`".to_owned(),
                At::Server(name) => {
                    format!("there is no server `{name}`, or it may not be used with this credential")
                }
                At::Project(name) => {
                    format!("there is no project `{name}`, or it may not be used with this credential")
                }
            };
            Failure { exit_code: 3, ..Failure::unavailable(anyhow!(what)) }
                .hint("`hayward get servers` and `hayward get projects` tell what there is")
        }
        // Who can't be let in is told so in the words of the protocol.
        UpstreamError::Handshake(error) if error.message.starts_with("Not Found") => {
            Failure { exit_code: 3, ..Failure::unavailable(anyhow!(error.message)) }
        }
        UpstreamError::Connection(error) => {
            Failure::unavailable(anyhow!(error).context("the connection to the server failed"))
                .hint("is `hayward serve` running there? `--url` or HAYWARD_URL says where")
        }
        error => Failure::unavailable(error),
    }
}

/// An error that an endpoint answered with.
pub(crate) fn refused(error: &Raw) -> Failure {
    let error = RpcError::of(error);
    let exit_code = match error.code {
        -32601 | -32602 => 3,
        403 => 4,
        429 | 502 | 503 | 504 => 5,
        _ => 1,
    };
    Failure { exit_code, ..Failure::unavailable(anyhow!(error.message)) }
}
