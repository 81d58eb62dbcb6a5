//! Bearer tokens: how one is made, and what is read from one that somebody shows.
//!
//! ```text
//! hwd_rw_3fK2p0QxYz1A8sD…32 random…Zk4Tn0w1Bq
//!  │  │  └─ public id, 12 │         └─ CRC-32 of all before it, 6
//!  │  └─ role (or `login`, `invite`), for the eyes: what counts is the stored record
//!  └─ prefix that secret scanners find
//! ```
//!
//! The checksum lets a typo or a scanner's guess be refused without a look-up; it proves nothing.
//! Only a digest of the random half is ever stored: with 190 random bits, a slow hash adds nothing.
//! The secret itself is never printed, serialised or kept here.

use std::fmt;

use crc::{CRC_32_ISO_HDLC, Crc};
use hayward_api::kinds::token::Role;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

const PREFIX: &str = "hwd_";
const ID: usize = 12;
const SECRET: usize = 32;
const CHECKSUM: usize = 6;
/// How the tokens of mymcp begin.
const FOREIGN_PREFIX: &str = "tok_";
/// How many hexadecimal digits they have: fewer could be guessed.
const FOREIGN_DIGITS: std::ops::RangeInclusive<usize> = 32..=128;
/// What the digest begins with that the id of such a token is made of.
const FOREIGN_ID: &str = "hayward: the id of a token of mymcp\n";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What a token is for: the word in it that people read. What counts is the stored record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A credential of this role.
    Role(Role),
    /// What a login gave to a person.
    Login,
    /// What lets somebody make an account, once.
    Invite,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 7] = [
        Self::Role(Role::Ro),
        Self::Role(Role::Rw),
        Self::Role(Role::Admin),
        Self::Role(Role::Metrics),
        Self::Role(Role::Account),
        Self::Login,
        Self::Invite,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Role(role) => role.as_str(),
            Self::Login => "login",
            Self::Invite => "invite",
        }
    }
}

impl From<Role> for Purpose {
    fn from(role: Role) -> Self {
        Self::Role(role)
    }
}

/// The public half of a token: names it in lists, in the record and to whom revokes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; ID]);

impl TokenId {
    /// Reads an id: 12 letters and digits.
    pub fn parse(text: &str) -> Option<Self> {
        let id: [u8; ID] = text.as_bytes().try_into().ok()?;
        id.iter().all(u8::is_ascii_alphanumeric).then_some(Self(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is made of ASCII letters and digits")
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// What is stored of a secret. Compared in constant time only, so it has no `==`.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest that these stored bytes are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }
}

impl ConstantTimeEq for Digest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// Text that is not a token; refused before any look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It doesn't have the shape of one.
    #[error("credential does not have the form of a token")]
    Shape,
    /// It has the shape, and a character of it is wrong.
    #[error("token has a wrong checksum: it was mistyped or cut")]
    Checksum,
}

/// What is needed of a token that somebody showed; no longer the secret.
#[derive(Clone, Copy, Debug)]
pub struct PresentedToken {
    /// Which credential it claims to be.
    pub id: TokenId,
    /// What has to match the stored digest of that credential.
    pub digest: Digest,
}

/// A freshly made token. It is shown once; no `Debug`, no `Serialize`, wiped when dropped.
pub struct Token {
    text: Zeroizing<String>,
    id_at: usize,
}

impl Token {
    /// Makes a new token of this role, or for a login or an invite.
    pub fn mint(purpose: impl Into<Purpose>) -> Self {
        let word = purpose.into().as_str();
        let id_at = PREFIX.len() + word.len() + 1;
        // The full capacity at once: growing would leave copies of the secret behind.
        let mut text = Zeroizing::new(String::with_capacity(id_at + ID + SECRET + CHECKSUM));
        text.push_str(PREFIX);
        text.push_str(word);
        text.push('_');
        push_random(&mut text, ID + SECRET);
        let checksum = base62(CRC.checksum(text.as_bytes()));
        text.extend(checksum.map(char::from));
        Self { text, id_at }
    }

    /// The token itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Its public half.
    pub fn id(&self) -> TokenId {
        TokenId::parse(&self.text[self.id_at..self.id_at + ID]).expect("mint wrote an id here")
    }

    /// What to store of its secret half.
    pub fn digest(&self) -> Digest {
        let at = self.id_at + ID;
        Digest::of(&self.text[at..at + SECRET])
    }

    /// Reads a token that somebody showed: one of ours, or one that mymcp made.
    pub fn parse(text: &str) -> Result<PresentedToken, TokenError> {
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return foreign(text).ok_or(TokenError::Shape);
        };
        let (word, tail) = rest.split_once('_').ok_or(TokenError::Shape)?;
        let is_known = Purpose::ALL.iter().any(|known| known.as_str() == word);
        let is_base62 = tail.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_known || !is_base62 || tail.len() != ID + SECRET + CHECKSUM {
            return Err(TokenError::Shape);
        }
        let (body, checksum) = text.split_at(text.len() - CHECKSUM);
        if base62(CRC.checksum(body.as_bytes())) != checksum.as_bytes() {
            return Err(TokenError::Checksum);
        }
        let id = TokenId::parse(&tail[..ID]).ok_or(TokenError::Shape)?;
        Ok(PresentedToken { id, digest: Digest::of(&tail[ID..ID + SECRET]) })
    }
}

/// A token that mymcp made: `tok_` and hexadecimal digits, or the digits alone. It has no public half, so one is made of a
/// digest of it that says nothing of the one that is stored.
fn foreign(text: &str) -> Option<PresentedToken> {
    let digits = text.strip_prefix(FOREIGN_PREFIX).unwrap_or(text);
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !FOREIGN_DIGITS.contains(&digits.len()) || !digits.bytes().all(is_hex) {
        return None;
    }
    let named = Sha256::new().chain_update(FOREIGN_ID).chain_update(text).finalize();
    let mut id = [0; ID];
    for (letter, byte) in id.iter_mut().zip(named) {
        *letter = ALPHABET[usize::from(byte) % ALPHABET.len()];
    }
    Some(PresentedToken { id: TokenId(id), digest: Digest::of(text) })
}

/// Appends random characters, each of the 62 equally likely.
fn push_random(text: &mut String, count: usize) {
    /// The greatest multiple of 62 in a byte; bytes above would favour the first characters.
    const FAIR: u8 = 248;
    let mut bytes = Zeroizing::new([0_u8; 64]);
    let end = text.len() + count;
    while text.len() < end {
        getrandom::fill(bytes.as_mut()).expect("the kernel always has random bytes");
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        let letters = fair.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        text.extend(letters.take(end - text.len()));
    }
}

fn base62(mut number: u32) -> [u8; CHECKSUM] {
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(number % 62) as usize];
        number /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn is_same(a: &Digest, b: &Digest) -> bool {
        a.ct_eq(b).into()
    }

    #[test]
    fn a_minted_token_is_read_back_as_itself() {
        assert!(Role::ALL.iter().all(|role| Purpose::ALL.contains(&Purpose::from(*role))));
        for purpose in Purpose::ALL {
            let token = Token::mint(purpose);
            assert!(token.reveal().starts_with(&format!("hwd_{}_", purpose.as_str())));
            let presented = Token::parse(token.reveal()).unwrap();
            assert_eq!(presented.id, token.id());
            assert!(is_same(&presented.digest, &token.digest()));
        }
    }

    #[test]
    fn no_two_tokens_share_id_or_secret() {
        let tokens: Vec<Token> = (0..1000).map(|_| Token::mint(Role::Ro)).collect();
        let ids: HashSet<TokenId> = tokens.iter().map(Token::id).collect();
        let digests: HashSet<[u8; 32]> = tokens.iter().map(|t| *t.digest().as_bytes()).collect();
        assert_eq!((ids.len(), digests.len()), (1000, 1000));
    }

    #[test]
    fn every_character_is_equally_likely() {
        let mut text = String::new();
        push_random(&mut text, 62 * 2000);
        assert_eq!(text.len(), 62 * 2000);
        for letter in ALPHABET {
            let count = text.bytes().filter(|byte| byte == letter).count();
            // 2,000 expected, standard deviation 44: a biased draw would give 1,937 and 2,421.
            assert!((1700..2300).contains(&count), "{} came {count} times", char::from(*letter));
        }
    }

    #[test]
    fn any_single_changed_character_is_refused() {
        let token = Token::mint(Role::Rw);
        for at in 0..token.reveal().len() {
            let mut typo = token.reveal().as_bytes().to_vec();
            typo[at] = if typo[at] == b'x' { b'y' } else { b'x' };
            let typo = String::from_utf8(typo).unwrap();
            assert!(Token::parse(&typo).is_err(), "character {at} was changed");
        }
    }

    #[test]
    fn what_is_not_a_token_is_refused_by_its_shape() {
        let good = Token::mint(Role::Ro).reveal().to_owned();
        let shorter = &good[..good.len() - 1];
        let danger = good.replace("_ro_", "_danger_");
        let longer = format!("{good}x");
        let padded = format!(" {good}");
        let umlaut = format!("{}ä", &good[..good.len() - 2]);
        for bad in ["", "hwd_", "hwd_ro_", "Bearer", shorter, &longer, &danger, &padded, &umlaut] {
            assert_eq!(Token::parse(bad).err(), Some(TokenError::Shape), "{bad:?}");
        }
    }

    #[test]
    fn a_token_of_mymcp_is_the_same_one_each_time_and_no_other() {
        let hex = "0123456789abcdef0123456789abcdef";
        let (token, bare) = (Token::parse(&format!("tok_{hex}")).unwrap(), Token::parse(hex).unwrap());
        let again = Token::parse(&format!("tok_{hex}")).unwrap();
        assert!(token.id == again.id && is_same(&token.digest, &again.digest));
        assert!(token.id != bare.id && !is_same(&token.digest, &bare.digest));
        assert!(TokenId::parse(token.id.as_str()).is_some());
        for bad in [
            "tok_",
            "tok_abc",
            &hex[1..],
            &format!("tok_{}", hex.to_uppercase()),
            &format!("tok_{hex} "),
            &format!("TOK_{hex}"),
            &format!("tok_{hex}g"),
            &format!("tok_{}", "a".repeat(129)),
        ] {
            assert_eq!(Token::parse(bad).err(), Some(TokenError::Shape), "{bad}");
        }
    }

    #[test]
    fn the_checksum_is_the_crc_32_of_what_stands_before() {
        // CRC-32 (ISO HDLC) of "123456789" is the check value of the standard.
        assert_eq!(CRC.checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(&base62(0), b"000000");
        assert_eq!(&base62(61), b"00000z");
        assert_eq!(&base62(u32::MAX), b"4gfFC3");
    }

    #[test]
    fn ids_parse_and_digests_never_print() {
        assert_eq!(TokenId::parse("Abc123Abc123").unwrap().as_str(), "Abc123Abc123");
        for bad in ["", "Abc123Abc12", "Abc123Abc1234", "Abc123Abc12-"] {
            assert!(TokenId::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{:?}", Token::mint(Role::Ro).digest()), "Digest(…)");
        assert_eq!(format!("{:?}", TokenId::parse("AAAA11111111").unwrap()), "TokenId(AAAA11111111)");
    }
    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_none_is_a_token_by_chance(
            text in "(hwd_)?((ro|rw|admin)_)?[0-9A-Za-zä_]{0,60}",
        ) {
            proptest::prop_assert!(Token::parse(&text).is_err());
        }
    }
}
