//! Rule `rooms`: the members of a table don't look sideways.
//!
//! `things.rs` is the table, `things/` its members. A member that needs what another has asks for
//! it to move up, into the table or the contract.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::PathUse;
use super::source::Source;
use super::tree::Tree;
use super::{Finding, Rule};

pub(crate) const RULE: Rule = Rule {
    name: "rooms",
    holds: "a member of a table (a tool, a kind, a command, …) never names another one",
    check,
};

/// Folders whose files are members of a table; the last part of the path is enough.
const TABLES: [&str; 14] = [
    "commands",
    "kinds",
    "placements",
    "plugins",
    "providers",
    "reconcilers",
    "rest",
    "schemes",
    "sinks",
    "stages",
    "tools/fleet",
    "tools/host",
    "tools/ops",
    "xtask/src/tidy",
];

/// What the members of xtask's own tables share is beside them.
const SHARED: [&str; 4] = ["paths", "source", "tests", "tree"];

fn check(tree: &Tree) -> Vec<Finding> {
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (table, name) in tree.sources.iter().filter_map(member) {
        members.entry(table).or_default().insert(name);
    }
    let looks = tree.sources.iter().filter_map(|source| {
        let (table, name) = member(source)?;
        Some(sideways(source, table, name, &members[table]))
    });
    looks.flatten().collect()
}

/// The table folder and the name of a member.
fn member(source: &Source) -> Option<(&str, &str)> {
    let (folder, file) = source.path.rsplit_once('/')?;
    let name = file.strip_suffix(".rs")?;
    let is_table = TABLES.iter().any(|table| {
        folder.strip_suffix(table).is_some_and(|before| before.is_empty() || before.ends_with('/'))
    });
    (is_table && !SHARED.contains(&name)).then_some((folder, name))
}

fn sideways(source: &Source, table: &str, name: &str, siblings: &BTreeSet<&str>) -> Vec<Finding> {
    let room = table.rsplit('/').next().unwrap_or(table);
    let other =
        |path: &&PathUse| named_member(path, room).is_some_and(|it| it != name && siblings.contains(it));
    let finding = |path: &PathUse| {
        let message = format!("`{name}` looks sideways at `{}`", path.segments.join("::"));
        Finding::new(&source.path, path.line, message)
    };
    source.uses.iter().filter(other).map(finding).collect()
}

/// `super::x…` or `crate::…::room::x…` names the member `x`.
fn named_member<'a>(path: &'a PathUse, room: &str) -> Option<&'a str> {
    let segments = &path.segments;
    match segments.first()?.as_str() {
        "super" => segments.get(1).map(String::as_str),
        "crate" => {
            let at = segments.iter().position(|segment| segment == room)?;
            segments.get(at + 1).map(String::as_str)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    fn two(a: &str) -> Vec<String> {
        let folder = "crates/host/src/tools/host";
        check(&RULE, &[(&format!("{folder}/a.rs"), a), (&format!("{folder}/b.rs"), "")])
    }

    #[test]
    fn a_member_may_look_up_and_at_itself() {
        for code in ["use super::limit;", "use crate::fs::b;", "use crate::tools::host::a::X;"] {
            assert_eq!(two(code), [""; 0], "{code}");
        }
    }

    #[test]
    fn a_member_may_not_look_sideways() {
        for code in ["use super::b::X;", "fn f() { crate::tools::host::b::run() }"] {
            assert_eq!(two(code).len(), 1, "{code}");
        }
    }

    #[test]
    fn other_folders_are_no_tables() {
        let files = [("crates/host/src/fs/a.rs", "use super::b;"), ("crates/host/src/fs/b.rs", "")];
        assert_eq!(check(&RULE, &files), [""; 0]);
    }
}
