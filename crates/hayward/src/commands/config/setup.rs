//! `hayward config setup`: a first file, with what most people want to say.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use hayward_api::{Code, Error};

use super::edit::{changed, write};
use crate::config::keys::Keys;
use crate::config::layers::check;
use crate::failure::Failure;
use crate::output;

/// What is asked: a key, a question, and whether an empty answer leaves it out.
const QUESTIONS: [(&str, &str); 6] = [
    ("host", "Address to listen on"),
    ("port", "Port to listen on"),
    ("public.url", "URL that clients reach it under, if another one"),
    ("protected.paths", "Paths that no file tool may reach, with commas"),
    ("log.dir", "Directory for audit.log, a copy of the record for other programs"),
    ("log.level", "Least serious log messages: error, warn, info or debug"),
];

/// Head of a file that was made here.
const HEAD: &str = "# What Hayward is set to. `hayward config view` lists every key; `hayward config set KEY VALUE` changes one.\n";

/// Rounds in which an answer may be wrong.
const ROUNDS: usize = 5;

#[derive(clap::Args)]
pub(super) struct SetupArgs {
    /// Asks nothing, and takes the defaults
    #[arg(long)]
    yes: bool,
    /// Replaces a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &SetupArgs, root: &clap::Command, keys: &Keys, path: &Path) -> Result<(), Failure> {
    if path.exists() && !args.force {
        let message = format!("there is a configuration at `{}`", path.display());
        let hint = "change it with `hayward config set`, or replace it with --force";
        return Err(Error::new(Code::AlreadyExists, message).with_hint(hint).into());
    }
    let text = if args.yes {
        defaults(keys)?
    } else if std::io::stdin().is_terminal() {
        asked(root, keys, &mut std::io::stdin().lock(), &mut std::io::stderr().lock())?
    } else {
        let error = Error::new(Code::Invalid, "there is no terminal to ask on");
        return Err(error.with_hint("take the defaults with --yes").into());
    };
    write(path, &text)?;
    output::tell(&format!("wrote {}\n", path.display()));
    Ok(())
}

/// The file of somebody who has nothing to say.
fn defaults(keys: &Keys) -> Result<String, Failure> {
    let said = QUESTIONS.iter().filter_map(|(name, _)| keys.find(name)).filter(|key| !key.default.is_empty());
    said.clone()
        .try_fold(HEAD.to_owned(), |text, key| changed(&text, key, &key.default))
        .map_err(|why| anyhow!(why).into())
}

/// The file of somebody who answers.
fn asked(
    root: &clap::Command,
    keys: &Keys,
    answers: &mut dyn BufRead,
    screen: &mut dyn Write,
) -> Result<String, Failure> {
    let mut text = HEAD.to_owned();
    for (name, question) in QUESTIONS {
        let Some(key) = keys.find(name) else { continue };
        for _ in 0..ROUNDS {
            write!(screen, "{question} [{}]: ", key.default.join(",")).and_then(|()| screen.flush()).ok();
            let mut line = String::new();
            let read = answers.read_line(&mut line).context("failed to read the answer")?;
            if read == 0 {
                return Err(Error::new(Code::Invalid, "the answers ended early; nothing was written").into());
            }
            let values: Vec<String> = line.trim().split(',').map(|word| word.trim().to_owned()).collect();
            if values.concat().is_empty() {
                break;
            }
            match check(root, key, &values) {
                Ok(()) => {
                    text = changed(&text, key, &values).map_err(|why| anyhow!(why))?;
                    break;
                }
                Err(why) => writeln!(screen, "  {why}").unwrap_or_default(),
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_a_file_and_wrong_ones_are_asked_again() {
        let root = crate::line();
        let keys = Keys::of(&root);
        let mut screen = Vec::new();
        let answers = "\nninety\n9000\n\n/a, /b\n\n\n";
        let text = asked(&root, &keys, &mut answers.as_bytes(), &mut screen).unwrap();
        assert_eq!(text, format!("{HEAD}port = 9000\nprotected.paths = [\"/a\", \"/b\"]\n"));
        assert!(String::from_utf8(screen).unwrap().contains("`port` is `ninety`"));
        assert!(asked(&root, &keys, &mut "\n".as_bytes(), &mut Vec::new()).is_err());
    }

    #[test]
    fn the_defaults_say_what_holds_without_them() {
        let keys = Keys::of(&crate::line());
        let expect = format!("{HEAD}host = \"127.0.0.1\"\nport = 8765\nlog.level = \"warn\"\n");
        assert_eq!(defaults(&keys).unwrap(), expect);
    }
}
