//! Logins of this user: one for each server, in a file that nobody else reads.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use crate::config;
use crate::failure::Failure;
use crate::output;

/// Bytes of the file.
const BYTES_MAX: u64 = 1 << 20;

/// A login. It has no `Debug`, since it holds a token.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Login {
    pub(crate) token: String,
    /// Whose it is.
    pub(crate) email: String,
    /// When it ends, if it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
}

/// The file: logins by the address of their server.
#[derive(Default, Serialize, Deserialize)]
struct Logins {
    #[serde(default)]
    servers: BTreeMap<String, Login>,
}

/// Where the file is; none without a home.
pub(crate) fn path() -> Option<PathBuf> {
    config::home_of("XDG_CONFIG_HOME", ".config").map(|home| home.join("hayward/credentials.json"))
}

/// The login at a server, if there is one.
pub(crate) fn find(address: &str) -> Result<Option<Login>, Failure> {
    let Some(path) = path() else { return Ok(None) };
    Ok(read(&path)?.servers.remove(address))
}

/// Keeps a login in the place of the one before.
pub(crate) fn keep(address: &str, login: Login) -> Result<PathBuf, Failure> {
    let path = path().ok_or_else(|| {
        Failure::configuration(anyhow!("no place for the login: `HOME` isn't set"))
            .hint("set HOME or XDG_CONFIG_HOME")
    })?;
    let mut logins = read(&path)?;
    logins.servers.insert(address.to_owned(), login);
    write(&path, &logins)?;
    Ok(path)
}

/// Forgets the login at a server; whether there was one.
pub(crate) fn forget(address: &str) -> Result<bool, Failure> {
    let Some(path) = path() else { return Ok(false) };
    let mut logins = read(&path)?;
    let had = logins.servers.remove(address).is_some();
    if had {
        write(&path, &logins)?;
    }
    Ok(had)
}

fn read(path: &Path) -> Result<Logins, Failure> {
    use std::io::Read;
    let shown = path.display();
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Logins::default()),
        Err(error) => {
            return Err(anyhow::Error::from(error).context(format!("failed to read `{shown}`")).into());
        }
    };
    let mode = file.metadata().map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        output::tell(&format!("warning: others may read the logins in {shown}: run `chmod 600` on it\n"));
    }
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).with_context(|| format!("failed to read `{shown}`"))?;
    // What is wrong with it may hold a token, so it is not told.
    serde_json::from_str(&text).map_err(|_| {
        Failure::configuration(anyhow!("`{shown}` is no file of logins"))
            .hint("remove it, and run `hayward login`")
    })
}

/// Writes the file beside, and puts it in the place of the old one.
fn write(path: &Path, logins: &Logins) -> Result<(), Failure> {
    let failed = || format!("failed to write `{}`", path.display());
    let dir = path.parent().context("it has a folder")?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(failed)?;
    let beside = dir.join(format!(".credentials.{}", std::process::id()));
    let text = serde_json::to_vec_pretty(logins).with_context(failed)?;
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        fs::remove_file(&beside).ok();
    }
    Ok(written.with_context(failed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_kept_for_this_user_alone_and_a_broken_file_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hayward/credentials.json");
        let login = Login { token: "hush".into(), email: "a@b".into(), expires_at: None };
        let logins = Logins { servers: [("http://a".to_owned(), login)].into() };
        write(&path, &logins).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().servers["http://a"].token, "hush");
        fs::write(&path, "{\"token\": hush").unwrap();
        let failure = read(&path).err().unwrap();
        assert!(failure.exit_code == 78 && !format!("{:?}", failure.error).contains("hush"));
        assert!(read(&dir.path().join("none")).unwrap().servers.is_empty());
    }
}
