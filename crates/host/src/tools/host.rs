//! The tools of this machine: one file each, none of which knows another.

pub(super) mod bash_execute;
pub(super) mod edit_file;
pub(super) mod glob;
pub(super) mod grep;
pub(super) mod prepare_download;
pub(super) mod prepare_upload;
pub(super) mod read_file;
pub(super) mod write_file;

use hayward_tool::ToolError;

use crate::fs::{AbsPath, FsError};

/// A path argument, or why it can't be one.
fn path_of(argument: &str, text: &str) -> Result<AbsPath, ToolError> {
    AbsPath::parse(text).map_err(|defect| {
        let error = ToolError::from(FsError::from(defect));
        ToolError { message: format!("{argument} {defect}"), ..error }
    })
}

/// The same for the tools of which the seed ends the sentence.
fn path_said(argument: &str, text: &str) -> Result<AbsPath, ToolError> {
    path_of(argument, text).map_err(|error| ToolError { message: format!("{}.", error.message), ..error })
}

/// A size in the seed's words: `10MB`.
fn megabytes(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{}MB", bytes >> 20) } else { format!("{bytes} bytes") }
}

/// A number of the caller within `1..=most`.
fn clamp(given: Option<i64>, default: u64, most: u64) -> u64 {
    given.map_or(default, |given| u64::try_from(given).unwrap_or(0)).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_clamped_as_the_seed_does() {
        for (given, expect) in [(None, 5), (Some(-3), 1), (Some(0), 1), (Some(7), 7), (Some(99), 9)] {
            assert_eq!(clamp(given, 5, 9), expect, "{given:?}");
        }
    }

    #[test]
    fn a_bad_path_names_its_argument() {
        assert_eq!(path_said("dest_path", "rel").unwrap_err().message, "dest_path must be an absolute path.");
        let error = path_of("file_path", "a\0b").unwrap_err();
        assert_eq!((error.code, &*error.message), ("InvalidPath", "file_path contains a NUL byte"));
        assert!(error.suggestion.is_some());
    }
}
