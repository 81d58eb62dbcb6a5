//! `hayward authorize`: access to a server that wants OAuth, granted by a person in a browser.
//!
//! ```text
//!  us ── ask ──► the daemon ──► the authorization server        the address to open is shown, and opened by nobody but a person
//!  browser ── comes back ──► us, on this machine (loopback.rs), or pasted ── the answer ──► the daemon, which keeps the grant
//! ```

mod loopback;

use std::io::{self, BufRead, Read as _};

use hayward_client::{AccessGranted, Client};

use crate::failure::Failure;
use crate::output::{data, plain, tell, written};
use crate::server::{ServerArgs, block_on};
use crate::words::usage;
use loopback::Loopback;

/// Bytes of what is pasted.
const PASTED_BYTES_MAX: u64 = 64 * 1024;

/// Where the browser comes back to if nobody listens there.
const PASTED_PORT: u16 = 8765;

/// Grants Hayward access to a server that wants OAuth.
///
/// An address is shown; whoever may grant access opens it in a browser on this machine, signs in there and agrees. The browser
/// comes back to a port of this machine, and what was granted is kept by the server, sealed, as the secret NAME.oauth, and
/// renewed for as long as it can be. To take it back, delete that secret.
///
/// Where there is no browser on this machine, use --paste: open the address elsewhere, and paste the address that the browser
/// ends at (it shows no page there).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Server
    name: String,

    /// Reads the address that the browser ended at from standard input, instead of waiting for the browser
    #[arg(long)]
    paste: bool,

    /// Port of this machine that the browser comes back to, where the authorization server has to know it beforehand; any
    /// otherwise
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    let granted = block_on(async {
        if args.paste { pasted(&client, args).await } else { visited(&client, args).await }
    })?;
    written(data(&plain(&told(&args.name, &granted))))
}

/// By a browser that comes back to this machine.
async fn visited(client: &Client, args: &Args) -> Result<AccessGranted, Failure> {
    let loopback = Loopback::open(args.port.unwrap_or_default()).await?;
    let state = ask(client, args, &loopback.address()).await?;
    tell("waiting for the browser to come back; on a machine without one, use `--paste`\n");
    let visit = loopback.visit(&state).await?;
    let granted = client.answer_for_access(&args.name, visit.query()).await;
    let page = match &granted {
        Ok(_) => "Access was granted. This page can be closed.".to_owned(),
        Err(error) => format!("Access was not granted: {error}"),
    };
    visit.answer(&page).await;
    Ok(granted?)
}

/// By somebody who pastes what the browser came back with.
async fn pasted(client: &Client, args: &Args) -> Result<AccessGranted, Failure> {
    let redirect = loopback::address(args.port.unwrap_or(PASTED_PORT));
    ask(client, args, &redirect).await?;
    tell("then paste the address that the browser ended at: ");
    let mut line = String::new();
    io::stdin().lock().take(PASTED_BYTES_MAX).read_line(&mut line).map_err(anyhow::Error::from)?;
    Ok(client.answer_for_access(&args.name, query_of(line.trim())?).await?)
}

/// Asks for access, and shows what is to be opened. What the browser comes back with is known by this state.
async fn ask(client: &Client, args: &Args, redirect: &str) -> Result<String, Failure> {
    let question = client.ask_for_access(&args.name, redirect).await?;
    let scopes =
        if question.scopes.is_empty() { "whatever it grants".to_owned() } else { question.scopes.join(", ") };
    tell(&plain(&format!("{} asks for: {scopes}\nopen this address in a browser:\n\n", question.issuer)));
    written(data(&plain(&format!("{}\n", question.url))))?;
    tell("\n");
    let query = question.url.split_once('?').map(|(_, query)| query).unwrap_or_default();
    loopback::state_of(query)
        .ok_or_else(|| Failure::unavailable(anyhow::anyhow!("the address to be opened has no `state`")))
}

/// What stands behind the `?` of an address.
fn query_of(address: &str) -> Result<&str, Failure> {
    let query = address.split_once('?').map(|(_, query)| query.split('#').next().unwrap_or_default());
    query.filter(|query| query.contains("state=")).ok_or_else(|| {
        usage("what was pasted is not the address that the browser ended at".to_owned())
            .hint("paste all of it: it begins with http://127.0.0.1 and has `state=` in it")
    })
}

fn told(server: &str, granted: &AccessGranted) -> String {
    let AccessGranted { secret, issuer, scopes, is_renewable, expires_at } = granted;
    let scopes = if scopes.is_empty() { String::new() } else { format!(" ({})", scopes.join(", ")) };
    let until = match (is_renewable, expires_at) {
        (true, _) => "renewed by itself".to_owned(),
        (false, Some(until)) => format!("good until {until}, and not renewed"),
        (false, None) => "not renewed".to_owned(),
    };
    format!(
        "server `{server}` is accessed by what {issuer} granted{scopes}: {until}; kept as secret `{secret}`\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_is_an_address_with_an_answer() {
        for (pasted, expect) in [
            ("http://127.0.0.1:8765/callback?code=c&state=s", Some("code=c&state=s")),
            ("http://127.0.0.1:8765/callback?error=x&state=s#top", Some("error=x&state=s")),
            ("127.0.0.1:8765/callback?state=s", Some("state=s")),
            ("c0de", None),
            ("http://127.0.0.1:8765/callback?code=c", None),
            ("", None),
        ] {
            assert_eq!(query_of(pasted).ok(), expect, "{pasted}");
        }
    }

    #[test]
    fn it_is_told_until_when_access_is_granted() {
        let granted = |is_renewable, expires_at: Option<&str>| AccessGranted {
            secret: "s.oauth".to_owned(),
            issuer: "https://as".to_owned(),
            scopes: vec!["a".to_owned(), "b".to_owned()],
            is_renewable,
            expires_at: expires_at.map(ToOwned::to_owned),
        };
        let expect = "server `s` is accessed by what https://as granted (a, b): renewed by itself; kept as secret `s.oauth`\n";
        assert_eq!(told("s", &granted(true, Some("2030-01-01T00:00:00Z"))), expect);
        assert!(told("s", &granted(false, Some("2030"))).contains("good until 2030, and not renewed"));
    }
}
