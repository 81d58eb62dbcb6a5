//! The table of credentials in memory: what `identify` reads, thousands of times a second.
//!
//! Readers take a snapshot without waiting; writers replace it whole. Whoever was identified a while
//! ago is asked for again with [`Credentials::is_current`]. Where records come from is the store's.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hayward_api::Principal;
use hayward_api::kinds::token::Role;
use hayward_api::principal::PrincipalKind;
use subtle::ConstantTimeEq;

use crate::token::{Digest, Token, TokenId};

/// What is known of one credential.
#[derive(Clone, Debug)]
pub struct CredentialRecord {
    /// Its public id.
    pub id: TokenId,
    /// The digest of its secret.
    pub digest: Digest,
    /// Whom it stands for.
    pub principal: Arc<Principal>,
    /// A disabled one is refused as if it did not exist.
    pub enabled: bool,
    /// From this second on (Unix time) it is refused; never if there is none.
    pub expires_at_unix: Option<i64>,
    /// The credential that it was made with, if it ends with that: by impersonation.
    pub made_with: Option<TokenId>,
}

impl CredentialRecord {
    fn is_live(&self, now_unix: i64) -> bool {
        self.enabled && self.expires_at_unix.is_none_or(|end| now_unix < end)
    }

    /// The same, and that what it was made with is live, too.
    fn is_live_in(&self, table: &Table, now_unix: i64) -> bool {
        let is_maker_live = |id| table.get(&id).is_some_and(|maker| maker.record.is_live(now_unix));
        self.is_live(now_unix) && self.made_with.is_none_or(is_maker_live)
    }
}

/// Why nobody was identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// What was shown is no token at all.
    #[error("credential does not have the form of a token")]
    Malformed,
    /// No such token. Also if it is wrong, disabled or expired: the caller can't tell which.
    #[error("unknown token")]
    Unknown,
}

type Table = HashMap<TokenId, Arc<Entry>>;

/// A record, and when it was last used.
#[derive(Debug)]
struct Entry {
    record: CredentialRecord,
    uses: Arc<Uses>,
}

impl Entry {
    /// What is known of its uses stays known if this only takes the place of one of the same id.
    fn instead_of(before: &Table, record: CredentialRecord) -> Arc<Self> {
        let uses = before.get(&record.id).map(|entry| Arc::clone(&entry.uses)).unwrap_or_default();
        Arc::new(Self { record, uses })
    }
}

/// When a credential was used (Unix time), 0 for never.
#[derive(Debug, Default)]
struct Uses {
    last: AtomicI64,
    /// The last one that [`Credentials::take_used`] gave out.
    taken: AtomicI64,
}

/// Every credential, as a snapshot that is replaced whole.
#[derive(Debug, Default)]
pub struct Credentials {
    table: ArcSwap<Table>,
    /// Those that no store has.
    temporary: Mutex<HashSet<TokenId>>,
}

impl Credentials {
    /// An empty table: everybody is unknown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts these records in the place of all that were there.
    pub fn replace(&self, records: &[CredentialRecord]) {
        self.table.rcu(|before| {
            let entry = |record: &CredentialRecord| (record.id, Entry::instead_of(before, record.clone()));
            records.iter().map(entry).collect::<Table>()
        });
    }

    /// Adds a record, or replaces the one of the same id.
    pub fn insert(&self, record: CredentialRecord) {
        self.change(&[], &[record]);
    }

    /// The same for one that no store has, which only this process lets in.
    pub fn insert_temporary(&self, record: CredentialRecord) {
        self.temporary.lock().unwrap_or_else(PoisonError::into_inner).insert(record.id);
        self.insert(record);
    }

    /// All but the temporary ones: those that are there because a store has them.
    pub fn stored(&self) -> Vec<TokenId> {
        let temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        self.table.load().keys().filter(|id| !temporary.contains(id)).copied().collect()
    }

    /// Removes these and adds those, or puts them in the place of those of the same id, in one step.
    pub fn change(&self, removed: &[TokenId], records: &[CredentialRecord]) {
        self.table.rcu(|before| {
            let mut table = Table::clone(before);
            for id in removed {
                table.remove(id);
            }
            let entry = |record: &CredentialRecord| (record.id, Entry::instead_of(before, record.clone()));
            table.extend(records.iter().map(entry));
            table
        });
    }

    /// Removes a record; says whether it was there.
    pub fn remove(&self, id: TokenId) -> bool {
        let before = self.table.rcu(|table| {
            let mut table = Table::clone(table);
            table.remove(&id);
            table
        });
        before.contains_key(&id)
    }

    /// The principal behind what was presented, at this second (Unix time).
    pub fn identify(&self, presented: &str, now_unix: i64) -> Result<Arc<Principal>, IdentifyError> {
        /// Stands in for the digest of an unknown id, so that it costs the same time as a known one.
        const DUMMY: Digest = Digest::from_bytes([0; 32]);
        let shown = Token::parse(presented).map_err(|_| IdentifyError::Malformed)?;
        let table = self.table.load();
        let entry = table.get(&shown.id);
        let digest = entry.map_or(&DUMMY, |found| &found.record.digest);
        let is_match: bool = digest.ct_eq(&shown.digest).into();
        match entry {
            Some(found) if is_match && found.record.is_live_in(&table, now_unix) => {
                found.uses.last.store(now_unix, Ordering::Relaxed);
                Ok(Arc::clone(&found.record.principal))
            }
            _ => Err(IdentifyError::Unknown),
        }
    }

    /// The principal behind the credential of this id, if that is accepted at this second (Unix time).
    pub fn principal(&self, id: TokenId, now_unix: i64) -> Option<Arc<Principal>> {
        let table = self.table.load();
        let entry = table.get(&id).filter(|entry| entry.record.is_live_in(&table, now_unix))?;
        Some(Arc::clone(&entry.record.principal))
    }

    /// How many are accepted at this second (Unix time), by role. Every role of a stored token is there.
    pub fn count_by_role(&self, now_unix: i64) -> Vec<(&'static str, u64)> {
        let table = self.table.load();
        let live = table.values().filter(|entry| entry.record.is_live_in(&table, now_unix));
        let roles: Vec<_> = live.map(|entry| entry.record.principal.role()).collect();
        let count = |word| roles.iter().filter(|role| **role == word).count();
        let counted = |role: Role| (role.as_str(), u64::try_from(count(role.as_str())).unwrap_or(u64::MAX));
        Role::ALL.map(counted).into()
    }

    /// Whether anybody of this kind would be let in at this second (Unix time).
    pub fn has_any(&self, kind: PrincipalKind, now_unix: i64) -> bool {
        let table = self.table.load();
        let is_live = |entry: &Arc<Entry>| entry.record.is_live_in(&table, now_unix);
        table.values().any(|entry| entry.record.principal.kind == kind && is_live(entry))
    }

    /// When a credential was last used (Unix time), as far as this process knows.
    pub fn last_used(&self, id: TokenId) -> Option<i64> {
        let table = self.table.load();
        let last = table.get(&id)?.uses.last.load(Ordering::Relaxed);
        Some(last).filter(|last| *last != 0)
    }

    /// Which credentials were used since this was last asked, and when (Unix time).
    pub fn take_used(&self) -> Vec<(TokenId, i64)> {
        let table = self.table.load();
        let used = table.iter().filter_map(|(id, entry)| {
            let last = entry.uses.last.load(Ordering::Relaxed);
            (entry.uses.taken.swap(last, Ordering::Relaxed) != last).then_some((*id, last))
        });
        used.collect()
    }

    /// The same for a principal whose fence was narrowed since, by that of a tool.
    pub fn is_current_within(&self, narrowed: &Principal, now_unix: i64) -> bool {
        let table = self.table.load();
        let Some(entry) = TokenId::parse(&narrowed.credential).and_then(|id| table.get(&id)) else {
            return self.is_current(narrowed, now_unix);
        };
        let known = &entry.record.principal;
        let (fence, tool_fences) = (known.fence.clone(), known.tool_fences.clone());
        self.is_current(&Principal { fence, tool_fences, ..narrowed.clone() }, now_unix)
    }

    /// Whether a principal that was identified earlier would still be the same one now.
    pub fn is_current(&self, principal: &Principal, now_unix: i64) -> bool {
        match principal.kind {
            PrincipalKind::Anonymous | PrincipalKind::Local => true,
            PrincipalKind::Token
            | PrincipalKind::Admin
            | PrincipalKind::Metrics
            | PrincipalKind::User
            | PrincipalKind::ServiceAccount => {
                let table = self.table.load();
                TokenId::parse(&principal.credential).and_then(|id| table.get(&id)).is_some_and(|entry| {
                    entry.record.is_live_in(&table, now_unix) && *entry.record.principal == *principal
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hayward_api::Tier;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn record(token: &Token) -> CredentialRecord {
        let principal = Principal {
            kind: PrincipalKind::Token,
            name: "ci".to_owned(),
            credential: token.id().to_string(),
            ceiling: Some(Tier::Read),
            min_protocol: None,
            fence: hayward_api::Fence::default(),
            tool_fences: hayward_api::fence::tools::ToolFences::default(),
            bounds: hayward_api::Bounds::default(),
            reach: hayward_api::Reach::default(),
            impersonator: None,
        };
        CredentialRecord {
            id: token.id(),
            digest: token.digest(),
            principal: Arc::new(principal),
            enabled: true,
            expires_at_unix: None,
            made_with: None,
        }
    }

    #[test]
    fn a_known_token_is_its_principal_until_it_is_removed() {
        let (credentials, token) = (Credentials::new(), Token::mint(Role::Ro));
        assert_eq!(credentials.identify(token.reveal(), NOW), Err(IdentifyError::Unknown));
        credentials.insert(record(&token));
        assert_eq!(credentials.identify(token.reveal(), NOW).unwrap().name, "ci");
        assert!(credentials.remove(token.id()));
        assert_eq!(credentials.identify(token.reveal(), NOW), Err(IdentifyError::Unknown));
        assert!(!credentials.remove(token.id()));
    }

    #[test]
    fn a_narrower_fence_is_the_same_credential_and_another_role_is_not() {
        let (credentials, token) = (Credentials::new(), Token::mint(Role::Ro));
        credentials.insert(record(&token));
        let known = credentials.identify(token.reveal(), NOW).unwrap();
        let fence = hayward_api::Fence { roots: vec!["/srv".into()], ..hayward_api::Fence::default() };
        let narrowed = Principal { fence, ..(*known).clone() };
        assert!(!credentials.is_current(&narrowed, NOW) && credentials.is_current_within(&narrowed, NOW));
        let other = Principal { ceiling: Some(Tier::Operate), ..narrowed.clone() };
        assert!(!credentials.is_current_within(&other, NOW));
        credentials.remove(token.id());
        assert!(!credentials.is_current_within(&narrowed, NOW));
    }

    #[test]
    fn a_use_is_told_once_and_a_refusal_is_none() {
        let (credentials, token) = (Credentials::new(), Token::mint(Role::Ro));
        credentials.insert(record(&token));
        credentials.identify(token.reveal(), NOW).unwrap();
        credentials.identify(Token::mint(Role::Ro).reveal(), NOW).unwrap_err();
        assert_eq!(credentials.last_used(token.id()), Some(NOW));
        assert_eq!(credentials.take_used(), [(token.id(), NOW)]);
        assert_eq!(credentials.take_used(), []);
        assert_eq!(credentials.last_used(token.id()), Some(NOW), "what was taken is known still");
    }

    #[test]
    fn uses_stay_known_when_a_record_takes_the_place_of_its_like() {
        let (credentials, token) = (Credentials::new(), Token::mint(Role::Ro));
        credentials.insert(record(&token));
        credentials.identify(token.reveal(), NOW).unwrap();
        credentials.insert(record(&token));
        assert_eq!(credentials.last_used(token.id()), Some(NOW));
        credentials.replace(&[record(&token)]);
        assert_eq!(credentials.take_used(), [(token.id(), NOW)]);
        credentials.remove(token.id());
        credentials.insert(record(&token));
        assert_eq!(credentials.last_used(token.id()), None, "another of the same id begins anew");
    }

    #[test]
    fn the_right_id_with_another_secret_is_unknown() {
        let (credentials, token) = (Credentials::new(), Token::mint(Role::Ro));
        let other = CredentialRecord { digest: Token::mint(Role::Ro).digest(), ..record(&token) };
        credentials.insert(other);
        assert_eq!(credentials.identify(token.reveal(), NOW), Err(IdentifyError::Unknown));
    }

    #[test]
    fn disabled_and_expired_tokens_are_refused_like_unknown_ones() {
        let (credentials, token) = (Credentials::new(), Token::mint(Role::Ro));
        credentials.insert(CredentialRecord { enabled: false, ..record(&token) });
        assert_eq!(credentials.identify(token.reveal(), NOW), Err(IdentifyError::Unknown));
        credentials.insert(CredentialRecord { expires_at_unix: Some(NOW), ..record(&token) });
        assert_eq!(credentials.identify(token.reveal(), NOW), Err(IdentifyError::Unknown));
        assert!(credentials.identify(token.reveal(), NOW - 1).is_ok());
    }

    #[test]
    fn what_was_made_with_a_credential_ends_with_it() {
        let (credentials, maker, made) = (Credentials::new(), Token::mint(Role::Ro), Token::mint(Role::Rw));
        credentials.insert(CredentialRecord { made_with: Some(maker.id()), ..record(&made) });
        assert_eq!(credentials.identify(made.reveal(), NOW), Err(IdentifyError::Unknown));
        credentials.insert(CredentialRecord { expires_at_unix: Some(NOW + 1), ..record(&maker) });
        let principal = credentials.identify(made.reveal(), NOW).unwrap();
        assert!(credentials.is_current(&principal, NOW) && !credentials.is_current(&principal, NOW + 1));
        assert_eq!(credentials.identify(made.reveal(), NOW + 1), Err(IdentifyError::Unknown));
        credentials.insert(CredentialRecord { enabled: false, ..record(&maker) });
        assert_eq!(credentials.identify(made.reveal(), NOW), Err(IdentifyError::Unknown));
        credentials.insert(record(&maker));
        assert!(credentials.identify(made.reveal(), NOW).is_ok());
        credentials.remove(maker.id());
        assert!(!credentials.is_current(&principal, NOW));
        assert_eq!(credentials.identify(made.reveal(), NOW), Err(IdentifyError::Unknown));
    }

    #[test]
    fn what_is_no_token_is_malformed_whatever_is_stored() {
        let (credentials, token) = (Credentials::new(), Token::mint(Role::Ro));
        credentials.insert(record(&token));
        for bad in ["", "hwd", &token.reveal()[1..], &format!("{}\0", token.reveal())] {
            assert_eq!(credentials.identify(bad, NOW), Err(IdentifyError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_replaced_table_forgets_what_was_there() {
        let (credentials, old, new) = (Credentials::new(), Token::mint(Role::Ro), Token::mint(Role::Rw));
        credentials.insert(record(&old));
        credentials.replace(&[record(&new)]);
        assert!(credentials.identify(old.reveal(), NOW).is_err());
        assert!(credentials.identify(new.reveal(), NOW).is_ok());
    }

    #[test]
    fn who_was_identified_before_a_revocation_is_not_current_after_it() {
        let (credentials, token) = (Credentials::new(), Token::mint(Role::Ro));
        credentials.insert(record(&token));
        let principal = credentials.identify(token.reveal(), NOW).unwrap();
        assert!(credentials.is_current(&principal, NOW));
        credentials.remove(token.id());
        assert!(!credentials.is_current(&principal, NOW));
    }

    #[test]
    fn a_changed_role_ends_what_the_old_one_opened() {
        let (credentials, token) = (Credentials::new(), Token::mint(Role::Rw));
        credentials.insert(record(&token));
        let principal = credentials.identify(token.reveal(), NOW).unwrap();
        let lowered = Principal { ceiling: None, ..Principal::clone(&principal) };
        credentials.insert(CredentialRecord { principal: Arc::new(lowered), ..record(&token) });
        assert!(!credentials.is_current(&principal, NOW));
        assert!(credentials.is_current(&Principal::local("root", Tier::Read), NOW));
        assert!(credentials.is_current(&Principal::anonymous(), NOW));
    }

    #[test]
    fn who_is_let_in_is_counted_by_role() {
        let (credentials, ro, metrics) =
            (Credentials::new(), Token::mint(Role::Ro), Token::mint(Role::Metrics));
        credentials.insert(CredentialRecord { expires_at_unix: Some(NOW), ..record(&ro) });
        let watcher = Principal {
            kind: PrincipalKind::Metrics,
            ceiling: None,
            ..Principal::clone(&record(&metrics).principal)
        };
        credentials.insert(CredentialRecord { principal: Arc::new(watcher), ..record(&metrics) });
        let before = [("ro", 1), ("rw", 0), ("admin", 0), ("metrics", 1), ("account", 0)];
        assert_eq!(credentials.count_by_role(NOW - 1), before);
        assert_eq!(credentials.count_by_role(NOW)[0], ("ro", 0));
        assert!(credentials.has_any(PrincipalKind::Metrics, NOW));
        assert!(
            !credentials.has_any(PrincipalKind::Token, NOW)
                && !credentials.has_any(PrincipalKind::Admin, NOW)
        );
    }

    #[test]
    fn concurrent_writers_lose_no_change() {
        let credentials = Credentials::new();
        let tokens: Vec<Token> = (0..64).map(|_| Token::mint(Role::Ro)).collect();
        std::thread::scope(|scope| {
            for half in tokens.chunks(16) {
                scope.spawn(|| half.iter().for_each(|token| credentials.insert(record(token))));
            }
        });
        assert!(tokens.iter().all(|token| credentials.identify(token.reveal(), NOW).is_ok()));
    }
}
