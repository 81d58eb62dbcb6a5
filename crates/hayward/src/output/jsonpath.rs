//! `-o jsonpath=…`: a template as kubectl has it, on paths of RFC 9535.
//!
//! `{.items[*].name}`, text between the braces, `{"\n"}`, and `{range .items[*]}…{end}`.

use serde_json::Value;
use serde_json_path::JsonPath;

use super::plain;

/// A template that was read.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Path(JsonPath),
    Range(JsonPath, Vec<Part>),
}

impl Template {
    /// Reads a template; what is wrong with it, otherwise.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.contains('{') {
            return path(text).map(|path| Self(vec![Part::Path(path)]));
        }
        let mut rest = text;
        let parts = parts(&mut rest, false)?;
        Ok(Self(parts))
    }

    /// What it makes of a document.
    pub(crate) fn render(&self, document: &Value) -> String {
        let mut text = String::new();
        render(&self.0, document, &mut text);
        text
    }
}

/// The parts up to the end, or up to `{end}` within a range.
fn parts(rest: &mut &str, is_nested: bool) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while let Some(open) = rest.find('{') {
        if open > 0 {
            parts.push(Part::Text(rest[..open].to_owned()));
        }
        let close = closing(&rest[open..]).ok_or("a `{` has no `}`")?;
        let inner = rest[open + 1..open + close].trim();
        *rest = &rest[open + close + 1..];
        if inner == "end" {
            return if is_nested { Ok(parts) } else { Err("`{end}` without `{range …}`".to_owned()) };
        }
        parts.push(match inner.strip_prefix("range ") {
            Some(over) => Part::Range(path(over.trim())?, self::parts(rest, true)?),
            None if inner.starts_with(['"', '\'']) => Part::Text(literal(inner)?),
            None => Part::Path(path(inner)?),
        });
    }
    if is_nested {
        return Err("`{range …}` without `{end}`".to_owned());
    }
    if !rest.is_empty() {
        parts.push(Part::Text((*rest).to_owned()));
    }
    Ok(parts)
}

/// Where the brace closes that this text begins with, those in quotes aside.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(at),
            _ => {}
        }
    }
    None
}

fn literal(quoted: &str) -> Result<String, String> {
    let wrong = || format!("`{quoted}` is no text in quotes");
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).ok_or_else(wrong)?;
    if !quoted.ends_with(&quoted[..1]) {
        return Err(wrong());
    }
    let inner = if quoted.starts_with('\'') { inner.replace('"', "\\\"") } else { inner.to_owned() };
    serde_json::from_str(&format!("\"{inner}\"")).map_err(|_| wrong())
}

/// kubectl's paths begin with `.`, `@` or nothing; ours with `$`.
fn path(text: &str) -> Result<JsonPath, String> {
    let rooted = match text.chars().next() {
        Some('$') => text.to_owned(),
        Some('@') => format!("${}", &text[1..]),
        Some('.' | '[') => format!("${text}"),
        _ => format!("$.{text}"),
    };
    let rooted = if rooted == "$." { "$".to_owned() } else { rooted };
    JsonPath::parse(&rooted).map_err(|error| format!("`{text}` is no path: {error}"))
}

fn render(parts: &[Part], document: &Value, text: &mut String) {
    for part in parts {
        match part {
            Part::Text(literal) => *text += &whole(literal),
            Part::Path(path) => {
                let found = path.query(document).all().into_iter().map(|value| plain(&shown(value)));
                *text += &found.collect::<Vec<_>>().join(" ");
            }
            Part::Range(path, inner) => {
                for each in path.query(document).all() {
                    render(inner, each, text);
                }
            }
        }
    }
}

/// Text that steers no terminal, with its tabs: the template says them.
fn whole(literal: &str) -> String {
    literal.split('\t').map(plain).collect::<Vec<_>>().join("\t")
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_are_those_of_kubectl() {
        let list = json!({"items": [{"name": "a", "n": 1}, {"name": "b", "n": 2, "o": {"x": "y}"}}]});
        for (template, expect) in [
            ("{.items[*].name}", "a b"),
            ("{.items[0].name}", "a"),
            (".items[*].n", "1 2"),
            ("items[*].n", "1 2"),
            ("names: {$.items[*].name}!", "names: a b!"),
            ("{range .items[*]}{.name}={@.n}{\"\\n\"}{end}", "a=1\nb=2\n"),
            ("{.items[?(@.n==2)].name}", "b"),
            ("{.items[?@.name=='a'].n}{'}'}", "1}"),
            ("{.items[1].o}", "{\"x\":\"y}\"}"),
            ("{.none}", ""),
        ] {
            assert_eq!(Template::parse(template).unwrap().render(&list), expect, "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in ["{", "{.a", "{range .a}", "{end}", "{.a[}", "{\"a}", "{'}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
