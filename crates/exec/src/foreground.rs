//! A program that a person works with: it has the terminal until it ends.
//!
//! Nothing holds it but the person: it is an editor that they chose, with their rights, on their own terminal. No server
//! starts anything this way.

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// Runs a command line of a shell (`vim`, `code --wait`) with a file as its last argument, and waits until it ends.
///
/// The line comes from the person's own environment (`EDITOR`), where words with spaces and options are usual.
#[expect(
    clippy::disallowed_methods,
    reason = "an editor is no job: it has the terminal, and ends when the person ends it"
)]
pub fn edit(line: &str, file: &Path) -> io::Result<ExitStatus> {
    Command::new("/bin/sh").arg("-c").arg(format!("{line} \"$1\"")).arg("sh").arg(file).status()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_one_argument_whatever_it_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a b;$(x)'.yaml");
        std::fs::write(&file, "x").unwrap();
        assert!(edit("grep -q x", &file).unwrap().success());
        assert!(!edit("grep -q y", &file).unwrap().success());
    }
}
