//! What a value is like: whether it looks as if it were made by chance, or stands for one.

/// Bits of entropy for each byte that a value of a general rule must have.
const ENTROPY_MIN: f64 = 2.5;
/// What stands in examples, in any case.
const PLACEHOLDERS: [&str; 9] =
    ["example", "placeholder", "changeme", "your", "****", "....", "xxxx", "redacted", "dummy"];

/// Anything at all.
pub(super) fn any(_value: &[u8], _behind: &[u8]) -> bool {
    true
}

/// No placeholder and no variable, but whatever else.
pub(super) fn literal(value: &[u8], _behind: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let has = |word: &str| memchr::memmem::find(&lower, word.as_bytes()).is_some();
    !matches!(value.first(), Some(b'$' | b'%' | b'<' | b'{' | b'*')) && !PLACEHOLDERS.into_iter().any(has)
}

/// Letters and digits without much order, which are no name, path or call of code.
pub(super) fn random(value: &[u8], behind: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| value.iter().any(is);
    let has_both = has(u8::is_ascii_alphabetic) && has(u8::is_ascii_digit);
    has_both && literal(value, behind) && entropy(value) >= ENTROPY_MIN && !is_code(value, behind)
}

/// A name, a path or a call: words with dots, underscores or slashes between them, or something in brackets.
fn is_code(value: &[u8], behind: &[u8]) -> bool {
    if matches!(behind.first(), Some(b'(' | b'[' | b'<' | b'{')) {
        return true;
    }
    let is_between = |byte: &u8| matches!(byte, b'.' | b'_' | b'/' | b'-' | b':' | b'&' | b'*');
    value.iter().any(is_between) && value.split(is_between).all(is_word)
}

/// Letters, perhaps with a digit or two behind them.
fn is_word(part: &[u8]) -> bool {
    let letters = part.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let digits = part.len() - letters;
    digits <= 2 && part[letters..].iter().all(u8::is_ascii_digit)
}

/// Bits for each byte, as often as each occurs here.
#[expect(clippy::cast_precision_loss, reason = "a value is short")]
fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_usize; 256];
    for byte in value {
        counts[usize::from(*byte)] += 1;
    }
    let share = |count: &usize| *count as f64 / value.len() as f64;
    counts.iter().filter(|count| **count > 0).map(share).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_by_chance_is_told_from_names_and_examples() {
        for value in [
            "hunter2hunter3",
            "5d41402abc4b2a76b971",
            "aB3xx-Y9z_q7",
            "S3cr3t!pass",
            "correct-h0rse-2battery",
        ] {
            assert!(random(value.as_bytes(), b""), "{value}");
        }
        for value in [
            "correcthorse",
            "12345678",
            "aaaaaaa1",
            "config.auth.token2",
            "auth_v2_handler",
            "self.tokens",
            "/run/secrets/db1",
            "$DB_PASSWORD1",
            "example123",
            "YOUR_TOKEN_1a",
            "****1a2b",
        ] {
            assert!(!random(value.as_bytes(), b""), "{value}");
        }
        assert!(!random(b"parse2token3", b"(x)"));
    }
}
