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

/// The one package that calls what is not safe; it asks for everything else that the workspace asks for.
const UNSAFE: &str = "crates/sys/Cargo.toml";

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

fn check(tree: &Tree) -> Vec<Finding> {
    let packages = tree.manifests.iter().filter(|it| it.table.contains_key("package"));
    let of_all = tree.manifests.iter().find_map(|it| it.table.get("workspace")?.get("lints"));
    packages.flat_map(|package| of_package(package).into_iter().chain(apart(package, of_all))).collect()
}

/// What the package that stands apart doesn't ask for like all others.
fn apart(manifest: &Manifest, of_all: Option<&toml::Value>) -> Vec<Finding> {
    if manifest.path != UNSAFE {
        return Vec::new();
    }
    let lints = |of: Option<&toml::Value>| -> Vec<(String, toml::Value)> {
        let tools = of.and_then(toml::Value::as_table).into_iter().flatten();
        tools
            .filter_map(|(tool, lints)| Some((tool, lints.as_table()?)))
            .flat_map(|(tool, lints)| {
                lints.iter().map(move |(lint, level)| (format!("{tool}::{lint}"), level.clone()))
            })
            .collect()
    };
    let own = lints(manifest.table.get("lints"));
    let is_missing = |lint: &&(String, toml::Value)| lint.0 != "rust::unsafe_code" && !own.contains(lint);
    let missing = lints(of_all);
    let missing = missing.iter().filter(is_missing);
    missing
        .map(|(lint, _)| Finding::new(&manifest.path, 1, format!("`{lint}` is not what the workspace says")))
        .collect()
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

    #[test]
    fn whoever_stands_apart_asks_for_everything_else_that_all_ask_for() {
        let root = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nmissing_docs = \"warn\"\n[workspace.lints.clippy]\npanic = \"deny\"";
        let found = |own: &str| {
            check(&RULE, &[("Cargo.toml", root), (UNSAFE, &format!("[package]\nname = \"sys\"\n{own}"))])
        };
        let whole = "[lints.rust]\nunsafe_code = \"deny\"\nmissing_docs = \"warn\"\n[lints.clippy]\npanic = \"deny\"\nmore = \"deny\"";
        assert_eq!(found(whole), [""; 0]);
        assert_eq!(found("").len(), 2);
        assert_eq!(found(&whole.replace("panic = \"deny\"", "panic = \"warn\"")).len(), 1);
    }
}
