//! `hayward invite`: lets somebody in who chooses their own password.

use clap::Subcommand;
use hayward_client::NewInvite;
use jiff::Timestamp;
use serde_json::Value;

use crate::failure::Failure;
use crate::moment::{Side, parse};
use crate::output::columns::text;
use crate::output::{Form, data, plain, show, table, tell, written};
use crate::server::{ServerArgs, block_on};

/// Invites somebody, who becomes a user by `hayward login --invite`.
///
/// It prints the invite, once; whoever has it chooses a password, and is in the groups that are named here. It is good
/// once, for 7 days if nothing is said.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    /// Address of mail of whoever is invited
    #[arg(required = true)]
    email: Option<String>,

    /// What they are called
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Group that they will be in; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,

    /// How long it is good, e.g. 12h or 30d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires_in: Option<u64>,

    #[command(flatten)]
    server: ServerArgs,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Lists invites; what redeems them is kept nowhere
    List {
        /// Form of the output
        #[arg(long, short, value_enum, default_value = "table")]
        output: Form,

        #[command(flatten)]
        server: ServerArgs,
    },
    /// Takes an invite back that nobody has taken up
    Revoke {
        /// Its id, which `hayward invite list` shows
        id: String,

        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Seconds until a moment ahead.
fn seconds(text: &str) -> Result<u64, String> {
    let ahead = parse(text, Side::Ahead)?.as_second().saturating_sub(Timestamp::now().as_second());
    u64::try_from(ahead).ok().filter(|seconds| *seconds > 0).ok_or_else(|| "it is over already".to_owned())
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Some(Action::List { output, server }) => list(*output, server),
        Some(Action::Revoke { id, server }) => {
            let client = server.client()?;
            block_on(async { Ok(client.revoke_invite(id).await?) })?;
            tell(&plain(&format!("invite {id} is of no use any more\n")));
            Ok(())
        }
        None => make(args),
    }
}

fn make(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    let email = args.email.as_deref().unwrap_or_default();
    let wanted =
        NewInvite { email, name: args.name.as_deref(), groups: &args.groups, expires_in: args.expires_in };
    let invited = block_on(async { Ok(client.invite(&wanted).await?) })?;
    tell(&plain(&format!(
        "{} is invited until {}; the invite is shown this once, and they take it up with\n  \
         hayward login --url {} --invite -\n",
        invited.email,
        invited.expires_at,
        client.address()
    )));
    written(data(&plain(&format!("{}\n", invited.invite))))
}

fn list(form: Form, server: &ServerArgs) -> Result<(), Failure> {
    let client = server.client()?;
    let invites = block_on(async { Ok(client.invites().await?) })?;
    show(form, &invites, || rows(&invites))
}

fn rows(invites: &[Value]) -> String {
    const MEMBERS: [&str; 6] = ["id", "email", "groups", "madeBy", "expiresAt", "redeemedAt"];
    let now = Timestamp::now();
    let row = |invite: &Value| -> Vec<String> {
        MEMBERS.iter().map(|member| text(invite.get(*member), now)).collect()
    };
    table(
        &["ID", "EMAIL", "GROUPS", "MADE BY", "EXPIRES", "TAKEN UP"],
        &invites.iter().map(row).collect::<Vec<_>>(),
    )
}
