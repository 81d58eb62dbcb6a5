//! Access to an upstream that wants OAuth 2.1: found out what it wants, ask a person once, renew it without one.
//!
//! ```text
//!  401, 403 ──► Challenge ──► discovery.rs   whose servers grant it, and where those are asked
//!                        ──► registration.rs who we are there: known before, by a document, or by registering
//!                        ──► Pending         the address that a person opens, and what proves that the answer is ours
//!  the person's browser comes back ──► Grant ──► refresh ──► Grant …
//! ```
//!
//! What an upstream says is not trusted: its addresses are https, or this machine's own if the upstream is; none is opened in
//! a browser by us; the resource is the upstream itself, the issuer is the one that was asked, and a code is given to nobody else
//! (RFC 9728, 8414, 8707, 9207, 7636; MCP 2026-07-28, basic/authorization).

mod challenge;
mod discovery;
mod fetch;
mod grant;
mod registration;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hayward_mcp::upstream::Connect;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::Url;
use url::form_urlencoded;

pub use challenge::Challenge;
pub use fetch::OauthError;
pub(crate) use fetch::is_loopback;
pub use grant::Grant;
pub use registration::{Client, Identity};

use discovery::{Issuer, Resource};
use fetch::Fetch;
use registration::Method;

/// Gets access to one upstream.
#[derive(Clone, Debug)]
pub struct Authorizer {
    fetch: Fetch,
    /// The address of the upstream.
    upstream: Url,
    identity: Identity,
}

/// A person is asked. Worth an answer once, and for as long as whoever keeps it says.
pub struct Pending {
    /// What the person opens.
    pub url: Url,
    state: String,
    verifier: String,
    issuer: Issuer,
    client: Client,
    scopes: Vec<String>,
    resource: String,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("issuer", &self.issuer.name).finish_non_exhaustive()
    }
}

impl Pending {
    /// The same, with all that the address says.
    fn asking(mut self, redirect_uri: &Url) -> Self {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier));
        let mut query = self.url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", self.client.id())
            .append_pair("redirect_uri", redirect_uri.as_str())
            .append_pair("state", &self.state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("resource", &self.resource);
        if !self.scopes.is_empty() {
            query.append_pair("scope", &self.scopes.join(" "));
        }
        drop(query);
        self
    }

    /// By which the answer is found among others: its `state`.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Who is asked.
    pub fn issuer(&self) -> &str {
        &self.issuer.name
    }

    /// What it is asked to allow.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }
}

impl Authorizer {
    /// Gets access to the upstream at this address, as this client. The upstream names whom else to ask: unless it is on this
    /// machine, `connect` has to be one that reaches the public alone.
    pub fn new(connect: Arc<dyn Connect>, upstream: Url, identity: Identity) -> Self {
        Self { fetch: Fetch::new(connect, fetch::is_loopback(&upstream)), upstream, identity }
    }

    /// Refuses what was granted for another upstream.
    pub(crate) fn check(&self, grant: &Grant) -> Result<(), OauthError> {
        discovery::check_resource(&self.upstream, grant.resource())
    }

    /// What the upstream says that it wants of whoever shows it nothing; nothing in particular if it doesn't say.
    pub async fn challenge(&self) -> Result<Challenge, OauthError> {
        let header = self.fetch.challenge(&self.upstream).await?;
        Ok(header.as_deref().map(Challenge::read).unwrap_or_default())
    }

    /// Finds out whom to ask and what for. `before` is what was granted until now: what it allows is asked for again with
    /// what the challenge wants on top, and its client is used again if it is one of the same issuer.
    pub async fn begin(&self, challenge: &Challenge, before: Option<&Grant>) -> Result<Pending, OauthError> {
        let resource = Resource::find(&self.fetch, &self.upstream, challenge).await?;
        let issuer = resource.issuer(self.identity.issuer.as_deref())?;
        let issuer = Issuer::find(&self.fetch, issuer).await?;
        let asked = (challenge, &*self.identity.scopes);
        let scopes = scopes(asked, &resource, &issuer, before);
        let before_here = before.and_then(|grant| grant.client_at(&issuer.name)).filter(|client| {
            // Some issuers take an address to come back to for another one if only its port is another.
            client.comes_back_to(&self.identity.redirect_uri) && client.may_ask(&scopes)
        });
        let client = match self.identity.known_at(&issuer.name).or(before_here) {
            Some(client) => client.clone(),
            None => registration::client(&self.fetch, &issuer, (&self.identity, &scopes)).await?,
        };
        let [state, verifier] = [secret()?, secret()?];
        let url = self.fetch.secure(&issuer.authorization_endpoint)?;
        let pending = Pending { url, state, verifier, issuer, client, scopes, resource: resource.id };
        Ok(pending.asking(&self.identity.redirect_uri))
    }

    /// Takes what the person's browser came back with: the query of the address that it was sent to.
    pub async fn finish(&self, pending: Pending, query: &str) -> Result<Grant, OauthError> {
        let code = code_of(&pending, query)?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", self.identity.redirect_uri.as_str()),
            ("code_verifier", &pending.verifier),
            ("resource", &pending.resource),
        ];
        let method = Method::of(&pending.client, &pending.issuer);
        let granted =
            self.fetch.token(&pending.issuer.token_endpoint, &pending.client, method, &form).await?;
        let Pending { issuer, client, scopes, resource, .. } = pending;
        Grant::new(granted, secret()?, (issuer, client), (scopes, resource))
    }

    /// Renews what was granted, without a person.
    ///
    /// # Errors
    /// If it can't be renewed: then a person has to be asked again.
    pub async fn refresh(&self, grant: &Grant) -> Result<Grant, OauthError> {
        let refresh = grant.refresh_token().ok_or(OauthError::NotRenewable)?;
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh)];
        form.push(("resource", grant.resource()));
        let method = Method::of(grant.client(), grant.issuer());
        let granted = self.fetch.token(&grant.issuer().token_endpoint, grant.client(), method, &form).await?;
        grant.renewed(granted)
    }
}

/// The code in what a browser came back with, if it is an answer to this question and from whom it was put to.
fn code_of(pending: &Pending, query: &str) -> Result<String, OauthError> {
    let said = |name: &str| {
        let mut values =
            form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name).map(|(_, value)| value);
        let first = values.next();
        // Twice is once too often: two readers could take different ones.
        if values.next().is_some() { Err(OauthError::NotOurs("a parameter stands twice")) } else { Ok(first) }
    };
    let state = said("state")?.ok_or(OauthError::NotOurs("it has no `state`"))?;
    if !bool::from(state.as_bytes().ct_eq(pending.state.as_bytes())) {
        return Err(OauthError::NotOurs("its `state` is not the one that was sent"));
    }
    match said("iss")? {
        Some(iss) if *iss != *pending.issuer.name => {
            return Err(OauthError::NotOurs("it comes from another authorization server (`iss`)"));
        }
        None if pending.issuer.says_iss => {
            return Err(OauthError::NotOurs(
                "it does not say which authorization server it comes from (`iss`)",
            ));
        }
        Some(_) | None => {}
    }
    if let Some(error) = said("error")? {
        return Err(OauthError::refused(&error, said("error_description")?.as_deref()));
    }
    said("code")?.map(String::from).ok_or(OauthError::NotOurs("it has no `code`"))
}

/// What to ask for: what whoever declared the upstream says and what it says itself that it wants now, else all that it knows; what was granted before; and to be allowed
/// to come back, where that can be asked for. Nothing at all where nobody says what there is.
fn scopes(
    (challenge, said): (&Challenge, &[String]),
    resource: &Resource,
    issuer: &Issuer,
    before: Option<&Grant>,
) -> Vec<String> {
    let is_silent = challenge.scopes.is_empty() && said.is_empty();
    let wanted: Vec<&String> = if is_silent {
        resource.scopes.iter().collect()
    } else {
        said.iter().chain(&challenge.scopes).collect()
    };
    let mut scopes: Vec<String> = Vec::new();
    let granted = before.map(Grant::scopes).unwrap_or_default();
    let offline = "offline_access".to_owned();
    let is_offered = issuer.scopes.contains(&offline) && !wanted.is_empty();
    for scope in granted.iter().chain(wanted).chain(is_offered.then_some(&offline)) {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    scopes
}

/// 256 bits that nobody guesses, as text.
fn secret() -> Result<String, OauthError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| OauthError::NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
