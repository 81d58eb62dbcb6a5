//! Sealed `requestState`: what a server gives a client with `input_required`, and gets back with the
//! answers (MCP 2026-07-28, SEP-2322).
//!
//! The client carries the state, so it is input of an attacker: it is encrypted and authenticated
//! (XChaCha20-Poly1305), bound to the principal and to the call, and it expires.
//!
//! ```text
//! base64url( version 2 │ key's name 8 │ nonce 24 │ ciphertext( expires 8 │ content ) │ tag 16 )
//!            └──────────── also authenticated: version, key's name, digest of the call, principal
//! ```
//!
//! A seal alone doesn't stop a second use: [`SpentStates`] does, for as long as it is kept. It lives
//! in memory, and so should the keys: states of before a restart are refused then.
//!
//! Nothing here reads the clock; the time is an argument, in seconds since 1970.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use sha2::{Digest as _, Sha256};

use crate::error::RpcError;
use crate::limits::{STATE_CONTENT_BYTES_MAX, STATES_SPENT_MAX, STATES_SPENT_PER_PRINCIPAL_MAX};

const VERSION: u8 = 2;
const NAME: usize = 8;
const NONCE: usize = 24;
const EXPIRES: usize = 8;
const TAG: usize = 16;
const OVERHEAD: usize = 1 + NAME + NONCE + EXPIRES + TAG;
const TEXT_BYTES_MAX: usize = ((OVERHEAD + STATE_CONTENT_BYTES_MAX) * 4).div_ceil(3);

/// The key that states are sealed with.
#[derive(Clone, Debug)]
pub struct StateKeys {
    cipher: XChaCha20Poly1305,
    /// What tells this key from every other, and says nothing of it.
    name: [u8; NAME],
}

/// What a state is good for.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// Who calls: a name that no other principal can have.
    pub principal: &'a str,
    /// What is called: see [`digest`].
    pub digest: [u8; 32],
}

/// A state that was sealed by us, for this binding, and has not expired.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// What was sealed.
    pub content: Vec<u8>,
    /// What tells this state from every other.
    pub nonce: [u8; 24],
    /// From when on it is refused, in seconds since 1970.
    pub expires_unix: i64,
}

/// Why a state is not accepted. The difference is for the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// No state of ours looks like this.
    #[error("request state is malformed")]
    Malformed,
    /// Changed, or of another principal or call.
    #[error("request state is not sealed for this principal and call")]
    Refused,
    /// Sealed with another key: by another node, or before a restart.
    #[error("request state was sealed elsewhere, or before a restart")]
    Elsewhere,
    /// Its time is over.
    #[error("request state has expired")]
    Expired,
}

/// More content than a state may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request state of {bytes} bytes is more than {STATE_CONTENT_BYTES_MAX}")]
pub struct StateTooLarge {
    /// How many there were.
    pub bytes: usize,
}

/// The states that were used: each is good for one use.
///
/// When it is full of states that haven't expired, it refuses further ones: better that somebody
/// starts over than that something is done twice. A principal can use up its own share only.
#[derive(Debug)]
pub struct SpentStates {
    max: usize,
    per_principal_max: usize,
    nonces: HashSet<[u8; 24]>,
    /// When each can be forgotten, and whose it is.
    by_expiry: BTreeMap<(i64, [u8; 24]), Arc<str>>,
    /// How many each principal has.
    counts: HashMap<Arc<str>, usize>,
    /// The latest expiry that was forgotten. Invariant: what expires no later is never spent, even
    /// if the clock goes back.
    forgotten_unix: i64,
}

impl StateKeys {
    /// States that were sealed with this key by whatever process.
    pub fn new(key: [u8; 32]) -> Self {
        let digest = Sha256::new().chain_update(b"name of a state key").chain_update(key).finalize();
        let name = *digest.first_chunk().expect("a digest is longer");
        Self { cipher: XChaCha20Poly1305::new(&key.into()), name }
    }

    /// A new key that nobody else has.
    pub fn random() -> Self {
        Self::new(random())
    }

    /// Seals `content` for one binding and for `lifetime_s` seconds from now.
    pub fn seal(
        &self,
        binding: &Binding<'_>,
        content: &[u8],
        now_unix: i64,
        lifetime_s: u32,
    ) -> Result<String, StateTooLarge> {
        if content.len() > STATE_CONTENT_BYTES_MAX {
            return Err(StateTooLarge { bytes: content.len() });
        }
        let nonce: [u8; NONCE] = random();
        let expires_unix = now_unix.saturating_add(i64::from(lifetime_s));
        let mut sealed = Vec::with_capacity(OVERHEAD + content.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.name);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&expires_unix.to_be_bytes());
        sealed.extend_from_slice(content);
        let secret = &mut sealed[1 + NAME + NONCE..];
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce.into(), &binding.associated(self.name), secret.into())
            .expect("the content is far shorter than the cipher's limit");
        sealed.extend_from_slice(&tag);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`Self::seal`] made for the same binding.
    pub fn open(&self, binding: &Binding<'_>, sealed: &str, now_unix: i64) -> Result<Opened, StateError> {
        if sealed.len() > TEXT_BYTES_MAX {
            return Err(StateError::Malformed);
        }
        let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| StateError::Malformed)?;
        let Parts { name, nonce, secret, tag } = parts(&sealed).ok_or(StateError::Malformed)?;
        if name != self.name {
            return Err(StateError::Elsewhere);
        }
        let mut secret = secret.to_vec();
        self.cipher
            .decrypt_inout_detached(
                &nonce.into(),
                &binding.associated(self.name),
                secret.as_mut_slice().into(),
                &tag.into(),
            )
            .map_err(|_| StateError::Refused)?;
        let (expires, content) = secret.split_first_chunk::<EXPIRES>().ok_or(StateError::Malformed)?;
        let expires_unix = i64::from_be_bytes(*expires);
        if expires_unix <= now_unix {
            return Err(StateError::Expired);
        }
        Ok(Opened { content: content.to_vec(), nonce, expires_unix })
    }
}

impl Binding<'_> {
    /// What is authenticated beside the secret. All but the last part have a fixed length, so no two
    /// bindings look alike.
    fn associated(&self, name: [u8; NAME]) -> Vec<u8> {
        [&[VERSION], &name[..], &self.digest[..], self.principal.as_bytes()].concat()
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({} bytes until {})", self.content.len(), self.expires_unix)
    }
}

impl StateError {
    /// What the client is told of a state that is refused: the same for every reason, and what to do.
    pub fn to_rpc(self) -> RpcError {
        RpcError::invalid_params(
            "`requestState` is not accepted; start over: call again without requestState",
        )
    }
}

impl SpentStates {
    /// Nothing is spent; room for `max` states, and for `per_principal_max` of each principal.
    pub fn new(max: usize, per_principal_max: usize) -> Self {
        Self {
            max,
            per_principal_max,
            nonces: HashSet::new(),
            by_expiry: BTreeMap::new(),
            counts: HashMap::new(),
            forgotten_unix: i64::MIN,
        }
    }

    /// Uses up a state of this principal; `nonce` and `expires_unix` are those of [`Opened`]. False if it
    /// was used before, if it has expired, or if there is no room to remember it.
    pub fn spend(&mut self, principal: &str, nonce: [u8; 24], expires_unix: i64, now_unix: i64) -> bool {
        self.forget_expired(now_unix);
        let is_over = expires_unix <= now_unix || expires_unix <= self.forgotten_unix;
        if is_over || !self.has_room(principal) || !self.nonces.insert(nonce) {
            return false;
        }
        let principal = match self.counts.get_key_value(principal) {
            Some((known, _)) => Arc::clone(known),
            None => principal.into(),
        };
        *self.counts.entry(Arc::clone(&principal)).or_default() += 1;
        self.by_expiry.insert((expires_unix, nonce), principal).is_none()
    }

    fn has_room(&self, principal: &str) -> bool {
        let own = self.counts.get(principal).copied().unwrap_or_default();
        self.nonces.len() < self.max && own < self.per_principal_max
    }

    fn forget_expired(&mut self, now_unix: i64) {
        while let Some(first) = self.by_expiry.first_entry()
            && first.key().0 <= now_unix
        {
            let ((expires_unix, nonce), principal) = first.remove_entry();
            self.nonces.remove(&nonce);
            self.forgotten_unix = expires_unix;
            let left = self.counts.get(&principal).map_or(0, |count| count - 1);
            if left == 0 {
                self.counts.remove(&principal);
            } else {
                self.counts.insert(principal, left);
            }
        }
    }
}

impl Default for SpentStates {
    fn default() -> Self {
        Self::new(STATES_SPENT_MAX, STATES_SPENT_PER_PRINCIPAL_MAX)
    }
}

/// What a call is, for [`Binding`]: its method, what the method is applied to, and the JSON of its
/// arguments as it came in. The same arguments spelled differently are another call.
pub fn digest(method: &str, name: &str, arguments: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in [method.as_bytes(), name.as_bytes(), arguments] {
        // Each part behind its length, so that nothing can move from one into the next.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// A state of this version.
struct Parts<'a> {
    /// Of the key.
    name: [u8; NAME],
    nonce: [u8; NONCE],
    secret: &'a [u8],
    tag: [u8; TAG],
}

fn parts(sealed: &[u8]) -> Option<Parts<'_>> {
    let (name, rest) = sealed.strip_prefix(&[VERSION])?.split_first_chunk()?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (secret, tag) = rest.split_last_chunk()?;
    Some(Parts { name: *name, nonce: *nonce, secret, tag: *tag })
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel always has random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;
    const LIFETIME_S: u32 = 600;

    fn binding() -> Binding<'static> {
        Binding { principal: "user:ada", digest: digest("tools/call", "deploy", br#"{"to":"prod"}"#) }
    }

    fn sealed(content: &[u8]) -> (StateKeys, String) {
        let keys = StateKeys::new([7; 32]);
        let text = keys.seal(&binding(), content, NOW, LIFETIME_S).unwrap();
        (keys, text)
    }

    fn is_refused(keys: &StateKeys, text: &str) -> bool {
        keys.open(&binding(), text, NOW).is_err()
    }

    #[test]
    fn what_was_sealed_is_opened() {
        for content in [&b""[..], b"x", b"{\"round\":1}", &vec![0; STATE_CONTENT_BYTES_MAX]] {
            let (keys, text) = sealed(content);
            let opened = keys.open(&binding(), &text, NOW).unwrap();
            assert_eq!(opened.content, content);
            assert_eq!(opened.expires_unix, NOW + i64::from(LIFETIME_S));
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
        }
    }

    #[test]
    fn the_same_content_never_looks_the_same_and_is_not_legible() {
        let keys = StateKeys::random();
        let texts: HashSet<String> =
            (0..50).map(|_| keys.seal(&binding(), b"a secret plan", NOW, LIFETIME_S).unwrap()).collect();
        assert_eq!(texts.len(), 50);
        for text in texts {
            let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"secret"));
        }
    }

    #[test]
    fn a_state_with_any_bit_flipped_is_refused() {
        let (keys, text) = sealed(b"{\"round\":1}");
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(is_refused(&keys, &URL_SAFE_NO_PAD.encode(bytes)), "bit {bit}");
        }
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(is_refused(&keys, &text), "bit {bit} of the text");
            }
        }
    }

    #[test]
    fn a_state_is_refused_for_any_other_principal_call_or_key() {
        let (keys, text) = sealed(b"x");
        let arguments = br#"{"to":"prod"}"#;
        for other in [
            Binding { principal: "user:bob", ..binding() },
            Binding { principal: "user:ad", ..binding() },
            Binding { principal: "", ..binding() },
            Binding { digest: digest("prompts/get", "deploy", arguments), ..binding() },
            Binding { digest: digest("tools/call", "destroy", arguments), ..binding() },
            Binding { digest: digest("tools/call", "deploy", br#"{"to":"test"}"#), ..binding() },
        ] {
            assert_eq!(keys.open(&other, &text, NOW), Err(StateError::Refused), "{other:?}");
        }
        for other in [StateKeys::new([8; 32]), StateKeys::random()] {
            assert_eq!(other.open(&binding(), &text, NOW), Err(StateError::Elsewhere));
        }
    }

    #[test]
    fn a_state_expires() {
        let (keys, text) = sealed(b"x");
        let end = NOW + i64::from(LIFETIME_S);
        assert!(keys.open(&binding(), &text, end - 1).is_ok());
        for late in [end, end + 1, i64::MAX] {
            assert_eq!(keys.open(&binding(), &text, late), Err(StateError::Expired));
        }
        let none = keys.seal(&binding(), b"x", NOW, 0).unwrap();
        assert_eq!(keys.open(&binding(), &none, NOW), Err(StateError::Expired));
        let far = keys.seal(&binding(), b"x", i64::MAX, 1).unwrap();
        assert_eq!(keys.open(&binding(), &far, NOW).unwrap().expires_unix, i64::MAX);
    }

    #[test]
    fn a_state_that_is_cut_or_longer_is_refused() {
        let (keys, text) = sealed(b"{\"round\":1}");
        for end in 0..text.len() {
            assert!(is_refused(&keys, &text[..end]), "{end}");
            assert!(is_refused(&keys, &text[end + 1..]), "{end}");
        }
        for longer in [format!("{text}A"), format!("{text}="), format!("{text}-TAMPERED"), format!(" {text}")]
        {
            assert!(is_refused(&keys, &longer), "{longer}");
        }
    }

    #[test]
    fn what_is_no_state_is_malformed() {
        let keys = StateKeys::random();
        let huge = "A".repeat(TEXT_BYTES_MAX + 1);
        let short = URL_SAFE_NO_PAD.encode([VERSION; OVERHEAD - EXPIRES - 1]);
        let other_version = URL_SAFE_NO_PAD.encode([VERSION + 1; OVERHEAD]);
        for text in ["", "A", "AQ==", "not a state", "äöü", "\0", &huge, &short, &other_version] {
            assert_eq!(keys.open(&binding(), text, NOW), Err(StateError::Malformed), "{text:.40}");
        }
        let forged = URL_SAFE_NO_PAD.encode([VERSION; OVERHEAD]);
        assert_eq!(keys.open(&binding(), &forged, NOW), Err(StateError::Elsewhere));
    }

    #[test]
    fn content_beyond_the_limit_is_not_sealed() {
        let bytes = STATE_CONTENT_BYTES_MAX + 1;
        let sealed = StateKeys::random().seal(&binding(), &vec![0; bytes], NOW, LIFETIME_S);
        assert_eq!(sealed, Err(StateTooLarge { bytes }));
    }

    #[test]
    fn the_client_is_told_to_start_over_and_not_why() {
        let told = [StateError::Malformed, StateError::Refused, StateError::Expired].map(StateError::to_rpc);
        assert_eq!(told[0].code, crate::error::INVALID_PARAMS);
        assert!(told[0].message.contains("call again without requestState"));
        assert!(told.iter().all(|error| *error == told[0]));
    }

    #[test]
    fn keys_and_content_do_not_print() {
        let (keys, text) = sealed(b"secret");
        let opened = keys.open(&binding(), &text, NOW).unwrap();
        assert_eq!(format!("{opened:?}"), "Opened(6 bytes until 1790000600)");
        assert!(!format!("{keys:?}").contains('7'));
    }

    #[test]
    fn nothing_moves_between_the_parts_of_a_digest() {
        let one = digest("tools/call", "ab", b"c");
        for (method, name, arguments) in
            [("tools/call", "a", "bc"), ("tools/calla", "b", "c"), ("tools/call", "abc", ""), ("", "", "")]
        {
            assert_ne!(digest(method, name, arguments.as_bytes()), one, "{method} {name} {arguments}");
        }
        assert_eq!(digest("tools/call", "ab", b"c"), one);
    }

    #[test]
    fn a_state_is_spent_once() {
        let mut spent = SpentStates::default();
        let (keys, text) = sealed(b"x");
        let opened = keys.open(&binding(), &text, NOW).unwrap();
        assert!(spent.spend("ada", opened.nonce, opened.expires_unix, NOW));
        for later in [0, 1, i64::from(LIFETIME_S) - 1, i64::from(LIFETIME_S)] {
            assert!(!spent.spend("ada", opened.nonce, opened.expires_unix, NOW + later), "{later}");
        }
        let mut spent = SpentStates::default();
        assert!(spent.spend("ada", [1; 24], NOW + 9, NOW));
        assert!(!spent.spend("ada", [1; 24], NOW + 99, NOW), "whatever else is said of it");
        assert!(spent.spend("ada", [2; 24], NOW + 9, NOW));
    }

    #[test]
    fn expired_states_are_forgotten_and_stay_refused_if_the_clock_goes_back() {
        let mut spent = SpentStates::new(10, 10);
        assert!(spent.spend("ada", [1; 24], NOW + 5, NOW));
        assert!(spent.spend("ada", [2; 24], NOW + 20, NOW));
        assert!(!spent.spend("ada", [3; 24], NOW + 10, NOW + 10), "has expired");
        assert_eq!(spent.nonces.len(), 1);
        assert!(!spent.spend("ada", [1; 24], NOW + 5, NOW));
        assert!(spent.spend("ada", [4; 24], NOW + 6, NOW));
    }

    #[test]
    fn a_full_table_refuses_until_something_expires() {
        let mut spent = SpentStates::new(3, 3);
        for nonce in 0..3 {
            assert!(spent.spend("ada", [nonce; 24], NOW + 5, NOW));
        }
        assert!(!spent.spend("ada", [9; 24], NOW + 99, NOW));
        assert_eq!(spent.nonces.len(), 3);
        assert!(spent.spend("ada", [9; 24], NOW + 99, NOW + 5));
        assert_eq!(spent.nonces.len(), 1);
        assert!(!SpentStates::new(0, 9).spend("ada", [0; 24], NOW + 1, NOW));
    }
    #[test]
    fn a_principal_uses_up_its_own_share_only() {
        let mut spent = SpentStates::new(9, 2);
        assert!(spent.spend("ada", [1; 24], NOW + 5, NOW) && spent.spend("ada", [2; 24], NOW + 5, NOW));
        assert!(!spent.spend("ada", [3; 24], NOW + 9, NOW));
        assert!(spent.spend("bob", [3; 24], NOW + 9, NOW));
        assert!(spent.spend("ada", [4; 24], NOW + 9, NOW + 5), "the first ones have expired");
        assert_eq!(spent.counts.len(), 2);
        spent.forget_expired(NOW + 9);
        assert!(spent.counts.is_empty() && spent.nonces.is_empty());
    }
}
