//! `hayward stdio`: one client on standard input and output.

use std::sync::Arc;

use anyhow::Context;
use hayward_api::kinds::token::Role;
use hayward_api::{Principal, Tier};
use hayward_controlplane::{Plane, Reached};
use hayward_gateway::listener::serve_stdio;
use hayward_store::DataDir;
use hayward_telemetry::Logging;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Further;
use crate::config::{AllLimits, Common, Serving, otlp};
use crate::failure::Failure;
use crate::management;
use crate::servers::{Runners, node_name};
use crate::stack::{Beside, Locked, Stack, acquire};
use crate::tokens::TokenDesk;
use crate::{local, runtime};

/// Serves this machine's tools, and the servers of the project `default`, on standard input and output.
///
/// Joins a running daemon of the same data directory, so that one record holds everything; else
/// serves by itself, and runs the declared servers until its client is gone. A client of a running daemon has the fence
/// that the daemon gives to local clients, and sees what the daemon runs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the client may do: ro reads, rw also changes
    #[arg(long, env = "HAYWARD_ROLE", value_enum, default_value = "rw")]
    role: ClientRole,

    #[command(flatten)]
    runners: Runners,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    serving: Serving,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum ClientRole {
    Ro,
    Rw,
}

impl ClientRole {
    fn ceiling(self) -> Tier {
        let role = match self {
            Self::Ro => Role::Ro,
            Self::Rw => Role::Rw,
        };
        role.ceiling().unwrap_or(Tier::Read)
    }
}

pub(crate) fn run(args: Args, further: Further) -> Result<(), Failure> {
    let otlp = otlp()?;
    let log = args.common.start_log_for(otlp.as_ref())?;
    let limits = args.serving.limits()?;
    let database = args.common.database()?;
    let runners = args.runners.clone();
    let beside = Beside { further: further(), otlp, database, runners, ..Beside::default() };
    runtime::block_on(serve(args, limits, beside, &log))
}

async fn serve(args: Args, limits: AllLimits, beside: Beside, log: &Logging) -> Result<(), Failure> {
    let path = args.common.data_dir()?;
    match acquire(&path) {
        Ok(data) => alone(data, &args, limits, beside, log).await,
        Err(Locked { is_held: true, .. }) if args.serving.is_default() => {
            local::join(&path, args.role.ceiling()).await
        }
        Err(Locked { is_held: true, failure, .. }) => {
            let hint = "leave out the options of serving: the daemon that has the directory has its own";
            Err(failure.hint(hint))
        }
        Err(locked) => Err(locked.failure),
    }
}

/// Serves by itself, and further clients of the same directory through its socket.
async fn alone(
    data: DataDir,
    args: &Args,
    limits: AllLimits,
    beside: Beside,
    log: &Logging,
) -> Result<(), Failure> {
    let shutdown = runtime::shutdown_signal()?;
    let is_shared = beside.database.is_some();
    let stack = Stack::build(data, &args.serving, limits, beside).await?;
    stack.redact_log(log);
    let plane =
        if args.runners.run_servers { Some(run_servers(&stack, is_shared, &shutdown).await?) } else { None };
    let desk = TokenDesk::new(&stack, None);
    let socket = local::listen(&stack, desk, stack.in_force(), shutdown.clone());
    let principal =
        Arc::new(Principal { fence: stack.fence.clone(), ..Principal::local("stdio", args.role.ceiling()) });
    let client = stack.local(principal, stack.in_force());
    let served = serve_stdio(tokio::io::stdin(), tokio::io::stdout(), client, shutdown.clone()).await;
    shutdown.cancel();
    if let Some(plane) = plane {
        plane.close().await;
    }
    if let Some(socket) = socket {
        socket.close().await;
    }
    stack.close().await;
    served.context("failed to read standard input")?;
    Ok(())
}

/// Begins to run what is declared. The control plane is there for what it knows of secrets; nobody asks it anything.
async fn run_servers(
    stack: &Stack,
    is_shared: bool,
    shutdown: &CancellationToken,
) -> Result<Arc<Plane>, Failure> {
    let reached = Reached { url: None, scheme: "http" };
    let plane = management::start(stack, stack.in_force(), (false, reached), shutdown.clone()).await?;
    let node = node_name(stack.data_dir());
    stack.servers.start(&stack.store, (node, is_shared), shutdown).await?;
    let protocol = Arc::clone(&stack.protocol);
    TaskTracker::new().spawn(async move { protocol.road().record_expired().await });
    Ok(plane)
}
