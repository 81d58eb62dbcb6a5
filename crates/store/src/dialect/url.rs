//! The address of a database, whose password nobody gets to see.

use std::fmt;
use std::str::FromStr;

use hayward_api::error::did_you_mean;
use hayward_api::{Code, Error};
use sqlx::postgres::PgConnectOptions;

/// Stands for a password that must not be shown.
const HIDDEN: &str = "***";

/// The parameters of an address that are known; the engine passes over any other, and what it should have asked for with it.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The address of a `PostgreSQL` database, e.g. `postgres://hayward@db.example/hayward?sslmode=verify-full`.
///
/// As text it has no password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The address itself, password included: only to hand it on to who has to connect.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::from_str(&self.0).expect("it was read before it was kept")
    }
}

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_known = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        // What the parser says of an address may repeat parts of it.
        if !is_known || PgConnectOptions::from_str(text).is_err() {
            return Err(Error::new(Code::Invalid, "invalid address of a database")
                .with_hint("use `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`"));
        }
        match unknown_parameter(text) {
            Some(name) => Err(misspelt(&name)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// The first parameter of an address that nobody knows.
fn unknown_parameter(text: &str) -> Option<String> {
    let (_, query) = text.split('#').next()?.split_once('?')?;
    let mut names = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        name.replace("%5B", "[").replace("%5b", "[").replace("%5D", "]").replace("%5d", "]")
    });
    let is_option = |name: &str| name.starts_with("options[") && name.ends_with(']');
    names.find(|name| !PARAMETERS.contains(&name.as_str()) && !is_option(name))
}

/// What is said of it. A password with an unescaped `?` or `&` would stand there: what isn't a word is not repeated.
fn misspelt(name: &str) -> Error {
    let Some(meant) = did_you_mean(name, PARAMETERS) else {
        return Error::new(Code::Invalid, "invalid address of a database: a parameter is unknown").with_hint(
            "there are sslmode, sslrootcert, sslcert, sslkey, host, port, dbname, user, password, application_name and options[NAME]",
        );
    };
    Error::new(Code::Invalid, format!("invalid address of a database: unknown parameter `{name}`"))
        .with_hint(format!("did you mean `{meant}`?"))
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let (address, query) = rest.split_once('?').map_or((rest, None), |(a, query)| (a, Some(query)));
        // The last one: a password may have an unescaped `@`.
        let shown = match address.rsplit_once('@') {
            Some((user, host)) => match user.split_once(':') {
                Some((user, _)) => format!("{user}:{HIDDEN}@{host}"),
                None => format!("{user}@{host}"),
            },
            None => address.to_owned(),
        };
        write!(f, "{scheme}://{shown}")?;
        let shown = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if name.contains("password") => format!("{name}={HIDDEN}"),
            _ => pair.to_owned(),
        };
        match query {
            Some(query) => write!(f, "?{}", query.split('&').map(shown).collect::<Vec<_>>().join("&")),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://a:s3cret@h:1/d?sslmode=require", "postgres://a:***@h:1/d?sslmode=require"),
            (
                "postgresql://a:s3cret@h/d?password=s3cret&port=1",
                "postgresql://a:***@h/d?password=***&port=1",
            ),
            ("postgres://a@h/d", "postgres://a@h/d"),
            ("postgres:///d?host=/run/x", "postgres:///d?host=/run/x"),
        ] {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
        }
    }

    #[test]
    fn a_parameter_that_is_misspelt_is_refused_by_name_and_one_that_is_known_is_not() {
        let refused = |query: &str| format!("postgres://a:pw@h/d?{query}").parse::<DatabaseUrl>();
        let error = refused("sslmod=verify-full").unwrap_err();
        assert!(error.message.contains("`sslmod`"), "{}", error.message);
        assert_eq!(error.hint.as_deref(), Some("did you mean `sslmode`?"));
        let error = refused("sslmode=require&zzzzzzzzzz=s3cret").unwrap_err();
        assert!(!format!("{error:?}").contains("zzz") && error.hint.unwrap().contains("sslrootcert"));
        for known in
            ["", "sslmode=require&", "options[lock_timeout]=5", "options%5Bx%5D=1", "options=-c%20x%3D1"]
        {
            assert!(refused(known).is_ok(), "{known}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_database_is_refused_and_not_repeated() {
        for bad in ["", "mysql://a:s3cret@h/d", "postgres://a:s3cret@h:port/d", "/var/lib/x"] {
            let error = bad.parse::<DatabaseUrl>().unwrap_err();
            assert!(!format!("{error:?}").contains("s3cret"), "{bad}");
        }
    }
}
