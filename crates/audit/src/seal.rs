//! The seal of a line: what makes a chain of records, and signed lines of checkpoints.
//!
//! ```text
//!  {"seq":7,"node":"…","epoch":1,"prev":"…",…,"hash":"…"}
//!  └──────────── hashed, byte for byte ─────┘
//! ```
//!
//! The hash is over the bytes themselves and not over a meaning, so nothing has to be put into a canonical
//! form, and whoever checks a line needs SHA-256 and nothing else: `sha256(line without its last 75 bytes)`.

use crate::hex::Hex;

/// The last member of a record.
pub(crate) const HASH: &[u8] = b",\"hash\":\"";
/// The last member of a checkpoint.
pub(crate) const SIGNATURE: &[u8] = b",\"signature\":\"";
/// The member before it, where a checkpoint hands the record over.
pub(crate) const ACCEPTANCE: &[u8] = b",\"next_signature\":\"";
/// What ends the line behind it.
const END: &[u8] = b"\"}";

/// Closes an object that has members and no end yet with a last member, over all bytes from `start` on.
pub(crate) fn close<const N: usize>(
    line: &mut Vec<u8>,
    start: usize,
    member: &[u8],
    of: impl FnOnce(&[u8]) -> Hex<N>,
) -> Hex<N> {
    let value = of(&line[start..]);
    line.extend_from_slice(member);
    value.push(line);
    line.extend_from_slice(END);
    line.push(b'\n');
    value
}

/// The bytes before the last member, and its value; none if the line (without its newline) ends otherwise.
pub(crate) fn split<'a, const N: usize>(line: &'a [u8], member: &[u8]) -> Option<(&'a [u8], Hex<N>)> {
    let line = line.strip_suffix(END)?;
    let (rest, digits) = line.split_at_checked(line.len().checked_sub(2 * N)?)?;
    Some((rest.strip_suffix(member)?, Hex::parse(digits)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::Hash;

    #[test]
    fn a_line_that_was_closed_is_split_again_and_any_other_is_not() {
        let mut line = b"before\n{\"a\":1".to_vec();
        let hash = close(&mut line, 7, HASH, Hash::of);
        assert_eq!(hash, Hash::of(b"{\"a\":1"));
        let line = line[7..].strip_suffix(b"\n").unwrap();
        assert_eq!(split::<32>(line, HASH), Some((&b"{\"a\":1"[..], hash)));
        assert_eq!(split::<32>(&line[..line.len() - 1], HASH), None);
        assert_eq!(split::<32>(line, SIGNATURE), None);
        for short in ["", "\"}", ",\"hash\":\"\"}"] {
            assert_eq!(split::<32>(short.as_bytes(), HASH), None, "{short}");
        }
    }
}
