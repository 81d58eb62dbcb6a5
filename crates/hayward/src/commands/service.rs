//! `hayward install-service` and `uninstall-service`: a service of systemd, and its end.
//!
//! What is changed is decided first, shown, and done after somebody agreed. With `--root` it is done below another
//! directory, where nothing runs: for images and packages.

mod database;
mod plan;
mod system;
mod tokens;
mod unit;

use std::io::{BufRead, IsTerminal};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use hayward_api::kinds::token::Role;
use hayward_api::{Code, Error};
use hayward_store::DatabaseUrl;

use crate::failure::Failure;
use crate::{output, runtime};
use database::Database;
use plan::{Place, Step};
use system::System;
use tokens::{Made, lacking, tokens};
use unit::{MARK, Manager, NAME, Profile, Unit};

/// Where units are.
const UNITS: &str = "/etc/systemd/system";
/// The configuration that root's commands read when nothing is said.
const ROOT_CONFIG: &str = "/etc/hayward/hayward.toml";
/// The user of a gateway.
const GATEWAY_USER: &str = "hayward";
/// Where a gateway sees nothing.
const HIDDEN: [&str; 4] = ["/home", "/root", "/run/user", "/tmp"];
/// What the file of variables says when it is new.
const VARIABLES: &str =
    "# Variables of the service, e.g. HAYWARD_LOG_LEVEL=info. They win over hayward.toml.\n";

/// Installs a service of systemd, with a configuration and an admin token that is shown once.
///
/// A configuration that is there stays as it is. Run it again after an upgrade: it writes the unit anew, and nothing
/// that is kept changes.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag, and most are flags of mymcp")]
pub(crate) struct InstallArgs {
    /// What the service is for
    #[arg(long, value_enum, default_value = "host")]
    profile: Profile,

    /// Port to listen on
    #[arg(long, default_value_t = 8765)]
    port: u16,

    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,

    #[command(flatten)]
    folders: Folders,

    #[command(flatten)]
    database: Database,

    /// User that the service runs as [default: root, and hayward with --profile gateway]
    #[arg(long, value_name = "USER", value_parser = user_name)]
    service_user: Option<String>,

    /// Makes a token for /metrics
    #[arg(long, overrides_with = "no_metrics")]
    enable_metrics: bool,

    /// Makes no token for /metrics
    #[arg(long)]
    no_metrics: bool,

    /// Copies the record to `audit.log` in the log directory, for other programs
    #[arg(long, overrides_with = "no_audit")]
    enable_audit: bool,

    /// Makes no such copy; the record itself is always written
    #[arg(long)]
    no_audit: bool,

    /// Does nothing: the search is a part of Hayward
    #[arg(long, hide = true)]
    install_ripgrep: bool,

    /// Does nothing: the search is a part of Hayward
    #[arg(long, hide = true)]
    skip_ripgrep: bool,

    /// Path of the program in the unit, if that is not where it is now [default: this program]
    #[arg(long, value_name = "PATH", value_parser = plain)]
    program: Option<PathBuf>,

    /// Prints one of the files that are written, and does nothing: for packages
    #[arg(long, value_enum, value_name = "FILE", conflicts_with_all = ["dry_run", "yes", "root"])]
    print: Option<Printed>,

    #[command(flatten)]
    how: How,
}

/// What packages bring along.
#[derive(ValueEnum, Clone, Copy)]
enum Printed {
    /// The unit of the system's manager
    Unit,
    /// A unit for the manager of each user, where the service may do what that user may
    UserUnit,
    /// The first configuration
    Config,
}

/// Removes the service; what it kept stays, unless asked for otherwise.
#[derive(clap::Args)]
pub(crate) struct UninstallArgs {
    #[command(flatten)]
    folders: Folders,

    /// Also deletes the configuration, the logs, everything that was kept (tokens, and the record), and the system user that was made for
    /// the service, and ends what its commands left running
    #[arg(long)]
    purge: bool,

    #[command(flatten)]
    how: How,
}

/// Where the things of a service are.
#[derive(clap::Args, Clone)]
#[expect(clippy::struct_field_names, reason = "they are called as their flags are")]
struct Folders {
    /// Directory of the configuration
    #[arg(long, value_name = "DIR", default_value = "/etc/hayward", value_parser = folder)]
    config_dir: PathBuf,

    /// Directory of the copy of the record
    #[arg(long, value_name = "DIR", default_value = "/var/log/hayward", value_parser = folder)]
    log_dir: PathBuf,

    /// Directory of everything that is kept
    #[arg(long = "data-dir", id = "service_data_dir", value_name = "DIR", default_value = "/var/lib/hayward", value_parser = folder)]
    data_dir: PathBuf,
}

/// How it is done.
#[derive(clap::Args, Clone)]
struct How {
    /// Asks nothing
    #[arg(long)]
    yes: bool,

    /// Shows what would be done, and does nothing
    #[arg(long)]
    dry_run: bool,

    /// Does it below this directory, where nothing runs: an image, or a package
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// A directory of ours: absolute, without `..`, and not one of the system's own.
fn folder(text: &str) -> Result<PathBuf, String> {
    let path = plain(text)?;
    if path.components().count() < 3 {
        return Err("it is a directory of the system, and a directory of Hayward's own is wanted".to_owned());
    }
    Ok(path)
}

/// A path that is absolute and without `..`.
fn plain(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_plain = |part: Component| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(is_plain) || text.chars().any(char::is_control) {
        return Err("it is no absolute path without `..`".to_owned());
    }
    Ok(path)
}

fn user_name(text: &str) -> Result<String, String> {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if starts_well && text.len() <= 31 && text.bytes().all(is_good) {
        return Ok(text.to_owned());
    }
    Err("it is no name of a user".to_owned())
}

impl InstallArgs {
    fn user(&self) -> &str {
        let of_profile = match self.profile {
            Profile::Host => "root",
            Profile::Gateway => GATEWAY_USER,
        };
        self.service_user.as_deref().unwrap_or(of_profile)
    }

    fn unit(&self, program: PathBuf) -> Unit {
        let Folders { config_dir, log_dir, data_dir } = self.folders.clone();
        let (profile, user) = (self.profile, self.user().to_owned());
        Unit { profile, program, config_dir, data_dir, log_dir: (!self.no_audit).then_some(log_dir), user }
    }

    /// The first configuration.
    fn config(&self) -> String {
        let text = |path: &Path| toml_edit::Value::from(path.display().to_string());
        let mut config = String::from(
            "# What Hayward is set to. `hayward config view` lists every key; `hayward config set KEY VALUE` changes one.\n",
        );
        config += &format!(
            "host = \"{}\"\nport = {}\ndata.dir = {}\n",
            self.bind,
            self.port,
            text(&self.folders.data_dir)
        );
        if !self.no_audit {
            config += &format!("log.dir = {}\n", text(&self.folders.log_dir));
        }
        config
    }

    /// How a token is made while the service is stopped: as its user, who alone opens what it keeps.
    fn token_command(&self) -> String {
        let file = self.folders.config_dir.join("hayward.toml");
        match self.user() {
            "root" if file == Path::new(ROOT_CONFIG) => "hayward token add".to_owned(),
            "root" => format!("hayward token add --config '{}'", file.display()),
            user => format!("sudo -u {user} hayward token add --config '{}'", file.display()),
        }
    }

    /// What is done before tokens are made.
    fn plan(&self, program: PathBuf) -> Vec<Step> {
        let owner = self.user().to_owned();
        let Folders { config_dir, log_dir, data_dir } = self.folders.clone();
        let folder =
            |path: PathBuf, mode: u32, owner: &str| Step::Folder { path, mode, owner: owner.to_owned() };
        let mut steps = Vec::new();
        if owner != "root" {
            steps.push(Step::User(owner.clone()));
        }
        steps.push(folder(config_dir.clone(), 0o755, "root"));
        // Whoever is to own it gets it at the end, with what is in it.
        steps.push(Step::DataFolder(data_dir));
        if !self.no_audit {
            steps.push(folder(log_dir, 0o750, &owner));
        }
        let first = |name: &str, mode, text| Step::FirstFile { path: config_dir.join(name), mode, text };
        steps.push(first("hayward.toml", 0o644, self.config()));
        steps.push(first("hayward.env", 0o600, format!("{VARIABLES}{}", self.database.variable())));
        steps.push(Step::File {
            path: Path::new(UNITS).join(NAME),
            mode: 0o644,
            text: self.unit(program).text(Manager::System),
        });
        steps
    }

    /// What is done after tokens were made.
    fn last(&self) -> Vec<Step> {
        let own = |path: &PathBuf| Step::Own { path: path.clone(), owner: self.user().to_owned() };
        let mut steps = vec![own(&self.folders.data_dir)];
        if !self.no_audit {
            steps.push(own(&self.folders.log_dir));
        }
        steps.extend([systemctl(&["daemon-reload"]), systemctl(&["enable", NAME])]);
        steps
    }
}

fn systemctl(words: &[&str]) -> Step {
    let words = ["systemctl"].iter().chain(words).map(ToString::to_string).collect();
    Step::Run { words, may_fail: false }
}

pub(crate) fn install(args: &InstallArgs) -> Result<(), Failure> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("failed to find this program")?,
    };
    let unit = args.unit(program.clone());
    if let Some(printed) = args.print {
        return output::written(output::data(&match printed {
            Printed::Unit => unit.text(Manager::System),
            Printed::UserUnit => unit.text(Manager::User),
            Printed::Config => args.config(),
        }));
    }
    let steps = args.plan(program);
    if args.how.dry_run {
        return shown(steps.iter().chain(&args.last()), &unit.text(Manager::System));
    }
    let root = args.how.root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let system = args.how.root.is_none().then(System::here).transpose()?;
    let place = Place { root: &root, system: system.as_ref() };
    refuse_foreign(&place)?;
    place.refuse_outside(steps.iter().chain(&args.last()))?;
    // Before anything is changed: a database that doesn't answer is told at once.
    let database = args.database.of_service(&place.at(&args.folders.config_dir))?;
    let data_dir = place.at(&args.folders.data_dir);
    let roles = runtime::block_on(lacking(&data_dir, database.as_ref(), args.enable_metrics))?;
    agreed(&args.how, steps.iter().chain(&args.last()))?;
    note(args, &unit, &place);
    steps.iter().try_for_each(|step| place.perform(step))?;
    let made = make_tokens(args, &place, database, &roles)?;
    args.last().iter().try_for_each(|step| place.perform(step))?;
    tell_of(args, &made)
}

/// Says what of the options has no effect, and what the service will not see.
fn note(args: &InstallArgs, unit: &Unit, place: &Place<'_>) {
    let file = place.at(&args.folders.config_dir).join("hayward.toml");
    if file.exists() {
        output::tell(&format!("note: {} stays as it is, whatever --port and --bind say\n", file.display()));
    }
    if args.profile == Profile::Gateway && HIDDEN.iter().any(|dir| unit.program.starts_with(dir)) {
        let program = unit.program.display();
        output::tell(&format!(
            "note: the service will not see `{program}`: put the program into /usr/local/bin\n"
        ));
    }
}

/// Makes the tokens that are lacking. The directory is ours for that time: nobody opens one of another user's.
fn make_tokens(
    args: &InstallArgs,
    place: &Place<'_>,
    database: Option<DatabaseUrl>,
    roles: &[Role],
) -> Result<Vec<Made>, Failure> {
    let data_dir = place.at(&args.folders.data_dir);
    if roles.is_empty() {
        return Ok(Vec::new());
    }
    let own = |owner: &str| {
        place.perform(&Step::Own { path: args.folders.data_dir.clone(), owner: owner.to_owned() })
    };
    own("root")?;
    let made = runtime::block_on(tokens(&data_dir, database, roles));
    if made.is_err() {
        own(args.user())?;
    }
    made
}

/// A unit that somebody else wrote stays.
fn refuse_foreign(place: &Place<'_>) -> Result<(), Failure> {
    let path = place.at(&Path::new(UNITS).join(NAME));
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.starts_with(MARK) => {
            let error =
                Error::new(Code::AlreadyExists, format!("`{}` was not written by Hayward", path.display()));
            Err(error.with_hint("move it away first").into())
        }
        _ => Ok(()),
    }
}

fn tell_of(args: &InstallArgs, made: &[Made]) -> Result<(), Failure> {
    for (role, token) in made {
        output::tell(&format!("The {} token, shown this once:\n", role.as_str()));
        output::written(output::data(&format!("{token}\n")))?;
    }
    if args.install_ripgrep {
        output::tell("note: ripgrep isn't needed: the search is a part of Hayward\n");
    }
    if !args.bind.is_loopback() {
        output::tell(
            "note: beyond loopback the service starts only with encryption, or with what allows to go without: `hayward serve --help`\n",
        );
    }
    let first = args.how.root.is_none().then_some("start it with `systemctl start hayward`, and ");
    output::tell(&format!(
        "installed: {}make tokens for clients at /admin/tokens or, on this machine, with `{}`\n",
        first.unwrap_or_default(),
        args.token_command()
    ));
    Ok(())
}

/// Shows what would be done, and the unit on standard output.
fn shown<'a>(steps: impl Iterator<Item = &'a Step>, unit: &str) -> Result<(), Failure> {
    output::tell("would\n");
    steps.for_each(|step| output::tell(&format!("  {step}\n")));
    output::written(output::data(unit))
}

/// Whether it shall be done: said with `--yes`, or on a terminal.
fn agreed<'a>(how: &How, steps: impl Iterator<Item = &'a Step>) -> Result<(), Failure> {
    if how.yes {
        return Ok(());
    }
    let cancelled =
        |message: &str, hint: &str| Failure::from(Error::new(Code::Invalid, message).with_hint(hint));
    if !std::io::stdin().is_terminal() {
        return Err(cancelled("there is no terminal to ask on", "agree with --yes, or look with --dry-run"));
    }
    output::tell("This will\n");
    steps.for_each(|step| output::tell(&format!("  {step}\n")));
    output::tell("Go on? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("failed to read the answer")?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(cancelled("nothing was changed", "answer y to go on"))
}

impl UninstallArgs {
    fn plan(&self, place: &Place<'_>) -> Result<Vec<Step>, Failure> {
        let run = |words: &[&str]| match systemctl(words) {
            Step::Run { words, .. } => Step::Run { words, may_fail: true },
            other => other,
        };
        let mut steps = vec![
            run(&["disable", "--now", NAME]),
            Step::Remove(Path::new(UNITS).join(NAME)),
            run(&["daemon-reload"]),
        ];
        if self.purge {
            // What commands left running on purpose, and a supervisor that is still writing.
            steps.insert(1, run(&["kill", "--kill-whom=all", "--signal=KILL", NAME]));
            let Folders { config_dir, log_dir, data_dir } = &self.folders;
            // With a database on a server there is no file of it, but the lock is there.
            let data = ["hayward.db", "hayward.lock"];
            for (path, known) in
                [(config_dir, &["hayward.toml"][..]), (log_dir, &["audit.log"]), (data_dir, &data)]
            {
                if is_ours(&place.at(path), known)? {
                    steps.push(Step::RemoveFolder(path.clone()));
                }
            }
            if self.how.root.is_none() {
                steps.extend(system::users_made().into_iter().map(Step::RemoveUser));
            }
        }
        Ok(steps)
    }
}

/// Whether a directory is there and Hayward's: it is empty, or what Hayward keeps there is in it.
fn is_ours(path: &Path, known: &[&str]) -> Result<bool, Failure> {
    let Ok(mut entries) = std::fs::read_dir(path) else { return Ok(false) };
    if path.is_symlink() || (entries.next().is_some() && !known.iter().any(|name| path.join(name).exists())) {
        let error = Error::new(
            Code::Conflict,
            format!("`{}` is not a directory of Hayward's: there is no `{}` in it", path.display(), known[0]),
        );
        return Err(error
            .with_hint("nothing was removed; name the directories, or leave --purge out")
            .into());
    }
    Ok(true)
}

pub(crate) fn uninstall(args: &UninstallArgs) -> Result<(), Failure> {
    let root = args.how.root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let nowhere = Place { root: &root, system: None };
    if args.how.dry_run {
        return shown(args.plan(&nowhere)?.iter(), "");
    }
    let system = args.how.root.is_none().then(System::here).transpose()?;
    let place = Place { root: &root, system: system.as_ref() };
    refuse_foreign(&place)?;
    let steps = args.plan(&place)?;
    place.refuse_outside(steps.iter())?;
    agreed(&args.how, steps.iter())?;
    steps.iter().try_for_each(|step| place.perform(step))?;
    let kept = if args.purge { "" } else { "; configuration, tokens and record are kept" };
    output::tell(&format!("removed the service{kept}\n"));
    Ok(())
}
