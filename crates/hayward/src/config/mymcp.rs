//! The variables of mymcp, and what they are called here.
//!
//! They are understood so that a service of mymcp starts with what it has; each is told with its new name. What can't
//! be taken over is told, too, and does no harm.

use super::keys::Keys;

/// What the variables of mymcp begin with.
pub(crate) const PREFIX: &str = "MYMCP_";

/// What becomes of a variable of mymcp.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Became {
    /// This key has these values.
    Set {
        /// The name of the key.
        key: &'static str,
        /// Its values as text.
        values: Vec<String>,
    },
    /// It says what holds without it.
    Held,
    /// Nothing, for this reason.
    Nothing(String),
}

/// How the value of a variable is to be read.
#[derive(Clone, Copy)]
enum Reads {
    /// As it is.
    Same,
    /// A list with commas.
    List,
    /// Seconds, which are milliseconds here.
    Seconds,
    /// A level of Python's logging.
    Level,
    /// Yes or no.
    Answer,
}

/// The variables that have another name here.
const RENAMED: [(&str, &str, Reads); 24] = [
    ("HOST", "host", Reads::Same),
    ("PORT", "port", Reads::Same),
    ("PROTECTED_PATHS", "protected.paths", Reads::List),
    ("PUBLIC_BASE_URL", "public.url", Reads::Same),
    ("LOG_LEVEL", "log.level", Reads::Level),
    ("LOG_FORMAT", "log.format", Reads::Same),
    ("AUDIT_LOG_DIR", "log.dir", Reads::Same),
    ("AUDIT_MAX_BYTES", "audit.copy_bytes_max", Reads::Same),
    ("AUDIT_BACKUP_COUNT", "audit.copy_files_kept", Reads::Same),
    ("SHUTDOWN_GRACE_SEC", "gateway.drain_ms", Reads::Seconds),
    ("BASH_MAX_OUTPUT_BYTES", "host.bash_output_bytes", Reads::Same),
    ("BASH_MAX_OUTPUT_BYTES_HARD", "host.bash_output_bytes_max", Reads::Same),
    ("READ_FILE_DEFAULT_LIMIT", "host.read_lines", Reads::Same),
    ("READ_FILE_MAX_LIMIT", "host.read_lines_max", Reads::Same),
    ("READ_FILE_MAX_LINE_BYTES", "host.read_line_bytes_max", Reads::Same),
    ("WRITE_FILE_MAX_BYTES", "host.write_bytes_max", Reads::Same),
    ("EDIT_STRING_MAX_BYTES", "host.edit_string_bytes_max", Reads::Same),
    ("GLOB_MAX_RESULTS", "host.glob_results_max", Reads::Same),
    ("GREP_DEFAULT_MAX_RESULTS", "host.grep_results", Reads::Same),
    ("GREP_MAX_RESULTS", "host.grep_results_max", Reads::Same),
    ("TRANSFER_ENABLED", "transfers", Reads::Answer),
    ("TRANSFER_MAX_BYTES", "host.transfer_bytes_max", Reads::Same),
    ("TRANSFER_DEFAULT_TTL_SEC", "host.transfer_ttl_ms", Reads::Seconds),
    ("TRANSFER_MAX_TTL_SEC", "host.transfer_ttl_ms_max", Reads::Seconds),
];

/// The variables that can't be taken over, and what to do about it.
const GONE: [(&str, &str); 3] = [
    ("ADMIN_TOKEN", "tokens are kept in the data directory: `hayward migrate mymcp` takes it over"),
    ("METRICS_TOKEN", "tokens are kept in the data directory: `hayward migrate mymcp` takes it over"),
    ("TOKEN_FILE", "tokens are kept in the data directory: `hayward migrate mymcp` takes them over"),
];

/// What becomes of `MYMCP_{name}` with this value. Keys that this release doesn't have become nothing.
pub(crate) fn became(name: &str, value: &str, keys: &Keys) -> Became {
    if name == "AUDIT_ENABLED" {
        return match answer(value) {
            Some(true) => Became::Held,
            _ => Became::Nothing("the record is always written".to_owned()),
        };
    }
    if let Some((_, why)) = GONE.iter().find(|(gone, _)| *gone == name) {
        return Became::Nothing((*why).to_owned());
    }
    let Some((_, key, reads)) = RENAMED.iter().find(|(old, ..)| *old == name) else {
        return Became::Nothing("there is nothing like it".to_owned());
    };
    if keys.find(key).is_none() {
        return Became::Nothing(format!("this release has no `{key}`"));
    }
    match reads.values(value) {
        Ok(values) if values.is_empty() => Became::Held,
        Ok(values) => Became::Set { key, values },
        Err(why) => Became::Nothing(why),
    }
}

impl Reads {
    fn values(self, value: &str) -> Result<Vec<String>, String> {
        let value = value.trim();
        if value.is_empty() {
            return Ok(Vec::new());
        }
        let single = match self {
            Self::Same => value.to_owned(),
            Self::List => {
                let paths = value.split(',').map(str::trim).filter(|path| !path.is_empty());
                return Ok(paths.map(str::to_owned).collect());
            }
            Self::Seconds => milliseconds(value).ok_or("it is no number of seconds")?,
            Self::Level => level(value).ok_or("there is no such level")?.to_owned(),
            Self::Answer => answer(value).ok_or("it is neither true nor false")?.to_string(),
        };
        Ok(vec![single])
    }
}

/// Whole milliseconds of seconds that may have a part behind a point.
fn milliseconds(seconds: &str) -> Option<String> {
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let part: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    Some(whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(part)?.to_string())
}

fn level(word: &str) -> Option<&'static str> {
    match word.to_uppercase().as_str() {
        "DEBUG" => Some("debug"),
        "INFO" => Some("info"),
        "WARNING" | "WARN" => Some("warn"),
        "ERROR" | "CRITICAL" => Some("error"),
        _ => None,
    }
}

/// As pydantic reads it.
fn answer(word: &str) -> Option<bool> {
    match word.to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" | "t" => Some(true),
        "0" | "false" | "no" | "off" | "n" | "f" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, key: &'static str, expect: &[&str]) {
        let keys = Keys::of(&crate::line());
        let values = expect.iter().map(ToString::to_string).collect();
        assert_eq!(became(name, value, &keys), Became::Set { key, values }, "{name}={value}");
    }

    #[test]
    fn every_variable_that_is_renamed_has_a_key_here() {
        let keys = Keys::of(&crate::line());
        for (name, key, _) in RENAMED {
            assert!(keys.find(key).is_some(), "{name}: {key}");
        }
    }

    #[test]
    fn values_are_turned_into_what_is_meant_here() {
        check("PORT", "9000", "port", &["9000"]);
        check("PROTECTED_PATHS", "/a, /b,", "protected.paths", &["/a", "/b"]);
        check("SHUTDOWN_GRACE_SEC", "7", "gateway.drain_ms", &["7000"]);
        check("SHUTDOWN_GRACE_SEC", "0.25", "gateway.drain_ms", &["250"]);
        check("LOG_LEVEL", "CRITICAL", "log.level", &["error"]);
        check("TRANSFER_ENABLED", "No", "transfers", &["false"]);
    }

    #[test]
    fn what_cannot_be_taken_over_says_why() {
        let keys = Keys::of(&crate::line());
        for (name, value, expect) in [
            ("ADMIN_TOKEN", "tok_1", "migrate mymcp"),
            ("RECORDER_ENABLED", "true", "nothing like it"),
            ("LOG_LEVEL", "LOUD", "no such level"),
            ("SHUTDOWN_GRACE_SEC", "-1", "seconds"),
            ("SHUTDOWN_GRACE_SEC", "99999999999999999999", "seconds"),
            ("AUDIT_ENABLED", "false", "always written"),
        ] {
            let Became::Nothing(why) = became(name, value, &keys) else { panic!("{name}={value}") };
            assert!(why.contains(expect) && !why.contains("tok_1"), "{why}");
        }
        assert_eq!(became("AUDIT_ENABLED", "true", &keys), Became::Held);
        assert_eq!(became("PUBLIC_BASE_URL", "", &keys), Became::Held);
    }
}
