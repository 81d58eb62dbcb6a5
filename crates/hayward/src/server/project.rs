//! The project that a command is about: one that somebody said, or the one of the configuration.
//!
//! The configured one is meant where nothing else can be; it never makes an error, nor another thing of a file.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use hayward_api::kinds::{Descriptor, Scope};

/// The name of the argument.
const ID: &str = "project";

/// The kind whose list a project narrows down, though none of it belongs to one.
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

    /// The project of one resource of a kind: the configured one only if the kind can have any.
    pub(crate) fn of(&self, kind: &Descriptor) -> Option<&str> {
        if kind.scope == Scope::System { self.said() } else { self.name() }
    }

    /// The project of a list of a kind: of servers it is the one that they are attached to.
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
    fn a_configured_project_is_meant_of_kinds_that_can_have_one_and_a_said_one_of_all() {
        let (configured, said, none) = (meant(&[]), meant(&["-p", "home"]), meant(&["-p", ""]));
        for (kind, expect) in [
            (&prompt::DESCRIPTOR, Some("conf")),
            (&serverattachment::DESCRIPTOR, Some("conf")),
            (&secret::DESCRIPTOR, None),
            (&server::DESCRIPTOR, None),
        ] {
            assert_eq!(configured.of(kind), expect, "{}", kind.name);
            assert_eq!((said.of(kind), none.of(kind)), (Some("home"), None), "{}", kind.name);
        }
        assert_eq!(configured.listed(&server::DESCRIPTOR), Some("conf"));
        assert_eq!(configured.listed(&secret::DESCRIPTOR), None);
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
