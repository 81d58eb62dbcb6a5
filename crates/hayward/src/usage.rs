//! What the parser of the command line says, and what the process exits with then.
//!
//! A wrong word on the command line is usage (2). The same value out of the environment is configuration
//! (78): whoever typed the command did nothing wrong, and scripts tell the two apart.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

use crate::output;

/// The configuration is wrong (`EX_CONFIG`).
const CONFIGURATION: u8 = 78;

/// Tells what the parser says: help on standard output, errors on standard error.
pub(crate) fn end(error: &Error, line: &Command, args: &[OsString]) -> ExitCode {
    // Where nobody listens there is nothing left to tell.
    error.print().ok();
    let code = code_of(error, line, args);
    if code == CONFIGURATION {
        output::tell(
            "hint: the value is not on the command line: `hayward config view --show-origin` says where it came from\n",
        );
    }
    ExitCode::from(code)
}

fn code_of(error: &Error, line: &Command, args: &[OsString]) -> u8 {
    let is_value = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
    if is_value && flag_of(error).is_some_and(|flag| !names(&flag, line, args)) {
        return CONFIGURATION;
    }
    u8::try_from(error.exit_code()).unwrap_or(2)
}

/// `--port` of `--port <PORT>`; none for an argument without a name, which can't come from elsewhere.
pub(crate) fn flag_of(error: &Error) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    shown.split([' ', '=']).next().filter(|flag| flag.starts_with("--")).map(str::to_owned)
}

/// Whether these words name a flag, by its long or its short name.
fn names(flag: &str, line: &Command, args: &[OsString]) -> bool {
    let mut command = line;
    for word in args.iter().skip(1).take_while(|word| *word != "--") {
        if let Some(below) = command.find_subcommand(word) {
            command = below;
        }
        let word = word.to_string_lossy();
        let is_long = word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
        if is_long || is_short(flag, command, &word) {
            return true;
        }
    }
    false
}

/// Whether a word such as `-o`, `-oyaml` or `-wo` has the short name of a flag.
fn is_short(flag: &str, command: &Command, word: &str) -> bool {
    let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')) else {
        return false;
    };
    for letter in letters.chars() {
        let Some(arg) = command.get_arguments().find(|arg| arg.get_short() == Some(letter)) else {
            return false;
        };
        if arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long)) {
            return true;
        }
        // What follows is its value.
        if arg.get_action().takes_values() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[arg(long)]
        port: Option<u16>,
        #[arg(long)]
        port_of_call: Option<u16>,
    }

    fn check(parsed: &[&str], typed: &[&str], expect: u8) {
        let error = Words::try_parse_from(parsed).unwrap_err();
        let typed: Vec<OsString> = typed.iter().map(OsString::from).collect();
        assert_eq!(code_of(&error, &Words::command(), &typed), expect, "{parsed:?} {typed:?}");
    }

    #[test]
    fn a_wrong_value_is_usage_where_it_was_typed_and_configuration_elsewhere() {
        let wrong = ["x", "--port", "y"];
        check(&wrong, &wrong, 2);
        check(&["x", "--port=y"], &["x", "--port=y"], 2);
        check(&wrong, &["x"], 78);
        check(&wrong, &["x", "--port-of-call", "1"], 78);
        check(&["x", "--porz"], &["x", "--porz"], 2);
        check(&["x", "--help"], &["x", "--help"], 0);
    }
}
