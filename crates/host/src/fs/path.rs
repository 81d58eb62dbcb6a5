//! A path as a caller gave it, checked for what no kernel could take.
//!
//! `..`, newlines and odd characters are legal and left to the kernel: resolving them here would
//! mean a second opinion about where a path leads.

use std::path::{Path, PathBuf};

use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX};

/// An absolute path that the kernel can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AbsPath(PathBuf);

/// Why a text is no usable path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathDefect {
    #[error("is empty")]
    Empty,
    #[error("must be an absolute path")]
    Relative,
    #[error("contains a NUL byte")]
    Nul,
    #[error("is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    #[error("has a component of more than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
}

impl PathDefect {
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Empty | Self::Relative => "start the path with /",
            Self::Nul => "remove the NUL byte; no file name can contain one",
            Self::TooLong | Self::NameTooLong => "check the path; no file can have such a name",
        }
    }
}

impl AbsPath {
    pub(crate) fn parse(text: &str) -> Result<Self, PathDefect> {
        if text.is_empty() {
            Err(PathDefect::Empty)
        } else if text.contains('\0') {
            Err(PathDefect::Nul)
        } else if !text.starts_with('/') {
            Err(PathDefect::Relative)
        } else if text.len() > PATH_BYTES_MAX {
            Err(PathDefect::TooLong)
        } else if text.split('/').any(|name| name.len() > NAME_BYTES_MAX) {
            Err(PathDefect::NameTooLong)
        } else {
            Ok(Self(PathBuf::from(text)))
        }
    }

    /// The root directory.
    pub(crate) fn root() -> Self {
        Self(PathBuf::from("/"))
    }

    pub(crate) fn as_path(&self) -> &Path {
        &self.0
    }

    /// Whether it can only be meant as a directory.
    pub(crate) fn names_directory(&self) -> bool {
        let bytes = self.0.as_os_str().as_encoded_bytes();
        [&b"/"[..], b"/.", b"/.."].iter().any(|end| bytes.ends_with(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_legal() {
        let longest = format!("/{}", "x/".repeat(2047));
        assert_eq!(longest.len(), 4095);
        for good in ["/", "/a/../b", "/a\nb", "/ä", &longest, &format!("/{}", "x".repeat(255))] {
            assert!(AbsPath::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn what_no_kernel_takes_is_refused() {
        let too_long = format!("/{}", "x/".repeat(2048));
        for (bad, defect) in [
            ("", PathDefect::Empty),
            ("a", PathDefect::Relative),
            ("/a\0b", PathDefect::Nul),
            (&too_long, PathDefect::TooLong),
            (&format!("/{}", "x".repeat(256)), PathDefect::NameTooLong),
        ] {
            assert_eq!(AbsPath::parse(bad), Err(defect), "{bad:?}");
        }
    }

    #[test]
    fn a_trailing_slash_or_dot_names_a_directory() {
        for (text, expect) in [("/a/", true), ("/a/.", true), ("/a/..", true), ("/a.", false)] {
            assert_eq!(AbsPath::parse(text).unwrap().names_directory(), expect, "{text}");
        }
    }
}
