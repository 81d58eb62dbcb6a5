//! Access to a server that wants OAuth: a person is asked, and what is granted is sealed as a secret that goes with the server.
//!
//! Whoever asks has the page opened by a browser that comes back to their own machine, so the code goes through here and is kept
//! nowhere: the record hears of the server, and of neither the question nor the answer.

use std::sync::Arc;

use axum::response::Response;
use hayward_api::Code;
use hayward_api::kinds::server::ServerSpec;
use hayward_auth::Verb;
use hayward_runtime::Grants;
use hayward_runtime::grants::GrantError;
use hayward_runtime::oauth::{Grant, OauthError};
use hayward_store::{Desired, Resource};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use url::{Host, Url};

use crate::guarded::Allowed;
use crate::plane::Plane;
use crate::reconcilers::instances::address;
use crate::refusal::Refusal;
use crate::wire;
use crate::wire::asked::{Asked, json};
use crate::wire::finish::begin as begin_change;

/// How the name of the secret of a server ends.
const ENDING: &str = ".oauth";

/// What whoever asks shows that it may.
struct May {
    grants: Arc<Grants>,
    server: Resource,
    /// The name of the secret.
    secret: String,
    edit: Allowed,
    create: Allowed,
}

/// Whoever gives a server access may change it, and the secret in which that is kept.
async fn may(asked: &Asked) -> Result<May, Refusal> {
    let (_, server) = asked.may_this(Verb::Edit).await?;
    let grants = grants(&asked.plane, &server)?;
    let secret = format!("{}{ENDING}", server.metadata.name);
    let kind = wire::kind("secret")?;
    let edit = asked.may_named(Verb::Edit, kind, (&secret, None)).await?;
    let create = asked.may_named(Verb::Create, kind, (&secret, None)).await?;
    Ok(May { grants, server, secret, edit, create })
}

/// Where access is looked after, for a server that may want it.
fn grants(plane: &Plane, server: &Resource) -> Result<Arc<Grants>, Refusal> {
    let name = &server.metadata.name;
    let spec: ServerSpec = server.spec()?;
    if spec.external_url.is_none() {
        let message = format!("server `{name}` has no `externalUrl`, and what runs here wants no access");
        return Err(Refusal::new(Code::Conflict, message));
    }
    if address(&spec).is_none() {
        let message = format!("`headers` of server `{name}` say already what is shown as `Authorization`");
        return Err(Refusal::new(Code::Conflict, message).hint("take that header out of the server first"));
    }
    let grants = plane.fleet.as_ref().and_then(|fleet| fleet.grants());
    grants.cloned().ok_or_else(|| Refusal::new(Code::Unavailable, "no servers are run by this node"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Begin {
    redirect_uri: String,
}

/// `POST /servers/{id}/authorization {"redirectUri": URL}`.
pub(crate) async fn begin(asked: Asked) -> Result<Response, Refusal> {
    let May { grants, server, .. } = may(&asked).await?;
    let Begin { redirect_uri } = asked.object().await?;
    let redirect_uri = own_address(&redirect_uri)?;
    let name = server.metadata.name.to_string();
    let question = asked
        .change([], async move { grants.begin(&name, redirect_uri).await.map_err(|error| refused(&error)) })
        .await?;
    let told = json!({
        "url": question.url.as_str(), "state": question.state, "issuer": question.issuer, "scopes": question.scopes});
    json(StatusCode::OK, &told)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Answer {
    query: String,
}

/// `POST /servers/{id}/authorization/answer {"query": QUERY}`.
pub(crate) async fn answer(asked: Asked) -> Result<Response, Refusal> {
    let may = may(&asked).await?;
    let Answer { query } = asked.object().await?;
    let plane = Arc::clone(&asked.plane);
    let (server, secret) = (may.server.metadata.name.to_string(), may.secret.clone());
    let grant = asked
        .change([], async move {
            let grant = may
                .grants
                .finish(may.server.metadata.name.as_str(), &query)
                .await
                .map_err(|error| refused(&error))?;
            keep(&plane, &may, &grant).await?;
            Ok(grant)
        })
        .await?;
    let expires_at =
        grant.expires_at_unix().and_then(|at| Timestamp::from_second(i64::try_from(at).ok()?).ok());
    let told = json!({
        "server": server, "secret": secret, "issuer": grant.issuer_name(), "scopes": grant.scopes(),
        "isRenewable": grant.is_renewable(), "expiresAt": expires_at.map(|at| at.to_string())});
    json(StatusCode::OK, &told)
}

/// Seals what was granted, in the place of what was before.
async fn keep(plane: &Plane, may: &May, grant: &Grant) -> Result<(), Refusal> {
    let kind = wire::kind("secret")?;
    let mut change = begin_change(plane, &[&may.edit, &may.create]).await?;
    let uid = &may.server.metadata.uid;
    let mut desired = Desired::new(kind, None, &may.secret, json!({"data": grant.to_secret()}));
    desired.owner = Some(uid.clone());
    match change.find(kind, None, &may.secret).await? {
        Some(kept) if kept.metadata.owner.as_ref() == Some(uid) => {
            desired.labels = kept.metadata.labels;
            desired.annotations = kept.metadata.annotations;
            change.update(&may.edit, None, &desired).await?;
        }
        Some(_) => {
            let message = format!("secret `{}` is none that was granted for this server", may.secret);
            let hint = format!("move it away: `hayward delete secret {}`", may.secret);
            return Err(Refusal::new(Code::Conflict, message).hint(hint));
        }
        None => drop(change.create(&may.create, &desired).await?),
    }
    Ok(change.commit().await?)
}

/// An address of whoever asks: their browser comes back to their own machine (RFC 8252, 7.3).
fn own_address(text: &str) -> Result<Url, Refusal> {
    let url = Url::parse(text).ok().filter(|url| {
        let is_own = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        is_own && is_plain && url.scheme() == "http" && url.query().is_none()
    });
    url.ok_or_else(|| {
        let message = "`redirectUri`: it is no address of the machine of whoever asks";
        Refusal::invalid(message).at("redirectUri").hint("say e.g. http://127.0.0.1:8765/callback")
    })
}

fn refused(error: &GrantError) -> Refusal {
    let code = match error {
        GrantError::Undeclared { .. } => Code::Unavailable,
        GrantError::Oauth(error) => match error {
            OauthError::NotOurs(_) => Code::Invalid,
            OauthError::TooMany { .. } => Code::RateLimited,
            OauthError::Timeout { .. } => Code::Timeout,
            OauthError::NoRandomness => Code::Internal,
            OauthError::NotRegistered { .. }
            | OauthError::UnknownIssuer { .. }
            | OauthError::NotRenewable => Code::Conflict,
            OauthError::Connection { .. }
            | OauthError::Status { .. }
            | OauthError::Unusable { .. }
            | OauthError::Insecure { .. }
            | OauthError::OtherResource { .. }
            | OauthError::OtherIssuer { .. }
            | OauthError::NoPkce { .. }
            | OauthError::Refused { .. } => Code::UpstreamFailed,
        },
    };
    let hint = match error {
        GrantError::Oauth(OauthError::NotOurs(_)) => Some("begin again: `hayward authorize SERVER`"),
        GrantError::Oauth(OauthError::NotRegistered { .. }) => {
            Some("register a client there by hand, and say `oauth.issuer` and `oauth.clientId` of the server")
        }
        GrantError::Undeclared { .. } => Some("ask again in a moment"),
        GrantError::Oauth(_) => None,
    };
    let mut told = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        told += &format!(": {error}");
        source = error.source();
    }
    let refusal = Refusal::new(code, told);
    match hint {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_comes_back_to_the_machine_of_whoever_asks_and_nowhere_else() {
        for good in ["http://127.0.0.1:1/callback", "http://[::1]:8/cb", "http://localhost:9/callback"] {
            assert_eq!(own_address(good).unwrap().as_str(), good);
        }
        for bad in [
            "https://gate.example/callback",
            "http://127.0.0.1.evil.example/callback",
            "http://localhost.evil.example/",
            "http://10.0.0.1/callback",
            "http://u:p@127.0.0.1/callback",
            "http://127.0.0.1/callback?x=1",
            "http://127.0.0.1/callback#x",
            "javascript:alert(1)",
            "",
        ] {
            assert!(own_address(bad).is_err(), "{bad}");
        }
    }
}
