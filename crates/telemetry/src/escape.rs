//! Values in log lines, with what could harm a reader made visible.
//!
//! Control characters forge lines and drive terminals; marks of writing direction make text read
//! differently from what it is. The formatter of the library escapes some of the former only.

use std::fmt::{self, Debug, Display, Write};

/// Shows the `Debug` text of a value on one harmless line.
pub(crate) struct Escaped<'a>(pub(crate) &'a dyn Debug);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{:?}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_hostile) {
            let (harmless, tail) = rest.split_at(at);
            self.0.write_str(harmless)?;
            let mut chars = tail.chars();
            if let Some(hostile) = chars.next() {
                write!(self.0, "{}", hostile.escape_default())?;
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(Escaped(&format_args!("{text}")).to_string(), expected);
    }

    #[test]
    fn controls_and_direction_marks_are_shown_as_escapes() {
        check("a\nb\u{1b}[0m", "a\\nb\\u{1b}[0m");
        check("\u{9b}\u{7f}\u{202e}\u{2028}", "\\u{9b}\\u{7f}\\u{202e}\\u{2028}");
    }

    #[test]
    fn harmless_text_of_any_script_is_kept() {
        check("", "");
        check("größe 日本 😀 \\ \"", "größe 日本 😀 \\ \"");
    }
}
