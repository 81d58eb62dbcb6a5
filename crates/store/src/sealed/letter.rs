//! Text that only the owner of a key pair can open: how values travel between servers.
//!
//! `sealed:v1:` and, in base64 for URLs, the public half of a key pair made for this one text, a nonce, and the value under
//! a key that follows from both pairs, bound to the secret and the name that it belongs to.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hayward_api::{Code, Error};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use super::envelope;

/// How such a text begins.
pub(super) const PREFIX: &str = "sealed:v1:";
const KEY_PREFIX: &str = "hayward-seal-v1:";
/// What the key is derived for, and for nothing else.
const CONTEXT: &str = "hayward 2026-11 value sealed for a server v1";

/// The public half of a key pair, as `hayward-seal-v1:…`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl From<&StaticSecret> for PublicKey {
    fn from(private: &StaticSecret) -> Self {
        Self(x25519_dalek::PublicKey::from(private).to_bytes())
    }
}

impl PublicKey {
    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = text.trim().strip_prefix(KEY_PREFIX).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let key = bytes.and_then(|bytes| bytes.try_into().ok()).map(Self);
        // A key of low order would give everybody the same secret.
        let is_sound = |key: &Self| agree(&StaticSecret::from(*envelope::fresh()), key).is_some();
        key.filter(is_sound).ok_or_else(|| {
            Error::new(Code::Invalid, "not the public key of a server").with_hint(
                "take what `hayward secrets public-key` prints on the server that is to open the values",
            )
        })
    }
}

/// Where a value belongs: whoever may store the text elsewhere does not make another secret of it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) secret: &'a str,
    pub(super) name: &'a str,
}

impl Place<'_> {
    /// Names have no NUL in them.
    fn bound(self) -> Vec<u8> {
        format!("{PREFIX}\0{}\0{}", self.secret, self.name).into_bytes()
    }
}

/// Seals a value for the owner of a key.
pub(super) fn seal(to: &PublicKey, place: &Place<'_>, value: &[u8]) -> String {
    let ephemeral = StaticSecret::from(*envelope::fresh());
    let key = agree(&ephemeral, to).expect("a key of low order is not read");
    let public = PublicKey::from(&ephemeral);
    let key = derive(&key, &public, to);
    let sealed = envelope::seal(&key, &place.bound(), value);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&public.0[..], &sealed].concat()))
}

/// Opens a text that was sealed for us and for this place.
pub(super) fn open(private: &StaticSecret, place: &Place<'_>, text: &str) -> Option<Zeroizing<String>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
    let (public, sealed) = bytes.split_first_chunk::<32>()?;
    let from = PublicKey(*public);
    let key = derive(&agree(private, &from)?, &from, &PublicKey::from(private));
    let plain = envelope::open(&key, &place.bound(), sealed)?;
    std::str::from_utf8(&plain).ok().map(|text| Zeroizing::new(text.to_owned()))
}

fn agree(private: &StaticSecret, public: &PublicKey) -> Option<envelope::Key> {
    let shared = private.diffie_hellman(&x25519_dalek::PublicKey::from(public.0));
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}

fn derive(shared: &envelope::Key, from: &PublicKey, to: &PublicKey) -> envelope::Key {
    let material = Zeroizing::new([&shared[..], &from.0, &to.0].concat());
    Zeroizing::new(blake3::derive_key(CONTEXT, &material))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private() -> StaticSecret {
        StaticSecret::from(*envelope::fresh())
    }

    #[test]
    fn only_the_owner_of_the_key_opens_what_is_sealed_for_it_and_only_in_its_place() {
        let (owner, other) = (private(), private());
        let place = Place { secret: "s", name: "A" };
        let text = seal(&PublicKey::from(&owner), &place, "välue".as_bytes());
        assert!(text.starts_with(PREFIX) && !text.contains("lue"));
        assert_eq!(open(&owner, &place, &text).unwrap().as_str(), "välue");
        assert!(open(&other, &place, &text).is_none());
        for elsewhere in [Place { secret: "t", ..place }, Place { name: "B", ..place }] {
            assert!(open(&owner, &elsewhere, &text).is_none());
        }
        for bad in ["", PREFIX, "sealed:v1:AAAA", &text[..text.len() - 2], &format!("{text}A")] {
            assert!(open(&owner, &place, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_public_key_is_read_back_as_itself_and_a_weak_one_is_refused() {
        let key = PublicKey::from(&private());
        assert_eq!(format!("{key}\n").parse::<PublicKey>().unwrap(), key);
        let weak = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode([0; 32]));
        for bad in ["", KEY_PREFIX, "x", &weak, &key.to_string()[..30]] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
    }
}
