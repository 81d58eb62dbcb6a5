//! `hayward logout`: ends a login, here and on the server.

use hayward_api::Code;

use crate::failure::Failure;
use crate::output::{plain, tell};
use crate::server::{ServerArgs, block_on, credentials, note_variable};

/// Ends the login at this address: the server refuses it from then on, and it is forgotten here.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let address = args.server.address().to_string();
    let Some(login) = credentials::find(&address)? else {
        tell(&plain(&format!("there is no login at {address}\n")));
        note_variable();
        return Ok(());
    };
    let ended = block_on(async { Ok(args.server.client_with(Some(login.token))?.logout().await) })?;
    credentials::forget(&address)?;
    match ended {
        Err(error) if error.code() != Code::Unauthenticated => {
            let failure = Failure::from(error);
            Err(failure.hint("it is forgotten here, and is good on the server until it expires"))
        }
        _ => {
            tell(&plain(&format!("logged out at {address}\n")));
            note_variable();
            Ok(())
        }
    }
}
