//! Which servers a token reaches instead of this machine's own tools.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::kinds::Names;
use crate::limits::spec::LIST;
use crate::member::{bounded, distinct};

/// What a token was let in to; this machine's own tools where nothing is said, and only what is said otherwise: the server
/// `host` is this machine. It gives no role: what is riskier than that stays out of reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Reach {
    /// Servers, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Projects with all of their servers, by name; `default` is what `/mcp` shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
}

impl Reach {
    /// Whether it is nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this server is reached, in this project or by itself.
    pub fn has(&self, server: &str, project: Option<&str>) -> bool {
        let is_among = |list: &[String], name: &str| list.iter().any(|own| own == name);
        is_among(&self.servers, server) || project.is_some_and(|project| is_among(&self.projects, project))
    }

    /// Checks it, as a member of this name.
    pub(crate) fn check(&self, field: &str) -> Result<(), Error> {
        for (list, names) in [("servers", &self.servers), ("projects", &self.projects)] {
            let field = format!("{field}.{list}");
            bounded(&field, names, LIST)?;
            for (at, name) in names.iter().enumerate() {
                Names::Plain.canonical(name).map_err(|error| error.at(&format!("{field}[{at}]")))?;
            }
            distinct(&field, names.iter().map(String::as_str))?;
        }
        Ok(())
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("this machine");
        }
        let projects = self.projects.iter().map(|project| format!("project {project}"));
        let all: Vec<String> = self.servers.iter().cloned().chain(projects).collect();
        f.write_str(&all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reach_is_told_in_words() {
        let reach = |servers: &[&str], projects: &[&str]| {
            let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Reach { servers: of(servers), projects: of(projects) }.to_string()
        };
        assert_eq!(reach(&[], &[]), "this machine");
        assert_eq!(reach(&["ha", "host"], &["home"]), "ha, host, project home");
    }

    #[test]
    fn what_was_not_said_is_not_reached() {
        let reach = Reach { servers: vec!["a".to_owned()], projects: vec!["p".to_owned()] };
        for (server, project, is_reached) in [
            ("a", None, true),
            ("a", Some("q"), true),
            ("b", Some("p"), true),
            ("b", Some("q"), false),
            ("b", None, false),
            ("p", None, false),
        ] {
            assert_eq!(reach.has(server, project), is_reached, "{server} {project:?}");
        }
        assert!(!Reach::default().has("", Some("")) && Reach::default().is_none());
    }

    #[test]
    fn names_that_no_server_could_have_are_refused() {
        let reach = Reach { servers: vec!["a".to_owned(), "a b".to_owned()], projects: Vec::new() };
        assert_eq!(reach.check("reach").unwrap_err().field.as_deref(), Some("reach.servers[1]"));
    }
}
