//! The text form of results: JSON with a blank behind `,` and `:`, as the seed's clients know it,
//! escaped on the way for the string that it will stand in.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// `value` as JSON in the style of Python's `json.dumps`, escaped once more for use inside a JSON string.
///
/// Characters beyond ASCII stay as they are: six times fewer bytes, and the same text once parsed.
pub(crate) fn python_style<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(256);
    value.serialize(&mut Serializer::with_formatter(Escaping(&mut out), Spaced))?;
    Ok(out)
}

/// Escapes what is written through it.
struct Escaping<'a>(&'a mut Vec<u8>);

impl io::Write for Escaping<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        hayward_mcp::json::escape_into(bytes, self.0);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compact JSON with a blank behind `,` and `:`.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_is_spaced_and_survives_a_second_parse() {
        let value = json!({"a": [1, "é\"\\\u{1}\n"], "b": {}});
        let escaped = String::from_utf8(python_style(&value).unwrap()).unwrap();
        let once: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
        assert_eq!(once, "{\"a\": [1, \"é\\\"\\\\\\u0001\\n\"], \"b\": {}}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&once).unwrap(), value);
    }
}
