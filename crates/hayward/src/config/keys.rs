//! Everything that can be set, under the one name that it has in file, environment and flag.
//!
//! The names follow from the flags and limits that there are: whoever adds one gets the others by it. Between the
//! words of a name `.`, `_` and `-` mean the same, so that `log.level`, `log_level` and `[log] level` are one key.

use clap::{Arg, ArgAction, Command};
use hayward_api::error::did_you_mean;
use hayward_api::limits::Limit;

use super::AllLimits;

/// What the variables of the environment begin with.
pub(crate) const PREFIX: &str = "HAYWARD_";

/// The commands whose flags are keys.
const SERVING: [&str; 2] = ["serve", "stdio"];

/// The commands that ask a server. Their flags are keys, too: the first two have all of them.
const ASKING: [&str; 21] = [
    "get",
    "status",
    "apply",
    "backup",
    "cache",
    "console",
    "create",
    "delete",
    "describe",
    "diff",
    "edit",
    "history",
    "import",
    "invite",
    "login",
    "logout",
    "logs",
    "passwd",
    "patch",
    "revert",
    "__complete",
];

/// Short names of variables of commands that ask a server, and the keys' own.
const SHORT: [(&str, &str); 2] =
    [("HAYWARD_URL", "HAYWARD_CLIENT_URL"), ("HAYWARD_TOKEN_FILE", "HAYWARD_CLIENT_TOKEN_FILE")];

/// The variable of a key that is meant by a short name, or by its own.
pub(super) fn long(name: &str) -> &str {
    SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long)
}

/// The commands that take the settings of what serves.
const FENCED: [&str; 3] = ["serve", "stdio", "doctor"];

/// The heading of the flags that say a fence; they are called `fence.…` elsewhere.
const FENCE: &str = "Fence";

/// One thing that can be set.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Its name, e.g. `log.level`.
    pub(crate) name: String,
    /// Its variable, e.g. `HAYWARD_LOG_LEVEL`.
    pub(crate) variable: String,
    /// What it takes.
    pub(crate) takes: Takes,
    /// What it is when nothing is said.
    pub(crate) default: Vec<String>,
    /// Whether its value is never shown.
    pub(crate) is_secret: bool,
    /// From when on a new value is in force while `serve` runs.
    pub(crate) change: Change,
}

/// From when on a new value of a key is in force while `serve` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// From the next request on.
    Request,
    /// From the next connection on.
    Connection,
    /// From the next start on.
    Restart,
}

/// The keys of flags. Whoever adds one says here when it changes.
const CHANGES: [(&str, Change); 46] = [
    ("allowed.hosts", Change::Request),
    ("allowed.origins", Change::Request),
    ("audit.strict_from", Change::Request),
    ("behind.proxy", Change::Request),
    ("bootstrap.open", Change::Restart),
    ("containment", Change::Restart),
    ("data.dir", Change::Restart),
    ("database.url", Change::Restart),
    ("docker.network", Change::Restart),
    ("docker.socket", Change::Restart),
    ("fence.allow_network", Change::Restart),
    ("fence.cpu", Change::Restart),
    ("fence.file_size", Change::Restart),
    ("fence.memory", Change::Restart),
    ("fence.processes", Change::Restart),
    ("fence.profile", Change::Restart),
    ("fence.read_only", Change::Restart),
    ("fence.root", Change::Restart),
    ("fence.run_as", Change::Restart),
    ("host", Change::Restart),
    ("insecure.http", Change::Restart),
    ("log.dir", Change::Restart),
    ("log.format", Change::Restart),
    ("log.level", Change::Request),
    ("log.stdout", Change::Restart),
    ("manifests", Change::Restart),
    ("metrics.prefix", Change::Restart),
    ("no.tcp", Change::Restart),
    ("npm.registry", Change::Restart),
    ("package.certificates", Change::Restart),
    ("port", Change::Restart),
    ("protected.paths", Change::Request),
    ("public.url", Change::Request),
    ("python.index", Change::Restart),
    ("ready.file", Change::Restart),
    ("role", Change::Restart),
    ("run.servers", Change::Restart),
    ("shell", Change::Request),
    ("sync.files", Change::Request),
    ("tls.cert", Change::Connection),
    ("tls.client_ca", Change::Connection),
    ("tls.key", Change::Connection),
    ("tool.fences", Change::Request),
    ("transfers", Change::Request),
    ("unix.socket", Change::Restart),
    ("unix.socket_mode", Change::Restart),
];

/// The keys of commands that ask a server, which read them as they start.
#[cfg(test)]
const CLIENT: [&str; 5] = ["client.ca", "client.output", "client.project", "client.token_file", "client.url"];

/// The limits that don't change with the next request; those of rooms that are set up once are not listed.
const CHANGES_OF_LIMITS: [(&str, Change); 8] = [
    ("gateway.connections_max", Change::Restart),
    ("gateway.handshake_timeout_ms", Change::Connection),
    ("gateway.head_bytes_max", Change::Connection),
    ("gateway.head_timeout_ms", Change::Connection),
    ("gateway.stall_timeout_ms", Change::Connection),
    ("host.file_threads_max", Change::Restart),
    ("host.protected_files_max", Change::Restart),
    ("host.transfers_max", Change::Restart),
];

/// The rooms whose limits are taken once: those of the record, of commands, of what runs and of the database.
const SET_UP_ONCE: [&str; 4] = ["audit.", "exec.", "runtime.", "store."];

impl Change {
    fn of_flag(name: &str) -> Self {
        let said = CHANGES.iter().find(|(key, _)| *key == name);
        said.map_or(Self::Restart, |(_, change)| *change)
    }

    fn of_limit(name: &str) -> Self {
        if SET_UP_ONCE.iter().any(|room| name.starts_with(room)) {
            return Self::Restart;
        }
        let said = CHANGES_OF_LIMITS.iter().find(|(key, _)| *key == name);
        said.map_or(Self::Request, |(_, change)| *change)
    }
}

/// What a key takes.
#[derive(Clone, Debug)]
pub(crate) enum Takes {
    /// One value of a flag.
    One,
    /// Several values of a flag, with this between them in the environment.
    Many(Option<char>),
    /// Yes or no: a flag without a value.
    Switch,
    /// The number of a limit.
    Limit(&'static Limit),
}

impl Key {
    fn of(arg: &Arg) -> Option<Self> {
        let variable = arg.get_env()?.to_str()?.to_owned();
        let name = variable.strip_prefix(PREFIX)?.to_lowercase().replacen('_', ".", 1);
        let takes = match arg.get_action() {
            ArgAction::SetTrue => Takes::Switch,
            ArgAction::Append => Takes::Many(arg.get_value_delimiter()),
            _ => Takes::One,
        };
        let default = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned());
        let default = match takes {
            Takes::Switch => vec!["false".to_owned()],
            _ => default.collect(),
        };
        let (is_secret, change) = (is_secret(&name), Change::of_flag(&name));
        Some(Self { name, variable, takes, default, is_secret, change })
    }

    fn of_limit(limit: &'static Limit) -> Self {
        Self {
            name: limit.key.to_owned(),
            variable: limit.environment_variable(),
            takes: Takes::Limit(limit),
            default: vec![limit.default.to_string()],
            is_secret: false,
            change: Change::of_limit(limit.key),
        }
    }

    /// Where `config set` puts it in a file: limits have a table of their own, since `host` is a flag and a room of limits.
    pub(crate) fn path(&self) -> Vec<&str> {
        let words = self.name.split('.');
        match self.takes {
            Takes::Limit(_) => std::iter::once("limits").chain(words).collect(),
            _ => words.collect(),
        }
    }
}

fn is_secret(name: &str) -> bool {
    ["token", "secret", "password", "database.url"].iter().any(|end| name.ends_with(end))
}

/// Every key.
pub(crate) struct Keys(Vec<Key>);

impl Keys {
    /// The keys of a command line that was [`prepared`], and of all limits.
    pub(crate) fn of(root: &Command) -> Self {
        let mut keys: Vec<Key> = Vec::new();
        for arg in SERVING
            .iter()
            .chain(&ASKING[..2])
            .filter_map(|name| root.find_subcommand(name))
            .flat_map(Command::get_arguments)
        {
            let known = |key: &Key| keys.iter().any(|other| other.name == key.name);
            if let Some(key) = Key::of(arg).filter(|key| !known(key)) {
                keys.push(key);
            }
        }
        keys.extend(AllLimits::table().map(Key::of_limit));
        Self(keys)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The key that is spelled so.
    pub(crate) fn find(&self, spelled: &str) -> Option<&Key> {
        self.0.iter().find(|key| Self::means(key, spelled))
    }

    /// Whether this spelling is this key's.
    pub(crate) fn means(key: &Key, spelled: &str) -> bool {
        let plain = plain(spelled);
        let own = self::plain(&key.name);
        plain == own || (matches!(key.takes, Takes::Limit(_)) && plain.strip_prefix("limits_") == Some(&own))
    }

    /// What is told of a key that there is none of.
    pub(crate) fn unknown(&self, spelled: &str) -> String {
        let plain = spelled.strip_prefix("limits.").unwrap_or(spelled).replace('-', "_");
        match did_you_mean(&plain, self.0.iter().map(|key| key.name.as_str())) {
            Some(meant) => format!("unknown key `{spelled}`: did you mean `{meant}`?"),
            None => format!("unknown key `{spelled}`: `hayward config view` lists them"),
        }
    }
}

fn plain(spelled: &str) -> String {
    spelled.replace(['.', '-'], "_").to_lowercase()
}

/// The command line with the names that follow from others: variables for the flags of fences, and flags as the variables
/// are called.
pub(crate) fn prepared(root: Command) -> Command {
    FENCED
        .iter()
        .chain(&ASKING)
        .fold(root, |root, name| root.mut_subcommand(name, |command| command.mut_args(named)))
}

fn named(arg: Arg) -> Arg {
    let is_fence = arg.get_help_heading() == Some(FENCE);
    let Some(long) = arg.get_long().map(str::to_owned) else { return arg };
    let arg = if is_fence && arg.get_env().is_none() {
        let variable = format!("{PREFIX}FENCE_{}", long.replace('-', "_").to_uppercase());
        arg.env(variable)
    } else {
        arg
    };
    let variable =
        arg.get_env().and_then(|variable| variable.to_str()).and_then(|name| name.strip_prefix(PREFIX));
    match variable.map(|name| name.replace('_', "-").to_lowercase()) {
        Some(flag) if flag != long => arg.alias(flag),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write as _;

    use super::*;

    fn keys() -> Keys {
        Keys::of(&crate::line())
    }

    #[test]
    fn every_flag_and_every_limit_has_one_name_that_no_other_has() {
        let keys = keys();
        let names: HashSet<String> = keys.iter().map(|key| plain(&key.name)).collect();
        assert_eq!(names.len(), keys.iter().count());
        for key in keys.iter() {
            assert_eq!(key.variable, format!("{PREFIX}{}", plain(&key.name).to_uppercase()));
        }
    }

    #[test]
    fn every_flag_of_what_serves_is_a_key() {
        let root = crate::line();
        let keys = Keys::of(&root);
        for command in SERVING.iter().map(|name| root.find_subcommand(name).unwrap()) {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "limits") {
                assert!(Key::of(arg).is_some_and(|key| keys.find(&key.name).is_some()), "{}", arg.get_id());
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "how a test is told to write")]
    fn the_reference_of_keys_is_fresh() {
        let mut text = String::from(
            "<!-- Generated by `cargo xtask generate`; edit the table in `crates/hayward/src/config/keys.rs`. -->\n\n\
             # Keys of the configuration\n\n\
             What each is for: [commands](cli.md) and [limits](limits.md). How they are set, and how a running server takes new\n\
             values: [configuration](../guides/configuration.md).\n\n\
             | key | default | environment | a new value is in force from the next |\n|---|---|---|---|\n",
        );
        for key in keys().iter() {
            let name = key.path().join(".");
            let default = key.default.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" ");
            let change = match key.change {
                Change::Request => "request",
                Change::Connection => "connection",
                Change::Restart => "start",
            };
            writeln!(text, "| `{name}` | {default} | `{}` | {change} |", key.variable).unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/configuration.md");
        if std::env::var_os("HAYWARD_UPDATE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == text, "{path} is stale: run `cargo xtask generate` and commit");
    }

    #[test]
    fn of_every_key_it_is_said_when_it_changes() {
        let keys = keys();
        let flags = keys.iter().filter(|key| !matches!(key.takes, Takes::Limit(_)));
        let flags: HashSet<&str> = flags.map(|key| key.name.as_str()).collect();
        let said = CHANGES.iter().map(|(name, _)| *name).chain(CLIENT);
        assert_eq!(flags, said.collect());
        for (name, _) in CHANGES_OF_LIMITS {
            assert!(keys.iter().any(|key| key.name == name), "{name}");
        }
    }

    #[test]
    fn a_name_is_found_however_its_words_are_joined() {
        let keys = keys();
        for spelled in ["log.level", "log_level", "log-level", "LOG_LEVEL"] {
            assert_eq!(keys.find(spelled).unwrap().name, "log.level");
        }
        for spelled in ["gateway.calls_max", "limits.gateway.calls_max", "gateway-calls-max"] {
            assert_eq!(keys.find(spelled).unwrap().name, "gateway.calls_max");
        }
        assert!(keys.find("limits.log.level").is_none() && keys.find("").is_none());
        assert!(keys.unknown("log.levl").contains("did you mean `log.level`"));
        assert!(keys.unknown("limits.gateway.calls-mx").contains("`gateway.calls_max`"));
    }

    #[test]
    fn every_key_has_a_flag_of_its_own_name() {
        let root = crate::line();
        for key in keys().iter().filter(|key| !matches!(key.takes, Takes::Limit(_))) {
            let flag = plain(&key.name).replace('_', "-");
            let has = |name: &&str| {
                root.find_subcommand(name).unwrap().get_arguments().any(|arg| {
                    arg.get_long() == Some(&flag)
                        || arg.get_all_aliases().is_some_and(|all| all.contains(&flag.as_str()))
                })
            };
            assert!(SERVING.iter().chain(&ASKING[..2]).any(has), "--{flag}");
        }
    }
}
