//! The names under which clients know what servers offer.
//!
//! A name is made of what the administrator says (a prefix, a new name) and of the server's own name for the thing, and of
//! nothing else: neither who came first nor what other servers offer today changes it. Where two could be the same, both carry
//! a digest.

use hayward_api::kinds::project::NameStyle;
use hayward_mcp::state::digest;

/// Characters of a name, prefix included.
const NAME_CHARS_MAX: usize = 60;
/// Characters of the digest that a name ends in which could be that of something else.
const DIGEST_CHARS: usize = 12;

/// The prefixes that are in use at one endpoint, and the names that have none.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    /// All prefixes, each of one server.
    pub(crate) prefixes: Vec<&'a str>,
    /// Names that are taken by what is built in.
    pub(crate) taken: Vec<&'a str>,
    /// How they are put together.
    pub(crate) style: NameStyle,
}

impl Names<'_> {
    /// The name under which clients know the thing that its server calls `own`.
    pub(crate) fn of(&self, prefix: &str, own: &str) -> String {
        if self.style == NameStyle::Slash {
            return format!("{prefix}/{own}");
        }
        let is_plain = own.bytes().all(is_plain_byte);
        let name = format!("{prefix}_{own}");
        if is_plain && name.len() <= NAME_CHARS_MAX && !self.is_ambiguous(prefix, own, &name) {
            return name;
        }
        let mut name: String =
            name.chars().map(|c| if c.is_ascii() && is_plain_byte(c as u8) { c } else { '_' }).collect();
        name.truncate(NAME_CHARS_MAX - DIGEST_CHARS - 1);
        let digest = digest(prefix, own, &[]);
        let digest = super::hex(&digest[..DIGEST_CHARS / 2]);
        format!("{name}_{digest}")
    }

    /// Whether something else could have this name, now or ever.
    fn is_ambiguous(&self, prefix: &str, own: &str, name: &str) -> bool {
        // `a` with `b_c`, where there is a prefix `a_b` as well.
        let is_of_a_longer_prefix = self.prefixes.iter().any(|other| {
            let rest = other.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
            rest.is_some_and(|rest| own.strip_prefix(rest).is_some_and(|own| own.starts_with('_')))
        });
        is_of_a_longer_prefix || self.taken.contains(&name) || ends_like_a_digest(name)
    }
}

/// The words of `server/tool` and `server.tool`, which is how other systems write names.
pub(crate) fn parted(name: &str) -> Option<(&str, &str)> {
    let (prefix, own) = name.split_once(['/', '.'])?;
    (!prefix.is_empty() && !own.is_empty()).then_some((prefix, own))
}

/// A prefix made of the name of a server, which may hold dots and be longer.
pub(crate) fn prefix_of(server: &str) -> String {
    server.chars().map(|c| if c.is_ascii() && is_plain_byte(c as u8) { c } else { '_' }).take(40).collect()
}

fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn ends_like_a_digest(name: &str) -> bool {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    name.rsplit_once('_').is_some_and(|(_, end)| end.len() == DIGEST_CHARS && end.bytes().all(is_hex))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn names<'a>(prefixes: &[&'a str], taken: &[&'a str]) -> Names<'a> {
        Names { prefixes: prefixes.to_vec(), taken: taken.to_vec(), style: NameStyle::Underscore }
    }

    #[test]
    fn a_plain_name_is_a_prefix_and_a_name() {
        let names = names(&["ha", "docs"], &["read_file"]);
        assert_eq!(names.of("ha", "turn-on"), "ha_turn-on");
        let slash = Names { style: NameStyle::Slash, ..names };
        assert_eq!(slash.of("ha", "turn.on"), "ha/turn.on");
    }

    #[test]
    fn every_name_is_what_every_client_takes() {
        let names = names(&["ha"], &[]);
        for own in ["a.b", "a b", "ä", &"x".repeat(128), "", "a/b", "\u{200b}"] {
            let name = names.of("ha", own);
            assert!(name.len() <= NAME_CHARS_MAX && name.bytes().all(is_plain_byte), "{name}");
        }
    }

    /// Whatever names servers choose, two things never have one name.
    #[test]
    fn routing_is_a_bijection_for_any_tools_of_any_servers() {
        let prefixes = ["a", "a_b", "a_b_c", "b", "read"];
        let parts = [
            "a",
            "b",
            "c",
            "b_c",
            "c_d",
            "file",
            "a_b",
            "_",
            "b_c_000000000000",
            "x.y",
            "x_y",
            "0a1b2c3d4e5f",
        ];
        let names = names(&prefixes, &["read_file"]);
        let mut known: HashMap<String, (&str, String)> = HashMap::new();
        known.insert("read_file".to_owned(), ("", String::new()));
        let own: Vec<String> = parts
            .iter()
            .map(|part| (*part).to_owned())
            .chain(parts.iter().flat_map(|x| parts.iter().map(move |y| format!("{x}_{y}"))))
            .collect();
        for prefix in prefixes {
            let mut seen = std::collections::HashSet::new();
            for own in own.iter().filter(|own| seen.insert((*own).clone())) {
                let thing = (prefix, own.clone());
                if let Some(other) = known.insert(names.of(prefix, own), thing.clone()) {
                    panic!("{thing:?} and {other:?} are both `{}`", names.of(prefix, own));
                }
            }
        }
    }

    #[test]
    fn a_name_does_not_depend_on_what_else_is_offered() {
        let alone = names(&["ha"], &[]).of("ha", "turn_on");
        assert_eq!(names(&["ha", "zz"], &["read_file"]).of("ha", "turn_on"), alone);
        assert_eq!(names(&["zz", "ha"], &[]).of("ha", "turn_on"), alone);
    }

    #[test]
    fn names_of_other_systems_come_apart_at_their_first_mark() {
        assert_eq!(parted("ha/turn.on"), Some(("ha", "turn.on")));
        assert_eq!(parted("ha.turn/on"), Some(("ha", "turn/on")));
        for bad in ["ha_turn", "/x", "x/", "", "."] {
            assert_eq!(parted(bad), None, "{bad}");
        }
    }
}
