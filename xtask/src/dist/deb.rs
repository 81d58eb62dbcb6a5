//! The Debian package. Its binary is the linked one, so it depends on what that asks of the system's libraries.
//!
//! What happens when it comes and goes is in the scripts beside this file.

mod depends;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::contents::{self, Places};
use super::tree::Tree;
use super::{VERSION, file_bytes, scratch};
use crate::step;

const PLACES: Places = Places { prefix: "usr/", program: "/usr/bin/hayward", zsh: "vendor-completions" };

/// The first configuration, which dpkg keeps as an administrator left it.
const CONFIG: &str = "etc/hayward/hayward.toml";

/// What runs when it comes and goes.
const SCRIPTS: [(&str, &str); 3] = [
    ("postinst", include_str!("deb/postinst")),
    ("prerm", include_str!("deb/prerm")),
    ("postrm", include_str!("deb/postrm")),
];

const MAINTAINER: &str = "The Hayward authors <packages@hayward.invalid>";

const COPYRIGHT: &str = include_str!("deb/copyright");

/// What Debian's checker is told of what is meant to be so.
const OVERRIDES: &str = "\
# What an administrator enabled is disabled when the program goes.
hayward: maintainer-script-calls-systemctl [prerm:*]
";

/// Makes it in `folder`; returns where it is.
pub(super) fn make(folder: &Path, binary: &Path, epoch: u64) -> Result<PathBuf> {
    let staged = scratch(folder)?;
    let tree = Tree::new(staged.path().join("deb"), epoch)?;
    contents::put(&tree, binary, &PLACES)?;
    tree.put_compressed("usr/share/doc/hayward/changelog", changelog(epoch)?.as_bytes())?;
    tree.put("usr/share/doc/hayward/copyright", 0o644, COPYRIGHT.as_bytes())?;
    tree.put("usr/share/lintian/overrides/hayward", 0o644, OVERRIDES.as_bytes())?;
    tree.put(CONFIG, 0o644, contents::config(binary)?.as_bytes())?;
    put_control(&tree, &depends::of(binary)?)?;
    tree.seal()?;
    let deb = folder.join(format!("hayward_{VERSION}_amd64.deb"));
    let mut dpkg = step::command("dpkg-deb");
    // With more threads it would be cut into other pieces.
    dpkg.args(["--root-owner-group", "-Zxz", "--threads-max=1", "--build"]).arg(tree.root()).arg(&deb);
    step::capture(dpkg.env("SOURCE_DATE_EPOCH", epoch.to_string()))?;
    Ok(deb)
}

/// The list of changes in Debian's form: where the real one is.
fn changelog(epoch: u64) -> Result<String> {
    let date =
        step::capture(step::command("date").args(["--utc", "--rfc-email", &format!("--date=@{epoch}")]))?;
    Ok(format!(
        "hayward ({VERSION}) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- {MAINTAINER}  {date}"
    ))
}

/// What dpkg is told, made last, of what is there.
fn put_control(tree: &Tree, depends: &str) -> Result<()> {
    let files = tree.files()?;
    let bytes: u64 = files.iter().map(|name| file_bytes(&tree.at(name))).sum::<Result<u64>>()?;
    let mut sums = step::command("md5sum");
    sums.args(files.iter().filter(|name| !name.starts_with("etc/"))).current_dir(tree.root());
    let sums = step::capture(&mut sums).context("failed to sum up the files")?;
    tree.put("DEBIAN/control", 0o644, control(bytes, depends).as_bytes())?;
    tree.put("DEBIAN/conffiles", 0o644, format!("/{CONFIG}\n").as_bytes())?;
    tree.put("DEBIAN/md5sums", 0o644, sums.as_bytes())?;
    SCRIPTS.iter().try_for_each(|(name, text)| tree.put(&format!("DEBIAN/{name}"), 0o755, text.as_bytes()))
}

fn control(bytes: u64, depends: &str) -> String {
    let mut text = String::new();
    let kib = bytes.div_ceil(1024);
    for (field, value) in [
        ("Package", "hayward"),
        ("Version", VERSION),
        ("Architecture", "amd64"),
        ("Maintainer", MAINTAINER),
        ("Installed-Size", &kib.to_string()),
        ("Depends", depends),
        ("Recommends", "ca-certificates"),
        ("Section", "admin"),
        ("Priority", "optional"),
        ("Homepage", env!("CARGO_PKG_REPOSITORY")),
        ("Description", DESCRIPTION),
    ] {
        writeln!(text, "{field}: {value}").expect("memory takes it");
    }
    text
}

const DESCRIPTION: &str = "\
lets AI agents operate machines, inside fences, with a record
 Hayward is a server of the Model Context Protocol. Through it an agent runs
 commands, reads, writes and searches files of this machine, over HTTP or
 stdio. What a token may not do is refused, and every call is in a record that
 proves itself.
 .
 Nothing is started by the installation.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_a_line_and_sizes_are_in_kibibytes() {
        let text = control(2_049, "libc6 (>= 2.34)");
        assert!(text.contains("\nInstalled-Size: 3\nDepends: libc6 (>= 2.34)\n"), "{text}");
        assert!(text.ends_with("installation.\n"), "{text}");
        let is_field = |line: &str| line.starts_with(' ') || line.contains(": ");
        assert!(text.lines().all(is_field), "{text}");
    }

    #[test]
    fn scripts_stop_at_the_first_failure() {
        for (name, text) in SCRIPTS {
            assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{name}");
        }
    }
}
