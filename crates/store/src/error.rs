//! What can go wrong with the store, as its callers need to tell it apart.

use hayward_api::{Code, Error};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such resource.
    #[error("{kind} `{name}` not found")]
    NotFound {
        /// The kind that was asked for.
        kind: &'static str,
        /// The name, uid or id that was asked for.
        name: String,
    },
    /// There is a resource of that name already.
    #[error("{kind} `{name}` exists already")]
    AlreadyExists {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The name is one that is never stored.
    #[error("the name `{name}` is kept for a temporary token")]
    Reserved {
        /// The name.
        name: String,
    },
    /// The resource changed since the caller read it.
    #[error("{kind} `{name}` was changed meanwhile and is at version {current}")]
    Conflict {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its version now.
        current: u64,
    },
    /// Several resources could be meant.
    #[error("`{word}` fits several of kind {kind}")]
    Ambiguous {
        /// Their kind.
        kind: &'static str,
        /// The word that was given.
        word: String,
    },
    /// What should be stored breaks a rule of its kind.
    #[error(transparent)]
    Invalid(Error),
    /// Others refer to what should be deleted.
    #[error("{kind} `{name}` is referred to by {by}")]
    Referred {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Who refers to it.
        by: String,
    },
    /// What happens once has happened.
    #[error("{what}")]
    Done {
        /// What has happened.
        what: &'static str,
    },
    /// Sealed values can't be opened, or not be sealed.
    #[error("{what}")]
    Sealed {
        /// What can't be done, and why.
        what: String,
        /// What the operator can do.
        hint: &'static str,
    },
    /// A watch can't go on from there: what came after is forgotten or never was.
    #[error("changes since revision {from} are not kept")]
    Compacted {
        /// Where it should have gone on.
        from: u64,
    },
    /// The database doesn't answer; nothing is known to have happened.
    #[error("failed to {step}")]
    Unavailable {
        /// What was tried.
        step: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The database is somebody else's: it has tables, and none of ours.
    #[error("the database is somebody else's: it has a table `{table}`, and none of Hayward's")]
    Foreign {
        /// One of their tables.
        table: String,
    },
    /// The database was written by a newer program.
    #[error("the database has schema {found}, and this program knows up to {known}")]
    Newer {
        /// The schema of the database.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// What is in the database makes no sense.
    #[error("the database is damaged: {detail}")]
    Corrupt {
        /// What was found, and where.
        detail: String,
    },
}

impl StoreError {
    /// A key of a secret that should be taken away is referred to.
    pub fn of_key(secret: &str, key: &str, by: String) -> Self {
        Self::Referred { kind: format!("key `{key}` of secret"), name: secret.to_owned(), by }
    }

    /// Sorts what the database said at one step.
    pub(crate) fn at(step: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| match source {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Corrupt { detail: format!("failed to {step}: {source}") }
            }
            sqlx::Error::Database(ref error) if is_damage(error.code().as_deref()) => {
                Self::Corrupt { detail: format!("failed to {step}: {source}") }
            }
            sqlx::Error::Database(ref error) if error.code().as_deref() == Some(NO_TEXT) => {
                let error = Error::new(Code::Invalid, "there is a character that no text can have");
                Self::Invalid(error.with_hint("leave out NUL"))
            }
            source => Self::Unavailable { step, source },
        }
    }
}

/// The step of whoever waits for others to change a file.
pub(crate) const BEGIN: &str = "begin a change of the file";
/// What `PostgreSQL` says of texts with a NUL in them.
const NO_TEXT: &str = "22021";

/// `SQLITE_CORRUPT` and `SQLITE_NOTADB`, also as the low byte of an extended code. Codes of `PostgreSQL` are longer; of those,
/// class `XX` is damage.
fn is_damage(code: Option<&str>) -> bool {
    if code.is_some_and(|code| code.len() == 5) {
        return code.is_some_and(|code| code.starts_with("XX"));
    }
    let code = code.and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

/// What a server says that answers and doesn't do it, and the way out.
fn refused(step: &str, source: &sqlx::Error) -> Option<(&'static str, &'static str)> {
    const BUSY: (&str, &str) = (
        "a change of others takes long, and this one waited for it in vain",
        "retry in a moment; many objects at once are quicker in parts",
    );
    let said = match source {
        sqlx::Error::Database(said) => said,
        // `PostgreSQL` that isn't there is waited for as long, and has another step.
        sqlx::Error::PoolTimedOut if step == BEGIN => return Some(BUSY),
        _ => return None,
    };
    match said.code()?.as_ref() {
        // `lock_not_available`, and `SQLITE_BUSY`.
        "55P03" | "5" => Some(BUSY),
        "28P01" | "28000" => Some((
            "the database server refuses the user",
            "look at the user and the password of the database's address, and at pg_hba.conf of the server",
        )),
        "3D000" => Some((
            "there is no such database on the server",
            "look at the name in the database's address, or make it: `CREATE DATABASE`",
        )),
        _ => None,
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::NotFound { .. } => Self::new(Code::NotFound, message),
            StoreError::AlreadyExists { .. } => {
                Self::new(Code::AlreadyExists, message).with_hint("choose another name")
            }
            StoreError::Reserved { .. } => Self::new(Code::Invalid, message).with_hint("choose another name"),
            StoreError::Conflict { .. } => {
                Self::new(Code::Conflict, message).with_hint("read it again and repeat the change")
            }
            StoreError::Ambiguous { .. } => {
                Self::new(Code::Invalid, message).with_hint("give more of it, or the whole name")
            }
            StoreError::Referred { .. } => Self::new(Code::Conflict, message)
                .with_hint("take it out of what refers to it first, or delete those too"),
            StoreError::Done { .. } => Self::new(Code::AlreadyExists, message),
            StoreError::Sealed { hint, .. } => Self::new(Code::Unavailable, message).with_hint(hint),
            StoreError::Invalid(error) => error,
            StoreError::Compacted { .. } => {
                Self::new(Code::Conflict, message).with_hint("list again, then watch from there")
            }
            StoreError::Unavailable { step, source } => {
                let (said, hint) = refused(step, &source).unwrap_or((
                    "the database does not answer",
                    "look at the disk of the data directory, or at the database server, then retry",
                ));
                Self::new(Code::Unavailable, said).with_hint(hint).with_detail(format!("{message}: {source}"))
            }
            StoreError::Foreign { .. } => Self::new(Code::Conflict, message)
                .with_hint("name a database that is empty or Hayward's: `CREATE DATABASE` makes one"),
            StoreError::Newer { .. } => Self::new(Code::Unsupported, message)
                .with_hint("use the newer program that wrote it, or another data directory"),
            StoreError::Corrupt { .. } => Self::new(Code::Internal, "the database is damaged")
                .with_hint("restore it from a backup")
                .with_detail(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_from_a_passing_failure() {
        assert!(is_damage(Some("11")) && is_damage(Some("26")) && is_damage(Some("267")));
        assert!(is_damage(Some("XX001")) && !is_damage(Some("55P03")) && !is_damage(Some("57014")));
        assert!(!is_damage(Some("22011")) && !is_damage(Some("08026")));
        assert!(!is_damage(Some("5")) && !is_damage(Some("13")) && !is_damage(None));
    }

    #[test]
    fn inner_details_stay_inside() {
        let error = StoreError::at("read /secret")(sqlx::Error::PoolTimedOut);
        let error = Error::from(error);
        assert_eq!(error.code, Code::Unavailable);
        assert!(!error.message.contains("secret") && error.detail.unwrap().contains("secret"));
    }

    #[test]
    fn whoever_waited_for_others_in_vain_is_told_so() {
        let waited = Error::from(StoreError::at(BEGIN)(sqlx::Error::PoolTimedOut));
        assert_eq!(waited.code, Code::Unavailable);
        assert!(waited.message.contains("of others") && waited.hint.unwrap().contains("retry"));
        let silent = Error::from(StoreError::at(BEGIN)(sqlx::Error::PoolClosed));
        assert!(silent.message.contains("does not answer"));
    }
}
