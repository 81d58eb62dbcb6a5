//! `hayward passwd`: another password for oneself.

use hayward_client::LoggedIn;

use crate::failure::Failure;
use crate::flags;
use crate::output::{plain, tell};
use crate::server::credentials::{Login, keep};
use crate::server::{ServerArgs, block_on};

/// Changes your own password.
///
/// All logins of the account end, wherever they are; this one goes on with a new one. Another's password is changed with
/// `hayward edit user EMAIL`, by whoever may edit users.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Reads the old password and the new one from standard input, a line each
    #[arg(long)]
    password_stdin: bool,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    let (old, new) = if args.password_stdin {
        flags::two_lines("the old password", "the new one")?
    } else {
        (flags::ask("Old password: ")?, flags::new_password()?)
    };
    let LoggedIn { token, expires_at, user } =
        block_on(async { Ok(client.change_password(&old, &new).await?) })?;
    let address = args.server.address();
    let told = format!("the password of {} at {address} is changed; its other logins ended\n", user.email);
    keep(&address.to_string(), Login { token, email: user.email, expires_at })?;
    tell(&plain(&told));
    Ok(())
}
