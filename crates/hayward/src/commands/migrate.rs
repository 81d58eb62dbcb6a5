//! `hayward migrate`: takes over what another server had.

mod mymcp;

use clap::Subcommand;

use crate::config::Common;
use crate::failure::Failure;

/// Takes over settings and tokens of another server.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    from: From,

    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum From {
    Mymcp(mymcp::MymcpArgs),
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let _log = args.common.start_log()?;
    match &args.from {
        From::Mymcp(from) => mymcp::run(from, &args.common),
    }
}
