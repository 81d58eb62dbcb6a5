//! What the rules look at: the workspace as values.

use std::path::Path;

use anyhow::{Context, Result};

use super::source::Source;

/// Where sources, manifests and generated pages lie.
const FOLDERS: [&str; 4] = ["crates", "docs", "testkit", "xtask"];

/// Folders of other programs' making.
const FOREIGN: [&str; 3] = ["node_modules", "target", "__pycache__"];

/// A parsed `Cargo.toml` or `Cargo.lock`.
pub(crate) struct Manifest {
    /// Its path from the workspace root.
    pub(crate) path: String,
    /// Its content.
    pub(crate) table: toml::Table,
}

/// All files that rules speak of.
#[derive(Default)]
pub(crate) struct Tree {
    /// Rust files.
    pub(crate) sources: Vec<Source>,
    /// The manifests of the packages and of the workspace.
    pub(crate) manifests: Vec<Manifest>,
    /// The lock file, if there is one.
    pub(crate) lock: Option<Manifest>,
    /// Generated pages: path and text.
    pub(crate) pages: Vec<(String, String)>,
}

impl Tree {
    /// Reads the workspace at `root`.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let mut paths = vec!["Cargo.toml".to_owned(), "Cargo.lock".to_owned()];
        for folder in FOLDERS {
            list(root, folder, &mut paths)?;
        }
        paths.sort();
        let mut tree = Self::default();
        for path in paths.iter().filter(|path| is_of_interest(path)) {
            let text = std::fs::read_to_string(root.join(path))
                .with_context(|| format!("failed to read `{path}`"))?;
            tree.add(path, &text)?;
        }
        Ok(tree)
    }

    /// A tree of these paths and texts.
    #[cfg(test)]
    pub(crate) fn of_texts(files: &[(&str, &str)]) -> Result<Self> {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.add(path, text)?;
        }
        Ok(tree)
    }

    fn add(&mut self, path: &str, text: &str) -> Result<()> {
        let extension = Path::new(path).extension().and_then(|it| it.to_str());
        match extension {
            Some("rs") => self.sources.push(Source::parse(path, text)?),
            Some("toml") => self.manifests.push(manifest(path, text)?),
            Some("lock") => self.lock = Some(manifest(path, text)?),
            _ => self.pages.push((path.to_owned(), text.to_owned())),
        }
        Ok(())
    }
}

fn manifest(path: &str, text: &str) -> Result<Manifest> {
    let table = text.parse().with_context(|| format!("failed to parse `{path}`"))?;
    Ok(Manifest { path: path.to_owned(), table })
}

fn is_of_interest(path: &str) -> bool {
    let is_page = path.starts_with("docs/reference/");
    Path::new(path).extension().is_some_and(|it| it == "rs")
        || path.ends_with("Cargo.toml")
        || path == "Cargo.lock"
        || is_page
}

fn list(root: &Path, folder: &str, paths: &mut Vec<String>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("failed to list `{folder}`"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || FOREIGN.contains(&&*name) {
            continue;
        }
        let path = format!("{folder}/{name}");
        if entry.path().is_dir() {
            list(root, &path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}
