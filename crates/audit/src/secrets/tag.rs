//! Tags: what stands where a secret stood, `[redacted:NAME:DIGEST]`.
//!
//! A digest has six characters from a keyed digest of the secret, so that equal secrets have equal tags and
//! nothing can be learned of them without the key; and two that follow from the rest, so that a tag is told
//! from a text about tags without the key. A tag has no character that JSON, HTML or a shell string escapes.

use std::ops::Range;

use hmac::{Hmac, KeyInit as _, Mac as _};
use memchr::memmem;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::limits::TAG_NAME_CHARS;

/// How a tag begins.
const OPEN: &[u8] = b"[redacted:";
/// Characters of the digest, of which the last ones follow from the rest.
const DIGEST_CHARS: usize = 8;
const CHECK_CHARS: usize = 2;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// What is digested before the secret, so that no other use of the key yields the same.
const PURPOSE: &[u8] = b"hayward redaction tag\0";

/// The key of this node from which tags follow. It has no `Debug` and is wiped when it is dropped.
pub struct TagKey(Zeroizing<[u8; 32]>);

impl TagKey {
    /// A key of these bytes, which should be random and stay the same as long as tags are compared.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The tag of this secret under this name, of which what doesn't fit into a tag becomes `-`.
    pub(super) fn tag(&self, name: &str, secret: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice()).expect("any length will do");
        mac.update(PURPOSE);
        mac.update(secret);
        let name: String = name.chars().take(TAG_NAME_CHARS).map(fit).collect();
        let keyed = base32(&mac.finalize().into_bytes(), DIGEST_CHARS - CHECK_CHARS);
        let check = check(name.as_bytes(), keyed.as_bytes());
        format!("[redacted:{name}:{keyed}{check}]")
    }
}

/// Whether this text carries a tag of ours: what was read redacted must not be written back.
pub fn contains_tag(text: &[u8]) -> bool {
    tags(text).next().is_some()
}

/// Where tags stand, in order.
pub(super) fn tags(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    memmem::find_iter(text, OPEN).filter_map(|start| Some(start..start + tag_length(&text[start..])?))
}

/// The length of the tag that begins this text.
fn tag_length(text: &[u8]) -> Option<usize> {
    let inner = text.strip_prefix(OPEN)?;
    let name =
        inner.iter().position(|byte| *byte == b':').filter(|name| (1..=TAG_NAME_CHARS).contains(name))?;
    let (name, digest) = (&inner[..name], inner.get(name + 1..name + 1 + DIGEST_CHARS)?);
    let (keyed, stated) = digest.split_at(DIGEST_CHARS - CHECK_CHARS);
    let is_whole = inner.get(name.len() + 1 + DIGEST_CHARS) == Some(&b']');
    let is_ours =
        is_whole && name.iter().all(|byte| is_fit(*byte)) && check(name, keyed).as_bytes() == stated;
    is_ours.then_some(OPEN.len() + name.len() + DIGEST_CHARS + 2)
}

/// The characters that follow from the name and the others.
fn check(name: &[u8], keyed: &[u8]) -> String {
    base32(&Sha256::new().chain_update(name).chain_update(b":").chain_update(keyed).finalize(), CHECK_CHARS)
}

fn fit(char: char) -> char {
    let lower = char.to_ascii_lowercase();
    if u8::try_from(lower).is_ok_and(is_fit) { lower } else { '-' }
}

fn is_fit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
}

/// As many characters of the digest, five bits each.
fn base32(digest: &[u8], chars: usize) -> String {
    let bit = |at: usize| digest[at / 8] >> (7 - at % 8) & 1;
    let char = |at: usize| {
        let index = (at * 5..at * 5 + 5).fold(0_usize, |index, at| index << 1 | usize::from(bit(at)));
        char::from(ALPHABET[index])
    };
    (0..chars).map(char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> TagKey {
        TagKey::new([byte; 32])
    }

    #[test]
    fn equal_secrets_have_equal_tags_and_other_keys_others() {
        let tag = key(1).tag("db", b"a secret");
        assert_eq!(tag, key(1).tag("db", b"a secret"));
        let digest = |tag: &str| tag.rsplit_once(':').unwrap().1[..6].to_owned();
        assert_eq!(digest(&tag), digest(&key(1).tag("other", b"a secret")));
        assert_ne!(digest(&tag), digest(&key(2).tag("db", b"a secret")));
        assert_ne!(digest(&tag), digest(&key(1).tag("db", b"A secret")));
    }

    #[test]
    fn a_tag_is_known_wherever_it_stands_and_whatever_its_name() {
        for name in ["a", "Team/Db pass\"wörd", &"long".repeat(40), "a.b_c-9"] {
            let tag = key(1).tag(name, b"a secret");
            assert!(contains_tag(tag.as_bytes()), "{tag}");
            assert!(contains_tag(format!("[redacted:x [redacted: {tag}{tag}]").as_bytes()), "{tag}");
            assert_eq!(serde_json::to_string(&tag).unwrap(), format!("\"{tag}\""));
            assert_eq!(tags(format!("ä{tag}ä").as_bytes()).next(), Some(2..2 + tag.len()));
        }
    }

    #[test]
    fn what_only_looks_like_a_tag_is_none() {
        let tag = key(1).tag("db", b"a secret");
        for cut in 1..tag.len() {
            assert!(!contains_tag(&tag.as_bytes()[..cut]), "{cut}");
            assert!(!contains_tag(&tag.as_bytes()[cut..]), "{cut}");
        }
        for text in [
            "",
            "[redacted]",
            "[redacted:name:digest]",
            "[redacted::aaaaaaaa]",
            "[redacted:github-token:abcdefgh]",
            &tag.replace("db", "dc"),
            &tag.to_uppercase(),
        ] {
            assert!(!contains_tag(text.as_bytes()), "{text}");
        }
    }
}
