//! Packages of npm.

use std::fs;
use std::io;
use std::path::{Component, Path};

use serde_json::{Value, json};

use super::fetching::Step;
use super::pin::Package;
use super::{document, no_program};
use crate::placement::PlacementError;

/// What was fetched, in the folder in which it is made.
pub(super) const TREE: &str = "tree";

/// The lock, in the same.
pub(super) const LOCK: &str = "tree/package-lock.json";

/// What holds however it is fetched: no script of anybody runs, and nobody is told what is here.
const OPTIONS: [&str; 8] = [
    "--prefix=tree",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--no-bin-links",
    "--no-progress",
    // A lock holds for every mirror.
    "--omit-lockfile-registry-resolved",
];

/// Writes down what is to be fetched, and says how.
pub(super) fn prepare(package: &Package, made: &Path, lock: Option<&str>) -> io::Result<Vec<Step>> {
    let tree = made.join(TREE);
    fs::create_dir(&tree)?;
    let wanted = json!({
        "name": "fetched", "version": "0.0.0", "private": true,
        "dependencies": {package.name.as_str(): package.version}});
    fs::write(tree.join("package.json"), wanted.to_string())?;
    let how = match lock {
        Some(lock) => {
            fs::write(made.join(LOCK), lock)?;
            "ci"
        }
        None => "install",
    };
    Ok(vec![Step::new("npm", &[&[how, "--save-exact"][..], &OPTIONS].concat())])
}

/// How a package starts: its one program, or the one of its name.
pub(super) fn program(package: &Package, tree: &Path) -> Result<(String, Vec<String>), PlacementError> {
    let folder = tree.join("node_modules").join(&package.name);
    let described = document(&folder.join("package.json"))
        .map_err(|error| no_program(package, &format!("has no `package.json` that can be read: {error}")))?;
    let described: Value = serde_json::from_str(&described)
        .map_err(|error| no_program(package, &format!("has a `package.json` that is none: {error}")))?;
    let path = bin(package, &described["bin"]).map_err(|what| no_program(package, &what))?;
    let is_inside =
        Path::new(path).components().all(|it| matches!(it, Component::Normal(_) | Component::CurDir));
    let file = folder.join(path);
    if !is_inside || !file.is_file() {
        let what = format!("has a `bin` that is no file of it: `{}`", path.escape_debug());
        return Err(no_program(package, &what));
    }
    Ok(("node".to_owned(), vec![file.display().to_string()]))
}

fn bin<'a>(package: &Package, bin: &'a Value) -> Result<&'a str, String> {
    let own = package.name.rsplit('/').next().unwrap_or_default();
    let found = match bin {
        Value::String(path) => Some(path.as_str()),
        Value::Object(all) if all.len() == 1 => all.values().next().and_then(Value::as_str),
        Value::Object(all) => all.get(own).and_then(Value::as_str),
        _ => None,
    };
    found.ok_or_else(|| match bin {
        Value::Object(all) if !all.is_empty() => format!("has several programs, and none is named `{own}`"),
        _ => "has no program: its `package.json` has no `bin`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_package_is_its_only_one_or_the_one_of_its_name() {
        let package = Package::parse("@s/name@1.0.0", None).unwrap();
        for (said, expect) in [
            (json!("cli.js"), Ok("cli.js")),
            (json!({"other": "o.js"}), Ok("o.js")),
            (json!({"other": "o.js", "name": "n.js"}), Ok("n.js")),
            (json!({"a": "a.js", "b": "b.js"}), Err("several")),
            (json!({}), Err("no program")),
            (json!(null), Err("no program")),
        ] {
            let found = bin(&package, &said);
            match expect {
                Ok(path) => assert_eq!(found.unwrap(), path),
                Err(why) => assert!(found.unwrap_err().contains(why), "{said}"),
            }
        }
    }
}
