//! Changes a key of the file in place: what else stands there stays as it is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::anyhow;
use serde_json::Value as Json;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use super::typed;
use crate::config::file::read;
use crate::config::keys::{Key, Keys, Takes};
use crate::failure::Failure;
use crate::ready::place;
use crate::stack::step;

/// Mode of a file that wasn't there: a service of another user reads it, and no secret stands in it.
const MODE: u32 = 0o644;

/// Sets a key in this file, which appears with its folder if it isn't there.
pub(super) fn set(path: &Path, key: &Key, values: &[String]) -> Result<(), Failure> {
    let text = read(path).map_err(|fault| Failure::configuration(anyhow!(fault)))?.unwrap_or_default();
    let text = changed(&text, key, values).map_err(|fault| {
        Failure::configuration(anyhow!("{}: {fault}", path.display())).hint("mend the file by hand first")
    })?;
    write(path, &text)
}

/// Puts the text of a configuration in place, under the mode and the owner that the file had.
pub(in crate::commands) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    // A link stays one, and what it leads to changes.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let failed = || format!("failed to write `{}`", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        step(fs::create_dir_all(folder), failed)?;
    }
    let old = fs::metadata(&path).ok();
    let mode = old.as_ref().map_or(MODE, |old| old.mode() & 0o777);
    step(place(&path, text.as_bytes(), mode), failed)?;
    if let Some(old) = old {
        // Only root may, and only root has to.
        std::os::unix::fs::chown(&path, Some(old.uid()), Some(old.gid())).ok();
    }
    Ok(())
}

/// The text with this key set.
pub(in crate::commands) fn changed(text: &str, key: &Key, values: &[String]) -> Result<String, String> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| error.message().replace('\n', ", "))?;
    // A first key stands behind the comments that are there.
    let mut head = String::new();
    if document.is_empty() {
        head.push_str(text);
        document = DocumentMut::new();
        if !head.is_empty() && !head.ends_with('\n') {
            head.push('\n');
        }
    }
    let value = value(key, values);
    let at = found(document.as_table(), key, &mut Vec::new())
        .unwrap_or_else(|| key.path().into_iter().map(str::to_owned).collect());
    let (last, above) = at.split_last().ok_or("a key has a name")?;
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for name in above {
        let inner = table.entry(name).or_insert_with(|| {
            let mut made = Table::new();
            // `log.level = …` as long as nobody makes a table of it.
            made.set_dotted(true);
            Item::Table(made)
        });
        table = inner.as_table_like_mut().ok_or_else(|| format!("`{name}` is a value, and no table"))?;
    }
    match table.get_mut(last).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = value;
            *old.decor_mut() = decor;
        }
        None => drop(table.insert(last, Item::Value(value))),
    }
    Ok(head + &document.to_string())
}

/// Where a key stands already, however it is spelled.
fn found(table: &dyn TableLike, key: &Key, above: &mut Vec<String>) -> Option<Vec<String>> {
    for (name, item) in table.iter() {
        above.push(name.to_owned());
        if item.is_value() && Keys::means(key, &above.join(".")) {
            return Some(above.clone());
        }
        let inner = item.as_table_like().and_then(|inner| found(inner, key, above));
        if inner.is_some() {
            return inner;
        }
        above.pop();
    }
    None
}

fn value(key: &Key, values: &[String]) -> Value {
    let word = |word: &String| toml_value(&typed(word));
    match &key.takes {
        Takes::Many(..) => Value::Array(values.iter().map(word).collect::<Array>()),
        Takes::Limit(_) => toml_value(&typed(&values.join("").replace('_', ""))),
        _ => values.first().map_or_else(|| Value::from(""), word),
    }
}

fn toml_value(value: &Json) -> Value {
    match value {
        Json::Bool(answer) => Value::from(*answer),
        Json::Number(number) => Value::from(number.as_i64().unwrap_or(i64::MAX)),
        Json::Array(list) => Value::Array(list.iter().map(toml_value).collect::<Array>()),
        Json::String(text) => Value::from(text.as_str()),
        Json::Null | Json::Object(_) => Value::from(""),
    }
}

/// A value as it stands in TOML.
pub(super) fn written(value: &Json) -> String {
    toml_value(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::toml;

    fn check(text: &str, name: &str, values: &[&str], expect: &str) {
        let keys = Keys::of(&crate::line());
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        let changed = changed(text, keys.find(name).unwrap(), &values).unwrap();
        assert_eq!(changed, expect);
        assert!(toml(&changed).is_ok());
    }

    #[test]
    fn a_key_is_changed_where_it_stands_and_comments_stay() {
        check("# a\nport = 1 # b\n\n# c\n", "port", &["2"], "# a\nport = 2 # b\n\n# c\n");
        check("[log]\nlevel = \"info\" # x\n", "log.level", &["warn"], "[log]\nlevel = \"warn\" # x\n");
        check("log_level = \"info\"\n", "log.level", &["warn"], "log_level = \"warn\"\n");
        check("[gateway]\ncalls-max = 1\n", "gateway.calls_max", &["2_000"], "[gateway]\ncalls-max = 2000\n");
    }

    #[test]
    fn a_new_key_is_added_where_it_belongs() {
        check("", "port", &["2"], "port = 2\n");
        check("# a", "port", &["2"], "# a\nport = 2\n");
        check(
            "[log]\nformat = \"json\"\n",
            "log.level",
            &["warn"],
            "[log]\nformat = \"json\"\nlevel = \"warn\"\n",
        );
        check("[gateway]\nx = 1\n", "port", &["2"], "port = 2\n[gateway]\nx = 1\n");
        check("", "log.level", &["warn"], "log.level = \"warn\"\n");
        check("", "protected.paths", &["/a", "/b"], "protected.paths = [\"/a\", \"/b\"]\n");
        check("host = \"::1\"\n", "host.read_lines", &["7"], "host = \"::1\"\nlimits.host.read_lines = 7\n");
    }

    #[test]
    fn a_file_keeps_its_mode_and_one_that_is_no_toml_stays_as_it_is() {
        use std::os::unix::fs::PermissionsExt;
        let keys = Keys::of(&crate::line());
        let key = keys.find("port").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.toml");
        set(&path, key, &["1".to_owned()]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), MODE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        set(&link, key, &["2".to_owned()]).unwrap();
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (0o600, "port = 2\n"));
        assert!(link.is_symlink());
        fs::write(&path, "port = = 1\n").unwrap();
        assert_eq!(set(&path, key, &["3".to_owned()]).unwrap_err().exit_code, 78);
        assert_eq!(fs::read_to_string(&path).unwrap(), "port = = 1\n");
    }
}
