//! How limits are declared: a name, a default, a unit, a sentence.
//!
//! Each crate lists its limits once with [`limits!`](crate::limits!). From that list follow the
//! struct that the code reads, the setting by key (file, environment, flag) and the line
//! in the generated reference.

pub mod spec;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Things.
    Count,
}

impl Unit {
    /// The word of the reference.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Milliseconds => "ms",
            Self::Count => "count",
        }
    }
}

/// One limit, as the reference shows it.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Its key in the configuration, e.g. `host.read_lines_max`.
    pub key: &'static str,
    /// Its value when nothing is said.
    pub default: u64,
    /// The least value that makes sense.
    pub least: u64,
    /// The greatest value that is accepted.
    pub greatest: u64,
    /// What it counts.
    pub unit: Unit,
    /// What it bounds, in a sentence.
    pub doc: &'static str,
}

impl Limit {
    /// The environment variable that sets it, e.g. `HAYWARD_HOST_READ_LINES_MAX`.
    pub fn environment_variable(&self) -> String {
        format!("HAYWARD_{}", self.key.replace('.', "_").to_uppercase())
    }
}

/// A value that a limit can't take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// No limit has this key.
    #[error("unknown limit `{key}`")]
    UnknownKey {
        /// The key that was given.
        key: String,
    },
    /// The value is outside of what makes sense.
    #[error("`{key}` is {value}: use {least} to {greatest}")]
    OutOfRange {
        /// The limit.
        key: &'static str,
        /// The value that was given.
        value: u64,
        /// The least value that is accepted.
        least: u64,
        /// The greatest value that is accepted.
        greatest: u64,
    },
}

/// Declares the limits of a crate: a struct with a field each, their defaults, and `TABLE`.
///
/// ```
/// hayward_api::limits! {
///     /// Limits of the example.
///     pub struct Limits("example") {
///         /// Lines that one answer holds.
///         lines_max: Count = 10 in 1..=100,
///     }
/// }
/// let mut limits = Limits::default();
/// limits.set("example.lines_max", 20).unwrap();
/// assert_eq!(limits.lines_max, 20);
/// assert!(limits.set("example.lines_max", 101).is_err());
/// ```
#[macro_export]
macro_rules! limits {
    (
        $(#[$meta:meta])*
        $vis:vis struct $type:ident($room:literal) {
            $(
                #[doc = $doc:literal]
                $field:ident: $unit:ident = $default:literal in $least:literal..=$greatest:literal,
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $type {
            $(#[doc = $doc] $vis $field: u64,)*
        }

        impl Default for $type {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $type {
            /// Every limit of this room.
            $vis const TABLE: &'static [$crate::limits::Limit] = &[
                $($crate::limits::Limit {
                    key: concat!($room, ".", stringify!($field)),
                    default: $default,
                    least: $least,
                    greatest: $greatest,
                    unit: $crate::limits::Unit::$unit,
                    doc: $doc.trim_ascii(),
                },)*
            ];

            /// Sets the limit of this key, or says why not.
            $vis fn set(&mut self, key: &str, value: u64) -> Result<(), $crate::limits::LimitError> {
                match key {
                    $(concat!($room, ".", stringify!($field)) => {
                        if !($least..=$greatest).contains(&value) {
                            return Err($crate::limits::LimitError::OutOfRange {
                                key: concat!($room, ".", stringify!($field)),
                                value,
                                least: $least,
                                greatest: $greatest,
                            });
                        }
                        self.$field = value;
                        Ok(())
                    })*
                    _ => Err($crate::limits::LimitError::UnknownKey { key: key.to_owned() }),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::limits! {
        /// Limits of the test.
        struct Sample("sample") {
            /// Things.
            things: Count = 3 in 1..=9,
        }
    }

    #[test]
    fn a_limit_takes_what_is_in_its_range_only() {
        let mut limits = Sample::default();
        assert_eq!(limits.things, 3);
        assert_eq!(limits.set("sample.things", 9), Ok(()));
        assert_eq!(limits.things, 9);
        assert!(matches!(limits.set("sample.things", 0), Err(LimitError::OutOfRange { .. })));
        assert!(matches!(limits.set("sample.thing", 1), Err(LimitError::UnknownKey { .. })));
        assert_eq!(limits.things, 9);
    }

    #[test]
    fn the_table_says_what_the_struct_does() {
        let line = Sample::TABLE[0];
        assert_eq!((line.key, line.default, line.doc), ("sample.things", 3, "Things."));
        assert_eq!(line.environment_variable(), "HAYWARD_SAMPLE_THINGS");
    }
}
