//! What files, environment and flags say, checked as a whole before anything is bound.
//!
//! Default < file < environment < flag. All faults are collected and told together.

pub(crate) mod database;
pub(crate) mod file;
pub(crate) mod keys;
pub(crate) mod layers;
pub(crate) mod mymcp;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::ValueEnum;
use hayward_api::Tier;
use hayward_api::error::did_you_mean;
use hayward_api::limits::{Limit, LimitError};
use hayward_store::DatabaseUrl;
use hayward_telemetry::otlp::{Otlp, Settings};

use self::database::DatabaseGiven;
use crate::failure::Failure;
use crate::fences::FenceArgs;
use crate::fences::tools::{ToolFenceArg, tool_fence};
use crate::output;

/// Where settings are looked for; every command has these.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Where {
    /// File of the configuration [default: /etc/hayward/hayward.toml for root, else hayward/hayward.toml in the XDG config home]
    #[arg(long, env = "HAYWARD_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// File of environment variables, one NAME=value on a line; the names of mymcp are understood
    #[arg(long, env = "HAYWARD_ENV_FILE", value_name = "FILE", global = true)]
    env_file: Option<PathBuf>,
}

/// The file of the configuration that this process reads, or would read if it were there.
pub(crate) fn file() -> Option<PathBuf> {
    let words: Vec<_> = std::env::args_os().collect();
    layers::sources(&words, environment().collect()).file
}

/// The file of the configuration when none is named; none without a home.
fn default_path() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from(SYSTEM_FILE));
    }
    let home = home_of("XDG_CONFIG_HOME", ".config");
    home.map(|home| home.join("hayward/hayward.toml"))
}

/// The file of the configuration for services.
const SYSTEM_FILE: &str = "/etc/hayward/hayward.toml";

/// Settings that every command on local state shares.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Common {
    /// Directory of everything that Hayward keeps [default: hayward in the XDG data home]
    #[arg(long, env = "HAYWARD_DATA_DIR", value_name = "DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,

    /// PostgreSQL database instead of a file in the data directory, as postgres://…; one with a password belongs in the variable or the configuration
    #[arg(
        long,
        env = "HAYWARD_DATABASE_URL",
        value_name = "URL",
        value_parser = database::given,
        hide_env_values = true,
        global = true
    )]
    pub(crate) database_url: Option<DatabaseGiven>,

    /// Least serious log messages that are written to standard error: error, warn, info, debug or trace
    #[arg(long, env = "HAYWARD_LOG_LEVEL", value_name = "LEVEL", default_value = "warn", global = true)]
    pub(crate) log_level: String,

    /// Form of the log
    #[arg(long, env = "HAYWARD_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    pub(crate) log_format: LogFormat,
}

/// The forms of the log.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Settings of whatever serves tools.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Serving {
    // First, since reading the others takes them away.
    #[command(flatten)]
    pub(crate) said: Said,

    /// Path that no file tool may reach, beside Hayward's own data; may be repeated
    #[arg(long = "protect", env = "HAYWARD_PROTECTED_PATHS", value_name = "PATH", value_delimiter = ',')]
    pub(crate) protected_paths: Vec<PathBuf>,

    /// Whether files are synced to disk before a write is answered
    #[arg(long, env = "HAYWARD_SYNC_FILES", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) sync_files: bool,

    /// Lowest tier whose calls wait until their records are on the disk, and so outlive a power loss
    ///
    /// The records of the others are written, which outlives the process, and synced within 50 ms. Changes of tokens
    /// wait too, unless this is `never`.
    #[arg(
        long,
        env = "HAYWARD_AUDIT_STRICT_FROM",
        value_enum,
        value_name = "TIER",
        default_value = "operate"
    )]
    pub(crate) audit_strict_from: StrictFrom,

    /// Shell that runs the commands of `bash_execute`
    #[arg(long, env = "HAYWARD_SHELL", value_name = "PATH", default_value = SHELL)]
    pub(crate) shell: PathBuf,

    /// What holds the processes of a command together: auto takes a cgroup where there is one
    #[arg(long, env = "HAYWARD_CONTAINMENT", value_enum, default_value = "auto")]
    pub(crate) containment: Containment,

    /// Sets a limit, e.g. `host.read_lines_max=100000` (docs/reference/limits.md); may be repeated
    #[arg(long = "limit", value_name = "KEY=VALUE")]
    pub(crate) limits: Vec<String>,

    /// The fence of whoever has none of its own: temporary tokens, and clients on standard input and output.
    #[command(flatten)]
    pub(crate) fence: FenceArgs,

    /// Keeps a tool to a fence of its own beside each caller's, e.g. `bash_execute:profile=confined,root=/srv/app`; may be repeated
    ///
    /// The words are those of the other options for fences, without `--` and with a comma between them; `read_*` means all
    /// tools whose names begin so. A call gets what both fences allow: a tool's fence takes away, and never gives.
    #[arg(
        long = "tool-fence",
        env = "HAYWARD_TOOL_FENCES",
        value_name = "TOOL:WORDS",
        value_delimiter = ';',
        value_parser = tool_fence,
        help_heading = "Fence"
    )]
    pub(crate) tool_fences: Vec<ToolFenceArg>,
}

impl Serving {
    /// All limits: defaults, then files, then the environment, then flags.
    pub(crate) fn limits(&self) -> Result<AllLimits, Failure> {
        AllLimits::layered(&self.said.limits, &self.limits)
    }

    /// The same, with what is wrong told by somebody else.
    pub(crate) fn limits_telling(&self, faults: &mut Vec<String>) -> AllLimits {
        AllLimits::layered_telling(&self.said.limits, &self.limits, faults)
    }

    /// Whether nothing was said but in files, which whoever serves there has, too: then their settings do as well.
    pub(crate) fn is_default(&self) -> bool {
        !self.said.is_any || self.is_as_without()
    }

    fn is_as_without(&self) -> bool {
        self.protected_paths.is_empty()
            && self.sync_files
            && matches!(self.audit_strict_from, StrictFrom::Operate)
            && self.shell.as_os_str() == SHELL
            && matches!(self.containment, Containment::Auto)
            && self.limits.is_empty()
            && self.fence.is_default()
            && self.tool_fences.is_empty()
    }
}

/// What is known of how [`Serving`] came to be what it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Whether anything of it was said on the command line or in the environment.
    is_any: bool,
    /// The limits of the files of the configuration.
    limits: Vec<String>,
}

impl clap::Args for Said {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

impl clap::FromArgMatches for Said {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let serving = <Serving as clap::Args>::augment_args(clap::Command::new("serving"));
        let ids = serving.get_arguments().map(|arg| arg.get_id().as_str());
        let is_any = layers::is_said(matches, ids);
        Ok(Self { is_any, limits: layers::limits(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = <Self as clap::FromArgMatches>::from_arg_matches(matches)?;
        Ok(())
    }
}

/// From which tier on calls wait for the disk.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum StrictFrom {
    Read,
    Operate,
    Danger,
    Never,
}

impl StrictFrom {
    pub(crate) fn tier(self) -> Option<Tier> {
        match self {
            Self::Read => Some(Tier::Read),
            Self::Operate => Some(Tier::Operate),
            Self::Danger => Some(Tier::Danger),
            Self::Never => None,
        }
    }
}

/// The shell when nothing is said.
const SHELL: &str = "/bin/sh";

/// What holds the processes of a command together.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Containment {
    Auto,
    Subreaper,
}

/// The limits of every room.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllLimits {
    pub(crate) gateway: hayward_gateway::limits::Limits,
    pub(crate) host: hayward_host::limits::Limits,
    pub(crate) runtime: hayward_runtime::Limits,
    pub(crate) exec: hayward_exec::Limits,
    pub(crate) tool: hayward_tool::limits::Limits,
    pub(crate) audit: hayward_audit::limits::Limits,
    pub(crate) store: hayward_store::limits::Limits,
    pub(crate) controlplane: hayward_controlplane::limits::Limits,
}

impl AllLimits {
    /// Every limit there is.
    pub(crate) fn table() -> impl Iterator<Item = &'static Limit> {
        hayward_audit::limits::Limits::TABLE
            .iter()
            .chain(hayward_controlplane::limits::Limits::TABLE)
            .chain(hayward_exec::Limits::TABLE)
            .chain(hayward_gateway::limits::Limits::TABLE)
            .chain(hayward_host::limits::Limits::TABLE)
            .chain(hayward_runtime::Limits::TABLE)
            .chain(hayward_store::limits::Limits::TABLE)
            .chain(hayward_tool::limits::Limits::TABLE)
    }

    fn set(&mut self, key: &str, value: u64) -> Result<(), LimitError> {
        match key.split('.').next() {
            Some("audit") => self.audit.set(key, value),
            Some("controlplane") => self.controlplane.set(key, value),
            Some("exec") => self.exec.set(key, value),
            Some("gateway") => self.gateway.set(key, value),
            Some("host") => self.host.set(key, value),
            Some("runtime") => self.runtime.set(key, value),
            Some("store") => self.store.set(key, value),
            Some("tool") => self.tool.set(key, value),
            _ => Err(LimitError::UnknownKey { key: key.to_owned() }),
        }
    }

    /// Defaults, then the environment, then flags.
    pub(crate) fn read(flags: &[String]) -> Result<Self, Failure> {
        Self::layered(&[], flags)
    }

    fn layered(configured: &[String], flags: &[String]) -> Result<Self, Failure> {
        let mut faults = Vec::new();
        let limits = Self::layered_telling(configured, flags, &mut faults);
        sound(&faults).map(|()| limits)
    }

    /// Defaults, then what files say as `KEY=VALUE`, then the environment, then flags; what is wrong is told by
    /// somebody else.
    fn layered_telling(configured: &[String], flags: &[String], faults: &mut Vec<String>) -> Self {
        let mut limits = Self::default();
        for (key, value) in configured.iter().filter_map(|limit| limit.split_once('=')) {
            limits.set_text(key, value, faults);
        }
        for (key, value) in from_environment() {
            limits.set_text(key, &value, faults);
        }
        for flag in flags {
            match flag.split_once('=') {
                Some((key, value)) => limits.set_text(key.trim(), value, faults),
                None => faults.push(format!("`--limit {flag}` has no value: write KEY=VALUE")),
            }
        }
        limits
    }

    fn set_text(&mut self, key: &str, value: &str, faults: &mut Vec<String>) {
        let set = value.trim().replace('_', "").parse::<u64>().map(|value| self.set(key, value));
        match set {
            Ok(Ok(())) => {}
            Ok(Err(LimitError::UnknownKey { .. })) => faults.push(unknown(key)),
            Ok(Err(error)) => faults.push(error.to_string()),
            Err(_) => faults.push(format!("`{key}` is `{value}`: a limit is a whole number")),
        }
    }
}

fn unknown(key: &str) -> String {
    match did_you_mean(key, AllLimits::table().map(|limit| limit.key)) {
        Some(meant) => format!("unknown limit `{key}`: did you mean `{meant}`?"),
        None => format!("unknown limit `{key}`: docs/reference/limits.md lists them"),
    }
}

/// Refuses a configuration that has faults, all of which it tells.
pub(crate) fn sound(faults: &[String]) -> Result<(), Failure> {
    if faults.is_empty() {
        return Ok(());
    }
    let mut message = String::from("the configuration is wrong");
    for fault in faults {
        // A file may hold what steers a terminal, and lines that look like ours.
        let fault = output::plain(fault).replace('\n', " ");
        let _written = write!(message, "\n  {fault}");
    }
    Err(Failure::configuration(anyhow::anyhow!(message)))
}

#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn from_environment() -> impl Iterator<Item = (&'static str, String)> {
    AllLimits::table()
        .filter_map(|limit| Some((limit.key, std::env::var(limit.environment_variable()).ok()?)))
}

/// The variables that commands may inherit a part of.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

impl Common {
    /// The database beside the data directory, if there is one.
    pub(crate) fn database(&self) -> Result<Option<DatabaseUrl>, Failure> {
        self.database_url.as_ref().map(DatabaseGiven::checked).transpose()
    }

    /// The data directory: what was said, else `hayward` in the XDG data home.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.data_dir {
            let absolute = std::path::absolute(dir).map_err(|error| {
                Failure::configuration(anyhow::Error::from(error).context("invalid `--data-dir`"))
                    .hint("give the absolute path of a directory")
            })?;
            return Ok(absolute);
        }
        let home = home_of("XDG_DATA_HOME", ".local/share");
        home.map(|home| home.join("hayward")).ok_or_else(|| {
            Failure::configuration(anyhow::anyhow!(
                "no data directory: neither `--data-dir` nor `HOME` is set"
            ))
            .hint("name one with `--data-dir` or `HAYWARD_DATA_DIR`")
        })
    }

    /// Starts the log, which goes to standard error alone.
    pub(crate) fn start_log(&self) -> Result<hayward_telemetry::Logging, Failure> {
        self.start_log_for(None)
    }

    /// Starts the log, which is told to a collector as well if logs are pushed.
    pub(crate) fn start_log_for(&self, otlp: Option<&Otlp>) -> Result<hayward_telemetry::Logging, Failure> {
        let format = match self.log_format {
            LogFormat::Text => hayward_telemetry::Format::Text,
            LogFormat::Json => hayward_telemetry::Format::Json,
        };
        let config = hayward_telemetry::Config {
            level: self.log_level.clone(),
            format,
            ansi: std::io::IsTerminal::is_terminal(&std::io::stderr()),
            logs: otlp.and_then(Otlp::logs),
        };
        hayward_telemetry::init(&config).map_err(|error| {
            Failure::configuration(error).hint("use error, warn, info, debug or trace as `--log-level`")
        })
    }
}

/// The directory that an XDG variable names, else this one in the home directory.
pub(crate) fn home_of(name: &str, below: &str) -> Option<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    absolute(variable(name)).or_else(|| absolute(variable("HOME")).map(|home| home.join(below)))
}

/// What is pushed to a collector, by the standard variables of OpenTelemetry; nothing if they name none.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn otlp() -> Result<Option<Otlp>, Failure> {
    let read = Settings::read(&|variable| std::env::var(variable).ok());
    match read {
        Ok(settings) => Ok(settings.map(Otlp::new)),
        Err(faults) => {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            sound(&faults).map(|()| None)
        }
    }
}

/// What the environment says under this name; nothing if it says nothing.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_by_key_and_all_faults_are_told_together() {
        let good =
            AllLimits::layered(&["gateway.calls_max=9".into()], &["gateway.calls_max=7".into()]).unwrap();
        assert_eq!(good.gateway.calls_max, 7);
        let flags = ["gateway.calls_mx=7", "gateway.calls_max=0", "x", "host.x=abc"].map(String::from);
        let failure = AllLimits::read(&flags).unwrap_err();
        let text = failure.error.to_string();
        assert_eq!(failure.exit_code, 78);
        for expect in ["did you mean `gateway.calls_max`", "use 1 to", "KEY=VALUE", "a whole number"] {
            assert!(text.contains(expect), "{expect}: {text}");
        }
    }

    #[test]
    fn every_limit_can_be_set_to_its_ends_and_not_beyond() {
        for limit in AllLimits::table() {
            for (value, is_good) in [
                (limit.least, true),
                (limit.greatest, true),
                (limit.default, true),
                (limit.greatest + 1, false),
                (limit.least.wrapping_sub(1), false),
            ] {
                let result = AllLimits::default().set(limit.key, value);
                assert_eq!(result.is_ok(), is_good, "{} = {value}", limit.key);
            }
        }
    }
}
