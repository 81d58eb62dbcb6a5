//! The words that name kinds and resources on the command line: `srv`, `server/ha`, `servers,secrets`, `graf*`, `all`.

use anyhow::anyhow;
use hayward_api::error::did_you_mean;
use hayward_api::kinds::{Descriptor, KINDS, MadeBy, Names, find};

use crate::failure::Failure;

/// What stands for every kind.
pub(crate) const ALL: &str = "all";

/// Resources of one kind that are meant: those of these names, or all.
pub(crate) struct Wanted {
    pub(crate) kind: &'static Descriptor,
    pub(crate) names: Vec<String>,
}

impl Wanted {
    /// The one name that is meant, if it is one and no pattern.
    pub(crate) fn one(&self) -> Option<&str> {
        match &self.names[..] {
            [name] if !is_pattern(name) => Some(name),
            _ => None,
        }
    }
}

/// The kind that a word names.
pub(crate) fn kind(word: &str) -> Result<&'static Descriptor, Failure> {
    let lower = word.to_lowercase();
    find(&lower).ok_or_else(|| {
        let shown: String = word.chars().take(80).collect();
        usage(format!("no kind is called `{shown}`")).hint(match meant(&lower) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the kinds are {}", plurals()),
        })
    })
}

/// The kind word that was meant by another.
pub(crate) fn meant(word: &str) -> Option<&'static str> {
    let words = KINDS.iter().flat_map(|kind| {
        [kind.name, kind.plural, kind.route].into_iter().chain(kind.aliases.iter().copied())
    });
    did_you_mean(word, words)
}

fn plurals() -> String {
    KINDS.iter().map(|kind| kind.plural).collect::<Vec<_>>().join(", ")
}

/// A command whose words can't be meant.
pub(crate) fn usage(message: String) -> Failure {
    Failure { error: anyhow!(message), hint: None, exit_code: Failure::USAGE }
}

/// What these words want: `KIND [NAME…]`, `KIND,KIND`, `KIND/NAME …`, `all`.
pub(crate) fn wanted(words: &[String]) -> Result<Vec<Wanted>, Failure> {
    let Some((first, rest)) = words.split_first() else { return Ok(Vec::new()) };
    if words.iter().any(|word| word.contains('/')) {
        return slashed(words);
    }
    let kinds = kinds(first)?;
    if kinds.len() > 1 && !rest.is_empty() {
        return Err(usage(format!("`{first}` are several kinds, so no name can follow"))
            .hint("write KIND/NAME for each"));
    }
    let names = |kind| rest.iter().map(|name| as_kept(kind, name)).collect();
    Ok(kinds.into_iter().map(|kind| Wanted { kind, names: names(kind) }).collect())
}

/// A name or pattern as names of the kind are kept: addresses of mail in lower case.
fn as_kept(kind: &Descriptor, name: &str) -> String {
    match kind.names {
        Names::Email => name.to_lowercase(),
        Names::Plain => name.to_owned(),
    }
}

/// The kinds of `all` or of a list with commas, in the order of the table.
fn kinds(list: &str) -> Result<Vec<&'static Descriptor>, Failure> {
    if list.eq_ignore_ascii_case(ALL) {
        // What nobody makes by hand is in no file that is to be applied.
        let is_made = |kind: &&Descriptor| kind.made_by == MadeBy::Anybody;
        return Ok(ordered().into_iter().filter(is_made).collect());
    }
    list.split(',').map(kind).collect()
}

/// Every kind, what others refer to first.
pub(crate) fn ordered() -> Vec<&'static Descriptor> {
    let mut kinds = KINDS.to_vec();
    kinds.sort_by_key(|kind| kind.order);
    kinds
}

fn slashed(words: &[String]) -> Result<Vec<Wanted>, Failure> {
    let mut all: Vec<Wanted> = Vec::new();
    for word in words {
        let (kind_word, name) =
            word.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
                usage(format!("`{word}` is no KIND/NAME, and the others are")).hint("write all of them alike")
            })?;
        let kind = kind(kind_word)?;
        match all.iter_mut().find(|wanted| std::ptr::eq(wanted.kind, kind)) {
            Some(wanted) => wanted.names.push(as_kept(kind, name)),
            None => all.push(Wanted { kind, names: vec![as_kept(kind, name)] }),
        }
    }
    Ok(all)
}

/// One resource: `KIND NAME` or `KIND/NAME`.
pub(crate) fn one(words: &[String]) -> Result<(&'static Descriptor, String), Failure> {
    let mut all = wanted(words)?;
    match (all.pop(), all.is_empty()) {
        (Some(Wanted { kind, names }), true) if names.len() == 1 && is_pattern(&names[0]) => {
            let told = format!("`{}` is a pattern, and this takes the name of one {}", names[0], kind.name);
            Err(usage(told).hint(format!("`hayward get {} '{}'` shows which there are", kind.name, names[0])))
        }
        (Some(Wanted { kind, mut names }), true) if names.len() == 1 => Ok((kind, names.remove(0))),
        _ => Err(usage("this takes one resource".to_owned()).hint("write KIND NAME, or KIND/NAME")),
    }
}

/// Whether a name is a pattern.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether a name is of a pattern, in which `*` stands for any characters and `?` for one.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where the last `*` was, and how far what it stands for reached.
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match (pattern.get(at), star) {
            (Some('*'), _) => {
                star = Some((at, seen));
                at += 1;
            }
            (Some(one), _) if *one == '?' || *one == name[seen] => (at, seen) = (at + 1, seen + 1),
            (_, Some((place, reached))) => {
                star = Some((place, reached + 1));
                (at, seen) = (place + 1, reached + 1);
            }
            _ => return false,
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_kind_is_found_by_every_word_of_its_and_a_misspelt_one_is_guessed() {
        for kind in KINDS {
            for word in [kind.name, kind.plural, kind.route].iter().chain(kind.aliases) {
                assert!(std::ptr::eq(super::kind(&word.to_uppercase()).unwrap(), *kind), "{word}");
            }
        }
        let failure = kind("tokns").err().unwrap();
        assert_eq!((failure.exit_code, failure.hint.as_deref()), (2, Some("did you mean `tokens`?")));
        assert!(kind("zebra").err().unwrap().hint.unwrap().contains("tokens"));
    }

    #[test]
    fn resources_are_named_behind_their_kind_or_with_it() {
        let named = wanted(&words(&["tok", "a", "b"])).unwrap();
        assert_eq!((named[0].kind.name, &named[0].names[..]), ("token", &words(&["a", "b"])[..]));
        let named = wanted(&words(&["token/a", "tokens/b"])).unwrap();
        assert_eq!((named.len(), named[0].names.len()), (1, 2));
        assert_eq!(wanted(&words(&["all"])).unwrap().len(), KINDS.len() - 1);
        assert!(wanted(&words(&["token/a", "b"])).is_err() && wanted(&words(&["token/"])).is_err());
        assert!(wanted(&words(&["token,token", "a"])).is_err());
        assert!(one(&words(&["token"])).is_err() && one(&words(&["token", "a", "b"])).is_err());
        assert_eq!(one(&words(&["token/a"])).unwrap().1, "a");
    }

    #[test]
    fn a_pattern_is_not_the_name_of_one_and_an_address_is_meant_however_it_is_written() {
        let failure = one(&words(&["server", "h*"])).err().unwrap();
        assert_eq!(failure.exit_code, 2);
        assert!(failure.error.to_string().contains("`h*` is a pattern"), "{}", failure.error);
        assert_eq!(one(&words(&["user", "ANN@Example.org"])).unwrap().1, "ann@example.org");
        assert_eq!(wanted(&words(&["user/ANN@example.org"])).unwrap()[0].names, ["ann@example.org"]);
        assert_eq!(one(&words(&["server", "Ha"])).unwrap().1, "Ha");
    }

    #[test]
    fn patterns_stand_for_names() {
        for (pattern, name, expect) in [
            ("graf*", "grafana", true),
            ("graf*", "my-graf", false),
            ("*fan*", "grafana", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }
}
