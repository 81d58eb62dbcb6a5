//! Rule `lock`: what may be in the dependency tree, for those without `cargo deny` at hand.

use super::tree::Tree;
use super::{Finding, Rule};

pub(crate) const RULE: Rule =
    Rule { name: "lock", holds: "every dependency comes from the crate registry, and none is banned", check };

/// The same list as in `deny.toml`, where the reasons are; a test compares the two.
const BANNED: [&str; 4] = ["openssl-sys", "native-tls", "aws-lc-sys", "serde_yaml"];

fn check(tree: &Tree) -> Vec<Finding> {
    let Some(lock) = &tree.lock else {
        return Vec::new();
    };
    let packages = lock.table.get("package").and_then(toml::Value::as_array);
    let messages = packages.into_iter().flatten().filter_map(fault);
    messages.map(|message| Finding::new(&lock.path, 1, message)).collect()
}

fn fault(package: &toml::Value) -> Option<String> {
    let text = |key| package.get(key).and_then(toml::Value::as_str);
    let name = text("name")?;
    if BANNED.contains(&name) {
        return Some(format!("`{name}` is banned; `deny.toml` says why"));
    }
    let source = text("source")?;
    (!source.starts_with("registry+")).then(|| format!("`{name}` comes from `{source}`"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;
    use crate::workspace;

    fn package(name: &str, source: &str) -> Vec<String> {
        let text = format!("[[package]]\nname = \"{name}\"\nsource = \"{source}\"");
        check(&RULE, &[("Cargo.lock", &text)])
    }

    #[test]
    fn registry_packages_pass() {
        assert_eq!(package("serde", "registry+somewhere"), [""; 0]);
    }

    #[test]
    fn banned_and_foreign_packages_are_found() {
        assert_eq!(package("serde_yaml", "registry+somewhere").len(), 1);
        assert_eq!(package("serde", "git+somewhere").len(), 1);
    }

    #[test]
    fn the_list_is_that_of_cargo_deny() {
        let text = std::fs::read_to_string(workspace::root().join("deny.toml")).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let denied = table["bans"]["deny"].as_array().unwrap();
        let names: Vec<_> = denied.iter().map(|it| it["crate"].as_str().unwrap()).collect();
        assert_eq!(names, BANNED);
    }
}
