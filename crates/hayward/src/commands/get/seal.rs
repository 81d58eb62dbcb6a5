//! `--seal-to`: values of secrets that leave the server encrypted for the owner of a key, and never in clear.

use std::path::Path;

use anyhow::Context;
use hayward_client::{Client, Target};
use serde_json::Value;

use crate::documents::{name, project};
use crate::failure::Failure;
use crate::output::documents::Group;
use crate::words::usage;

/// Bytes of a file that holds a public key.
const KEY_BYTES_MAX: u64 = 4_096;

/// Puts sealed values in the place of `***`.
pub(super) async fn seal(client: &Client, groups: &mut [Group], keyfile: &Path) -> Result<(), Failure> {
    let key = key_of(keyfile)?;
    for group in groups.iter_mut().filter(|group| group.kind.name == "secret") {
        for document in &mut group.documents {
            let target = Target {
                kind: group.kind,
                word: name(group.kind, document),
                project: project(group.kind, document),
            };
            let sealed = client.sealed(target, &key).await?;
            if let Some(members) = document.as_object_mut() {
                members.insert("data".to_owned(), sealed.get("data").cloned().unwrap_or(Value::Null));
            }
        }
    }
    Ok(())
}

fn key_of(path: &Path) -> Result<String, Failure> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(KEY_BYTES_MAX).read_to_string(&mut text));
    read.with_context(|| format!("failed to read `{}`", path.display()))?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    line.map(str::to_owned).ok_or_else(|| usage(format!("`{}` holds no public key", path.display())))
}
