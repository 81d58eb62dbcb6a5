//! Packages of the Python index: wheels in an environment of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::fetching::Step;
use super::pin::Package;
use super::{document, no_program};
use crate::placement::PlacementError;

/// What was fetched, in the folder in which it is made.
pub(super) const TREE: &str = "tree";

/// What pip says of it, in the same.
pub(super) const REPORT: &str = "report.json";

/// The lock, in the same.
const LOCK: &str = "requirements.txt";

/// What holds however it is fetched: nothing is built, as that runs what was fetched.
const OPTIONS: [&str; 12] = [
    "-I",
    "-m",
    "pip",
    "install",
    "--only-binary",
    ":all:",
    "--no-cache-dir",
    "--no-input",
    "--disable-pip-version-check",
    "--no-warn-script-location",
    "--progress-bar",
    "off",
];

/// What pip says that it installed (its installation report, version 1).
#[derive(Deserialize)]
struct Report {
    install: Vec<Installed>,
}

#[derive(Deserialize)]
struct Installed {
    download_info: Download,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Download {
    archive_info: Archive,
}

#[derive(Deserialize)]
struct Archive {
    hashes: Hashes,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: String,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

/// Writes down what is to be fetched, and says how.
pub(super) fn prepare(package: &Package, made: &Path, lock: Option<&str>) -> io::Result<Vec<Step>> {
    let said = package.said();
    let which: &[&str] = match lock {
        Some(lock) => {
            fs::write(made.join(LOCK), lock)?;
            &["--require-hashes", "--no-deps", "-r", LOCK]
        }
        None => &["--report", REPORT, "--", &said],
    };
    Ok(vec![
        Step::new("python3", &["-I", "-m", "venv", TREE]),
        Step::new(made.join("tree/bin/python").display().to_string(), &[&OPTIONS[..], which].concat()),
    ])
}

/// The lock that a report stands for.
pub(super) fn lock(report: &str) -> io::Result<String> {
    let report: Report = serde_json::from_str(report)?;
    let line = |it: Installed| {
        let Installed { metadata: Metadata { name, version }, download_info } = it;
        format!("{name}=={version} --hash=sha256:{}\n", download_info.archive_info.hashes.sha256)
    };
    Ok(report.install.into_iter().map(line).collect())
}

/// How a package starts: its console script of its name, or its only one. The interpreter is told by us, since the script
/// names one where it was made.
pub(super) fn program(package: &Package, tree: &Path) -> Result<(String, Vec<String>), PlacementError> {
    let points = entry_points(package, tree).unwrap_or_default();
    let script = script(package, &points).map_err(|what| no_program(package, &what))?;
    let file = tree.join("bin").join(script);
    if !file.is_file() {
        return Err(no_program(
            package,
            &format!("has no file for its console script `{}`", script.escape_debug()),
        ));
    }
    let python = tree.join("bin/python").display().to_string();
    Ok((python, vec!["-I".to_owned(), file.display().to_string()]))
}

/// The entry points of the distribution itself, as its metadata says them.
fn entry_points(package: &Package, tree: &Path) -> Option<String> {
    let suffix = ".dist-info";
    let is_own = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(suffix));
        let name = name.and_then(|name| name.rsplit_once('-'));
        name.is_some_and(|(name, _)| canonical(name) == canonical(&package.name))
    };
    let versions = fs::read_dir(tree.join("lib")).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let sites = versions.filter_map(|path| fs::read_dir(path.join("site-packages")).ok());
    let found = sites.flatten().filter_map(|entry| Some(entry.ok()?.path())).find(is_own)?;
    document(&found.join("entry_points.txt")).ok()
}

fn script<'a>(package: &Package, entry_points: &'a str) -> Result<&'a str, String> {
    let mut lines = entry_points.lines().map(str::trim);
    lines.find(|line| *line == "[console_scripts]");
    let lines = lines.take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| Some(line.split_once('=')?.0.trim()));
    let names: Vec<&str> = names.filter(|name| !name.is_empty() && !name.contains('/')).collect();
    let own = names.iter().find(|name| canonical(name) == canonical(&package.name));
    match (own, names.as_slice()) {
        (Some(name), _) | (None, [name]) => Ok(name),
        (None, []) => Err("has no console script".to_owned()),
        (None, _) => Err(format!("has several console scripts, and none is named `{}`", package.name)),
    }
}

/// A name as the index compares it.
fn canonical(name: &str) -> String {
    let mut canonical = String::new();
    for at in name.chars() {
        let is_separator = "-_.".contains(at);
        if !is_separator {
            canonical.push(at.to_ascii_lowercase());
        } else if !canonical.ends_with('-') {
            canonical.push('-');
        }
    }
    canonical
}

#[cfg(test)]
mod tests {
    use hayward_api::definition::Runtime;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_console_script_of_a_package_is_the_one_of_its_name_or_its_only_one() {
        let package = Package::parse("My_Server==1.0", Some(Runtime::Python)).unwrap();
        for (said, expect) in [
            ("[console_scripts]\nmy-server = a:main\nother = b:main\n", Ok("my-server")),
            ("[x]\nmy-server=1\n\n[console_scripts]\nother=b:main\n[y]\nz=1", Ok("other")),
            ("[console_scripts]\na=a:main\nb=b:main\n", Err("several")),
            ("[gui_scripts]\nmy-server=a:main", Err("no console script")),
            ("", Err("no console script")),
        ] {
            match expect {
                Ok(name) => assert_eq!(script(&package, said).unwrap(), name),
                Err(why) => assert!(script(&package, said).unwrap_err().contains(why), "{said}"),
            }
        }
    }

    #[test]
    fn a_lock_has_the_hash_of_all_that_was_fetched() {
        let report = json!({"version": "1", "install": [{
            "download_info": {"url": "https://index.example/a.whl", "archive_info": {"hashes": {"sha256": "ab"}}},
            "metadata": {"name": "a", "version": "1.0", "summary": "more"}}]});
        assert_eq!(lock(&report.to_string()).unwrap(), "a==1.0 --hash=sha256:ab\n");
        assert!(lock("{\"install\": [{\"metadata\": {}}]}").is_err());
    }
}
