//! A tool of the `host` toolset.
//!
//! The edits of the tables are functions of their text; where a table no longer looks as expected,
//! nothing is written.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// What to make.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Its name, as clients call it: `lower_case`.
    name: String,
    /// How risky it is.
    #[arg(long, value_enum, default_value = "read")]
    tier: Tier,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Tier {
    /// Looks only.
    Read,
    /// Changes something.
    Operate,
    /// Can do harm that can't be undone.
    Danger,
}

impl Tier {
    fn variant(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Operate => "Operate",
            Self::Danger => "Danger",
        }
    }

    fn annotations(self) -> String {
        if self == Self::Read {
            return "Annotations::READS".to_owned();
        }
        let destructive = self == Self::Danger;
        format!(
            "Annotations {{ read_only: false, destructive: {destructive}, idempotent: false, open_world: false }}"
        )
    }
}

const TEMPLATE: &str = include_str!("tool.template");

/// Where the members live, and the two tables.
const FOLDER: &str = "crates/host/src/tools/host";
const MODULES: &str = "crates/host/src/tools/host.rs";
const TABLE: &str = "crates/host/src/tools.rs";

/// Writes the file and the two lines; returns the paths.
pub(super) fn write(root: &Path, arguments: &Arguments) -> Result<[String; 3]> {
    let name = &arguments.name;
    check(name)?;
    let file = format!("{FOLDER}/{name}.rs");
    ensure!(!root.join(&file).exists(), "`{file}` is there already");
    let read = |path: &str| {
        std::fs::read_to_string(root.join(path)).with_context(|| format!("failed to read `{path}`"))
    };
    let modules = with_module(&read(MODULES)?, name).context("no `mod` lines in the table")?;
    let table = with_entry(&read(TABLE)?, name).context("no list of tools in the table")?;
    for (path, text) in [(&*file, render(arguments)), (MODULES, modules), (TABLE, table)] {
        std::fs::write(root.join(path), text).with_context(|| format!("failed to write `{path}`"))?;
    }
    Ok([file, MODULES.to_owned(), TABLE.to_owned()])
}

/// A name must do for a module, and for clients that allow few characters.
fn check(name: &str) -> Result<()> {
    let is_plain = name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_');
    let is_module = syn::parse_str::<syn::Ident>(name).is_ok();
    ensure!(
        is_plain && is_module && name.len() <= 40,
        "`{name}` is no name for a tool: use lower case, digits and `_`, at most 40 characters"
    );
    Ok(())
}

fn render(arguments: &Arguments) -> String {
    let (name, tier) = (&arguments.name, arguments.tier);
    let words = name.replace('_', " ");
    let title = words[..1].to_uppercase() + &words[1..];
    TEMPLATE
        .replace("{name}", name)
        .replace("{Type}", &type_name(name))
        .replace("{title}", &title)
        .replace("{Tier}", tier.variant())
        .replace("{annotations}", &tier.annotations())
}

/// `read_file` → `ReadFile`.
pub(super) fn type_name(name: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').filter(|word| !word.is_empty()).map(capital).collect()
}

/// Adds the `mod` line where the alphabet wants it.
fn with_module(text: &str, name: &str) -> Option<String> {
    let new = format!("pub(super) mod {name};");
    let mut lines: Vec<&str> = text.lines().collect();
    let is_module = |line: &&str| line.starts_with("pub(super) mod ");
    let last = lines.iter().rposition(is_module)?;
    let after = lines.iter().position(|line| is_module(line) && *line > &*new).unwrap_or(last + 1);
    lines.insert(after, &new);
    Some(lines.join("\n") + "\n")
}

/// Adds the entry at the end of the list. The last entry is the one that takes `host` itself.
fn with_entry(text: &str, name: &str) -> Option<String> {
    let list = text.find("= vec![")?;
    let end = list + text[list..].find("\n    ];")?;
    let (before, after) = text.split_at(end);
    let before = before.replace("(host)", "(Arc::clone(&host))");
    let entry = format!("        Arc::new(Typed::new(host::{name}::{}(host))),", type_name(name));
    Some(format!("{before}\n{entry}{after}"))
}

#[cfg(test)]
mod tests {
    use super::super::scratch;
    use super::*;
    use crate::{step, workspace};

    #[test]
    fn names_are_checked() {
        for name in ["uptime", "read_file2"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", "Uptime", "up-time", "match", "2fast", "../up", &*"a".repeat(41)] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn lines_land_in_their_places() {
        let modules = "//! Head.\n\npub(super) mod a;\npub(super) mod c;\n\nuse x;\n";
        let modules = with_module(modules, "b").unwrap();
        assert!(modules.contains("mod a;\npub(super) mod b;\npub(super) mod c;\n\nuse"), "{modules}");
        assert!(with_module(&modules, "d").unwrap().contains("mod c;\npub(super) mod d;\n\nuse"));
        let table = "fn f(host: H) {\n    let tools = vec![\n        a(host),\n    ];\n    T(tools)\n}\n";
        let table = with_entry(table, "b_c").unwrap();
        let wanted = "a(Arc::clone(&host)),\n        Arc::new(Typed::new(host::b_c::BC(host))),\n    ];";
        assert!(table.contains(wanted), "{table}");
    }

    #[test]
    fn a_table_of_another_form_is_refused() {
        assert!(with_module("//! Head.\n", "a").is_none());
        assert!(with_entry("fn f() {}\n", "a").is_none());
    }

    /// Adds what calls the new tool.
    #[test]
    fn a_new_tool_works_in_a_scratch_copy() {
        let root = scratch("scratch-of-new-tool");
        let arguments = Arguments { name: "greet_moon".to_owned(), tier: Tier::Read };
        write(&root, &arguments).unwrap();
        let caller = root.join("crates/host/tests/greet_moon.rs");
        std::fs::create_dir_all(caller.parent().unwrap()).unwrap();
        std::fs::write(caller, include_str!("caller.template")).unwrap();

        let mut cargo = step::cargo();
        cargo.current_dir(&root).env("CARGO_TARGET_DIR", workspace::target().join("scratch"));
        cargo.args(["test", "--offline", "--quiet", "--package", "hayward-host"]);
        cargo.args(["--test", "greet_moon"]);
        step::capture(&mut cargo).unwrap();
    }
}
