//! Passwords: hashed with Argon2id, as OWASP advises (19 MiB, 2 passes, 1 lane), and compared.
//!
//! Both take tens of milliseconds and 19 MiB: callers run them where nothing else waits, and bound how many run at once. Whether
//! an account exists can't be told from the time that a refusal takes: without a hash, one of nothing is compared.

use std::sync::LazyLock;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hayward_api::{Code, Error};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Memory in KiB, passes, lanes.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
const SALT: usize = 16;
const DIGEST: usize = 32;
/// What a stored hash may cost at most, so that nobody who writes one can stop the server: memory in KiB, passes, lanes.
const COST_MAX: (u32, u32, u32) = (256 * 1024, 16, 16);
/// Bytes of a stored hash.
const TEXT_BYTES: usize = 256;
/// Bytes of a password that is compared; longer ones are wrong.
const PASSWORD_BYTES: usize = 1024;

/// A hash of a password, as text (PHC string format). It has no `Debug` and no `Serialize`.
#[derive(Clone)]
pub struct PasswordHash(Box<str>);

impl PasswordHash {
    /// Reads a stored one, e.g. `$argon2id$v=19$m=19456,t=2,p=1$SALT$DIGEST`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match Parts::parse(text) {
            Some(_) => Ok(Self(text.into())),
            None => Err(Error::new(Code::Invalid, "a stored hash of a password is damaged")),
        }
    }

    /// The text to store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a hash says.
struct Parts {
    cost: (u32, u32, u32),
    salt: Vec<u8>,
    digest: Vec<u8>,
}

impl Parts {
    fn parse(text: &str) -> Option<Self> {
        let rest = Some(text).filter(|text| text.len() <= TEXT_BYTES)?.strip_prefix("$argon2id$v=19$")?;
        let [cost, salt, digest] = rest.split('$').collect::<Vec<_>>().try_into().ok()?;
        let [memory, passes, lanes] = cost.split(',').collect::<Vec<_>>().try_into().ok()?;
        let number = |text: &str, name: &str| text.strip_prefix(name)?.parse::<u32>().ok();
        let cost = (number(memory, "m=")?, number(passes, "t=")?, number(lanes, "p=")?);
        let is_bearable = cost.0 <= COST_MAX.0 && cost.1 <= COST_MAX.1 && cost.2 <= COST_MAX.2;
        let salt = STANDARD_NO_PAD.decode(salt).ok().filter(|salt| (8..=64).contains(&salt.len()))?;
        let digest = STANDARD_NO_PAD.decode(digest).ok().filter(|digest| digest.len() == DIGEST)?;
        is_bearable.then_some(Self { cost, salt, digest })
    }
}

/// Hashes a new password with fresh salt.
///
/// # Errors
/// It is longer than 1024 bytes, or there is no memory.
pub fn hash(password: &str) -> Result<PasswordHash, Error> {
    if password.len() > PASSWORD_BYTES {
        return Err(Error::new(Code::TooLarge, format!("a password has up to {PASSWORD_BYTES} bytes")));
    }
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
    let digest = digest(password, &salt, COST)?;
    let (memory, passes, lanes) = COST;
    let (salt, digest) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(&*digest));
    Ok(PasswordHash(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${digest}").into()))
}

/// Whether it is the password of this hash. Without a hash (nobody of that name, or no password) it takes as long, and isn't.
///
/// # Errors
/// There is no memory.
pub fn verify(password: &str, stored: Option<&PasswordHash>) -> Result<bool, Error> {
    /// Stands for the hash of nobody: nothing hashes to it.
    static NOBODY: LazyLock<Parts> =
        LazyLock::new(|| Parts { cost: COST, salt: vec![0; SALT], digest: vec![0; DIGEST] });
    let parsed = stored.and_then(|stored| Parts::parse(&stored.0));
    let parts = parsed.as_ref().unwrap_or(&NOBODY);
    let is_too_long = password.len() > PASSWORD_BYTES;
    let digest = digest(if is_too_long { "" } else { password }, &parts.salt, parts.cost)?;
    let is_same: bool = digest.ct_eq(&parts.digest).into();
    Ok(is_same && parsed.is_some() && !is_too_long)
}

fn digest(password: &str, salt: &[u8], cost: (u32, u32, u32)) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (memory, passes, lanes) = cost;
    let params = Params::new(memory, passes, lanes, Some(DIGEST)).map_err(|error| failed(&error))?;
    let mut digest = Zeroizing::new(vec![0; DIGEST]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut digest)
        .map_err(|error| failed(&error))?;
    Ok(digest)
}

fn failed(error: &impl ToString) -> Error {
    Error::new(Code::Internal, "a password could not be hashed").with_detail(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_password_is_known_again_and_no_other() {
        let stored = hash("correct horse").unwrap();
        assert!(stored.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify("correct horse", Some(&stored)).unwrap());
        let again = PasswordHash::parse(stored.as_str()).unwrap();
        assert!(verify("correct horse", Some(&again)).unwrap());
        for wrong in ["", "correct hors", "Correct horse", "correct horse ", &"x".repeat(PASSWORD_BYTES + 1)]
        {
            assert!(!verify(wrong, Some(&stored)).unwrap(), "{wrong}");
        }
        assert!(hash(&"x".repeat(PASSWORD_BYTES + 1)).is_err());
        assert_ne!(stored.as_str(), hash("correct horse").unwrap().as_str());
    }

    #[test]
    fn it_is_what_the_reference_implementation_computes() {
        // A vector of the tests of libargon2: version 19, t=2, m=2^16, p=1.
        let digest = digest("password", b"somesalt", (65_536, 2, 1)).unwrap();
        let start =
            [0x09, 0x31, 0x61, 0x15, 0xd5, 0xcf, 0x24, 0xed, 0x5a, 0x15, 0xa3, 0x1a, 0x3b, 0xa3, 0x26, 0xe5];
        let end =
            [0xcf, 0x32, 0xed, 0xc2, 0x47, 0x02, 0x98, 0x7c, 0x02, 0xb6, 0x56, 0x6f, 0x61, 0x91, 0x3c, 0xf7];
        assert_eq!(*digest, [start, end].concat());
    }

    #[test]
    fn nobody_has_a_password_and_finding_that_out_takes_as_long() {
        let stored = hash("correct horse").unwrap();
        let time = |stored: Option<&PasswordHash>| {
            let mut fastest = std::time::Duration::MAX;
            for _ in 0..3 {
                let start = Instant::now();
                assert!(!verify("wrong", stored).unwrap());
                fastest = fastest.min(start.elapsed());
            }
            fastest
        };
        let (somebody, nobody) = (time(Some(&stored)), time(None));
        assert!(nobody * 3 > somebody && somebody * 3 > nobody, "{somebody:?} {nobody:?}");
    }

    #[test]
    fn damaged_and_too_costly_hashes_are_refused() {
        let good = hash("correct horse").unwrap().as_str().to_owned();
        for bad in [
            "",
            "correct horse",
            &good[1..],
            &good[..good.len() - 1],
            &good.replace("argon2id", "argon2i"),
            &good.replace("v=19", "v=16"),
            &good.replace("m=19456", "m=4194304"),
            &good.replace("t=2", "t=1000"),
            &good.replace("t=2", "t=-1"),
            &good.replace("p=1", "p=1,x=2"),
            &format!("{good}$"),
        ] {
            assert!(PasswordHash::parse(bad).is_err(), "{bad}");
        }
    }
}
