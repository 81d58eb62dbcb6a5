//! `hayward connect`: the standard input and output of a client that speaks nothing else, for an endpoint of a server.

use crate::bridge::Bridge;
use crate::failure::Failure;
use crate::runtime;
use crate::speaking::EndpointArgs;

/// Connects a client on standard input and output to an endpoint: to `/mcp`, to a project, or to one server.
///
/// For clients that only start programs. If the server restarts, or the connection breaks, the client doesn't notice: its
/// session is begun again, and what was on its way and has no effect twice is sent again.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    endpoint: EndpointArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let bridge = Bridge::new(&args.endpoint.server, &args.endpoint.at())?;
    runtime::block_on(async {
        let shutdown = runtime::shutdown_signal()?;
        bridge.run(tokio::io::stdin(), tokio::io::stdout(), shutdown).await
    })
}
