//! Who is identified by a token, as a property of every change that can be made to it.
#![cfg(test)]

use std::sync::Arc;

use crc::{CRC_32_ISO_HDLC, Crc};
use hayward_api::kinds::token::Role;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Principal, Tier};
use hayward_auth::{CredentialRecord, Credentials, Token};
use proptest::prelude::*;
use proptest::sample::Index;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECKSUM: usize = 6;
const ID_AND_SECRET: usize = 44;

/// What somebody does to a token, at some of its characters.
#[derive(Clone, Debug)]
enum Change {
    Replace(Index, char),
    Insert(Index, char),
    Remove(Index),
    Swap(Index, Index),
    Cut(Index),
    /// From here on, it is the end of another token.
    Graft(Index),
}

impl Change {
    fn apply(&self, text: &str, other: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        let count = letters.len().max(1);
        if letters.is_empty() {
            return String::new();
        }
        match self {
            Self::Replace(at, letter) => letters[at.index(count)] = *letter,
            Self::Insert(at, letter) => letters.insert(at.index(count + 1), *letter),
            Self::Remove(at) => drop(letters.remove(at.index(count))),
            Self::Swap(one, two) => letters.swap(one.index(count), two.index(count)),
            Self::Cut(at) => letters.truncate(at.index(count)),
            Self::Graft(at) => {
                let at = at.index(count);
                letters.truncate(at);
                letters.extend(other.chars().skip(at));
            }
        }
        letters.into_iter().collect()
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    // Mostly what could stand there, so that the mutation gets past the first look at its shape.
    let letter = || prop_oneof![4 => "[0-9A-Za-z]", 1 => "[ -~]", 1 => "\\PC"];
    let letter = move || letter().prop_map(|text| text.chars().next().unwrap_or('x'));
    prop_oneof![
        4 => (at(), letter()).prop_map(|(at, letter)| Change::Replace(at, letter)),
        1 => (at(), letter()).prop_map(|(at, letter)| Change::Insert(at, letter)),
        1 => at().prop_map(Change::Remove),
        2 => (at(), at()).prop_map(|(one, two)| Change::Swap(one, two)),
        1 => at().prop_map(Change::Cut),
        2 => at().prop_map(Change::Graft),
    ]
}

/// Makes the checksum right, as anybody can.
fn seal(text: &str) -> String {
    let keep = text.char_indices().rev().nth(CHECKSUM - 1).map_or(0, |(at, _)| at);
    let body = &text[..keep];
    let mut number = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(body.as_bytes());
    let mut digits = ['0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = char::from(ALPHABET[(number % 62) as usize]);
        number /= 62;
    }
    body.chars().chain(digits).collect()
}

/// What identifies: a token without the word for its role, which is for the eyes, and its checksum.
fn identity(text: &str) -> &str {
    let end = text.len().saturating_sub(CHECKSUM);
    end.checked_sub(ID_AND_SECRET).and_then(|from| text.get(from..end)).unwrap_or_default()
}

fn add(credentials: &Credentials, token: &Token, role: Role) {
    let principal = Principal {
        kind: PrincipalKind::Token,
        name: role.as_str().to_owned(),
        credential: token.id().to_string(),
        ceiling: role.ceiling(),
        min_protocol: None,
        fence: hayward_api::Fence::default(),
        tool_fences: hayward_api::fence::tools::ToolFences::default(),
        bounds: hayward_api::Bounds::default(),
        reach: hayward_api::Reach::default(),
        impersonator: None,
    };
    credentials.insert(CredentialRecord {
        id: token.id(),
        digest: token.digest(),
        principal: Arc::new(principal),
        enabled: true,
        expires_at_unix: None,
        made_with: None,
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_changed_token_is_accepted_even_if_its_checksum_is_made_right(
        changes in prop::collection::vec(change(), 1..4),
        is_sealed in any::<bool>(),
    ) {
        let credentials = Credentials::new();
        let (token, other) = (Token::mint(Role::Rw), Token::mint(Role::Rw));
        add(&credentials, &token, Role::Rw);
        add(&credentials, &other, Role::Rw);
        let text = token.reveal();
        prop_assert!(credentials.identify(text, 0).is_ok());
        let changed = changes.iter().fold(text.to_owned(), |text, change| change.apply(&text, other.reveal()));
        let changed = if is_sealed { seal(&changed) } else { changed };
        prop_assume!(changed != text && changed != other.reveal());
        if identity(&changed) != identity(text) && identity(&changed) != identity(other.reveal()) {
            prop_assert!(credentials.identify(&changed, 0).is_err(), "{changed}");
        }
        if !is_sealed {
            prop_assert!(credentials.identify(&changed, 0).is_err(), "{changed}");
        }
    }
}

#[test]
fn a_token_whose_word_for_the_role_was_changed_gets_what_its_record_says_and_no_more() {
    let credentials = Credentials::new();
    let token = Token::mint(Role::Ro);
    add(&credentials, &token, Role::Ro);
    for role in ["rw", "admin"] {
        let changed = token.reveal().replace("hwd_ro_", &format!("hwd_{role}_"));
        assert!(credentials.identify(&changed, 0).is_err(), "{role}");
        let principal = credentials.identify(&seal(&changed), 0).unwrap();
        assert_eq!((principal.kind, principal.ceiling), (PrincipalKind::Token, Some(Tier::Read)), "{role}");
    }
    let invented = token.reveal().replace("hwd_ro_", "hwd_root_");
    assert!(credentials.identify(&seal(&invented), 0).is_err());
}
