//! `hayward stdio`: one client on standard input and output.

use std::sync::Arc;

use anyhow::Context;
use hayward_api::kinds::token::Role;
use hayward_api::{Principal, Tier};
use hayward_gateway::listener::{Local, serve_stdio};
use hayward_store::{DataDir, LockError};

use crate::config::{Common, Serving};
use crate::failure::Failure;
use crate::stack::{Stack, acquire};
use crate::{local, runtime};

/// Serves this machine's tools on standard input and output.
///
/// Joins a running daemon of the same data directory, so that one record holds everything; else
/// serves by itself.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the client may do: ro reads, rw also changes
    #[arg(long, env = "HAYWARD_ROLE", value_enum, default_value = "rw")]
    role: ClientRole,

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

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let _log = args.common.start_log()?;
    runtime::block_on(serve(args))
}

async fn serve(args: Args) -> Result<(), Failure> {
    let path = args.common.data_dir()?;
    let ceiling = args.role.ceiling();
    match DataDir::acquire(&path) {
        Err(LockError::Held { .. }) => local::join(&path, ceiling).await,
        Err(_) => acquire(&path).map(drop),
        Ok(data) => alone(data, &args.serving, ceiling).await,
    }
}

async fn alone(data: DataDir, serving: &Serving, ceiling: Tier) -> Result<(), Failure> {
    let shutdown = runtime::shutdown_signal()?;
    let stack = Stack::build(data, serving, None).await?;
    let local = Local {
        protocol: Arc::clone(&stack.protocol),
        principal: Arc::new(Principal::local("stdio", ceiling)),
        line_bytes_max: usize::try_from(stack.limits.gateway.body_bytes_max).unwrap_or(usize::MAX),
    };
    let served = serve_stdio(tokio::io::stdin(), tokio::io::stdout(), local, shutdown).await;
    stack.close().await;
    served.context("failed to read standard input")?;
    Ok(())
}
