//! A resource kind.
//!
//! As with tools, the edits of the table are functions of its text; where it no longer looks as expected, nothing is written.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::tool::type_name;

/// What to make.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Its name, as files say it: `lowercase`.
    name: String,
    /// Its plural, if it isn't the name with an s.
    #[arg(long)]
    plural: Option<String>,
}

const TEMPLATE: &str = include_str!("kind.template");
const FOLDER: &str = "crates/api/src/kinds";
const TABLE: &str = "crates/api/src/kinds.rs";

/// Writes the file and the two lines; returns the paths.
pub(super) fn write(root: &Path, arguments: &Arguments) -> Result<Vec<String>> {
    let name = &arguments.name;
    let plural = arguments.plural.clone().unwrap_or_else(|| format!("{name}s"));
    [name, &plural].into_iter().try_for_each(|word| check(word))?;
    let file = format!("{FOLDER}/{name}.rs");
    ensure!(!root.join(&file).exists(), "`{file}` is there already");
    let table =
        std::fs::read_to_string(root.join(TABLE)).with_context(|| format!("failed to read `{TABLE}`"))?;
    let order = table.matches("::DESCRIPTOR,\n").count();
    let table = with_lines(&table, name).context("no `mod` lines or no list of kinds in the table")?;
    let text = TEMPLATE
        .replace("{name}", name)
        .replace("{plural}", &plural)
        .replace("{Type}", &type_name(name))
        // Behind all that there are.
        .replace("{order}", &(90 + order).to_string());
    for (path, text) in [(&*file, text), (TABLE, table)] {
        std::fs::write(root.join(path), text).with_context(|| format!("failed to write `{path}`"))?;
    }
    Ok(vec![file, TABLE.to_owned()])
}

/// A name must do for a module, for files and for routes.
fn check(name: &str) -> Result<()> {
    let is_plain = name.chars().all(|it| it.is_ascii_lowercase());
    let is_module = syn::parse_str::<syn::Ident>(name).is_ok();
    ensure!(
        is_plain && is_module && name.len() <= 40,
        "`{name}` is no name for a kind: use lower case letters, at most 40"
    );
    Ok(())
}

/// Adds the `mod` line where the alphabet wants it, and the entry at the end of the list.
fn with_lines(text: &str, name: &str) -> Option<String> {
    let new = format!("pub mod {name};");
    let mut lines: Vec<&str> = text.lines().collect();
    let is_module = |line: &&str| line.starts_with("pub mod ");
    let last = lines.iter().rposition(is_module)?;
    let after = lines.iter().position(|line| is_module(line) && *line > &*new).unwrap_or(last + 1);
    lines.insert(after, &new);
    let text = lines.join("\n") + "\n";
    let list = text.find("pub static KINDS: &[&Descriptor] = &[")?;
    let end = list + text[list..].find("\n];")?;
    let (before, after) = text.split_at(end);
    Some(format!("{before}\n    &{name}::DESCRIPTOR,{after}"))
}

#[cfg(test)]
mod tests {
    use super::super::scratch;
    use super::*;
    use crate::{step, workspace};

    #[test]
    fn names_are_checked() {
        assert!(check("widget").is_ok());
        for name in ["", "Widget", "wid-get", "wid_get", "match", "../up", &*"a".repeat(41)] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn lines_land_in_their_places_and_a_table_of_another_form_is_refused() {
        let table = "pub mod a;\nmod b;\npub mod d;\n\npub static KINDS: &[&Descriptor] = &[\n    &a::DESCRIPTOR,\n];\n";
        let text = with_lines(table, "c").unwrap();
        assert!(text.contains("pub mod a;\nmod b;\npub mod c;\npub mod d;\n"), "{text}");
        assert!(text.contains("    &a::DESCRIPTOR,\n    &c::DESCRIPTOR,\n];"), "{text}");
        assert!(with_lines("//! Head.\n", "c").is_none());
        assert!(with_lines("pub mod a;\n", "c").is_none());
    }

    /// Runs the tests of the table with the new kind in it.
    #[test]
    fn a_new_kind_passes_the_tests_of_all_kinds_in_a_scratch_copy() {
        let root = scratch("scratch-of-new-kind");
        let arguments = Arguments { name: "widget".to_owned(), plural: None };
        write(&root, &arguments).unwrap();
        let mut cargo = step::cargo();
        cargo.current_dir(&root).env("CARGO_TARGET_DIR", workspace::target().join("scratch"));
        cargo.args(["test", "--offline", "--quiet", "--package", "hayward-api", "--lib", "--"]);
        cargo.args(["kinds::", "document::", "selector::"]);
        step::capture(&mut cargo).unwrap();
    }
}
