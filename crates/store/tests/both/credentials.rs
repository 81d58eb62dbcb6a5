//! Logins, invites, the first user, and who is let in as whom.

use hayward_api::principal::PrincipalKind;
use hayward_auth::password::PasswordHash;
use hayward_auth::{Credentials, Purpose, Token};
use hayward_store::{EndLogins, Impersonator, LOGIN, NewInvite, NewLogin, Store, StoreError};
use serde_json::json;

use crate::home::{Home, actor, both, create, delete, key, kind, update, wanted};

both! {
    a_login_lets_in_until_it_ends_or_its_user_does
    a_login_by_impersonation_ends_with_its_maker
    a_new_password_ends_all_logins_of_the_user
    a_login_by_a_password_that_was_changed_meanwhile_is_refused
    a_token_of_an_account_is_that_account
    the_end_of_a_token_is_what_its_spec_says_now
    an_invite_is_redeemed_once
    of_many_first_users_one_is_the_first
}

const NOW: i64 = 1_800_000_000;
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const OTHER_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$b3RoZXJzYWx0b3RoZXI$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

async fn known(store: &Store) -> Credentials {
    let credentials = Credentials::new();
    credentials.replace(&store.credential_records().await.unwrap());
    credentials
}

fn login<'a>(token: &Token, user: &'a str, impersonator: Option<Impersonator<'a>>) -> NewLogin<'a> {
    let (id, digest) = (token.id(), token.digest());
    NewLogin { id, digest, user, created_unix: NOW, expires_unix: NOW + 100, password: None, impersonator }
}

async fn a_login_lets_in_until_it_ends_or_its_user_does(home: &Home) {
    let store = home.open().await;
    let mut ann = wanted("user", "ann@x.org", json!({}));
    ann.password = Some(PasswordHash::parse(HASH).unwrap());
    let ann = store.create(&ann, &actor()).await.unwrap().metadata.uid;
    assert_eq!(store.password(&ann).await.unwrap().unwrap().as_str(), HASH);
    let (own, other) = (Token::mint(Purpose::Login), Token::mint(Purpose::Login));
    let (boss, by) =
        (create(&store, "user", "boss@x.org", json!({})).await.metadata.uid, Token::mint(Purpose::Login));
    store.create_login(&login(&by, &boss, None), &actor()).await.unwrap();
    let boss = Impersonator { name: "boss@x.org", credential: by.id() };
    let from = store.revision().await.unwrap();
    store.create_login(&login(&own, &ann, None), &actor()).await.unwrap();
    store.create_login(&login(&other, &ann, Some(boss)), &actor()).await.unwrap();
    assert!(
        store.create_login(&login(&Token::mint(Purpose::Login), "nobody", None), &actor()).await.is_err()
    );
    let credentials = known(&store).await;
    let principal = credentials.identify(own.reveal(), NOW).unwrap();
    assert_eq!((principal.kind, principal.name.as_str()), (PrincipalKind::User, "ann@x.org"));
    assert!(principal.ceiling.is_none() && principal.impersonator.is_none());
    let principal = credentials.identify(other.reveal(), NOW).unwrap();
    assert_eq!(principal.impersonator.as_deref(), Some("boss@x.org"));
    assert!(credentials.identify(own.reveal(), NOW + 100).is_err());

    let change = store.watch(from).await.unwrap().next().await.unwrap();
    assert_eq!((change.kind.as_str(), change.uid.as_str()), (LOGIN, ann.as_str()));
    assert!(change.before.is_none() && change.after.is_none());

    store.flush_last_used(&[(own.id(), NOW + 5)]).await.unwrap();
    assert_eq!(store.list_logins(Some(&ann)).await.unwrap().len(), 2);
    assert_eq!(store.delete_logins(EndLogins::One(own.id()), &actor()).await.unwrap(), [own.id()]);
    assert!(known(&store).await.identify(own.reveal(), NOW).is_err());
    update(&store, "user", "ann@x.org", json!({"disabled": true})).await.unwrap();
    assert!(known(&store).await.identify(other.reveal(), NOW).is_err());
    update(&store, "user", "ann@x.org", json!({})).await.unwrap();
    assert!(known(&store).await.identify(other.reveal(), NOW).is_ok());
    delete(&store, "user", "ann@x.org").await.unwrap();
    assert!(known(&store).await.identify(other.reveal(), NOW).is_err());
    assert_eq!(store.list_logins(None).await.unwrap().len(), 1);
    store.close().await;
}

async fn a_login_by_impersonation_ends_with_its_maker(home: &Home) {
    let store = home.open().await;
    let uid = async |name| create(&store, "user", name, json!({})).await.metadata.uid;
    let (ann, boss) = (uid("ann@x.org").await, uid("boss@x.org").await);
    let act = async |lasts| {
        let (by, acting) = (Token::mint(Purpose::Login), Token::mint(Purpose::Login));
        store.create_login(&login(&by, &boss, None), &actor()).await.unwrap();
        let impersonator = Some(Impersonator { name: "user:boss@x.org", credential: by.id() });
        let acting_login = NewLogin { expires_unix: NOW + lasts, ..login(&acting, &ann, impersonator) };
        store.create_login(&acting_login, &actor()).await.unwrap();
        (by, acting, acting_login.ends_unix())
    };
    let lets_in = async |token: &Token| known(&store).await.identify(token.reveal(), NOW).is_ok();

    let (by, acting, ends) = act(1_000_000).await;
    assert_eq!(ends, NOW + 3_600, "an hour at most");
    assert_eq!(store.list_logins(Some(&ann)).await.unwrap()[0].expires_unix, ends);
    assert!(lets_in(&acting).await);
    for over in [json!({"disabled": true}), json!({"expiresAt": "2020-01-01T00:00:00Z"})] {
        update(&store, "user", "boss@x.org", over).await.unwrap();
        assert!(!lets_in(&acting).await);
        update(&store, "user", "boss@x.org", json!({})).await.unwrap();
        assert!(lets_in(&acting).await);
    }
    let ended = store.delete_logins(EndLogins::One(by.id()), &actor()).await.unwrap();
    assert!(ended.len() == 2 && ended.contains(&acting.id()));
    assert!(!lets_in(&acting).await && store.list_logins(Some(&ann)).await.unwrap().is_empty());

    let (_, acting, _) = act(100).await;
    store.delete_logins(EndLogins::OfUser(&boss), &actor()).await.unwrap();
    assert!(!lets_in(&acting).await);
    let (_, acting, ends) = act(100).await;
    assert_eq!(ends, NOW + 100);
    assert!(lets_in(&acting).await);
    delete(&store, "user", "boss@x.org").await.unwrap();
    assert!(!lets_in(&acting).await);
    store.close().await;
}

async fn a_new_password_ends_all_logins_of_the_user(home: &Home) {
    let store = home.open().await;
    let elsewhere = home.open().await;
    let uid = async |name| create(&store, "user", name, json!({})).await.metadata.uid;
    let (ann, bob) = (uid("ann@x.org").await, uid("bob@x.org").await);
    let (of_ann, of_bob) = (Token::mint(Purpose::Login), Token::mint(Purpose::Login));
    store.create_login(&login(&of_ann, &ann, None), &actor()).await.unwrap();
    store.create_login(&login(&of_bob, &bob, None), &actor()).await.unwrap();
    update(&store, "user", "ann@x.org", json!({"name": "Ann"})).await.unwrap();
    assert!(known(&elsewhere).await.identify(of_ann.reveal(), NOW).is_ok());
    let mut watch = elsewhere.watch(elsewhere.revision().await.unwrap()).await.unwrap();
    let mut new = wanted("user", "ann@x.org", json!({"name": "Ann"}));
    new.password = Some(PasswordHash::parse(HASH).unwrap());
    let updated = store.update(&key("user", "ann@x.org"), None, &new, &actor()).await.unwrap();
    for store in [&store, &elsewhere] {
        let credentials = known(store).await;
        assert!(credentials.identify(of_ann.reveal(), NOW).is_err());
        assert!(credentials.identify(of_bob.reveal(), NOW).is_ok());
    }
    if home.url.is_some() {
        let told = [watch.next().await.unwrap(), watch.next().await.unwrap()];
        assert_eq!(told[0].revision, updated.metadata.resource_version);
        assert_eq!((told[1].kind.as_str(), told[1].name.as_str()), (LOGIN, of_ann.id().as_str()));
    }
    store.close().await;
    elsewhere.close().await;
}

async fn a_login_by_a_password_that_was_changed_meanwhile_is_refused(home: &Home) {
    let store = home.open().await;
    let (old, new) = (PasswordHash::parse(HASH).unwrap(), PasswordHash::parse(OTHER_HASH).unwrap());
    let with = |password: &PasswordHash| {
        let password = Some(password.clone());
        hayward_store::Desired { password, ..wanted("user", "ann@x.org", json!({})) }
    };
    let ann = store.create(&with(&old), &actor()).await.unwrap().metadata.uid;
    let by = async |password| {
        let token = Token::mint(Purpose::Login);
        let shown = NewLogin { password: Some(password), ..login(&token, &ann, None) };
        store.create_login(&shown, &actor()).await.map(|()| token)
    };
    assert!(by(&new).await.is_err());
    let before = by(&old).await.unwrap();
    // Whoever comes while it is being changed waits for how that ends.
    let mut change = store.begin().await.unwrap();
    change.update(&key("user", "ann@x.org"), None, &with(&new), &actor()).await.unwrap();
    let pause = tokio::time::sleep(std::time::Duration::from_millis(200));
    let changed = async {
        pause.await;
        change.commit().await.unwrap();
    };
    let (late, ()) = futures_util::future::join(by(&old), changed).await;
    assert!(matches!(late, Err(StoreError::Done { .. })), "{:?}", late.err());
    let after = by(&new).await.unwrap();
    let credentials = known(&store).await;
    assert!(credentials.identify(before.reveal(), NOW).is_err());
    assert!(credentials.identify(after.reveal(), NOW).is_ok());
    assert_eq!(store.list_logins(Some(&ann)).await.unwrap().len(), 1);
    store.close().await;
}

async fn a_token_of_an_account_is_that_account(home: &Home) {
    let store = home.open().await;
    create(&store, "user", "bot@x.org", json!({"serviceAccount": true})).await;
    let spec = serde_json::from_value::<hayward_api::kinds::token::TokenSpec>(
        json!({"role": "account", "account": "bot@x.org"}),
    );
    let (_, token) = store.create_token("ci", spec.unwrap(), &actor()).await.unwrap();
    let principal = known(&store).await.identify(token.reveal(), NOW).unwrap();
    assert_eq!((principal.kind, principal.name.as_str()), (PrincipalKind::ServiceAccount, "bot@x.org"));
    assert_eq!(principal.credential, token.id().to_string());
    assert!(matches!(delete(&store, "user", "bot@x.org").await, Err(StoreError::Referred { .. })));
    let past = json!({"serviceAccount": true, "expiresAt": "2020-01-01T00:00:00Z"});
    update(&store, "user", "bot@x.org", past).await.unwrap();
    assert!(known(&store).await.identify(token.reveal(), NOW).is_err());
    store.close().await;
}

async fn the_end_of_a_token_is_what_its_spec_says_now(home: &Home) {
    let store = home.open().await;
    let ends = json!({"role": "ro", "expiresAt": "2027-01-15T08:00:10Z"});
    let spec = serde_json::from_value::<hayward_api::kinds::token::TokenSpec>(ends.clone()).unwrap();
    let (made, token) = store.create_token("t", spec, &actor()).await.unwrap();
    let lets_in = async |at| known(&store).await.identify(token.reveal(), at).is_ok();
    assert!(lets_in(NOW + 9).await && !lets_in(NOW + 10).await);
    update(&store, "token", "t", json!({"role": "ro"})).await.unwrap();
    assert!(lets_in(NOW + 10_000_000).await, "no end is said any more");
    update(&store, "token", "t", ends).await.unwrap();
    assert!(!lets_in(NOW + 10).await);

    delete(&store, "token", "t").await.unwrap();
    let mut change = store.begin().await.unwrap();
    let back = change.revert(kind("token"), None, "t", made.resource_version, &actor()).await;
    assert!(matches!(back, Err(StoreError::Invalid(_))), "its secret is gone: {back:?}");
    drop(change);
    store.close().await;
}

async fn an_invite_is_redeemed_once(home: &Home) {
    let store = home.open().await;
    let maker = Token::mint(Purpose::Login);
    let mint = async |expires_unix| {
        let token = Token::mint(Purpose::Invite);
        let (id, digest, content) = (token.id(), token.digest(), json!({"email": "ann@x.org"}));
        let made_with = Some(maker.id());
        let invite = NewInvite { id, digest, content, created_unix: NOW, expires_unix, made_with };
        store.create_invite(&invite, &actor()).await.unwrap();
        token
    };
    let (invite, over, other) = (mint(NOW + 10).await, mint(NOW - 1).await, mint(NOW + 10).await);
    let redeem = async |id, digest| {
        let mut change = store.begin().await?;
        let redeemed = change.redeem_invite(id, &digest, NOW).await?;
        change.commit().await.map(|()| redeemed)
    };
    assert!(redeem(over.id(), over.digest()).await.is_err());
    assert!(redeem(invite.id(), other.digest()).await.is_err(), "the wrong secret");
    let tries = (0..10).map(|_| redeem(invite.id(), invite.digest()));
    let tried = futures_util::future::join_all(tries).await;
    assert_eq!(tried.iter().filter(|tried| tried.is_ok()).count(), 1);
    let kept = store.list_invites().await.unwrap();
    assert!(kept.len() == 3 && kept.iter().all(|invite| invite.made_with == Some(maker.id())));
    // A change that fails after it leaves it unused.
    let mut change = store.begin().await.unwrap();
    change.redeem_invite(other.id(), &other.digest(), NOW).await.unwrap();
    drop(change);
    assert_eq!(redeem(other.id(), other.digest()).await.unwrap().content["email"], "ann@x.org");
    store.delete_invite(other.id()).await.unwrap();
    assert!(matches!(store.delete_invite(other.id()).await, Err(StoreError::NotFound { .. })));
    store.close().await;
}

async fn of_many_first_users_one_is_the_first(home: &Home) {
    let nodes = match home.url {
        Some(_) => vec![home.open().await, home.open().await],
        None => vec![home.open().await],
    };
    let tries = (0..10).map(|number| {
        let store = nodes[number % nodes.len()].clone();
        async move {
            let name = format!("u{number}@x.org");
            let group = json!({"members": [name]});
            let binding = json!({"subjects": [{"kind": "Group", "name": "admins"}],
                                 "roleBindings": [{"role": "edit", "resource": "*"}]});
            let wanted = [
                wanted("user", &name, json!({"role": "ADMIN"})),
                wanted("group", "admins", group),
                wanted("rbac", "admins", binding),
            ];
            let mut change = store.begin().await?;
            let made = change.bootstrap(&wanted, &actor()).await?;
            change.commit().await?;
            Ok::<_, StoreError>(made)
        }
    });
    let tried = futures_util::future::join_all(tries).await;
    assert_eq!(tried.iter().filter(|tried| tried.is_ok()).count(), 1);
    let losers = tried.iter().filter(|tried| matches!(tried, Err(StoreError::Done { .. }))).count();
    assert_eq!(losers, 9);
    assert!(nodes[0].has_users().await.unwrap());
    for node in nodes {
        node.close().await;
    }
}
