//! Comments in JSON, which editors allow and JSON doesn't.

/// The same without comments; strings stay as they are, and lines where they were.
pub(super) fn without_comments(text: &str) -> String {
    // Of YAML, `//` is no comment: only JSON begins so.
    if !text.trim_start().starts_with(['{', '[', '/']) {
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
            (false, '/', Some('/')) => while chars.next_if(|c| *c != '\n').is_some() {},
            (false, '/', Some('*')) => {
                chars.next();
                kept += &lines_of_comment(&mut chars);
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
fn lines_of_comment(chars: &mut impl Iterator<Item = char>) -> String {
    let mut last = ' ';
    let mut lines = String::new();
    for c in chars {
        if c == '\n' {
            lines.push(c);
        }
        if last == '*' && c == '/' {
            break;
        }
        last = c;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_strings_and_lines_stay() {
        for (text, expect) in [
            ("{\"a\": \"//x\" // y\n}", "{\"a\": \"//x\" \n}"),
            ("{/* a\nb */\"c\": \"\\\"/*\"}", "{\n\"c\": \"\\\"/*\"}"),
            ("// x\n{}", "\n{}"),
            ("a: http://x\n", "a: http://x\n"),
            ("{/* open", "{"),
        ] {
            assert_eq!(without_comments(text), expect);
        }
    }
}
