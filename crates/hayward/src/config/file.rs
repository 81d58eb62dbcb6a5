//! The files of the configuration, read as keys with values and lines. What the keys mean is said elsewhere.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use toml_edit::{Document, Item, TableLike, Value};

/// Bytes of a file of the configuration; a longer one is refused.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A key of a file, with what stands there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The key as it is written, tables and all, e.g. `log.level`.
    pub(crate) spelled: String,
    /// The line that it stands on, from 1.
    pub(crate) line: usize,
    /// Its value, or why there is none.
    pub(crate) value: Result<Given, &'static str>,
}

/// A value of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    One(String),
    Many(Vec<String>),
}

/// What distinguishes a file from any that takes its place, or from itself with other content; nothing of one that isn't there.
pub(crate) type Look = Option<[i64; 4]>;

/// Looks at a file without reading it.
pub(crate) fn look(path: &Path) -> Look {
    let metadata = fs::metadata(path).ok()?;
    let (inode, size) = (metadata.ino().cast_signed(), metadata.size().cast_signed());
    Some([inode, size, metadata.ctime(), metadata.ctime_nsec()])
}

/// Text of a file that is there, `None` of one that isn't; why it can't be read, otherwise.
pub(crate) fn read(path: &Path) -> Result<Option<String>, String> {
    let shown = path.display();
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{shown}: can't be read: {error}")),
    };
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("{shown}: can't be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{shown}: longer than {FILE_BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        format!("{shown}:{}: not UTF-8", line(&String::from_utf8_lossy(error.as_bytes()), good))
    })?;
    Ok(Some(text))
}

/// The entries of a TOML document, in its order; its first fault with its line, otherwise.
pub(crate) fn toml(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let document = Document::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (line(text, at), error.message().trim().replace('\n', ", "))
    })?;
    let (mut entries, ends) = (Vec::new(), line_ends(text));
    walk(&ends, document.as_table(), "", &mut entries);
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn walk(ends: &[usize], table: &dyn TableLike, above: &str, entries: &mut Vec<Entry>) {
    for (name, item) in table.iter() {
        let spelled = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        let key = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        let at = key.map_or(0, |span| span.start);
        let line = 1 + ends.partition_point(|end| *end < at);
        match item {
            Item::Value(value) if !value.is_inline_table() => {
                entries.push(Entry { spelled, line, value: given(value) });
            }
            Item::ArrayOfTables(_) => {
                entries.push(Entry { spelled, line, value: Err("a list of tables is no value") });
            }
            _ => {
                if let Some(inner) = item.as_table_like() {
                    walk(ends, inner, &spelled, entries);
                }
            }
        }
    }
}

fn given(value: &Value) -> Result<Given, &'static str> {
    match value {
        Value::Array(list) => {
            let words: Option<Vec<String>> = list.iter().map(word).collect();
            words.map(Given::Many).ok_or("a list holds strings and whole numbers only")
        }
        single => word(single)
            .map(Given::One)
            .ok_or("a value is a string, a whole number, true or false, or a list"),
    }
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Boolean(answer) => Some(answer.value().to_string()),
        _ => None,
    }
}

/// Where the lines end: found once, as a file may have as many keys as lines.
fn line_ends(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter_map(|(at, byte)| (byte == b'\n').then_some(at)).collect()
}

fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The entries of a file of variables (`NAME=value`), as systemd and mymcp read it; faults with their lines beside them.
pub(crate) fn variables(text: &str) -> (Vec<Entry>, Vec<(usize, String)>) {
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for (at, raw) in text.lines().enumerate() {
        let content = raw.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        let content = content.strip_prefix("export ").unwrap_or(content);
        match content.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if is_name(name) => {
                let value = Ok(Given::One(unquoted(value).to_owned()));
                entries.push(Entry { spelled: name.to_owned(), line: at + 1, value });
            }
            _ => faults.push((at + 1, "a line is NAME=value or a comment".to_owned())),
        }
    }
    (entries, faults)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn unquoted(value: &str) -> &str {
    let inside = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(spelled: &str, line: usize, value: &str) -> Entry {
        Entry { spelled: spelled.to_owned(), line, value: Ok(Given::One(value.to_owned())) }
    }

    #[test]
    fn every_key_has_its_line_and_its_value_as_text() {
        let text = "# a\nport = 9000\nlog.level = \"info\"\n\n[gateway]\ncalls_max = 7\n[tls]\n# b\non = true\nx = [\"a\", 1]\n";
        let entries = toml(text).unwrap();
        let list = Given::Many(vec!["a".to_owned(), "1".to_owned()]);
        assert_eq!(
            entries,
            [
                one("port", 2, "9000"),
                one("log.level", 3, "info"),
                one("gateway.calls_max", 6, "7"),
                one("tls.on", 9, "true"),
                Entry { spelled: "tls.x".to_owned(), line: 10, value: Ok(list) },
            ]
        );
    }

    #[test]
    fn what_is_no_value_and_no_toml_is_told_with_its_line() {
        let entries = toml("\na = 1.5\nb = [[1]]\n[[c]]\nd = { e = 1979-05-27 }\n").unwrap();
        assert_eq!(entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(entries.iter().all(|entry| entry.value.is_err()));
        for (bad, expect) in [("a = 1\nb = \n", 2), ("a = 1\na = 2\n", 2), ("\n\n[x", 3)] {
            assert_eq!(toml(bad).unwrap_err().0, expect, "{bad:?}");
        }
    }

    #[test]
    fn variables_are_read_with_quotes_and_comments() {
        let (entries, faults) = variables("# x\nA=1\nexport B=\"two words\"\n\n ; y\nC_D='z'\nno\n=v\nE=\n");
        assert_eq!(
            entries,
            [one("A", 2, "1"), one("B", 3, "two words"), one("C_D", 6, "z"), one("E", 9, "")]
        );
        assert_eq!(faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [7, 8]);
    }

    #[test]
    fn a_file_that_is_not_there_is_none_and_one_that_cannot_be_read_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&dir.path().join("none")), Ok(None));
        assert!(read(dir.path()).unwrap_err().contains("can't be read"));
        let odd = dir.path().join("odd");
        fs::write(&odd, b"a = 1\n\xff").unwrap();
        assert!(read(&odd).unwrap_err().ends_with("odd:2: not UTF-8"));
        fs::File::create(&odd).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(read(&odd).unwrap_err().contains("longer"));
    }
}
