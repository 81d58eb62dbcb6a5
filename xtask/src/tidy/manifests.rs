//! Rule `manifests`: every package takes lints, versions and metadata from the workspace.

use super::tree::{Manifest, Tree};
use super::{Finding, Rule};

pub(crate) const RULE: Rule = Rule {
    name: "manifests",
    holds: "every package says `[lints] workspace = true`, and every dependency `workspace = true`",
    check,
};

/// The exact version of a peer belongs to the package that compares itself with it.
const PINNED_PEERS: [(&str, &str); 1] = [("testkit/peers/Cargo.toml", "rmcp")];

/// The one package that calls what is not safe; it forbids everything else that the workspace forbids.
const UNSAFE: &str = "crates/sys/Cargo.toml";

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

fn check(tree: &Tree) -> Vec<Finding> {
    let packages = tree.manifests.iter().filter(|it| it.table.contains_key("package"));
    packages.flat_map(of_package).collect()
}

fn of_package(manifest: &Manifest) -> Vec<Finding> {
    let mut messages = Vec::new();
    let is_apart = manifest.path == UNSAFE;
    if !is_apart && !manifest.table.get("lints").is_some_and(is_of_workspace) {
        messages.push("has no `[lints] workspace = true`".to_owned());
    }
    for section in SECTIONS {
        let Some(table) = manifest.table.get(section).and_then(toml::Value::as_table) else {
            continue;
        };
        let own = table.iter().filter(|(name, value)| {
            !is_of_workspace(value) && !PINNED_PEERS.contains(&(&*manifest.path, &***name))
        });
        messages.extend(own.map(|(name, _)| format!("`{name}` says no `workspace = true`")));
    }
    messages.into_iter().map(|message| Finding::new(&manifest.path, 1, message)).collect()
}

fn is_of_workspace(value: &toml::Value) -> bool {
    value.get("workspace").and_then(toml::Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    fn package(rest: &str) -> Vec<String> {
        check(&RULE, &[("crates/a/Cargo.toml", &format!("[package]\nname = \"a\"\n{rest}"))])
    }

    #[test]
    fn a_package_of_the_workspace_passes() {
        let rest = "[lints]\nworkspace = true\n[dependencies]\nb.workspace = true\n\
                    c = { workspace = true, features = [\"d\"] }";
        assert_eq!(package(rest), [""; 0]);
    }

    #[test]
    fn own_lints_and_own_versions_are_found() {
        assert_eq!(package("").len(), 1);
        let apart = |path| check(&RULE, &[(path, "[package]\nname = \"sys\"")]).len();
        assert_eq!((apart(UNSAFE), apart("crates/system/Cargo.toml")), (0, 1));
        let own = "[lints]\nworkspace = true\n[dev-dependencies]\nb = \"1\"";
        assert_eq!(package(own).len(), 1);
    }
}
