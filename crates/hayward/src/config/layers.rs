//! Default < file < environment < flag: what is set, and where it came from.
//!
//! Files and environment are read and checked as a whole before the command line is parsed; then what they say stands in
//! the place of the defaults. So flags win, a command sees one set of values, and all faults are told together.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::{self, Entry, Given, Look};
use super::keys::{self, Key, Keys, Takes};
use super::mymcp::{self, Became};
use super::{AllLimits, sound};
use crate::failure::Failure;
use crate::usage;

/// The argument that takes the limits of files.
const LIMITS: &str = "configured-limit";

/// Faults after which a file is not looked at further: nobody mends more at once, and each costs a search for what was meant.
const FAULTS_MAX: usize = 100;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing was said.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// A variable of the environment.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
        }
    }
}

/// What a key is, and who said so.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) key: Key,
    /// One value, or as many as a list has.
    pub(crate) values: Vec<String>,
    pub(crate) origin: Origin,
}

/// Where to look.
pub(crate) struct Sources {
    /// The file, if there is one to look for.
    pub(crate) file: Option<PathBuf>,
    /// Whether it was named, and so has to be there.
    pub(crate) is_named: bool,
    /// A file of variables.
    pub(crate) env_file: Option<PathBuf>,
    /// The environment.
    pub(crate) variables: Vec<(String, String)>,
}

/// What all sources say together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// What is set, the last that says so having the word; in the order of the keys.
    pub(crate) settings: Vec<Setting>,
    /// What somebody should change, though it does no harm.
    pub(crate) notes: Vec<String>,
    /// What is wrong, in the order in which it was found.
    pub(crate) faults: Vec<String>,
    /// The files that were read, as they looked just before, those included that weren't there.
    pub(crate) looks: BTreeMap<PathBuf, Look>,
}

impl Layers {
    /// Reads all sources, and checks each value as the command line would.
    pub(crate) fn read(root: &Command, keys: &Keys, sources: &Sources) -> Self {
        let mut reading = Reading { root, keys, layers: Self::default() };
        if let Some(path) = &sources.file {
            reading.file(path, sources.is_named);
        }
        if let Some(path) = &sources.env_file {
            reading.env_file(path);
        }
        let old = |name: &str| name.starts_with(mymcp::PREFIX);
        let (old, new): (Vec<_>, Vec<_>) = sources.variables.iter().partition(|(name, _)| old(name));
        for (name, value) in old.into_iter().chain(new) {
            reading.variable(name, value, name, &Origin::Environment(name.clone()));
        }
        let mut layers = reading.layers;
        let place = |setting: &Setting| keys.iter().position(|key| key.name == setting.key.name);
        layers.settings.sort_by_key(place);
        layers
    }

    /// These layers, unless something is wrong with them.
    pub(crate) fn sound(self) -> Result<Self, Failure> {
        sound(&self.faults).map(|()| self)
    }

    /// What a key is, said or not.
    pub(crate) fn values<'a>(&'a self, key: &'a Key) -> &'a [String] {
        let said = self.settings.iter().find(|setting| setting.key.name == key.name);
        said.map_or(&key.default, |setting| &setting.values)
    }

    /// A fault of a flag (`` `--flag` … ``), behind the place in a file that says it, if one has the say about it.
    pub(crate) fn placed(&self, root: &Command, is_open: impl Fn(&Key) -> bool, fault: String) -> String {
        let flag = fault.strip_prefix("`--").and_then(|rest| rest.split('`').next());
        let args = root.get_subcommands().flat_map(Command::get_arguments);
        let variable = args.filter(|arg| arg.get_long() == flag).find_map(Arg::get_env);
        let says = |setting: &&Setting| {
            variable == Some(OsStr::new(&setting.key.variable)) && flag.is_some() && is_open(&setting.key)
        };
        match self.settings.iter().find(says).map(|setting| &setting.origin) {
            Some(place @ Origin::File(..)) => format!("{place}: {fault}"),
            _ => fault,
        }
    }

    /// The command line with what is set in the place of its defaults. What the environment says under its own names the
    /// command line reads by itself.
    pub(crate) fn apply(&self, command: Command) -> Command {
        let limits: Vec<String> = self.settings.iter().filter_map(Setting::limit).collect();
        let command = command.mut_args(|arg| {
            let means = |setting: &&Setting| arg.get_env() == Some(OsStr::new(&setting.key.variable));
            match self.settings.iter().find(means) {
                Some(setting) if !setting.is_read_by_itself() => arg.default_values(setting.values.clone()),
                _ => arg,
            }
        });
        let has_limits = command.get_arguments().any(|arg| arg.get_id() == "limits");
        if limits.is_empty() || !has_limits {
            return command;
        }
        // Nobody types it: what is said with `--limit` stands behind the environment, and this before it.
        let arg = Arg::new(LIMITS).long(LIMITS).hide(true).action(ArgAction::Append);
        command.arg(arg.default_values(limits))
    }
}

/// The limits that files say, as `KEY=VALUE`.
pub(crate) fn limits(matches: &ArgMatches) -> Vec<String> {
    let limits = matches.try_get_many::<String>(LIMITS).ok().flatten();
    limits.into_iter().flatten().cloned().collect()
}

impl Setting {
    fn is_read_by_itself(&self) -> bool {
        self.origin == Origin::Environment(self.key.variable.clone())
    }

    /// `KEY=VALUE` of a limit.
    fn limit(&self) -> Option<String> {
        let is_limit = matches!(self.key.takes, Takes::Limit(_)) && !self.is_read_by_itself();
        is_limit.then(|| format!("{}={}", self.key.name, self.values.join("")))
    }
}

/// The sources, while they are read: each overrides those before it.
struct Reading<'a> {
    root: &'a Command,
    keys: &'a Keys,
    layers: Layers,
}

impl Reading<'_> {
    fn fault(&mut self, fault: String) {
        self.layers.faults.push(fault);
    }

    fn text(&mut self, path: &Path, is_named: bool) -> Option<String> {
        // Before it is read: what changes meanwhile is seen to have changed.
        self.layers.looks.insert(path.to_owned(), file::look(path));
        match file::read(path) {
            Ok(None) if is_named => {
                self.fault(format!("{}: there is no such file", path.display()));
                None
            }
            Ok(text) => text,
            Err(fault) => {
                self.fault(fault);
                None
            }
        }
    }

    fn file(&mut self, path: &Path, is_named: bool) {
        let Some(text) = self.text(path, is_named) else { return };
        let shown = path.display();
        match file::toml(&text) {
            Ok(entries) => self.entries(path, entries),
            Err((line, message)) => self.fault(format!("{shown}:{line}: {message}")),
        }
    }

    fn entries(&mut self, path: &Path, entries: Vec<Entry>) {
        for entry in entries {
            if self.layers.faults.len() >= FAULTS_MAX {
                let place = format!("{}:{}", path.display(), entry.line);
                return self
                    .fault(format!("{place}: from here on nothing is looked at: mend the others first"));
            }
            self.entry(path, entry);
        }
    }

    fn entry(&mut self, path: &Path, entry: Entry) {
        let place = format!("{}:{}", path.display(), entry.line);
        let Some(key) = self.keys.find(&entry.spelled) else {
            return self.fault(format!("{place}: {}", self.keys.unknown(&entry.spelled)));
        };
        let origin = Origin::File(path.to_owned(), entry.line);
        let is_twice = |setting: &Setting| {
            setting.key.name == key.name && matches!(&setting.origin, Origin::File(other, _) if other == path)
        };
        if let Some(first) = self.layers.settings.iter().find(|setting| is_twice(setting)) {
            return self.fault(format!("{place}: `{}` was set at {} already", key.name, first.origin));
        }
        let values = entry.value.map_err(str::to_owned).and_then(|given| listed(key, given));
        match values {
            Ok(values) => self.set(key, values, &origin, &place),
            Err(why) => self.fault(format!("{place}: `{}`: {why}", key.name)),
        }
    }

    fn env_file(&mut self, path: &Path) {
        let Some(text) = self.text(path, true) else { return };
        let (entries, faults) = file::variables(&text);
        for (line, fault) in faults.into_iter().take(FAULTS_MAX) {
            self.fault(format!("{}:{line}: {fault}", path.display()));
        }
        for Entry { spelled, line, value } in entries {
            if let Ok(Given::One(value)) = value {
                let place = format!("{}:{line}", path.display());
                self.variable(&spelled, &value, &place, &Origin::File(path.to_owned(), line));
            }
        }
    }

    /// A variable of either name; others are somebody else's.
    fn variable(&mut self, name: &str, value: &str, place: &str, origin: &Origin) {
        if let Some(old) = name.strip_prefix(mymcp::PREFIX) {
            // This one names the file itself.
            if old != "ENV_FILE" {
                self.renamed(name, old, value, origin);
            }
        } else if let Some(key) = self.keys.iter().find(|key| key.variable == keys::long(name)) {
            let values = match &key.takes {
                Takes::Many(Some(between)) => value.split(*between).map(str::to_owned).collect(),
                _ => vec![value.to_owned()],
            };
            self.set(key, values, origin, place);
        }
    }

    fn renamed(&mut self, name: &str, old: &str, value: &str, origin: &Origin) {
        let place = match origin {
            Origin::File(..) => format!("{origin}: `{name}`"),
            _ => format!("`{name}`"),
        };
        match mymcp::became(old, value, self.keys) {
            Became::Set { key, values } => {
                let Some(key) = self.keys.find(key) else { return };
                self.layers.notes.push(format!("{place} is called `{}` now", key.variable));
                self.set(key, values, origin, &place);
            }
            Became::Held => {}
            Became::Nothing(why) => self.layers.notes.push(format!("{place} is not taken over: {why}")),
        }
    }

    fn set(&mut self, key: &Key, values: Vec<String>, origin: &Origin, place: &str) {
        if let Err(why) = check(self.root, key, &values) {
            return self.fault(format!("{place}: {why}"));
        }
        let settings = &mut self.layers.settings;
        settings.retain(|setting| setting.key.name != key.name);
        settings.push(Setting { key: key.clone(), values, origin: origin.clone() });
    }
}

/// The values of a key, if it takes so many.
fn listed(key: &Key, given: Given) -> Result<Vec<String>, String> {
    match (given, &key.takes) {
        (Given::One(value), _) => Ok(vec![value]),
        (Given::Many(values), Takes::Many(between)) => {
            let between = between.unwrap_or('\n');
            match values.iter().find(|value| value.contains(between)) {
                Some(odd) => Err(format!("`{odd}` has a `{between}`, which stands between values elsewhere")),
                None => Ok(values),
            }
        }
        (Given::Many(_), _) => Err("it takes one value, and this is a list".to_owned()),
    }
}

/// What is wrong with the values of a key, by what the command line or the limit says of them.
pub(crate) fn check(root: &Command, key: &Key, values: &[String]) -> Result<(), String> {
    let wrong = |value: &str, why: &str| {
        let shown = if key.is_secret { "***" } else { value };
        format!("`{}` is `{shown}`: {why}", key.name)
    };
    match &key.takes {
        Takes::Limit(limit) => {
            let value = values.join("");
            let number =
                value.trim().replace('_', "").parse().map_err(|_| wrong(&value, "use a whole number"))?;
            AllLimits::default().set(limit.key, number).map_err(|error| error.to_string())
        }
        Takes::Switch => match values {
            [one] if one == "true" || one == "false" => Ok(()),
            _ => Err(wrong(&values.join(", "), "use true or false")),
        },
        Takes::One | Takes::Many(..) => {
            let command = root.get_subcommands().find_map(|command| {
                let is_it = |arg: &&clap::Arg| arg.get_env() == Some(OsStr::new(&key.variable));
                Some((command, command.get_arguments().find(is_it)?.get_long()?))
            });
            let Some((command, long)) = command else { return Ok(()) };
            values.iter().try_for_each(|value| parsed(command, long, value).map_err(|why| wrong(value, &why)))
        }
    }
}

/// What the command line says of one value of a flag.
fn parsed(command: &Command, long: &str, value: &str) -> Result<(), String> {
    let word = format!("--{long}={value}");
    let Err(error) = command.clone().try_get_matches_from([command.get_name(), &word]) else { return Ok(()) };
    let is_value = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
    if !is_value || usage::flag_of(&error).is_none_or(|flag| flag != format!("--{long}")) {
        return Ok(());
    }
    if let Some(ContextValue::Strings(words)) = error.get(ContextKind::ValidValue)
        && !words.is_empty()
    {
        return Err(format!("use {}", words.join(", ")));
    }
    Err(std::error::Error::source(&error).map_or_else(|| "give a value".to_owned(), ToString::to_string))
}

/// What a command was told about where to look, before it is parsed.
pub(crate) fn sources(args: &[OsString], variables: Vec<(String, String)>) -> Sources {
    let variable = |wanted: &str| {
        let found = variables.iter().find(|(name, value)| name == wanted && !value.is_empty());
        found.map(|(_, value)| PathBuf::from(value))
    };
    let named = option(args, "--config").or_else(|| variable("HAYWARD_CONFIG"));
    let env_file = option(args, "--env-file")
        .or_else(|| variable("HAYWARD_ENV_FILE"))
        .or_else(|| variable(&format!("{}ENV_FILE", mymcp::PREFIX)));
    Sources { is_named: named.is_some(), file: named.or_else(super::default_path), env_file, variables }
}

/// The last value of an option that all commands have.
fn option(args: &[OsString], name: &str) -> Option<PathBuf> {
    let mut found = None;
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        if arg == name {
            found = args.next().map(PathBuf::from);
        } else if let Some(value) = arg.to_str().and_then(|arg| arg.strip_prefix(name)?.strip_prefix('=')) {
            found = Some(PathBuf::from(value));
        }
    }
    found
}

/// Which command these words are for, and whether they only ask for help.
pub(crate) fn wanted<'a>(root: &'a Command, args: &[OsString]) -> Option<&'a Command> {
    let asks = |arg: &OsString| arg == "--help" || arg == "-h";
    if args.iter().any(asks) {
        return None;
    }
    args.iter().skip(1).find_map(|arg| root.find_subcommand(arg))
}

/// Whether somebody said any of these on the command line or in the environment.
pub(crate) fn is_said<'a>(matches: &ArgMatches, mut ids: impl Iterator<Item = &'a str>) -> bool {
    use clap::parser::ValueSource::{CommandLine, EnvVariable};
    ids.any(|id| {
        let is_there = matches.try_contains_id(id).unwrap_or(false);
        is_there && matches!(matches.value_source(id), Some(CommandLine | EnvVariable))
    })
}
