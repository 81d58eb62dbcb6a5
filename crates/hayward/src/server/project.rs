//! The project that a command is about: one that somebody said, or the one of the configuration.
//!
//! A said project is one that what is asked for must belong to: kinds without projects are refused with it, and a server is
//! to be attached to it. The configured one is meant where nothing else can be; it never makes an error of kinds without
//! projects, nor another thing of a file.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use hayward_api::kinds::{Descriptor, Scope};

use crate::failure::Failure;
use crate::words::{self, Wanted, usage};

/// The name of the argument.
const ID: &str = "project";

/// The kind of which a project has some, though none of it belongs to one.
const ATTACHED: &str = "server";

/// The project that a command is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProjectArg {
    name: Option<String>,
    /// Whether it stands on the command line.
    is_said: bool,
}

impl ProjectArg {
    /// The project, if one is meant.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| !name.is_empty())
    }

    /// The project on the command line, whatever is configured.
    fn said(&self) -> Option<&str> {
        self.name().filter(|_| self.is_said)
    }

    /// The project of those of a kind that are named or watched: what is configured hides no server.
    pub(crate) fn of(&self, kind: &Descriptor) -> Option<&str> {
        match kind.scope {
            Scope::System if kind.name == ATTACHED => self.said(),
            Scope::System => None,
            Scope::Either | Scope::Project => self.name(),
        }
    }

    /// The project of a list of all of a kind: of servers it is the one that they are attached to.
    pub(crate) fn listed(&self, kind: &Descriptor) -> Option<&str> {
        if kind.name == ATTACHED { self.name() } else { self.of(kind) }
    }

    /// The project of a document of a file that names none. Where that means the whole system, only one that was said is
    /// another: a file is to mean the same whatever is configured.
    pub(crate) fn of_document(&self, kind: &Descriptor) -> Option<&str> {
        match kind.scope {
            Scope::System => None,
            Scope::Either => self.said(),
            Scope::Project => self.name(),
        }
    }

    /// What these words want; nothing of a kind that can't be of the project that was said.
    pub(crate) fn wanted(&self, words: &[String]) -> Result<Vec<Wanted>, Failure> {
        let all = words::wanted(words)?;
        all.iter().try_for_each(|wanted| self.takes(wanted.kind))?;
        Ok(all)
    }

    /// The one resource that these words name, of a kind that can be of the project that was said.
    pub(crate) fn one(&self, words: &[String]) -> Result<(&'static Descriptor, String), Failure> {
        let (kind, name) = words::one(words)?;
        self.takes(kind)?;
        Ok((kind, name))
    }

    /// Refuses a project that was said of a kind without projects: it would be passed over.
    fn takes(&self, kind: &Descriptor) -> Result<(), Failure> {
        if self.said().is_none() || has_some(kind) {
            return Ok(());
        }
        let told = format!("{} belong to no project, and `-p` names one", kind.plural);
        Err(usage(told).hint("leave out `-p`"))
    }
}

/// Whether a project has some of a kind: they belong to it, or are attached to it.
pub(crate) fn has_some(kind: &Descriptor) -> bool {
    kind.scope != Scope::System || kind.name == ATTACHED
}

impl clap::FromArgMatches for ProjectArg {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_said = matches.value_source(ID) == Some(ValueSource::CommandLine);
        Ok(Self { name: matches.get_one::<String>(ID).cloned(), is_said })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for ProjectArg {
    fn augment_args(command: Command) -> Command {
        let arg = Arg::new(ID).long(ID).short('p').value_name("PROJECT").env("HAYWARD_CLIENT_PROJECT");
        command.arg(arg.help("Project that is meant; '' means none, whatever the configuration says"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};
    use hayward_api::kinds::{prompt, secret, server, serverattachment};

    use super::*;

    /// What these words mean where `conf` is configured.
    fn meant(words: &[&str]) -> ProjectArg {
        let command = Command::new("x").no_binary_name(true);
        let command = ProjectArg::augment_args(command).mut_arg(ID, |arg| arg.default_value("conf"));
        ProjectArg::from_arg_matches(&command.get_matches_from(words)).unwrap()
    }

    #[test]
    fn a_configured_project_is_meant_of_kinds_that_can_have_one_and_a_said_one_of_servers_too() {
        let (configured, said, none) = (meant(&[]), meant(&["-p", "home"]), meant(&["-p", ""]));
        for (kind, expect) in [
            (&prompt::DESCRIPTOR, (Some("conf"), Some("home"))),
            (&serverattachment::DESCRIPTOR, (Some("conf"), Some("home"))),
            (&secret::DESCRIPTOR, (None, None)),
            (&server::DESCRIPTOR, (None, Some("home"))),
        ] {
            assert_eq!((configured.of(kind), said.of(kind)), expect, "{}", kind.name);
            assert_eq!((none.of(kind), none.listed(kind)), (None, None), "{}", kind.name);
        }
        assert_eq!(configured.listed(&server::DESCRIPTOR), Some("conf"));
        assert_eq!(configured.listed(&secret::DESCRIPTOR), None);
    }

    #[test]
    fn a_said_project_is_refused_of_kinds_without_projects_only() {
        let (configured, said) = (meant(&[]), meant(&["-p", "home"]));
        for (word, is_taken) in
            [("secrets", false), ("projects", false), ("servers", true), ("prompts", true)]
        {
            let words = [word.to_owned()];
            assert_eq!(said.wanted(&words).is_ok(), is_taken, "{word}");
            assert!(configured.wanted(&words).is_ok() && meant(&["-p", ""]).wanted(&words).is_ok(), "{word}");
        }
        let failure = said.one(&["secret/s".to_owned()]).err().unwrap();
        assert_eq!((failure.exit_code, failure.hint.as_deref()), (2, Some("leave out `-p`")));
        assert!(said.wanted(&["servers,secrets".to_owned()]).is_err());
    }

    #[test]
    fn a_document_of_a_file_gets_a_said_project_and_a_configured_one_only_where_it_must_have_one() {
        let (configured, said) = (meant(&[]), meant(&["-p", "home"]));
        for (kind, expect) in [
            (&prompt::DESCRIPTOR, (None, Some("home"))),
            (&serverattachment::DESCRIPTOR, (Some("conf"), Some("home"))),
            (&secret::DESCRIPTOR, (None, None)),
        ] {
            assert_eq!((configured.of_document(kind), said.of_document(kind)), expect, "{}", kind.name);
        }
    }
}
