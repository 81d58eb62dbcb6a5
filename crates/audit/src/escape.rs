//! Characters that are kept from the screen of whoever looks at the file with `tail` or `less`.
//!
//! JSON lets them stand as they are, but a terminal obeys some (U+009B begins a command), others
//! reorder or hide the text around them. In JSON text they can stand within strings only, so each
//! becomes an escape there, and a parser reads the same string as before.

use std::fmt::Write as _;

use memchr::memchr;

/// Whether it controls how text is shown: DEL, C1, zero-width, bidirectional, separators of lines.
pub const fn is_control(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

/// The same JSON text with an escape for each of these characters.
pub fn escaped(json: String) -> String {
    // Nearly every record is ASCII, and of that only DEL is one of them.
    let is_plain = json.is_ascii() && memchr(0x7f, json.as_bytes()).is_none();
    if is_plain || !json.contains(is_control) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        if is_control(character) {
            write!(out, "\\u{:04x}", u32::from(character)).expect("memory takes it");
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_controls_nothing_stays_as_it_is() {
        for text in ["", "{\"a\":\"b\"}", "\"häß 漢字 😀 \\n\"", "\"\u{7e}\u{a0}\u{2010}\u{202f}\u{fefe}\""]
        {
            assert_eq!(escaped(text.to_owned()), text);
        }
    }

    #[test]
    fn what_controls_the_screen_becomes_an_escape() {
        assert_eq!(escaped("\"\u{7f}a\u{9b}\u{2028}ä\"".to_owned()), "\"\\u007fa\\u009b\\u2028ä\"");
    }
}
