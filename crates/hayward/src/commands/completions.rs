//! `hayward completions` and `hayward man`: what shells and readers of manuals want, made of the command line itself.

use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use clap_complete::aot::{Generator, generate};

use crate::failure::Failure;
use crate::output::{self, written};

/// Prints a script that completes the words of `hayward` in a shell: commands, flags and their values, kinds, and names that
/// the server knows.
///
/// For bash: `hayward completions bash > /etc/bash_completion.d/hayward`. For zsh: `source <(hayward completions zsh)` in
/// `~/.zshrc`, behind `compinit`. For fish: `hayward completions fish > ~/.config/fish/completions/hayward.fish`.
#[derive(clap::Args)]
pub(crate) struct Args {
    shell: Shell,
}

/// The shells.
#[derive(ValueEnum, Clone, Copy)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the manual page, or writes those of all commands.
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// Directory for the pages of all commands
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    use clap_complete::Shell::{Bash, Fish, Zsh};
    let script = match args.shell {
        Shell::Bash => script(Bash) + include_str!("completions/names.bash"),
        Shell::Zsh => script(Zsh) + include_str!("completions/names.zsh"),
        Shell::Fish => script(Fish) + include_str!("completions/names.fish"),
    };
    written(output::data(&script))
}

fn script(shell: impl Generator) -> String {
    let mut bytes = Vec::new();
    generate(shell, &mut shown(&crate::line()), "hayward", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The command line without the commands that are hidden.
fn shown(line: &clap::Command) -> clap::Command {
    let commands = line.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    clap::Command::new("hayward")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .args(line.get_arguments().cloned())
        .subcommands(commands)
}

pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(crate::line()).render(&mut page).context("failed to make the page")?;
        return written(output::data(&String::from_utf8_lossy(&page)));
    };
    let failed = || format!("failed to write pages to `{}`", dir.display());
    std::fs::create_dir_all(dir).with_context(failed)?;
    clap_mangen::generate_to(crate::line(), dir).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_pages_know_every_command() {
        let dir = tempfile::tempdir().unwrap();
        man(&ManArgs { dir: Some(dir.path().join("man")) }).unwrap();
        let scripts = [
            script(clap_complete::Shell::Bash),
            script(clap_complete::Shell::Zsh),
            script(clap_complete::Shell::Fish),
        ];
        for command in crate::line().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert!(scripts.iter().all(|script| script.contains(name)), "{name}");
            assert!(dir.path().join(format!("man/hayward-{name}.1")).exists(), "{name}");
        }
        for hidden in ["configured-limit", "__complete", "__subcmd__man", "subcommand_from man", "man:"] {
            assert!(scripts.iter().all(|script| !script.contains(hidden)), "{hidden}");
        }
        let page = std::fs::read_to_string(dir.path().join("man/hayward-serve.1")).unwrap();
        assert!(page.replace('\\', "").contains("HAYWARD_PORT"));
    }
}
