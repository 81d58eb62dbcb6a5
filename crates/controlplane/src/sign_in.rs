//! Signing in: the one way to the store that needs no permission, because it is where permissions begin.
//!
//! What it can do is bounded by its functions: the first user, a login for whoever knows a password, a user for whoever holds
//! an invite. Guesses cost time, see [`hayward_auth::guesses`].

mod invites;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hayward_api::kinds::user::UserSpec;
use hayward_api::kinds::{self, Descriptor};
use hayward_api::{Code, Error, Time};
use hayward_auth::guesses::{Early, Guess, Guesses};
use hayward_auth::password::{self, PasswordHash};
use hayward_auth::{Operation, Purpose, Token, TokenId};
use hayward_store::{
    Actor, Desired, EndLogins, Impersonator, NewLogin, Resource, Store, StoreError, Transaction,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::limits::{Limits, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, ROOM_PATIENCE};
use crate::refusal::Refusal;
use crate::snapshots::Snapshots;

/// The group of the first user.
const ADMINS: &str = "admin";

/// Where people come in.
pub(crate) struct Entrance {
    store: Store,
    snapshots: Arc<Snapshots>,
    guesses: Mutex<Guesses>,
    /// Told when a guess is over.
    room: Notify,
    hashing: Arc<Semaphore>,
    lifetime_s: i64,
    /// How long somebody waits for a hash.
    patience: Duration,
    shutdown: CancellationToken,
}

/// Somebody who is signed in.
pub(crate) struct SignedIn {
    pub(crate) token: Token,
    pub(crate) expires_at_unix: i64,
    pub(crate) user: Resource,
}

/// What lets somebody in as a user.
#[derive(Clone, Copy)]
pub(crate) enum Shown<'a> {
    /// Its password, which must still be that when the login begins.
    Password(&'a PasswordHash),
    /// The right to act as it.
    Impersonator(Impersonator<'a>),
}

impl Entrance {
    pub(crate) fn new(
        store: Store,
        snapshots: Arc<Snapshots>,
        limits: &Limits,
        shutdown: CancellationToken,
    ) -> Self {
        let places = usize::try_from(limits.password_hashes_max).unwrap_or(1);
        let lifetime_s = i64::try_from(limits.login_lifetime_ms / 1000).unwrap_or(i64::MAX);
        Self {
            store,
            snapshots,
            guesses: Mutex::default(),
            room: Notify::new(),
            hashing: Arc::new(Semaphore::new(places)),
            lifetime_s,
            patience: Duration::from_millis(limits.answer_timeout_ms),
            shutdown,
        }
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<PasswordHash, Refusal> {
        bearable(&password)?;
        self.hashed(move || password::hash(&password)).await
    }

    /// The digest of the password of a user, unless it is the one that there is. It takes the same time if it is, if it
    /// isn't, and if there is no such user.
    pub(crate) async fn fresh(&self, email: &str, password: String) -> Result<Option<PasswordHash>, Refusal> {
        bearable(&password)?;
        let stored = match self.user(email).await? {
            Some(user) => self.stored(&user).await?,
            None => None,
        };
        self.hashed(move || {
            let is_same = password::verify(&password, stored.as_ref())?;
            let digest = password::hash(&password)?;
            Ok((!is_same).then_some(digest))
        })
        .await
    }

    /// Does what takes long and much memory, a few at once, and nothing of it any more at the shutdown or when it takes
    /// too long.
    async fn hashed<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Refusal> {
        let lost = || Error::new(Code::Unavailable, "no password can be hashed now");
        let work = async {
            let place = Arc::clone(&self.hashing).acquire_owned().await.map_err(|_| lost())?;
            let work = move || {
                // It is taken until the work is done, also if nobody waits for it any more.
                let _place = place;
                work()
            };
            tokio::task::spawn_blocking(work).await.map_err(|_| lost())?
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(lost().into()),
            done = timeout(self.patience, work) => Ok(done.map_err(|_| lost())??),
        }
    }

    /// Whether there is a user.
    pub(crate) async fn has_users(&self) -> Result<bool, Refusal> {
        Ok(self.store.has_users().await?)
    }

    /// Makes the first user with everything that lets it do everything, or says that there is one.
    pub(crate) async fn bootstrap(
        &self,
        (email, name, password): (&str, Option<&str>, String),
        actor: &Actor,
        still: impl FnOnce() -> Result<(), Error>,
    ) -> Result<SignedIn, Refusal> {
        let email = kinds::Names::Email.canonical(email)?;
        // Hashing is dear, and of no use any more.
        if self.has_users().await? {
            return Err(StoreError::Done { what: "there is a first user already" }.into());
        }
        let digest = self.hash(password).await?;
        let wanted = first(&email, name, digest.clone())?;
        let mut change = self.snapshots.begin().await?;
        still()?;
        let made = change.bootstrap(&wanted, actor).await.map_err(in_the_way)?;
        let user = made.into_iter().next().ok_or_else(|| Error::new(Code::Internal, "no user was made"))?;
        self.sign_in_with(change, user, Shown::Password(&digest)).await
    }

    /// Signs in by password. What is wrong isn't said: an account that there isn't takes as long as a wrong password.
    pub(crate) async fn login(
        &self,
        email: &str,
        password: String,
        address: Option<IpAddr>,
    ) -> Result<SignedIn, Refusal> {
        let proven = self.proven(email, password, address).await?;
        let (user, digest) = proven.ok_or_else(wrong)?;
        self.sign_in(user, Shown::Password(&digest)).await
    }

    /// The user of this address, if this is its password and it may sign in, and the digest that it was compared with:
    /// by the time that somebody acts on it, it may be another one.
    async fn proven(
        &self,
        email: &str,
        password: String,
        address: Option<IpAddr>,
    ) -> Result<Option<(Resource, PasswordHash)>, Refusal> {
        let trying = self.try_at(email, address, "too many wrong passwords").await?;
        let found = self.user(email).await?;
        let stored = match &found {
            Some(user) => self.stored(user).await?,
            None => None,
        };
        let compared = move || Ok((password::verify(&password, stored.as_ref())?, stored));
        let (is_right, stored) = self.hashed(compared).await?;
        let proven = found.filter(|user| is_right && may_sign_in(user)).zip(stored);
        if proven.is_some() {
            trying.was_right();
        }
        Ok(proven)
    }

    /// Gives somebody who knows the password of this account another one. All its logins end; this is a new one.
    pub(crate) async fn change_password(
        &self,
        email: &str,
        (old, new): (String, String),
        address: Option<IpAddr>,
        actor: &Actor,
    ) -> Result<SignedIn, Refusal> {
        bearable(&new)?;
        if old == new {
            return Err(Refusal::invalid("the new password is the old one").at("new"));
        }
        let proven = self.proven(email, old, address).await?;
        let wrong = || Refusal::invalid("the old password is wrong").at("old");
        let (user, compared) = proven.ok_or_else(wrong)?;
        let digest = self.hash(new).await?;
        let metadata = &user.metadata;
        let desired = Desired {
            labels: metadata.labels.clone(),
            annotations: metadata.annotations.clone(),
            password: Some(digest.clone()),
            ..Desired::new(user_kind()?, None, metadata.name.as_str(), user.spec.clone())
        };
        let mut change = self.snapshots.begin().await?;
        // Nobody else changes it from here on.
        if self.stored(&user).await?.as_ref().map(PasswordHash::as_str) != Some(compared.as_str()) {
            return Err(wrong());
        }
        let user = change.update(&desired.key(), Some(metadata.resource_version), &desired, actor).await?;
        self.sign_in_with(change, user, Shown::Password(&digest)).await
    }

    /// Begins a guess, when there is room for one: many at once are no more guesses than one after the other.
    async fn try_at(
        &self,
        account: &str,
        address: Option<IpAddr>,
        refused: &str,
    ) -> Result<Trying<'_>, Refusal> {
        let begun = async {
            loop {
                // Listening begins before the look, so that no end is missed in between.
                let room = self.room.notified();
                let begun = self.guesses().begin(account, address, unix());
                match begun {
                    Ok(guess) => return Ok(Trying { entrance: self, guess: Some(guess) }),
                    Err(Early::Wait(wait)) => return Err(wait),
                    Err(Early::Crowded) => room.await,
                }
            }
        };
        let begun = timeout(ROOM_PATIENCE, begun).await.unwrap_or(Err(1));
        begun.map_err(|wait| {
            let refusal = Refusal::new(Code::RateLimited, refused);
            refusal.hint(format!("go on in {wait} s")).retry_after(wait)
        })
    }

    /// The digest of the password of a user, if it has one.
    async fn stored(&self, user: &Resource) -> Result<Option<PasswordHash>, Refusal> {
        Ok(self.store.password(&user.metadata.uid).await?)
    }

    /// A login for this user.
    async fn sign_in(&self, user: Resource, shown: Shown<'_>) -> Result<SignedIn, Refusal> {
        self.sign_in_if(user, shown, || Ok(())).await
    }

    /// The same, if whoever asked for it still may when nothing else can come between.
    pub(crate) async fn sign_in_if(
        &self,
        user: Resource,
        shown: Shown<'_>,
        still: impl FnOnce() -> Result<(), Error>,
    ) -> Result<SignedIn, Refusal> {
        let change = self.snapshots.begin().await?;
        still()?;
        self.sign_in_with(change, user, shown).await
    }

    /// Begins a login with all else that a change does, and makes that change.
    async fn sign_in_with(
        &self,
        mut change: Transaction,
        user: Resource,
        shown: Shown<'_>,
    ) -> Result<SignedIn, Refusal> {
        let (token, created_unix) = (Token::mint(Purpose::Login), Timestamp::now().as_second());
        let (password, impersonator) = match shown {
            Shown::Password(digest) => (Some(digest), None),
            Shown::Impersonator(by) => (None, Some(by)),
        };
        let login = NewLogin {
            id: token.id(),
            digest: token.digest(),
            user: &user.metadata.uid,
            created_unix,
            expires_unix: created_unix.saturating_add(self.lifetime_s),
            password,
            impersonator,
        };
        change.create_login(&login, &Actor::system()).await.map_err(|error| match error {
            // Changed while it was compared: it was wrong, only later.
            StoreError::Done { .. } => wrong(),
            error => error.into(),
        })?;
        let expires_at_unix = login.ends_unix();
        self.snapshots.commit(change).await?;
        Ok(SignedIn { token, expires_at_unix, user })
    }

    /// Ends a login; whoever shows another credential has none to end.
    pub(crate) async fn sign_out(&self, credential: &str, actor: &Actor) -> Result<bool, Refusal> {
        let Some(id) = TokenId::parse(credential) else { return Ok(false) };
        let mut change = self.snapshots.begin().await?;
        let ended = change.delete_logins(EndLogins::One(id), actor).await?;
        self.snapshots.commit(change).await?;
        Ok(!ended.is_empty())
    }

    /// The user of this address.
    pub(crate) async fn user(&self, email: &str) -> Result<Option<Resource>, Refusal> {
        let email = email.to_lowercase();
        match self.store.find(user_kind()?, Some(None), &email).await {
            Ok(user) => Ok(Some(user).filter(|user| user.metadata.name.as_str() == email)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn guesses(&self) -> std::sync::MutexGuard<'_, Guesses> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guess that is under way. Dropped, it was wrong.
struct Trying<'a> {
    entrance: &'a Entrance,
    guess: Option<Guess>,
}

impl Trying<'_> {
    fn was_right(mut self) {
        if let Some(guess) = self.guess.take() {
            self.entrance.guesses().right(guess, unix());
        }
    }

    fn take_back(mut self) {
        if let Some(guess) = self.guess.take() {
            self.entrance.guesses().take_back(guess);
        }
    }
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if let Some(guess) = self.guess.take() {
            self.entrance.guesses().wrong(guess, unix());
        }
        self.entrance.room.notify_waiters();
    }
}

/// What the first user needs is there already, and somebody else's.
fn in_the_way(error: StoreError) -> Refusal {
    let StoreError::AlreadyExists { kind, name } = &error else { return error.into() };
    let hint =
        format!("look at it, then delete it with the administrator's token: `hayward delete {kind} {name}`");
    let error = Error::from(error);
    Refusal::from(Error { hint: Some(hint), ..error })
}

/// What whoever signs in in vain is told.
fn wrong() -> Refusal {
    Refusal::new(Code::Unauthenticated, "the email or the password is wrong")
}

/// Whether a password is long enough, and not too long.
pub(crate) fn bearable(password: &str) -> Result<(), Error> {
    if password.chars().count() >= PASSWORD_CHARS_MIN && password.len() <= PASSWORD_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "a password has {PASSWORD_CHARS_MIN} characters at least and {PASSWORD_BYTES_MAX} bytes at most"
    );
    Err(Error::new(Code::Invalid, message))
}

/// A user with a password.
fn user<'a>(email: &'a str, name: Option<&str>, digest: PasswordHash) -> Result<Desired<'a>, Error> {
    let kind = user_kind()?;
    let spec = (kind.read)(name.map_or_else(|| json!({}), |name| json!({ "name": name })))?;
    Ok(Desired { password: Some(digest), ..Desired::new(kind, None, email, spec) })
}

/// The first user, its group, and the rule that lets that do everything.
fn first<'a>(email: &'a str, name: Option<&str>, digest: PasswordHash) -> Result<[Desired<'a>; 3], Error> {
    let kind = |name| {
        kinds::find(name).ok_or_else(|| Error::new(Code::Internal, format!("there is no kind `{name}`")))
    };
    let (group, rbac) = (kind("group")?, kind("rbac")?);
    let mut account = user(email, name, digest)?;
    account.spec["role"] = "ADMIN".into();
    let operations: Vec<Value> = Operation::ALL
        .iter()
        .map(|operation| json!({ "role": "run", "action": operation.as_str() }))
        .collect();
    let bindings: Vec<Value> = ["edit", "run"]
        .iter()
        .map(|role| json!({ "role": role, "resource": "*" }))
        .chain(operations)
        .collect();
    let rules = json!({ "subjects": [{ "kind": "Group", "name": ADMINS }], "roleBindings": bindings });
    let members = json!({ "description": "Whoever may do everything.", "members": [email] });
    Ok([
        account,
        Desired::new(group, None, ADMINS, (group.read)(members)?),
        Desired::new(rbac, None, "bootstrap-admin", (rbac.read)(rules)?),
    ])
}

/// The kind of users.
pub(crate) fn user_kind() -> Result<&'static Descriptor, Error> {
    kinds::find("user").ok_or_else(|| Error::new(Code::Internal, "there are no users"))
}

/// Whether a user may sign in at this moment: programs have tokens.
pub(crate) fn may_sign_in(user: &Resource) -> bool {
    let Ok(spec) = user.spec::<UserSpec>() else { return false };
    let now = Timestamp::now().as_second();
    !spec.disabled
        && !spec.service_account
        && spec.expires_at.as_ref().is_none_or(|end: &Time| end.unix() > now)
}

fn unix() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}
