//! Files that appear at once and complete, as the ready file does, which only its owner reads.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde_json::Value;

/// Puts a JSON document in place atomically, mode 0600.
pub(crate) fn write(path: &Path, document: &Value) -> io::Result<()> {
    place(path, format!("{document}\n").as_bytes(), 0o600)
}

/// Puts bytes in place atomically, under this mode.
pub(crate) fn place(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.tmp", std::process::id()));
    let draft = Path::new(&draft);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(draft)?;
        // Whatever the umask says.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
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
