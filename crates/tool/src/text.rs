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
        let end = quote + string_bytes(&rest[quote..]);
        hayward_mcp::json::escape_into(&rest[quote..end], out);
        rest = &rest[end..];
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

/// How long the string is that begins here, quotes included.
fn string_bytes(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(offset) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += offset;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
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
