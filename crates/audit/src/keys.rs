//! What makes a node itself: its id, the key that signs checkpoints, the key that digests arguments.
//!
//! Three files, made at the first start; only a rotation replaces the first of them. Whatever is there and can't be
//! read is an error, since a fresh key would make the record look like somebody else's. A file appears whole or not at
//! all: it is written beside its place, synced, and linked to its name.
//!
//! | file | holds |
//! |---|---|
//! | `audit-signing.key` | the seed of an Ed25519 key, in hexadecimal |
//! | `audit-digest.key` | the key of the HMAC-SHA-256 over arguments, in hexadecimal |
//! | `audit-node.json` | the id of the node, its epoch, and what ties it to this machine |
//!
//! A key is never printed: the types that hold one can neither be shown nor serialised.

mod rotation;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::AuditError;
use crate::hex::{Hash, Hex, NodeId};
use crate::secrets::TagKey;

pub(crate) use rotation::NextKey;

const SIGNING: &str = "audit-signing.key";
const DIGEST: &str = "audit-digest.key";
const NODE: &str = "audit-node.json";
/// What a signature is over begins with this, so that it can't be taken for one of something else.
const DOMAIN: &[u8] = b"hayward audit checkpoint 1\n";

/// The keys and the id of a node.
pub struct Keys {
    dir: PathBuf,
    signing: SigningKey,
    digest: Hmac<Sha256>,
    home: NodeId,
}

/// What checks the signatures of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(Hex<32>);

/// A public key that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 public key in 64 lower-case hexadecimal digits")]
pub struct NoPublicKey;

/// Which chain a node writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    /// 0 until there is a record.
    pub(crate) epoch: u64,
    /// The machine and the folder that it belongs to.
    pub(crate) home: NodeId,
}

impl Keys {
    /// Opens the folder of the keys, or makes what is missing in it.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).map_err(AuditError::io("create", dir))?;
        let seed = secret(dir, SIGNING)?;
        let digest = secret(dir, DIGEST)?;
        Ok(Self {
            dir: dir.to_owned(),
            signing: SigningKey::from_bytes(&seed.0),
            digest: Hmac::new_from_slice(&digest.0).expect("an HMAC takes a key of any length"),
            home: home(&dir.join(SIGNING))?,
        })
    }

    /// What checks the signatures of the keys in this folder, if there are any; makes none.
    pub fn public_of(dir: &Path) -> Result<Option<PublicKey>, AuditError> {
        if !dir.join(SIGNING).exists() {
            return Ok(None);
        }
        Ok(Some(public_half(&secret(dir, SIGNING)?)))
    }

    /// What checks our signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey(Hex(self.signing.verifying_key().to_bytes()))
    }

    /// Digests the arguments of a call, as they came: tells equal from different for whoever has the key.
    pub(crate) fn digest(&self, arguments: &[u8]) -> Hash {
        let mut mac = self.digest.clone();
        mac.update(arguments);
        Hex(mac.finalize().into_bytes().into())
    }

    /// The key from which the tags of secrets follow. No arguments have its digest: theirs begin with a brace.
    pub fn tag_key(&self) -> TagKey {
        TagKey::new(self.digest(b"\0tags of secrets").0)
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Hex<64> {
        Hex(self.signing.sign(&in_domain(text)).to_bytes())
    }

    /// Who we are, and whether the folder was copied or moved since we last were.
    pub(crate) fn identity(&self) -> Result<(Identity, bool), AuditError> {
        let path = self.dir.join(NODE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let fresh = self.fresh_identity();
                self.keep(fresh)?;
                return Ok((fresh, false));
            }
            Err(error) => return Err(AuditError::io("read", &path)(error)),
        };
        let found: Identity =
            serde_json::from_slice(&bytes).map_err(|_| AuditError::Unfit { path, why: "no id of a node" })?;
        Ok((found, found.home != self.home))
    }

    /// An id that nobody has, here.
    pub(crate) fn fresh_identity(&self) -> Identity {
        Identity { node: Hex(random()), epoch: 0, home: self.home }
    }

    /// Keeps who we are.
    pub(crate) fn keep(&self, identity: Identity) -> Result<(), AuditError> {
        let text = serde_json::to_string(&identity).expect("digits and numbers go into memory");
        let (path, next) = (self.dir.join(NODE), self.dir.join(format!("{NODE}.next")));
        write_synced(&next, text.as_bytes())?;
        fs::rename(&next, &path).map_err(AuditError::io("rename", &next))?;
        sync_names(&self.dir)
    }
}

impl fmt::Debug for Keys {
    /// The half that anybody may see.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.public()).finish()
    }
}

impl PublicKey {
    /// Whether the holder of the other half has signed this text.
    pub(crate) fn has_signed(&self, text: &[u8], signature: &Hex<64>) -> bool {
        self.fits(&in_domain(text), signature)
    }

    fn fits(&self, signed: &[u8], signature: &Hex<64>) -> bool {
        let signature = Signature::from_bytes(&signature.0);
        VerifyingKey::from_bytes(&self.0.0).is_ok_and(|key| key.verify_strict(signed, &signature).is_ok())
    }

    /// The public keys that a file holds, one on each line.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, AuditError> {
        let text = fs::read_to_string(path).map_err(AuditError::io("read", path))?;
        let unfit = |NoPublicKey| AuditError::Unfit { path: path.to_owned(), why: "no public key" };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Vec<Self> = lines.map(str::parse).collect::<Result<_, _>>().map_err(unfit)?;
        if keys.is_empty() { Err(unfit(NoPublicKey)) } else { Ok(keys) }
    }

    /// One whose digits were read, of whatever worth they are.
    pub(crate) const fn of(digits: Hex<32>) -> Self {
        Self(digits)
    }

    pub(crate) const fn digits(self) -> Hex<32> {
        self.0
    }
}

impl std::str::FromStr for PublicKey {
    type Err = NoPublicKey;

    fn from_str(text: &str) -> Result<Self, NoPublicKey> {
        let digits: Hex<32> = text.parse().map_err(|_| NoPublicKey)?;
        VerifyingKey::from_bytes(&digits.0).map_err(|_| NoPublicKey)?;
        Ok(Self(digits))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

fn public_half(seed: &Hex<32>) -> PublicKey {
    PublicKey(Hex(SigningKey::from_bytes(&seed.0).verifying_key().to_bytes()))
}

fn in_domain(text: &[u8]) -> Vec<u8> {
    [DOMAIN, text].concat()
}

/// 32 secret bytes in a file of the owner's, made if there is none.
fn secret(dir: &Path, name: &str) -> Result<Hex<32>, AuditError> {
    let path = dir.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let mode = fs::metadata(&path).map_err(AuditError::io("look at", &path))?.mode();
            if mode & 0o077 != 0 {
                return Err(AuditError::Unfit { path, why: "readable for others" });
            }
            text.trim().parse().map_err(|_| AuditError::Unfit { path, why: "no key" })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make_secret(dir, &path),
        Err(error) => Err(AuditError::io("read", &path)(error)),
    }
}

fn make_secret(dir: &Path, path: &Path) -> Result<Hex<32>, AuditError> {
    let key = Hex(random());
    let next = path.with_extension("key.next");
    let mut text = Vec::with_capacity(65);
    key.push(&mut text);
    text.push(b'\n');
    write_synced(&next, &text)?;
    // A link never replaces what is there already.
    fs::hard_link(&next, path).map_err(AuditError::io("create", path))?;
    fs::remove_file(&next).map_err(AuditError::io("delete", &next))?;
    sync_names(dir)?;
    Ok(key)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    // What a crash left in its place was never taken into use.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(AuditError::io("delete", path)(error));
        }
        _ => {}
    }
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(AuditError::io("write", path))
}

fn sync_names(dir: &Path) -> Result<(), AuditError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(AuditError::io("sync", dir))
}

/// What a copy of the folder doesn't share: the machine, and which file the key is.
fn home(key: &Path) -> Result<NodeId, AuditError> {
    let inode = fs::metadata(key).map_err(AuditError::io("look at", key))?.ino();
    let machine = fs::read("/etc/machine-id").unwrap_or_default();
    let digest = Sha256::new_with_prefix(&machine).chain_update(inode.to_be_bytes()).finalize();
    let mut home = [0; 16];
    home.copy_from_slice(&digest[..16]);
    Ok(Hex(home))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel always has random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_and_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let first = Keys::open(&path).unwrap();
        let (identity, is_moved) = first.identity().unwrap();
        assert!(!is_moved && identity.epoch == 0);
        let again = Keys::open(&path).unwrap();
        assert_eq!((again.public(), again.digest(b"x")), (first.public(), first.digest(b"x")));
        assert_eq!(again.identity().unwrap(), (identity, false));
        for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
            assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{entry:?}");
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 3);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_a_crash_left_of_a_key_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("audit-signing.key.next"), "0123").unwrap();
        fs::write(dir.path().join("audit-node.json.next"), "{").unwrap();
        Keys::open(dir.path()).unwrap().identity().unwrap();
    }

    #[test]
    fn a_key_that_is_damaged_or_exposed_is_refused_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        Keys::open(dir.path()).unwrap().identity().unwrap();
        for name in [SIGNING, DIGEST] {
            let path = dir.path().join(name);
            let good = fs::read(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(
                Keys::open(dir.path()),
                Err(AuditError::Unfit { why: "readable for others", .. })
            ));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&path, &good[1..]).unwrap();
            assert!(matches!(Keys::open(dir.path()), Err(AuditError::Unfit { why: "no key", .. })));
            fs::write(&path, &good).unwrap();
        }
        fs::write(dir.path().join(NODE), "{}").unwrap();
        assert!(Keys::open(dir.path()).unwrap().identity().is_err());
    }

    #[test]
    fn a_copied_folder_is_noticed_and_an_epoch_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let keys = Keys::open(&first).unwrap();
        let (identity, _) = keys.identity().unwrap();
        keys.keep(Identity { epoch: 7, ..identity }).unwrap();
        assert_eq!(keys.identity().unwrap().0.epoch, 7);
        fs::create_dir(&second).unwrap();
        for name in [SIGNING, DIGEST, NODE] {
            fs::copy(first.join(name), second.join(name)).unwrap();
        }
        let copy = Keys::open(&second).unwrap();
        assert_eq!(copy.public(), keys.public());
        assert!(copy.identity().unwrap().1 && !keys.identity().unwrap().1);
    }

    #[test]
    fn a_signature_holds_for_its_text_and_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (Keys::open(dir.path()).unwrap(), Keys::open(&dir.path().join("other")).unwrap());
        let signature = ours.sign(b"text");
        let public: PublicKey = ours.public().to_string().parse().unwrap();
        assert!(public.has_signed(b"text", &signature));
        assert!(!public.has_signed(b"texu", &signature) && !other.public().has_signed(b"text", &signature));
        let mut wrong = signature;
        wrong.0[5] ^= 1;
        assert!(!public.has_signed(b"text", &wrong));
        assert_eq!("00".parse::<PublicKey>(), Err(NoPublicKey));
    }

    #[test]
    fn what_is_shown_of_keys_is_their_public_half() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        assert_eq!(format!("{keys:?}"), format!("Keys({})", keys.public()));
    }
}
