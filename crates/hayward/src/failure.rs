//! How a command fails: a message, a hint, an exit code.

use hayward_api::{Code, Error};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The error, with the steps that led to it.
    pub(crate) error: anyhow::Error,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// What the process exits with.
    pub(crate) exit_code: u8,
}

impl Failure {
    /// What a process exits with that was started with words which can't be meant.
    pub(crate) const USAGE: u8 = 2;

    /// What a process exits with whose configuration is wrong (`EX_CONFIG`).
    pub(crate) const CONFIGURATION: u8 = 78;

    /// The configuration is wrong.
    pub(crate) fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), hint: None, exit_code: Self::CONFIGURATION }
    }

    /// Something that is needed isn't to be had (exit code 5).
    pub(crate) fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), hint: None, exit_code: 5 }
    }

    /// The same failure with the way out.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { hint: error.hint.clone(), exit_code: error.code.exit_code(), error: error.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { error, hint: None, exit_code: Code::Internal.exit_code() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_exits_with_what_its_error_says_and_keeps_the_hint() {
        for (code, exit_code) in [(Code::Forbidden, 4), (Code::Unauthenticated, 4), (Code::NotFound, 3)] {
            let failure = Failure::from(Error::new(code, "no").with_hint("ask"));
            assert_eq!((failure.exit_code, failure.hint.as_deref()), (exit_code, Some("ask")), "{code}");
        }
        assert_eq!(Failure::from(anyhow::anyhow!("a defect")).exit_code, 1);
        assert_eq!(Failure::unavailable(anyhow::anyhow!("gone")).exit_code, 5);
        assert_eq!(Failure::configuration(anyhow::anyhow!("odd")).exit_code, 78);
    }
}
