//! Comments in JSON, which editors allow and JSON doesn't.

/// The same with blanks for comments; strings stay as they are, and all else where it was.
pub(super) fn without_comments(text: &str) -> String {
    // Of YAML, `//` is no comment: only JSON begins so. Editors of Windows write a mark before it.
    if !text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[', '/']) {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut is_in_string = false;
    while let Some(c) = chars.next() {
        match (is_in_string, c, chars.peek()) {
            (true, '\\', Some(_)) => {
                kept.push(c);
                kept.extend(chars.next());
            }
            (false, '/', Some('/')) => {
                kept.push(' ');
                kept.extend(std::iter::from_fn(|| chars.next_if(|c| *c != '\n')).map(blank));
            }
            (false, '/', Some('*')) => {
                chars.next();
                kept += "  ";
                kept += &blanks_of_comment(&mut chars);
            }
            _ => {
                is_in_string ^= c == '"';
                kept.push(c);
            }
        }
    }
    kept
}

/// Passes over a comment up to its end; the ends of its lines are kept.
fn blanks_of_comment(chars: &mut impl Iterator<Item = char>) -> String {
    let mut last = ' ';
    let mut blanks = String::new();
    for c in chars {
        blanks.push(blank(c));
        if last == '*' && c == '/' {
            break;
        }
        last = c;
    }
    blanks
}

fn blank(c: char) -> char {
    if c == '\n' { c } else { ' ' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_strings_and_lines_stay() {
        for (text, expect) in [
            ("{\"a\": \"//x\" // y\n}", "{\"a\": \"//x\"     \n}"),
            ("{/* a\nb */\"c\": \"\\\"/*\"}", "{    \n    \"c\": \"\\\"/*\"}"),
            ("// x\n{}", "    \n{}"),
            ("\u{feff}// x\n{}", "\u{feff}    \n{}"),
            ("a: http://x\n", "a: http://x\n"),
            ("{/* open", "{       "),
        ] {
            assert_eq!(without_comments(text), expect);
        }
    }
}
