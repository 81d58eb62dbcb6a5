//! Tokens of ours in what is recorded: their secret half becomes `***`.
//!
//! An agent that is given a token may put it into a command, a path, the name of a tool. The record says
//! which token that was (its public id stays), and is none that lends its rights to whoever reads it. A
//! token that was cut off is one, too.

use memchr::memchr_iter;

/// How tokens of ours begin; behind it a role, `_`, a public id and a secret.
const OURS: &str = "hwd_";
/// Characters of a public id.
const ID_CHARS: usize = 12;
/// How the older kind begins; behind it a secret of hexadecimal digits.
const OLDER: &str = "tok_";
/// Characters of the older kind that are kept, and from which on it is taken for one.
const OLDER_KEPT: usize = 4;
const OLDER_CHARS_MIN: usize = 16;

/// The same JSON text without secrets.
pub(crate) fn masked(text: String) -> String {
    let text = if text.contains("\\u00") { spelt_out(&text) } else { text };
    // Both kinds have an underscore where their beginning ends.
    let ends = memchr_iter(b'_', text.as_bytes());
    let secrets: Vec<_> = ends.filter_map(|end| secret(&text, (end + 1).checked_sub(OURS.len())?)).collect();
    if secrets.is_empty() {
        return text;
    }
    let (mut out, mut kept_to) = (String::with_capacity(text.len()), 0);
    for (start, end) in secrets {
        if start >= kept_to {
            out.push_str(&text[kept_to..start]);
            out.push_str("***");
            kept_to = end;
        }
    }
    out.push_str(&text[kept_to..]);
    out
}

/// The same JSON text with letters, digits and underscores in the place of their escapes: a token can be
/// spelt so, too.
fn spelt_out(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        if let Some(plain) = plain_of(escape) {
            out.push(plain);
            rest = &escape["\\u0000".len()..];
        } else {
            // A backslash and what it escapes stay together, so that `\\u0041` is none of it.
            let length = escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end);
            out.push_str(&escape[..length]);
            rest = &escape[length..];
        }
    }
    out + rest
}

/// The letter, digit or underscore that this escape stands for.
fn plain_of(escape: &str) -> Option<char> {
    let code = escape.strip_prefix("\\u")?.get(..4)?;
    let plain = char::from(u8::from_str_radix(code, 16).ok()?);
    (plain.is_ascii_alphanumeric() || plain == '_').then_some(plain)
}

/// Where the secret of the token that begins here stands, if one does.
fn secret(text: &str, at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..).filter(|rest| rest.starts_with(OURS) || rest.starts_with(OLDER))?;
    let (start, length) = if let Some(behind) = rest.strip_prefix(OURS) {
        let role = behind.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(behind.len());
        let tail = behind[role..].strip_prefix('_')?;
        let length = tail.bytes().take_while(u8::is_ascii_alphanumeric).count();
        (at + OURS.len() + role + 1 + ID_CHARS, length.checked_sub(ID_CHARS)?)
    } else {
        let digits = rest[OLDER.len()..].bytes().take_while(u8::is_ascii_hexdigit).count();
        (at + OLDER.len() + OLDER_KEPT, (digits >= OLDER_CHARS_MIN).then(|| digits - OLDER_KEPT)?)
    };
    (length > 0).then_some((start, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        assert_eq!(masked(text.to_owned()), expect);
    }

    #[test]
    fn secrets_of_tokens_are_masked_wherever_they_stand_and_however_they_end() {
        let (id, secret) = ("AbCdEf012345", "s3cr3t".repeat(7));
        check(&format!("echo hwd_rw_{id}{secret}; id"), &format!("echo hwd_rw_{id}***; id"));
        check(&format!("/tmp/xhwd_admin_{id}{secret}"), &format!("/tmp/xhwd_admin_{id}***"));
        check(&format!("hwd_ro_{id}s hwd_ro_{id}{secret}"), &format!("hwd_ro_{id}*** hwd_ro_{id}***"));
        check(&format!(r"hwd\u005frw_{id}\u0073{secret}\n"), &format!(r"hwd_rw_{id}***\n"));
        check(&format!("ätok_{}ä", "0f".repeat(16)), "ätok_0f0f***ä");
    }

    #[test]
    fn what_is_no_token_stays() {
        check(r"\u00e4\\u0041\u000a\u00", r"\u00e4\\u0041\u000a\u00");
        for text in
            ["", "hwd_", "hwd_rw", "hwd_rw_", "hwd_rw_AbCdEf012345", "hwd_RW_x", "tok_", "tok_abc", "ä"]
        {
            check(text, text);
        }
    }
}
