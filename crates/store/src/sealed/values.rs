//! Sealed values as rows, and the key pair that others seal for.

use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use super::envelope::{self, Key};
use super::keys::Keys;
use super::{PublicKey, Values};
use crate::error::StoreError;
use crate::resource::damaged;
use crate::sql::{On, Row, Tx, query};
use crate::transaction::Transaction;

/// What the private half of the pair is bound to.
const PAIR: &[u8] = b"hayward: the key pair that others seal for";
const READ: &str = "read sealed values";
const WRITE: &str = "store sealed values";

/// One version of the values of a secret, sealed.
pub(super) struct Stored {
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) version: u64,
    pub(super) key_id: String,
    wrapped_key: Vec<u8>,
    content: Vec<u8>,
}

impl Stored {
    pub(super) fn seal(
        (keys, key_id): (&Keys, &str),
        (uid, name): (String, String),
        version: u64,
        values: &Values,
    ) -> Result<Self, StoreError> {
        let data_key = envelope::fresh();
        let bound = bound(&uid, &name, version);
        let content = envelope::seal(&data_key, &bound, &pack(values));
        let wrapped_key = envelope::seal(wrapping(keys, key_id)?, &bound, &data_key[..]);
        Ok(Self { uid, name, version, key_id: key_id.to_owned(), wrapped_key, content })
    }

    fn data_key(&self, keys: &Keys) -> Result<Key, StoreError> {
        let key = wrapping(keys, &self.key_id)?;
        let data_key = envelope::open(key, &self.bound(), &self.wrapped_key);
        let data_key = data_key.and_then(|key| key.as_slice().try_into().ok());
        data_key.map(Zeroizing::new).ok_or_else(|| self.unfit())
    }

    pub(super) fn open(&self, keys: &Keys) -> Result<Values, StoreError> {
        let plain = envelope::open(&*self.data_key(keys)?, &self.bound(), &self.content);
        plain.and_then(|plain| unpack(&plain)).ok_or_else(|| self.unfit())
    }

    /// The same under another key of keys.
    pub(super) fn rewrap(&mut self, keys: &Keys, key_id: &str) -> Result<(), StoreError> {
        let data_key = self.data_key(keys)?;
        self.wrapped_key = envelope::seal(wrapping(keys, key_id)?, &self.bound(), &data_key[..]);
        key_id.clone_into(&mut self.key_id);
        Ok(())
    }

    fn bound(&self) -> Vec<u8> {
        bound(&self.uid, &self.name, self.version)
    }

    fn unfit(&self) -> StoreError {
        damaged("sealed values that don't open with their key", &format!("secret `{}`", self.name))
    }

    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let read = || {
            Ok(Self {
                uid: row.get("uid")?,
                name: row.get("name")?,
                version: row.get::<i64>("version")?.cast_unsigned(),
                key_id: row.get("key_id")?,
                wrapped_key: row.get("wrapped_key")?,
                content: row.get("content")?,
            })
        };
        read().map_err(StoreError::at(READ))
    }

    /// The newest of a secret, or the newest up to a version.
    pub(super) async fn newest<'a>(
        on: impl Into<On<'a>>,
        uid: &str,
        up_to: Option<u64>,
    ) -> Result<Option<Self>, StoreError> {
        let row =
            query("SELECT * FROM sealed WHERE uid = $1 AND version <= $2 ORDER BY version DESC LIMIT 1")
                .bind(uid)
                .bind(up_to.map_or(i64::MAX, u64::cast_signed))
                .fetch_optional(on)
                .await
                .map_err(StoreError::at(READ))?;
        row.as_ref().map(Self::from_row).transpose()
    }

    /// The newest of every secret that is there.
    pub(super) async fn all_newest<'a>(on: impl Into<On<'a>>) -> Result<Vec<Self>, StoreError> {
        let rows = query(
            "SELECT s.* FROM sealed s JOIN resources r ON r.uid = s.uid
             WHERE s.version = (SELECT MAX(version) FROM sealed o WHERE o.uid = s.uid) ORDER BY s.name",
        );
        let rows = rows.fetch_all(on).await.map_err(StoreError::at(READ))?;
        rows.iter().map(Self::from_row).collect()
    }

    /// Every version of every secret, also of deleted ones.
    pub(super) async fn all<'a>(on: impl Into<On<'a>>) -> Result<Vec<Self>, StoreError> {
        let rows = query("SELECT * FROM sealed ORDER BY uid, version").fetch_all(on).await;
        rows.map_err(StoreError::at(READ))?.iter().map(Self::from_row).collect()
    }

    pub(super) async fn insert(self, tx: &mut Tx) -> Result<(), StoreError> {
        query(
            "INSERT INTO sealed (uid, version, name, key_id, wrapped_key, content) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (uid, version) DO UPDATE SET key_id = excluded.key_id,
                 wrapped_key = excluded.wrapped_key, content = excluded.content",
        )
        .bind(self.uid)
        .bind(self.version)
        .bind(self.name)
        .bind(self.key_id)
        .bind(self.wrapped_key)
        .bind(self.content)
        .execute(tx)
        .await
        .map(drop)
        .map_err(StoreError::at(WRITE))
    }
}

/// The key pair that others seal for.
pub(super) struct Pair {
    pub(super) private: StaticSecret,
    /// The key of keys that wraps it, and whatever is sealed from now on.
    pub(super) key_id: String,
}

impl Pair {
    fn fresh(key_id: &str) -> Self {
        Self { private: StaticSecret::from(*envelope::fresh()), key_id: key_id.to_owned() }
    }

    /// Who can open this has the right key.
    pub(super) async fn read<'a>(
        on: impl Into<On<'a>>,
        keys: impl FnOnce() -> Result<std::sync::Arc<Keys>, StoreError>,
    ) -> Result<Option<Self>, StoreError> {
        let row = query("SELECT key_id, private FROM sealing").fetch_optional(on).await;
        let Some(row) = row.map_err(StoreError::at(READ))? else { return Ok(None) };
        let read = || Ok((row.get::<String>("key_id")?, row.get::<Vec<u8>>("private")?));
        let (key_id, private) = read().map_err(StoreError::at(READ))?;
        let plain = envelope::open(wrapping(&*keys()?, &key_id)?, PAIR, &private);
        let private = plain.and_then(|plain| <[u8; 32]>::try_from(plain.as_slice()).ok());
        let private = private.ok_or_else(|| damaged("a key pair that does not open", &key_id))?;
        Ok(Some(Self { private: StaticSecret::from(private), key_id }))
    }

    pub(super) async fn write(&self, tx: &mut Tx, keys: &Keys) -> Result<(), StoreError> {
        let private = envelope::seal(wrapping(keys, &self.key_id)?, PAIR, self.private.as_bytes());
        query(
            "INSERT INTO sealing (one, public, key_id, private) VALUES (1, $1, $2, $3)
             ON CONFLICT (one) DO UPDATE SET public = excluded.public, key_id = excluded.key_id,
                 private = excluded.private",
        )
        .bind(PublicKey::from(&self.private).as_bytes().as_slice())
        .bind(&self.key_id)
        .bind(private)
        .execute(tx)
        .await
        .map(drop)
        .map_err(StoreError::at(WRITE))
    }
}

impl Transaction {
    /// The key pair; one is made if there is none, and the key that wraps it, too.
    pub(super) async fn key_pair(&mut self) -> Result<Pair, StoreError> {
        let place = std::sync::Arc::clone(&self.store.keys);
        if let Some(pair) = Pair::read(&mut self.tx, || place.get()).await? {
            return Ok(pair);
        }
        let keys = place.get_or_make()?;
        let (id, _) = keys.first().ok_or_else(|| damaged("a key file", "no key in it"))?;
        let pair = Pair::fresh(id);
        pair.write(&mut self.tx, &keys).await?;
        Ok(pair)
    }
}

fn wrapping<'k>(keys: &'k Keys, id: &str) -> Result<&'k Key, StoreError> {
    keys.find(id).ok_or_else(|| StoreError::Sealed {
        what: format!("the key of secrets is another one: the database was sealed with `{id}`"),
        hint: "put the right key file back; nothing was changed",
    })
}

fn bound(uid: &str, name: &str, version: u64) -> Vec<u8> {
    format!("hayward secret v1\0{uid}\0{name}\0{version}").into_bytes()
}

/// Names and values, each after its length.
fn pack(values: &Values) -> Zeroizing<Vec<u8>> {
    let bytes = values.iter().map(|(name, value)| name.len() + value.len() + 16).sum();
    // The full capacity at once: growing would leave copies behind.
    let mut packed = Zeroizing::new(Vec::with_capacity(bytes));
    for text in values.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]) {
        packed.extend_from_slice(&(text.len() as u64).to_le_bytes());
        packed.extend_from_slice(text);
    }
    packed
}

fn unpack(mut packed: &[u8]) -> Option<Values> {
    let mut text = || -> Option<Option<&str>> {
        if packed.is_empty() {
            return Some(None);
        }
        let (length, rest) = packed.split_first_chunk::<8>()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        packed = rest;
        Some(Some(std::str::from_utf8(text).ok()?))
    };
    let mut values = Values::new();
    while let Some(name) = text()? {
        values.insert(name.to_owned(), Zeroizing::new(text()??.to_owned()));
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unpacked_as_they_were_and_what_is_cut_is_none() {
        let values: Values = [("a", "1"), ("b", ""), ("", "ä\0")]
            .map(|(n, v)| (n.to_owned(), Zeroizing::new(v.to_owned())))
            .into();
        let packed = pack(&values);
        assert_eq!(unpack(&packed).unwrap(), values);
        assert_eq!(unpack(&[]).unwrap(), Values::new());
        assert!(unpack(&packed[..packed.len() - 1]).is_none() && unpack(&[1; 7]).is_none());
    }
}
