//! The table of commands: one file and two lines here for each.

use clap::Subcommand;

use crate::Start;
use crate::failure::Failure;
use later::Later;

mod apply;
mod approve;
mod audit;
mod authorize;
mod call;
mod client_config;
mod complete;
mod completions;
mod config;
mod connect;
mod create;
mod delete;
mod describe;
mod diff;
mod doctor;
mod edit;
mod get;
mod history;
mod import;
mod invite;
mod later;
mod login;
mod logout;
mod logs;
mod migrate;
mod passwd;
mod patch;
mod revert;
mod secrets;
pub(crate) mod serve;
mod service;
mod status;
mod stdio;
mod token;
mod tools;
mod version;

/// The commands that have no settings, and so work whatever files say.
pub(crate) const UNCONFIGURED: [&str; 7] =
    ["client-config", "completions", "config", "install-service", "man", "uninstall-service", "version"];

/// How a command ended that didn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Well,
    /// It showed that things differ, which scripts are to learn (exit code 1).
    Differs,
}

impl From<diff::Difference> for Ending {
    fn from(difference: diff::Difference) -> Self {
        match difference {
            diff::Difference::None => Self::Well,
            diff::Difference::Some => Self::Differs,
        }
    }
}

/// Every command.
#[derive(Subcommand)]
pub(crate) enum Command {
    Apply(apply::Args),
    Approve(approve::Args),
    Audit(audit::Args),
    Authorize(authorize::Args),
    /// Backs up and restores; comes later
    Backup(later::Args),
    /// Shows and clears caches of pipelines; comes later
    Cache(later::Args),
    Call(call::Args),
    ClientConfig(client_config::Args),
    #[command(name = "__complete", hide = true)]
    Complete(complete::Args),
    Completions(completions::Args),
    Config(config::Args),
    Connect(connect::Args),
    /// Shows sessions as they happen; comes later
    Console(later::Args),
    Create(create::Args),
    Delete(delete::Args),
    Describe(describe::Args),
    Diff(diff::Args),
    Doctor(doctor::Args),
    Edit(edit::Args),
    Get(Box<get::Args>),
    History(history::Args),
    Import(import::Args),
    InstallService(service::InstallArgs),
    Invite(invite::Args),
    Login(login::Args),
    Logout(logout::Args),
    Logs(logs::Args),
    #[command(hide = true)]
    Man(completions::ManArgs),
    Migrate(migrate::Args),
    Passwd(passwd::Args),
    Patch(patch::Args),
    Revert(revert::Args),
    Secrets(secrets::Args),
    Serve(Box<serve::Args>),
    Status(status::Args),
    Stdio(stdio::Args),
    Token(token::Args),
    Tools(tools::Args),
    UninstallService(service::UninstallArgs),
    Version(version::Args),
}

impl Command {
    /// Runs it to its end.
    pub(crate) fn run(self, start: Start) -> Result<Ending, Failure> {
        match self {
            Self::Apply(args) => apply::run(&args),
            Self::Approve(args) => approve::run(&args),
            Self::Audit(args) => audit::run(args),
            Self::Authorize(args) => authorize::run(&args),
            Self::Backup(args) => later::run(Later::Backup, &args),
            Self::Cache(args) => later::run(Later::Cache, &args),
            Self::Call(args) => call::run(&args),
            Self::ClientConfig(args) => client_config::run(&args),
            Self::Complete(args) => complete::run(&args),
            Self::Completions(args) => completions::run(&args),
            Self::Config(args) => config::run(args),
            Self::Connect(args) => connect::run(&args),
            Self::Console(args) => later::run(Later::Console, &args),
            Self::Create(args) => create::run(&args),
            Self::Delete(args) => delete::run(&args),
            Self::Describe(args) => describe::run(&args),
            Self::Diff(args) => return diff::run(&args).map(Ending::from),
            Self::Doctor(args) => doctor::run(args),
            Self::Edit(args) => edit::run(&args),
            Self::Get(args) => get::run(&args),
            Self::History(args) => history::run(&args),
            Self::Import(args) => import::run(args),
            Self::InstallService(args) => service::install(&args),
            Self::Invite(args) => invite::run(&args),
            Self::Login(args) => login::run(&args),
            Self::Logout(args) => logout::run(&args),
            Self::Logs(args) => logs::run(&args),
            Self::Man(args) => completions::man(&args),
            Self::Migrate(args) => migrate::run(&args),
            Self::Passwd(args) => passwd::run(&args),
            Self::Patch(args) => patch::run(&args),
            Self::Revert(args) => revert::run(&args),
            Self::Secrets(args) => secrets::run(&args),
            Self::Serve(args) => serve::run(*args, start),
            Self::Status(args) => status::run(&args),
            Self::Stdio(args) => stdio::run(args, start.further),
            Self::Token(args) => token::run(args),
            Self::Tools(args) => tools::run(&args),
            Self::UninstallService(args) => service::uninstall(&args),
            Self::Version(args) => version::run(&args),
        }
        .map(|()| Ending::Well)
    }
}
