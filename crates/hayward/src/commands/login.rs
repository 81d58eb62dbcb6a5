//! `hayward login`: by password, by an invite, or as the very first user.

use std::io::{self, BufRead, IsTerminal};

use anyhow::anyhow;
use hayward_api::Code;
use hayward_client::{Bootstrap, Client, Join, LoggedIn};

use crate::failure::Failure;
use crate::flags;
use crate::output::{plain, tell};
use crate::server::credentials::{self, Login};
use crate::server::{ServerArgs, block_on, note_variable};
use crate::words::usage;

/// Logs in, and keeps the login for the commands that follow.
///
/// Where there is no user yet, the first login makes one who may do everything; that takes the admin token of the server
/// (`HAYWARD_TOKEN` or --token-file).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address of mail; asked for if left out
    #[arg(long, value_name = "EMAIL")]
    email: Option<String>,

    /// Reads the password from standard input
    #[arg(long)]
    password_stdin: bool,

    /// Takes up an invite: it says who one is, and one chooses a password. `-` asks for it, or reads it from standard input
    /// before the password, with --password-stdin; on the command line others see it
    #[arg(long, value_name = "INVITE", conflicts_with = "email")]
    invite: Option<String>,

    /// What the first user is called
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let address = args.server.address();
    if !address.is_tls() && !address.is_loopback() {
        tell("warning: this address has no TLS: whoever is between sees the password and the login\n");
    }
    let logged_in = block_on(enter(args))?;
    let LoggedIn { token, expires_at, user } = logged_in;
    let email = user.email.clone();
    let path =
        credentials::keep(&address.to_string(), Login { token, email, expires_at: expires_at.clone() })?;
    let until = expires_at.map_or(String::new(), |until| format!(" until {until}"));
    tell(&plain(&format!("logged in at {address} as {}{until}; kept in {}\n", user.email, path.display())));
    note_variable();
    Ok(())
}

async fn enter(args: &Args) -> Result<LoggedIn, Failure> {
    let nobody = args.server.client_with(None)?;
    if let Some(invite) = &args.invite {
        let (invite, password) = match invite.as_str() {
            "-" if args.password_stdin => flags::two_lines("the invite", "the password")?,
            "-" if !io::stdin().is_terminal() => {
                return Err(usage("there is no terminal to ask on for the invite and a password".to_owned())
                    .hint("with `--password-stdin` both are read from standard input, a line each"));
            }
            "-" => (flags::ask("Invite: ")?, flags::new_password()?),
            invite => (invite.to_owned(), new_password(args)?),
        };
        let joined = nobody.join(&Join { invite: &invite, password: &password }).await;
        return joined.map_err(|error| {
            let is_over = error.code() == Code::Unauthenticated;
            let failure = Failure::from(error);
            if is_over {
                failure.hint("an invite serves once, and for a while: ask for another")
            } else {
                failure
            }
        });
    }
    if !nobody.has_users().await? {
        return first(args).await;
    }
    let email = email(args)?;
    let password =
        if args.password_stdin { flags::line(flags::contents("-")?) } else { flags::ask("Password: ")? };
    nobody.login(&email, &password).await.map_err(|error| {
        let is_wrong = error.code() == Code::Unauthenticated;
        let failure = Failure::from(error);
        // Who is logging in needn't be told to log in.
        if is_wrong { Failure { hint: None, ..failure } } else { failure }
    })
}

/// The first user.
async fn first(args: &Args) -> Result<LoggedIn, Failure> {
    tell("there is no user yet: this makes the first one, who may do everything\n");
    let client: Client = args.server.client()?;
    let email = email(args)?;
    let password = new_password(args)?;
    let first = Bootstrap { email: &email, password: &password, name: args.name.as_deref() };
    let has_token = client.has_token();
    client.bootstrap(&first).await.map_err(|error| {
        let failure = Failure::from(error);
        if has_token || failure.exit_code != 4 { failure } else {
            failure.hint("the first user takes the admin token: make one on the server with `hayward token rotate-admin`, and give it as HAYWARD_TOKEN or --token-file")
        }
    })
}

fn email(args: &Args) -> Result<String, Failure> {
    if let Some(email) = &args.email {
        return Ok(email.clone());
    }
    if !io::stdin().is_terminal() {
        return Err(
            usage("there is no terminal to ask on for the address of mail".to_owned()).hint("give --email")
        );
    }
    tell("Email: ");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(anyhow::Error::from)?;
    let email = line.trim().to_owned();
    if email.is_empty() { Err(anyhow!("no address of mail was given").into()) } else { Ok(email) }
}

fn new_password(args: &Args) -> Result<String, Failure> {
    if args.password_stdin { Ok(flags::line(flags::contents("-")?)) } else { flags::new_password() }
}
