//! The database of a service: what its files say of it, and where a first one is written.
//!
//! Its address may hold a password. So it goes into the file of variables, which root alone reads, and never into the unit or
//! onto a command line.

use std::path::Path;

use anyhow::anyhow;
use hayward_api::{Code, Error};
use hayward_store::DatabaseUrl;

use crate::config::database::{self, DatabaseGiven};
use crate::config::keys::Keys;
use crate::config::layers::{Layers, Sources};
use crate::failure::Failure;

/// The variable that names it.
const VARIABLE: &str = "HAYWARD_DATABASE_URL";

/// The database that the service is to use.
#[derive(clap::Args, Clone)]
pub(super) struct Database {
    /// PostgreSQL database of the service instead of a file in its data directory; goes into hayward.env if that is new. One with a password belongs in the variable
    #[arg(
        long,
        env = "HAYWARD_DATABASE_URL",
        value_name = "URL",
        value_parser = database::given,
        hide_env_values = true
    )]
    database_url: Option<DatabaseGiven>,
}

impl Database {
    /// The line of a new file of variables; nothing where no database was named.
    pub(super) fn variable(&self) -> String {
        let line = |url: DatabaseUrl| format!("{VARIABLE}='{}'\n", url.reveal());
        self.given().ok().flatten().map(line).unwrap_or_default()
    }

    /// What was named, if it is an address and can stand in a file of variables.
    fn given(&self) -> Result<Option<DatabaseUrl>, Failure> {
        let given = self.database_url.as_ref().map(DatabaseGiven::checked).transpose()?;
        let is_odd = |url: &DatabaseUrl| {
            url.reveal().chars().any(|char| matches!(char, '\'' | '\\') || char.is_control())
        };
        if given.as_ref().is_some_and(is_odd) {
            return Err(Failure::configuration(anyhow!("invalid `--database-url`"))
                .hint("write `'` as %27 and `\\` as %5C"));
        }
        Ok(given)
    }

    /// The database that the service will use: what its files say, else what was named. A file of variables that is there stays
    /// as it is, so what was named has to be what the files say.
    pub(super) fn of_service(&self, config_dir: &Path) -> Result<Option<DatabaseUrl>, Failure> {
        let given = self.given()?;
        let variables = config_dir.join("hayward.env");
        let kept = kept(config_dir, &variables)?;
        if given.is_none() || kept == given || (kept.is_none() && !variables.exists()) {
            return Ok(kept.or(given));
        }
        let message = format!(
            "`--database-url` is not the database that the files in `{}` name, and they stay as they are",
            config_dir.display()
        );
        let hint = format!("put `{VARIABLE}=…` into {}, and leave the option out", variables.display());
        Err(Error::new(Code::Conflict, message).with_hint(hint).into())
    }
}

/// What the files of a service say.
fn kept(config_dir: &Path, variables: &Path) -> Result<Option<DatabaseUrl>, Failure> {
    let root = crate::line();
    let keys = Keys::of(&root);
    let sources = Sources {
        file: Some(config_dir.join("hayward.toml")),
        is_named: false,
        env_file: variables.exists().then(|| variables.to_owned()),
        variables: Vec::new(),
    };
    let layers = Layers::read(&root, &keys, &sources).sound()?;
    let said = layers.settings.iter().find(|setting| setting.key.variable == VARIABLE);
    let address = said.and_then(|setting| setting.values.first());
    address
        .map(|address| {
            address.parse().map_err(|error: Error| {
                let message = anyhow!("{}: {}", config_dir.display(), error.message);
                Failure::configuration(message).hint(error.hint.unwrap_or_default())
            })
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FIRST: &str = "postgres://a:p%20$w@127.0.0.1:1/first?sslmode=require";
    const OTHER: &str = "postgres://a:pw@127.0.0.1:1/other";

    fn named(url: Option<&str>) -> Database {
        Database { database_url: url.map(|url| database::given(url).unwrap()) }
    }

    #[test]
    fn what_the_files_say_is_the_database_and_what_is_named_is_written_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let of =
            |url| named(url).of_service(dir.path()).ok().map(|url| url.map(|url| url.reveal().to_owned()));
        assert_eq!(of(None), Some(None));
        assert_eq!(of(Some(FIRST)), Some(Some(FIRST.to_owned())));
        fs::write(dir.path().join("hayward.env"), named(Some(FIRST)).variable()).unwrap();
        assert_eq!(of(None), Some(Some(FIRST.to_owned())), "what was written is read as it was named");
        assert_eq!(of(Some(FIRST)), Some(Some(FIRST.to_owned())));
        assert_eq!(of(Some(OTHER)), None, "the file stays, so another one is refused");
        fs::write(dir.path().join("hayward.env"), "# none\n").unwrap();
        assert_eq!(of(Some(OTHER)), None);
        fs::write(dir.path().join("hayward.toml"), format!("database.url = \"{OTHER}\"\n")).unwrap();
        assert_eq!(of(None), Some(Some(OTHER.to_owned())));
    }

    #[test]
    fn an_address_that_ends_its_quotes_is_refused_and_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        for odd in ["postgres://a:s3'cret@h/d", "postgres://a:s3\ncret@h/d", "mysql://a:s3cret@h/d"] {
            let refused = named(Some(odd)).of_service(dir.path()).unwrap_err();
            assert!(!refused.error.to_string().contains("cret"), "{}", refused.error);
            assert_eq!(named(Some(odd)).variable(), "");
        }
        assert_eq!(named(None).variable(), "");
    }
}
