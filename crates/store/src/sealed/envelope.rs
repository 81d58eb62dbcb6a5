//! Sealing with a key of our own: XChaCha20-Poly1305, under a fresh nonce, bound to what it belongs to.

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

const NONCE: usize = 24;
const TAG: usize = 16;

/// A key of 256 bits, wiped when it is dropped; it has no `Debug`.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// A key that nobody knows.
pub(super) fn fresh() -> Key {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut()).expect("the kernel always has random bytes");
    key
}

/// Seals some bytes; only with the same key and the same `bound` are they opened again.
pub(super) fn seal(key: &[u8; 32], bound: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).expect("the kernel always has random bytes");
    let mut sealed = [&nonce[..], plain].concat();
    let tag = XChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(&nonce.into(), bound, (&mut sealed[NONCE..]).into())
        .expect("what is sealed is far shorter than the cipher can take");
    sealed.extend_from_slice(&tag);
    sealed
}

/// Opens what was sealed; none if anything of it, the key or `bound` isn't as it was.
pub(super) fn open(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, content) = sealed.split_first_chunk::<NONCE>()?;
    let (content, tag) = content.split_last_chunk::<TAG>()?;
    let mut plain = Zeroizing::new(content.to_vec());
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(nonce.into(), bound, plain.as_mut_slice().into(), tag.into())
        .ok()?;
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_and_its_place_only() {
        let (key, other) = (fresh(), fresh());
        let sealed = seal(&key, b"a", b"value");
        assert_eq!(open(&key, b"a", &sealed).unwrap().as_slice(), b"value");
        assert!(open(&other, b"a", &sealed).is_none() && open(&key, b"b", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(open(&key, b"a", &damaged).is_none(), "{at}");
        }
        assert!(open(&key, b"a", &sealed[..NONCE]).is_none() && open(&key, b"a", b"").is_none());
        assert_ne!(seal(&key, b"a", b"value"), sealed);
    }
}
