//! The keys that wrap all others: outside of the database, in a file of the data directory or in a credential of systemd.
//!
//! The file is made when the first value is sealed, never overwritten in place, and only a rotation changes it. While one is
//! under way it holds two keys; the database says which of them wraps what.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::envelope::{self, Key};
use crate::error::StoreError;

const FILE: &str = "secrets.json";
/// The name of the credential.
const CREDENTIAL: &str = "hayward-secrets-key";
const CONTEXT: &str = "hayward 2026-11 id of a key v1";

/// Keys by their ids.
pub(super) struct Keys(Vec<(String, Key)>);

impl Keys {
    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, key)| key)
    }

    /// The one that is taken where none wraps anything yet.
    pub(super) fn first(&self) -> Option<&(String, Key)> {
        self.0.first()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(id, _)| id.as_str())
    }

    pub(super) fn with_fresh(&self) -> Self {
        let known = self.0.iter().map(|(id, key)| (id.clone(), key.clone()));
        Self(known.chain([named(envelope::fresh())]).collect())
    }

    /// The last one, which is the newest.
    pub(super) fn newest(&self) -> Option<&(String, Key)> {
        self.0.last()
    }

    pub(super) fn only(&self, ids: &BTreeSet<String>) -> Self {
        let kept = self.0.iter().filter(|(known, _)| ids.contains(known));
        Self(kept.map(|(id, key)| (id.clone(), key.clone())).collect())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw<'a> {
            version: u32,
            #[serde(borrow)]
            keys: Vec<&'a str>,
        }
        if let Ok(bare) = <[u8; 32]>::try_from(bytes) {
            return Some(Self(vec![named(Zeroizing::new(bare))]));
        }
        let text = std::str::from_utf8(bytes).ok()?.trim();
        if !text.starts_with('{') {
            return Some(Self(vec![named(decode(text)?)]));
        }
        let raw: Raw<'_> = serde_json::from_str(text).ok().filter(|raw: &Raw<'_>| raw.version == 1)?;
        let keys: Vec<_> = raw.keys.into_iter().map(|key| decode(key).map(named)).collect::<Option<_>>()?;
        (!keys.is_empty()).then_some(Self(keys))
    }

    fn text(&self) -> Zeroizing<String> {
        let keys: Vec<_> = self.0.iter().map(|(_, key)| Zeroizing::new(STANDARD.encode(&key[..]))).collect();
        let mut text = Zeroizing::new(String::with_capacity(64 * (keys.len() + 1)));
        text.push_str("{\"version\":1,\"keys\":[");
        for (place, key) in keys.iter().enumerate() {
            text.push_str(if place == 0 { "\"" } else { ",\"" });
            text.push_str(key);
            text.push('"');
        }
        text.push_str("]}\n");
        text
    }
}

fn decode(text: &str) -> Option<Key> {
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

/// A key, and the id that follows from it.
fn named(key: Key) -> (String, Key) {
    let digest = blake3::derive_key(CONTEXT, &key[..]);
    let (first, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
    (format!("{:016x}", u64::from_be_bytes(*first)), key)
}

/// Where the keys are, and what was read there.
pub(crate) struct KeyPlace {
    dir: PathBuf,
    credentials: Option<PathBuf>,
    read: Mutex<Option<Arc<Keys>>>,
}

impl KeyPlace {
    /// The folder of the keys, and the folder in which systemd puts credentials.
    pub(crate) fn new(dir: PathBuf, credentials: Option<PathBuf>) -> Self {
        Self { dir, credentials, read: Mutex::default() }
    }

    fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// The credential, if there is one: it wins over the file, and is never written.
    fn credential(&self) -> Option<PathBuf> {
        self.credentials.as_ref().map(|dir| dir.join(CREDENTIAL)).filter(|path| path.exists())
    }

    pub(super) fn is_credential(&self) -> bool {
        self.credential().is_some()
    }

    /// The keys, which must be there.
    pub(super) fn get(&self) -> Result<Arc<Keys>, StoreError> {
        self.find()?.ok_or_else(|| StoreError::Sealed {
            what: format!("there are sealed values, and their key `{}` is not there", self.file().display()),
            hint: "put the key file back; without it the values are lost, and have to be set again in a new data directory",
        })
    }

    /// The keys, if there are any.
    pub(super) fn find(&self) -> Result<Option<Arc<Keys>>, StoreError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.is_none() {
            *read = self.load()?.map(Arc::new);
        }
        Ok(read.clone())
    }

    fn load(&self) -> Result<Option<Keys>, StoreError> {
        let credential = self.credential();
        let path = credential.clone().unwrap_or_else(|| self.file());
        let bytes = match fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        if credential.is_none() {
            let mode =
                fs::metadata(&path).map_err(|error| failed("look at", &path, &error))?.permissions().mode();
            if mode & 0o077 != 0 {
                let what = format!(
                    "the key file `{}` is open to others (mode {:03o})",
                    path.display(),
                    mode & 0o777
                );
                return Err(StoreError::Sealed {
                    what,
                    hint: "run `chmod 600` on it, then `hayward secrets rotate-key`",
                });
            }
        }
        let damaged = || StoreError::Sealed {
            what: format!("`{}` holds no keys of secrets", path.display()),
            hint: "put the right key file back; nothing was changed",
        };
        Keys::parse(&bytes).map(Some).ok_or_else(damaged)
    }

    /// The keys; one is made if there is none.
    pub(super) fn get_or_make(&self) -> Result<Arc<Keys>, StoreError> {
        if let Some(keys) = self.find()? {
            return Ok(keys);
        }
        self.write(&Keys(vec![named(envelope::fresh())]))?;
        self.get()
    }

    /// Puts these keys in the place of those that are there: whole, or not at all.
    pub(super) fn write(&self, keys: &Keys) -> Result<(), StoreError> {
        let (path, next) = (self.file(), self.dir.join(format!("{FILE}.next")));
        let mut folder = fs::DirBuilder::new();
        let made = folder.recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| failed("create", &self.dir, &error))?;
        write_synced(&next, keys.text().as_bytes()).map_err(|error| failed("write", &next, &error))?;
        fs::rename(&next, &path).map_err(|error| failed("rename", &next, &error))?;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| failed("sync", &self.dir, &error))?;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a process that died left there is replaced; it may have another mode.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn failed(step: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Sealed {
        what: format!("failed to {step} `{}`: {error}", path.display()),
        hint: "look at the folder `keys` of the data directory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_in_every_form_that_a_credential_may_have() {
        let keys = Keys(vec![named(envelope::fresh())]).with_fresh();
        let read = Keys::parse(keys.text().as_bytes()).unwrap();
        assert!(read.ids().eq(keys.ids()) && read.0.len() == 2);
        let (id, key) = keys.first().unwrap();
        for bytes in [key.to_vec(), format!("{}\n", STANDARD.encode(&key[..])).into_bytes()] {
            assert_eq!(Keys::parse(&bytes).unwrap().ids().collect::<Vec<_>>(), [id]);
        }
        for bad in ["", "{}", "x", r#"{"version":2,"keys":[]}"#, r#"{"version":1,"keys":[]}"#] {
            assert!(Keys::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_key_file_is_private_and_one_that_is_not_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = || KeyPlace::new(dir.path().join("keys"), None);
        assert!(place().find().unwrap().is_none() && place().get().is_err());
        let made = place().get_or_make().unwrap();
        assert!(place().get().unwrap().ids().eq(made.ids()));
        let path = dir.path().join("keys").join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(place().find().is_err());
    }
}
