//! The text form of results: JSON with a blank behind `,` and `:`, as the seed's clients know it,
//! escaped on the way for the string that it will stand in.

/// Compact JSON in the style of Python's `json.dumps`, escaped once more for use inside a JSON string.
///
/// Characters beyond ASCII stay as they are: six times fewer bytes, and the same text once parsed.
/// Strings are copied in runs, because nearly all of a long result is one string.
pub(crate) fn python_style_into(compact: &[u8], out: &mut Vec<u8>) {
    let mut rest = compact;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        structure_into(&rest[..quote], out);
        rest = string_into(&rest[quote + 1..], out);
    }
    structure_into(rest, out);
}

/// What stands between strings: numbers, words and punctuation, none of which needs an escape.
fn structure_into(structure: &[u8], out: &mut Vec<u8>) {
    for byte in structure {
        out.push(*byte);
        if matches!(byte, b',' | b':') {
            out.push(b' ');
        }
    }
}

/// Writes the string whose inside begins here, quotes included, and returns what follows it. It is escaped
/// once already, so nothing but quotes and backslashes needs that again.
fn string_into<'a>(inside: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    out.extend_from_slice(br#"\""#);
    let mut rest = inside;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        if rest[at] == b'"' {
            out.extend_from_slice(br#"\""#);
            return &rest[at + 1..];
        }
        out.extend_from_slice(br"\\");
        match rest.get(at + 1) {
            Some(b'"') => out.extend_from_slice(br#"\""#),
            Some(b'\\') => out.extend_from_slice(br"\\"),
            Some(byte) => out.push(*byte),
            None => {}
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    &[]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(value: &Value, expect: &str) {
        let mut escaped = Vec::new();
        python_style_into(&serde_json::to_vec(value).unwrap(), &mut escaped);
        let quoted = format!("\"{}\"", String::from_utf8(escaped).unwrap());
        let once: String = serde_json::from_str(&quoted).unwrap();
        assert_eq!(once, expect);
        assert_eq!(serde_json::from_str::<Value>(&once).unwrap(), *value);
    }

    #[test]
    fn the_text_is_spaced_and_survives_a_second_parse() {
        check(
            &json!({"a": [1, "é\"\\\u{1}\n"], "b": {}}),
            "{\"a\": [1, \"é\\\"\\\\\\u0001\\n\"], \"b\": {}}",
        );
        check(&json!([null, -1.5, true, []]), "[null, -1.5, true, []]");
        check(&json!("a,b:c\\"), "\"a,b:c\\\\\"");
        check(&json!({"": ""}), "{\"\": \"\"}");
    }
}
