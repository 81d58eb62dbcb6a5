//! The address of a database as it was given: it may hold a password, so nothing shows it, not even the error that refuses it.

use std::convert::Infallible;
use std::fmt;

use hayward_store::DatabaseUrl;

use crate::failure::Failure;

/// An address that is checked when it is used, since the parser of the command line repeats what it refuses.
#[derive(Clone)]
pub(crate) struct DatabaseGiven(String);

impl DatabaseGiven {
    /// The address, if it is one.
    pub(crate) fn checked(&self) -> Result<DatabaseUrl, Failure> {
        self.0.parse().map_err(|error: hayward_api::Error| {
            let hint = error.hint.clone().unwrap_or_default();
            let message =
                error.message.replacen("invalid address of a database", "invalid `--database-url`", 1);
            Failure::configuration(anyhow::anyhow!(message)).hint(hint)
        })
    }
}

impl fmt::Debug for DatabaseGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseGiven(…)")
    }
}

/// Takes whatever was given.
#[expect(clippy::unnecessary_wraps, reason = "it is what the parser of the command line calls")]
pub(crate) fn given(text: &str) -> Result<DatabaseGiven, Infallible> {
    Ok(DatabaseGiven(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_by_nothing_and_a_wrong_one_is_not_repeated() {
        let given = |text| given(text).unwrap();
        assert!(given("postgres://a:s3cret@h/d").checked().is_ok());
        for text in ["postgres://a:s3cret@h/d", "mysql://a:s3cret@h/d", "s3cret"] {
            let shown = format!(
                "{:?} {:?}",
                given(text),
                given(text).checked().err().map(|failure| failure.error.to_string())
            );
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
