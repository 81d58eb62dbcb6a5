//! What the package depends on: the Debian packages of the libraries that its binary asks for, and of which version.
//!
//! The binary says it, in what the linker wrote for the loader. A library or a version that isn't known here is a
//! failure, so that no package is made that lacks one.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::step;

/// The parts of glibc that a program is linked to.
const GLIBC: [&str; 5] = ["ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0"];
/// The part of GCC that unwinds stacks. The package has never been older than what a binary asks of it.
const UNWINDER: (&str, &str) = ("libgcc_s.so.1", "libgcc-s1");

/// The field of this binary's package.
pub(super) fn of(binary: &Path) -> Result<String> {
    let mut readelf = step::command("readelf");
    let said = step::capture(readelf.args(["--dynamic", "--version-info", "--wide"]).arg(binary))?;
    field(&said).with_context(|| format!("no dependencies can be told of `{}`", binary.display()))
}

/// The field, by what `readelf` says of a binary.
fn field(said: &str) -> Result<String> {
    let libraries: BTreeSet<_> = said.lines().filter_map(needed).collect();
    let odd = libraries.iter().find(|name| !GLIBC.contains(name) && **name != UNWINDER.0);
    if let Some(name) = odd {
        bail!("it asks for `{name}`, and the package of that is not known");
    }
    let (major, minor) = glibc(said)?;
    let unwinder = if libraries.contains(UNWINDER.0) { format!(", {}", UNWINDER.1) } else { String::new() };
    Ok(format!("libc6 (>= {major}.{minor}){unwinder}"))
}

/// The library that a line asks for.
fn needed(line: &str) -> Option<&str> {
    let (_, name) = line.split_once("(NEEDED)")?;
    name.split_once('[')?.1.strip_suffix(']')
}

/// The newest version of glibc that is asked for.
fn glibc(said: &str) -> Result<(u32, u32)> {
    // What is in the binary comes before what it asks for.
    let (_, asked) = said.split_once("Version needs section").context("it asks for no versions")?;
    let versions = asked.lines().filter_map(version).filter(|name| name.starts_with("GLIBC"));
    let versions: Vec<_> = versions.map(read).collect::<Result<_>>()?;
    versions.into_iter().max().context("it asks for no version of glibc")
}

/// The version that a line asks for, unless the loader goes on without it.
fn version(line: &str) -> Option<&str> {
    let (name, flags) = line.split_once("Name: ")?.1.split_once(' ')?;
    (!flags.contains("WEAK")).then_some(name)
}

/// `GLIBC_2.34`, or with a third number that Debian's packages don't tell apart.
fn read(name: &str) -> Result<(u32, u32)> {
    let numbers = name.strip_prefix("GLIBC_").unwrap_or_default().split('.').map(str::parse);
    let numbers: Vec<u32> = numbers
        .collect::<Result<_, _>>()
        .with_context(|| format!("it asks for `{name}`, which is no version"))?;
    ensure!(matches!(numbers.len(), 2 | 3), "it asks for `{name}`, which is no version");
    Ok((numbers[0], numbers[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(libraries: &[&str], versions: &[(&str, &str)]) -> String {
        let needed = |name: &&str| format!(" 0x0000000000000001 (NEEDED)  Shared library: [{name}]\n");
        let asked =
            |(name, flags): &(&str, &str)| format!("  0x0030:   Name: {name}  Flags: {flags}  Version: 6\n");
        let libraries: String = libraries.iter().map(needed).collect();
        let versions: String = versions.iter().map(asked).collect();
        format!("{libraries}\nVersion needs section '.gnu.version_r' contains 3 entries:\n{versions}")
    }

    #[test]
    fn the_newest_version_counts_by_number() {
        let versions =
            [("GLIBC_2.9", "none"), ("GLIBC_2.34", "none"), ("GLIBC_2.2.5", "none"), ("GCC_4.2.0", "none")];
        let libraries = ["libgcc_s.so.1", "libm.so.6", "libc.so.6"];
        assert_eq!(field(&said(&libraries, &versions)).unwrap(), "libc6 (>= 2.34), libgcc-s1");
        assert_eq!(field(&said(&libraries[1..], &versions[..1])).unwrap(), "libc6 (>= 2.9)");
    }

    #[test]
    fn what_the_loader_can_do_without_does_not_count() {
        let versions = [("GLIBC_2.17", "none"), ("GLIBC_2.39", "WEAK")];
        assert_eq!(field(&said(&["libc.so.6"], &versions)).unwrap(), "libc6 (>= 2.17)");
    }

    #[test]
    fn an_unknown_library_or_version_is_refused() {
        let known = [("GLIBC_2.34", "none")];
        let refused = [
            (said(&["libc.so.6", "libssl.so.3"], &known), "libssl.so.3"),
            (said(&["libc.so.6"], &[known[0], ("GLIBC_ABI_DT_RELR", "none")]), "GLIBC_ABI_DT_RELR"),
            (said(&["libc.so.6"], &[("GLIBC_PRIVATE", "none")]), "GLIBC_PRIVATE"),
            (said(&["libc.so.6"], &[]), "no version of glibc"),
            ("There is no dynamic section in this file.".to_owned(), "no versions"),
        ];
        for (said, why) in refused {
            let error = format!("{:#}", field(&said).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_program_of_this_machine_is_read() {
        let field = of(&std::env::current_exe().unwrap()).unwrap();
        assert!(field.starts_with("libc6 (>= 2."), "{field}");
    }
}
