//! Programs that come as Debian packages.

use anyhow::{Result, bail};

use crate::{output, step, workspace};

/// A program and the package that brings it.
pub(crate) type Program = (&'static str, &'static str);

/// Installs the packages of those programs that are missing; as anybody but root on Debian, it
/// says what to install instead.
pub(crate) fn ensure(programs: &[Program]) -> Result<()> {
    let missing = packages_of_missing(programs, |name| workspace::find_program(name).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !can_install()? {
        bail!("missing programs; hint: `sudo apt-get install {list}` (or `cargo xtask test --fast`)");
    }
    output::note(format!("installing {list}"));
    step::run(step::command("apt-get").args(["update", "-qq"]))?;
    install(&missing)
}

fn install(packages: &[&str]) -> Result<()> {
    let mut apt = step::command("apt-get");
    apt.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    step::run(apt.env("DEBIAN_FRONTEND", "noninteractive"))
}

fn can_install() -> Result<bool> {
    let is_root = step::capture(step::command("id").arg("-u"))?.trim() == "0";
    Ok(is_root && workspace::find_program("apt-get").is_some())
}

fn packages_of_missing(programs: &[Program], has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    programs.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_packages_of_missing_programs_only() {
        let programs = [("rg", "ripgrep"), ("curl", "curl")];
        assert_eq!(packages_of_missing(&programs, |name| name == "curl"), ["ripgrep"]);
        assert!(packages_of_missing(&programs, |_| true).is_empty());
    }
}
