//! Invites: each makes one user, once, for as long as whoever made it could make that user.

use std::sync::Arc;

use axum::response::Response;
use hayward_api::names::ResourceName;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Caller, Code, Error};
use hayward_auth::{Purpose, Token, TokenId, Verb};
use hayward_store::{Actor, Invite as Kept, NewInvite};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::limits::{INVITE_LIFETIME, INVITE_LIFETIME_MAX};
use crate::plane::Plane;
use crate::ports::Effect;
use crate::refusal::Refusal;
use crate::sign_in::user_kind;
use crate::wire::asked::{Asked, json, nothing};
use crate::wire::signed_in::{answer, moment};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Invite {
    email: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    /// Seconds.
    #[serde(default)]
    expires_in: Option<u64>,
}

/// `POST /auth/invites`. Whoever puts somebody into groups may do that.
pub(crate) async fn make(asked: Asked) -> Result<Response, Refusal> {
    asked.may_some(Verb::Create).await?;
    let Invite { email, name, groups, expires_in } = asked.object().await?;
    let email = hayward_api::kinds::Names::Email.canonical(&email)?;
    asked.may_named(Verb::Create, user_kind()?, (&email, None)).await?;
    let (mut named, group) = (Vec::new(), crate::wire::kind("group")?);
    for word in &groups {
        named.push(asked.may_one(Verb::Edit, group, (word, None)).await?.1.metadata.name);
    }
    let groups: Vec<&str> = named.iter().map(ResourceName::as_str).collect();
    let lifetime = expires_in.unwrap_or(INVITE_LIFETIME.as_secs());
    if lifetime == 0 {
        let error = Error::new(Code::Invalid, "an invite that is over at once is of no use");
        return Err(error.at("expiresIn").with_hint("give seconds, or leave it out: 7 days").into());
    }
    if lifetime > INVITE_LIFETIME_MAX.as_secs() {
        let message = format!("an invite is good for {} seconds at most", INVITE_LIFETIME_MAX.as_secs());
        return Err(Error::new(Code::Invalid, message).at("expiresIn").into());
    }
    let lifetime = i64::try_from(lifetime).unwrap_or(i64::MAX);
    let expires_at_unix = Timestamp::now().as_second().saturating_add(lifetime);
    let expires_at = moment(expires_at_unix)?;
    let (token, principal) = (Token::mint(Purpose::Invite), &*asked.caller.principal);
    let said = [("email", email.clone().into()), ("groups", groups.clone().into())];
    let told = json!({ "invite": token.reveal(), "email": email, "expiresAt": expires_at });
    let content = json!({ "email": told["email"], "name": name, "groups": groups });
    let created_unix = Timestamp::now().as_second();
    let invite = NewInvite {
        id: token.id(),
        digest: token.digest(),
        content,
        created_unix,
        expires_unix: expires_at_unix,
        // Logins of people end all the time; a token ends when it is taken away.
        made_with: TokenId::parse(&principal.credential).filter(|_| principal.kind != PrincipalKind::User),
    };
    let (plane, actor) = (Arc::clone(&asked.plane), Actor::from(principal));
    asked.change(said, async move { plane.entrance.invite(&invite, &actor).await }).await?;
    json(StatusCode::CREATED, &told)
}

/// `GET /auth/invites`: those that the caller could have made.
pub(crate) async fn list(asked: Asked) -> Result<Response, Refusal> {
    asked.may_some(Verb::Create).await?;
    let (plane, caller) = (Arc::clone(&asked.plane), asked.caller.clone());
    asked
        .look(async move {
            let mut shown = Vec::new();
            for invite in plane.entrance.invites().await? {
                if may_make(&plane, &caller, &invite)? {
                    shown.push(told(&invite)?);
                }
            }
            json(StatusCode::OK, &shown)
        })
        .await
}

/// `DELETE /auth/invites/{id}`.
pub(crate) async fn take_back(asked: Asked) -> Result<Response, Refusal> {
    asked.may_some(Verb::Create).await?;
    let word = asked.part("id").to_owned();
    let (plane, caller) = (Arc::clone(&asked.plane), asked.caller.clone());
    asked
        .change([], async move {
            let invites = plane.entrance.invites().await?;
            let invite = invites.iter().find(|invite| invite.id.as_str() == word);
            match invite {
                Some(invite) if may_make(&plane, &caller, invite)? => {
                    plane.entrance.take_invite_back(invite.id).await
                }
                _ => {
                    let message = format!("invite `{}` not found", word.escape_debug());
                    Err(Refusal::new(Code::NotFound, message))
                }
            }
        })
        .await?;
    Ok(nothing())
}

/// Whether the caller could make this invite.
fn may_make(plane: &Plane, caller: &Caller, invite: &Kept) -> Result<bool, Refusal> {
    let email = invite.content.get("email").and_then(Value::as_str).unwrap_or_default();
    let groups = invite.content.get("groups").and_then(Value::as_array);
    let (group, guarded) = (crate::wire::kind("group")?, &plane.guarded);
    let may_put_into = |name: &str| guarded.named(caller, Verb::Edit, group, (name, None)).is_ok();
    Ok(guarded.named(caller, Verb::Create, user_kind()?, (email, None)).is_ok()
        && groups.into_iter().flatten().filter_map(Value::as_str).all(may_put_into))
}

/// An invite without its secret.
fn told(invite: &Kept) -> Result<Value, Error> {
    let content = &invite.content;
    Ok(json!({
        "id": invite.id.as_str(), "email": content.get("email"), "name": content.get("name"),
        "groups": content.get("groups"), "madeBy": invite.made_by, "createdAt": moment(invite.created_unix)?,
        "expiresAt": moment(invite.expires_unix)?,
        "redeemedAt": invite.redeemed_unix.map(moment).transpose()?,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    invite: String,
    password: String,
}

/// `POST /auth/join`.
pub(crate) async fn join(asked: Asked) -> Result<Response, Refusal> {
    let Join { invite, password } = asked.object().await?;
    let (plane, address) = (Arc::clone(&asked.plane), asked.caller.source.ip());
    let (id, email) = plane.entrance.invited(&invite).await?;
    let managed = asked.managed(Effect::Change, [("id", id.into()), ("email", email.into())]);
    let signed_in = asked
        .recorded(
            managed,
            async move { plane.entrance.join(&plane.guarded, (&invite, password), address).await },
        )
        .await?;
    answer(StatusCode::CREATED, &signed_in)
}
