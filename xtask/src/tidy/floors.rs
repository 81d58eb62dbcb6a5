//! Rule `floors`: which crate may import which.
//!
//! Judged by `[dependencies]`; what tests alone use (`[dev-dependencies]`) is free.

use super::tree::{Manifest, Tree};
use super::{Finding, Rule};

pub(crate) const RULE: Rule = Rule {
    name: "floors",
    holds: "a crate imports only from floors below its own; crates of one floor don't know each other",
    check,
};

/// The house, from the ground up.
const FLOORS: [&[&str]; 5] = [
    &["api", "egress", "mcp", "sys"],
    &["audit", "auth", "exec", "telemetry", "tool"],
    &["client", "pipeline", "runtime", "store"],
    &["controlplane", "gateway", "host"],
    &["hayward"],
];

/// What is forbidden though the floor would allow it.
const NEVER: [(&str, &str, &str); 1] =
    [("host", "store", "the tools of a machine work with no control plane")];

fn check(tree: &Tree) -> Vec<Finding> {
    tree.manifests.iter().flat_map(of_manifest).collect()
}

fn of_manifest(manifest: &Manifest) -> Vec<Finding> {
    let Some(name) = manifest.path.strip_prefix("crates/").and_then(|it| it.strip_suffix("/Cargo.toml"))
    else {
        return Vec::new();
    };
    let Some(floor) = floor_of(name) else {
        let message = format!("`{name}` has no floor; hint: give it one in `xtask/src/tidy/floors.rs`");
        return vec![Finding::new(&manifest.path, 1, message)];
    };
    imports(manifest)
        .filter_map(|import| fault(name, floor, import))
        .map(|message| Finding::new(&manifest.path, 1, message))
        .collect()
}

fn imports(manifest: &Manifest) -> impl Iterator<Item = &str> {
    let table = manifest.table.get("dependencies").and_then(toml::Value::as_table);
    table.into_iter().flat_map(toml::Table::keys).filter_map(|name| name.strip_prefix("hayward-"))
}

fn fault(name: &str, floor: usize, import: &str) -> Option<String> {
    if import == "testkit" {
        return Some(format!("`{name}` imports `testkit` outside of `[dev-dependencies]`"));
    }
    let never = NEVER.iter().find(|(user, used, _)| *user == name && *used == import);
    if let Some((_, _, why)) = never {
        return Some(format!("`{name}` never imports `{import}`: {why}"));
    }
    match floor_of(import) {
        Some(below) if below < floor => None,
        Some(other) => Some(format!("`{name}` (floor {floor}) imports `{import}` (floor {other})")),
        None => Some(format!("`{name}` imports `{import}`, which has no floor")),
    }
}

fn floor_of(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    fn importing(name: &str, import: &str) -> Vec<String> {
        let text = format!("[dependencies]\nhayward-{import}.workspace = true");
        check(&RULE, &[(&format!("crates/{name}/Cargo.toml"), &text)])
    }

    #[test]
    fn down_is_allowed() {
        for (name, import) in [("gateway", "tool"), ("hayward", "store"), ("tool", "mcp")] {
            assert_eq!(importing(name, import), [""; 0], "{name} → {import}");
        }
    }

    #[test]
    fn up_sideways_and_exceptions_are_refused() {
        let pairs = [
            ("api", "tool"),
            ("gateway", "host"),
            ("host", "controlplane"),
            ("host", "store"),
            ("auth", "audit"),
            ("gateway", "testkit"),
            ("gateway", "attic"),
            ("attic", "api"),
        ];
        for (name, import) in pairs {
            assert_eq!(importing(name, import).len(), 1, "{name} → {import}");
        }
    }

    #[test]
    fn tests_may_use_the_testkit() {
        let text = "[dev-dependencies]\nhayward-testkit.workspace = true";
        assert_eq!(check(&RULE, &[("crates/api/Cargo.toml", text)]), [""; 0]);
    }
}
