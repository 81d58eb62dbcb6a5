//! Where documents are read from: files, directories, standard input.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::failure::Failure;

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What files of documents end with.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A text, and what it is called.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The texts of these places, those of a directory in the order of their names.
pub(crate) fn sources(places: &[String]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for place in places {
        if place == "-" {
            let text = text("standard input", io::stdin())?;
            // What should have written it failed.
            if text.trim().is_empty() {
                return Err(anyhow!("nothing was read from standard input").into());
            }
            sources.push(Source { name: "standard input".to_owned(), text });
            continue;
        }
        for path in files(Path::new(place))? {
            let shown = path.display().to_string();
            let file = fs::File::open(&path).with_context(|| format!("failed to read `{shown}`"))?;
            sources.push(Source { text: text(&shown, file)?, name: shown });
        }
    }
    Ok(sources)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = || format!("failed to read `{}`", path.display());
    if !fs::metadata(path).with_context(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_ours = path.extension().is_some_and(|ending| ENDINGS.iter().any(|ours| ending == *ours));
        if is_ours && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Failure::from(anyhow!(
            "`{}` has no file that ends with .yaml, .yml or .json",
            path.display()
        )));
    }
    files.sort();
    Ok(files)
}

fn text(name: &str, from: impl Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    from.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("failed to read {name}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(anyhow!("{name} is longer than {FILE_BYTES_MAX} bytes").into());
    }
    String::from_utf8(bytes).map_err(|_| anyhow!("{name} is no text in UTF-8").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_files_in_order_and_passes_over_others() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.json", "c.yml", "x.txt", ".hidden.yaml"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let sources = sources(&[dir.path().display().to_string()]).unwrap();
        let texts: Vec<_> = sources.iter().map(|source| source.text.as_str()).collect();
        assert_eq!(texts, ["a.json", "b.yaml", "c.yml"]);
        let empty = tempfile::tempdir().unwrap();
        assert!(super::sources(&[empty.path().display().to_string()]).is_err());
        assert!(super::sources(&["/nonexistent".to_owned()]).is_err());
    }
}
