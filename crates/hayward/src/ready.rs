//! The ready file: appears at once and complete, and only its owner reads it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::Value;

/// Puts a JSON document in place atomically, mode 0600.
pub(crate) fn write(path: &Path, document: &Value) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.tmp", std::process::id()));
    let draft = Path::new(&draft);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        file.write_all(document.to_string().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(draft, path)
    })();
    if written.is_err() {
        fs::remove_file(draft).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_is_whole_and_private_and_replaces_an_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ready");
        fs::write(&path, "old").unwrap();
        write(&path, &serde_json::json!({"url": "x"})).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"url\":\"x\"}\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("no/where"), &Value::Null).is_err());
    }
}
