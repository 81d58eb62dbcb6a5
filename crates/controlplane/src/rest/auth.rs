//! Who is signed in.

use std::sync::Arc;

use axum::response::Response;
use hayward_api::Code;
use hayward_api::principal::PrincipalKind;
use hayward_auth::{Operation, TokenId};
use hayward_store::{Actor, Impersonator};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::sign_in::{Shown, may_sign_in, user_kind};
use crate::wire::asked::{Asked, json, nothing};
use crate::wire::show::shown;
use crate::wire::signed_in::answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bootstrap {
    email: String,
    password: String,
    #[serde(default)]
    name: Option<String>,
}

/// `POST /auth/bootstrap`: the first user. Whoever comes first isn't yet whoever owns the server, so the administrator's
/// token says who that is, unless the operator has it otherwise.
pub(crate) async fn bootstrap(asked: Asked) -> Result<Response, Refusal> {
    let is_admin = asked.caller.principal.kind == PrincipalKind::Admin;
    if !is_admin && !asked.plane.is_bootstrap_open {
        let hint = "send `Authorization: Bearer ADMIN_TOKEN`; `serve --bootstrap-open` lets whoever comes first do it";
        if asked.caller.principal.kind == PrincipalKind::Anonymous {
            return Err(Refusal::new(
                Code::Unauthenticated,
                "the first user is made with the administrator's token",
            )
            .hint(hint));
        }
        let (what, reason) = ("bootstrap".to_owned(), "only an administrator may do this".to_owned());
        asked.plane.record.denied(asked.caller.clone(), what, reason).await;
        return Err(Refusal::new(Code::Forbidden, "only an administrator makes the first user").hint(hint));
    }
    let Bootstrap { email, password, name } = asked.object().await?;
    let (plane, caller) = (Arc::clone(&asked.plane), asked.caller.clone());
    let said = [("email", email.clone().into())];
    let signed_in = asked
        .change(said, async move {
            let (first, actor) =
                ((email.as_str(), name.as_deref(), password), Actor::from(&*caller.principal));
            // By the time that the password is hashed, the administrator's token may be revoked.
            let still = || if is_admin { plane.guarded.still_known(&caller) } else { Ok(()) };
            plane.entrance.bootstrap(first, &actor, still).await
        })
        .await?;
    answer(StatusCode::CREATED, &signed_in)
}

/// `GET /auth/status`.
pub(crate) async fn status(asked: Asked) -> Result<Response, Refusal> {
    let plane = Arc::clone(&asked.plane);
    asked
        .look(async move { json(StatusCode::OK, &json!({ "hasUsers": plane.entrance.has_users().await? })) })
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    email: String,
    password: String,
}

/// `POST /auth/login`.
pub(crate) async fn login(asked: Asked) -> Result<Response, Refusal> {
    let Login { email, password } = asked.object().await?;
    let (plane, address) = (Arc::clone(&asked.plane), asked.caller.source.ip());
    let said = [("email", shortened(&email).into())];
    let signed_in =
        asked.change(said, async move { plane.entrance.login(&email, password, address).await }).await?;
    answer(StatusCode::OK, &signed_in)
}

/// What somebody gives as a name may be anything; so much of it is told.
fn shortened(text: &str) -> String {
    text.chars().take(254).collect()
}

/// `POST /auth/logout`.
pub(crate) async fn logout(asked: Asked) -> Result<Response, Refusal> {
    asked.known().await?;
    let (plane, principal) = (Arc::clone(&asked.plane), Arc::clone(&asked.caller.principal));
    asked
        .change([], async move {
            if !plane.entrance.sign_out(&principal.credential, &Actor::from(&*principal)).await? {
                let refusal = Refusal::invalid("this credential is no login");
                return Err(refusal.hint("tokens are deleted with DELETE /api/v1/tokens/{id}"));
            }
            Ok(())
        })
        .await?;
    Ok(nothing())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    old: String,
    new: String,
}

/// `POST /auth/password`: one's own. It needs no permission but the old one.
pub(crate) async fn password(asked: Asked) -> Result<Response, Refusal> {
    asked.known().await?;
    let (plane, principal) = (Arc::clone(&asked.plane), Arc::clone(&asked.caller.principal));
    if principal.kind != PrincipalKind::User || principal.impersonator.is_some() {
        let refusal = Refusal::new(Code::Forbidden, "only a user who is logged in has a password to change");
        return Err(refusal.hint("whoever may edit users gives them a new one with PATCH /api/v1/users/{id}"));
    }
    let Change { old, new } = asked.object().await?;
    let address = asked.caller.source.ip();
    let signed_in = asked
        .change([], async move {
            let (name, actor) = (&principal.name, Actor::from(&*principal));
            plane.entrance.change_password(name, (old, new), address, &actor).await
        })
        .await?;
    answer(StatusCode::OK, &signed_in)
}

/// `GET /auth/me`.
pub(crate) async fn me(asked: Asked) -> Result<Response, Refusal> {
    asked.known().await?;
    let (plane, principal) = (Arc::clone(&asked.plane), Arc::clone(&asked.caller.principal));
    asked
        .look(async move {
            let user = match principal.kind {
                PrincipalKind::User | PrincipalKind::ServiceAccount => {
                    plane.entrance.user(&principal.name).await?
                }
                _ => None,
            };
            let user = match &user {
                Some(user) => shown(user_kind()?, user),
                None => Value::Null,
            };
            let told = json!({
                "kind": principal.kind, "name": principal.name, "role": principal.role(),
                "impersonator": principal.impersonator, "user": user,
            });
            json(StatusCode::OK, &told)
        })
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Impersonate {
    email: String,
}

/// `POST /auth/impersonate`: whoever acts so has the other's permissions, and both stand in the record.
pub(crate) async fn impersonate(asked: Asked) -> Result<Response, Refusal> {
    asked.may_operate(Operation::Impersonate).await?;
    if asked.caller.principal.impersonator.is_some() {
        return Err(Refusal::new(Code::Forbidden, "whoever acts as another can't act as a third"));
    }
    let Impersonate { email } = asked.object().await?;
    let (name, credential) = (Actor::from(&*asked.caller.principal), &asked.caller.principal.credential);
    let credential = TokenId::parse(credential)
        .ok_or_else(|| Refusal::new(Code::Forbidden, "only whoever shows a credential can act as another"))?;
    let (plane, caller) = (Arc::clone(&asked.plane), asked.caller.clone());
    let said = [("as", shortened(&email).into())];
    let signed_in = asked
        .change(said, async move {
            let user = plane.entrance.user(&email).await?.filter(may_sign_in);
            let user = user.ok_or_else(|| {
                Refusal::new(Code::NotFound, format!("user `{}` not found", shortened(&email)))
            })?;
            let by = Impersonator { name: name.as_str(), credential };
            let still = || {
                plane.guarded.still_known(&caller)?;
                plane.guarded.operation(&caller, Operation::Impersonate).map_err(|denied| denied.error)
            };
            plane.entrance.sign_in_if(user, Shown::Impersonator(by), still).await
        })
        .await?;
    answer(StatusCode::CREATED, &signed_in)
}
