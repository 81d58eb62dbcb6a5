//! A moment, as people write it: RFC 3339. Taken by somebody else; there is no clock here.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};

/// A moment, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Time(Timestamp);

impl Time {
    /// Reads e.g. `2027-01-31T00:00:00Z`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let read = text.parse::<Timestamp>().ok().and_then(|time| Self::from_unix(time.as_second()));
        read.ok_or_else(|| {
            let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
            Error::new(Code::Invalid, format!("invalid time `{shown}`"))
                .with_hint("write e.g. 2027-01-31T00:00:00Z")
        })
    }

    /// The moment so many seconds after 1970 began; none beyond the years that can be written.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        Timestamp::from_second(seconds).ok().map(Self)
    }

    /// Seconds since 1970 began.
    pub fn unix(self) -> i64 {
        self.0.as_second()
    }
}

impl TryFrom<String> for Time {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_to_the_second_and_written_in_utc() {
        for text in ["2027-01-31T00:00:00Z", "2027-01-31T01:00:00+01:00", "2027-01-31T00:00:00.9Z"] {
            let time = Time::parse(text).unwrap();
            assert_eq!((time.to_string(), time.unix()), ("2027-01-31T00:00:00Z".to_owned(), 1_801_353_600));
        }
        for bad in ["", "tomorrow", "2027-01-31", "1801353600", "2027-13-01T00:00:00Z"] {
            assert!(Time::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Time::from_unix(i64::MAX), None);
    }
}
